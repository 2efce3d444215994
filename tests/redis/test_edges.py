"""What follows from the rules of leases, needs and indexes in rare moments, each made on purpose."""

from __future__ import annotations

import time
from hashlib import shake_128
from typing import TypeVar

import pytest
from coatcheck import (
    ArtifactError,
    CorruptArtifactError,
    Payload,
    RedisArtifactStore,
    StoreUnavailableError,
    compute_artifact_id,
)
from coatcheck.backends.redis import batching, leasing
from coatcheck.backends.redis.finding import ordered, scanning
from coatcheck.backends.redis.content.chunks import follow, held, new_token
from coatcheck.backends.redis.layout.keys import member_of
from coatcheck.backends.redis.scripts import calls
from coatcheck.backends.redis.scripts.calls import Outcome
from coatcheck.backends.redis.scripts.script import Call, Script
from coatcheck.backends.redis.storing import UNASKED
from coatcheck.backends.redis.content.upload import STAGING_MS, Upload
from coatcheck.envelope import seal
from coatcheck.ids import compute_digest
from coatcheck.plan import Plan
from coatcheck.plan import run as run_plan
from coatcheck.request import Details, Request, StoreRequest
from coatcheck.search import Query
from coatcheck.sources import BytesSource
from coatcheck.testing import waiting

from ..harnesses import TINY, chunk
from .wire import Wire

T = TypeVar("T")

CONTENT = b"content"
NAME = compute_artifact_id(CONTENT)


@pytest.fixture
def server(valkey):
    return valkey


def test_content_that_was_lost_comes_back_for_all_that_need_it(store, client, keys) -> None:
    store.store(CONTENT, artifact_id="lasting")
    client.delete(keys.content(NAME.encode()))
    store.store(CONTENT, artifact_id="passing", ttl=60)
    assert client.pttl(keys.content(NAME.encode())) == -1


def test_each_of_a_batch_has_its_own_ttl(store) -> None:
    passing, lasting = store.store_many([Payload(b"passing", ttl=60), Payload(b"lasting")])
    assert passing.expires_at is not None
    assert lasting.expires_at is None
    assert store.leases(lasting.artifact_id)[0].expires_at is None


def test_content_ends_with_the_leases_that_are_left(store) -> None:
    store.store(CONTENT, run_id="short", ttl=60)
    store.store(CONTENT, run_id="long", ttl=600)
    assert store.release(NAME, "long")
    assert store.check().problems == []


@pytest.mark.parametrize("size", [10, 100_000], ids=["in the call", "beside it"])
def test_content_lasts_as_long_as_what_needs_it(store, client, keys, size) -> None:
    content = shake_128(b"%d" % size).digest(size)
    name = compute_artifact_id(content)
    store.store(content, artifact_id="named", ttl=600)
    store.store(content, run_id="short", ttl=60)
    assert client.pttl(keys.content(name.encode())) > 500_000
    store.delete("named")
    assert client.pttl(keys.content(name.encode())) <= 60_000
    store.delete(name)
    store.store(content, ttl=30)
    assert client.pexpiretime(keys.content(name.encode())) == client.pexpiretime(keys.artifact(name.encode()))
    store.store(content)
    assert client.pttl(keys.content(name.encode())) == -1
    assert store.check(read_data=True).problems == []


@pytest.mark.parametrize("place", [1, 9, 60_000])
def test_what_lies_in_place_is_only_taken_for_what_was_sent(store, client, keys, place) -> None:
    content = shake_128(b"beside").digest(100_000)
    name = store.store(content).artifact_id.encode()
    sealed = bytearray(client.get(keys.content(name)))
    store.delete(name.decode())
    sealed[place] ^= 1
    client.set(keys.content(name), bytes(sealed) if place < 50 else bytes(sealed[:place]))
    store.store(content, run_id="a", ttl=60)
    assert store.load(name.decode()).content == content
    assert store.check(read_data=True).problems == []


