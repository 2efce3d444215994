"""One store used by threads, forked children, and processes it was pickled to."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import pickle
import select
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import uvloop

from coatcheck import AsyncRedisArtifactStore, FileArtifactStore, RedisArtifactStore, StoreUnavailableError
from coatcheck.backends.redis.transport.base import Part
from coatcheck.backends.redis.transport.resp import pack
from coatcheck.compression import Zstd
from coatcheck.testing import Cluster, eventually

uvloop.new_event_loop().close()  # libuv keeps a pipe for signals as long as the process lives: no leak of a test


def test_threads_share_a_store(store) -> None:
    errors = []

    def work(n: int) -> None:
        try:
            for i in range(50):
                content = b"%d" % (i % 10) * 1000
                stored = store.store(content, run_id=f"run {n}", tags={"n": str(n)})
                loaded = store.load(stored.artifact_id)
                assert loaded is not None
                assert loaded.content == content
            assert len(store.list_by_run(f"run {n}")) == 10
            assert all(view.tags == {"n": str(n)} for view in store.list_by_run(f"run {n}"))
            assert store.delete_by_run(f"run {n}") == 10
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.list_all() == []


def test_tasks_share_an_async_store(server, namespace) -> None:
    async def main() -> None:
        async with AsyncRedisArtifactStore(server.url, namespace=namespace) as store:

            async def work(n: int) -> None:
                for i in range(5):
                    content = b"%d %d" % (n, i)
                    stored = await store.store(content, run_id=f"run {n % 7}")
                    loaded = await store.load(stored.artifact_id)
                    assert loaded is not None
                    assert loaded.content == content

            await asyncio.gather(*(work(n) for n in range(200)))
            assert len(await store.list_all(limit=0)) == 1000

    asyncio.run(main())


def test_cancelled_calls_leave_no_stale_replies(server, namespace) -> None:
    async def main() -> None:
        async with AsyncRedisArtifactStore(server.url, namespace=namespace) as store:
            ids = [(await store.store(b"%d" % n * 1000)).artifact_id for n in range(20)]
            for delay in range(40):
                task = asyncio.create_task(store.load(ids[delay % 20]))
                for _ in range(delay % 8):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                for n, artifact_id in enumerate(ids):
                    assert await store.load_text(artifact_id) == f"{n}" * 1000

    asyncio.run(main())


def test_a_reply_to_a_cancelled_call_reaches_no_other(server, client, namespace) -> None:
    async def main() -> None:
        async with AsyncRedisArtifactStore(server.url, namespace=namespace) as store:
            stored = await store.store(b"content")
            client.client_pause(2000, all=False)  # scripts wait, plain reads do not
            task = asyncio.create_task(store.store(b"late"))
            await asyncio.to_thread(eventually, lambda: any("b" in one["flags"] for one in client.client_list()))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await store.load_text(stored.artifact_id) == "content"

    try:
        asyncio.run(main())
    finally:
        client.client_unpause()


def test_what_comes_unasked_reaches_no_task(server, namespace) -> None:
    async def main() -> None:
        async with AsyncRedisArtifactStore(server.url, namespace=namespace) as store:
            stored = await store.store(b"content")
            [wire] = store._operations.backend.session.transport.node(0)._held().idle
            wire._transport.write(b"ECHO stale\r\n")
            async with asyncio.timeout(10):
                while wire.usable:
                    await asyncio.sleep(0.01)
            assert await store.load_text(stored.artifact_id) == "content"
            assert await store.list_all() == [stored]

    asyncio.run(main())


@pytest.mark.parametrize(("trusted", "patience"), [(0, 0), (3600, 1)])
def test_idle_connections_that_were_closed_are_replaced(
    server, client, namespace, monkeypatch, trusted, patience
) -> None:
    monkeypatch.setattr("coatcheck.backends.redis.transport.wire._TRUSTED", trusted)
    with RedisArtifactStore(f"{server.url}?client_name=ours", namespace=namespace, retry_for=patience) as store:
        with ThreadPoolExecutor(20) as threads:
            list(threads.map(lambda n: store.store(b"%d" % n), range(100)))
        hang_up(client)
        stored = store.store(b"content")
        hang_up(client)
        assert store.load(stored.artifact_id).content == b"content"


def test_idle_connections_of_tasks_that_were_closed_are_replaced(server, client, namespace) -> None:
    async def main() -> None:
        async with AsyncRedisArtifactStore(f"{server.url}?client_name=ours", namespace=namespace, retry_for=1) as store:
            await asyncio.gather(*(store.store(b"%d" % n) for n in range(20)))
            hang_up(client)
            stored = await store.store(b"content")
            hang_up(client)
            assert await store.load_text(stored.artifact_id) == "content"

    asyncio.run(main())


def hang_up(client: redis.Redis) -> None:
    """Let the server close the connections of our store."""
    for one in client.client_list():
        if one["name"] == "ours":
            client.client_kill_filter(one["id"])


def test_an_async_store_starts_anew_on_another_event_loop(server, namespace) -> None:
    async def use() -> list:
        stored = await store.store(b"content")
        assert await store.load_text(stored.artifact_id) == "content"
        return store._operations.backend.session.transport.node(0)._held().idle

    store = AsyncRedisArtifactStore(server.url, namespace=namespace)
    with asyncio.Runner() as first, asyncio.Runner() as second:
        [left] = first.run(use())
        assert left not in second.run(use())
        assert first.run(use()) == [left]
        first.run(store._operations.backend.session.transport.close())
        second.run(store.close())


def connections(servers) -> int:
    """How many connections our store has, on all servers."""
    found = 0
    for server in servers:
        with server.client() as client:
            found += sum(one["name"] == "ours" for one in client.client_list())
    return found


@pytest.fixture(params=["valkey", "valkey_cluster"])
def shared(request, namespace):
    """A store for several event loops, and the servers on which it has connections."""
    place = request.getfixturevalue(request.param)
    servers = place.primaries() if isinstance(place, Cluster) else [place]
    return AsyncRedisArtifactStore(f"{place.url}?client_name=ours", namespace=namespace), servers


def test_one_event_loop_after_the_other_leaves_no_connections_behind(shared) -> None:
    store, servers = shared

    async def use(n: int) -> None:
        stored = await asyncio.gather(*(store.store(b"%d %d" % (n, i), run_id="a") for i in range(5)))
        assert len(await store.list_by_run("a")) == 5 * (n + 1)
        assert await store.load_text(stored[0]) == f"{n} 0"

    counts = []
    for n in range(10):
        asyncio.run(use(n))
        counts.append(connections(servers))
    assert max(counts) <= 2 * 5 * len(servers)  # those of the latest loop, and at most of the one before
    asyncio.run(store.close())
    eventually(lambda: connections(servers) == 0)


def test_event_loops_at_the_same_time_have_connections_of_their_own(shared) -> None:
    store, servers = shared
    barrier = threading.Barrier(3)

    async def use(n: int) -> None:
        barrier.wait()
        for i in range(20):
            stored = await asyncio.gather(*(store.store(b"%d %d %d" % (n, i, k)) for k in range(3)))
            assert await store.load_many(stored) == [await store.load(view) for view in stored]

    with ThreadPoolExecutor(3) as threads:
        for done in [threads.submit(asyncio.run, use(n)) for n in range(3)]:
            done.result()
    assert connections(servers) <= 3 * 3 * len(servers)
    asyncio.run(store.close())
    eventually(lambda: connections(servers) == 0)


def test_a_forked_child_runs_a_loop_of_its_own(shared) -> None:
    store, _ = shared

    async def use(text: str) -> str | None:
        return await store.load_text(await store.store_text(text))

    assert asyncio.run(use("parent")) == "parent"
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    with receiver, sender:
        child = context.Process(target=lambda: sender.send(asyncio.run(use("child"))))
        child.start()
        child.join(30)
        assert child.exitcode == 0
        assert receiver.recv() == "child"
    assert asyncio.run(use("parent again")) == "parent again"
    asyncio.run(store.close())


def _in_child(store, artifact_id, namespace) -> None:
    assert store.load_text(artifact_id) == "from the parent"
    store.store_text(f"from child {os.getpid()}", run_id="children")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_use_the_store_of_their_parent(store, namespace, method) -> None:
    stored = store.store_text("from the parent")
    context = multiprocessing.get_context(method)
    children = [context.Process(target=_in_child, args=(store, stored.artifact_id, namespace)) for _ in range(3)]
    for child in children:
        child.start()
    for _ in range(50):  # the parent goes on at the same time
        assert store.load_text(stored.artifact_id) == "from the parent"
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    assert len(store.list_by_run("children")) == 3


def _client_id(store) -> int:
    """What the server calls the connection that this process uses."""
    transport = store._operations.backend.session.transport
    [[number]] = transport.send([Part(transport.node(0), pack((b"CLIENT", b"ID")), 1)])
    return number


def test_a_forked_child_has_connections_of_its_own(store) -> None:
    context = multiprocessing.get_context("fork")
    mine = _client_id(store)
    receiver, sender = context.Pipe(duplex=False)
    with receiver, sender:
        child = context.Process(target=lambda: sender.send(_client_id(store)))
        child.start()
        child.join(30)
        assert child.exitcode == 0
        assert receiver.recv() != mine
    assert _client_id(store) == mine


def test_so_has_a_child_that_was_forked_past_python(store) -> None:
    mine = _client_id(store)
    reader, writer = os.pipe()
    child = ctypes.PyDLL(None).fork()  # as uWSGI does: no hook is called
    if child == 0:
        try:
            os.write(writer, b"%d" % _client_id(store))
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        try:
            assert select.select([answer], [], [], 30)[0]
            assert int(answer.read()) != mine
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert _client_id(store) == mine


def test_pickled_stores_keep_their_options(server, namespace) -> None:
    store = RedisArtifactStore(server.url, namespace=namespace, default_ttl=60, compression=None, verify="checksum")
    stored = store.store(b"content" * 1000)
    with pickle.loads(pickle.dumps(store)) as copy:
        assert copy.load(stored.artifact_id) == store.load(stored.artifact_id)
        assert copy.store(b"2").expires_at is not None
        assert copy._operations.backend._storing._compression is None
        assert copy._operations.backend._reading._verify == "checksum"
    store.close()
    store = RedisArtifactStore(server.url, namespace=namespace, compression_level=7, compression_threshold=9)
    with pickle.loads(pickle.dumps(store)) as copy:
        assert copy._operations.backend._storing._compression == Zstd(7, 9)
    store.close()


def test_stores_over_a_callers_client_are_pickled_with_its_address(server, namespace) -> None:
    with redis.Redis(unix_socket_path=str(server.socket), decode_responses=True) as client:
        store = RedisArtifactStore(client, namespace=namespace)
        stored = store.store(b"content")
        copy = pickle.loads(pickle.dumps(store))
        assert copy.load(stored.artifact_id) == store.load(stored.artifact_id)
        copy._target._client.close()


def test_a_client_without_an_address_is_not_pickled() -> None:
    class Odd(redis.Redis):
        pass

    store = RedisArtifactStore(Odd(connection_pool=redis.ConnectionPool()))
    with pytest.raises(TypeError, match="URL"):
        pickle.dumps(store)


def test_file_stores_are_pickled(tmp_path) -> None:
    store = FileArtifactStore(tmp_path, default_ttl=60)
    stored = store.store(b"content")
    copy = pickle.loads(pickle.dumps(store))
    assert copy.load(stored.artifact_id) == store.load(stored.artifact_id)
    assert copy.store(b"2").expires_at is not None


def test_a_server_that_restarts_is_found_again(server_of) -> None:
    from coatcheck.testing import ENGINES, Server

    from ..conftest import require

    for engine in ENGINES:
        with Server(require(engine), persistent=True) as server, RedisArtifactStore(server.url) as store:
            stored = store.store(b"content", run_id="a")
            server.restart()
            assert store.load(stored.artifact_id) is not None
            server.kill()
            started = threading.Event()

            def write() -> None:
                started.set()
                store.store(b"2", run_id="a")

            writer = threading.Thread(target=write)
            writer.start()
            started.wait()
            server.start()
            writer.join()
            assert len(store.list_by_run("a")) == 2


def test_connections_are_given_back(store, client) -> None:
    for n in range(20):
        store.store(b"%d" % n)
    assert len(store._operations.backend.session.transport.node(0)._idle) == 1
    before = len(client.client_list())
    store.close()
    eventually(lambda: len(client.client_list()) == before - 1)
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.load("x")


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_every_event_loop_moves_contents_of_all_sizes(new_loop, server, namespace) -> None:
    contents = [os.urandom(size) for size in (0, 1024, 100_000, 300_000, 3 * 2**20, 20 * 2**20)]

    async def main() -> None:
        async with AsyncRedisArtifactStore(server.url, namespace=namespace) as store:
            stored = await asyncio.gather(*(store.store(content, ttl=60) for content in contents))
            loaded = await asyncio.gather(*(store.load(one, required=True) for one in stored))
            assert [one.content for one in loaded] == contents
            assert [one.content for one in await store.load_many(stored)] == contents

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
