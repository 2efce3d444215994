"""Operations in a slot that is being moved key by key: each key in turn has gone ahead, or is the last to stay.

A script is refused (TRYAGAIN) or sent after (ASK) where keys that it declares lie on two nodes. A derived key that has
moved looks absent to it. So what an operation does there must be what it does in a slot at rest.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

from coatcheck import AmbiguousWriteError, RedisArtifactStore, StoreUnavailableError, compute_artifact_id
from coatcheck.backends.redis import leasing
from coatcheck.backends.redis.layout.keys import Keys
from coatcheck.backends.redis.layout.partitions import Partitions
from coatcheck.ids import compute_digest
from coatcheck.sources import Chunking
from coatcheck.testing import Cluster, Node

from ..harnesses import chunk

CUT = Partitions("any", 64)
HOME_NUMBER = 11
HOME = CUT.all[HOME_NUMBER]  # all that these tests store lies in one partition
CHUNKING = Chunking(size=10_000, threshold=20_000, window=8)
RUNS = [f"r{n}" for n in range(66)]  # more than the hash of an artifact tells of by itself
LONG, LONGER, SHORT = 7200, 72_000, 60


def content(text: str, length: int = 0) -> bytes:
    """A content whose default id lies there."""
    found = (f"{text} {n}".encode().ljust(length, b".") for n in count())
    return next(one for one in found if CUT.of(compute_artifact_id(one)) is HOME)


def name(text: str) -> str:
    """An explicit id that lies there."""
    return next(one for n in count() if CUT.of(one := f"{text}-{n}") is HOME)


CROWDED, FEW, LARGE, NEW = content("crowded"), content("few"), content("large", 35_000), content("new")
NEW_LARGE = content("new large", 35_000)
OLD, OLD_LARGE = content("old"), content("old large", 35_000)
CROWDED_ID, FEW_ID, LARGE_ID = map(compute_artifact_id, (CROWDED, FEW, LARGE))
ALSO_CROWDED, ALSO_FEW, NAME, CROWDED_NAME, LARGE_NAME = map(name, ("also", "too", "name", "popular", "long"))
FRESH = name("fresh")
OLD_DIGEST = compute_digest(OLD).hex()
EVERYTHING = (CROWDED_ID, FEW_ID, LARGE_ID, ALSO_CROWDED, ALSO_FEW, NAME, CROWDED_NAME, LARGE_NAME)


def furnish(store: RedisArtifactStore) -> None:
    for run in RUNS:
        store.store(CROWDED, run_id=run, ttl=LONG)
        store.store(OLD, artifact_id=CROWDED_NAME, run_id=run, ttl=LONG)
    for run in "a", "b":
        store.store(CROWDED, run_id=run, ttl=LONG)
        store.store(FEW, run_id=run, ttl=LONG)
        store.store(LARGE, run_id=run, ttl=LONG)
        store.store(OLD, artifact_id=NAME, run_id=run, ttl=LONG)
        store.store(OLD_LARGE, artifact_id=LARGE_NAME, run_id=run, ttl=LONG)
    store.store(CROWDED, artifact_id=ALSO_CROWDED, run_id="a")
    store.store(FEW, artifact_id=ALSO_FEW, run_id="a")


def together(store: RedisArtifactStore, run: str) -> int:
    """Delete what a run leases as if it were much."""
    with patch.object(leasing, "_ONE_CALL", 0):
        return store.delete_by_run(run)


OPERATIONS: dict[str, Callable[[RedisArtifactStore], Any]] = {
    "store new": lambda store: store.store(NEW, run_id="a", ttl=LONG).artifact_id,
    "store new large": lambda store: store.store(NEW_LARGE, run_id="a", ttl=LONG).artifact_id,
    "store again": lambda store: store.store(FEW, run_id="a", ttl=LONGER).artifact_id,
    "store for one more": lambda store: store.store(CROWDED, run_id="c", ttl=LONGER).artifact_id,
    "store large again": lambda store: store.store(LARGE, run_id="c", ttl=LONGER).artifact_id,
    "store shorter": lambda store: store.store(FEW, run_id="a", ttl=SHORT, exact_ttl=True).artifact_id,
    "store if absent": lambda store: store.store(NEW, artifact_id=FRESH, run_id="a", if_absent=True).artifact_id,
    "replace if": lambda store: store.store(NEW, artifact_id=NAME, run_id="a", if_digest=OLD_DIGEST).artifact_id,
    "link": lambda store: store.link(FEW_ID, NAME, run_id="c").artifact_id,
    "link large": lambda store: store.link(LARGE_ID, LARGE_NAME, run_id="c").artifact_id,
    "store many": lambda store: len(store.store_many([FEW, NEW, CROWDED], run_id="a")),
    "replace": lambda store: store.store(FEW, artifact_id=NAME, run_id="c").artifact_id,
    "replace by new": lambda store: store.store(NEW, artifact_id=NAME, run_id="a").artifact_id,
    "replace what many lease": lambda store: store.store(CROWDED, artifact_id=CROWDED_NAME, run_id="a").artifact_id,
    "replace large": lambda store: store.store(LARGE, artifact_id=LARGE_NAME, run_id="c").artifact_id,
    "acquire": lambda store: store.find_missing([CROWDED_ID, FEW_ID, NAME], ttl=LONGER, run_id="c"),
    "acquire large": lambda store: store.find_missing([LARGE_ID], ttl=LONGER, run_id="c"),
    "update": lambda store: store.update_many([FEW_ID, CROWDED_ID, NAME], run_id="a", tags={"k": "v"}) and None,
    "touch": lambda store: store.touch(FEW_ID, LONGER, "a"),
    "touch, among many": lambda store: store.touch(CROWDED_ID, LONGER, "r3"),
    "touch, shorter": lambda store: store.touch(ALSO_CROWDED, SHORT, "a"),
    "touch large": lambda store: store.touch(LARGE_ID, LONGER, "a"),
    "release": lambda store: store.release(FEW_ID, "b"),
    "release, among many": lambda store: store.release(CROWDED_ID, "b"),
    "release large": lambda store: store.release(LARGE_ID, "b"),
    "release the last": lambda store: store.release(ALSO_FEW, "a"),
    "delete": lambda store: store.delete(FEW_ID),
    "delete what many lease": lambda store: store.delete(CROWDED_ID),
    "delete a name": lambda store: store.delete(NAME),
    "delete large": lambda store: store.delete(LARGE_ID),
    "delete by run": lambda store: store.delete_by_run("a"),
    "delete by run together": lambda store: together(store, "a"),
    "delete what only one leases": lambda store: (
        store.store_many([NEW, NEW_LARGE], run_id="c") and together(store, "c")
    ),
    "renew a run": lambda store: store.touch_run("a", LONGER),
    "end a run": lambda store: store.expire_run("a", SHORT),
    "delete where": lambda store: store.delete_where(run_prefix="a", dry_run=False).artifacts,
    "release where": lambda store: store.delete_where(run_id="b", dry_run=False).artifacts,
    "gc": lambda store: store.gc(dry_run=False, grace=0).ok,
    "repair": lambda store: store.check(repair=True, grace=0).ok,
}


def second_page_of_runs(store: RedisArtifactStore) -> list[str]:
    """All behind the first."""
    return store.page_runs(limit=1000, after=store.page_runs(limit=1).next).items


READINGS: dict[str, Callable[[RedisArtifactStore], Any]] = {
    **{f"load {one}": lambda store, one=one: store.load(one) for one in EVERYTHING},
    "load all": lambda store: store.load_many(EVERYTHING),
    "metadata": lambda store: store.metadata_many(EVERYTHING),
    "leases": lambda store: store.leases(CROWDED_ID),
    "leases of many": lambda store: store.leases_many(EVERYTHING),
    "exists": lambda store: [store.exists(one) for one in EVERYTHING],
    "range": lambda store: store.load_range(LARGE_ID, 9_990, 20_010),
    "list by run": lambda store: sorted(view.artifact_id for view in store.list_by_run("a")),
    "list all": lambda store: store.list_all(),
    "page": lambda store: store.page(limit=3, tags={}).items,
    "page by expiry": lambda store: len(store.page(limit=3, by="expiry", order="asc").items),
    "page of a run": lambda store: len(store.page(limit=3, run_id="a").items),
    "search": lambda store: store.search(content_type="application/*", created_before="2999-01-01"),
    "iterate": lambda store: sorted(view.artifact_id for view in store.iter_artifacts(min_size=1)),
    "metadata of a run": lambda store: sorted(view.artifact_id for view in store.iter_run("r3")),
    "list runs": lambda store: sorted(store.list_runs()),
    "pages of runs": lambda store: sorted({*store.page_runs(limit=1).items, *second_page_of_runs(store)}),
    "count": lambda store: (store.count(), store.count(min_size=1), store.count(run_id="r3")),
    "facets": lambda store: (store.facets("run_id"), store.facets("content_type", run_id="a")),
    "figures of some": lambda store: store.stats(run_id="a", min_size=1).leases,
    "figures of a run": lambda store: store.run_stats("a").artifacts,
    "figures of runs": lambda store: [one.artifacts for one in store.run_stats_many(["a", "r3", "absent"])],
    "figures": lambda store: (store.stats().artifacts, store.stats().leases, store.stats().content_bytes),
}

WAITING = {"load all", "leases of many", "figures", "figures of some"} | {
    f"load {one}" for one in (ALSO_CROWDED, ALSO_FEW, NAME, LARGE_NAME)
}
"""Readings whose scripts declare indexes of leases that few leases don't have: a moving slot always lacks a key."""


