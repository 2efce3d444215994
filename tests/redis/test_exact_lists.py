"""Lists are exact: what is there during the whole of a listing is in it, once, whatever others do meanwhile."""

from __future__ import annotations

import contextlib
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any

import pytest
from redis.exceptions import ResponseError, TryAgainError

from coatcheck import ANONYMOUS, Payload, RedisArtifactStore, StoreUnavailableError, compute_artifact_id
from coatcheck.backends.redis import batching
from coatcheck.backends.redis.finding import bounded, looking, ofrun, ordered, scanning
from coatcheck.backends.redis.layout.keys import member_of
from coatcheck.backends.redis.transport.base import BrokenError, NotSentError, Part
from coatcheck.testing import eventually

from .wire import Wire

LASTING = [b"lasting %d" % n for n in range(300)]
LASTING_IDS = sorted(map(compute_artifact_id, LASTING))
PASSING = [b"passing %d" % n for n in range(60)]
OUTLIVING = b"outliving"
OUTLIVING_ID = compute_artifact_id(OUTLIVING)
KEPT = {"kept": "yes"}


@pytest.fixture(params=[1, 64])
def partitions(request) -> int:
    return request.param


@pytest.fixture
def store(valkey, namespace, partitions) -> Iterator[RedisArtifactStore]:
    with RedisArtifactStore(valkey.url, namespace=namespace, partitions=partitions) as store:
        yield store


@pytest.fixture
def small_pages(monkeypatch) -> None:
    """A list takes many round trips, so that others come between them."""
    for room in bounded, ofrun, ordered, scanning:
        monkeypatch.setattr(room, "PAGE", 7)
    for room in bounded, ofrun, scanning:
        monkeypatch.setattr(room, "LEAST", 1)
    monkeypatch.setattr(scanning, "ROUND", 40)
    monkeypatch.setattr(ordered, "_NAMED", 14)
    monkeypatch.setattr(looking, "_TOGETHER", 5)
    monkeypatch.setattr(batching, "_BEGINNING", 7)
    monkeypatch.setattr(batching, "ROUND", 40)


@contextlib.contextmanager
def meanwhile(store: RedisArtifactStore) -> Iterator[None]:
    """Another thread stores again, renews, touches, deletes, gives up and takes leases."""
    stop, errors = threading.Event(), []

    def disturb() -> None:
        try:
            for n, content in zip(cycle(range(300)), cycle(LASTING[::-7])):
                if stop.is_set():
                    return
                artifact_id = compute_artifact_id(content)
                store.store(content, run_id="mine", tags=KEPT)
                store.touch(artifact_id, 600 + n, "mine")
                store.store(content, run_id="other", tags=KEPT)
                store.find_missing([artifact_id], ttl=600, run_id="third")
                store.release(artifact_id, "other")
                store.store(PASSING[n % 60], run_id="mine")
                store.delete(compute_artifact_id(PASSING[(n + 30) % 60]))
        except BaseException as error:  # shown by the test
            errors.append(error)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert errors == []


def lasting(views) -> list[str]:
    """The ids of what is there all the time, sorted."""
    known = set(LASTING_IDS)
    return sorted(view.artifact_id for view in views if view.artifact_id in known)


LISTS: dict[str, Callable[[RedisArtifactStore], list]] = {
    "list_all": lambda store: store.list_all(limit=0),
    "list_all, limited": lambda store: store.list_all(limit=100_000),
    "search newest first": lambda store: store.search(tags=KEPT, limit=0),
    "search oldest first": lambda store: store.search(tags=KEPT, limit=0, order="asc"),
    "search oldest first, limited": lambda store: store.search(tags=KEPT, limit=100_000, order="asc"),
    "a large page": lambda store: store.page(tags=KEPT, limit=1000).items,
    "by size": lambda store: store.page(by="size", limit=1000).items,
    "by expiry": lambda store: store.page(by="expiry", limit=1000).items,
    "iter_artifacts": lambda store: list(store.iter_artifacts(tags=KEPT)),
    "iter_run": lambda store: list(store.iter_run("mine", tags=KEPT)),
    "search a run": lambda store: store.search(run_id="mine", tags=KEPT, limit=0),
    "stored after a time": lambda store: store.search(tags=KEPT, created_after="1999-01-01", limit=0),
    "stored before a time": lambda store: store.search(tags=KEPT, created_before="2200-01-01", limit=0),
}

