"""What is confirmed before a write is acknowledged."""

from __future__ import annotations

import pytest

from coatcheck import (
    AmbiguousWriteError,
    AsyncRedisArtifactStore,
    InvalidArtifactError,
    RedisArtifactStore,
    StoreUnavailableError,
)
from coatcheck.backends.redis.transport import durability
from coatcheck.backends.redis.transport.durability import Confirmation
from coatcheck.testing import ENGINES, Blocking, Server, eventually

from ..conftest import require

VALKEY, REDIS7, REDIS8 = ENGINES


def sent(client, name: str) -> int:
    """How often a command was executed."""
    return client.info("commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"]


@pytest.mark.parametrize("engine", [VALKEY, REDIS8])
def test_fsync_asks_the_disk_behind_every_write(engine, opened) -> None:
    # A killed process loses nothing that the kernel has, so what can be seen is that the server was asked each time.
    with Server(require(engine), "--appendonly", "yes", "--appendfsync", "everysec") as server:
        store = opened(server.url, durability="fsync")
        with server.client() as client:
            stored = store.store(b"x", run_id="a")
            before = sent(client, "waitaof")
            store.store(b"large" * 100_000, run_id="a")  # asked for, again as the script was unknown, then sent: three
            store.touch(stored.artifact_id, 60, "a")  # asked again behind the script that was unknown
            client.script_flush()
            store.release(stored.artifact_id, "a")  # asked again behind the script that was unknown
            assert sent(client, "waitaof") - before == 7
            store.list_by_run("a")
            assert sent(client, "waitaof") - before == 7


@pytest.mark.parametrize("engine", [VALKEY, REDIS8])
def test_a_log_that_was_switched_off_is_noticed(engine, opened) -> None:
    with Server(require(engine), "--appendonly", "yes", "--appendfsync", "everysec") as server:
        store = opened(server.url, durability="fsync")
        store.store(b"x", run_id="a")
        with server.client() as client:
            client.config_set("appendonly", "no")
        with pytest.raises(StoreUnavailableError, match="appendonly"):
            store.store(b"y", run_id="a")


@pytest.mark.parametrize(
    ("level", "reply"), [("fsync", [0, 0]), ("replica", 0), ("replica+fsync", [1, 0]), ("replica+fsync", [0, 1])]
)
def test_a_missing_confirmation_is_an_error(level, reply) -> None:
    with pytest.raises(AmbiguousWriteError, match="not confirmed"):
        Confirmation(level).check(reply)


@pytest.mark.parametrize(("level", "reply"), [("fsync", [1, 0]), ("replica", 2), ("replica+fsync", [1, 1])])
def test_a_confirmation_is_enough(level, reply) -> None:
    Confirmation(level).check(reply)


def test_an_engine_without_waitaof_is_named_at_construction() -> None:
    with Server(require(REDIS7), persistent=True) as server:
        for level in ("fsync", "replica+fsync"):
            with pytest.raises(InvalidArtifactError, match="WAITAOF.*7.2"):
                RedisArtifactStore(server.url, durability=level)


def test_a_server_without_a_log_is_named_at_construction() -> None:
    with Server(require(VALKEY)) as server, pytest.raises(InvalidArtifactError, match="appendonly"):
        RedisArtifactStore(server.url, durability="fsync")


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(InvalidArtifactError, match="durability"):
        RedisArtifactStore("redis://localhost", durability="tape")  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", [VALKEY, REDIS7])
def test_replica_waits_for_a_replica(engine, opened, monkeypatch) -> None:
    with Server(require(engine), tcp=True) as primary:
        with Server(require(engine), "--replicaof", "127.0.0.1", str(primary.port), tcp=True) as replica:
            with replica.client() as client:
                eventually(lambda: client.info("replication")["master_link_status"] == "up")
            store = opened(primary.url, durability="replica")
            for n in range(20):
                stored = store.store(b"%d" % n * 100, run_id="a")
                # The replica has it already, without waiting.
                assert opened(replica.url).load_text(stored.artifact_id) == f"{n}" * 100
            monkeypatch.setattr(durability, "_MILLISECONDS", b"200")
            impatient = opened(primary.url, durability="replica")
            replica.pause()
            try:
                with pytest.raises(AmbiguousWriteError, match="replica"):
                    impatient.store(b"unconfirmed", run_id="a")
            finally:
                replica.resume()
            store.store(b"unconfirmed", run_id="a")
            assert len(store.list_by_run("a")) == 21
