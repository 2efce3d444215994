"""`coatcheck.testing.faults`: what it promises to tests of applications."""

from __future__ import annotations

import pytest
from coatcheck import (
    AmbiguousWriteError,
    ArtifactError,
    ArtifactLostError,
    AsyncInMemoryArtifactStore,
    FileArtifactStore,
    InMemoryArtifactStore,
    InvalidArtifactError,
    RedisArtifactStore,
    StoreFullError,
    StoreUnavailableError,
)
from coatcheck.testing import Blocking, fake_store
from coatcheck.testing.faults import inject

MAKE = {
    "memory": lambda path: InMemoryArtifactStore(),
    "awaited": lambda path: Blocking(AsyncInMemoryArtifactStore),
    "file": FileArtifactStore,
    "redis": lambda path: fake_store(),
}


@pytest.fixture(params=MAKE)
def store(request, tmp_path):
    with MAKE[request.param](tmp_path) as store:
        yield store


def test_a_full_server_writes_nothing_and_reads_on(store) -> None:
    kept = store.store(b"kept")
    with inject(store, full=1) as faults:
        for call in (lambda: store.store(b"x"), lambda: store.store_many([b"x"]), lambda: store.store_text("x")):
            with pytest.raises(StoreFullError):
                call()
        assert store.load(kept).content == b"kept"
        assert store.delete("absent") is False
    assert faults.count == {"full": 3}
    assert len(store.list_all()) == 1


def test_a_lost_reply_means_done_and_unknown(store) -> None:
    with inject(store, lost_replies=1) as faults:
        with pytest.raises(AmbiguousWriteError):
            store.store(b"x", run_id="a")
        with pytest.raises(AmbiguousWriteError):
            store.touch("name", 5)
        with pytest.raises(StoreUnavailableError) as raised:
            store.list_by_run("a")
        assert not isinstance(raised.value, AmbiguousWriteError)
    assert faults.count["lost reply"] == 3
    assert len(store.list_by_run("a")) == 1


READING = {
    "count": lambda s: s.count(),
    "facets": lambda s: s.facets("run_id"),
    "run_stats": lambda s: s.run_stats("a"),
    "run_stats_many": lambda s: s.run_stats_many(["a"]),
    "stats": lambda s: s.stats(),
    "find_missing": lambda s: s.find_missing(["name"]),
    "dry deletion": lambda s: s.delete_where(min_size=1),
    "dry gc": lambda s: s.gc(),
    "check": lambda s: s.check(),
}
WRITING = {
    "find_missing": lambda s: s.find_missing(["name"], ttl=60),
    "deletion": lambda s: s.delete_where(min_size=1, dry_run=False),
    "gc": lambda s: s.gc(dry_run=False),
    "repair": lambda s: s.check(repair=True),
}


@pytest.mark.parametrize("name", READING)
def test_what_only_reads_is_never_of_unknown_outcome(name) -> None:
    with InMemoryArtifactStore() as store, inject(store, lost_replies=1):
        with pytest.raises(StoreUnavailableError) as raised:
            READING[name](store)
        assert not isinstance(raised.value, AmbiguousWriteError)


@pytest.mark.parametrize("name", WRITING)
def test_what_may_write_is_of_unknown_outcome(name) -> None:
    with InMemoryArtifactStore() as store, inject(store, lost_replies=1), pytest.raises(AmbiguousWriteError):
        WRITING[name](store)


def test_a_server_that_is_away_does_nothing(store) -> None:
    with inject(store, unavailable=1), pytest.raises(StoreUnavailableError) as raised:
        store.store(b"x")
    assert raised.value.transient
    assert store.list_all() == []


def test_lost_content_comes_back_by_storing_it_again(store) -> None:
    stored = store.store(b"x")
    with inject(store, lost_content=1) as faults:
        for read in (store.load, store.open, store.load_range, lambda i: store.load_many([i])):
            with pytest.raises(ArtifactLostError, match=stored.artifact_id):
                read(stored)
        assert not store.exists(stored)
        assert store.get_metadata(stored) is not None
        assert store.find_missing(iter([stored, "absent"])) == [stored.artifact_id, "absent"]
        assert store.load("absent") is None
        store.store(b"x")
        assert store.load(stored).content == b"x"
        assert store.find_missing([stored]) == []
    assert faults.count["lost content"] == 1


def test_the_same_seed_disturbs_the_same_calls() -> None:
    def disturbed(seed: int) -> list[str]:
        outcomes = []
        with InMemoryArtifactStore() as store, inject(store, seed=seed, unavailable=0.3, full=0.2, lost_replies=0.2):
            for i in range(50):
                try:
                    store.store(b"%d" % i)
                except ArtifactError as error:
                    outcomes.append(type(error).__name__)
                else:
                    outcomes.append("done")
        return outcomes

    assert disturbed(1) == disturbed(1) != disturbed(2)
    assert set(disturbed(1)) == {"done", "StoreUnavailableError", "StoreFullError", "AmbiguousWriteError"}


def test_latency_is_waited_for(monkeypatch) -> None:
    waited = []
    monkeypatch.setattr("coatcheck.plan.time.sleep", waited.append)
    with InMemoryArtifactStore() as store, inject(store, latency=10) as faults:
        for _ in range(20):
            store.list_runs()
    assert len(waited) == faults.count["slow"] == 20
    assert 0 <= min(waited) < max(waited) <= 10


def test_faults_end_with_the_block_and_closing_is_never_disturbed() -> None:
    store = InMemoryArtifactStore()
    with pytest.raises(StoreUnavailableError), inject(store, unavailable=1):
        store.list_runs()
    assert store.list_runs() == []
    with inject(store, unavailable=1, lost_replies=1):
        store.close()


def test_events_tell_of_faults() -> None:
    events = []
    with InMemoryArtifactStore(on_event=events.append) as store, inject(store, unavailable=1):
        with pytest.raises(StoreUnavailableError):
            store.list_runs()
    assert [event.operation for event in events] == ["close"]  # faults are in front of the store: it was not asked


@pytest.mark.parametrize("shares", [{"full": 1.5}, {"lost_replies": -0.1}, {"latency": -1}, {"latency": float("nan")}])
def test_shares_that_are_none_are_refused(shares) -> None:
    with pytest.raises(InvalidArtifactError, match=next(iter(shares))), inject(InMemoryArtifactStore(), **shares):
        pass


def test_only_stores_of_ours_can_be_disturbed() -> None:
    with pytest.raises(InvalidArtifactError, match="not object"), inject(object()):
        pass


def test_a_real_store_can_be_disturbed(valkey, namespace) -> None:
    with RedisArtifactStore(valkey.url, namespace=namespace) as store:
        with inject(store, lost_replies=1), pytest.raises(AmbiguousWriteError):
            store.store(b"x", ttl=60)
        assert len(store.list_all()) == 1