OF_RUN: dict[str, Callable[[RedisArtifactStore], list]] = {
    "list_by_run": lambda store: store.list_by_run("mine"),
    "iter_run": lambda store: list(store.iter_run("mine")),
    "a page of the newest": lambda store: store.page(run_id="mine", limit=1000).items,
    "a page of the oldest": lambda store: store.page(run_id="mine", limit=1000, order="asc").items,
}


@pytest.mark.parametrize("named", [3, 200, 16_000])  # names of a run that one reply has, in a partition
@pytest.mark.parametrize("name", OF_RUN)
def test_what_a_run_leases_all_the_time_is_listed_once(store, small_pages, monkeypatch, named, name) -> None:
    monkeypatch.setattr(ofrun, "_NAMED", named)
    store.store_many(LASTING, run_id="mine", tags=KEPT)
    with meanwhile(store):
        for _ in range(4):
            assert lasting(OF_RUN[name](store)) == LASTING_IDS


@pytest.mark.parametrize("name", LISTS)
def test_what_is_there_all_the_time_is_listed_once(store, small_pages, name) -> None:
    store.store_many(LASTING, run_id="mine", tags=KEPT)
    with meanwhile(store):
        for _ in range(4):
            assert lasting(LISTS[name](store)) == LASTING_IDS


def test_few_of_many_are_counted_once_whatever_others_do(store, small_pages, monkeypatch) -> None:
    monkeypatch.setattr(bounded, "_PART", 0)  # so these are few
    store.store_many(LASTING, run_id="mine", tags=KEPT)
    with meanwhile(store):
        for _ in range(4):
            assert store.count(tags=KEPT, created_after="1999-01-01") == 300
            assert store.facets("tag:kept", created_before="2200-01-01") == {"yes": 300}
            assert store.stats(tags=KEPT, created_after="1999-01-01").artifacts == 300
            for between in {"created_after": "1999-01-01"}, {"created_before": "2200-01-01"}:
                assert lasting(store.iter_artifacts(tags=KEPT, **between)) == LASTING_IDS


def test_what_was_stored_between_two_times_is_listed_although_some_goes_back(store, small_pages, monkeypatch) -> None:
    """What is released while it is listed is shown by the lease before."""
    monkeypatch.setattr(bounded, "_PART", 0)
    store.store_many([b"before"])
    store.store_many(LASTING, run_id="mine", tags=KEPT)
    for content in LASTING[::2]:
        store.store(content, run_id="other", tags=KEPT)
    [last] = store.list_all(limit=1)
    store.store_many([b"behind"])
    found = store.iter_artifacts(created_after=store.get_metadata(LASTING_IDS[0]).created_at[:10], tags=KEPT)
    between = store.iter_artifacts(created_before=last.created_at, tags=KEPT)
    views = [next(found), next(between)]
    for content in LASTING[::2]:
        store.release(compute_artifact_id(content), "other")
    assert lasting([views[0], *found]) == lasting([views[1], *between]) == LASTING_IDS


def test_runs_and_figures_count_what_is_there_all_the_time(store, small_pages) -> None:
    runs = {f"run {n}" for n in range(50)}
    for run in runs:
        store.store(b"lasting 0", run_id=run)
    store.store_many(LASTING, run_id="mine", tags=KEPT)
    with meanwhile(store):
        for _ in range(4):
            assert runs | {"mine"} <= set(store.list_runs()) <= runs | {"mine", "other", "third"}
            assert 300 <= store.stats().artifacts <= 360


def test_nothing_counts_twice_where_connections_are_made_meanwhile(valkey, namespace, partitions, small_pages) -> None:
    with RedisArtifactStore(valkey.url, namespace=namespace, partitions=partitions) as store:
        store.store_many(LASTING, run_id="mine", tags=KEPT)
        store.store_many(LASTING[:20], run_id="other", tags=KEPT)
        store.store(b"explicit", artifact_id="explicit", run_id="mine", tags=KEPT)
    for count in (
        lambda store: store.count(tags=KEPT),
        lambda store: store.run_stats("mine").artifacts,
        lambda store: sum(store.facets("tag:kept").values()),
        lambda store: store.stats().artifacts,
        lambda store: store.stats(tags=KEPT).contents,
        lambda store: len(store.list_by_run("mine")),
    ):
        with RedisArtifactStore(valkey.url, namespace=namespace, partitions=partitions) as store:
            assert count(store) == 301