def test_needs_keep_no_dead_members(store, client, keys) -> None:
    store.store(CONTENT, artifact_id="lasting", ttl=600)
    for n in range(5):
        store.store(CONTENT, artifact_id=f"passing-{n}", ttl=0.05)
    waiting.eventually(lambda: len(store.find_missing([f"passing-{n}" for n in range(5)])) == 5)
    store.store(CONTENT, artifact_id="another", ttl=600)
    assert sorted(client.zrange(keys.needs(NAME.encode()), 0, -1)) == [b":another", b":lasting"]


def test_stores_of_explicit_ids_drop_what_has_ended(store, client, keys) -> None:
    store.store(b"lasting", run_id="a")
    ended = [store.store(b"%d" % n, artifact_id=f"ends-{n}", run_id="a", ttl=0.05).artifact_id for n in range(5)]
    waiting.eventually(lambda: store.find_missing(ended) == ended)
    store.store_many([Payload(b"x", artifact_id=f"lasts-{n}") for n in range(32)], run_id="a")
    assert client.zcard(keys.created) == client.zcard(keys.deadlines) == client.zcard(keys.run("a")) == 33


def test_stores_stay_in_order_where_the_clock_goes_back(store, client, keys) -> None:
    store.store(b"before", artifact_id="before")
    client.zadd(keys.created, {":before": int((time.time() + 3600) * 1e6)})
    fast = store.store(CONTENT)
    slow = store.store(CONTENT, artifact_id="name")
    slower = store.store(CONTENT, artifact_id="other", if_absent=True)
    assert [artifact.artifact_id for artifact in store.list_all(limit=3)] == ["other", "name", NAME]
    assert slower.created_at > slow.created_at > fast.created_at


@pytest.mark.parametrize("index", ["with its index", "without it"])
@pytest.mark.parametrize("way", ["alone", "in a batch", "beside the script"])
def test_what_the_catalog_and_the_server_lost_is_stored_again_and_no_lease_gets_shorter(
    store, client, keys, way, index
) -> None:
    content = CONTENT * 5_000 if way == "beside the script" else CONTENT
    name = store.store(content, run_id="a", ttl=900).artifact_id
    if index == "with its index":  # else only the artifact itself knows how long this lease is
        store.store(content, run_id="b")
    store.store(b"other", run_id="c", ttl=900)  # so that no index of this run has to end later
    for run in "a", "c":
        client.unlink(keys.content(name.encode()))
        for catalog in keys.catalog:
            client.zrem(catalog, member_of(name.encode()))
        if index == "without it" and run == "a":
            client.unlink(keys.run(run))
            store.store(b"another", run_id=run, ttl=900)
        before = {lease.run_id: lease.expires_at for lease in store.leases(name)}
        if way == "in a batch":
            store.store_many([b"new", content], run_id=run, ttl=60)
        else:
            store.store(content, run_id=run, ttl=60)
        after = {lease.run_id: lease.expires_at for lease in store.leases(name)}
        assert after == {run: after[run]} | before
    assert after["c"] < after["a"]
    assert store.load(name).content == content
    assert store.check(read_data=True, grace=0).problems == []


@pytest.mark.parametrize("why", ["its key is of another type", "it is the name of other content"])
@pytest.mark.leaves_keys("one of another type")
def test_a_batch_that_raises_has_changed_nothing_and_replaced_nothing(store, client, keys, keys_of, why) -> None:
    name = store.store(CONTENT, run_id="b").artifact_id.encode()
    store.store(b"before", artifact_id="name", run_id="b")
    if why == "its key is of another type":
        client.unlink(keys.artifact(name))
        client.rpush(keys.artifact(name), b"not ours")
    else:
        header = bytearray(client.hget(keys.artifact(name), "h"))
        header[20] ^= 1
        client.hset(keys.artifact(name), "h", bytes(header))
    before = {key: client.dump(key) for key in keys_of()}
    with pytest.raises(ArtifactError, match="type" if "type" in why else "other content"):
        store.store_many([b"new", Payload(b"after", artifact_id="name"), CONTENT, b"newer"], run_id="a", ttl=60)
    assert {key: client.dump(key) for key in keys_of()} == before
    assert store.load_text("name") == "before"


