"""No index keeps what is gone: writers drop it, gc finds the rest, and what has a TTL ends without either."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest

from coatcheck import RedisArtifactStore, compute_artifact_id
from coatcheck.sources import Chunking
from coatcheck.testing import eventually

from ..harnesses import chunk
from ..sizes import STORM

EMPTY = compute_artifact_id(b"{}").encode()
LARGE = hashlib.shake_128(b"large").digest(35_000)
LARGE_ID = compute_artifact_id(LARGE)
CHUNKING = Chunking(size=10_000, threshold=20_000)
TOKEN = b"0123456789abcdef"
PAST, FAR = 1_000_000_000_000, 5_000_000_000_000  # ms
FEW = 200  # what may lie in an index until somebody drops it
RUNS = [f"r{n}" for n in range(80)]
ENDED = RUNS[:70]


@pytest.fixture(params=[1, 64])
def store(valkey, namespace, request) -> Iterator[RedisArtifactStore]:
    with RedisArtifactStore(valkey.url, namespace=namespace, partitions=request.param) as store:
        yield chunk(store, CHUNKING)


@pytest.fixture
def client(valkey):
    with valkey.client() as client:
        yield client


@pytest.fixture
def all_keys(client, namespace) -> Callable[[], list[bytes]]:
    return lambda: sorted(client.scan_iter(match=f"{namespace}:*", count=1000))


def members(client, all_keys, kind: bytes) -> int:
    """Members of all indexes of a kind."""
    return sum(client.zcard(key) for key in all_keys() if b":" + kind in key)


def now_ms(client) -> int:
    seconds, microseconds = client.time()
    return seconds * 1000 + microseconds // 1000


def ended(client, *names: bytes) -> None:
    """Wait until keys have expired."""
    eventually(lambda: client.exists(*names) == 0)


def scripts_called(client) -> int:
    return client.info("commandstats")["cmdstat_evalsha"]["calls"]


def test_what_ended_at_once_is_freed_by_what_others_store(valkey, namespace, client) -> None:
    """A server left to itself keeps for long what has expired: here it frees nothing unasked."""
    client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    try:
        with RedisArtifactStore(valkey.url, namespace=namespace) as store:
            before = client.dbsize()
            store.store(b"kept", run_id="b")  # and with it the indexes
            store.store_many([b"%d" % n for n in range(STORM)], run_id="a")
            store.expire_run("a", 0.1)
            eventually(lambda: store.count() == 1)
            ended_at = now_ms(client)
            eventually(lambda: now_ms(client) > ended_at)  # in the last millisecond keys are there
            asked = scripts_called(client)
            assert len(store.page(limit=10).items) == 1
            assert scripts_called(client) - asked < 15
            held, kept = client.dbsize() - before, 1
            while client.dbsize() - before - 2 * kept > 20:  # two keys each, and indexes
                assert kept < STORM // 4
                kept += len(store.store_many([b"%d" % (STORM + kept + n) for n in range(10)], run_id="b"))
            assert held > STORM
            assert store.count() == len(store.page(limit=1000).items) == kept
    finally:
        client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "1")


KINDS = [b"needs:", b"run:", b"runs", b"catalog:deadlines", b"catalog:created"]


def test_no_index_grows_with_short_lived_names_of_one_content(valkey, client, namespace, all_keys) -> None:
    with RedisArtifactStore(valkey.url, namespace=namespace) as store:
        store.store(b"{}", artifact_id="kept", run_id="keeper")
        home = store._operations.backend.session.of("kept")
        for round_ in range(4):
            for n in range(300):
                store.store(b"{}", artifact_id=f"job-{round_}-{n}", run_id=f"run {round_} {n}", ttl=0.1)
            ended(client, home.artifact(f"job-{round_}-299".encode()))
            assert {kind: members(client, all_keys, kind) < 300 + FEW for kind in KINDS} == dict.fromkeys(KINDS, True)
        store.gc(dry_run=False, grace=0)
        assert {kind: members(client, all_keys, kind) for kind in KINDS} == dict.fromkeys(KINDS, 1)
        assert store.check().problems == []
        assert store.load("kept").content == b"{}"


def test_no_index_grows_with_what_many_runs_leased_shortly(valkey, client, namespace, all_keys) -> None:
    with RedisArtifactStore(valkey.url, namespace=namespace) as store:
        hot = store.store(b"{}", run_id="keeper").artifact_id
        home = store._operations.backend.session.of(hot)
        for round_ in range(4):
            for n in range(150):
                store.store(b"{}", run_id=f"run {round_} {n}", ttl=0.1)
            ended(client, home.run(f"run {round_} 149"))
        store.store(b"{}", run_id="keeper")
        assert client.hlen(home.artifact(EMPTY)) < FEW
        assert members(client, all_keys, b"leases:") < FEW
        assert members(client, all_keys, b"stores:") < FEW
        store.gc(dry_run=False, grace=0)
        assert store.check().problems == []
        assert [lease.run_id for lease in store.leases(hot)] == ["keeper"]


def test_everything_with_a_ttl_ends_by_itself(store, client, all_keys) -> None:
    for n in range(70):
        store.store(b"{}", run_id=f"r{n}", ttl=0.5)
    for n in range(50):
        store.store(b"{}", artifact_id=f"job-{n}", run_id="jobs", ttl=0.4)
        store.store(b"%d" % n, run_id="others", ttl=0.3, tags={"n": str(n)})
    store.store(LARGE, run_id="a", ttl=0.4)
    store.store(LARGE, run_id="b", ttl=0.5)
    store.store(LARGE, artifact_id="long", ttl=0.5)
    store.find_missing([LARGE_ID, "job-1", EMPTY.decode()], ttl=0.6, run_id="claims")
    store.store(b"old", artifact_id="replaced", run_id="a", ttl=60)
    store.store(b"new", artifact_id="replaced", run_id="b", ttl=0.3)
    store.touch(LARGE_ID, 0.3, "b")
    store.store(b"deleted", run_id="a")
    store.store(b"outliving", run_id="a", ttl=0.5)
    store.store(b"outliving", run_id="b", ttl=0.3)
    store.delete(compute_artifact_id(b"deleted"))
    for n in range(70):
        store.store(b"crowd", artifact_id="crowd", run_id=f"r{n}", ttl=0.5)
    store.delete("crowd")
    assert all_keys() != []
    eventually(lambda: all_keys() == [])


class Leftovers:
    """Puts one kind of leftover into a store that is right otherwise."""

    def __init__(self, store: RedisArtifactStore, client) -> None:
        self.store = store
        self.client = client
        self.session = store._operations.backend.session
        store.store(b"{}", artifact_id="kept", run_id="a", tags={"kept": "yes"})
        store.store(LARGE, run_id="a")
        for run in RUNS:
            store.store(b"hot", artifact_id="hot", run_id=run)
        self.home = self.session.of("kept")
        self.hot = self.session.of("hot")

    def add(self, key: bytes, member: bytes | str, score: float) -> None:
        assert self.client.zadd(key, {member: score}) == 1
        self.client.persist(key)

    def hold(self, minutes: int) -> bytes:
        return b"!%014x" % ((now_ms(self.client) - 60_000 * minutes) * 1000) + TOKEN

    def old_hold(self) -> None:
        self.add(self.session.of(LARGE_ID).needs(LARGE_ID.encode()), self.hold(11), FAR)

    def without_artifact(self) -> None:
        self.add(self.home.leases(b"gone"), "=a", FAR)
        self.add(self.home.stores(b"gone"), "=a", FAR)

    def few_leases(self) -> None:
        self.add(self.home.leases(b"kept"), "=a", FAR)
        self.add(self.home.stores(b"kept"), "=a", FAR)

    def immortal_burial(self) -> None:
        self.add(self.home.buried(b"gone", TOKEN), "=a", FAR)


LEFT: dict[str, tuple[str, Callable[[Leftovers], None]]] = {
    "needs, stale": ("stale-index-member", lambda left: left.add(left.home.needs(EMPTY), "gone", FAR)),
    "needs, expired": ("expired-index-member", lambda left: left.add(left.home.needs(EMPTY), "gone", PAST)),
    "needs, of another content": ("stale-index-member", lambda left: left.add(left.hot.needs(EMPTY), "hot", FAR)),
    "run, stale": ("stale-index-member", lambda left: left.add(left.home.run("a"), "gone", FAR)),
    "run, expired": ("expired-index-member", lambda left: left.add(left.home.run("a"), "gone", PAST)),
    "runs, stale": ("stale-index-member", lambda left: left.add(left.home.runs, "nobody", FAR)),
    "runs, expired": ("expired-index-member", lambda left: left.add(left.home.runs, "nobody", PAST)),
    "catalog, stale": (
        "stale-index-member",
        lambda left: (left.add(left.home.created, "gone", 5), left.add(left.home.deadlines, "gone", FAR)),
    ),
    "catalog, expired": (
        "expired-index-member",
        lambda left: (left.add(left.home.created, "gone", 5), left.add(left.home.deadlines, "gone", PAST)),
    ),
    "a hold that nobody ends": ("stale-index-member", Leftovers.old_hold),
    "leases and stores without their artifact": ("stale-index-member", Leftovers.without_artifact),
    "leases and stores of few leases": ("stale-index-member", Leftovers.few_leases),
    "leases that were buried for ever": ("immortal-staging", Leftovers.immortal_burial),
}


@pytest.mark.parametrize("what", LEFT)
def test_gc_removes(what, store, client, all_keys) -> None:
    left = Leftovers(store, client)
    clean = {key: client.zrange(key, 0, -1) for key in all_keys() if client.type(key) == b"zset"}
    problem, leave = LEFT[what]
    leave(left)
    found = store.check(grace=0)
    assert problem == "expired-index-member" or problem in {one.kind for one in found.problems}
    assert {one.kind for one in store.gc(grace=0).problems} == {problem}
    assert store.gc(dry_run=False, grace=0).ok
    store.gc(dry_run=False, grace=0)
    assert store.gc(grace=0).problems == []
    now = {key: client.zrange(key, 0, -1) for key in all_keys() if client.type(key) == b"zset"}
    buried = {key for key in now if b"buried:" in key}
    assert all(0 < client.pttl(key) <= 60_000 for key in buried)
    assert {key: now[key] for key in now.keys() - buried} == clean
    assert store.check(repair=True, grace=0).ok
    assert store.check(read_data=True, grace=0).problems == []
    assert store.load("kept").metadata.tags == {"kept": "yes"}
    assert store.load(LARGE_ID).content == LARGE
    assert len(store.leases("hot")) == len(RUNS)


def test_gc_leaves_a_hold_that_may_be_at_work(store, client) -> None:
    left = Leftovers(store, client)
    needs = left.session.of(LARGE_ID).needs(LARGE_ID.encode())
    left.add(needs, left.hold(9), FAR)
    assert store.gc(dry_run=False, grace=0).problems == []
    assert client.zcard(needs) == 1
    client.delete(needs)
    store.check(repair=True)


def test_gc_drops_leases_that_have_ended_of_what_many_lease(store, client, all_keys) -> None:
    left = Leftovers(store, client)
    for run in ENDED:
        store.touch("hot", 0.1, run)
    ended(client, *map(left.hot.run, ENDED))
    store.gc(dry_run=False, grace=0)
    assert len(store.leases("hot")) == 10
    assert store.release("hot", RUNS[-1])
    assert client.hlen(left.hot.artifact(b"hot")) == 9 + 2
    assert members(client, all_keys, b"leases:") == members(client, all_keys, b"stores:") == 0
    assert store.check().problems == []
