"""Anything under our keys: a typed error or the right bytes, and the neighbours unharmed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from coatcheck import (
    Artifact,
    ArtifactConflictError,
    ArtifactLostError,
    ArtifactNotFoundError,
    CorruptArtifactError,
    InvalidArtifactError,
    RedisArtifactStore,
    compute_artifact_id,
)
from coatcheck.backends.redis.layout.keys import Keys
from coatcheck.envelope import VERSION

from ..sizes import EXAMPLES

SMALL, EXPLICIT, NEW, HOT = b"victim" * 200, b"explicit", b"new", b"leased by many"
LARGE = hashlib.shake_128(b"victim").digest(70_000)
NEIGHBOURS = {"neighbour": b"neighbour" * 100, "large neighbour": hashlib.shake_128(b"neighbour").digest(70_000)}
VICTIM, VICTIM_LARGE, VICTIM_HOT = (compute_artifact_id(content) for content in (SMALL, LARGE, HOT))
TRUTH = {VICTIM: SMALL, VICTIM_LARGE: LARGE, VICTIM_HOT: HOT, "name": EXPLICIT}

TYPED = (
    CorruptArtifactError,
    ArtifactLostError,
    InvalidArtifactError,
    ArtifactConflictError,
    ArtifactNotFoundError,
)

OPERATIONS: list[Callable] = [
    *(lambda s, name=name: s.load(name) for name in TRUTH),
    *(lambda s, name=name: s.get_metadata(name) for name in TRUTH),
    *(lambda s, name=name: s.leases(name) for name in TRUTH),
    lambda s: s.load_many(list(TRUTH)),
    lambda s: s.find_missing(list(TRUTH)),
    lambda s: s.list_by_run("a"),
    lambda s: s.list_all(limit=0),
    lambda s: s.list_all(limit=2),
    lambda s: s.list_runs(),
    lambda s: s.search(tags={"k": "v"}),
    lambda s: s.stats(),
    lambda s: s.gc(grace=0),
    lambda s: s.check(read_data=True, grace=0),
    lambda s: s.touch(VICTIM, 500, "a"),
    lambda s: s.touch("name", 500, "b"),
    lambda s: s.update_many(list(TRUTH), run_id="a", tags={"n": "1"}),
    lambda s: s.store(b"other", artifact_id="name", if_absent=True),
    lambda s: s.link("name", "linked"),
    lambda s: s.touch(VICTIM_HOT, 500, "run3"),
    lambda s: s.find_missing(list(TRUTH), ttl=60, run_id="b"),
    lambda s: s.store(SMALL, run_id="c", ttl=60),
    lambda s: s.store(SMALL, run_id="a"),
    lambda s: s.store(LARGE, run_id="a", ttl=60),
    lambda s: s.store(HOT, run_id="c", ttl=60),
    lambda s: s.store(EXPLICIT, run_id="a", artifact_id="name"),
    lambda s: s.store(NEW, run_id="a", artifact_id="name"),
    lambda s: s.store_many([SMALL, NEW, LARGE], run_id="b"),
    lambda s: s.release(VICTIM, "b"),
    lambda s: s.release("name", "a"),
    lambda s: s.release(VICTIM_HOT, "run4"),
    lambda s: s.check(repair=True, read_data=True, grace=0),
    lambda s: s.gc(dry_run=False, grace=0),
    lambda s: s.delete(VICTIM_LARGE),
    lambda s: s.delete_by_run("a"),
    lambda s: s.delete_by_run("b"),
    lambda s: s.delete_by_run("run5"),
    lambda s: s.delete(VICTIM),
    lambda s: s.delete(VICTIM_HOT),
    lambda s: s.delete("name"),
]


@pytest.fixture
def server(valkey):
    """One engine: test_errors.py has each engine's own words for a wrong type."""
    return valkey


def fill(store) -> None:
    store.store(SMALL, run_id="a", ttl=900, tags={"k": "v"})
    store.store(SMALL, run_id="b", content_type="text/plain")
    store.store(LARGE, run_id="a", ttl=900)
    store.store(EXPLICIT, run_id="a", artifact_id="name", tags={"k": "w"})
    store.store(EXPLICIT, run_id="b", artifact_id="name")
    for n in range(70):
        store.store(HOT, run_id=f"run{n}", ttl=900)
    for name, content in NEIGHBOURS.items():
        store.store(content, run_id=name, ttl=900)