@pytest.mark.parametrize("wrong", ["leases", "needs", "stores"])
@pytest.mark.parametrize("way", ["alone", "in a batch", "beside the script"])
@pytest.mark.leaves_keys("one of another type")
def test_a_store_of_what_the_catalog_and_the_server_lost_that_raises_changes_nothing(
    store, client, keys, keys_of, way, wrong
) -> None:
    content = CONTENT * 5_000 if way == "beside the script" else CONTENT
    name = store.store(content, run_id="a", ttl=900, tags={"k": "before"}).artifact_id.encode()
    client.unlink(keys.content(name))
    client.zrem(keys.created, member_of(name))
    client.rpush(getattr(keys, wrong)(name), b"not ours")
    before = {key: client.dump(key) for key in keys_of()}
    with pytest.raises(ArtifactError, match="type"):
        if way == "in a batch":
            store.store_many([b"new", content], run_id="a", ttl=60, tags={"k": "after"})
        else:
            store.store(content, run_id="a", ttl=60, tags={"k": "after"})
    if way == "beside the script":
        client.unlink(keys.content(name))  # which ends by itself
    assert {key: client.dump(key) for key in keys_of()} == before


@pytest.mark.parametrize("count", [1, 2], ids=["by itself", "of a batch"])
@pytest.mark.parametrize("size", [10, 20_000], ids=["in the call", "beside it"])
def test_indexes_last_as_long_as_what_is_stored_later_and_no_longer(store, client, keys, size, count) -> None:
    for ttl in (60, 600, None):
        contents = [shake_128(b"%r %d" % (ttl, n)).digest(size) for n in range(count)]
        store.store_many(contents, run_id="a", ttl=ttl)
        for index in (*keys.catalog, keys.run("a")):
            left = client.ttl(index)
            assert left == -1 if ttl is None else ttl - 30 < left <= ttl


def test_content_that_an_explicit_id_needs_outlasts_a_lease_that_is_made_shorter(store, client, keys) -> None:
    store.store(CONTENT, run_id="a", ttl=600)
    store.store(CONTENT, artifact_id="named", run_id="b", ttl=600)
    assert store.touch(NAME, 60, "a")
    assert client.ttl(keys.artifact(NAME.encode())) <= 60 < client.ttl(keys.content(NAME.encode()))


@pytest.mark.parametrize("size", [10, 20_000], ids=["in the call", "beside it"])
def test_shared_indexes_last_as_long_as_that_of_any_run(store, client, keys, size) -> None:
    longest = 0
    for number, (run, ttl) in enumerate([("a", 60), ("b", 600), ("a", 300), ("b", 900), ("c", 30), ("c", 1200)]):
        store.store(shake_128(b"%d" % number).digest(size), run_id=run, ttl=ttl)
        longest = max(longest, ttl)
        for index, lasts in ((keys.run(run), ttl), *((key, longest) for key in (*keys.catalog, keys.runs))):
            assert lasts - 30 < client.ttl(index) <= lasts
        assert store.check(grace=0).problems == []
    assert sorted(store.list_runs()) == ["a", "b", "c"]


def test_a_run_is_listed_until_its_last_lease_ends(store) -> None:
    store.store(CONTENT, run_id="stays")
    store.store(CONTENT, run_id="goes", ttl=600)
    store.touch(NAME, 0.05, "goes")
    waiting.eventually(lambda: store.list_runs() == ["stays"], seconds=5)


@pytest.mark.parametrize("way", ["in the call", "beside it", "acquired"])
def test_the_end_of_a_hash_that_has_drifted_is_not_believed(store, client, keys, way) -> None:
    content = CONTENT * 5_000 if way == "beside it" else CONTENT
    name = store.store(content, run_id="a", ttl=600).artifact_id
    key = keys.artifact(name.encode())
    client.pexpireat(key, client.pexpiretime(key) + 900)
    if way == "acquired":
        assert store.find_missing([name], run_id="b", ttl=60) == []
    else:
        store.store(content, run_id="b", ttl=60)
    assert store.check(grace=0).problems == []


