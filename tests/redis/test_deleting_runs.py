"""A run is deleted: what only it leases goes in large calls, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from coatcheck import RedisArtifactStore, compute_artifact_id
from coatcheck.backends.redis import leasing
from coatcheck.backends.redis.layout.keys import member_of
from coatcheck.sources import Chunking
from coatcheck.testing import eventually

from ..harnesses import chunk
from .wire import Wire

CONTENTS = [b"%d" % n for n in range(250)]
IDS = list(map(compute_artifact_id, CONTENTS))


@pytest.fixture(params=[1, 64])
def store(request, server, namespace, monkeypatch) -> Iterator[RedisArtifactStore]:
    monkeypatch.setattr(leasing, "_FEW", 2)
    with RedisArtifactStore(server.url, namespace=namespace, partitions=request.param) as store:
        yield chunk(store, Chunking(size=10_000, threshold=20_000))


def fits(store) -> bool:
    return store.check(grace=0).problems == []


def test_what_only_a_run_leases_goes(store) -> None:
    store.store_many(CONTENTS, run_id="mine")
    assert store.delete_by_run("mine") == 250
    assert store.stats().contents == 0
    assert store.list_runs() == []
    assert fits(store)
    assert store.delete_by_run("mine") == 0


def test_what_others_lease_or_need_stays(store) -> None:
    store.store_many(CONTENTS, run_id="mine")
    store.store_many(CONTENTS[::5], run_id="yours")
    store.store(CONTENTS[0], run_id=None)
    for n in range(1, 250, 25):
        store.store(CONTENTS[n], artifact_id=f"name-{n}", run_id="yours")
        store.store(CONTENTS[n], artifact_id=f"mine-{n}", run_id="mine")
    assert store.delete_by_run("mine") == 260
    assert {view.artifact_id for view in store.list_by_run("yours")} == {
        *IDS[::5],
        *(f"name-{n}" for n in range(1, 250, 25)),
    }
    assert [store.load(f"name-{n}").content for n in range(1, 250, 25)] == CONTENTS[1::25]
    assert [artifact.content for artifact in store.load_many(IDS[::5])] == CONTENTS[::5]
    assert store.list_by_run("mine") == []
    assert store.stats().contents == 50 + 10
    assert fits(store)


def test_chunks_go_with_their_content(store, keys_of) -> None:
    store.store_many(CONTENTS, run_id="mine")
    for n in range(3):
        store.store(bytes([n]) * 50_000, run_id="mine")
    assert any(":chunk:" in key for key in keys_of())
    assert store.delete_by_run("mine") == 253
    assert not any(":chunk:" in key or ":content:" in key for key in keys_of())
    assert fits(store)


def test_leases_that_have_ended_are_not_counted(store) -> None:
    store.store_many(CONTENTS, run_id="mine", ttl=600)
    store.store_many(CONTENTS[:100], run_id="yours")
    store.store_many(CONTENTS[:100], run_id="mine", ttl=0.05, exact_ttl=True)
    eventually(lambda: len(store.list_by_run("mine")) == 150)
    assert store.delete_by_run("mine") == 150
    assert len(store.list_by_run("yours")) == 100
    assert fits(store)


def test_what_the_index_of_a_run_says_too_much_goes(store, client, keys_of) -> None:
    store.store_many(CONTENTS, run_id="mine")
    for artifact_id in IDS[:40]:
        store.delete(artifact_id)
    for artifact_id in IDS[:40]:
        keys = store._operations.backend.session.of(artifact_id)
        client.zadd(keys.run("mine"), {member_of(artifact_id.encode()): 9e15})
    assert store.delete_by_run("mine") == 210
    assert not any(":run:" in key for key in keys_of())


def test_labels_go_with_what_they_are_of(server, namespace, keys_of) -> None:
    with RedisArtifactStore(server.url, namespace=namespace, index_tags=["kind"]) as store:
        store.store_many(CONTENTS, run_id="mine", tags={"kind": "a"})
        store.store(b"other", run_id="yours", tags={"kind": "b"})
        assert store.delete_by_run("mine") == 250
        assert store.count(tags={"kind": "a"}) == 0
        assert store.count(tags={"kind": "b"}) == 1
        assert not any(":a:" in key for key in keys_of())
        assert fits(store)


def test_a_large_run_takes_few_bytes_and_trips(server, namespace) -> None:
    with RedisArtifactStore(server.url, namespace=namespace) as store:
        store.store_many(CONTENTS, run_id="before")
        store.delete_by_run("before")
        store.store_many(CONTENTS, run_id="mine")
        wire = Wire(store)
        assert store.delete_by_run("mine") == 250
        assert wire.trips == 2
        assert sum(wire.sent) < 250 * 300