def neighbours_are_well(store) -> None:
    for content in NEIGHBOURS.values():
        loaded = store.load(compute_artifact_id(content))
        assert loaded is not None
        assert loaded.content == content


def endure(store) -> None:
    """Every operation: right, or a typed error."""
    for operation in OPERATIONS:
        try:
            result = operation(store)
        except TYPED as error:
            assert str(error)
            continue
        for found in result if isinstance(result, list) else [result]:
            if isinstance(found, Artifact):
                # "name" may have been stored anew by then; whatever was loaded has to be what its digest says.
                assert hashlib.sha256(found.content).hexdigest() == found.metadata.digest
                assert found.artifact_id not in TRUTH or found.content in (TRUTH[found.artifact_id], NEW)
    neighbours_are_well(store)


TYPES = {
    "string": lambda client, key: client.set(key, bytes((VERSION, 0)) + b"not ours"),
    "list": lambda client, key: client.rpush(key, b"not ours"),
    "set": lambda client, key: client.sadd(key, b"not ours"),
    "zset": lambda client, key: client.zadd(key, {b"not ours": 1e15}),
    "hash": lambda client, key: client.hset(key, "h", b"not ours"),
    "stream": lambda client, key: client.xadd(key, {"not": "ours"}),
}
NAMES = Keys(b"", 0)
KEYS = {
    "content": NAMES.content(VICTIM.encode()),
    "large content": NAMES.content(VICTIM_LARGE.encode()),
    "artifact": NAMES.artifact(VICTIM.encode()),
    "explicit artifact": NAMES.artifact(b"name"),
    "artifact of many": NAMES.artifact(VICTIM_HOT.encode()),
    "leases": NAMES.leases(VICTIM_HOT.encode()),
    "stores": NAMES.stores(VICTIM_HOT.encode()),
    "needs": NAMES.needs(compute_artifact_id(EXPLICIT).encode()),
    "run": NAMES.run("a"),
    "other run": NAMES.run("b"),
    "runs": NAMES.runs,
    "created": NAMES.created,
    "deadlines": NAMES.deadlines,
}


@pytest.mark.leaves_keys("of every type under every name")
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("key", KEYS)
def test_any_type_under_any_key_is_endured(store, client, keys, key, kind) -> None:
    fill(store)
    name = keys.prefix + KEYS[key]
    assert client.delete(name)
    TYPES[kind](client, name)
    endure(store)


@pytest.mark.leaves_keys("of another artifact under every name")
@pytest.mark.parametrize("key", KEYS)
def test_what_belongs_under_another_key_is_endured(store, client, keys, key) -> None:
    others = {
        *KEYS.values(),
        *(NAMES.content(compute_artifact_id(content).encode()) for content in NEIGHBOURS.values()),
    }
    if key == "explicit artifact":  # the hash of another artifact says what a store under that id would have said
        others -= {name for name in others if name.startswith(NAMES.artifact(b""))}
    for other in sorted(others - {KEYS[key]}):
        client.delete(*client.scan_iter(match=keys.prefix + b"*", count=1000), "none")
        fill(store)
        client.copy(keys.prefix + other, keys.prefix + KEYS[key], replace=True)
        endure(store)


@pytest.mark.parametrize("value", [b"", b"x", bytes(12)])
def test_a_damaged_lease_is_never_a_reason_to_delete_and_is_renewed_by_storing(store, client, keys, value) -> None:
    store.store(SMALL, run_id="a", ttl=900)
    store.store(SMALL, run_id="b", ttl=900)
    key = keys.artifact(VICTIM.encode())
    client.hset(key, "=a", value)
    with pytest.raises(CorruptArtifactError, match="delete"):
        store.touch(VICTIM, 60, "a")
    assert client.hget(key, "=a") == value
    assert store.release(VICTIM, "b")
    assert store.exists(VICTIM)
    store.store(SMALL, run_id="a", ttl=900)
    assert [lease.run_id for lease in store.leases(VICTIM)] == ["a"]
    assert store.leases(VICTIM)[0].expires_at is not None
    assert store.check(read_data=True).problems == []  # it ends with its lease again
    assert store.load(VICTIM).content == SMALL
    assert store.release(VICTIM, "a")
    assert not store.exists(VICTIM)


