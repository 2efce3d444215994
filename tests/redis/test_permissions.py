"""The documented permissions are what stores need: no command less, no command more, and no refusal is ever logged."""

from __future__ import annotations

import contextlib
import shlex
import warnings
from collections.abc import Iterator

import pytest
import redis

from coatcheck import (
    AmbiguousWriteError,
    EvictingServerWarning,
    InvalidArtifactError,
    RedisArtifactStore,
    StoreUnavailableError,
)
from coatcheck.backends.redis.layout.partitions import Partitions
from coatcheck.backends.redis.permissions import COMMANDS, EXTRAS, command
from coatcheck.backends.redis.scripts.calls import permitted
from coatcheck.backends.redis.transport import durability
from coatcheck.doctor.facts import sample
from coatcheck.plan import run
from coatcheck.testing import ENGINES, Server

from ..conftest import require
from ..harnesses import chunk
from .test_declared_keys import exercise
from .test_half_moved import CHUNKING, OPERATIONS, READINGS, furnish

NAMESPACE = "mine"
ORPHAN = b"mine:{64.a}:content:" + b"0" * 32


@pytest.fixture(scope="module", params=ENGINES, ids=lambda engine: engine.name)
def guarded(request, leaks) -> Iterator[Server]:
    """A server of its own, which counts nobody else's commands."""
    with leaks.lasting():
        server = Server(require(request.param), "--appendonly", "yes", tcp=True)
        with server.client() as admin:
            admin.ping()
    yield server
    server.stop()


@pytest.fixture
def admin(guarded) -> Iterator[redis.Redis]:
    with guarded.client() as admin:
        admin.flushall()
        yield admin
        admin.acl_deluser("someone")


@pytest.fixture
def open_as(guarded, admin) -> Iterator:
    stores = []

    def open_(role: str, *extras: str, database: int = 0, **options) -> RedisArtifactStore:
        typed = command(role, NAMESPACE, "someone", extras).replace("PASSWORD", "secret")
        admin.execute_command(*shlex.split(typed))
        url = f"redis://someone:secret@127.0.0.1:{guarded.port}/{database}"
        store = RedisArtifactStore(url, namespace=NAMESPACE, partitions=64, **options)
        stores.append(chunk(store, CHUNKING))
        admin.acl_log_reset()
        admin.config_resetstat()
        return store

    yield open_
    for store in stores:
        store.close()


def ran(admin: redis.Redis) -> set[str]:
    """Which commands were run, by clients and by scripts."""
    return {name.removeprefix("cmdstat_") for name, one in admin.info("commandstats").items() if one["calls"]} - {
        "auth",
        "hello",
        "info",
        "config|get",
        "acl|log",
        "acl|setuser",
        "config|resetstat",
        "script|flush",
    }


def work(store: RedisArtifactStore) -> None:
    for what, operation in OPERATIONS.items():
        if what not in ("gc", "repair"):
            furnish(store)
            operation(store)


def read(store: RedisArtifactStore) -> None:
    for reading in READINGS.values():
        reading(store)


def test_a_worker_needs_exactly_these(open_as, admin) -> None:
    store = open_as("worker")
    work(store)
    read(store)
    assert ran(admin) == set(COMMANDS["worker"])
    assert admin.acl_log() == []


def test_a_reader_needs_exactly_these_and_changes_nothing(open_as, admin) -> None:
    furnish(open_as("worker"))
    store = open_as("reader")
    admin.script_flush()
    read(store)
    assert ran(admin) == set(COMMANDS["reader"])
    assert admin.acl_log() == []
    with pytest.raises(StoreUnavailableError):
        store.store(b"more")
    with pytest.raises(StoreUnavailableError):
        store.delete_by_run("a")
    assert len(store.list_all()) == 8


def test_an_operator_needs_exactly_these(open_as, admin) -> None:
    store = open_as("operator")
    exercise(store, admin, Partitions(NAMESPACE, 64))
    admin.set(ORPHAN, b"of nobody", px=10_000_000)
    assert not store.gc(dry_run=True, grace=0).ok
    read(store)
    by_hand = {"del", "setrange"}  # the damage that is inspected
    assert ran(admin) - by_hand == set(COMMANDS["operator"])
    assert admin.acl_log() == []


