"""Units of commands on their way to one server, to the nodes of a cluster, to what Sentinels name, and through TLS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from hashlib import sha1

import pytest
import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.cluster
from redis.crc import key_slot

from coatcheck import AmbiguousWriteError, InvalidArtifactError, StoreUnavailableError, WrongServerError
from coatcheck.backends.redis.transport.base import Close, Pipelines, Refresh, Transport
from coatcheck.backends.redis.transport.connect import AsyncTarget, Target
from coatcheck.backends.redis.transport.durability import Confirmation
from coatcheck.backends.redis.transport.resp import pack
from coatcheck.backends.redis.transport.retry import deliver, find_primaries
from coatcheck.plan import Pause, arun, run
from coatcheck.testing import ENGINES, Cluster, Sentinels, Server, eventually
from coatcheck.testing.servers.tls import TlsServer

from ..conftest import binary_of, require

SHORT = b"60000"  # milliseconds that keys of these tests live


class Unit:
    """Commands for one slot, the script among them by hash or with its source."""

    slow = False
    inert = False
    large = None

    def __init__(self, slot: int, *commands: tuple[bytes, ...]) -> None:
        self.slot, self.commands, self.replies = slot, commands, len(commands)

    def packed(self, *, by_hash: bool = True) -> list:
        return [piece for command in self.commands for piece in pack(self._spelled(command, by_hash))]

    @staticmethod
    def _spelled(command: tuple[bytes, ...], by_hash: bool) -> tuple[bytes, ...]:
        if command[0] != b"SCRIPT":
            return command
        _, source, *arguments = command
        return (b"EVALSHA", sha1(source).hexdigest().encode(), *arguments) if by_hash else (b"EVAL", source, *arguments)


def put(key: bytes, value: bytes = b"value") -> Unit:
    return Unit(key_slot(key), (b"SET", key, value, b"PX", SHORT))


def get(*keys: bytes) -> Unit:
    return Unit(key_slot(keys[0]), *((b"GET", key) for key in keys))


def script(source: bytes, *keys: bytes) -> Unit:
    return Unit(key_slot(keys[0]), (b"SCRIPT", source, b"%d" % len(keys), *keys))


class Line:
    """A transport and the driver that fits it."""

    def __init__(self, target, drive: Callable) -> None:
        self.target, self.drive = target, drive
        self.transport: Transport = target.transport()

    def deliver(self, *units: Unit, retry_for: float = 20, writes: bool = True, **options) -> list:
        return self.drive(deliver(self.transport, units, retry_for, writes=writes, **options))

    def close(self) -> None:
        async_close = Close(self.transport)

        def plan():
            yield async_close

        self.drive(plan())


@pytest.fixture(autouse=True)
def tidy(leaks) -> Iterator[None]:
    """The keys of these tests lie under no namespace."""
    yield
    for client in (node.client for watched in leaks._watched for node in watched.nodes):
        with contextlib.suppress(redis.ReadOnlyError, redis.ResponseError):  # a replica, a Sentinel
            client.flushall()
            client.wait(client.info("replication")["connected_slaves"], 10_000)


@contextlib.contextmanager
def opening(twin: str) -> Iterator[Callable[..., Line]]:
    """Opens lines to URLs or to callers' clients."""
    with contextlib.ExitStack() as closing:
        if twin == "sync":
            drive, kind = run, Target
        else:
            loop = closing.enter_context(asyncio.Runner())
            drive, kind = (lambda plan: loop.run(arun(plan))), AsyncTarget

        def open_(url: str, **options) -> Line:
            opened = Line(kind.of(url, **options), drive)
            closing.callback(opened.close)
            return opened

        open_.is_async = twin == "async"
        open_.drive = drive
        open_.closing = closing
        yield open_


@pytest.fixture(params=["sync", "async"])
def line(request) -> Iterator[Callable[..., Line]]:
    with opening(request.param) as open_:
        yield open_


@pytest.fixture
def lines() -> Iterator[Callable[[str], list[Line]]]:
    """Opens a line of each twin, for tests that have servers of their own."""
    with opening("sync") as blocking, opening("async") as awaited:
        yield lambda url: [blocking(url), awaited(url)]