def test_the_latest_lease_that_has_not_ended_is_shown(store) -> None:
    for run in "abc":
        store.store(CONTENT, run_id=run, tags={"run": run}, ttl=0.05 if run == "c" else 600)
    waiting.eventually(lambda: len(store.leases(NAME)) == 2)
    waiting.eventually(lambda: store.get_metadata(NAME).run_id == "b", seconds=2)
    assert store.load(NAME).metadata.run_id == "b"


def test_leases_that_have_ended_go_with_the_next_change(store, client, keys) -> None:
    store.store(CONTENT, run_id="stays", ttl=600)
    store.store(CONTENT, run_id="goes", ttl=600)
    store.store(CONTENT, run_id="ends", ttl=0.05)
    waiting.eventually(lambda: len(store.leases(NAME)) == 2)
    assert not store.touch(NAME, 600, "ends")
    assert store.release(NAME, "goes")
    assert sorted(client.hkeys(keys.artifact(NAME.encode()))) == [b"=stays", b"h"]


@pytest.mark.leaves_keys("its content was lost")
def test_an_artifact_without_content_does_not_exist(store, client, keys) -> None:
    store.store(CONTENT)
    client.delete(keys.content(NAME.encode()))
    assert not store.exists(NAME)
    assert store.find_missing([NAME, "other"]) == [NAME, "other"]


@pytest.mark.leaves_keys("its size was changed")
def test_content_of_another_size_than_the_metadata_say_is_refused(store, client, keys) -> None:
    store.store(CONTENT)
    artifact = keys.artifact(NAME.encode())
    client.hset(artifact, "h", client.hget(artifact, "h") + b"0")
    with pytest.raises(CorruptArtifactError):
        store.load(NAME)


def test_partitions_are_merged_in_the_order_of_stores(open_64) -> None:
    session = open_64._operations.backend.session
    names = [f"name-{n}" for n in range(3000)]
    crowded = [name for name in names if session.of(name) is session.partitions.all[0]]
    for name in names[:20] + crowded + names[20:40]:
        open_64.store(CONTENT, artifact_id=name)
    everything = open_64.list_all(limit=0)
    assert [artifact.created_at for artifact in everything] == sorted((a.created_at for a in everything), reverse=True)
    for limit in 25, 45, 60:
        assert open_64.page(limit=limit).items == everything[:limit]


def _page(store, order, count, meanwhile) -> list[str]:
    """The ids on a page, of which something happens after the first round trip."""
    plan = store._operations.backend.page(Query.of().ordered("time", order), None, count)
    step = plan.send(None)
    result = step.run()
    meanwhile()
    try:
        while True:
            result = plan.send(result).run()
    except StopIteration as end:
        return [view.artifact_id for view in end.value[0]]


@pytest.fixture
def short_pages(monkeypatch) -> None:
    monkeypatch.setattr(ordered, "PAGE", 7)
    monkeypatch.setattr(ordered, "_NAMED", 14)


def test_what_is_stored_again_during_a_page_is_on_it(store, short_pages) -> None:
    ids = [store.store(b"%d" % n).artifact_id for n in range(40)]
    assert len(_page(store, "desc", 30, lambda: None)) == 30
    listed = _page(store, "desc", 30, lambda: store.store(b"20"))
    assert listed == [ids[20], *(one for one in reversed(ids[10:]) if one != ids[20])]


def test_what_goes_back_during_a_page_is_on_it(store, short_pages) -> None:
    ids = [store.store(b"%d" % n, run_id="a").artifact_id for n in range(40)]
    store.store(b"3", run_id="b")
    assert ids[3] not in _page(store, "asc", 30, lambda: None)
    assert _page(store, "asc", 30, lambda: store.release(ids[3], "b")) == ids[:30]


