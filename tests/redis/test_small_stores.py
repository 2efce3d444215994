"""What is new under its default id, and what is there as it was sent, is stored by few commands, one or many at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import shake_128
from typing import Any

import pytest
from coatcheck import (
    ANY,
    ArtifactError,
    ArtifactMetadata,
    CorruptArtifactError,
    InvalidArtifactError,
    Payload,
    RedisArtifactStore,
    compute_artifact_id,
)
from coatcheck.backends.redis import indexing, storing
from coatcheck.backends.redis.layout.keys import Keys, default_member
from coatcheck.backends.redis.scripts.calls import writing
from coatcheck.backends.redis.storing import Storing
from coatcheck.ids import compute_digest
from coatcheck.testing import waiting

CONTENT = b"content " * 500  # worth compressing
NAME = compute_artifact_id(CONTENT)
MEMBER = default_member(compute_digest(CONTENT))
HOUR = 3600

Prepare = Callable[[RedisArtifactStore, Any, Keys], object]


@pytest.fixture
def server(valkey):
    return valkey


@pytest.fixture
def long_ways(monkeypatch) -> list[str]:
    """The ids for which `store.lua` was called."""
    called: list[str] = []
    call = Storing._call

    def noting(self: Storing, keys: Keys, requests: Any, *more: Any, **options: Any) -> Any:
        called.extend(request.artifact_id for request in requests)
        return call(self, keys, requests, *more, **options)

    monkeypatch.setattr(Storing, "_call", noting)
    return called


@pytest.fixture
def told(monkeypatch) -> list[str]:
    """What became of all that went the long way in `store.lua`."""
    kinds: list[str] = []
    decode = writing._told

    def noting(reply: Any) -> writing.Outcome:
        outcome = decode(reply)
        kinds.append(outcome.kind)
        return outcome

    monkeypatch.setattr(writing, "_told", noting)
    return kinds


@pytest.fixture(params=["among many", "in place", "in place among many"])
def way(request, monkeypatch) -> str:
    """How the content is stored: with others in one call, or put in place before."""
    if "in place" in request.param:
        monkeypatch.setattr(storing, "INLINE", 1000)
    return request.param


def put(way: str, store: RedisArtifactStore, **details: Any) -> ArtifactMetadata:
    if way == "in place":
        return store.store(CONTENT, **details)
    return store.store_many([b"before", CONTENT, b"behind"], **details)[1]


def leases_of(store: RedisArtifactStore, name: str = NAME) -> dict[str | None, float | None]:
    """Hours until the leases of the content end."""
    now = datetime.now(UTC)
    return {
        lease.run_id: lease.expires_at and round((datetime.fromisoformat(lease.expires_at) - now) / timedelta(hours=1))
        for lease in store.leases(name)
    }


def sound(store: RedisArtifactStore, name: str = NAME) -> bool:
    assert store.load(name, required=True).content == CONTENT
    return store.check(read_data=True).problems == []


AGAIN: dict[str, tuple[list[tuple[str | None, int | None]], dict[str | None, int | None]]] = {
    "new": ([("a", 1)], {"a": 1}),
    "for ever": ([("a", None)], {"a": None}),
    "anonymous": ([(None, 1)], {None: 1}),
    "by the same run": ([("a", 1), ("a", 1)], {"a": 1}),
    "longer": ([("a", 1), ("a", 2)], {"a": 2}),
    "shorter": ([("a", 2), ("a", 1)], {"a": 2}),
    "for ever now": ([("a", 1), ("a", None)], {"a": None}),
    "no longer for ever": ([("a", None), ("a", 1)], {"a": None}),
    "by another run": ([("a", 1), ("b", 1)], {"a": 1, "b": 1}),
    "by another run, longer": ([("a", 1), ("b", 2)], {"a": 1, "b": 2}),
    "by another run, shorter": ([("a", 2), ("b", 1)], {"a": 2, "b": 1}),
    "by another run, for ever": ([("a", 1), ("b", None)], {"a": 1, "b": None}),
    "by others, in turn": ([("a", 2), (None, 1), ("b", 1), ("a", 3)], {"a": 3, None: 1, "b": 1}),
}


@pytest.mark.parametrize("what", AGAIN)
@pytest.mark.parametrize("name", [NAME, "named"], ids=["by its hash", "named"])
def test_leases_last_as_long_as_any_store_said(what, name, store, client, keys, long_ways) -> None:
    stores, leases = AGAIN[what]
    for run, hours in stores:
        view = store.store(CONTENT, artifact_id=name, run_id=run, ttl=hours and hours * HOUR, tags={"n": str(hours)})
    assert long_ways == ([] if name == NAME else [name] * len(stores))
    assert leases_of(store, name) == leases
    assert store.get_metadata(name) == view
    assert sound(store, name)
    ends = [client.pexpiretime(key) for key in (keys.artifact(name.encode()), keys.content(NAME.encode()))]
    assert (ends[0] == -1) is (None in leases.values())
    assert ends[0] == ends[1]


def test_a_batch_shortens_no_lease_of_which_the_catalog_says_that_it_ends_before(store, client, keys) -> None:
    store.store(CONTENT, run_id="a", ttl=2 * HOUR)
    [(member, deadline)] = client.zrange(keys.deadlines, 0, -1, withscores=True)
    client.zadd(keys.deadlines, {member: deadline - 1.8 * HOUR * 1000})
    put("among many", store, run_id="a", ttl=HOUR)
    assert leases_of(store) == {"a": 2}


LASTING_LONGER = ["shorter", "no longer for ever", "by another run, shorter", "by others, in turn"]


@pytest.mark.parametrize("what", AGAIN)
def test_leases_last_as_long_where_many_are_stored_or_it_is_in_place(what, way, store, client, keys, told) -> None:
    stores, leases = AGAIN[what]
    for run, hours in stores:
        view = put(way, store, run_id=run, ttl=hours and hours * HOUR, tags={"n": str(hours)})
    assert bool(told) is (way == "among many" and what in LASTING_LONGER)
    assert leases_of(store) == leases
    assert store.get_metadata(NAME) == view
    assert sound(store)
    ends = [client.pexpiretime(key) for key in (keys.artifact(NAME.encode()), keys.content(NAME.encode()))]
    assert (ends[0] == -1) is (None in leases.values())
    assert ends[0] == ends[1]


def test_one_content_twice_in_a_batch_is_stored_as_it_came_last(store, told) -> None:
    for _ in range(2):
        store.store_many([Payload(CONTENT, tags={"n": "1"}), b"other", Payload(CONTENT, tags={"n": "2"})], run_id="a")
        assert [view.tags for view in store.list_by_run("a") if view.artifact_id == NAME] == [{"n": "2"}]
        assert sound(store)
    assert told == []  # each in a call of its own


def test_what_has_ended_is_new(store, client, keys, long_ways) -> None:
    store.store(b"lasts", run_id="a")
    store.store(CONTENT, run_id="a", ttl=0.01)
    waiting.eventually(lambda: not client.exists(keys.artifact(NAME.encode())))
    store.store(CONTENT, run_id="a", ttl=HOUR)
    assert len(long_ways) == 0
    assert leases_of(store) == {"a": 1}
    assert client.zscore(keys.deadlines, MEMBER) == client.pexpiretime(keys.artifact(NAME.encode()))


def stored_by_64(store: RedisArtifactStore, client: Any, keys: Keys) -> None:
    for n in range(64):
        store.store(CONTENT, run_id=f"r{n}", ttl=HOUR)


def store_otherwise(store: RedisArtifactStore, client: Any, keys: Keys) -> None:
    with RedisArtifactStore(client, namespace=keys.prefix.decode()[:-1], compression=None) as other:
        other.store(CONTENT, ttl=HOUR)


def damaged(change: Callable[[Any, Keys], object]) -> Prepare:
    def prepare(store: RedisArtifactStore, client: Any, keys: Keys) -> None:
        store.store(CONTENT, run_id="a", ttl=HOUR)
        change(client, keys)

    return prepare


REASONS: dict[str, Prepare] = {
    "the clock went back": lambda store, client, keys: client.zadd(keys.created, {":before": 2**52}),
    "many lease it": stored_by_64,
    "it is compressed in another way": store_otherwise,
    "its content is lost": damaged(lambda client, keys: client.delete(keys.content(NAME.encode()))),
    "its content is in another form": damaged(
        lambda client, keys: client.setrange(keys.content(NAME.encode()), 1, b"\0")
    ),
    "its content is cut off": damaged(lambda client, keys: client.set(keys.content(NAME.encode()), b"\2")),
    "its artifact is lost": damaged(lambda client, keys: client.delete(keys.artifact(NAME.encode()))),
    "it is in no catalog": damaged(lambda client, keys: client.zrem(keys.deadlines, MEMBER)),
    "its lease is damaged": damaged(lambda client, keys: client.hset(keys.artifact(NAME.encode()), "=a", b"x")),
}


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.leaves_keys("some reasons leave what another worker would mend")
def test_the_long_way_is_taken_where(reason, store, client, keys, long_ways) -> None:
    REASONS[reason](store, client, keys)
    long_ways.clear()
    store.store(CONTENT, run_id="a", ttl=2 * HOUR)
    assert long_ways == [NAME]
    assert leases_of(store)["a"] == 2
    assert store.load(NAME, required=True).content == CONTENT
    client.zrem(keys.created, ":before")
    assert sound(store)


@pytest.mark.parametrize("reason", [reason for reason in REASONS if reason != "the clock went back"])
@pytest.mark.leaves_keys("some reasons leave what another worker would mend")
def test_the_long_way_is_taken_by_one_of_many_or_in_place_where(reason, way, store, client, keys, told) -> None:
    REASONS[reason](store, client, keys)
    told.clear()
    put(way, store, run_id="a", ttl=2 * HOUR)
    assert bool(told) is not ("in place" in way and reason == "its artifact is lost")
    assert leases_of(store)["a"] == 2
    assert sound(store)


def test_content_that_was_lost_and_put_in_place_again_lasts_for_all_that_need_it(store, client, keys) -> None:
    content = shake_128(b"lost").digest(storing.INLINE + 1)
    name = compute_artifact_id(content)
    store.store(content, artifact_id="named")
    store.store(content, run_id="a", ttl=HOUR)
    client.delete(keys.content(name.encode()))
    store.store(content, run_id="a", ttl=HOUR)
    assert client.pttl(keys.content(name.encode())) == -1


def test_a_batch_that_fails_leaves_what_is_known_as_it_is(store, client, keys) -> None:
    store.store(CONTENT, run_id="a", ttl=HOUR)
    foreign = compute_artifact_id(b"foreign")
    client.set(keys.artifact(foreign.encode()), b"not ours")
    before = {key: client.dump(key) for key in client.keys()}
    with pytest.raises(CorruptArtifactError):
        store.store_many([b"new", CONTENT, b"foreign"], run_id="b", ttl=2 * HOUR)
    assert {key: client.dump(key) for key in client.keys()} == before
    client.delete(keys.artifact(foreign.encode()))


@pytest.mark.leaves_keys("the artifact of a content whose digest begins alike")
def test_what_is_there_of_a_digest_that_only_begins_alike_stays_as_it_is(store, client, keys, keys_of) -> None:
    store.store(CONTENT, run_id="a", ttl=HOUR)
    artifact = keys.artifact(NAME.encode())
    header = client.hget(artifact, "h")
    client.hset(artifact, "h", header[:30] + bytes([header[30] ^ 1]) + header[31:])
    before = {key: client.dump(key) for key in keys_of()}
    for run in ("a", "b"):
        with pytest.raises(InvalidArtifactError, match="other content"):
            store.store(CONTENT, run_id=run, ttl=2 * HOUR)
    assert {key: client.dump(key) for key in keys_of()} == before


@pytest.mark.parametrize("ttl", [HOUR, None])
@pytest.mark.parametrize("worker", ["that knows it", "that does not"])
def test_what_is_indexed_by_label_is_found_by_it(worker, ttl, store, client, namespace, long_ways) -> None:
    wished = {"index_tags": ("k",), "index_presence": ("p",), "index_content_type": True}
    with RedisArtifactStore(client, namespace=namespace, **wished) as indexing:
        first = indexing.store(b"first", tags={"k": "v/0"}, content_type="text/plain", ttl=60)
        assert long_ways.pop() == first.artifact_id
        storing = indexing if worker == "that knows it" else store
        for n in range(100):  # some of them drop what has expired
            storing.store(b"%d" % n, tags={"k": "v/%d" % (n % 3), "p": "1"}, content_type="text/plain", ttl=ttl)
        storing.store(CONTENT, run_id="a", tags={"k": "ä" * 65}, ttl=ttl)
        assert long_ways == []
        assert indexing.facets("tag:k") == {"v/0": 35, "v/1": 33, "v/2": 33, "ä" * 65: 1}
        assert [view.artifact_id for view in indexing.search(tags={"k": "ä" * 65})] == [NAME]
        assert (indexing.count(tags={"p": ANY}), indexing.count(content_type="text/plain")) == (100, 101)
        assert sound(indexing)
        written = [key for key in client.keys(f"{namespace}:labelled:*") if b":v%2F" in key or key.endswith(b":values")]
        left = {client.ttl(key) for key in written}
        assert left == {-1} if ttl is None else min(left) > ttl - 60
        storing.store(CONTENT, run_id="b", tags={"k": "w"}, ttl=ttl)  # it is mixed already, as a value is long
        assert long_ways == []
        assert sound(indexing)


KNOWN_AS: dict[str, tuple[list[tuple[str | None, dict[str, str]]], list[str], dict[str, int]]] = {
    "by the same run": ([("a", {"k": "v"}), ("a", {"k": "v"})], [], {"v": 1}),
    "by another run": ([("a", {"k": "v"}), ("b", {"k": "v"}), (None, {"k": "v"})], [], {"v": 1}),
    "with other tags besides": ([("a", {"k": "v"}), ("b", {"k": "v", "n": "1"}), ("b", {"k": "v"})], [], {"v": 1}),
    "under nothing": ([("a", {}), ("a", {"n": "1"}), ("b", {})], [], {}),
    "under something else": ([("a", {"k": "v"}), ("a", {"k": "w"})], [NAME], {"w": 1}),
    "by another run, under something else": ([("a", {"k": "v"}), ("b", {"k": "w"})], [NAME], {"w": 1}),
    "mixed": ([("a", {"k": "v"}), ("b", {"k": "w"}), ("b", {"k": "w"}), ("a", {"k": "x"})], [NAME], {"x": 1}),
}


@pytest.mark.parametrize("hours", [(1, 1), (1, 2), (2, 1), (None, 1), (1, None), (None, None)])
@pytest.mark.parametrize("what", KNOWN_AS)
def test_what_is_there_stays_known_by_its_labels(what, hours, client, namespace, keys, long_ways) -> None:
    stores, left, values = KNOWN_AS[what]
    with RedisArtifactStore(client, namespace=namespace, index_tags=("k",), index_content_type=True) as store:
        store.store_many([b"others"], tags={"k": "others"}, ttl=None)
        long_ways.clear()
        for n, (run, tags) in enumerate(stores):
            ttl = hours[n > 0]
            store.store(CONTENT, run_id=run, tags=tags, ttl=ttl and ttl * HOUR)
        assert long_ways == left
        assert store.facets("tag:k") == {"others": 1} | values
        assert store.count(content_type="application/octet-stream") == 2
        for labelled in client.scan_iter(f"{namespace}:labelled:*:created"):
            twin = labelled.removesuffix(b"created") + b"deadlines"
            for index, known in (labelled, keys.created), (twin, keys.deadlines):
                assert client.zscore(index, MEMBER) in (None, client.zscore(known, MEMBER))
        assert sound(store)


@pytest.mark.parametrize("there", [False, True])
def test_an_index_by_label_lasts_as_long_as_what_is_in_it(there, client, namespace) -> None:
    with RedisArtifactStore(client, namespace=namespace, index_tags=("k",)) as store:
        store.store(b"long", run_id="a", tags={"k": "v"}, ttl=2 * HOUR)
        for n in range(5):
            store.store(b"%d" % n, run_id="a", tags={"k": "w"}, ttl=60)
        for n in range(5):  # the run's index ends later than the label's
            store.store(b"%d" % n if there else b"new %d" % n, run_id="a", tags={"k": "w"}, ttl=HOUR + n)
        ends = [client.ttl(key) for key in client.scan_iter(f"{namespace}:labelled:*:w:*")]
        assert len(ends) == 2
        assert min(ends) > HOUR - 60
        assert store.check().problems == []


def test_while_an_index_is_built_the_long_way_is_taken(client, namespace, store, monkeypatch, long_ways) -> None:
    with RedisArtifactStore(client, namespace=namespace, index_tags=("k",)) as indexing_:
        for run, value in (("a", "v"), ("b", "w")):
            store.store(CONTENT, run_id=run, tags={"k": value})

        def store_again(count: int) -> None:
            store.store(CONTENT, run_id="a", tags={"k": "v"})

        note = indexing._note

        def store_before(*some):
            store_again(0)
            return note(*some)

        monkeypatch.setattr(indexing, "_note", store_before)
        indexing_.reindex(progress=store_again)
        assert long_ways == [NAME]  # it is known to be mixed then
        assert indexing_.facets("tag:k") == {"v": 1}
        assert sound(indexing_)


@pytest.mark.parametrize("value", ["v", "{n}"])
@pytest.mark.parametrize("again", [False, True])
def test_indexes_by_label_do_not_keep_what_has_expired(value, again, client, namespace) -> None:
    with RedisArtifactStore(client, namespace=namespace, index_tags=("k",)) as store:
        store.store(b"immortal", tags={"k": "v"})
        for n in range(1500):
            content = b"%d" % n
            store.store(content, tags={"k": value.format(n=n)}, ttl=0.001)
            if again:
                store.store(content, tags={"k": value.format(n=n)}, ttl=0.001)
        waiting.eventually(lambda: store.count() == 1)
        assert store.facets("tag:k") == {"v": 1}
        [values] = client.keys(f"{namespace}:labelled:*:values")
        # One store in thirty-two drops them.
        assert max(map(client.zcard, [values, *client.keys(f"{namespace}:labelled:*:v:*")])) < 800


@pytest.mark.parametrize("end", [":v:created", ":v:deadlines", ":values", ":run:b", ":catalog:deadlines", ":outlived"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.leaves_keys("an index of another type")
def test_an_index_of_another_type_is_told_and_nothing_is_changed(last, end, client, namespace, keys_of) -> None:
    with RedisArtifactStore(client, namespace=namespace, index_tags=("k", "l")) as store:
        for run, ttl in ("a", HOUR), ("b", HOUR / 2):
            store.store(CONTENT, run_id=run, tags={"k": "v", "l": "v"}, ttl=ttl)
        index = sorted(key for key in keys_of() if key.endswith(end))[-last]
        client.delete(index)
        client.set(index, b"x")
        before = {key: client.dump(key) for key in keys_of()}
        for n in range(40):
            with pytest.raises(ArtifactError, match="type"):
                store.store(CONTENT, run_id="b", tags={"k": "v", "l": "v"}, ttl=HOUR / 2 + n % 2)
        assert {key: client.dump(key) for key in keys_of()} == before


@pytest.mark.parametrize("end", [":v:deadlines", ":run:a", ":catalog:deadlines"])
@pytest.mark.leaves_keys("an index of another type")
def test_an_index_of_another_type_is_told_and_nothing_is_left(end, client, namespace, keys_of) -> None:
    with RedisArtifactStore(client, namespace=namespace, index_tags=("k", "l")) as store:
        store.store(b"first", run_id="a", tags={"k": "v", "l": "v"}, ttl=HOUR)
        index = min(key for key in keys_of() if key.endswith(end))
        client.delete(index)
        client.set(index, b"x")
        before = {key: client.dump(key) for key in keys_of()}
        for n in range(40):
            with pytest.raises(ArtifactError, match="type"):
                store.store(b"%d" % n, run_id="a", tags={"k": "v", "l": "v"}, ttl=HOUR)
        assert {key: client.dump(key) for key in keys_of()} == before


def test_the_latest_store_is_shown_though_others_last_longer(store, long_ways) -> None:
    store.store(CONTENT, run_id="a", ttl=2 * HOUR)
    assert store.find_missing([NAME], ttl=3 * HOUR, run_id="b") == []
    assert store.get_metadata(NAME).run_id == "b"
    store.store(CONTENT, run_id="c", ttl=HOUR)
    assert store.get_metadata(NAME).run_id == "c"
    assert long_ways == []


def test_the_latest_store_is_shown_though_it_was_one_of_many(store, told) -> None:
    store.store(CONTENT, run_id="a", ttl=2 * HOUR)
    assert store.find_missing([NAME], ttl=3 * HOUR, run_id="b") == []
    told.clear()
    store.store_many([b"other", CONTENT], run_id="c", ttl=4 * HOUR)
    assert store.get_metadata(NAME).run_id == "c"
    assert told == []


@pytest.mark.parametrize("size", [700, storing.INLINE + 1], ids=["among many", "in place"])
def test_what_was_cut_off_is_sent_again(size, store, client, keys) -> None:
    content = shake_128(b"cut off").digest(size)
    name = store.store(content, run_id="a", ttl=HOUR).artifact_id
    key = keys.content(name.encode())
    client.set(key, client.get(key)[:-1], keepttl=True)
    store.store_many([b"other", content], run_id="b", ttl=HOUR)
    assert store.load(name).content == content


def test_a_lease_that_others_outlast_does_not_end_with_its_content(store, long_ways) -> None:
    store.store(CONTENT, run_id="long", ttl=HOUR)
    store.store(CONTENT, run_id="short", ttl=0.05)
    waiting.eventually(lambda: list(leases_of(store)) == ["long"])
    assert store.list_by_run("short") == []
    assert store.load(NAME, required=True).content == CONTENT
    assert long_ways == []