@pytest.mark.parametrize(
    ("extra", "options"),
    [
        ("replica", {"durability": "replica"}),
        ("fsync", {"durability": "fsync"}),
        ("database", {"database": 3}),
        ("eviction", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_extras_are_what_is_asked_for_besides(open_as, admin, extra, options, monkeypatch) -> None:
    monkeypatch.setattr(durability, "_MILLISECONDS", b"20")
    if extra == "fsync" and admin.info("server")["redis_version"].startswith("7.0."):
        pytest.skip("a server without WAITAOF")
    with contextlib.suppress(AmbiguousWriteError):  # no replica is there to confirm
        open_as("worker", extra, **options).store(b"x", ttl=60)
    assert admin.acl_log() == []


@pytest.mark.parametrize(
    ("extra", "options"),
    [("replica", {"durability": "replica"}), ("fsync", {"durability": "fsync"}), ("database", {"database": 3})],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_command_of_an_extra_is_needed(open_as, admin, monkeypatch, extra, options) -> None:
    monkeypatch.setattr(durability, "_MILLISECONDS", b"20")
    if extra == "fsync" and admin.info("server")["redis_version"].startswith("7.0."):
        pytest.skip("a server without WAITAOF")
    for left_out in EXTRAS[extra]:
        with monkeypatch.context() as patch:
            patch.setitem(EXTRAS, extra, tuple(set(EXTRAS[extra]) - {left_out}))
            with pytest.raises((StoreUnavailableError, InvalidArtifactError), match="(?i)permi|refuse|WAITAOF"):
                open_as("worker", extra, **options).store(b"x", ttl=60)


def test_only_who_may_ask_is_warned_of_eviction(open_as, admin) -> None:
    admin.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.warns(EvictingServerWarning):
            open_as("worker", "eviction").store(b"x", ttl=60)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            open_as("worker").store(b"x", ttl=60)
    finally:
        admin.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize("role", COMMANDS)
def test_every_other_command_of_the_server_is_refused(open_as, admin, role) -> None:
    """Asked of the server itself, for each command and subcommand that it knows."""
    store = open_as(role)
    known = set()
    for name, told in pairs(admin.execute_command("COMMAND DOCS")):
        known |= {name, *(sub for sub, _ in pairs(dict(pairs(told)).get(b"subcommands", ())))}
    names = sorted(name.decode().lower() for name in known)
    assert {"get", "flushall", "config|set", "acl|setuser"} <= set(names)
    asked = permitted([sample(name, "mine:runs").encode() for name in names])
    allowed = {name for name, may in zip(names, run(store._redis.session.read(asked)), strict=True) if may}
    whoever = {"auth", "hello", "quit", "reset"}  # as anybody may who is not even logged in
    assert allowed - whoever == set(COMMANDS[role])


def pairs(reply) -> list[tuple]:
    """A map as RESP2 has it, or as the client has made one of it."""
    if isinstance(reply, dict):
        return [(key if isinstance(key, bytes) else key.encode(), value) for key, value in reply.items()]
    return list(zip(reply[::2], reply[1::2], strict=True))


def test_whoever_is_confined_reaches_no_other_keys(open_as, admin, guarded) -> None:
    store = open_as("operator")
    admin.set("theirs", "secret")
    with redis.Redis.from_url(f"redis://someone:secret@127.0.0.1:{guarded.port}/0", protocol=2) as confined:
        for words in (("GET", "theirs"), ("EVAL", "return redis.call('GET', 'theirs')", "0"), ("SET", "other", "x")):
            with pytest.raises(redis.ResponseError, match=r"(?i)no permission|can.t access"):
                confined.execute_command(*words)
        for words in (("KEYS", "*"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("PUBLISH", "a", "b")):
            with pytest.raises(redis.ResponseError, match=r"(?i)no permissions"):
                confined.execute_command(*words)
        assert b"theirs" in confined.execute_command("SCAN", "0", "COUNT", "1000")[1]  # SCAN tells names of all keys
    assert store.list_all() == []


@pytest.mark.parametrize(("role", "namespace", "user", "extras"), [
    ("owner", "a", "u", ()), ("worker", "*", "u", ()), ("worker", "a", "u v", ()), ("worker", "a", "u", ("all",))
])  # fmt: skip
def test_what_cannot_be_permitted_is_refused(role, namespace, user, extras) -> None:
    with pytest.raises(InvalidArtifactError):
        command(role, namespace, user, extras)


def test_a_cluster_needs_its_extras_and_no_more(valkey_cluster, leaks) -> None:
    leaks.own(NAMESPACE)
    words = shlex.split(command("worker", NAMESPACE, "someone", ["cluster"]).replace("PASSWORD", "secret"))
    for node in valkey_cluster.nodes:
        node.ask(*words)
        node.ask("ACL", "LOG", "RESET")
    try:
        url = valkey_cluster.url.replace("://", "://someone:secret@")
        with RedisArtifactStore(url, namespace=NAMESPACE) as store:
            stored = store.store(b"x", run_id="a", ttl=60)
            assert store.load(stored.artifact_id) is not None
        assert all(node.ask("ACL", "LOG") == [] for node in valkey_cluster.nodes)
        assert set(EXTRAS["cluster"]) == {"cluster|slots", "asking"}
    finally:
        for node in valkey_cluster.nodes:
            node.ask("ACL", "DELUSER", "someone")