@pytest.fixture(params=["valkey_cluster", "redis7_cluster"])
def cluster(request) -> Cluster:
    return request.getfixturevalue(request.param)


KEYS = [b"key%d" % n for n in range(30)]  # on all nodes


# One server ----------------------------------------------------------------------------------------------------


def test_the_replies_of_all_units_come_in_their_order(line, server) -> None:
    sent = line(server.url)
    assert sent.deliver(put(b"a", b"1"), put(b"b", b"2"), get(b"a", b"b")) == [b"OK", b"OK", b"1", b"2"]


def test_a_script_that_is_unknown_is_sent_with_its_source(line, server) -> None:
    sent = line(server.url)
    source = b"return {KEYS[1], redis.sha1hex('%s')}" % os.urandom(8).hex().encode()
    [[first, _], second] = sent.deliver(script(source, b"a"), put(b"b"))
    assert (first, second) == (b"a", b"OK")
    with server.client() as client:
        client.script_flush()
    [[key, _]] = sent.deliver(script(source, b"b"))
    assert key == b"b"


def test_the_first_error_reply_is_raised(line, server) -> None:
    sent = line(server.url)
    with pytest.raises(StoreUnavailableError, match="wrong number"):
        sent.deliver(put(b"a"), Unit(0, (b"GET",)), Unit(0, (b"NONSENSE",)))
    assert sent.deliver(get(b"a")) == [b"value"]  # the connection is still in step


def test_a_server_without_scripts_is_named(line) -> None:
    with Server(require(ENGINES[0]), "--rename-command", "EVALSHA", "") as server:
        with pytest.raises(WrongServerError, match="needs Lua scripts"):
            line(server.url).deliver(script(b"return 1", b"a"))


def test_a_server_that_is_busy_with_a_script_is_waited_for(line) -> None:
    with Server(require(ENGINES[0]), "--busy-reply-threshold", "1") as server, server.client() as client:
        sent = line(server.url)
        sent.deliver(put(b"a"))

        def block() -> None:
            with server.client() as other, contextlib.suppress(redis.ResponseError):
                other.eval("while true do end", 0)

        blocking = threading.Thread(target=block)
        blocking.start()
        try:
            eventually(lambda: is_busy(client))
            with pytest.raises(StoreUnavailableError, match="no usable server: BUSY"):
                sent.deliver(put(b"a"), retry_for=0)
            killing = threading.Thread(target=lambda: client.script_kill())
            killing.start()
            assert sent.deliver(put(b"a")) == [b"OK"]
            killing.join()
        finally:
            server.kill()
            blocking.join()


def is_busy(client: redis.Redis) -> bool:
    try:
        client.get("a")
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


def test_another_process_has_another_incarnation(line) -> None:
    with Server(require(ENGINES[0]), persistent=True) as server:
        sent = line(server.url)
        sent.deliver(put(b"a"))
        before = sent.transport.incarnation(0)
        sent.deliver(get(b"a"))
        assert sent.transport.incarnation(0) == before
        server.restart()
        sent.deliver(get(b"a"))
        assert sent.transport.incarnation(0) != before


def test_250_threads_share_a_transport(server_of) -> None:
    transport = Target.of(server_of("valkey").url).transport()
    start, failed = threading.Barrier(250), []

    def work() -> None:
        start.wait()
        try:
            for _ in range(5):
                run(deliver(transport, [get(b"a")], 20, writes=False))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(250)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    transport.close()
    assert not failed


class Interrupt(BaseException):
    """As gevent's Timeout: no Exception."""


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # by the interpreter, as the last resort
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # an interrupt in a destructor
def test_1000_calls_interrupted_in_an_outage_leak_nothing() -> None:
    def interrupt(*_) -> None:
        raise Interrupt

    with Server(require(ENGINES[0]), tcp=True) as server:
        transport = Target.of(server.tcp_url).transport()
        before = signal.signal(signal.SIGALRM, interrupt)
        interrupted = 0
        try:
            server.pause()
            for n in range(1000):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0001 + n * 1e-6, 0.5)  # again: a destructor swallows it
                    run(deliver(transport, [get(b"a")], 20, writes=False))
                except (Interrupt, UnboundLocalError):  # redis-py 6, when it is making a connection
                    interrupted += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            server.resume()
        assert interrupted == 1000
        assert run(deliver(transport, [get(b"a")], 20, writes=False)) == [None]
        with server.client() as client:
            eventually(lambda: len(client.client_list()) == 2)
        transport.close()