def seen(store: RedisArtifactStore) -> dict[str, Any]:
    """Who leases what until about when, and that it can be read."""

    def until(expires_at: str | None) -> str:
        if expires_at is None:
            return "for ever"
        left = datetime.datetime.fromisoformat(expires_at) - datetime.datetime.now(datetime.UTC)
        return next(text for text, ttl in {"short": 100, "long": 9000, "longer": 80_000}.items() if left.seconds < ttl)

    found: dict[str, Any] = {}
    for artifact in store.load_many([*EVERYTHING, *map(compute_artifact_id, (NEW, NEW_LARGE))]):
        if artifact is not None:
            leases = {lease.run_id: until(lease.expires_at) for lease in store.leases(artifact.artifact_id)}
            found[artifact.artifact_id] = (artifact.content[:10], len(artifact.content), leases)
    for run in "a", "b", "c", "r3":
        found[f"run {run}"] = sorted(view.artifact_id for view in store.list_by_run(run))
    return found


class Key(NamedTuple):
    name: bytes
    ends: int
    dump: bytes


class Home:
    """One partition of a cluster, with everything in it, and another node that some keys go to and come back from.

    The move is given up each time: nodes whose slots change owners many times a second don't agree on who it is.
    """

    def __init__(self, cluster: Cluster, keys: Keys, store: RedisArtifactStore) -> None:
        self.keys = keys
        self.store = store
        self.owner = cluster.owner(keys.slot)
        self.other = next(node for node in cluster.primaries() if node is not self.owner)
        self.clients = {node: node.client() for node in (self.owner, self.other)}
        furnish(store)
        self.furniture = self.keys_here()

    def close(self) -> None:
        self.give_up()
        for client in self.clients.values():
            client.close()

    def begin(self, ahead: Sequence[bytes]) -> None:
        """The slot is being moved, and some keys have gone ahead."""
        self._tell(self.other, "SETSLOT", self.keys.slot, "IMPORTING", self.owner.id)
        self._tell(self.owner, "SETSLOT", self.keys.slot, "MIGRATING", self.other.id)
        self._move(self.owner, ahead, self.other)

    def give_up(self) -> None:
        """All keys are in one place again."""
        self._tell(self.owner, "SETSLOT", self.keys.slot, "STABLE")
        self._move(self.other, self._names(self.other), self.owner)
        self._tell(self.other, "SETSLOT", self.keys.slot, "STABLE")

    def _move(self, source: Node, names: Sequence[bytes], to: Node) -> None:
        if names:
            self.clients[source].execute_command("MIGRATE", "127.0.0.1", to.port, "", 0, 10_000, "KEYS", *names)

    def _names(self, node: Node) -> list[bytes]:
        return sorted(self._tell(node, "GETKEYSINSLOT", self.keys.slot, 10_000))

    def _tell(self, node: Node, *command: Any) -> Any:
        return self.clients[node].execute_command("CLUSTER", *command)

    def keys_here(self) -> list[Key]:
        """Every key, as it lies there."""
        names = self._names(self.owner)
        with self.clients[self.owner].pipeline(transaction=False) as pipeline:
            for one in names:
                pipeline.pexpiretime(one)
                pipeline.dump(one)
            replies = pipeline.execute()
        return [Key(*three) for three in zip(names, replies[::2], replies[1::2], strict=True)]

    def refurnish(self) -> None:
        with self.clients[self.owner].pipeline(transaction=False) as pipeline:
            for one in self._names(self.owner):
                pipeline.unlink(one)
            for one in self.furniture:
                pipeline.restore(one.name, max(0, one.ends), one.dump, absttl=True)
            pipeline.execute()

    def unchanged(self) -> bool:
        """Whether all keys are as they were; ends drift while keys are moved."""
        return [(one.name, one.dump) for one in self.keys_here()] == [(one.name, one.dump) for one in self.furniture]

    def arrangements(self) -> Iterator[list[bytes]]:
        """What has gone ahead: all that some script derives, all but that, one key of each kind."""
        every = [one.name for one in self.furniture]
        kinds = {one: self.keys.kind_of(one)[0] for one in every}
        runs = [one for one in every if kinds[one] == "run"]
        contents = [one for one in every if kinds[one] in ("content", "chunk")]
        for some in runs, contents, runs + contents:
            yield some
            yield [one for one in every if one not in some]
        for one in {kind: one for one, kind in kinds.items()}.values():
            yield [one]


