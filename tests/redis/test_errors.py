"""Each way in which a server can refuse or fail, and the error that says so."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import traceback

import pytest
import redis
import redis.asyncio

from coatcheck import (
    ArtifactLostError,
    ArtifactTooLargeError,
    AsyncRedisArtifactStore,
    CorruptArtifactError,
    InvalidArtifactError,
    RedisArtifactStore,
    StoreAccessError,
    StoreFullError,
    StoreUnavailableError,
    compute_artifact_id,
    open_store,
)
from coatcheck.envelope import seal
from coatcheck.testing import ENGINES, Blocking, Server

from ..conftest import require
from .traffic import Traffic

CALLS = {
    "store": lambda s: s.store(b"x", run_id="a"),
    "store large": lambda s: s.store(os.urandom(100_000)),
    "store if absent": lambda s: s.store(b"x", artifact_id="name", if_absent=True),
    "link": lambda s: s.link("name", "other"),
    "load": lambda s: s.load("name"),
    "load default": lambda s: s.load("0" * 32),
    "get_metadata": lambda s: s.get_metadata("name"),
    "exists": lambda s: s.exists("name"),
    "delete": lambda s: s.delete("name"),
    "list_by_run": lambda s: s.list_by_run("a"),
    "list_all": lambda s: s.list_all(),
    "delete_by_run": lambda s: s.delete_by_run("a"),
    "touch": lambda s: s.touch("name", 10),
    "update_metadata": lambda s: s.update_metadata("name", tags={}),
    "release": lambda s: s.release("name", "a"),
    "leases": lambda s: s.leases("name"),
    "leases_many": lambda s: s.leases_many(["name"]),
    "list_runs": lambda s: s.list_runs(),
    "store_many": lambda s: s.store_many([b"x"]),
    "load_many": lambda s: s.load_many(["a", "b"]),
    "find_missing": lambda s: s.find_missing(["a", "b"]),
    "stats": lambda s: s.stats(),
}


@pytest.fixture
def opened(opened, server):
    """Opens a store on each engine where no URL is given."""
    return lambda url=server.url, **options: opened(url, **options)


@pytest.mark.parametrize("call", CALLS)
def test_no_server(opened, call, tmp_path) -> None:
    store = opened(f"unix://{tmp_path}/none.sock", retry_for=0.05)
    with pytest.raises(StoreUnavailableError, match="no usable server") as caught:
        CALLS[call](store)
    assert type(caught.value) is StoreUnavailableError
    assert caught.value.transient


@pytest.mark.parametrize("call", ["store", "load", "list_all"])
def test_a_wrong_password_is_named_but_not_shown(opened, call) -> None:
    with _locked() as server:
        url = f"redis://:wrong-secret@127.0.0.1:{server.port}/0"
        store = opened(url, retry_for=10)
        with pytest.raises(StoreAccessError, match="refused") as caught:
            CALLS[call](store)
        assert not caught.value.transient
        shown = "".join(traceback.format_exception(caught.value))
        assert "wrong-secret" not in shown


def test_a_password_that_is_missing_is_told(opened) -> None:
    with _locked() as server, pytest.raises(StoreAccessError, match="asks for a password"):
        opened(server.tcp_url).load("name")
    with _locked() as server, server.client() as client, RedisArtifactStore(client) as store:
        with pytest.raises(StoreAccessError, match="asks for a password"):
            store.load("name")


class _locked:
    """A server that wants a password."""

    def __enter__(self) -> Server:
        self.server = Server(require(ENGINES[1]), tcp=True)
        with self.server.client() as client:
            client.config_set("requirepass", "right-secret")
        return self.server

    def __exit__(self, *exc) -> None:
        self.server.stop()


def test_a_read_only_replica_is_named(opened, server) -> None:
    with Server(require(ENGINES[0]), tcp=True) as primary:
        with Server(require(ENGINES[0]), "--replicaof", "127.0.0.1", str(primary.port)) as replica:
            store = opened(replica.url)
            with pytest.raises(StoreUnavailableError, match="read-only replica"):
                store.store(b"x")
            with pytest.raises(StoreUnavailableError, match="read-only replica"):
                store.store(os.urandom(100_000))
            assert store.load("name") is None


def test_missing_permissions_are_named(opened, user, namespace) -> None:
    store = opened(user("~other:*", "+@all"), namespace=namespace)
    with pytest.raises(StoreAccessError, match="permission"):
        store.store(b"x")
    with pytest.raises(StoreAccessError, match="permission"):
        store.load("name")


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_what_a_script_may_not_do_is_a_missing_permission_too(engine, namespace) -> None:
    with Server(require(engine), tcp=True) as own, own.client() as admin:
        for rules in (("+@all", "-zadd"), ("+@all", "-hmget", "-hrandfield", "-hset")):
            admin.execute_command("ACL", "SETUSER", "user", "reset", "on", ">secret", f"~{namespace}:*", *rules)
            url = f"redis://user:secret@{own.address}/0"
            with RedisArtifactStore(url, namespace=namespace) as store:
                with pytest.raises(StoreAccessError, match="coatcheck acl"):
                    store.store(b"x", run_id="a")
                with pytest.raises(StoreAccessError, match="coatcheck acl"):
                    store.store_many([b"x", b"y" * 20_000], run_id="a")


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_full_server_is_named_and_nothing_is_written(opened, server_of, size) -> None:
    with Server(require(ENGINES[0])) as server, server.client() as client:
        store = opened(server.url)
        kept = store.store(b"kept" * 100, run_id="a")
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        keys = sorted(client.keys())
        with pytest.raises(StoreFullError, match="maxmemory"):
            store.store(os.urandom(size), run_id="b")
        with pytest.raises(StoreFullError):
            store.store(b"kept" * 100, run_id="b")
        with pytest.raises(StoreFullError):
            store.touch(kept.artifact_id, 10, "a")
        with pytest.raises(StoreFullError):
            store.find_missing([kept.artifact_id], ttl=10, run_id="b")
        assert store.find_missing([kept.artifact_id]) == []
        assert sorted(client.keys()) == keys
        assert store.load_text(kept.artifact_id) == "kept" * 100
        assert store.list_by_run("a") == [kept]
        assert store.delete_by_run("a") == 1
        assert client.keys() == []


WRITTEN = ["artifact", "leases", "stores", "content", "needs", "created", "deadlines", "runs", "run"]
UNTOUCHED = {"leases", "stores", "needs"}  # by the first store under a default id


@pytest.mark.leaves_keys("of other types")
@pytest.mark.parametrize(
    ("name", "kind"),
    [*((None, kind) for kind in WRITTEN if kind not in UNTOUCHED), *(("name", kind) for kind in WRITTEN)],
)
def test_a_key_of_another_type_is_named_and_nothing_is_written(
    opened, client, namespace, keys, keys_of, kind, name
) -> None:
    content = b"content"
    content_id = compute_artifact_id(content)
    written = *keys.of((name or content_id).encode(), content_id.encode())[:5], *keys.catalog, keys.run("a")
    key = dict(zip(WRITTEN, written, strict=True))[kind]
    store = opened(namespace=namespace)
    client.rpush(key, "not ours")
    with pytest.raises(CorruptArtifactError, match="another type"):
        store.store(content, run_id="a", artifact_id=name)
    assert keys_of() == [key.decode()]
    assert client.lrange(key, 0, -1) == [b"not ours"]


def test_an_envelope_from_the_future_is_named(opened, client, namespace, keys) -> None:
    store = opened(namespace=namespace)
    stored = store.store(b"content", run_id="a")
    client.setrange(keys.content(stored.artifact_id.encode()), 0, b"\x03")
    with pytest.raises(CorruptArtifactError, match="version 3.*upgrade"):
        store.load(stored.artifact_id)
    with pytest.raises(CorruptArtifactError, match="upgrade"):
        store.store(b"content", run_id="b")


@pytest.mark.leaves_keys("of a format unknown yet")
@pytest.mark.parametrize("name", [compute_artifact_id(b"content"), "name"])
def test_metadata_from_the_future_are_named(opened, client, namespace, keys, name) -> None:
    store = opened(namespace=namespace)
    store.store(b"content", run_id="a", artifact_id=name)
    key = keys.artifact(name.encode())
    client.hset(key, "h", b"\x03" + client.hget(key, "h")[1:])
    before = client.hgetall(key)
    for call in (
        lambda: store.load(name),
        lambda: store.get_metadata(name),
        lambda: store.leases(name),
        lambda: store.list_all(),
        lambda: store.list_by_run("a"),
        lambda: store.store(b"content", run_id="b", artifact_id=name),
        lambda: store.find_missing([name], ttl=10, run_id="b"),
        lambda: store.touch(name, 10, "a"),
        lambda: store.release(name, "a"),
        lambda: store.delete(name),
        lambda: store.delete_by_run("a"),
    ):
        with pytest.raises(CorruptArtifactError, match="upgrade|newer"):
            call()
    assert client.hgetall(key) == before


def test_evicted_content_is_lost_and_a_store_heals_it(opened, client, namespace, keys) -> None:
    store = opened(namespace=namespace)
    for content, name in ((b"small", None), (os.urandom(100_000), None), (b"named", "name")):
        stored = store.store(content, run_id="a", artifact_id=name)
        client.delete(keys.content(compute_artifact_id(content).encode()))
        with pytest.raises(ArtifactLostError, match=stored.artifact_id):
            store.load(stored.artifact_id)
        with pytest.raises(ArtifactLostError):
            store.load_many([stored.artifact_id, "absent"])
        assert store.exists(stored.artifact_id) is False
        assert store.find_missing([stored.artifact_id]) == [stored.artifact_id]
        assert store.get_metadata(stored.artifact_id) == stored
        store.store(content, run_id="a", artifact_id=name)
        loaded = store.load(stored.artifact_id)
        assert loaded is not None
        assert loaded.content == content
        assert store.exists(stored.artifact_id)


@pytest.mark.leaves_keys("a forged content")
def test_a_digest_that_only_begins_alike_is_refused(opened, client, namespace, keys) -> None:
    store = opened(namespace=namespace)
    digest = hashlib.sha256(b"content").digest()
    alike = digest[:16] + bytes(16)  # 128 bits in common, as only a deliberate collision would have
    sealed = b"".join(seal(b"forged", alike))
    key = keys.content(digest.hex()[:32].encode())
    client.set(key, sealed)
    with pytest.raises(InvalidArtifactError, match="name of other content"):
        store.store(b"content", run_id="a")
    assert client.get(key) == sealed
    assert store.list_all() == []


def test_content_over_the_limit_is_refused(opened, server, namespace) -> None:
    store = opened(namespace=namespace, max_size=1000)
    store.store(b"x" * 1000)
    with pytest.raises(ArtifactTooLargeError, match="1001.*1000"):
        store.store(b"x" * 1001)
    with pytest.raises(ArtifactTooLargeError):
        store.store_many([b"y", b"x" * 1001])
    with pytest.raises(ArtifactTooLargeError):
        store.store_file(io.BytesIO(b"x" * 1001))
    assert store.stats().artifacts == 1


@pytest.mark.parametrize("cached", [False, True])
def test_content_over_the_limit_is_not_given_out(opened, server, namespace, client, cached) -> None:
    everything = opened(server.url, namespace=namespace)
    limit, cache = {"namespace": namespace, "max_size": 70_000}, {"cache_size": 1 << 20} if cached else {}
    store = opened(server.url, **limit, **cache)
    for content in (b"x" * 70_001, b"y" * 20_000_000):
        for artifact_id in (None, "name"):
            stored = everything.store(content, artifact_id=artifact_id)
            fits = everything.store(content[:70_000]).artifact_id
            for read in (
                store.load,
                store.open,
                store.load_range,
                lambda name, fits=fits: store.load_many([fits, name]),
            ):
                with pytest.raises(ArtifactTooLargeError, match=f"{len(content)} bytes.*70000"):
                    read(stored.artifact_id)
            assert store.get_metadata(stored.artifact_id) == stored
            assert store.load(fits).content == content[:70_000]


def test_the_limit_holds_to_the_byte_in_a_batch(opened, server, namespace) -> None:
    everything = opened(server.url, namespace=namespace, compression=None)
    fits, larger = (view.artifact_id for view in everything.store_many([bytes(1000), bytes(1001)]))
    store = opened(server.url, namespace=namespace, max_size=1000)
    [artifact] = store.load_many([fits])
    assert artifact.content == bytes(1000)
    with pytest.raises(ArtifactTooLargeError, match=r"1001 bytes.*1000"):
        store.load_many([fits, larger])


@pytest.mark.leaves_keys("puts more there than it says")
def test_no_more_is_fetched_than_was_declared(store, server, namespace, client, keys) -> None:
    ids = [view.artifact_id for view in store.store_many([b"%d" % n for n in range(3)] + [bytes(70_000)])]
    for artifact_id in ids:
        client.append(keys.content(artifact_id.encode()), bytes(10_000_000))
    with RedisArtifactStore(server.url, namespace=namespace, max_size=100_000) as limited:
        traffic = Traffic(client)
        for call in (
            lambda: store.load_many(ids[:3]),
            lambda: store.load_many(ids[3:]),
            *(lambda name=name: limited.load(name) for name in ids),
        ):
            with pytest.raises(CorruptArtifactError):
                call()
        assert traffic.bytes < 1_000_000


def test_a_callers_client_that_decodes_works(server, namespace) -> None:
    with redis.Redis(unix_socket_path=str(server.socket), decode_responses=True) as client:
        store = RedisArtifactStore(client, namespace=namespace)
        stored = store.store(b"\xff\x00binary", run_id="grüße", tags={"ü": "ö"})
        loaded = store.load(stored.artifact_id)
        assert loaded is not None
        assert loaded.content == b"\xff\x00binary"
        assert store.list_by_run("grüße") == [stored]
        store.close()
        assert client.ping()  # the caller's client stays open


def test_a_callers_client_with_resp3_works(server, namespace) -> None:
    with redis.Redis(unix_socket_path=str(server.socket), protocol=3) as client:
        store = RedisArtifactStore(client, namespace=namespace)
        stored = store.store(b"binary", run_id="a")
        assert store.load(stored.artifact_id) is not None
        assert store.list_by_run("a") == [stored]


@pytest.mark.parametrize("bad", [1, object(), redis.asyncio.Redis, b"redis://localhost", ["redis://localhost"]])
def test_something_that_is_no_client_is_refused(bad) -> None:
    with pytest.raises(InvalidArtifactError, match=r"redis\.Redis"):
        RedisArtifactStore(bad)
    with pytest.raises(InvalidArtifactError, match=r"redis\.asyncio"):
        AsyncRedisArtifactStore(bad)


def test_the_other_kind_of_client_is_refused(server) -> None:
    with pytest.raises(InvalidArtifactError, match="asyncio"):
        RedisArtifactStore(redis.asyncio.Redis())
    with redis.Redis() as client, pytest.raises(InvalidArtifactError):
        AsyncRedisArtifactStore(client)


@pytest.mark.parametrize(
    "url", ["", "localhost", "http://x", "redis:/x", "redis//x", "redis://h:port/0", "redis://h/0?nonsense=1", "memory"]
)
def test_bad_urls_are_refused(url, monkeypatch) -> None:
    with pytest.raises(InvalidArtifactError):
        open_store(url).store(b"x")
    if url != "http://x":
        with pytest.raises(InvalidArtifactError):
            RedisArtifactStore(url).store(b"x")


def test_a_url_error_hides_the_password() -> None:
    for url in ("redis://user:hunter2@h:port/0", "nonsense://user:hunter2@h", "redis://user:hunter2@h/0?nonsense=1"):
        with pytest.raises(InvalidArtifactError) as caught:
            open_store(url).store(b"x")
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "options",
    [
        {"namespace": ""},
        {"namespace": "a b"},
        {"namespace": "{a}"},
        {"namespace": "a" * 101},
        {"namespace": None},
        {"namespace": "a\n"},
        {"namespace": "a:run"},
        {"namespace": "catalog"},
        {"compression": "gzip"},
        {"compression_level": 23},
        {"compression_level": 1.0, "compression": None},
        {"compression_threshold": -1},
        {"cache_size": -1},
        {"cache_size": True},
        {"cache_size": 1e6},
        {"cache_size": None},
        {"cache_dir": ""},
        {"cache_dir": b"dir"},
        {"cache_dir_size": 0, "cache_dir": "dir"},
        {"cache_dir_size": 1.5},
        {"verify": "none"},
        {"retry_for": -1},
        {"retry_for": "3"},
        {"retry_for": float("nan")},
        {"max_size": 0},
        {"max_size": True},
        {"max_size": "1"},
        {"default_ttl": -1},
    ],
)
def test_bad_options_are_refused_at_construction(options) -> None:
    with pytest.raises(InvalidArtifactError):
        RedisArtifactStore("redis://localhost", **options)
    with pytest.raises(InvalidArtifactError):
        AsyncRedisArtifactStore("redis://localhost", **options)


def test_memory_stores_are_not_pickled() -> None:
    with pytest.raises(TypeError, match="FileArtifactStore"):
        pickle.dumps(open_store("memory://"))
