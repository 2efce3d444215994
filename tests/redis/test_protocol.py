"""What goes over the wire and what lies on the server."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import threading
from pathlib import Path

import pytest

import coatcheck
from coatcheck import (
    ArtifactError,
    AsyncRedisArtifactStore,
    InvalidArtifactError,
    RedisArtifactStore,
    compute_artifact_id,
)
from coatcheck.backends.redis.batching import BATCH_BYTES, PAGE
from coatcheck.backends.redis.layout import records
from coatcheck.backends.redis.layout.keys import KINDS, member_of
from coatcheck.backends.redis.layout.records import MANY
from coatcheck.backends.redis.scripts import calls
from coatcheck.backends.redis.scripts.script import LUA, link
from coatcheck.backends.redis.transport.wire import Wire as Connection
from coatcheck.envelope import MANIFEST, header, seal
from coatcheck.ids import compute_digest
from coatcheck.model import filled
from coatcheck.plan import run
from coatcheck.request import Details, StoreRequest
from coatcheck.testing import eventually

from .wire import Wire

NASTY_RUNS = ["a:b", "{a}", "*", "a b\n", "%41", "~.-_", "grüße", "\N{ADMISSION TICKETS}", "\x00\xff", "\xff" * 512]


@pytest.fixture
def wire(store) -> Wire:
    """What the store sends."""
    return Wire(store)


OPERATIONS = {
    "store": lambda s: s.store(b"1" * 1000, run_id="a", tags={"k": "v"}, ttl=60),
    "store explicit": lambda s: s.store(b"1", artifact_id="name"),
    "replace explicit": lambda s: s.store(b"other", artifact_id="explicit", run_id="b"),
    "store if absent": lambda s: s.store(b"1", artifact_id="new", if_absent=True),
    "store large if absent": lambda s: s.store(b"large" * 100_000, artifact_id="new", if_absent=True),
    "link": lambda s: s.link(s.large, "new", run_id="b"),
    "store known large": lambda s: s.store(b"large" * 100_000, run_id="b"),
    "load default": lambda s: s.load(s.default),
    "load explicit": lambda s: s.load("explicit"),
    "load large": lambda s: s.load(s.large),
    "load absent": lambda s: s.load("absent"),
    "get_metadata": lambda s: s.get_metadata("explicit"),
    "exists": lambda s: s.exists("explicit"),
    "leases": lambda s: s.leases("explicit"),
    "leases_many": lambda s: s.leases_many(["explicit", s.default]),
    "list_by_run": lambda s: s.list_by_run("a"),
    "list_all": lambda s: s.list_all(),
    "list_runs": lambda s: s.list_runs(),
    "touch": lambda s: s.touch("explicit", 10, "a"),
    "update_metadata": lambda s: s.update_metadata("explicit", run_id="a", tags={"k": "v"}),
    "update_many": lambda s: s.update_many(["explicit", s.default, "absent"], run_id="a", extra={"n": 1}),
    "release": lambda s: s.release("explicit", "a"),
    "delete": lambda s: s.delete("explicit"),
    "delete_by_run": lambda s: s.delete_by_run("a"),
    "find_missing": lambda s: s.find_missing([s.default, "absent", "explicit"]),
    "claim": lambda s: s.find_missing([s.default, "absent", "explicit"], ttl=60, run_id="b"),
    "delete_many": lambda s: s.delete_many(["absent", "explicit", s.default]),
    "metadata_many": lambda s: s.metadata_many([s.default, "absent", "explicit"]),
    "store_many": lambda s: s.store_many([b"%d" % n for n in range(100)], run_id="b"),
}


# What asks which content an explicit id stands for, or an index what there is, before it asks about that.
TRIPS = dict.fromkeys(OPERATIONS, 1) | {
    "replace explicit": 3,
    "link": 2,
    "exists": 2,
    "list_all": 2,
    "list_runs": 2,
    "touch": 2,
    "update_metadata": 2,
    "update_many": 2,
    "release": 2,
    "delete": 2,
    "delete_by_run": 3,
    "find_missing": 2,
    "claim": 2,
    "delete_many": 2,
}


def prepare(store) -> None:
    store.default = store.store(b"default", run_id="a").artifact_id
    store.large = store.store(b"large" * 100_000, run_id="a").artifact_id
    store.store(b"explicit", artifact_id="explicit", run_id="a")
    store.delete("new")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_call_takes_few_round_trips(store, wire, operation) -> None:
    for _ in range(2):  # every script is known to the server before it is counted
        prepare(store)
        wire.reset()
        OPERATIONS[operation](store)
    assert wire.trips == TRIPS[operation]


@pytest.mark.parametrize(("size", "trips"), [(60_000, 1), (200_000, 1), (300_000, 2)])
def test_new_large_content_is_asked_for_first(store, wire, size, trips) -> None:
    store.store(os.urandom(size))
    wire.reset()
    store.store(os.urandom(size))
    assert wire.trips == trips


def test_a_link_sends_and_loads_no_content(store, client) -> None:
    source = store.store(os.urandom(20_000_000))
    before = client.info("stats")
    store.link(source, "name")
    after = client.info("stats")
    for way in ("total_net_input_bytes", "total_net_output_bytes"):
        assert after[way] - before[way] < 50_000


def test_known_large_content_is_not_sent_again(store, client) -> None:
    content = os.urandom(5_000_000)
    store.store(content, run_id="a")
    before = client.info("stats")["total_net_input_bytes"]
    store.store(content, run_id="b")
    sent = client.info("stats")["total_net_input_bytes"] - before
    assert sent < 20_000


def test_script_flush_goes_unnoticed(store, client) -> None:
    for n, operation in enumerate(OPERATIONS.values()):
        prepare(store)
        client.script_flush()
        operation(store)
        client.script_flush()
        assert store.store_text(f"{n}").size_bytes == len(str(n))


@pytest.mark.parametrize("run", NASTY_RUNS)
def test_scripts_and_python_name_keys_alike(store, keys, keys_of, run) -> None:
    stored = store.store(b"content", run_id=run)
    assert keys.run(run).decode() in keys_of()
    store.delete(stored.artifact_id)  # a script finds the run's key by itself
    assert keys_of() == []


SCRIPTS = {path.stem: path.read_text() for path in Path(str(LUA)).glob("*.lua")}


def test_every_script_is_called_by_a_function() -> None:
    assert SCRIPTS.keys() == {script.name for script in calls.ALL}


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_says_what_it_takes_and_returns(name) -> None:
    first, head = SCRIPTS[name].split("\n\n", 1)[0].split("\n", 1)
    code = re.sub(r"--.*", "", link(SCRIPTS[name]))
    assert first in ("#!lua", "#!lua flags=no-writes", "#!lua flags=allow-oom")
    assert "\n-- Returns " in head
    for what in ("KEYS", "ARGV"):
        used = {int(n) for n in re.findall(rf"\b{what}\[(\d+)\]", code)}
        named = {int(n) for n in re.findall(rf"\b{what}\[(\d+)\]", head)}
        ranges = [(int(a), int(b or 99)) for a, b in re.findall(rf"\b{what}\[(\d+)\.\.(\d*)\]", head)]
        ranges += [(1, 99)] * bool(re.search(rf"\b{what} \w", head))  # for each artifact
        assert used <= named.union(*(range(a, b + 1) for a, b in ranges)), what
        assert named <= used or name in ("eviction_policy", "audit_contents"), what  # its keys say which node is asked


def test_names_of_keys_are_written_in_one_place_a_language() -> None:
    named = re.compile(rf"\b({'|'.join(KINDS)}):")
    in_lua = {
        path.stem
        for path in Path(str(LUA)).rglob("*.lua")
        if any(named.search(text) for text in re.findall(r"'[^'\n]*'", re.sub(r"--.*", "", path.read_text())))
    }
    # Most stores need no key of an index by label; a load derives the name of a content, to read it.
    assert in_lua == {"keys", "labelled", "load"}
    folder = Path(coatcheck.__file__).parent
    in_python = {
        path.name
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes) and named.search(node.value.decode("latin"))
    }
    assert in_python == {"keys.py"}


def test_only_keys_of_the_namespace_are_touched(client, user, namespace) -> None:
    client.set(f"{namespace}x", "a neighbour")
    url = user(f"~{namespace}:*", "+@all", "-@dangerous", "-@admin", "-keys", "-scan", "-randomkey")
    with RedisArtifactStore(url, namespace=namespace) as store:
        for operation in OPERATIONS.values():
            prepare(store)
            operation(store)
        store.stats()
    assert client.get(f"{namespace}x") == b"a neighbour"
    client.delete(f"{namespace}x")


def test_indexes_do_not_keep_expired_members(store, client, keys) -> None:
    store.store(b"immortal", run_id="a")
    store.store(b"shared by many")
    for n in range(200):
        store.store(b"%d" % n, run_id="a", ttl=0.001)
        store.store(b"shared by many", run_id=f"short {n}", ttl=0.001)
    eventually(lambda: len(store.list_all()) == 2)
    eventually(lambda: not client.exists(keys.run("short 199")))  # indexes end a little late
    for n in range(600):
        store.store(b"last %d" % n, run_id="a", ttl=0.001)
    for _ in range(400):
        store.store(b"shared by many", run_id="b")
    [name] = [view.artifact_id for view in store.list_all() if view.run_id == "b"]
    # One store in thirty-two drops them.
    assert client.zcard(keys.run("a")) < 400
    assert client.zcard(keys.runs) < 400
    assert client.zcard(keys.created) < 400
    assert client.zcard(keys.deadlines) < 400
    assert client.hlen(keys.artifact(name.encode())) < 30


def test_indexes_do_not_keep_expired_members_of_batches(store, client, keys) -> None:
    store.store(b"immortal", run_id="a")
    for n in range(20):
        store.store_many([b"%d %d" % (n, i) for i in range(20)], run_id="a", ttl=0.001)
        store.store_many([b"%d" % n, b"also %d" % n], run_id=f"short {n}", ttl=0.001)
        eventually(lambda: len(store.list_all()) == 1)
    eventually(lambda: not client.exists(keys.run("short 19")))  # indexes end a little late
    store.store_many([b"last %d" % n for n in range(32)], run_id="a")
    assert client.zcard(keys.run("a")) == 33
    assert client.zcard(keys.runs) == 1
    assert client.zcard(keys.created) == 33
    assert client.zcard(keys.deadlines) == 33


def test_indexes_end_with_their_last_member(store, client, keys) -> None:
    indexes = [keys.run("a"), *keys.catalog]
    for ttl, longest in ((10, 10), (50, 50), (30, 50)):
        store.store_many([b"1 for %d" % ttl, b"2 for %d" % ttl], run_id="a", ttl=ttl)
        ends = {client.pexpiretime(key) for key in indexes}
        assert len(ends) == 1, ttl
        assert 0 < client.pttl(indexes[0]) - (longest - 5) * 1000 <= 5100
    for ttl in (None, 10):
        store.store_many([b"1 then %s" % str(ttl).encode(), b"2 then %s" % str(ttl).encode()], run_id="a", ttl=ttl)
        assert {client.pttl(key) for key in indexes} == {-1}


@pytest.mark.parametrize("ttl", [20, None])
@pytest.mark.parametrize("artifact_id", [None, "name"])
def test_content_that_is_sent_without_asking_ends_with_its_artifact(store, client, keys, artifact_id, ttl) -> None:
    stored = store.store(os.urandom(100_000), artifact_id=artifact_id, ttl=ttl)
    content, artifact = (
        keys.content(stored.digest[:32].encode()),
        keys.artifact(stored.artifact_id.encode()),
    )
    ends = client.pexpiretime(content)
    assert ends == client.pexpiretime(artifact)
    assert (ends == -1) is (ttl is None)


def test_content_that_is_sent_without_asking_does_not_make_another_its_own(store, client, keys) -> None:
    content, other = os.urandom(100_000), os.urandom(100_000)
    key = keys.content(compute_artifact_id(content).encode())
    squatter = b"".join(seal(other, compute_digest(other)))
    client.set(key, squatter, ex=100)
    with pytest.raises(InvalidArtifactError, match="other content"):
        store.store(content)
    assert client.getdel(key) == squatter
    assert not store.exists(compute_artifact_id(content))


def test_content_that_is_sent_without_asking_replaces_what_was_left_of_it_in_chunks(store, client, keys) -> None:
    content = os.urandom(100_000)
    key = keys.content(compute_artifact_id(content).encode())
    client.set(key, header(MANIFEST, len(content), compute_digest(content), b"") + bytes(12 + 13), ex=100)
    stored = store.store(content)
    assert store.load(stored.artifact_id).content == content


def test_one_call_stores_in_order_where_ids_meet(store, keys) -> None:
    requests = [StoreRequest(b"same", Details(None, "text/plain", None, {"n": n}, None)) for n in "12"]
    sealed = [seal(request.content, request.digest) for request in requests]
    first, second = run(store._operations.backend.session.write(calls.store(keys, requests, sealed, "inline")))
    assert first.kind == second.kind == "ok"
    assert first.created < second.created
    assert store.get_metadata(compute_artifact_id(b"same")).tags == {"n": "2"}


@pytest.mark.leaves_keys("damages what it stored")
def test_content_whose_digest_begins_like_anothers_is_refused(store, client, keys) -> None:
    artifact = keys.artifact(store.store(b"content").artifact_id.encode())
    head = client.hget(artifact, "h")
    client.hset(artifact, "h", head[:17] + bytes(16) + head[33:])
    before = client.hgetall(artifact)
    with pytest.raises(InvalidArtifactError, match="other content"):
        store.store(b"content", run_id="a")
    assert client.hgetall(artifact) == before


def test_a_runs_deletion_leaves_what_only_another_still_leases(store, client, keys) -> None:
    kept, shared = store.store(b"kept", run_id="a"), store.store(b"shared", run_id="a", ttl=0.001)
    eventually(lambda: not store.exists(shared.artifact_id))
    store.store(b"shared", run_id="b")
    assert client.zscore(keys.run("a"), member_of(shared.artifact_id.encode())) is not None  # until something drops it
    assert store.delete_by_run("a") == 1
    assert not store.exists(kept.artifact_id)
    assert store.load_text(shared.artifact_id) == "shared"


def test_every_key_of_passing_artifacts_has_a_ttl(store, client, keys_of) -> None:
    store.store(b"1", run_id="a", ttl=100)
    store.store(b"1", run_id="b", ttl=50)
    store.store(b"2", artifact_id="name", run_id="a", ttl=70)
    store.store(b"3" * 200_000, ttl=20)
    assert len(keys_of()) >= 10
    assert all(0 < client.pttl(key) <= 100_100 for key in keys_of())


def test_content_lies_under_its_hash_once(store, keys, keys_of) -> None:
    stored = store.store(b"content" * 100, run_id="a")
    store.store(b"content" * 100, run_id="b")
    store.store(b"content" * 100, artifact_id="name")
    content = keys.content(stored.artifact_id.encode())
    assert [key for key in keys_of() if ":content:" in key] == [content.decode()]


def test_uploads_leave_no_staging_keys(store, keys_of) -> None:
    store.store(os.urandom(300_000), run_id="a")
    store.store(os.urandom(300_000), artifact_id="name")
    assert not [key for key in keys_of() if ":staging:" in key]


def test_large_runs_are_listed_and_deleted_in_pages(store, keys_of) -> None:
    stored = store.store_many([b"%d" % n for n in range(1234)], run_id="a")
    assert {view.artifact_id for view in store.list_by_run("a")} == {view.artifact_id for view in stored}
    assert len(store.list_all(limit=0)) == 1234
    assert len(store.list_all(limit=1100)) == 1100
    assert len(store.search(limit=1200, offset=100, order="asc")) == 1134
    assert store.stats().artifacts == 1234
    assert store.delete_by_run("a") == 1234
    assert keys_of() == []


def test_compression_is_as_the_store_says(server, client, namespace, keys) -> None:
    text = b"text " * 100

    def stored_bytes(**options) -> int:
        with RedisArtifactStore(server.url, namespace=namespace, **options) as store:
            artifact_id = store.store(text).artifact_id
            length = client.strlen(keys.content(artifact_id.encode()))
            assert store.load(artifact_id).content == text
            assert store.delete(artifact_id)
        return length

    assert stored_bytes() == stored_bytes(compression=None) == stored_bytes(compression_threshold=501) == 550
    assert stored_bytes(compression_threshold=500) < 100
    text *= 1000
    assert stored_bytes(compression_level=-7) != stored_bytes(compression_level=12)


@pytest.mark.parametrize(
    ("items", "elsewhere"),
    [
        ([b"small"], False),
        ([os.urandom(300_000)], True),
        ([memoryview(os.urandom(300_000))], True),
        ([os.urandom(4000) for _ in range(100)], True),
    ],
    ids=["small", "large", "large buffer", "many"],
)
def test_the_event_loop_neither_hashes_nor_compresses_much(items, elsewhere, server, namespace, monkeypatch) -> None:
    import coatcheck.request
    from coatcheck.backends.redis import storing

    threads = set()

    def watched(call):
        def wrapper(*args):
            threads.add(threading.current_thread())
            return call(*args)

        return wrapper

    monkeypatch.setattr(coatcheck.request, "compute_digest", watched(coatcheck.request.compute_digest))
    monkeypatch.setattr(storing, "seal", watched(storing.seal))

    async def main() -> None:
        async with AsyncRedisArtifactStore(server.url, namespace=namespace) as store:
            await store.store_many(items)

    asyncio.run(main())
    assert threads
    assert (threading.current_thread() not in threads) is elsewhere


def test_claims_do_not_keep_expired_members(store, client, keys) -> None:
    ids = [view.artifact_id for view in store.store_many([b"%d" % n for n in range(400)])]
    store.store(b"anchor", run_id="a")
    for n in range(80):
        assert store.find_missing(ids[5 * n :][:5], ttl=0.001, run_id="a") == []
        assert store.find_missing(ids[:1], ttl=0.001, run_id=f"short {n}") == []
        eventually(lambda: len(store.list_by_run("a")) == 1)
    eventually(lambda: not client.exists(keys.run("short 79")))  # indexes end a little late
    assert store.find_missing(ids[:1], ttl=100, run_id="b") == []
    assert client.zcard(keys.run("a")) < 45
    assert client.zcard(keys.runs) < 20
    assert client.hlen(keys.artifact(ids[0].encode())) < MANY  # few leases are pruned when they become many


def test_every_key_of_a_claim_has_its_ttl(store, client, keys_of, keys) -> None:
    a = store.store(b"1", run_id="a", ttl=100)
    store.store(b"2", artifact_id="name", run_id="a", ttl=70)
    assert store.find_missing([a.artifact_id, "name"], ttl=1000, run_id="b") == []
    short = {keys.run("a").decode()}
    assert len(keys_of()) == 10
    assert {key for key in keys_of() if not 900_000 < client.pttl(key) <= 1_000_100} == short
    assert store.find_missing([a.artifact_id], ttl=None, run_id="b") == []
    assert client.pttl(keys.content(a.artifact_id.encode())) == -1
    assert client.pttl(keys.artifact(a.artifact_id.encode())) == -1
    assert 0 < client.pttl(keys.artifact(b"name")) <= 1_000_000


def test_a_claim_on_lost_content_is_none(store, client, keys) -> None:
    lost = store.store(b"lost", run_id="a", ttl=100)
    here = store.store(b"here", run_id="a", ttl=100)
    client.delete(keys.content(lost.artifact_id.encode()))
    assert store.find_missing([lost.artifact_id, here.artifact_id], ttl=1000, run_id="b") == [lost.artifact_id]
    assert [lease.run_id for lease in store.leases(lost.artifact_id)] == ["a"]
    assert [view.artifact_id for view in store.list_by_run("b")] == [here.artifact_id]
    store.store(b"lost", run_id="b")
    assert store.find_missing([lost.artifact_id], ttl=1000, run_id="b") == []


def squat(client, key: bytes) -> None:
    client.delete(key)
    client.set(key, 1)


@pytest.mark.parametrize(
    "damage",
    {
        "future": lambda client, keys: client.hset(keys.artifact(b"b"), "h", b"\x03" + bytes(34)),
        "damaged": lambda client, keys: client.hset(keys.artifact(b"b"), "-", b"short"),
        "short lease": lambda client, keys: client.hset(keys.artifact(b"b"), "-", b"\xff" * 6 + b"short"),
        "artifact type": lambda client, keys: squat(client, keys.artifact(b"b")),
        "runs type": lambda client, keys: squat(client, keys.runs),
        "catalog type": lambda client, keys: squat(client, keys.created),
        "run type": lambda client, keys: squat(client, keys.run("r")),
        "leases type": lambda client, keys: squat(client, keys.leases(b"b")),
        "needs type": lambda client, keys: squat(client, keys.needs(compute_artifact_id(b"c").encode())),
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("operation", ["claim", "delete_many"])
def test_a_page_with_something_unreadable_changes_nothing(store, client, keys, keys_of, damage, operation) -> None:
    for name in ("a", "b", "c"):
        store.store(name.encode(), artifact_id=name, ttl=100)
    store.touch("b", None)
    damage[1](client, keys)
    dump = {key: client.dump(key) for key in keys_of()}
    try:
        if operation == "claim":
            store.find_missing(["a", "b", "c"], ttl=1000, run_id="r")
        else:
            store.delete_many(["a", "b", "c"])
    except ArtifactError:
        assert {key: client.dump(key) for key in keys_of()} == dump
    else:
        assert operation == "delete_many"  # neither a damaged lease nor a stranger's run is a reason not to delete
        assert damage[0] in ("damaged", "short lease", "run type")
        assert store.list_all() == []
    client.delete(*dump)


def test_batches_are_bounded_by_number_and_by_bytes(store, wire) -> None:
    for first in (
        store.find_missing,
        store.metadata_many,
        store.load_many,
        store.delete_many,
    ):  # the server gets to know their scripts
        first(["a", "b"])
    store.find_missing(["a", "b"], ttl=1)
    store.store_many([b"a", b"b"])
    store.store(bytes(30_000))
    wire.reset()
    contents = [os.urandom(30_000) for _ in range(700)]
    ids = [view.artifact_id for view in store.store_many(contents)]
    assert max(wire.sent) < 9_000_000
    assert len(wire.sent) == 3
    wire.reset()
    assert [artifact.content for artifact in store.load_many(ids)] == contents
    assert max(wire.received) <= 500
    assert len(wire.sent) <= 5 + 3  # metadata with what may come along, 8 MiB of two together; and contents of 8 MiB
    wire.reset()
    store.find_missing(["%d" % n for n in range(25_000)])
    store.metadata_many(["%d" % n for n in range(25_000)])
    store.find_missing(["%d" % n for n in range(25_000)], ttl=1)
    store.delete_many(["%d" % n for n in range(25_000)])
    assert wire.trips <= 3 * 7 + 2 + 25_000 // PAGE


def test_what_a_batch_returns_is_made_before_the_first_answer_is_read(store, monkeypatch) -> None:
    store.store_many([b"a", b"b"])  # the server gets to know the script
    seen: list[str] = []
    receive = Connection.receive
    monkeypatch.setattr(records, "filled", lambda *made: seen.append("made") or filled(*made))
    monkeypatch.setattr(Connection, "receive", lambda self: seen.append("reads") or receive(self))
    views = store.store_many([b"%d" % n for n in range(250)], run_id="a", ttl=60)
    assert seen == [*["made"] * 250, "reads"]
    monkeypatch.undo()
    assert sorted(views, key=lambda view: view.created_at) == views == store.metadata_many(views)


def test_batches_of_the_longest_names_are_bounded_by_bytes(server, namespace, leaks) -> None:
    ids = ["%0200d" % n for n in range(9_000)]
    with RedisArtifactStore(server.url, namespace=leaks.own(namespace.ljust(100, "x"))) as store:
        wire = Wire(store)
        store.find_missing(ids)
        store.metadata_many(ids)
        store.find_missing(ids, ttl=1)
        store.delete_many(ids)
    assert 4_000_000 < max(wire.sent) <= BATCH_BYTES


def test_namespaces_never_meet(server, namespace, leaks) -> None:
    names = [namespace, f"{namespace}:x", f"{namespace}:Run", f"{namespace}:contents", f"{namespace}-x"]
    stores = [RedisArtifactStore(server.url, namespace=leaks.own(name)) for name in names]
    for store, name in zip(stores, names, strict=True):
        store.store(b"content", run_id="runs", tags={"ns": name})
        store.store(b"content", run_id="created", artifact_id="name")
    for store, name in zip(stores, names, strict=True):
        assert store.list_runs() == ["created", "runs"]
        assert store.list_by_run("runs")[0].tags == {"ns": name}
    for store in stores[1:]:
        assert store.delete_by_run("runs") == store.delete_by_run("created") == 1
        assert store.list_all() == []
    assert len(stores[0].list_all()) == 2
    for store in stores:
        store.close()


@pytest.mark.parametrize("name", ["run", "shop:content", "needs:x"])
def test_a_namespace_whose_keys_could_be_those_of_another_is_refused(server, name) -> None:
    with pytest.raises(InvalidArtifactError, match="names a kind of key"):
        RedisArtifactStore(server.url, namespace=name)
