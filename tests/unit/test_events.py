"""What stores tell of their operations by `on_event`: one event for each, and nothing where nobody asked."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import io
import logging
import pickle

import pytest
from coatcheck import (
    ArtifactNotFoundError,
    AsyncFileArtifactStore,
    AsyncInMemoryArtifactStore,
    AsyncRedisArtifactStore,
    CorruptArtifactError,
    Event,
    FileArtifactStore,
    InMemoryArtifactStore,
    InvalidArtifactError,
    RedisArtifactStore,
    StoreUnavailableError,
    open_store,
)
from coatcheck.operations import Operations
from coatcheck.testing import Blocking, afake_store, fake_store

from ..harnesses import TINY, chunk

LARGE = hashlib.shake_128(b"large").digest(60_000)
STORES = ["memory", "file", "redis"]


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture(params=[(name, twin) for name in STORES for twin in ("sync", "async")], ids=" ".join)
def store(request, tmp_path, events):
    name, twin = request.param
    make, amake = {
        "memory": (InMemoryArtifactStore, AsyncInMemoryArtifactStore),
        "file": (FileArtifactStore, AsyncFileArtifactStore),
        "redis": (fake_store, afake_store),
    }[name]
    where = (tmp_path,) if name == "file" else ()
    options = {"on_event": events.append}
    store = make(*where, **options) if twin == "sync" else Blocking(lambda: amake(*where, **options))
    yield chunk(store, TINY)
    store.close()


def last(events: list[Event]) -> tuple:
    event = events[-1]
    return event.operation, event.outcome, event.items, event.bytes


def test_an_event_tells_what_was_done_and_how_much(store, events) -> None:
    small = store.store(b"four", run_id="a").artifact_id
    assert last(events) == ("store", "done", 1, 4)
    store.store_many([b"one", b"three"], run_id="a")
    assert last(events) == ("store_many", "done", 2, 8)
    large = store.store_file(io.BytesIO(LARGE)).artifact_id
    assert last(events) == ("store_file", "done", 1, 60_000)
    store.load(small)
    assert last(events) == ("load", "done", 1, 4)
    store.load_many([small, "absent", large])
    assert last(events) == ("load_many", "done", 3, 60_004)
    store.load_range(large, 10, 20)
    assert last(events) == ("load_range", "done", 1, 10)
    store.list_by_run("a")
    assert last(events) == ("list_by_run", "done", 3, 0)
    store.page(limit=2)
    assert last(events) == ("page", "done", 2, 0)
    assert store.exists("absent") is False
    assert last(events) == ("exists", "absent", 1, 0)
    assert store.load("absent") is None
    assert last(events) == ("load", "absent", 1, 0)
    assert [event.operation for event in events].count("search") == 0
    assert {(event.retries, event.cache_hits, event.cache_misses) for event in events} == {(0, 0, 0)}
    assert {event.error for event in events} == {None}
    assert all(0 < event.seconds < 60 for event in events)


def test_what_a_reader_fetches_is_told_while_it_reads(store, events) -> None:
    large = store.store(LARGE).artifact_id
    del events[:]
    with store.open(large) as reader:
        assert last(events) == ("open", "done", 1, 0)
        assert reader.read() == LARGE
    read = [event for event in events if event.operation == "read"]
    assert sum(event.bytes for event in read) == 60_000
    assert {event.operation for event in events} == {"open", "read"}


def test_one_call_is_one_event(store, events) -> None:
    store.list_all()
    assert [event.operation for event in events] == ["list_all"]


def test_a_failure_is_told_with_its_error(store, events) -> None:
    with pytest.raises(ArtifactNotFoundError) as raised:
        store.load("absent", required=True)
    assert events[-1].outcome == "failed"
    assert events[-1].error is raised.value
    with pytest.raises(InvalidArtifactError):
        store.store(b"x", ttl=-1)
    assert last(events)[:2] == ("store", "failed")


def test_where_it_happened_is_told(events, tmp_path) -> None:
    for url in ("memory://", f"file://{tmp_path}"):
        with open_store(url, on_event=events.append) as store:
            store.list_runs()
    with fake_store(namespace="mine", on_event=events.append) as store:
        store.list_runs()
    told = {(event.backend, event.namespace) for event in events}
    assert told == {("memory", ""), ("file", ""), ("redis", "mine")}


def test_every_operation_is_told_by_its_name(events) -> None:
    operations = InMemoryArtifactStore(on_event=events.append)._operations
    names = [name for name, _ in inspect.getmembers(Operations, inspect.isfunction) if not name.startswith("_")]
    assert {"store", "load", "gc", "close"} <= set(names)
    assert all(name in vars(operations) for name in names)


def test_nobody_who_did_not_ask_pays_for_it() -> None:
    operations = InMemoryArtifactStore()._operations
    assert type(operations) is Operations
    assert not any(callable(value) for value in vars(operations).values())


def test_a_listener_that_fails_disturbs_nobody(caplog) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("no")

    with InMemoryArtifactStore(on_event=broken) as store:
        stored = store.store(b"x")
        assert store.load(stored.artifact_id).content == b"x"
    assert {record.name for record in caplog.records} == {"coatcheck.events"}
    assert "on_event failed for store" in caplog.text


@pytest.mark.parametrize("make", [
    InMemoryArtifactStore, AsyncInMemoryArtifactStore, lambda **o: open_store("memory://", **o),
    lambda **o: RedisArtifactStore("redis://127.0.0.1:1", **o),
    lambda **o: AsyncRedisArtifactStore("redis://127.0.0.1:1", **o),
])  # fmt: skip
def test_what_cannot_be_told_is_refused(make) -> None:
    with pytest.raises(InvalidArtifactError, match="on_event must be a function"):
        make(on_event="log")

    async def listen(event: Event) -> None:
        """Nobody would await it."""

    with pytest.raises(InvalidArtifactError, match="plain function"):
        make(on_event=listen)


def test_a_store_takes_its_listener_to_another_process(tmp_path) -> None:
    with pickle.loads(pickle.dumps(FileArtifactStore(tmp_path, on_event=print))) as store:
        store.list_runs()
        assert store._arguments[1]["on_event"] is print


def test_retries_and_what_they_end_in_are_told(events, caplog) -> None:
    caplog.set_level(logging.INFO, "coatcheck")
    with (
        RedisArtifactStore("redis://127.0.0.1:1", retry_for=0.5, on_event=events.append) as store,
        pytest.raises(StoreUnavailableError),
    ):
        store.list_runs()
    assert events[0].outcome == "failed"
    assert events[0].retries > 1
    [record] = caplog.records
    assert (record.name, record.levelname) == ("coatcheck.retry", "INFO")
    assert record.getMessage().startswith("sent again, for 0.5 s at most: ")
    assert "127.0.0.1:1" in record.getMessage()


def test_a_cancelled_call_is_told(events) -> None:
    async def cancel() -> None:
        store = AsyncRedisArtifactStore("redis://127.0.0.1:1", retry_for=60, on_event=events.append)
        call = asyncio.ensure_future(store.list_runs())
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await store.close()

    asyncio.run(cancel())
    assert isinstance(events[0].error, asyncio.CancelledError)
    assert events[0].outcome == "failed"


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_a_cache_is_told(valkey, namespace, events, twin) -> None:
    options = {"namespace": namespace, "cache_size": 2**20, "on_event": events.append}
    if twin == "sync":
        store = RedisArtifactStore(valkey.url, **options)
    else:
        store = Blocking(lambda: AsyncRedisArtifactStore(valkey.url, **options))
    with store, RedisArtifactStore(valkey.url, namespace=namespace) as other:
        ids = [other.store(content, ttl=60).artifact_id for content in (b"a", b"b")]
        store.load(ids[0])
        store.load(ids[0])
        store.load_many(ids)
    counts = [(e.operation, e.cache_hits, e.cache_misses) for e in events if e.operation != "close"]
    assert counts == [("load", 0, 1), ("load", 1, 0), ("load_many", 1, 1)]


def test_corruption_is_told(valkey, namespace, events) -> None:
    with (
        RedisArtifactStore(valkey.url, namespace=namespace, on_event=events.append) as store,
        valkey.client() as client,
    ):
        stored = store.store(b"x", ttl=60)
        key = f"{namespace}:content:{stored.artifact_id}"
        client.set(key, client.get(key)[:-1] + b"y", px=60_000)
        with pytest.raises(CorruptArtifactError):
            store.load(stored)
        store.delete(stored)
    assert [type(event.error) for event in events if event.operation == "load"] == [CorruptArtifactError]


def test_logging_needs_no_package(caplog) -> None:
    from coatcheck.watching.logs import LogEvents

    caplog.set_level(logging.DEBUG, "coatcheck")
    with InMemoryArtifactStore(on_event=LogEvents()) as store:
        store.store(b"four", run_id="secret run", tags={"secret": "tag"})
        with pytest.raises(ArtifactNotFoundError):
            store.load("absent", required=True)
    stored, loaded, _ = caplog.records
    assert stored.name == "coatcheck.operations"
    assert stored.getMessage().startswith("store done in ")
    assert (stored.coatcheck_bytes, stored.coatcheck_operation) == (4, "store")
    assert "ArtifactNotFoundError" in loaded.getMessage()
    assert "secret" not in caplog.text


def test_what_is_slow_stands_out_in_the_log(caplog) -> None:
    from coatcheck.watching.logs import LogEvents

    for slow in (None, 3600, 0):
        with InMemoryArtifactStore(on_event=LogEvents(slow=slow)) as store:
            store.list_runs()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]  # list_runs and close


@pytest.mark.parametrize("ask", [lambda s: s.load(""), lambda s: s.list_by_run(""), lambda s: s.get_metadata("a b")])
def test_calls_that_make_no_sense_are_events_too(store, events, ask) -> None:
    with pytest.raises(InvalidArtifactError):
        ask(store)
    assert [event.outcome for event in events] == ["failed"]
    assert isinstance(events[0].error, InvalidArtifactError)