def test_a_run_is_on_one_page_although_its_leases_end_one_by_one(store) -> None:
    for n in range(24):
        store.store(b"%d" % n, run_id=f"run {n % 3}", ttl=1000 + n)
    named, page = [], store.page_runs(limit=1)
    while page.next is not None:
        named += page.items
        page = store.page_runs(limit=1, after=page.next)
    assert named + page.items == ["run 2", "run 1", "run 0"]


@pytest.mark.parametrize("limit", [1, 2, 25, 300])
def test_a_limited_list_is_the_beginning_of_the_whole(store, small_pages, limit) -> None:
    store.store_many(LASTING, tags=KEPT)
    everything = store.list_all(limit=0)
    assert store.list_all(limit=limit) == everything[:limit]
    assert store.search(tags=KEPT, limit=limit) == everything[:limit]
    assert store.search(tags=KEPT, limit=limit, offset=3) == everything[3 : limit + 3]
    assert store.search(tags=KEPT, limit=limit, order="asc") == everything[::-1][:limit]
    assert store.search(tags=KEPT, limit=limit, offset=3, order="asc") == everything[::-1][3 : limit + 3]


def test_artifacts_leased_in_one_call_hide_nothing_behind_them(store) -> None:
    rare = store.store(b"rare", tags={"kind": "rare"})
    ids = [view.artifact_id for view in store.store_many([b"%d" % n for n in range(100)])]
    assert store.find_missing(ids, ttl=600, run_id="producer") == []
    for limit in 1, 5, 99:
        assert store.search(tags={"kind": "rare"}, limit=limit) == [rare]


def _shorter(store) -> None:
    store.store(b"a run that lasts", run_id="b", ttl=900)
    store.store(OUTLIVING, run_id="b", ttl=0.3)


def _in_a_batch(store) -> None:
    store.store_many([OUTLIVING, b"another"], run_id="b", ttl=0.3)


def _acquired(store) -> None:
    assert store.find_missing([OUTLIVING_ID], ttl=0.3, run_id="b") == []


def _shortened(store) -> None:
    store.store(OUTLIVING, run_id="b", ttl=900)
    store.touch(OUTLIVING_ID, 0.3, "b")


def _outlasted(store) -> None:
    store.touch(OUTLIVING_ID, 0.2, "a")
    store.store(OUTLIVING, run_id="b", ttl=0.3)
    store.touch(OUTLIVING_ID, 600, "a")


def _laid_bare(store) -> None:
    store.store(OUTLIVING, run_id="b", ttl=0.3)
    store.store(OUTLIVING, run_id="c", ttl=900)
    store.release(OUTLIVING_ID, "c")


@pytest.mark.parametrize("outlive", [_shorter, _in_a_batch, _acquired, _shortened, _outlasted, _laid_bare])
def test_what_outlives_its_latest_lease_is_listed_by_the_one_before(store, outlive) -> None:
    store.store(OUTLIVING, run_id="a", ttl=600)
    bound = store.store(b"bound")
    outlive(store)
    store.store_many(LASTING[:30])
    assert store.check().problems == []
    eventually(lambda: OUTLIVING_ID not in {view.artifact_id for view in store.list_by_run("b")})
    for order in "desc", "asc":
        named, page = [], store.page(created_before=bound.created_at, order=order, limit=1)
        while page.next is not None:
            named += page.items
            page = store.page(created_before=bound.created_at, order=order, limit=1, after=page.next)
        assert sorted(view.artifact_id for view in [*named, *page.items]) == sorted([OUTLIVING_ID, bound.artifact_id])
    whole = store.search(created_before=bound.created_at, limit=0)
    assert {view.artifact_id: view.run_id for view in whole} == {OUTLIVING_ID: "a", bound.artifact_id: None}
    assert store.count(created_before=bound.created_at) == 2
    assert store.facets("run_id", created_before=bound.created_at) == {"a": 1, None: 1}


@pytest.mark.parametrize("order", ["desc", "asc"])
def test_a_page_before_a_time_looks_at_nothing_that_is_newer(store, small_pages, order) -> None:
    oldest = store.store(b"oldest")
    store.store_many([b"%d" % n for n in range(2000)])
    wire = Wire(store)
    assert store.page(created_before=oldest.created_at, order=order).items == [oldest]
    assert wire.trips < 5