def test_1000_calls_cancelled_in_an_outage_leak_nothing() -> None:
    async def main(server: Server) -> None:
        transport = AsyncTarget.of(server.tcp_url).transport()

        def call():
            return arun(deliver(transport, [get(b"a")], 20, writes=False))

        server.pause()
        try:
            for n in range(1000):
                task = asyncio.create_task(call())
                for _ in range(n % 30):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert task.cancelled()
        finally:
            server.resume()
        assert await asyncio.gather(*(call() for _ in range(100))) == [[None]] * 100
        with server.client() as client:
            assert len(client.client_list()) <= 1 + 64
        await transport.close()

    with Server(require(ENGINES[0]), tcp=True) as server:
        asyncio.run(main(server))


@pytest.mark.parametrize("what", ["cluster", "sentinel"])
def test_a_cancelled_search_for_servers_ends_at_once(what, server_of) -> None:
    async def main(server: Server) -> None:
        transport = AsyncTarget.of(
            f"redis+{what}://127.0.0.1:{server.port}/{'0' if what == 'cluster' else 's'}"
        ).transport()
        server.pause()
        try:
            for n in range(100):
                task = asyncio.create_task(arun(deliver(transport, [get(b"a")], 20, writes=False)))
                for _ in range(n % 30):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert task.cancelled()
        finally:
            server.resume()
        await transport.close()

    with Server(require(ENGINES[0]), tcp=True) as server:
        asyncio.run(main(server))


# A cluster -----------------------------------------------------------------------------------------------------


def test_units_go_to_the_nodes_of_their_slots(line, cluster) -> None:
    sent = line(cluster.url)
    assert sent.target.is_cluster
    assert sent.deliver(*(put(key, key) for key in KEYS)) == [b"OK"] * len(KEYS)
    assert sent.deliver(*map(get, KEYS)) == KEYS
    names = {node.name for node in sent.drive(find_primaries(sent.transport, 20))}
    assert names == {node.address for node in cluster.primaries()}


def test_all_keys_are_seen_node_by_node(line, cluster) -> None:
    sent = line(cluster.url)
    sent.deliver(*map(put, KEYS))
    seen: set[bytes] = set()
    for node in sent.drive(find_primaries(sent.transport, 20)):
        cursor = b"0"
        while True:
            [[cursor, page]] = sent.deliver(Unit(0, (b"SCAN", cursor)), node=node)
            seen.update(page)
            if cursor == b"0":
                break
    assert seen >= set(KEYS)


def test_a_script_is_sent_with_its_source_to_each_node_that_lacks_it(line, cluster) -> None:
    sent = line(cluster.url)
    source = b"return redis.call('GET', KEYS[1]) -- %s" % os.urandom(8).hex().encode()
    sent.deliver(*(put(key, key) for key in KEYS))
    assert sent.deliver(script(source, KEYS[0])) == KEYS[:1]  # known to one node now
    assert sent.deliver(*(script(source, key) for key in KEYS)) == KEYS


def test_a_slot_that_has_moved_is_followed(line, cluster) -> None:
    sent = line(cluster.url)
    key = b"{moved}a"
    sent.deliver(put(key))
    before = sent.transport.incarnation(key_slot(key))
    owner = cluster.owner(key_slot(key))
    other = next(node for node in cluster.primaries() if node is not owner)
    try:
        cluster.move_slot(key_slot(key), other)
        assert sent.deliver(get(key), retry_for=0) == [b"value"]
        assert sent.transport.node(key_slot(key)).name == other.address
        assert sent.transport.incarnation(key_slot(key)) != before
    finally:
        cluster.move_slot(key_slot(key), owner)
        cluster.wait_ok()
    assert sent.deliver(get(key), put(b"other"), retry_for=0) == [b"value", b"OK"]


