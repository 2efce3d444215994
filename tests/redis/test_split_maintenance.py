"""`gc` and `check` of the split form on a store that something happened to."""

from __future__ import annotations

import os
import threading

import pytest

from coatcheck import ArtifactError, BackendStore, compute_artifact_id
from coatcheck.backends.redis import Target
from coatcheck.backends.redis.keys import SplitKeys

from ..harnesses import split_backend

SHARED = b"content" * 200
TAG = compute_artifact_id(SHARED).encode()
NAMED = compute_artifact_id(b"named").encode()
ORPHAN = b"0" * 32


@pytest.fixture
def store(cluster_node, namespace):
    store = BackendStore(split_backend(Target.of(cluster_node.url).link(), namespace))
    store.store(SHARED, run_id="a", ttl=600)
    store.store(SHARED, run_id="b", ttl=6000)
    store.store(b"named", artifact_id="name", run_id="a")
    store.store(b"neighbour", run_id="n")
    yield store
    store.close()


@pytest.fixture
def client(cluster_node):
    with cluster_node.client() as client:
        yield client


def kinds(report) -> dict[str, int]:
    return {problem.kind: problem.count for problem in report.problems}


def copy_content(client, keys) -> None:
    client.restore(keys.content(ORPHAN), 0, client.dump(keys.content(TAG)))


DAMAGES = {
    "run gone": (lambda c, k: c.delete(k.run("a")), {"unindexed-lease"}),
    "runs gone": (lambda c, k: c.delete(k.runs_with(b"a")), {"unindexed-lease"}),
    "catalog gone": (lambda c, k: c.delete(*k.catalog_with(TAG)), {"unindexed-artifact"}),
    "half the catalog gone": (lambda c, k: c.delete(k.catalog_with(TAG)[0]), {"unindexed-artifact"}),
    "leases gone": (lambda c, k: c.delete(k.leases(NAMED)), {"unindexed-artifact"}),
    "lease gone": (lambda c, k: c.hdel(k.artifact(TAG), "=a"), {"stale-index-member"}),
    "artifact gone": (lambda c, k: c.delete(k.artifact(TAG)), {"stale-index-member", "orphan-content"}),
    "named artifact gone": (lambda c, k: c.delete(k.artifact(b"name")), {"stale-index-member"}),
    "artifact immortal": (lambda c, k: c.persist(k.artifact(TAG)), {"wrong-expiry"}),
    "content passing": (lambda c, k: c.expire(k.content(TAG), 5), {"wrong-expiry"}),
    "named content passing": (lambda c, k: c.expire(k.content(NAMED), 5), {"wrong-expiry"}),
    "index immortal": (lambda c, k: c.persist(k.run("b")), {"wrong-expiry"}),
    "catalog passing": (lambda c, k: c.expire(k.catalog_with(TAG)[1], 5), {"wrong-expiry"}),
    "orphan": (copy_content, {"orphan-content"}),
}
GONE = {"artifact gone": "shared", "named artifact gone": "name"}


@pytest.mark.parametrize("what", DAMAGES)
def test_what_is_certain_is_repaired(store, client, namespace, what) -> None:
    damage, found = DAMAGES[what]
    damage(client, SplitKeys(namespace))
    before = {key: client.dump(key) for key in client.scan_iter(match=f"{namespace}:*", count=1000)}
    report = store.check(grace=0)
    assert kinds(report).keys() >= found
    assert not report.ok
    assert {key: client.dump(key) for key in client.scan_iter(match=f"{namespace}:*", count=1000)} == before
    store.check(repair=True, grace=0)
    assert store.check(repair=True, grace=0).ok  # what one repair uncovers, the next pass mends
    assert store.check(read_data=True, grace=0).problems == []
    assert store.load_text(compute_artifact_id(b"neighbour")) == "neighbour"
    if GONE.get(what) != "name":
        assert store.load_text("name") == "named"
        assert "name" in {view.artifact_id for view in store.list_by_run("a")}
    if GONE.get(what) != "shared":
        assert store.load(TAG.decode()).content == SHARED
        assert TAG.decode() in {view.artifact_id for view in store.list_all()}
    for run in "abn":
        store.delete_by_run(run)
    left = list(client.scan_iter(match=f"{namespace}:*", count=1000))
    assert all(b":fence:" in key and client.pttl(key) > 0 for key in left), left


@pytest.mark.parametrize("key", ["content", "named content"])
def test_a_lost_content_is_told_and_healed_by_storing(store, client, namespace, key) -> None:
    name, content = (TAG.decode(), SHARED) if key == "content" else ("name", b"named")
    client.delete(SplitKeys(namespace).content(compute_artifact_id(content).encode()))
    assert kinds(store.check(repair=True, grace=0))["lost-content"] == 1
    with pytest.raises(ArtifactError, match="evicted"):
        store.load(name)
    assert store.exists(name) is False
    store.store(content, artifact_id=name, run_id="c")
    assert store.load(name).content == content
    assert store.check(read_data=True, grace=0).problems == []


def test_nothing_is_removed_while_some_metadata_cannot_be_read(store, client, namespace) -> None:
    keys = SplitKeys(namespace)
    client.hset(keys.artifact(TAG), "h", "\x01")  # whose content is it now?
    copy_content(client, keys)
    for report in (store.gc(dry_run=False, grace=0), store.check(repair=True, grace=0)):
        assert kinds(report)["orphan-content"] >= 1
        assert not report.ok
    assert client.exists(keys.content(TAG))
    assert client.exists(keys.content(ORPHAN))


def test_gc_keeps_what_an_explicit_id_needs_although_its_index_is_lost(store, client, namespace) -> None:
    client.delete(SplitKeys(namespace).leases(NAMED))
    assert store.gc(dry_run=False, grace=0).problems == []
    assert store.load_text("name") == "named"


def test_young_leftovers_are_kept_for_the_grace(store, client, namespace) -> None:
    keys = SplitKeys(namespace)
    client.delete(keys.artifact(b"name"))
    assert store.gc(dry_run=False, grace=3600).problems == []
    assert client.exists(keys.content(NAMED))
    assert store.gc(dry_run=False, grace=0).ok
    assert not client.exists(keys.content(NAMED))


def test_gc_and_check_harm_nobody_under_traffic(store, cluster_node, namespace) -> None:
    stop = threading.Event()
    errors = []

    def work(n: int) -> None:
        mine = BackendStore(split_backend(Target.of(cluster_node.url).link(), namespace))
        try:
            while not stop.is_set():
                shared = mine.store(os.urandom(1) * 2000, run_id=f"run{n}", ttl=60)
                named = mine.store(os.urandom(100_000), run_id=f"run{n}", artifact_id=f"name{n}")
                assert mine.load(shared.artifact_id) is not None
                assert mine.load(named.artifact_id) is not None
                assert len(mine.list_by_run(f"run{n}")) == 2
                assert mine.delete_by_run(f"run{n}") == 2
        except BaseException as error:
            errors.append(error)
        finally:
            mine.close()

    workers = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(10):
            store.gc(dry_run=False, grace=3600)
            store.check(repair=True, read_data=True)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert errors == []
    assert store.gc(dry_run=False, grace=0).ok
    assert store.check(read_data=True, grace=0).problems == []
