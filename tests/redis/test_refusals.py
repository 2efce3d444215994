"""Replies and failures that say "not executed, ask again": repeated in silence, and never told as ambiguous."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from coatcheck import AmbiguousWriteError, AsyncRedisArtifactStore, RedisArtifactStore, StoreUnavailableError
from coatcheck.testing import ENGINES, Blocking, eventually

from ..conftest import require
from .proxy import FaultProxy

REPLIES = [
    "-LOADING Redis is loading the dataset in memory",
    "-TRYAGAIN Multiple keys request during rehashing of slot",
    "-CLUSTERDOWN The cluster is down",
    "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
]


ONCE, AONCE = ({"socket_timeout": 5, "retry": kind(NoBackoff(), 0)} for kind in (Retry, AsyncRetry))
"""How redis-py asks a Sentinel: it would ask ten times, for seconds, where nobody is."""


@pytest.fixture
def proxy(valkey):
    proxy = FaultProxy(valkey.directory / f"p{os.urandom(4).hex()}", valkey.socket)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_that_means_later_is_asked_again(opened, proxy, namespace, reply) -> None:
    store = opened(f"unix://{proxy.path}", namespace=namespace, retry_for=20)
    store.store(b"warm", ttl=60)  # the server knows the script
    proxy.arm(1, reply)
    stored = store.store(b"x", run_id="a")
    assert proxy.done.is_set()
    assert proxy.commands == 2
    proxy.arm(1, reply)
    assert store.load(stored.artifact_id) is not None
    assert proxy.done.is_set()


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_that_means_later_is_no_doubt_about_a_write(opened, proxy, namespace, reply) -> None:
    store = opened(f"unix://{proxy.path}", namespace=namespace, retry_for=0)
    store.exists("x")
    proxy.arm(1, reply)
    with pytest.raises(StoreUnavailableError) as caught:
        store.store(b"x", run_id="a")
    assert not isinstance(caught.value, AmbiguousWriteError)
    assert reply.split()[-1] in str(caught.value)
    assert store.list_all() == []
    assert store.store(b"x", run_id="a")  # the connection is still in step


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(params=["sync", "async"])
def through_sentinel(request, namespace):
    """Opens a store over a client that asks a Sentinel on some port for the primary."""
    closing = contextlib.ExitStack()

    def open_(port: int, **options):
        if request.param == "sync":
            sentinel = redis.sentinel.Sentinel([("127.0.0.1", port)], sentinel_kwargs=ONCE, socket_timeout=5)
            client = sentinel.master_for("primary", protocol=2)
            for one in (client, *sentinel.sentinels):
                closing.callback(one.close)
            return RedisArtifactStore(client, namespace=namespace, **options)

        clients: list = []

        def make() -> AsyncRedisArtifactStore:
            sentinel = redis.asyncio.sentinel.Sentinel([("127.0.0.1", port)], sentinel_kwargs=AONCE, socket_timeout=5)
            clients.extend([sentinel.master_for("primary", protocol=2), *sentinel.sentinels])
            return AsyncRedisArtifactStore(clients[0], namespace=namespace, **options)

        store = Blocking(make)
        closing.callback(store.close)
        for one in clients:
            closing.callback(lambda one=one: store._loop.run_until_complete(one.aclose()))
        return store

    with closing:
        yield open_


def test_a_sentinel_that_cannot_be_reached_is_no_doubt_about_a_write(through_sentinel) -> None:
    store = through_sentinel(closed_port(), retry_for=0.05)
    with pytest.raises(StoreUnavailableError, match="no usable server.*primary") as caught:
        store.store(b"x", run_id="a")
    assert not isinstance(caught.value, AmbiguousWriteError)


def test_a_primary_that_sentinel_names_later_is_waited_for(through_sentinel, valkey, tmp_path) -> None:
    port = closed_port()
    (tmp_path / "sentinel.conf").write_text(f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n")
    command = [require(ENGINES[0]), tmp_path / "sentinel.conf", "--sentinel"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port, protocol=2) as sentinel:
            eventually(lambda: pings(sentinel))
            with pytest.raises(StoreUnavailableError, match="no usable server"):
                through_sentinel(port, retry_for=0).store(b"x", run_id="a")
            failures = threading.Event()
            store = through_sentinel(port, retry_for=30)
            watch(store, failures)

            def promote() -> None:
                failures.wait(30)  # the store has been told that there is no primary
                with redis.Redis(port=port, protocol=2) as other:
                    other.execute_command("SENTINEL", "MONITOR", "primary", "127.0.0.1", valkey.port, 1)

            promoting = threading.Thread(target=promote)
            promoting.start()
            stored = store.store(b"x", run_id="a")
            promoting.join()
            assert failures.is_set()
            assert store.load(stored.artifact_id) is not None
    finally:
        process.kill()
        process.wait()


def pings(client) -> bool:
    with contextlib.suppress(redis.ConnectionError):
        return client.ping()
    return False


def watch(store, failed: threading.Event) -> None:
    """Set the event when a pipeline of a store has failed."""
    inner = store._store if isinstance(store, Blocking) else store
    transport = inner._operations.backend.session.transport
    send = transport.send

    def seen(results):
        if any(isinstance(result, Exception) for result in results):
            failed.set()
        return results

    async def awaited(parts):
        return seen(await send(parts))

    transport.send = awaited if isinstance(store, Blocking) else lambda parts: seen(send(parts))