def test_a_slot_that_is_moving_is_asked_for_at_both_nodes(line, cluster) -> None:
    sent = line(cluster.url)
    stays, goes = b"{moving}stays", b"{moving}goes"
    slot = key_slot(stays)
    sent.deliver(put(stays, b"1"), put(goes, b"2"))
    owner = cluster.owner(slot)
    other = next(node for node in cluster.primaries() if node is not owner)
    cluster.begin_move(slot, other)
    try:
        cluster.move_keys(slot, [goes])
        assert sent.deliver(get(stays), get(goes), retry_for=0) == [b"1", b"2"]
        # Several commands of one unit, one of them large: each is asked for.
        large = b"x" * 100_000
        unit = Unit(
            slot, (b"SET", goes, large, b"PX", SHORT), (b"GET", goes), (b"SCRIPT", b"return KEYS[1]", b"1", goes)
        )
        assert sent.deliver(unit, retry_for=0) == [b"OK", large, goes]
        assert sent.transport.node(slot).name == owner.address  # until the slot itself has moved
        both = Unit(slot, (b"MGET", stays, goes))
        with pytest.raises(StoreUnavailableError, match="no usable server"):  # TRYAGAIN
            sent.deliver(both, retry_for=0.05)
        finishing = threading.Thread(target=lambda: (cluster.move_keys(slot), cluster.finish_move(slot)))
        finishing.start()
        assert sent.deliver(both) == [[b"1", large]]
        finishing.join()
    finally:
        if cluster.owner(slot) is not other:
            cluster.move_keys(slot)
            cluster.finish_move(slot)
        cluster.move_slot(slot, owner)
        cluster.wait_ok()


def test_a_promoted_replica_is_followed(line, valkey_cluster) -> None:
    sent = line(valkey_cluster.url)
    sent.deliver(*map(put, KEYS))
    primary = valkey_cluster.owner(key_slot(KEYS[0]))
    [replica] = valkey_cluster.replicas(primary)
    done = threading.Event()
    promoting = threading.Thread(target=lambda: (valkey_cluster.failover(replica), done.set()))
    promoting.start()
    try:
        while not done.is_set():
            assert sent.deliver(*map(put, KEYS), retry_for=30) == [b"OK"] * len(KEYS)
    finally:
        promoting.join()
    assert sent.deliver(put(KEYS[0])) == [b"OK"]
    assert sent.transport.node(key_slot(KEYS[0])).name == replica.address


def test_a_killed_primary_is_replaced_by_its_replica(lines) -> None:
    with Cluster(binary_of("valkey"), timeout=1) as cluster:
        both = lines(cluster.url)
        for sent in both:
            sent.deliver(*map(put, KEYS), behind=Confirmation("replica"))
        cluster.owner(key_slot(KEYS[0])).kill()
        for sent in both:
            assert sent.deliver(*map(get, KEYS), retry_for=60) == [b"value"] * len(KEYS)
            assert sent.deliver(*map(put, KEYS), retry_for=60) == [b"OK"] * len(KEYS)


def test_nodes_that_are_down_keep_nobody_from_the_others(lines) -> None:
    with Cluster(binary_of("valkey"), "--cluster-require-full-coverage", "no", replicas=0, timeout=1) as cluster:
        both = lines(cluster.url)
        for sent in both:
            sent.deliver(*map(put, KEYS))
        down = cluster.owner(key_slot(KEYS[0]))
        lost = [key for key in KEYS if cluster.owner(key_slot(key)) is down]
        kept = [key for key in KEYS if key not in lost]
        down.kill()
        for sent in both:
            with pytest.raises(AmbiguousWriteError):  # what went to the others was done
                sent.deliver(*map(put, KEYS), retry_for=0.2)
            assert sent.deliver(*map(get, kept)) == [b"value"] * len(kept)
        for fresh in lines(cluster.url):
            assert fresh.deliver(*map(get, kept)) == [b"value"] * len(kept)
            with pytest.raises(StoreUnavailableError, match="no usable server") as caught:
                fresh.deliver(get(lost[0]), retry_for=0.2)
            assert not isinstance(caught.value, AmbiguousWriteError)


def test_writes_are_confirmed_on_each_node(line, valkey_cluster) -> None:
    sent = line(valkey_cluster.url)
    before = waits(valkey_cluster)
    assert sent.deliver(*map(put, KEYS), behind=Confirmation("replica")) == [b"OK"] * len(KEYS)
    assert [after - one for one, after in zip(before, waits(valkey_cluster), strict=True)] == [1, 1, 1]