@pytest.mark.parametrize("run", [None, "a"])
def test_what_changed_since_it_was_looked_at_is_not_removed(store, run, monkeypatch) -> None:
    tags = {"kind": "tmp"}
    ids = [store.store(b"%d" % n, run_id="a", tags=tags).artifact_id for n in range(4)]
    ids.append(store.store(b"4", artifact_id="name", run_id="a", tags=tags).artifact_id)

    look = leasing._seen

    def look_and_change(scan, query):
        seen = yield from look(scan, query)
        monkeypatch.setattr(leasing, "_seen", look)
        store.store(b"0", run_id="a", tags=tags)
        store.update_metadata(ids[1], run_id="a", tags={"kind": "kept"})
        store.delete(ids[2])
        store.touch(ids[3], 600, "a")  # says nothing new
        store.store(b"other", artifact_id="name", run_id="a", tags=tags)
        return seen

    monkeypatch.setattr(leasing, "_seen", look_and_change)
    assert store.delete_where(run_id=run, tags=tags, dry_run=False).artifacts == 1
    assert {view.artifact_id for view in store.list_all()} == {ids[0], ids[1], "name"}


def test_a_scan_begins_anew_where_another_server_answers(store, monkeypatch) -> None:
    store.store_many([b"%d" % n for n in range(300)], tags={"kind": "kept"})
    monkeypatch.setattr(scanning, "PAGE", 100)
    wire = Wire(store)
    assert len(store.search(tags={"kind": "kept"}, limit=0)) == 300
    trips = wire.trips
    wire.reset()
    servers = iter([object(), *[object()] * 100])
    wire.incarnation = lambda slot: next(servers)
    assert len(store.search(tags={"kind": "kept"}, limit=0)) == 300
    assert wire.trips > trips


def _hold(client, age: float) -> str:
    seconds, microseconds = client.time()
    return f"!{seconds * 1_000_000 + microseconds - int(age * 1e6):014x}{'0' * 16}"


@pytest.mark.parametrize(("age", "kept"), [(10, True), (700, False)])
def test_a_hold_keeps_content_for_ten_minutes(store, client, keys, age, kept) -> None:
    store.store(CONTENT)
    client.zadd(keys.needs(NAME.encode()), {_hold(client, age): "+inf"})
    client.delete(keys.artifact(NAME.encode()))
    store.gc(dry_run=False, grace=0)
    store.gc(dry_run=False, grace=0)
    assert bool(client.exists(keys.content(NAME.encode()))) is kept
    client.delete(keys.needs(NAME.encode()))
    store.gc(dry_run=False, grace=0)


def test_a_need_of_other_content_is_stale(store, client, keys) -> None:
    store.store(CONTENT)
    store.store(b"other", artifact_id="name")
    client.zadd(keys.needs(NAME.encode()), {":name": "+inf"})
    assert [problem.kind for problem in store.gc(dry_run=False, grace=0).problems] == ["stale-index-member"]
    assert not client.exists(keys.needs(NAME.encode()))


def test_only_the_content_that_was_found_damaged_is_dropped(store, keys) -> None:
    store.store(CONTENT)
    session = store._operations.backend.session
    assert not run_plan(session.write(calls.drop_content(keys, NAME.encode(), b"damaged", 7))).removed
    assert store.load(NAME).content == CONTENT


@pytest.mark.parametrize("artifact_id", [None, "named"])
def test_content_that_is_needed_by_now_is_not_withdrawn(store, artifact_id) -> None:
    stored = store.store(CONTENT, artifact_id=artifact_id, ttl=30)
    assert not _withdrawn(store, CONTENT)
    assert store.load(stored.artifact_id).content == CONTENT