def test_a_whole_list_between_two_times_looks_at_nothing_else(store, small_pages) -> None:
    store.store_many([b"old %d" % n for n in range(2000)])
    middle = store.store(b"middle", tags={"k": "v"})
    store.store_many([b"%d" % n for n in range(2000)])
    wire = Wire(store)
    between = {"created_after": middle.created_at, "created_before": middle.created_at}
    assert list(store.iter_artifacts(**between)) == [middle]
    assert store.count(**between) == 1
    assert store.facets("tag:k", **between) == {"v": 1}
    assert store.stats(**between).artifacts == 1
    newest = store.list_all(limit=1)
    assert store.count(run_id=ANONYMOUS, created_after=newest[0].created_at) == 1
    assert store.page(run_id=ANONYMOUS, created_after=newest[0].created_at).items == newest
    assert store.delete_where(**between, dry_run=False).artifacts == 1
    assert wire.trips < 60


def test_figures_of_few_of_many_are_those_of_all(store, monkeypatch) -> None:
    for n in range(40):
        store.store(b"%d" % (n % 30), artifact_id=f"named-{n}", tags=KEPT if n % 2 else {}, ttl=1000)
        store.store(b"%d" % (n % 30), run_id=f"run-{n % 3}", ttl=None if n % 5 else 100_000)
    large = store.store(b"chunked" * 700_000, run_id="large")
    for n in range(0, 40, 7):  # so these anonymous leases are older than their artifacts' places
        store.store(b"%d" % (n % 30), artifact_id=f"named-{n}", run_id="later")
    low, high = store.get_metadata("named-13").created_at, large.created_at
    wanted = [
        {**filters, **between}
        for filters in ({}, {"tags": KEPT}, {"run_id": ANONYMOUS})
        for between in (
            {"created_after": low},
            {"created_before": high},
            {"created_after": low, "created_before": high},
        )
    ]

    def figures() -> list:
        return [(store.stats(**one), store.count(**one), store.facets("run_id", **one)) for one in wanted]

    monkeypatch.setattr(bounded, "_PART", 1_000_000)  # so they are not few
    of_all = figures()
    assert all(stats.artifacts == count > 0 for stats, count, _ in of_all)
    monkeypatch.setattr(bounded, "_PART", 0)
    assert figures() == of_all


@pytest.mark.parametrize("limit", [1, 10])
def test_a_search_for_few_of_many_takes_few_round_trips(store, limit) -> None:
    oldest = store.store(b"wanted", tags={"kind": "report"})
    store.store_many([b"%d" % n for n in range(2000)])
    wire = Wire(store)
    assert store.search(tags={"kind": "report"}, limit=limit) == [oldest]
    assert wire.trips < 20


def _through(store, limit: int, **wanted) -> list:
    """All pages, one after the other."""
    page = store.page(limit=limit, **wanted)
    views = page.items
    while page.next is not None:
        page = store.page(limit=limit, after=page.next, **wanted)
        views += page.items
    return views


@pytest.mark.parametrize("named", [3, 50, 16_000])
def test_pages_of_a_run_are_its_list(store, monkeypatch, named) -> None:
    monkeypatch.setattr(ofrun, "_NAMED", named)
    store.store_many([b"%d" % n for n in range(150)], run_id="mine")
    for n in range(30):
        store.store(b"%d" % n, artifact_id=f"named-{n}", run_id="mine", ttl=None if n % 2 else 600)
    for n in range(0, 150, 4):  # so the catalog has these at the front
        store.store(b"%d" % n, run_id="other")
    whole = store.search(run_id="mine", order="asc", limit=0)
    assert len(whole) == 180
    assert [view.run_id for view in whole] == ["mine"] * 180
    low, high = whole[40].created_at, whole[140].created_at
    for between, some in (
        ({}, whole),
        ({"created_after": low}, whole[40:]),
        ({"created_before": high}, whole[:141]),
        ({"created_after": low, "created_before": high}, whole[40:141]),
    ):
        assert _through(store, 37, run_id="mine", order="asc", **between) == some
        assert _through(store, 37, run_id="mine", **between) == some[::-1]
    assert store.search(run_id="mine", limit=7) == store.list_by_run("mine")[:7]