@pytest.fixture
def home(valkey_cluster, namespace) -> Iterator[Home]:
    keys = Partitions(namespace, 64).all[HOME_NUMBER]
    with RedisArtifactStore(valkey_cluster.url, namespace=namespace) as store:
        home = Home(valkey_cluster, keys, chunk(store, CHUNKING))
        yield home
        home.close()


@pytest.fixture
def impatient(home, valkey_cluster, namespace) -> Iterator[RedisArtifactStore]:
    """A store that gives up where it would have to wait for the move."""
    with RedisArtifactStore(valkey_cluster.url, namespace=namespace, retry_for=0) as store:
        store.exists("x")  # connects
        yield chunk(store, CHUNKING)


def attempt(operation: Callable[[RedisArtifactStore], Any], store: RedisArtifactStore) -> tuple[bool, Any]:
    """Whether it was done, and what it returned."""
    try:
        return True, operation(store)
    except (StoreUnavailableError, AmbiguousWriteError) as error:
        assert re.search("during rehashing|non local key|127.0.0.1", str(error))  # TRYAGAIN, ASK
        return False, None


@pytest.mark.parametrize("what", OPERATIONS)
def test_a_half_moved_slot_changes_nothing_about(what, home, impatient) -> None:
    operation = OPERATIONS[what]
    result = operation(home.store)
    expected = seen(home.store)
    for ahead in home.arrangements():
        home.refurnish()
        home.begin(ahead)
        went_through, got = attempt(operation, impatient)
        home.give_up()
        if went_through:
            assert got == result
        elif home.unchanged():
            continue
        else:
            operation(home.store)
        assert seen(home.store) == expected
        assert home.store.check(repair=True, grace=0).ok
        assert home.store.check(grace=0).problems == []
        assert seen(home.store) == expected


