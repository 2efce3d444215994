"""`gc` and `check` on a store that something happened to."""

from __future__ import annotations

import os
import threading

import pytest

from coatcheck import CorruptArtifactError, RedisArtifactStore, StoreUnavailableError, compute_artifact_id


def kinds(report) -> dict[str, int]:
    return {problem.kind: problem.count for problem in report.problems}


@pytest.fixture
def damage(store, client, namespace):
    """Stores something, then does a named damage behind the store's back."""
    stored = store.store(b"content" * 200, run_id="a", ttl=600)
    store.store(b"content" * 200, run_id="b", ttl=6000)
    store.store(b"named", artifact_id="name", run_id="a")
    store.store(b"neighbour", run_id="n")
    tag, k = stored.artifact_id, f"{namespace}:"
    named = compute_artifact_id(b"named")

    def do(what: str) -> str:
        {
            "content gone": lambda: client.delete(f"{k}content:{{{tag}}}"),
            "artifact gone": lambda: client.delete(f"{k}artifact:{{{tag}}}"),
            "named artifact gone": lambda: client.delete(f"{k}artifact:{{name}}"),
            "run gone": lambda: client.delete(f"{k}run:{{a}}"),
            "runs gone": lambda: client.delete(f"{k}runs"),
            "catalog gone": lambda: client.delete(f"{k}catalog:created", f"{k}catalog:deadlines"),
            "leases gone": lambda: client.delete(f"{k}leases:{{{named}}}"),
            "lease gone": lambda: client.hdel(f"{k}artifact:{{{tag}}}", "=a"),
            "artifact immortal": lambda: client.persist(f"{k}artifact:{{{tag}}}"),
            "content immortal": lambda: client.persist(f"{k}content:{{{tag}}}"),
            "content passing": lambda: client.expire(f"{k}content:{{{tag}}}", 5),
            "index immortal": lambda: client.persist(f"{k}run:{{b}}"),
            "score wrong": lambda: client.zadd(f"{k}run:{{a}}", {tag: 5e12}),
            "orphan": lambda: client.copy(f"{k}content:{{{tag}}}", f"{k}content:{{{'0' * 32}}}"),
            "staging immortal": lambda: client.set(f"{k}staging:{{{tag}}}:0123456789abcdef", "x"),
            "bit flipped": lambda: client.setrange(f"{k}content:{{{tag}}}", 60, b"\xff\x00\xff"),
            "truncated": lambda: client.set(f"{k}content:{{{tag}}}", b"\x01\x00"),
            "head damaged": lambda: client.hset(f"{k}artifact:{{{tag}}}", "h", "\x01"),
            "lease damaged": lambda: client.hset(f"{k}artifact:{{{tag}}}", "=a", "x"),
            "wrong type": lambda: (client.delete(f"{k}run:{{a}}"), client.set(f"{k}run:{{a}}", "x")),
        }[what]()
        return tag

    return do


REPAIRABLE = {
    "named artifact gone": {"stale-index-member", "orphan-content"},
    "run gone": {"unindexed-lease", "stale-index-member"},
    "runs gone": set(),
    "catalog gone": {"unindexed-artifact"},
    "leases gone": {"unindexed-artifact"},
    "lease gone": {"stale-index-member"},
    "artifact immortal": {"wrong-expiry"},
    "content passing": {"wrong-expiry"},
    "content immortal": {"wrong-expiry"},
    "index immortal": {"wrong-expiry"},
    "score wrong": {"unindexed-lease"},
    "orphan": {"orphan-content"},
    "staging immortal": {"immortal-staging"},
    "artifact gone": {"stale-index-member", "orphan-content"},
}


@pytest.mark.parametrize("what", REPAIRABLE)
def test_what_is_certain_is_repaired(store, damage, client, namespace, what) -> None:
    damage(what)
    before = {key: client.dump(key) for key in client.scan_iter(match=f"{namespace}:*", count=1000)}
    report = store.check(grace=0)
    assert kinds(report).keys() >= REPAIRABLE[what]
    if REPAIRABLE[what]:
        assert not report.ok
    assert {key: client.dump(key) for key in client.scan_iter(match=f"{namespace}:*", count=1000)} == before
    assert store.check(repair=True, grace=0).ok
    assert store.check(repair=True, grace=0).ok  # what one repair uncovers, the next pass mends
    assert store.check(grace=0, read_data=True).problems == []
    assert store.load_text(compute_artifact_id(b"neighbour")) == "neighbour"
    if what not in ("artifact gone", "named artifact gone"):
        assert store.load_text("name") == "named"
    if what != "artifact gone":
        assert store.load_text(compute_artifact_id(b"content" * 200)) == "content" * 200


LOST = {
    "content gone": "lost-content",
    "head damaged": "damaged-metadata",
    "lease damaged": "damaged-metadata",
    "wrong type": "wrong-type",
    "truncated": "damaged-content",
}