@pytest.mark.parametrize(
    ("sealed", "ttl_ms", "gone"),
    [
        (seal(CONTENT, compute_digest(CONTENT)), 60_000, True),
        (seal(CONTENT, compute_digest(CONTENT)), 120_000, False),
        (seal(CONTENT, compute_digest(CONTENT)), None, False),
        (seal(CONTENT, compute_digest(CONTENT)[:16] + bytes(16)), 60_000, False),
    ],
    ids=["put in place", "lasts longer", "lasts for ever", "other content"],
)
def test_only_what_may_have_been_put_in_place_is_withdrawn(store, client, keys, sealed, ttl_ms, gone) -> None:
    key = keys.content(NAME.encode())
    client.set(key, b"".join(sealed), px=ttl_ms)
    assert _withdrawn(store, CONTENT) is gone
    assert client.delete(key) != gone


def _withdrawn(store: RedisArtifactStore, content: bytes) -> bool:
    session = store._operations.backend.session
    request = _asked(compute_digest(content), len(content))
    return run_plan(session.write(calls.withdraw(session.of(request.artifact_id), request, STAGING_MS)))


def test_what_was_staged_for_a_store_that_fails_is_removed(store, client, keys) -> None:
    request = StoreRequest(bytes(UNASKED + 1), Details(None, "application/zip", "a", {}, None))
    plan = store._operations.backend.store_one(request)
    asked = plan.send(None).run()
    client.rpush(keys.runs, b"not ours")  # meanwhile
    with pytest.raises(CorruptArtifactError):
        run_plan(_resumed(plan, asked))
    assert client.keys() == [keys.runs]
    client.delete(keys.runs)


def _resumed(plan: Plan[T], result: object) -> Plan[T]:
    """What is left of a plan whose last step had that result."""
    step = plan.send(result)
    while True:
        try:
            step = plan.send((yield step))
        except StopIteration as end:
            return end.value


def _asked(digest: bytes, size: int, ttl_ms: int | None = None) -> Request:
    return Request(digest, size, Details(None, "text/plain", "b", {}, ttl_ms))


def test_digests_of_one_batch_that_only_begin_alike_are_told_apart(store, keys) -> None:
    digest = compute_digest(CONTENT)
    alike = digest[:16] + bytes(16)
    requests = [_asked(digest, len(CONTENT)), _asked(alike, 6)]
    contents = [seal(CONTENT, digest), seal(b"forged", alike)]
    batch = calls.store(keys, requests, contents, "inline")
    outcomes = run_plan(store._operations.backend.session.write(batch))
    assert [outcome.kind for outcome in outcomes] == ["later", "taken"]
    assert store.load(NAME) is None
    store.store(CONTENT)
    outcomes = run_plan(store._operations.backend.session.write(batch))
    assert [outcome.kind for outcome in outcomes] == ["later", "taken"]
    assert store.load(NAME).content == CONTENT


def test_chunks_are_leased_only_as_long_as_a_hold_keeps_them(store, client, keys) -> None:
    content = shake_128(b"chunked").digest(30_000)
    stored = chunk(store, TINY).store(content, ttl=60)
    request = _asked(compute_digest(content), len(content))
    session, name = store._operations.backend.session, stored.artifact_id.encode()
    hold = run_plan(session.write(calls.hold(keys, name, _hold(client, 0).encode(), 120_000)))

    def outcome_of(member: bytes, deadline: int) -> str:
        call = calls.store(keys, [request], [None], "held", deadline=deadline, note=member)
        return run_plan(session.write(call))[0].kind

    assert outcome_of(b"!nothing", hold.deadline) == "chunked"
    assert outcome_of(hold.member, hold.deadline + 1) == "chunked"
    assert run_plan(follow(session, keys, hold.chunks)) == hold.chunks.total
    assert client.pexpiretime(keys.chunk(name, hold.chunks.token, 0)) >= hold.deadline
    assert outcome_of(hold.member, hold.deadline) == "ok"
    assert client.zrange(keys.needs(name), 0, -1) == []
    assert store.check().problems == []


