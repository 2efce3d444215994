"""`gc` and `check` on a store that something happened to."""

from __future__ import annotations

import os
import threading

import pytest

from coatcheck import CorruptArtifactError, RedisArtifactStore, StoreUnavailableError, compute_artifact_id
from coatcheck.backends.redis.batching import PAGE
from coatcheck.backends.redis.layout.keys import member_of
from coatcheck.backends.redis.content.upload import STAGING_MS
from coatcheck.backends.redis.scripts import calls
from coatcheck.plan import run as run_plan

ORPHAN, TOKEN = b"0" * 32, b"0123456789abcdef"


def kinds(report) -> dict[str, int]:
    return {problem.kind: problem.count for problem in report.problems}


def test_gc_leaves_what_a_store_has_just_sent(store, client, keys) -> None:
    """Content that is sent beside the script lies there alone for a moment, or for a minute if its sender died."""
    name = store.store(b"sent" * 200, run_id="a").artifact_id
    key = keys.content(name.encode())
    sealed = client.get(key)
    store.delete(name)
    client.set(key, sealed, px=STAGING_MS)
    assert kinds(store.gc(dry_run=False, grace=0)) == {}
    assert client.get(key) == sealed
    client.set(key, sealed)
    assert kinds(store.gc(dry_run=False, grace=0)) == {"orphan-content": 1}
    assert client.exists(key) == 0


@pytest.fixture
def damage(store, client, keys):
    """Stores something, then does a named damage behind the store's back."""
    stored = store.store(b"content" * 200, run_id="a", ttl=600)
    store.store(b"content" * 200, run_id="b", ttl=6000)
    store.store(b"named", artifact_id="name", run_id="a")
    alone = store.store(b"neighbour", run_id="n", ttl=600)
    shared = stored.artifact_id.encode()
    member = member_of(shared)
    name = alone.artifact_id.encode()
    single = keys.content(name)
    artifact, content, run = keys.artifact(shared), keys.content(shared), keys.run("a")
    needs = keys.needs(compute_artifact_id(b"named").encode())

    def do(what: str) -> str:
        {
            "content gone": lambda: client.delete(content),
            "artifact gone": lambda: client.delete(artifact),
            "named artifact gone": lambda: client.delete(keys.artifact(b"name")),
            "run gone": lambda: client.delete(run),
            "runs gone": lambda: client.delete(keys.runs),
            "run not listed": lambda: client.zrem(keys.runs, "b"),
            "run listed too early": lambda: client.zadd(keys.runs, {"a": 1}),
            "catalog gone": lambda: client.delete(keys.created, keys.deadlines),
            "needs gone": lambda: client.delete(needs),
            "lease gone": lambda: client.hdel(artifact, "=a"),
            "artifact immortal": lambda: client.persist(artifact),
            "content immortal": lambda: client.persist(content),
            "content passing": lambda: client.expire(content, 5),
            "single passing": lambda: client.expire(single, 50),
            "single flipped": lambda: client.setrange(single, 50, b"?"),
            "index immortal": lambda: client.persist(keys.run("b")),
            "score wrong": lambda: client.zadd(run, {member: 5e12}),
            "time impossible": lambda: client.zadd(keys.created, {member: "inf"}),
            "time too early": lambda: client.zadd(keys.created, {member: 1}),
            "single time too early": lambda: client.zadd(keys.created, {member_of(name): 1}),
            "orphan": lambda: client.copy(content, keys.content(ORPHAN)),
            "staging immortal": lambda: client.set(keys.staging(shared, TOKEN), "x"),
            "bit flipped": lambda: client.setrange(content, 60, b"\xff\x00\xff"),
            "truncated": lambda: client.set(content, b"\x02\x00"),
            "single truncated": lambda: client.set(single, b"\x02\x00"),
            "named truncated": lambda: client.set(keys.content(compute_artifact_id(b"named").encode()), b"\x02\x00"),
            "header damaged": lambda: client.hset(artifact, "h", "\x02"),
            "lease damaged": lambda: client.hset(artifact, "=a", "x"),
            "wrong type": lambda: (client.delete(run), client.set(run, "x")),
            "single artifact immortal": lambda: client.persist(keys.artifact(name)),
            "single content immortal": lambda: client.persist(single),
            "single needs of a wrong type": lambda: client.set(keys.needs(name), "x"),
            "single run of a wrong type": lambda: (client.delete(keys.run("n")), client.set(keys.run("n"), "x")),
            "single run gone": lambda: client.delete(keys.run("n")),
            "single score wrong": lambda: client.zadd(keys.run("n"), {member_of(name): 5e12}),
            "member of one twin": lambda: client.zadd(keys.deadlines, {":dead": 5e12}),
        }[what]()
        return (alone if what == "single flipped" else stored).artifact_id

    return do