def test_the_first_page_of_a_run_reads_little_of_it(store) -> None:
    store.store_many([b"%d" % n for n in range(2000)], run_id="mine")
    wire = Wire(store)
    assert len(store.page(run_id="mine", limit=10).items) == 10
    assert sum(wire.received) < 64 + 64 + 50


def test_a_page_of_a_run_has_what_the_catalog_has_lost(store, valkey) -> None:
    store.store_many([b"%d" % n for n in range(50)], run_id="mine")
    newest = store.list_by_run("mine")[:10]
    keys = store._operations.backend.session.of(newest[0].artifact_id)
    with valkey.client() as client:
        assert client.zrem(keys.created, member_of(newest[0].artifact_id.encode())) == 1
    assert store.page(run_id="mine", limit=10).items == newest
    store.check(repair=True)


@pytest.mark.parametrize("order", ["desc", "asc"])
def test_what_is_gone_leaves_no_gap_on_a_page(store, valkey, order) -> None:
    store.store_many([b"%d" % n for n in range(200)])
    whole = store.search(order=order, limit=0)
    of = store._operations.backend.session.of
    with valkey.client() as client:
        for view in whole[:60]:
            client.unlink(of(view.artifact_id).artifact(view.artifact_id.encode()))
    assert store.page(limit=50, order=order).items == whole[60:110]
    bound = {"created_before" if order == "desc" else "created_after": whole[20].created_at}
    assert store.page(limit=50, order=order, **bound).items == whole[60:110]
    store.gc(dry_run=False, grace=0)


def test_a_page_of_many_partitions_looks_at_what_is_on_it(valkey, namespace) -> None:
    with RedisArtifactStore(valkey.url, namespace=namespace, partitions=64) as store:
        views = [store.store(b"%d" % n) for n in range(1000)]
        store.page()  # so the server knows the script
        wire = Wire(store)
        for between in {}, {"created_before": views[500].created_at}, {"created_after": views[500].created_at}:
            wire.reset()
            assert len(store.page(limit=100, **between).items) == 100
            assert sum(wire.received) == 64 + 100


@pytest.mark.parametrize("named", [3, 16_000])
def test_leases_of_a_run_that_have_ended_are_not_listed(store, monkeypatch, named) -> None:
    monkeypatch.setattr(ofrun, "_NAMED", named)
    contents = [b"%d" % n for n in range(150)]
    store.store_many(contents, run_id="other")
    store.store_many(contents[:50], run_id="mine", ttl=0.05)
    store.store_many(contents[50:], run_id="mine")
    eventually(lambda: len(store.list_by_run("mine")) == 100)
    assert len(list(store.iter_run("mine"))) == len(store.page(run_id="mine", limit=1000).items) == 100


def test_a_short_run_is_asked_for_where_it_is(valkey_cluster, namespace) -> None:
    with RedisArtifactStore(valkey_cluster.url, namespace=namespace) as store:
        views = store.store_many([b"%d" % n for n in range(5)], run_id="mine")
        assert store.list_by_run("nobody") == []
        wire = Wire(store)
        assert store.list_by_run("nobody") == []
        nodes = len({part.node for part in wire.parts})
        assert wire.trips == nodes
        wire.reset()
        assert sorted(store.list_by_run("mine"), key=lambda view: view.artifact_id) == sorted(
            views, key=lambda view: view.artifact_id
        )
        assert sum(wire.received) == 64 + 2 * 5  # each view with the time
        assert wire.trips <= 2 * nodes


class FirstInVain(Wire):
    """The first exchange fails at one of the nodes.

    Args:
        store: The store.
        result: What comes of it: what kept replies away, or an error in place of the last one.
    """

    def __init__(self, store: RedisArtifactStore, result: Exception) -> None:
        super().__init__(store)
        self.result: Exception | None = result

    def send(self, parts: Sequence[Part]) -> list[Any]:
        results = super().send(parts)
        if self.result is not None:
            is_reply, at = isinstance(self.result, ResponseError), len(parts) // 2
            results[at] = [*results[at][:-1], self.result] if is_reply else self.result
            self.result = None
        return results


