"""What goes over the wire and what lies on the server."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from pathlib import Path

import pytest

import coatcheck.backends.redis.scripts.script as scripts
from coatcheck import (
    ArtifactError,
    AsyncRedisArtifactStore,
    InvalidArtifactError,
    RedisArtifactStore,
    compute_artifact_id,
)
from coatcheck.arguments import Details, StoreRequest
from coatcheck.backends.redis.layout.keys import Keys
from coatcheck.envelope import MANIFEST, header, seal
from coatcheck.ids import compute_digest
from coatcheck.plan import run
from coatcheck.testing import eventually

NASTY_RUNS = ["a:b", "{a}", "*", "a b\n", "%41", "~.-_", "grüße", "\N{ADMISSION TICKETS}", "\x00\xff", "a" * 5000]


TAG_OF_C = f"%s:leases:{{{compute_artifact_id(b'c')}}}"


class CountingLink:
    """Counts the round trips of a link, the bytes of each and its replies."""

    def __init__(self, link) -> None:
        self.link = link
        self.reset()

    def reset(self) -> None:
        self.trips, self.sent, self.received = 0, [], []

    def send(self, parts):
        self.trips += 1
        self.sent.append(sum(len(buffer) for part in parts for buffer in part.buffers))
        self.received.append(sum(part.replies for part in parts))
        return self.link.send(parts)

    def __getattr__(self, name: str):
        return getattr(self.link, name)


@pytest.fixture
def link(store):
    backend = store._operations.backend
    backend._link = CountingLink(backend._link)
    return backend._link


OPERATIONS = {
    "store": lambda s: s.store(b"1" * 1000, run_id="a", tags={"k": "v"}, ttl=60),
    "store explicit": lambda s: s.store(b"1", artifact_id="name"),
    "replace explicit": lambda s: s.store(b"other", artifact_id="explicit", run_id="b"),
    "store known large": lambda s: s.store(b"large" * 100_000, run_id="b"),
    "load default": lambda s: s.load(s.default),
    "load explicit": lambda s: s.load("explicit"),
    "load large": lambda s: s.load(s.large),
    "load absent": lambda s: s.load("absent"),
    "get_metadata": lambda s: s.get_metadata("explicit"),
    "exists": lambda s: s.exists("explicit"),
    "leases": lambda s: s.leases("explicit"),
    "list_by_run": lambda s: s.list_by_run("a"),
    "list_all": lambda s: s.list_all(),
    "list_runs": lambda s: s.list_runs(),
    "touch": lambda s: s.touch("explicit", 10, "a"),
    "release": lambda s: s.release("explicit", "a"),
    "delete": lambda s: s.delete("explicit"),
    "delete_by_run": lambda s: s.delete_by_run("a"),
    "find_missing": lambda s: s.find_missing([s.default, "absent", "explicit"]),
    "claim": lambda s: s.find_missing([s.default, "absent", "explicit"], ttl=60, run_id="b"),
    "delete_many": lambda s: s.delete_many(["absent", "explicit", s.default]),
    "metadata_many": lambda s: s.metadata_many([s.default, "absent", "explicit"]),
    "store_many": lambda s: s.store_many([b"%d" % n for n in range(100)], run_id="b"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_call_is_one_round_trip(store, link, operation) -> None:
    store.default = store.store(b"default", run_id="a").artifact_id
    store.large = store.store(b"large" * 100_000, run_id="a").artifact_id
    store.store(b"explicit", artifact_id="explicit", run_id="a")
    OPERATIONS["exists"](store)  # every script is known to the server before it is counted
    OPERATIONS[operation](store)
    store.store(b"explicit", artifact_id="explicit", run_id="a")
    store.store(b"default", run_id="a")
    store.store(b"large" * 100_000, run_id="a")
    link.trips = 0
    OPERATIONS[operation](store)
    assert link.trips == 1


@pytest.mark.parametrize(("size", "trips"), [(60_000, 1), (200_000, 1), (300_000, 2)])
def test_new_large_content_is_asked_for_first(store, link, size, trips) -> None:
    store.store(os.urandom(size))
    link.trips = 0
    store.store(os.urandom(size))
    assert link.trips == trips


def test_known_large_content_is_not_sent_again(store, client) -> None:
    content = os.urandom(5_000_000)
    store.store(content, run_id="a")
    before = client.info("stats")["total_net_input_bytes"]
    store.store(content, run_id="b")
    sent = client.info("stats")["total_net_input_bytes"] - before
    assert sent < 20_000


def test_script_flush_goes_unnoticed(store, client) -> None:
    for n, operation in enumerate(OPERATIONS.values()):
        store.default = store.store(b"default", run_id="a").artifact_id
        store.large = store.store(b"large" * 100_000, run_id="a").artifact_id
        store.store(b"explicit", artifact_id="explicit", run_id="a")
        client.script_flush()
        operation(store)
        client.script_flush()
        assert store.store_text(f"{n}").size_bytes == len(str(n))


@pytest.mark.parametrize("run", NASTY_RUNS)
def test_scripts_and_python_name_keys_alike(store, keys_of, run) -> None:
    stored = store.store(b"content", run_id=run)
    assert Keys(store._operations.backend._keys.prefix[:-1].decode()).run(run).decode() in keys_of()
    store.delete(stored.artifact_id)  # a script finds the run's key by itself
    assert keys_of() == []


def test_every_script_says_what_it_takes_and_returns() -> None:
    folder = Path(scripts.__file__).parent / "lua"
    names = {path.stem for path in folder.glob("*.lua")} - {"lib"}
    assert names == {script.name for script in scripts.ALL}
    for name in names:
        header = (folder / f"{name}.lua").read_text().split("\n\n", 1)[0]
        assert re.search(r"^-- KEYS", header, re.M), name
        assert re.search(r"^-- Returns", header, re.M), name


def test_only_keys_of_the_namespace_are_touched(client, user, namespace) -> None:
    client.set(f"{namespace}x", "a neighbour")
    url = user(f"~{namespace}:*", "+@all", "-@dangerous", "-@admin", "-keys", "-scan", "-randomkey")
    with RedisArtifactStore(url, namespace=namespace) as store:
        for operation in OPERATIONS.values():
            store.default = store.store(b"default", run_id="a").artifact_id
            store.large = store.store(b"large" * 100_000, run_id="a").artifact_id
            store.store(b"explicit", artifact_id="explicit", run_id="a")
            operation(store)
        store.stats()
    assert client.get(f"{namespace}x") == b"a neighbour"
    client.delete(f"{namespace}x")


def test_indexes_do_not_keep_expired_members(store, client, namespace) -> None:
    store.store(b"immortal", run_id="a")
    store.store(b"shared by many")
    for n in range(200):
        store.store(b"%d" % n, run_id="a", ttl=0.001)
        store.store(b"shared by many", run_id=f"short {n}", ttl=0.001)
    eventually(lambda: len(store.list_all()) == 2)
    eventually(lambda: not client.exists(f"{namespace}:run:{{short%20199}}"))  # indexes end a little late
    for n in range(60):
        store.store(b"last %d" % n, run_id="a", ttl=0.001)
        store.store(b"shared by many", run_id="b")
    [name] = [view.artifact_id for view in store.list_all() if view.run_id == "b"]
    assert client.zcard(f"{namespace}:run:{{a}}") < 20
    assert client.zcard(f"{namespace}:runs") < 20
    assert client.zcard(f"{namespace}:catalog:created") < 30
    assert client.zcard(f"{namespace}:catalog:deadlines") < 30
    assert client.hlen(f"{namespace}:artifact:{{{name}}}") < 30


def test_indexes_do_not_keep_expired_members_of_batches(store, client, namespace) -> None:
    store.store(b"immortal", run_id="a")
    for n in range(20):
        store.store_many([b"%d %d" % (n, i) for i in range(20)], run_id="a", ttl=0.001)
        store.store_many([b"%d" % n, b"also %d" % n], run_id=f"short {n}", ttl=0.001)
        eventually(lambda: len(store.list_all()) == 1)
    eventually(lambda: not client.exists(f"{namespace}:run:{{short%2019}}"))  # indexes end a little late
    store.store_many([b"last", b"very last"], run_id="a")
    assert client.zcard(f"{namespace}:run:{{a}}") == 3
    assert client.zcard(f"{namespace}:runs") == 1
    assert client.zcard(f"{namespace}:catalog:created") == 3
    assert client.zcard(f"{namespace}:catalog:deadlines") == 3


def test_new_artifacts_take_turns_to_drop_expired_members(store, client, namespace) -> None:
    for n in range(20):
        store.store(b"%d" % n, run_id="a", ttl=0.001)
        store.store(b"%d" % n, run_id=f"short {n}", ttl=0.001)
    eventually(lambda: not client.exists(f"{namespace}:run:{{short%2019}}"))  # indexes end a little late
    for n in range(150):  # one in eight does
        store.store(b"last %d" % n, run_id="a")
    assert client.zcard(f"{namespace}:run:{{a}}") == 150
    assert client.zcard(f"{namespace}:runs") == 1
    assert client.zcard(f"{namespace}:catalog:created") == 150
    assert client.zcard(f"{namespace}:catalog:deadlines") == 150


def test_indexes_end_with_their_last_member(store, client, namespace) -> None:
    indexes = [f"{namespace}:{name}" for name in ("run:{a}", "runs", "catalog:created", "catalog:deadlines")]
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
def test_content_that_is_sent_without_asking_ends_with_its_artifact(store, client, namespace, artifact_id, ttl) -> None:
    stored = store.store(os.urandom(100_000), artifact_id=artifact_id, ttl=ttl)
    content, artifact = (
        f"{namespace}:content:{{{stored.digest[:32]}}}",
        f"{namespace}:artifact:{{{stored.artifact_id}}}",
    )
    ends = client.pexpiretime(content)
    assert ends == client.pexpiretime(artifact)
    assert (ends == -1) is (ttl is None)


def test_content_that_is_sent_without_asking_does_not_make_another_its_own(store, client, namespace) -> None:
    content, other = os.urandom(100_000), os.urandom(100_000)
    key = f"{namespace}:content:{{{compute_artifact_id(content)}}}"
    squatter = b"".join(seal(other, compute_digest(other)))
    client.set(key, squatter, ex=100)
    with pytest.raises(InvalidArtifactError, match="other content"):
        store.store(content)
    assert client.getdel(key) == squatter
    assert not store.exists(compute_artifact_id(content))


def test_content_that_is_sent_without_asking_replaces_what_was_left_of_it_in_chunks(store, client, namespace) -> None:
    content = os.urandom(100_000)
    key = f"{namespace}:content:{{{compute_artifact_id(content)}}}"
    client.set(key, header(MANIFEST, len(content), compute_digest(content), b"") + bytes(12), ex=100)
    stored = store.store(content)
    assert store.load(stored.artifact_id).content == content


def test_one_call_stores_in_order_where_ids_meet(store) -> None:
    details = Details(compute_artifact_id(b"content"), "text/plain", None, {}, None)
    requests = [StoreRequest(b"squatter", details), StoreRequest(b"content", details)]
    backend = store._operations.backend
    sealed = [b"".join(seal(request.content, request.digest)) for request in requests]
    [replies] = run(backend.write(backend._store_call(requests, b"c", sealed)))
    assert [reply[0] for reply in replies] == [b"ok", b"taken"]
    assert store.load_text(details.artifact_id) == "squatter"


def test_a_runs_deletion_leaves_what_only_another_still_leases(store, client, namespace) -> None:
    kept, shared = store.store(b"kept", run_id="a"), store.store(b"shared", run_id="a", ttl=0.001)
    eventually(lambda: not store.exists(shared.artifact_id))
    store.store(b"shared", run_id="b")
    assert client.zscore(f"{namespace}:run:{{a}}", shared.artifact_id) is not None  # until something drops it
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


def test_content_lies_under_its_hash_once(store, client, namespace) -> None:
    stored = store.store(b"content" * 100, run_id="a")
    store.store(b"content" * 100, run_id="b")
    store.store(b"content" * 100, artifact_id="name")
    assert [key.decode() for key in client.scan_iter(match=f"{namespace}:content:*", count=1000)] == [
        f"{namespace}:content:{{{stored.artifact_id}}}"
    ]


def test_content_goes_although_its_name_was_given_to_other_content(store, keys_of) -> None:
    tag = compute_artifact_id(b"content")
    store.store(b"squatter", artifact_id=tag, run_id="a")
    store.store(b"content", artifact_id="name", run_id="b")
    assert any(f":content:{{{tag}}}" in key for key in keys_of())
    store.delete("name")
    assert not any(f":content:{{{tag}}}" in key for key in keys_of())
    assert store.load_text(tag) == "squatter"


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


def test_compression_is_as_the_store_says(server, client, namespace) -> None:
    text = b"text " * 100

    def stored_bytes(**options) -> int:
        with RedisArtifactStore(server.url, namespace=namespace, **options) as store:
            artifact_id = store.store(text).artifact_id
            length = client.strlen(f"{namespace}:content:{{{artifact_id}}}")
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
    import coatcheck.arguments
    from coatcheck.backends.redis import storing

    threads = set()

    def watched(call):
        def wrapper(*args):
            threads.add(threading.current_thread())
            return call(*args)

        return wrapper

    monkeypatch.setattr(coatcheck.arguments, "compute_digest", watched(coatcheck.arguments.compute_digest))
    monkeypatch.setattr(storing, "seal", watched(storing.seal))

    async def main() -> None:
        async with AsyncRedisArtifactStore(server.url, namespace=namespace) as store:
            await store.store_many(items)

    asyncio.run(main())
    assert threads
    assert (threading.current_thread() not in threads) is elsewhere


def test_claims_do_not_keep_expired_members(store, client, namespace) -> None:
    ids = [view.artifact_id for view in store.store_many([b"%d" % n for n in range(400)])]
    store.store(b"anchor", run_id="a")
    for n in range(40):
        assert store.find_missing(ids[10 * n :][:10], ttl=0.001, run_id="a") == []
        assert store.find_missing(ids[:1], ttl=0.001, run_id=f"short {n}") == []
        eventually(lambda: len(store.list_by_run("a")) == 1)
    eventually(lambda: not client.exists(f"{namespace}:run:{{short%2039}}"))  # indexes end a little late
    assert store.find_missing(ids[:1], ttl=100, run_id="b") == []
    assert client.zcard(f"{namespace}:run:{{a}}") < 45
    assert client.zcard(f"{namespace}:runs") < 20
    assert client.hlen(f"{namespace}:artifact:{{{ids[0]}}}") < 30


def test_every_key_of_a_claim_has_its_ttl(store, client, keys_of, namespace) -> None:
    a = store.store(b"1", run_id="a", ttl=100)
    store.store(b"2", artifact_id="name", run_id="a", ttl=70)
    assert store.find_missing([a.artifact_id, "name"], ttl=1000, run_id="b") == []
    short = {f"{namespace}:run:{{a}}"}
    assert len(keys_of()) == 10
    assert {key for key in keys_of() if not 900_000 < client.pttl(key) <= 1_000_100} == short
    assert store.find_missing([a.artifact_id], ttl=None, run_id="b") == []
    assert client.pttl(f"{namespace}:content:{{{a.artifact_id}}}") == -1
    assert client.pttl(f"{namespace}:artifact:{{{a.artifact_id}}}") == -1
    assert 0 < client.pttl(f"{namespace}:artifact:{{name}}") <= 1_000_000


def test_a_claim_on_lost_content_is_none(store, client, namespace) -> None:
    lost = store.store(b"lost", run_id="a", ttl=100)
    here = store.store(b"here", run_id="a", ttl=100)
    client.delete(f"{namespace}:content:{{{lost.artifact_id}}}")
    assert store.find_missing([lost.artifact_id, here.artifact_id], ttl=1000, run_id="b") == [lost.artifact_id]
    assert [lease.run_id for lease in store.leases(lost.artifact_id)] == ["a"]
    assert [view.artifact_id for view in store.list_by_run("b")] == [here.artifact_id]
    store.store(b"lost", run_id="b")
    assert store.find_missing([lost.artifact_id], ttl=1000, run_id="b") == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda client, ns: client.hset(f"{ns}:artifact:{{b}}", "h", b"\x02" + bytes(34)),
        lambda client, ns: client.hset(f"{ns}:artifact:{{b}}", "-", b"short"),
        lambda client, ns: client.hset(f"{ns}:artifact:{{b}}", mapping={"-": b"\xff" * 6 + b"short"}),
        lambda client, ns: (client.delete(f"{ns}:artifact:{{b}}"), client.set(f"{ns}:artifact:{{b}}", 1)),
        lambda client, ns: (client.delete(f"{ns}:runs"), client.set(f"{ns}:runs", 1)),
        lambda client, ns: (client.delete(f"{ns}:catalog:created"), client.set(f"{ns}:catalog:created", 1)),
        lambda client, ns: client.set(f"{ns}:run:{{r}}", 1),
        lambda client, ns: (client.delete(TAG_OF_C % ns), client.set(TAG_OF_C % ns, 1)),
    ],
    ids=["future", "damaged", "short lease", "artifact type", "runs type", "catalog type", "run type", "leases type"],
)
@pytest.mark.parametrize("operation", ["claim", "delete_many"])
def test_a_page_with_something_unreadable_changes_nothing(store, client, namespace, damage, operation) -> None:
    for name in ("a", "b", "c"):
        store.store(name.encode(), artifact_id=name, ttl=100)
    store.touch("b", None)
    damage(client, namespace)
    dump = {key: client.dump(key) for key in client.scan_iter(match=f"{namespace}:*", count=1000)}
    try:
        if operation == "claim":
            store.find_missing(["a", "b", "c"], ttl=1000, run_id="r")
        else:
            store.delete_many(["a", "b", "c"])
    except ArtifactError:
        assert {key: client.dump(key) for key in client.scan_iter(match=f"{namespace}:*", count=1000)} == dump
    else:
        assert operation == "delete_many"  # neither a damaged lease nor a stranger's run is a reason not to delete
    client.delete(*dump)


def test_batches_are_bounded_by_number_and_by_bytes(store, link) -> None:
    for first in (store.find_missing, store.metadata_many, store.delete_many):  # the server gets to know their scripts
        first(["a", "b"])
    store.find_missing(["a", "b"], ttl=1)
    store.store_many([b"a", b"b"])
    link.reset()
    contents = [os.urandom(30_000) for _ in range(700)]
    ids = [view.artifact_id for view in store.store_many(contents)]
    assert max(link.sent) < 9_000_000
    assert len(link.sent) == 3
    link.reset()
    assert [artifact.content for artifact in store.load_many(ids)] == contents
    assert max(link.received) <= 500
    assert len(link.sent) == 4  # metadata, and three times contents of 8 MiB
    link.reset()
    store.find_missing(["%d" % n for n in range(25_000)])
    store.metadata_many(["%d" % n for n in range(25_000)])
    store.find_missing(["%d" % n for n in range(25_000)], ttl=1)
    store.delete_many(["%d" % n for n in range(25_000)])
    assert len(link.sent) == 12
    assert max(link.sent) < 1_000_000


def test_namespaces_never_meet(server, namespace, leaks) -> None:
    names = [namespace, f"{namespace}:run", f"{namespace}:catalog", f"{namespace}:content", f"{namespace}-x"]
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
