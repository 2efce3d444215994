"""Indexes by label: what they answer is what a look at everything answers, whatever happened before."""

from __future__ import annotations

import random
import textwrap
from collections import Counter
from collections.abc import Iterator

import pytest
from coatcheck import ANY, ArtifactStore, Payload, RedisArtifactStore
from coatcheck.backends.redis import indexing
from coatcheck.backends.redis.finding.labelled import markers
from coatcheck.backends.redis.scripts.script import link
from coatcheck.plan import run
from coatcheck.testing.waiting import eventually

INDEXED = {"index_tags": ("kind", "step"), "index_presence": ("shared",), "index_content_type": True}
QUERIES = [
    {"tags": {"kind": "a"}},
    {"tags": {"kind": "b"}},
    {"tags": {"kind": "x" * 200}},
    {"tags": {"kind": "ä %:*\n"}},
    {"tags": {"kind": ""}},
    {"tags": {"kind": ANY}},
    {"tags": {"shared": ANY}},
    {"tags": {"shared": "1"}},
    {"tags": {"kind": "a", "step": "1"}},
    {"tags": {"kind": "a", "other": "1"}},
    {"content_type": "text/plain"},
    {"content_type": "application/octet-stream"},
    {"content_type": "text/plain", "tags": {"kind": "b"}},
]
KINDS = ["a", "a", "a", "b", "", "ä %:*\n", "x" * 200, None]
RUNS = [None, "r1", "r2", "r3"]


def is_wanted(view, query) -> bool:
    tags = query.get("tags", {})
    return query.get("content_type", view.content_type) == view.content_type and all(
        name in view.tags and value in (ANY, view.tags[name]) for name, value in tags.items()
    )


def answers(store: ArtifactStore) -> list:
    """What the store says, by every way of asking."""
    found = []
    for query in QUERIES:
        listed = sorted(view.artifact_id for view in store.iter_artifacts(**query))
        newest, last = (
            sorted(view.artifact_id for view in store.page(**query, by=by, limit=500).items)
            for by in ("time", "expiry")
        )
        found.append((listed, newest, last, store.count(**query), store.stats(**query).artifacts))
    return [*found, *(store.facets(field) for field in ("tag:kind", "tag:step", "content_type"))]


def expected(store: ArtifactStore) -> list:
    """The same, of a look at everything."""
    views = store.list_all(limit=0)
    found = []
    for query in QUERIES:
        ids = sorted(view.artifact_id for view in views if is_wanted(view, query))
        found.append((ids, ids, ids, len(ids), len(ids)))
    for name in ("kind", "step"):
        found.append(Counter(view.tags[name] for view in views if name in view.tags))
    return [*found, Counter(view.content_type for view in views)]


def assert_right(store: ArtifactStore) -> None:
    """What ends in between is asked about again."""
    for _ in range(5):
        before, said, after = expected(store), answers(store), expected(store)
        if before == after:
            break
    assert said == before


def labels(dice: random.Random) -> dict:
    kind = dice.choice(KINDS)
    tags = {} if kind is None else {"kind": kind}
    if dice.random() < 0.5:
        tags["step"] = str(dice.randrange(3))
    if dice.random() < 0.2:
        tags["shared"] = dice.choice("12")
    return {"tags": tags, "content_type": dice.choice(["text/plain", "application/octet-stream"])}


def change(store: ArtifactStore, dice: random.Random) -> None:
    """One of all the ways to change what is there."""
    ids = [f"id-{i}" for i in range(6)]
    one, run = dice.choice(ids), dice.choice(RUNS)
    content = dice.choice([b"0", b"1", b"2"])
    ttl = dice.choice([None, None, 100, 0.05])
    match dice.randrange(14):
        case 0 | 1 | 2:
            store.store(content, artifact_id=one, run_id=run, ttl=ttl, **labels(dice))
        case 3 | 4:
            store.store(dice.choice([content, dice.randbytes(2)]), run_id=run, ttl=ttl, **labels(dice))
        case 5:
            store.store_many([dice.randbytes(1) for _ in range(5)], run_id=run, ttl=ttl, **labels(dice))
        case 6:
            store.release(one, run)
        case 7:
            store.delete(one)
        case 8:
            store.touch(one, ttl=dice.choice([None, 100, 0.05]), run_id=run)
        case 9 | 10:
            store.update_metadata(one, run_id=run, replace=dice.random() < 0.5, **labels(dice))
        case 11:
            store.find_missing(ids, ttl=ttl, run_id=run)
        case 12:
            if run is not None and dice.random() < 0.3:
                store.delete_by_run(run)
        case _:
            store.store(content, artifact_id=one, run_id=run, ttl=100, exact_ttl=True, **labels(dice))