@pytest.mark.parametrize("result", [BrokenError("cut"), NotSentError("away"), TryAgainError("later")], ids=str)
def test_a_run_is_looked_for_again_where_a_node_did_not_answer(valkey_cluster, namespace, result) -> None:
    with RedisArtifactStore(valkey_cluster.url, namespace=namespace) as store:
        store.store_many([b"%d" % n for n in range(50)], run_id="mine")
        wire = FirstInVain(store, result)
        assert len(store.list_by_run("mine")) == 50
        assert sum(wire.received) < 64 + 64 // 2 + 2 * 50  # only that node was asked again
    with RedisArtifactStore(valkey_cluster.url, namespace=namespace, retry_for=0) as impatient:
        impatient.list_by_run("mine")
        FirstInVain(impatient, result)
        with pytest.raises(StoreUnavailableError):
            impatient.list_by_run("mine")


def test_a_large_run_is_listed_in_bounded_replies(store, valkey) -> None:
    tags = {"prompt": "p" * 8000}
    store.store_many([Payload(b"%d" % n, tags=tags) for n in range(2500)], run_id="big")  # 20 MB of metadata
    with valkey.client() as client:
        [(_, before)] = client.config_get("client-output-buffer-limit").items()
        client.config_set("client-output-buffer-limit", "normal 16777216 0 0")
        try:
            assert len(store.list_by_run("big")) == 2500
            assert len(store.list_all(limit=0)) == 2500
        finally:
            client.config_set("client-output-buffer-limit", before)


class Ahead:
    """Writes as if the server's clock had been an hour ahead when an artifact was stored."""

    def __init__(self, client, store: RedisArtifactStore) -> None:
        self.client = client
        self.session = store._operations.backend.session

    def store(self, artifact_id: str) -> None:
        keys, name = self.session.of(artifact_id), artifact_id.encode()
        later = int(self.client.zscore(keys.created, member_of(name))) + 3_600_000_000
        self.client.zadd(keys.created, {member_of(name): later})
        for field, lease in self.client.hgetall(keys.artifact(name)).items():
            if field not in (b"h", b"t"):
                value = lease[:6] + struct.pack(">Q", later)[1:] + lease[13:]
                self.client.hset(keys.artifact(name), field, value)


@pytest.fixture
def ahead(valkey, store) -> Iterator[Ahead]:
    with valkey.client() as client:
        yield Ahead(client, store)


@pytest.mark.parametrize("partitions", [1], indirect=True)  # with more, only stores in one of them are in order
def test_all_views_agree_on_the_latest_store_after_the_clock_went_back(store, ahead) -> None:
    shared = store.store(b"shared", run_id="a", tags={"by": "a"}).artifact_id
    ahead.store(shared)
    other = store.store(b"other", run_id="a").artifact_id
    again = store.store(b"shared", run_id="b", tags={"by": "b"})
    assert store.get_metadata(shared).tags == {"by": "b"}
    assert store.load(shared).metadata == again
    assert [lease.run_id for lease in store.leases(shared)] == ["a", "b"]
    assert [view.artifact_id for view in store.list_all()] == [shared, other]
    assert store.list_all(limit=1) == [again]
    assert store.search(order="asc", limit=1)[0].artifact_id == other
    assert store.list_by_run("b") == [again]
    store.store(b"shared", run_id="a", tags={"by": "a again"})
    assert store.get_metadata(shared).tags == {"by": "a again"}
    assert [lease.run_id for lease in store.leases(shared)] == ["b", "a"]
    store.release(shared, "a")
    assert store.get_metadata(shared) == again


@pytest.mark.parametrize("name", LISTS)
def test_a_listing_misses_nothing_although_the_clock_goes_back(store, ahead, small_pages, name) -> None:
    store.store_many(LASTING, run_id="mine", tags=KEPT)
    for artifact_id in LASTING_IDS[::3]:
        ahead.store(artifact_id)
    with meanwhile(store):
        assert lasting(LISTS[name](store)) == LASTING_IDS


def test_figures_of_runs_are_those_of_each_however_much_they_lease(valkey, namespace) -> None:
    sizes = {"a": 300, "b": 300, "large": 520, "c": 3, "absent": 0}
    with RedisArtifactStore(valkey.url, namespace=namespace) as store:
        for run, size in sizes.items():
            store.store_many([f"{run} {n}".encode() for n in range(size)], run_id=run, ttl=600)
        figures = store.run_stats_many(sizes)
        assert [one.artifacts for one in figures] == list(sizes.values())
        assert figures == [store.run_stats(run) for run in sizes]