REPAIRABLE = {
    "named artifact gone": {"stale-index-member", "orphan-content"},
    "run gone": {"unindexed-lease", "stale-index-member"},
    "runs gone": {"unlisted-run"},
    "run not listed": {"unlisted-run"},
    "run listed too early": {"unlisted-run"},
    "catalog gone": {"unindexed-artifact"},
    "needs gone": {"unindexed-artifact"},
    "lease gone": {"stale-index-member"},
    "artifact immortal": {"wrong-expiry"},
    "content passing": {"wrong-expiry"},
    "content immortal": {"wrong-expiry"},
    "single passing": {"wrong-expiry"},
    "index immortal": {"wrong-expiry"},
    "score wrong": {"unindexed-lease"},
    "time impossible": {"unindexed-artifact"},
    "time too early": {"unindexed-artifact"},
    "single time too early": {"unindexed-artifact"},
    "orphan": {"orphan-content"},
    "staging immortal": {"immortal-staging"},
    "artifact gone": {"stale-index-member", "orphan-content"},
    "single artifact immortal": {"wrong-expiry"},
    "single content immortal": {"wrong-expiry"},
    "single run gone": {"unindexed-lease"},
    "single score wrong": {"unindexed-lease"},
    "member of one twin": {"stale-index-member"},
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
    assert store.list_runs() == sorted({lease.run_id for view in store.list_all() for lease in store.leases(view)})
    assert store.load_text(compute_artifact_id(b"neighbour")) == "neighbour"
    if what not in ("artifact gone", "named artifact gone"):
        assert store.load_text("name") == "named"
    if what != "artifact gone":
        assert store.load_text(compute_artifact_id(b"content" * 200)) == "content" * 200


@pytest.mark.parametrize("kind", ["wrong-expiry", "unlisted-run"])
def test_what_is_wrong_with_an_index_of_many_pages_counts_once(store, client, keys, kind) -> None:
    store.store_many([b"%d" % number for number in range(2 * PAGE + 1)], run_id="a", ttl=600)
    if kind == "wrong-expiry":
        client.persist(keys.run("a"))
    else:
        client.zrem(keys.runs, "a")
    assert kinds(store.check()) == {kind: 1}
    assert [(one.kind, one.count, one.repaired) for one in store.check(repair=True).problems] == [(kind, 1, 1)]
    assert store.check().problems == []


@pytest.mark.parametrize("what", [what for what in REPAIRABLE if what.startswith("single")])
def test_scripts_find_on_a_cluster_what_plain_commands_find_on_a_server(store, damage, what) -> None:
    store._redis.session.transport.is_cluster = True
    damage(what)
    assert kinds(store.check(grace=0)).keys() >= REPAIRABLE[what]
    assert store.check(repair=True, grace=0).ok
    assert store.check(grace=0, read_data=True).problems == []


LOST = {
    "content gone": "lost-content",
    "header damaged": "damaged-metadata",
    "lease damaged": "damaged-metadata",
    "wrong type": "wrong-type",
    "truncated": "damaged-content",
    "single truncated": "damaged-content",
    "named truncated": "damaged-content",
    "single needs of a wrong type": "wrong-type",
    "single run of a wrong type": "wrong-type",
}


@pytest.mark.leaves_keys("what no repair can undo")
@pytest.mark.parametrize("what", LOST)
def test_losses_are_reported_and_nothing_else_is_touched(store, damage, what) -> None:
    tag = damage(what)
    for repair in (False, True):
        report = store.check(repair=repair, grace=0)
        assert LOST[what] in kinds(report)
        assert not report.ok
    if what != "named truncated":
        assert store.load_text("name") == "named"
    if what == "content gone":
        store.store(b"content" * 200, run_id="c")
        assert store.load_text(tag) == "content" * 200
        assert store.check(read_data=True).problems == []


@pytest.mark.parametrize("what", ["bit flipped", "single flipped"])
def test_damaged_content_is_found_by_reading_and_healed_by_storing(store, damage, what) -> None:
    tag = damage(what)
    assert store.check().problems == []
    report = store.check(read_data=True)
    assert kinds(report) == {"damaged-content": 1}
    assert not report.ok
    with pytest.raises(CorruptArtifactError, match=tag):
        store.load(tag)
    assert store.check(read_data=True, repair=True).ok
    assert store.find_missing([tag]) == [tag]
    content = b"neighbour" if what == "single flipped" else b"content" * 200
    store.store(content, run_id="a")
    assert store.load(tag).content == content
    assert store.check(read_data=True).problems == []


@pytest.mark.leaves_keys("a damage that is not gc's")
def test_gc_removes_leftovers_and_only_those(store, damage, client, keys) -> None:
    damage("orphan")
    damage("artifact immortal")
    report = store.gc(grace=0)
    assert kinds(report) == {"orphan-content": 1}
    assert report.problems[0].bytes > 50
    assert store.gc(dry_run=False, grace=3600).problems[0].repaired == 0  # too young
    assert client.exists(keys.content(ORPHAN))
    assert store.gc(dry_run=False, grace=0).ok
    assert not client.exists(keys.content(ORPHAN))
    assert store.gc(grace=0).problems == []
    assert kinds(store.check()) == {"wrong-expiry": 1}


def test_gc_finds_what_has_expired_in_every_index(store, client, keys) -> None:
    stored = store.store(b"named", artifact_id="name", run_id="a")
    indexes = (keys.run("a"), keys.needs(stored.digest[:32].encode()), *keys.catalog)
    for index in indexes:
        client.zadd(index, {":dead": 1})
    assert store.check().problems == []
    assert kinds(store.gc(grace=0)) == {"expired-index-member": 5}
    assert store.gc(dry_run=False, grace=0).ok
    assert not any(client.zscore(index, ":dead") for index in indexes)
    assert store.gc(grace=0).problems == []


def test_keys_of_workers_that_cut_the_namespace_otherwise_are_reported_and_left(store, server, namespace) -> None:
    ours = store.store(b"ours", run_id="a")
    with RedisArtifactStore(server.url, namespace=namespace, partitions=64) as other:
        theirs = other.store(b"theirs", run_id="a")
        for one in (store, other):
            assert one.gc(dry_run=False, grace=0).problems == []
            report = one.check(repair=True, grace=0)
            assert kinds(report).keys() == {"other-partitions"}
            assert not report.ok
        assert store.list_all() == [ours]
        assert other.list_all() == [theirs]
        assert other.load_text(theirs.artifact_id) == "theirs"
        other.delete(theirs.artifact_id)


def test_gc_keeps_what_was_stored_after_it_had_looked_at_artifacts(store, client, keys) -> None:
    name = store.store(b"late").artifact_id.encode()
    session = store._operations.backend.session
    problem, _, removed, _ = run_plan(session.write(calls.check_content(keys, name, b"1", 0, STAGING_MS, 0)))
    assert (problem, removed) == ("", 0)
    assert client.exists(keys.content(name))


@pytest.mark.leaves_keys("a lost index")
def test_gc_keeps_what_an_explicit_id_needs_although_its_index_is_lost(store, damage) -> None:
    damage("needs gone")
    assert store.gc(grace=0).problems == []
    assert store.gc(dry_run=False, grace=0).problems == []
    assert store.load_text("name") == "named"


@pytest.mark.leaves_keys("damaged metadata and what might belong to it")
def test_nothing_is_removed_while_some_metadata_cannot_be_read(store, damage, client, keys) -> None:
    damage("header damaged")  # whose content is it now?
    damage("orphan")
    for report in (store.gc(dry_run=False, grace=0), store.check(repair=True, grace=0)):
        assert kinds(report)["orphan-content"] >= 1
        assert not report.ok
    assert client.exists(keys.content(compute_artifact_id(b"content" * 200).encode()))
    assert client.exists(keys.content(ORPHAN))


def test_other_namespaces_and_foreign_keys_are_left_alone(store, client, namespace, server, leaks) -> None:
    with RedisArtifactStore(server.url, namespace=leaks.own(f"{namespace}:inner")) as other:
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