def test_a_lease_that_is_acquired_ends_its_hold(store, client, keys) -> None:
    """In the same step: whoever took it may die before chunks follow."""
    name = chunk(store, TINY).store(shake_128(b"chunked").digest(30_000), run_id="a", ttl=60).artifact_id
    session = store._operations.backend.session
    hold = run_plan(session.write(calls.hold(keys, name.encode(), _hold(client, 0).encode(), 120_000)))
    assert run_plan(follow(session, keys, hold.chunks)) == hold.chunks.total
    asked = calls.acquire(keys, [calls.Name.of(name)], "b", 120_000, deadline=hold.deadline, hold=hold.member)
    assert [outcome.kind for outcome in run_plan(session.write(asked))] == ["ok"]
    assert client.zrange(keys.needs(name.encode()), 0, -1) == []
    assert store.check().problems == []


def test_touch_keeps_the_time_of_the_store(store) -> None:
    store.store(CONTENT, run_id="a", ttl=60)
    [before] = store.leases(NAME)
    assert store.touch(NAME, 600, "a")
    [after] = store.leases(NAME)
    assert before.created_at == after.created_at
    assert before.expires_at < after.expires_at


def test_chunks_follow_a_lease_that_is_moved(store, client, keys) -> None:
    stored = chunk(store, TINY).store(shake_128(b"chunked").digest(30_000), run_id="a", ttl=60)
    for ttl in (600, 30):
        assert store.touch(stored.artifact_id, ttl, "a")
        assert store.check().problems == []


def test_content_that_only_a_hold_kept_goes_with_it(store, keys, keys_of) -> None:
    name = chunk(store, TINY).store(shake_128(b"chunked").digest(30_000)).artifact_id
    session = store._operations.backend.session

    def touch(**held) -> Call[Outcome]:
        return calls.touch(keys, [calls.Name.of(name)], None, None, **held).then(lambda outcomes: outcomes[0])

    def too_late(hold):
        store.delete(name)
        return touch(deadline=hold.deadline, hold=hold.member)

    found = run_plan(session.write(touch()))
    assert found.kind == "chunked"
    assert run_plan(held(session, keys, name.encode(), found, None, too_late)).kind == "absent"
    assert keys_of() == []


@pytest.mark.parametrize("was", ["as it was found", "uploaded meanwhile"])
@pytest.mark.parametrize("cached", ["both scripts", "the second script"])
def test_chunks_on_hold_last_as_long_as_the_lease_that_is_to_come(store, client, keys, keys_of, was, cached) -> None:
    name = chunk(store, TINY).store(shake_128(b"chunked").digest(30_000), ttl=60).artifact_id
    session = store._operations.backend.session
    first, *_ = chunks = [key for key in keys_of() if ":chunk:" in key]
    token = first.split(":")[-2].encode() if was == "as it was found" else b"0" * 16
    if cached == "the second script":
        client.script_flush()
        client.script_load(Script("follow").source)

    def change(hold):
        assert {client.pexpiretime(key) for key in chunks} == {hold.deadline}
        one = calls.touch(keys, [calls.Name.of(name)], None, None, deadline=hold.deadline, hold=hold.member)
        return one.then(lambda outcomes: outcomes[0])

    found = Outcome("chunked", token=token, chunks=len(chunks))
    assert run_plan(held(session, keys, name.encode(), found, 600_000, change)).kind == "ok"


def _upload(store, keys, content: bytes, ttl_ms: int | None = None) -> Upload:
    source = BytesSource(content, compute_digest(content), TINY.size)
    request = _asked(source.digest, source.size, ttl_ms)
    upload = Upload(store._operations.backend.session, keys, request, source, TINY, None, None)
    upload._token = new_token()
    return upload


def test_an_upload_of_what_is_there_in_one_piece_leaves_no_chunks(store, keys, keys_of) -> None:
    content = shake_128(b"chunked").digest(30_000)
    store.store(content, run_id="b")
    before = keys_of()
    assert run_plan(_upload(store, keys, content).run(b"", b"")).kind == "ok"
    assert keys_of() == before