@pytest.fixture
def indexed(server, namespace) -> Iterator[RedisArtifactStore]:
    with RedisArtifactStore(server.url, namespace=namespace, **INDEXED) as store:
        yield store


@pytest.mark.parametrize("seed", range(2))
def test_an_index_answers_what_a_look_at_everything_does(indexed: RedisArtifactStore, keys_of, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(3):
        for _ in range(40):
            change(indexed, dice)
        assert_right(indexed)
        assert indexed.check().problems == []
    indexed.delete_many([view.artifact_id for view in indexed.list_all(limit=0)])
    eventually(lambda: keys_of() == [])


def test_a_script_knows_one_moment(client) -> None:
    """Else what ends between two looks of one is in one of them only. Redis 7.0 tells a script the time as it goes."""
    text = """
    local call = redis.call
    -- @include time
    local first = now_in_microseconds()
    for i = 1, 100000 do integer(i) end
    return { integer(first), integer(now_in_microseconds()) }
    """
    first, second = client.eval(link(textwrap.dedent(text)), 0)
    assert first == second


def test_an_id_that_has_expired_begins_anew(indexed: RedisArtifactStore, server, namespace) -> None:
    """What was mixed then is not any more."""
    for run_id, kind in (("r1", "a"), ("r2", "b")):
        [_, view] = indexed.store_many([b"for ever"], run_id=run_id, tags={"kind": kind}) + indexed.store_many(
            [b"x"], run_id=run_id, tags={"kind": kind}, ttl=600
        )
    assert indexed.touch(view, 0.05, "r1")
    assert indexed.touch(view, 0.05, "r2")
    eventually(lambda: not indexed.exists(view.artifact_id))
    indexed.store(b"x", tags={"kind": "a"})
    assert (indexed.count(tags={"kind": "a"}), indexed.facets("tag:kind")) == (1, {"a": 1, "b": 1})
    assert server.client().zcount(f"{namespace}:labelled:mixed:deadlines", "+inf", "+inf") == 1
    assert indexed.check().problems == []


@pytest.mark.parametrize("runs", [["r1"], ["r1", "r2"]], ids=["of one run", "of two that agree"])
def test_what_changed_is_known_as_it_is_now(indexed: RedisArtifactStore, runs) -> None:
    indexed.store(b"other", tags={"kind": "a"})
    for run_id in runs:
        view = indexed.store(b"x", run_id=run_id, tags={"kind": "a"})
    for run_id in runs:
        indexed.update_metadata(view, run_id=run_id, tags={"kind": "b"})
        assert_right(indexed)
        assert indexed.check().problems == []


@pytest.mark.parametrize("name", [None, "named"])
@pytest.mark.parametrize("leased", [False, True])
def test_what_comes_twice_in_a_batch_is_known_as_it_came_last(indexed: RedisArtifactStore, name, leased) -> None:
    indexed.store(b"other")
    if leased:
        indexed.store(b"x", artifact_id=name, run_id="r1", tags={"kind": "b"})
    indexed.store_many([Payload(b"x", artifact_id=name, tags={"kind": kind}) for kind in ("a", "b")], run_id="r2")
    assert_right(indexed)
    assert indexed.check().problems == []


def test_what_is_there_is_indexed_while_others_go_on(
    server, namespace: str, indexed: RedisArtifactStore, monkeypatch
) -> None:
    """Others know nothing of the index; it is read once it is complete, and given up again."""
    dice = random.Random(7)
    with RedisArtifactStore(server.url, namespace=namespace) as plain:
        for _ in range(60):
            change(plain, dice)
        assert not indices(plain)
        plain.store(b"", ttl=100)  # so that it is not empty

        def go_on(_count: int) -> None:
            for _ in range(10):
                change(plain, dice)
            assert_right(indexed)

        note = indexing._note

        def go_on_and_note(*some):
            go_on(0)  # nothing of these is indexed yet
            return note(*some)

        with monkeypatch.context() as patch:
            patch.setattr(indexing, "_note", go_on_and_note)
            indexed.reindex(progress=go_on)
        assert indices(plain)
        for _ in range(20):
            change(plain, dice)
        assert_right(plain)
        assert plain.check().problems == []
        assert indexed.reindex() > 0
        plain.reindex()
        assert not indices(plain)
        assert_right(plain)
        plain.gc(dry_run=False, grace=0)
        assert not any(b":labelled:" in key for key in server.client().keys(f"{namespace}:*"))


def indices(store: RedisArtifactStore) -> list:
    """What is indexed."""
    return [marker for some in run(markers(store._operations.backend.session)).values() for marker in some]
