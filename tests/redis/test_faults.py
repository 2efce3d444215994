"""Every operation with a fault at every command: not sent, half sent, no reply, half a reply, sent twice, cancelled.

With patience the call succeeds as if nothing had happened. Without, it says that it failed, nothing is half done, and
the same call repeated ends in the same state.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import io
import os
from collections.abc import Iterator, Sequence
from datetime import datetime

import pytest

from coatcheck import (
    AmbiguousWriteError,
    ArtifactConflictError,
    AsyncRedisArtifactStore,
    RedisArtifactStore,
    StoreUnavailableError,
    compute_artifact_id,
)
from coatcheck.backends.redis.storing import UNASKED
from coatcheck.sources import Chunking
from coatcheck.testing import Blocking, Server

from ..harnesses import chunk
from ..sizes import each_in_turn, in_turn
from .proxy import FAULTS, FaultProxy
from .snapshot import Snapshot

SHARED, LARGE = b"shared content", hashlib.shake_128(b"large").digest(150_000)
NEW, NEW_LARGE = b"new content", hashlib.shake_128(b"new large").digest(150_000)

# Content from here on lies in chunks, three in an exchange: the largest takes two exchanges and a commit.
CHUNKING = Chunking(size=70_000, threshold=300_000, window=3)
CHUNKED, NEW_CHUNKED = (hashlib.shake_128(name).digest(340_000) for name in (b"chunked", b"new chunked"))

# Content between that is asked for before it is sent.
ASKED, NEW_ASKED = (hashlib.shake_128(name).digest(UNASKED + 1) for name in (b"asked", b"new asked"))


def read_all(store, artifact_id: str):
    """Open, read in two pieces from the end on, close; by hand for an asyncio store."""
    reader = store.open(artifact_id)
    if inspect.isawaitable(reader):

        async def awaited() -> bytes:
            async with await reader as opened:
                opened.seek(100_000)
                end = await opened.read()
                opened.seek(0)
                return await opened.read(100_000) + end

        return awaited()
    with reader:
        reader.seek(100_000)
        end = reader.read()
        reader.seek(0)
        return reader.read(100_000) + end


def first(iterator):
    """The first of an iterator of either face."""
    return anext(iterator, None) if hasattr(iterator, "__anext__") else next(iterator, None)


NAMED = hashlib.sha256(b"named").hexdigest()

CONDITIONAL = {
    "store if absent": lambda s: s.store(NEW, artifact_id="new", run_id="c", if_absent=True),
    "store asked if absent": lambda s: s.store(NEW_ASKED, artifact_id="new", run_id="c", if_absent=True),
    "replace if": lambda s: s.store(NEW_LARGE, artifact_id="name", run_id="c", if_digest=NAMED),
    "store_file replaces if": lambda s: s.store_file(
        io.BytesIO(NEW_CHUNKED), artifact_id="name", run_id="c", if_digest=NAMED
    ),
}

OPERATIONS = {
    "store": lambda s: s.store(NEW, run_id="a", tags={"k": "v"}, ttl=600),
    "store shared": lambda s: s.store(SHARED, run_id="c", ttl=600),
    "store large": lambda s: s.store(NEW_LARGE, run_id="a"),
    "store large shared": lambda s: s.store(LARGE, run_id="c"),
    "store asked": lambda s: s.store(NEW_ASKED, run_id="a", ttl=600),
    "store asked shared": lambda s: s.store(ASKED, run_id="c"),
    "replace": lambda s: s.store(NEW_LARGE, artifact_id="name", run_id="c"),
    "store_many": lambda s: s.store_many([NEW, SHARED, NEW_LARGE, LARGE], run_id="c"),
    "store chunked": lambda s: s.store(NEW_CHUNKED, run_id="a", ttl=600),
    "store_file": lambda s: s.store_file(io.BytesIO(NEW_CHUNKED), run_id="a", ttl=600),
    "store_file shared": lambda s: s.store_file(io.BytesIO(CHUNKED), run_id="c"),
    "store_file replaces": lambda s: s.store_file(io.BytesIO(NEW_CHUNKED), artifact_id="name", run_id="c"),
    "link": lambda s: s.link(compute_artifact_id(SHARED), "new", run_id="c"),
    "link chunked": lambda s: s.link(compute_artifact_id(CHUNKED), "new", run_id="c", ttl=500),
    "store exact": lambda s: s.store(SHARED, run_id="b", ttl=700, exact_ttl=True),
    "store exact chunked": lambda s: s.store(CHUNKED, run_id="b", ttl=100, exact_ttl=True),
    **CONDITIONAL,
    "update_metadata": lambda s: s.update_metadata("name", run_id="a", tags={"k": "v"}),
    "update_many": lambda s: s.update_many(
        [compute_artifact_id(SHARED), "absent", compute_artifact_id(LARGE)], run_id="b", tags=lambda _: {"k": "v"}
    ),
    "load chunked": lambda s: s.load(compute_artifact_id(CHUNKED)),
    "open": lambda s: read_all(s, compute_artifact_id(CHUNKED)),
    "load_range": lambda s: s.load_range(compute_artifact_id(CHUNKED), 60_000, -10),
    "touch chunked": lambda s: s.touch(compute_artifact_id(CHUNKED), 500, "b"),
    "delete chunked": lambda s: s.delete(compute_artifact_id(CHUNKED)),
    "release chunked": lambda s: s.release(compute_artifact_id(CHUNKED), "b"),
    "claim chunked": lambda s: s.find_missing([compute_artifact_id(CHUNKED)], ttl=5000, run_id="c"),
    "load": lambda s: s.load(compute_artifact_id(SHARED)),
    "load large": lambda s: s.load(compute_artifact_id(LARGE)),
    "load explicit": lambda s: s.load("name"),
    "load_many": lambda s: s.load_many([compute_artifact_id(SHARED), "name", "absent", compute_artifact_id(LARGE)]),
    "load own": lambda s: s.load(compute_artifact_id(SHARED), run_id="a"),
    "get_metadata": lambda s: s.get_metadata("name"),
    "get_metadata own": lambda s: s.get_metadata("name", run_id="a"),
    "exists": lambda s: s.exists("name"),
    "find_missing": lambda s: s.find_missing(["name", "absent"]),
    "claim": lambda s: s.find_missing([compute_artifact_id(SHARED), "name", "absent"], ttl=None, run_id="c"),
    "delete_many": lambda s: s.delete_many(["name", "absent", compute_artifact_id(SHARED)]),
    "list_by_run": lambda s: s.list_by_run("a"),
    "list_all": lambda s: s.list_all(),
    "list_runs": lambda s: s.list_runs(),
    "search": lambda s: s.search(tags={"k": "v"}, limit=3),
    "page": lambda s: s.page(limit=2),
    "page_runs": lambda s: s.page_runs(limit=2),
    "iter_artifacts": lambda s: first(s.iter_artifacts(min_size=1)),
    "iter_run": lambda s: first(s.iter_run("a")),
    "leases": lambda s: s.leases(compute_artifact_id(SHARED)),
    "leases_many": lambda s: s.leases_many([compute_artifact_id(SHARED)]),
    "touch": lambda s: s.touch(compute_artifact_id(SHARED), 500, "a"),
    "release": lambda s: s.release(compute_artifact_id(SHARED), "a"),
    "release last": lambda s: s.release("name", "a"),
    "delete": lambda s: s.delete(compute_artifact_id(SHARED)),
    "delete_by_run": lambda s: s.delete_by_run("a"),
    "stats": lambda s: s.stats(),
    "count": lambda s: s.count(min_size=1),
    "facets": lambda s: s.facets("run_id"),
    "touch_run": lambda s: s.touch_run("b", 5000),
    "expire_run": lambda s: s.expire_run("a", 500),
    "delete_where": lambda s: s.delete_where(run_prefix="a", dry_run=False),
    "delete_where of a run": lambda s: s.delete_where(run_id="b", max_size=200_000, dry_run=False),
    "gc": lambda s: s.gc(dry_run=False, grace=0),
}


def repeatable(operation: str):
    """An operation as a caller repeats it: what has a condition may find what it stored the first time."""

    def found(error: ArtifactConflictError) -> None:
        if operation not in CONDITIONAL or error.metadata is None or error.metadata.run_id != "c":
            raise error

    def act(store):
        try:
            result = OPERATIONS[operation](store)
        except ArtifactConflictError as error:
            return found(error)
        return awaited(result) if inspect.isawaitable(result) else result

    async def awaited(result):
        try:
            return await result
        except ArtifactConflictError as error:
            return found(error)

    return act


def furnish(store) -> None:
    store.store(SHARED, run_id="a", ttl=900)
    store.store(SHARED, run_id="b")
    store.store(LARGE, run_id="b", ttl=900)
    store.store(ASKED, run_id="b", ttl=900)
    store.store(CHUNKED, run_id="b", ttl=900)
    store.store(b"named", artifact_id="name", run_id="a")


def state(store) -> dict:
    """Everything observable but the times."""
    assert store.check().problems == []  # contents are read below
    names = [view.artifact_id for view in store.list_all(limit=0)]
    found = {
        name: (
            hashlib.sha256(loaded.content).hexdigest(),
            {lease.run_id: (lease.tags, lease.expires_at is None) for lease in leases},
        )
        for name, loaded, leases in zip(names, map(store.load, names), store.leases_many(names), strict=True)
    }
    runs = {run for _, leases in found.values() for run in leases if run is not None}
    assert runs == set(store.list_runs())
    for run in runs:
        assert {view.artifact_id for view in store.list_by_run(run)} == {
            name for name, (_, leases) in found.items() if run in leases
        }
    return found


def mend(store, operation: str) -> None:
    """What a call may leave that could not go on: chunks that have yet to follow their content. Nothing else."""
    if "chunked" in operation or "store_file" in operation:
        problems = store.check(repair=True, grace=0).problems
        assert {problem.kind for problem in problems} <= {"orphan-chunk", "wrong-expiry"}


@pytest.fixture
def proxy(valkey: Server, tmp_path_factory):
    proxy = FaultProxy(valkey.directory / f"p{os.urandom(4).hex()}", valkey.socket)
    yield proxy
    proxy.close()


@pytest.fixture
def twin() -> str:
    return "sync"


@pytest.fixture
def faulty(twin, proxy, namespace):
    opened = []

    def open_(**options):
        url = f"unix://{proxy.path}"
        if twin == "sync":
            opened.append(RedisArtifactStore(url, namespace=namespace, **options))
        else:
            opened.append(Blocking(lambda: AsyncRedisArtifactStore(url, namespace=namespace, **options)))
        return chunk(opened[-1], CHUNKING)

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def direct(valkey, namespace):
    with RedisArtifactStore(valkey.url, namespace=namespace) as store:
        yield chunk(store, CHUNKING)


@pytest.fixture
def snapshot(direct, valkey, namespace) -> Iterator[Snapshot]:
    """What every operation finds there at first."""
    furnish(direct)
    with valkey.client() as client:
        yield Snapshot(client, namespace.encode() + b":")


def faults(nth: int) -> Sequence[str]:
    """What to do to the nth command of an operation: where there are many, each meets one fault in turn."""
    return FAULTS if nth <= 6 else in_turn(FAULTS, nth)


@pytest.mark.parametrize(("operation", "twin"), each_in_turn(OPERATIONS, ["sync", "async"]))
def test_a_fault_at_any_command_is_survived(operation, faulty, direct, proxy, snapshot) -> None:
    patient = faulty(retry_for=20)
    act = OPERATIONS[operation]
    act(patient)
    after = state(direct)
    nth, hit = 0, True
    while hit:
        nth += 1
        for fault in faults(nth):
            snapshot.restore()
            proxy.arm(nth, fault)
            act(patient)
            hit = proxy.done.is_set()
            proxy.arm(None)
            assert state(direct) == after, (fault, nth)
            if not hit:
                break  # there is no nth command, for other faults neither
    assert nth > 1


@pytest.mark.parametrize(("operation", "twin"), each_in_turn(OPERATIONS, ["async", "sync"]))
def test_without_patience_a_fault_is_told_and_nothing_is_half_done(operation, faulty, direct, proxy, snapshot) -> None:
    hasty = faulty(retry_for=0)
    act = repeatable(operation)
    before = state(direct)
    act(hasty)
    after = state(direct)
    nth, hit = 0, True
    while hit:
        nth += 1
        for fault in faults(nth):
            snapshot.restore()
            proxy.arm(nth, fault)
            try:
                act(hasty)
            except StoreUnavailableError as error:
                assert proxy.done.is_set()
                assert "no usable server" in str(error) or isinstance(error, AmbiguousWriteError)
            else:
                assert fault == "sent twice" or not proxy.done.is_set()
            hit = proxy.done.is_set()
            proxy.arm(None)
            mend(direct, operation)
            between = state(direct)
            for name in {*before, *after, *between}:  # each artifact for itself
                assert between.get(name) in (before.get(name), after.get(name)), (fault, nth)
            act(hasty)
            assert state(direct) == after, (fault, nth)
            if not hit:
                break
    assert nth > 1


@pytest.mark.parametrize("twin", ["sync", "async"])
@pytest.mark.parametrize("fault", ["no reply", "half a reply", "half sent"])
def test_an_unknown_outcome_is_told_as_ambiguous(fault, faulty, proxy) -> None:
    hasty = faulty(retry_for=0)
    hasty.store(NEW)
    proxy.arm(1, fault)
    with pytest.raises(AmbiguousWriteError, match="safe to repeat"):
        hasty.store(NEW, run_id="a")
    proxy.arm(1, fault)
    with pytest.raises(StoreUnavailableError) as caught:
        hasty.load("name")
    assert not isinstance(caught.value, AmbiguousWriteError)


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_a_store_that_is_sent_twice_keeps_its_deadline(faulty, direct, proxy) -> None:
    store = faulty()
    store.store(NEW, run_id="a", ttl=600)
    proxy.arm(1, "sent twice")
    store.store(NEW, run_id="a", ttl=600)
    assert proxy.done.is_set()
    [lease] = direct.leases(compute_artifact_id(NEW))
    ends, created = map(datetime.fromisoformat, (lease.expires_at, lease.created_at))
    assert abs((ends - created).total_seconds() - 600) < 60  # by the server's clock, not by ours


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_cancelled_call_can_be_repeated_and_harms_no_other(operation, valkey, direct, namespace, snapshot) -> None:
    act = repeatable(operation)
    act(direct)
    after = state(direct)

    async def main() -> None:
        async with AsyncRedisArtifactStore(valkey.url, namespace=namespace) as store:
            chunk(store, CHUNKING)
            finished, ticks = False, 0
            while not finished:
                ticks += 1
                await asyncio.to_thread(snapshot.restore)
                task = asyncio.ensure_future(act(store))
                for _ in range(ticks):
                    await asyncio.sleep(0)
                finished = task.done()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                neighbours = await asyncio.gather(*(store.load("name") for _ in range(3)))
                assert all(one is None or one.content in (b"named", NEW_LARGE, NEW_CHUNKED) for one in neighbours)
                await act(store)
                await asyncio.to_thread(mend, direct, operation)
                assert await asyncio.to_thread(state, direct) == after
                ticks += ticks // 8  # every tick at first, then in growing steps

    asyncio.run(main())