def test_in_a_half_moved_slot_nobody_reads_less(home, impatient) -> None:
    expected = {what: read(home.store) for what, read in READINGS.items()}
    answered = set()
    for ahead in home.arrangements():
        home.begin(ahead)
        got = {what: attempt(read, impatient) for what, read in READINGS.items()}
        home.give_up()
        for what, (went_through, answer) in got.items():
            assert not went_through or answer == expected[what], what
            answered |= {what} if went_through else set()
    assert READINGS.keys() - answered == WAITING


@pytest.mark.parametrize("options", [{}, {"index_content_type": True}], ids=["", "indexed by label"])
@pytest.mark.parametrize("by", ["who knows what is indexed", "who does not"])
@pytest.mark.parametrize("ttl", [SHORT, LONGER])
def test_what_a_small_store_derives_is_not_made_where_its_other_keys_have_gone(
    valkey_cluster, namespace, options, by, ttl
) -> None:
    """Else it would be there twice, and one of the two be lost."""
    keys = Partitions(namespace, 64).all[HOME_NUMBER]
    with RedisArtifactStore(valkey_cluster.url, namespace=namespace, **options) as store:
        home = Home(valkey_cluster, keys, chunk(store, CHUNKING))
        store.store(FEW, run_id="short", ttl=SHORT)
        home.furniture = home.keys_here()
        derived = [one.name for one in home.furniture if b"labelled:" in one.name or one.name.endswith(b"outlived")]
        assert derived
        own = options if by == "who knows what is indexed" else {}
        with RedisArtifactStore(valkey_cluster.url, namespace=namespace, retry_for=0, **own) as impatient:
            impatient.exists("x")
            for ahead in derived, [one.name for one in home.furniture if one.name not in derived]:
                home.begin(ahead)
                went_through, _ = attempt(lambda store: store.store(FEW, run_id="r3", ttl=ttl), impatient)
                home.give_up()
                assert went_through or home.unchanged()
                assert store.check(grace=0).problems == []
        home.close()


def test_what_plain_commands_read_waits_for_no_move(home, impatient) -> None:
    reads = {what: READINGS[what] for what in ("list by run", "page of a run", "metadata of a run")}
    expected = {what: read(home.store) for what, read in reads.items()}
    for ahead in home.arrangements():
        home.begin(ahead)
        assert {what: read(impatient) for what, read in reads.items()} == expected
        home.give_up()