@pytest.mark.leaves_keys("what no repair can undo")
@pytest.mark.parametrize("what", LOST)
def test_losses_are_reported_and_nothing_else_is_touched(store, damage, what) -> None:
    tag = damage(what)
    for repair in (False, True):
        report = store.check(repair=repair, grace=0)
        assert LOST[what] in kinds(report)
        assert not report.ok
    assert store.load_text("name") == "named"
    if what == "content gone":
        store.store(b"content" * 200, run_id="c")
        assert store.load_text(tag) == "content" * 200
        assert store.check(read_data=True).problems == []


def test_damaged_content_is_found_by_reading_and_healed_by_storing(store, damage) -> None:
    tag = damage("bit flipped")
    assert store.check().problems == []
    report = store.check(read_data=True)
    assert kinds(report) == {"damaged-content": 1}
    assert not report.ok
    with pytest.raises(CorruptArtifactError, match=tag):
        store.load(tag)
    assert store.check(read_data=True, repair=True).ok
    assert store.find_missing([tag]) == [tag]
    store.store(b"content" * 200, run_id="a")
    assert store.load_text(tag) == "content" * 200
    assert store.check(read_data=True).problems == []


@pytest.mark.leaves_keys("a damage that is not gc's")
def test_gc_removes_leftovers_and_only_those(store, damage, client, namespace) -> None:
    damage("orphan")
    damage("artifact immortal")
    report = store.gc(grace=0)
    assert kinds(report) == {"orphan-content": 1}
    assert report.problems[0].bytes > 50
    assert store.gc(dry_run=False, grace=3600).problems[0].repaired == 0  # too young
    assert client.exists(f"{namespace}:content:{{{'0' * 32}}}")
    assert store.gc(dry_run=False, grace=0).ok
    assert not client.exists(f"{namespace}:content:{{{'0' * 32}}}")
    assert store.gc(grace=0).problems == []
    assert kinds(store.check()) == {"wrong-expiry": 1}


@pytest.mark.leaves_keys("a lost index")
def test_gc_keeps_what_an_explicit_id_needs_although_its_index_is_lost(store, damage) -> None:
    damage("leases gone")
    assert store.gc(grace=0).problems == []
    assert store.gc(dry_run=False, grace=0).problems == []
    assert store.load_text("name") == "named"


@pytest.mark.leaves_keys("damaged metadata and what might belong to it")
def test_nothing_is_removed_while_some_metadata_cannot_be_read(store, damage, client, namespace) -> None:
    damage("head damaged")  # whose content is it now?
    damage("orphan")
    for report in (store.gc(dry_run=False, grace=0), store.check(repair=True, grace=0)):
        assert kinds(report)["orphan-content"] >= 1
        assert not report.ok
    assert client.exists(f"{namespace}:content:{{{compute_artifact_id(b'content' * 200)}}}")
    assert client.exists(f"{namespace}:content:{{{'0' * 32}}}")


def test_other_namespaces_and_foreign_keys_are_left_alone(store, client, namespace, server, leaks) -> None:
    with RedisArtifactStore(server.url, namespace=leaks.own(f"{namespace}:run")) as other:
        other.store(b"theirs", run_id="content")
        client.set(f"{namespace}:something else", "x")
        client.set(f"{namespace}x", "y")
        assert store.check(repair=True, grace=0).problems == []
        assert store.gc(dry_run=False, grace=0).problems == []
        assert other.check(read_data=True).problems == []
        assert client.get(f"{namespace}:something else") == b"x"
        client.delete(f"{namespace}:something else", f"{namespace}x")


def test_an_error_while_listing_ends_the_pass(store, user, namespace) -> None:
    store.store(b"1", run_id="a")
    with RedisArtifactStore(user(f"~{namespace}:*", "+@all", "-scan"), namespace=namespace) as limited:
        with pytest.raises(StoreUnavailableError, match="permission"):
            limited.gc(dry_run=False, grace=0)
    assert store.load_text(compute_artifact_id(b"1")) == "1"


def test_gc_and_check_harm_nobody_under_traffic(server, namespace) -> None:
    stop = threading.Event()
    errors = []

    def work(n: int) -> None:
        with RedisArtifactStore(server.url, namespace=namespace) as store:
            try:
                while not stop.is_set():
                    shared = store.store(os.urandom(1) * 2000, run_id=f"run{n}", ttl=60)
                    named = store.store(os.urandom(100_000), run_id=f"run{n}", artifact_id=f"name{n}")
                    assert store.load(shared.artifact_id) is not None
                    assert store.load(named.artifact_id) is not None
                    assert len(store.list_by_run(f"run{n}")) == 2
                    assert store.delete_by_run(f"run{n}") == 2
            except BaseException as error:
                errors.append(error)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    with RedisArtifactStore(server.url, namespace=namespace) as store:
        for _ in range(30):
            assert store.gc(dry_run=False, grace=0).problems == []
            assert {p.kind for p in store.check(repair=True, read_data=True, grace=0).problems} <= {"lost-content"}
        stop.set()
        for worker in workers:
            worker.join()
        assert errors == []
        assert store.check(read_data=True).problems == []