def waits(cluster: Cluster) -> list[int]:
    counts = []
    for node in cluster.primaries():
        with node.client() as client:
            counts.append(client.info("commandstats").get("cmdstat_wait", {"calls": 0})["calls"])
    return counts


def test_writes_without_replicas_are_not_confirmed(line, redis7_cluster, monkeypatch) -> None:
    monkeypatch.setattr("coatcheck.backends.redis.transport.durability._MILLISECONDS", b"20")
    with pytest.raises(AmbiguousWriteError, match="0 of 1 replicas"):
        line(redis7_cluster.url).deliver(put(b"a"), behind=Confirmation("replica"))


def test_an_uncovered_slot_is_named_with_its_cure(lines) -> None:
    with Cluster(binary_of("valkey"), primaries=1, replicas=0) as cluster:
        early = lines(cluster.url)
        for sent in early:
            sent.deliver(put(b"a"))
        cluster.nodes[0].ask("CLUSTER", "DELSLOTS", key_slot(b"a"))
        for late in early + lines(cluster.url):
            with pytest.raises(StoreUnavailableError, match="does not serve all of its hash slots.*promote"):
                late.deliver(get(b"a"), retry_for=0.1)


def test_a_node_of_a_cluster_is_told_from_a_server(line, cluster) -> None:
    for node in cluster.primaries():
        sent = line(f"redis://{node.address}")
        with pytest.raises(WrongServerError, match=re.escape(f"redis+cluster://{node.address}")):
            sent.deliver(*map(put, KEYS))
        with pytest.raises(StoreUnavailableError, match=r"redis\+cluster://"):
            sent.deliver(script(b"return 1", b"a", b"b"))


def test_a_server_is_told_from_a_cluster(line, server) -> None:
    with pytest.raises(StoreUnavailableError, match=rf"is no cluster.*redis://127.0.0.1:{server.port}"):
        line(f"redis+cluster://127.0.0.1:{server.port}").deliver(put(b"a"), retry_for=20)


def test_a_cluster_that_refuses_the_password_is_final_and_does_not_show_it(line) -> None:
    with Cluster(binary_of("valkey"), primaries=1, replicas=0) as cluster:
        cluster.nodes[0].ask("CONFIG", "SET", "requirepass", "right-secret")
        address = cluster.nodes[0].address
        for user in ("", ":wrong-secret@"):
            with pytest.raises(StoreUnavailableError, match="refused the connection") as caught:
                line(f"redis+cluster://{user}{address}").deliver(put(b"a"), retry_for=20)
            assert "wrong-secret" not in "".join(traceback.format_exception(caught.value))
        sent = line(f"redis+cluster://:right-secret@{address}")
        assert sent.deliver(put(b"a")) == [b"OK"]
        with redis.Redis(port=cluster.nodes[0].port, password="right-secret", protocol=2) as client:
            client.config_set("requirepass", "other-secret")
            client.execute_command("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")
        with pytest.raises(StoreUnavailableError, match="refused the connection") as caught:
            sent.deliver(put(b"a"), retry_for=20)
        assert "right-secret" not in "".join(traceback.format_exception(caught.value))


def test_nobody_is_there(line, tmp_path) -> None:
    for url in ("redis+cluster://127.0.0.1:1,127.0.0.1:2", "redis+sentinel://127.0.0.1:1/service"):
        with pytest.raises(StoreUnavailableError, match="no usable server") as caught:
            line(url).deliver(put(b"a"), retry_for=0.05)
        assert not isinstance(caught.value, AmbiguousWriteError)