garbage = st.binary(max_size=70)
marks = st.integers(0, 10**6)
scores = st.sampled_from([0, -1, 1, 2**48 - 1, 2**48, 1e300, float("inf"), float("-inf"), 0.5]) | st.integers(0, 2**53)


@st.composite
def damages(draw):
    """A change behind the store's back: a function of the client and the key prefix."""
    key = draw(st.sampled_from(list(KEYS.values())))
    how = draw(st.sampled_from(["spoil", "spoil", "spoil", "replace", "expire", "persist", "remove"]))
    junk, mark, score, extra = draw(garbage), draw(marks), draw(scores), draw(garbage)
    spoiling = draw(st.sampled_from(["flip", "cut", "splice", "junk", "add"]))

    def spoiled(value: bytes) -> bytes:
        at = mark % (len(value) or 1)
        if spoiling == "flip":
            return bytes([*value[:at], (value[at] if value else 0) ^ (1 << mark % 8), *value[at + 1 :]])
        return {"cut": value[:at], "splice": value[:at] + junk + value[at:], "junk": junk, "add": value + junk}[
            spoiling
        ]

    def do(client: redis.Redis, prefix: bytes) -> None:
        name = prefix + key
        kind = client.type(name)
        if how == "expire":
            client.pexpire(name, 10_000 + mark)
        elif how == "persist":
            client.persist(name)
        elif how == "remove":
            client.delete(name)
        elif how == "replace":
            client.set(name, junk)
        elif kind == b"string":
            client.set(name, spoiled(client.get(name)), keepttl=True)
        elif kind == b"hash":
            field = sorted(client.hkeys(name))[mark % client.hlen(name)]
            client.hset(name, field if mark % 3 else extra, spoiled(client.hget(name, field)))
        elif kind == b"zset":
            member = client.zrange(name, 0, -1)[mark % client.zcard(name)]
            client.zadd(name, {member if mark % 3 else extra: score})

    do.__qualname__ = f"{how} {key} {spoiling} {junk!r} {mark} {score} {extra!r}"
    return do


@pytest.mark.leaves_keys("scores that are no deadlines")
@pytest.mark.parametrize("score", ["-inf", "inf", -1, 0.5, 2**48 - 1, 2**48, 2**63, 1e300])
@pytest.mark.parametrize("key", ["leases", "stores", "needs", "run", "runs", "created", "deadlines"])
def test_any_score_in_an_index_is_endured(store, client, keys, key, score) -> None:
    fill(store)
    name = keys.prefix + KEYS[key]
    for member in client.zrange(name, 0, -1):
        client.zadd(name, {member: score})
    endure(store)


def test_a_deadline_beyond_the_calendar_is_damage(store, client, keys) -> None:
    name = store.store(SMALL, run_id="a").artifact_id
    key = keys.artifact(name.encode())
    client.hset(key, "=a", (2**48 - 2).to_bytes(6) + client.hget(key, "=a")[6:])
    for read in (
        lambda: store.run_stats("a"),
        lambda: store.run_stats_many(["a"]),
        lambda: store.stats(run_id="a"),
        lambda: store.facets("content_type", run_id="a"),
        lambda: store.list_by_run("a"),
        lambda: store.load(name),
    ):
        with pytest.raises(CorruptArtifactError):
            read()
    store.delete(name)


@pytest.mark.leaves_keys("of any kind")
@settings(
    max_examples=EXAMPLES // 4,
    suppress_health_check=list(HealthCheck),
    phases=[phase for phase in Phase if phase is not Phase.explain],
    print_blob=True,
)
@given(harm=st.lists(damages(), min_size=1, max_size=3))
def test_any_damage_is_endured(valkey, namespace, keys, harm) -> None:
    with valkey.client() as client, RedisArtifactStore(valkey.url, namespace=namespace) as store:
        client.delete(*client.scan_iter(match=keys.prefix + b"*", count=1000), "none")
        fill(store)
        for do in harm:
            do(client, keys.prefix)
        endure(store)