def test_chunks_that_come_back_last_for_all_that_need_them(store, client, keys) -> None:
    content = shake_128(b"chunked").digest(30_000)
    name = chunk(store, TINY).store(content, run_id="a", ttl=600).artifact_id.encode()
    client.delete(keys.content(name))
    upload = _upload(store, keys, content, 60_000)
    sent = run_plan(upload._send())
    assert run_plan(upload._commit(sent, b"", b"")).kind == "ok"
    assert client.pexpiretime(keys.chunk(name, upload._token, 0)) >= client.pexpiretime(keys.content(name))
    store.gc(dry_run=False, grace=0)


def test_a_commit_can_be_repeated(store, keys) -> None:
    content = shake_128(b"chunked").digest(30_000)
    upload = _upload(store, keys, content)
    sent = run_plan(upload._send())
    assert [run_plan(upload._commit(sent, b"", b"")).kind for _ in range(2)] == ["ok", "ok"]
    assert store.load(compute_artifact_id(content)).content == content


def test_answers_that_are_too_long_come_in_pages(store, keys, monkeypatch) -> None:
    ids = [store.store(b"%d" % n, run_id="a").artifact_id for n in range(5)]
    session, names = store._operations.backend.session, [i.encode() for i in ids]
    assert len(run_plan(session.read(calls.metadata(keys, names, 1)))) == 1
    assert len(run_plan(session.read(calls.metadata(keys, names, 1, b"=a")))) == 1
    monkeypatch.setattr(batching, "BATCH_BYTES", 1)
    monkeypatch.setattr(scanning, "BATCH_BYTES", 1)
    monkeypatch.setattr(ordered, "BATCH_BYTES", 1)
    assert [metadata.artifact_id for metadata in store.metadata_many(ids)] == ids
    assert len(store.list_by_run("a")) == len(list(store.iter_artifacts())) == len(store.page().items) == 5


def test_keys_of_workers_with_other_partitions_are_reported(store, open_64) -> None:
    open_64.store(CONTENT)
    assert {problem.kind for problem in store.check().problems} == {"other-partitions"}


@pytest.fixture
def open_64(server, namespace):
    with RedisArtifactStore(server.url, namespace=namespace, partitions=64) as store:
        yield store
        store.delete(NAME)


@pytest.mark.parametrize("size", [10, 20_000, 200_001])
def test_a_link_into_another_partition_is_a_copy(valkey, namespace, size) -> None:
    content = shake_128(b"any").digest(size)
    with RedisArtifactStore(valkey.url, namespace=namespace, partitions=64) as store:
        chunk(store, TINY)
        source = store.store(content, run_id="a", tags={"k": "v"})
        for n in range(3):
            link = store.link(source, f"name-{n}", run_id="b", if_absent=True)
            assert link.tags == {"k": "v"}
            assert store.load(link, required=True).content == content
        assert store.delete(source)
        assert store.load(link, required=True).content == content
        assert store.check(read_data=True).problems == []


def test_two_who_make_equal_labels_of_equal_ones_both_count(store) -> None:
    store.store(CONTENT, artifact_id="name", extra={"count": 0})
    asked = []

    def count(extra: dict) -> dict:
        asked.append(extra["count"])
        if len(asked) == 1:  # somebody else is faster, and comes to the same result
            store.update_metadata("name", extra=count)
        return {"count": extra["count"] + 1}

    assert store.update_metadata("name", extra=count).extra == {"count": 2}
    assert asked == [0, 0, 1]


def test_labels_that_are_changed_all_the_time_are_given_up(store) -> None:
    store.store(CONTENT, artifact_id="name", extra={"count": 0})

    def never(extra: dict) -> dict:
        store.update_metadata("name", extra={"count": extra["count"] + 1})
        return {}

    with pytest.raises(StoreUnavailableError, match="changed all the time"):
        store.update_metadata("name", extra=never)
    assert store.get_metadata("name").extra["count"] > 10