def test_a_refresh_is_shared(cluster) -> None:
    transport = Target.of(cluster.url).transport()
    find, asked = transport._find, []
    transport._find = lambda through: asked.append(1) or find(through)
    start = threading.Barrier(8)
    threads = [threading.Thread(target=lambda: (start.wait(), Refresh(transport).run())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) < 8
    transport.close()


# Callers' own clients ------------------------------------------------------------------------------------------


@pytest.fixture
def borrow(line) -> Callable[[Cluster], Line]:
    """Opens lines over a caller's cluster client."""

    def await_(coroutine):
        def plan():
            return (yield Awaited(coroutine))

        return line.drive(plan())

    async def made(**options):
        return redis.asyncio.cluster.RedisCluster(**options)

    def open_(cluster: Cluster) -> Line:
        options = {"host": "127.0.0.1", "port": cluster.nodes[0].port, "protocol": 2}
        if line.is_async:
            client = await_(made(**options))
            line.closing.callback(lambda: await_(client.aclose()))
        else:
            client = redis.cluster.RedisCluster(**options)
            line.closing.callback(client.close)
        return line(client)

    return open_


class Awaited:
    """A step that only asyncio can do."""

    def __init__(self, coroutine) -> None:
        self.coroutine = coroutine

    async def arun(self):
        return await self.coroutine


def test_a_callers_cluster_client_is_used(borrow, valkey_cluster) -> None:
    borrowed = borrow(valkey_cluster)
    assert borrowed.target.is_cluster
    assert borrowed.deliver(*(put(key, key) for key in KEYS)) == [b"OK"] * len(KEYS)
    assert borrowed.deliver(*map(get, KEYS)) == KEYS
    slot = key_slot(KEYS[0])
    owner = valkey_cluster.owner(slot)
    other = next(node for node in valkey_cluster.primaries() if node is not owner)
    before = borrowed.transport.incarnation(slot)
    assert borrowed.transport.incarnation(slot) == before
    try:
        valkey_cluster.move_slot(slot, other)
        assert borrowed.deliver(get(KEYS[0])) == KEYS[:1]
        assert borrowed.transport.incarnation(slot) != before
    finally:
        valkey_cluster.move_slot(slot, owner)
        valkey_cluster.wait_ok()
    assert borrowed.deliver(*map(get, KEYS)) == KEYS


def test_a_node_without_slots_is_asked(line, borrow) -> None:
    with Cluster(binary_of("valkey"), primaries=1, replicas=0) as cluster:
        both = line(cluster.url), borrow(cluster)
        for sent in both:
            sent.deliver(put(b"a"))
        new = cluster.add_node()
        cluster.wait_ok()
        cluster.begin_move(key_slot(b"a"), new)
        cluster.move_keys(key_slot(b"a"))
        assert [sent.deliver(get(b"a"), retry_for=0) for sent in both] == [[b"value"]] * 2
        cluster.finish_move(key_slot(b"a"))
        assert [sent.deliver(get(b"a"), retry_for=0) for sent in both] == [[b"value"]] * 2


def test_a_callers_client_with_few_connections_is_shared_by_many_threads(server_of) -> None:
    with redis.Redis(unix_socket_path=str(server_of("valkey").socket), max_connections=3, protocol=2) as client:
        transport = Target.of(client).transport()
        done = []
        threads = [
            threading.Thread(target=lambda: done.append(run(deliver(transport, [get(b"a")], 30, writes=False))))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert done == [[None]] * 20


# Sentinels -----------------------------------------------------------------------------------------------------


def test_the_primary_that_sentinels_name_is_used(line, sentinels) -> None:
    sent = line(sentinels.url)
    assert not sent.target.is_cluster
    assert sent.deliver(put(b"a"), put(b"b"), behind=Confirmation("replica")) == [b"OK", b"OK"]
    assert sent.transport.node(0).name == sentinels.primary.address


def test_a_service_that_no_sentinel_knows_is_named(line, sentinels) -> None:
    url = sentinels.url.replace("mymaster", "nobody")
    with pytest.raises(StoreUnavailableError, match="no Sentinel of .* names a primary for the service 'nobody'"):
        line(url).deliver(put(b"a"), retry_for=0.05)


def test_a_failover_is_followed(lines) -> None:
    with Sentinels(binary_of("valkey"), down_after=1) as sentinels:
        both = lines(sentinels.url)
        for sent in both:
            sent.deliver(put(b"a"))
        old = sentinels.primary
        old.kill()
        for sent in both:
            assert sent.deliver(put(b"a"), retry_for=60) == [b"OK"]
            assert sent.transport.node(0).name != old.address


def test_a_primary_that_became_a_replica_is_left(line) -> None:
    with Server(binary_of("valkey"), tcp=True) as first, Server(binary_of("valkey"), tcp=True) as second:
        sent = line("redis+sentinel://127.0.0.1:1/service")
        primary = [first]

        def find(_transport):
            yield Pause(0)
            return [(range(1), ("127.0.0.1", primary[0].port))]

        sent.transport._find = find
        sent.deliver(put(b"a"))
        first.ask("REPLICAOF", "127.0.0.1", second.port)
        primary[0] = second
        assert sent.deliver(put(b"a")) == [b"OK"]
        assert sent.transport.node(0).name == second.address


# TLS -----------------------------------------------------------------------------------------------------------


def test_tls_with_a_known_authority(line, tls_server) -> None:
    options = {"ssl_ca_certs": str(tls_server.authority)}
    assert line(tls_server.url, tls=options).deliver(put(b"a")) == [b"OK"]
    url = f"{tls_server.url}?ssl_ca_certs={tls_server.authority}"
    assert line(url, tls={"ssl_ca_certs": None, "ssl_check_hostname": True}).deliver(put(b"a")) == [b"OK"]
    assert line(url.replace("rediss", "valkeys")).deliver(get(b"a")) == [b"value"]


def test_an_unknown_authority_is_final_and_named(line, tls_server) -> None:
    with pytest.raises(
        StoreUnavailableError, match="refused.*certificate of 127.0.0.1.*signed by an authority of this"
    ):
        line(tls_server.url).deliver(put(b"a"), retry_for=20)
    assert line(f"{tls_server.url}?ssl_cert_reqs=none").deliver(put(b"a")) == [b"OK"]


def test_a_wrong_name_is_final_and_both_are_named(line) -> None:
    with TlsServer(binary_of("redis7"), names=("elsewhere.example",)) as server:
        options = {"ssl_ca_certs": str(server.authority)}
        with pytest.raises(StoreUnavailableError, match=rf"'127\.0\.0\.1', signed by {server.authority}"):
            line(server.url, tls=options).deliver(put(b"a"), retry_for=20)
        assert line(server.url, tls={**options, "ssl_check_hostname": False}).deliver(put(b"a")) == [b"OK"]


def test_a_client_certificate_is_shown_where_it_is_asked_for(line) -> None:
    with TlsServer(binary_of("redis7"), "--tls-auth-clients", "yes") as server:
        options = {"ssl_ca_certs": str(server.authority)}
        with pytest.raises(StoreUnavailableError):  # what the server says may be cut off by its reset
            line(server.url, tls=options).deliver(put(b"a"), retry_for=0.05)
        options |= {"ssl_certfile": str(server.client_certificate), "ssl_keyfile": str(server.client_key)}
        assert line(server.url, tls=options).deliver(put(b"a")) == [b"OK"]


@pytest.mark.parametrize(
    ("url", "tls", "reason"),
    [
        ("redis://h", {"ssl_ca_certs": "ca.pem"}, "only for TLS"),
        ("rediss://h", {"ssl_ca_certs": "/nowhere/ca.pem"}, "no file"),
        ("rediss://h?ssl_certfile=/nowhere/x.pem", {}, "no file"),
        ("rediss://h", {"ssl_nonsense": "1"}, "ssl_nonsense"),
        ("rediss://h?ssl_cert_reqs=perhaps", {}, "perhaps"),
    ],
)
def test_tls_options_without_sense_are_refused(url, tls, reason) -> None:
    for kind in (Target, AsyncTarget):
        with pytest.raises(InvalidArtifactError, match=reason):
            kind.of(url, tls=tls).transport()


# URLs ----------------------------------------------------------------------------------------------------------


NUMBER, NO_HOST = "must be the number of a database", "host and port cannot be read"


@pytest.mark.parametrize(
    ("url", "shown", "reason"),
    [
        *(
            (url, url, reason)
            for url, reason in (
                ("redis://h/prod", NUMBER),
                ("redis://h/1/2", NUMBER),
                ("redis://h/1.5", NUMBER),
                ("redis://h/-1", NUMBER),
                ("redis+cluster://", NO_HOST),
                ("redis+cluster://h:1,", NO_HOST),
                ("redis+cluster://h:99999", NO_HOST),
                ("redis+cluster://h/1", "no database but 0"),
                ("redis+cluster://h/prod", NUMBER),
                ("redis+sentinel://h", "the service is missing"),
                ("redis+sentinel://h/", "the service is missing"),
                ("redis+sentinel:///service", NO_HOST),
                ("redis+sentinel://h/service/prod", NUMBER),
                ("redis+sentinel://h/service/1/2", NUMBER),
                ("redis+other://h", "is not the URL of a Redis or Valkey server"),
            )
        ),
        # What may be a part of a password is not shown.
        ("redis://h/0#fragment", "redis://…", NO_HOST),
        ("redis+cluster://h:port", "redis+cluster://…", NO_HOST),
        ("redis+cluster://h,[::1/0", "redis+cluster://…", NO_HOST),
        ("redis://h?db=prod", "redis://h?…", "Invalid value for 'db'"),
        ("redis://h?sentinel_password=x", "redis://h?…", "are for Sentinels"),
        ("redis+cluster://h?db=1", "redis+cluster://h?…", "no database but 0"),
        ("redis+cluster://h?nonsense=1", "redis+cluster://h?…", "'nonsense' is no option"),
    ],
)
def test_urls_without_sense_are_refused_by_name(url, shown, reason) -> None:
    for kind in (Target, AsyncTarget):
        with pytest.raises(InvalidArtifactError, match=re.escape(f"'{shown}'") + ".*" + re.escape(reason)):
            kind.of(url).transport()


@pytest.mark.parametrize(
    ("url", "addresses", "database"),
    [
        ("redis://h", [("h", 6379)], None),
        ("valkey://[::1]:7000/3", [("::1", 7000)], 3),
        ("redis+cluster://a:1,b,[::1]:3/0", [("a", 1), ("b", 6379), ("::1", 3)], None),
        ("valkeys+cluster://u:p@a", [("a", 6379)], None),
        ("rediss+sentinel://a,b:2/my%20service/5", [("a", 26379), ("b", 2)], 5),
    ],
)
def test_urls_name_hosts_and_database(url, addresses, database) -> None:
    for kind in (Target, AsyncTarget):
        place = kind.of(url)._place(url)
        assert place.addresses == addresses
        assert place.settings.get("db") == database
        assert ("ssl_check_hostname" in place.settings) == ("s" in url.partition("://")[0].partition("+")[0][5:])


def test_a_user_is_not_told_to_sentinels_unless_named_for_them() -> None:
    place = Target.of(url := "redis+sentinel://u:p@h/service?sentinel_password=q")._place(url)
    assert (place.settings["username"], place.settings["password"]) == ("u", "p")
    asked = place.asking(2)
    assert (asked.settings["username"], asked.settings["password"]) == (None, "q")
    assert (place.timeout, asked.timeout) == (30, 2)


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://u:hunter2@h:port,x",
        "redis+sentinel://u:hunter2@h",
        "redis+cluster://u:hunter2@h,g/1?nonsense=1",
        "redis+cluster://h,g/0?password:hunter2",
    ],
)
def test_a_refused_url_hides_its_password(url) -> None:
    with pytest.raises(InvalidArtifactError) as caught:
        Target.of(url).transport()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_one_pipeline_a_node(cluster) -> None:
    transport = Target.of(cluster.url).transport()
    run(deliver(transport, [put(key) for key in KEYS], 20, writes=True))
    sent, send = [], transport.send
    transport.send = lambda parts: sent.append(len(parts)) or send(parts)
    run(deliver(transport, [get(key) for key in KEYS], 20, writes=False))
    assert sent == [3]
    assert Pipelines(transport, []).run() == []
    transport.close()


@pytest.mark.parametrize("partitions", [1, 64])
def test_a_cluster_of_one_node_is_no_empty_server(opened, partitions) -> None:
    with Cluster(require(ENGINES[0]), primaries=1, replicas=0) as cluster:
        [node] = cluster.nodes
        opened(f"redis+cluster://{node.address}").store(b"x", run_id="a")
        for read in (
            lambda store: store.list_all(),
            lambda store: store.list_runs(),
            lambda store: store.count(),
            lambda store: store.exists("name"),
            lambda store: store.load_many(["name"]),
        ):
            with pytest.raises(WrongServerError, match=re.escape(f"redis+cluster://{node.address}")):
                read(opened(f"redis://{node.address}", partitions=partitions))
