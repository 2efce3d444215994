"""Calls end: at their deadline whatever the server does, and at once where they are cancelled or interrupted."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import shake_128
from typing import Any

import pytest

from coatcheck import (
    AmbiguousWriteError,
    AsyncRedisArtifactStore,
    InvalidArtifactError,
    RedisArtifactStore,
    StoreAccessError,
    StoreUnavailableError,
    compute_artifact_id,
)
from coatcheck.backends.redis.scripts.script import Script
from coatcheck.sources import Chunking
from coatcheck.testing import Blocking, Cluster, Server, eventually

from ..conftest import binary_of
from ..harnesses import chunk
from .peers import Answer, Peer, Words

pytestmark = [
    pytest.mark.filterwarnings("ignore::coatcheck.EvictingServerWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),  # by an interrupt
]

ID = compute_artifact_id(b"x")
FACES = ["sync", "async"]
LATE = 20.0
"""Seconds after which a call that ought to have ended hangs; its own limits are far from that, on either side."""


def store_at(url: str, face: str, **options: Any) -> RedisArtifactStore | Blocking:
    options = {"timeout": 0.1, "retry_for": 0} | options
    if face == "sync":
        return RedisArtifactStore(url, **options)
    return Blocking(lambda: AsyncRedisArtifactStore(url, **options))


@pytest.fixture
def ends() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Calls something in a thread; fails where it hangs."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda call: pool.submit(call).result(LATE)


# What a server may do -----------------------------------------------------------------------------------------------


def drips(stopping: threading.Event) -> Iterable[bytes]:
    yield b"$9"
    while not stopping.wait(0.03):
        yield b"9"[:1] if stopping.is_set() else b"0"


def floods(first: bytes, more: bytes) -> Callable[[threading.Event], Iterable[bytes]]:
    def flood(stopping: threading.Event) -> Iterable[bytes]:
        yield first
        while not stopping.is_set():
            yield more

    return flood


def counts(stopping: threading.Event) -> Iterable[bytes]:
    yield b"*99999\r\n"
    while not stopping.wait(0.03):
        yield b":1\r\n"


DOINGS: dict[str, Callable[[threading.Event], Iterable[bytes]]] = {
    "silent": lambda stopping: (),
    "a byte at a time": drips,
    "an element at a time": counts,
    "an endless value": floods(b"$536870912\r\n", bytes(65536)),
    "an endless line": floods(b"+", b"a" * 65536),
    "endless replies": floods(b"", b":1\r\n" * 10_000),
}


def answering(doing: str, at: str) -> Answer:
    """Does that, in reply to the commands named, and says OK to others."""

    def answer(words: Words) -> bytes | Iterable[bytes]:
        if words[0].upper() == b"CLUSTER" and at != "discovery":
            return peers[0].slots()
        return DOINGS[doing](peers[0].stopping)

    peers: list[Peer] = []
    answer.peers = peers  # type: ignore[attr-defined]  # told when there is one
    return answer


def misbehaving(doing: str, at: str) -> Peer:
    answer = answering(doing, at)
    peer = Peer(answer, login=at != "login")
    answer.peers.append(peer)  # type: ignore[attr-defined]
    return peer


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "store": lambda s: s.store(b"x", run_id="a"),
    "load": lambda s: s.load(ID),
    "list_by_run": lambda s: s.list_by_run("a"),
}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("doing", DOINGS)
@pytest.mark.parametrize(
    ("scheme", "at"),
    [
        ("redis", "login"),
        ("redis", "commands"),
        ("redis+cluster", "discovery"),
        ("redis+cluster", "commands"),
        ("redis+sentinel", "discovery"),
    ],
)
def test_a_call_ends_whatever_the_server_does(ends, scheme, at, doing, face) -> None:
    with misbehaving(doing, at) as peer:
        url = peer.url.replace("redis", scheme) + ("/service" if "sentinel" in scheme else "")
        with store_at(url, face) as store:
            for operation in OPERATIONS.values():
                with pytest.raises((StoreUnavailableError, AmbiguousWriteError)):
                    ends(lambda operation=operation: operation(store))


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_call_ends_where_the_server_reads_nothing(ends, scheme, face) -> None:
    contents = [shake_128(b"%d" % n).digest(250_000) for n in range(60)]  # more than any buffer takes
    with (
        Peer(lambda _: peer.slots(), read=scheme == "redis+cluster") as peer,  # which asks for its slots
        store_at(peer.url.replace("redis", scheme), face) as store,
    ):
        with pytest.raises((StoreUnavailableError, AmbiguousWriteError), match="no answer in time"):
            ends(lambda: store.store_many(contents))


@pytest.mark.parametrize("face", FACES)
def test_a_call_ends_where_a_server_has_stopped(ends, face) -> None:
    with Server(binary_of("valkey"), tcp=True) as server, store_at(server.tcp_url, face, retry_for=0.2) as store:
        store.store(b"x", run_id="a")
        server.pause()
        try:
            for operation in OPERATIONS.values():
                with pytest.raises((StoreUnavailableError, AmbiguousWriteError), match="no answer in time"):
                    ends(lambda operation=operation: operation(store))
        finally:
            server.resume()
        assert store.load(ID).content == b"x"


@pytest.mark.parametrize("face", FACES)
def test_a_call_ends_where_a_node_has_stopped(ends, redis7_cluster: Cluster, namespace, face) -> None:
    with store_at(redis7_cluster.url, face, namespace=namespace, timeout=0.2) as store:
        names = [store.store(b"%d" % n, run_id="a").artifact_id for n in range(30)]
        node = redis7_cluster.primaries()[0]
        node.pause()
        try:
            with pytest.raises(StoreUnavailableError, match="no answer in time"):
                ends(lambda: store.load_many(names))
        finally:
            node.resume()
        redis7_cluster.wait_ok()
        eventually(lambda: len(all_of(store, names)) == 30)


def all_of(store, names: list[str]) -> list[Any]:
    try:
        return [artifact for artifact in store.load_many(names) if artifact is not None]
    except StoreUnavailableError:
        return []


# Walks without end --------------------------------------------------------------------------------------------------


def text(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


TIME = b"*2\r\n" + text(b"1700000000") + text(b"0")

SCRIPT = Script("scan")

CURSORS: dict[str, Callable[[int], int]] = {
    "the same": lambda _: 17,
    "in turn": lambda n: 17 + n % 5,
    "ever more": lambda n: n,
}

WALKS: dict[str, Callable[[Any], Any]] = {
    "list_by_run": lambda s: s.list_by_run("a"),
    "list_runs": lambda s: s.list_runs(),
    "list_all": lambda s: s.list_all(limit=0),
    "search": lambda s: s.search(run_id="a", order="asc"),
    "stats": lambda s: s.stats(),
    "leases": lambda s: s.leases(ID),
    "delete_by_run": lambda s: s.delete_by_run("a"),
    "gc": lambda s: s.gc(dry_run=False, grace=0),
    "check": lambda s: s.check(repair=True, grace=0),
}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("cursor", CURSORS)
def test_a_walk_that_a_server_never_ends_is_ended(ends, monkeypatch, cursor, face) -> None:
    """Every SCAN goes on, every page is full, and all of it could be a server's."""
    if cursor == "ever more":
        monkeypatch.setattr("coatcheck.backends.redis.finding.walking._MOST", 8)
    asked = iter(range(1, 10**9))
    member = bytes.fromhex(ID)
    page = b"*1000\r\n" + (text(member) + text(b"1700000000000000")) * 500

    def answer(words: Words) -> bytes:
        name, number = words[0].upper(), text(b"%d" % CURSORS[cursor](next(asked)))
        if name == b"SCAN":
            return b"*2\r\n%b*1\r\n%b" % (number, text(b"coatcheck:artifact:" + ID.encode()))
        if name == b"ZSCAN":
            return b"*2\r\n%b*2\r\n%b%b" % (
                number,
                text(b"a" if words[1].endswith(b":runs") else member),
                text(b"9e15"),
            )
        if SCRIPT.digest in words:
            return b"*3\r\n:1\r\n%b%b" % (number, text(member))
        if name == b"ZRANGE":
            count = int(words[3]) + 1
            return page if words[-1] == b"WITHSCORES" else b"*%d\r\n" % count + text(member) * count
        if name == b"TIME":
            return TIME
        return b"*2\r\n%b%b" % (text(b"\x02" + bytes(40)), number)  # leases: there are more

    with Peer(answer) as peer, store_at(peer.url, face, timeout=5) as store:
        for walk in WALKS.values():
            with pytest.raises(StoreUnavailableError, match="unexpected reply|answered a question"):
                ends(lambda walk=walk: walk(store))


# Cancelled and interrupted ------------------------------------------------------------------------------------------

SOON = 4.0
"""Seconds within which a call that was let go is surely over; a new connection alone would be waited for longer."""

PATIENT = {"timeout": 60, "retry_for": 60}
"""Whoever is not let go hangs."""

TINY = Chunking(size=10_000, threshold=20_000, window=1)
LARGE = shake_128(b"large").digest(200_000)


class Interrupt(BaseException):
    """As gevent's Timeout and KeyboardInterrupt: no Exception."""


@pytest.fixture
def interrupts() -> Iterator[Callable[[], None]]:
    """Call it from a thread: what the main thread does is interrupted; if that goes on for long, the test fails."""

    def first(*_: object) -> None:
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, SOON)
        raise Interrupt

    def late(*_: object) -> None:
        raise AssertionError("it went on after the interrupt")

    before = signal.signal(signal.SIGALRM, first)
    yield lambda: os.kill(os.getpid(), signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


class Moment:
    """When something is to be interrupted: a while after it was reached."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.act: Callable[[], None] = lambda: None
        self._timer = threading.Timer(0.05, lambda: self.act())

    def __call__(self) -> None:
        if not self.reached.is_set():
            self.reached.set()
            self._timer.start()


def interrupted(call: Callable[[RedisArtifactStore], Any], store, moment: Moment, interrupts) -> None:
    moment.act = interrupts
    with pytest.raises(Interrupt):
        call(store)
    assert moment.reached.is_set()


def cancelled(call: Callable[[Any], Any], make: Callable[[], AsyncRedisArtifactStore], moment: Moment) -> None:
    async def main() -> None:
        async with make() as store:
            task = asyncio.ensure_future(call(store))
            loop = asyncio.get_running_loop()
            moment.act = lambda: loop.call_soon_threadsafe(task.cancel)
            await asyncio.wait({task}, timeout=SOON)
            assert moment.reached.is_set()
            assert task.cancelled()

    asyncio.run(main())


PHASES = ["login", "exchange", "drip", "send", "pause", "discovery", "sentinel"]


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("phase", PHASES)
def test_a_call_is_let_go_at_every_step(interrupts, phase, face) -> None:
    moment = Moment()
    contents = [shake_128(b"%d" % n).digest(250_000) for n in range(60)]
    peer_of: list[Peer] = []

    def answer(words: Words) -> bytes | Iterable[bytes] | None:
        if words[0].upper() == b"CLUSTER" and phase != "discovery":
            return peer_of[0].slots()
        moment()
        if phase == "pause":
            return b"-LOADING it is loading\r\n"
        return drips(peer_of[0].stopping) if phase == "drip" else None

    with Peer(answer, login=phase != "login") as peer:
        peer_of.append(peer)
        scheme = {"discovery": "redis+cluster", "sentinel": "redis+sentinel"}.get(phase, "redis")
        url = peer.url.replace("redis", scheme) + ("/service" if phase == "sentinel" else "")

        def call(store: Any) -> Any:
            if phase == "send":
                peer.read = 0
                moment()
                return store.store_many(contents)
            return store.store(b"x")

        if face == "sync":
            with RedisArtifactStore(url, **PATIENT) as store:
                interrupted(call, store, moment, interrupts)
        else:
            cancelled(call, lambda: AsyncRedisArtifactStore(url, **PATIENT), moment)


LONG: dict[str, Callable[[Any, Any], Any]] = {
    "store_file": lambda s, told: s.store_file(io.BytesIO(LARGE), progress=told),
    "touch": lambda s, _: s.touch(compute_artifact_id(LARGE), 600, "a"),
    "acquire": lambda s, _: s.find_missing([compute_artifact_id(LARGE)], ttl=600, run_id="b"),
}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("what", LONG)
def test_uploads_and_what_they_clean_up_are_let_go(interrupts, what, face) -> None:
    """The server stops in the middle, so that cleaning up gets no answer either."""
    moment = Moment()
    with Server(binary_of("valkey"), tcp=True) as server:
        if what != "store_file":
            with RedisArtifactStore(server.url) as store:
                chunk(store, TINY).store(LARGE, run_id="a", ttl=60)

        def stop(*_: object) -> None:
            if not moment.reached.is_set():
                server.pause()
            moment()

        def told(_: int, total: int | None) -> None:
            if total is not None:  # chunks are on their way
                stop()

        def stopping_at_follow(store: Any) -> Any:
            """The hold is there when the server stops."""
            transport = store._operations.backend.session.transport
            send, sent = transport.send, []

            def watch(parts: Any) -> Any:
                sent.append(parts)
                if what != "store_file" and len(sent) == 4:
                    stop()
                return send(parts)

            transport.send = watch
            return chunk(store, TINY)

        def call(store: Any) -> Any:
            return LONG[what](stopping_at_follow(store), told)

        try:
            if face == "sync":
                with RedisArtifactStore(server.tcp_url, **PATIENT) as store:
                    interrupted(call, store, moment, interrupts)
            else:
                cancelled(call, lambda: AsyncRedisArtifactStore(server.tcp_url, **PATIENT), moment)
        finally:
            server.resume()
        with server.client() as client:
            eventually(lambda: len(client.client_list()) == 1)
        with RedisArtifactStore(server.url) as store:  # nothing stands in the way of the next
            chunk(store, TINY).store(LARGE, run_id="a")
            assert store.load(compute_artifact_id(LARGE)).content == LARGE


GEVENT = """
from gevent import monkey
monkey.patch_all()
import gevent, random, sys
from coatcheck import RedisArtifactStore
from coatcheck.testing import Server, eventually
from tests.conftest import binary_of

with Server(binary_of("valkey"), tcp=True) as server, RedisArtifactStore(server.tcp_url) as store:
    ended = []

    def work(n):
        try:
            with gevent.Timeout(0.0005 * (n % 60)):
                while True:
                    store.load(store.store(b"%d" % (n % 7), run_id="a").artifact_id)
        except gevent.Timeout:
            ended.append(n)

    workers = [gevent.spawn(work, n) for n in range(1, 200)]
    gevent.sleep(0.01)
    server.pause()
    gevent.joinall(workers, timeout=20)
    server.resume()
    assert len(ended) == 199, len(ended)
    assert store.load_text(store.store_text("well").artifact_id) == "well"
    assert store.check(read_data=True).problems == []
    with server.client() as client:
        eventually(lambda: len(client.client_list()) <= 1 + 199)
    idle = store._operations.backend.session.transport.node(0)._idle
    assert all(wire.usable for wire in idle)
print("well")
"""


def test_time_limits_of_gevent_leak_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GEVENT], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "well\n", done.stderr


# Logins -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    ("refusal", "error"),
    [(b"-WRONGPASS no\r\n", StoreAccessError), (b"-ERR invalid DB index\r\n", StoreAccessError)],
)
def test_a_login_that_is_refused_is_not_tried_again(face, refusal, error) -> None:
    logins = []

    def answer(words: Words) -> bytes:
        logins.append(words[0])
        return refusal

    with Peer(answer, login=False) as peer:
        with store_at(peer.url.replace("//", "//user:secret@") + "/3", face, **PATIENT) as store:
            with pytest.raises(error):
                store.load(ID)
        assert logins == [b"AUTH", b"SELECT", b"HELLO"]
        assert peer.connections == 1


@pytest.mark.parametrize("face", FACES)
def test_each_try_logs_in_once(face) -> None:
    with Peer(lambda _: b"-LOADING it\r\n") as peer:
        with store_at(peer.url, face, retry_for=0.1, timeout=5) as store:
            with pytest.raises(StoreUnavailableError, match="no usable server: it"):
                store.store(b"x")
        assert peer.connections == 1


@pytest.mark.parametrize("face", FACES)
def test_a_busy_login_is_waited_for(face) -> None:
    answers = iter([b"-BUSY a script\r\n", b"-BUSY a script\r\n", b"-LOADING\r\n", b"-MASTERDOWN\r\n"])

    def answer(words: Words) -> bytes:
        if words[0] == b"AUTH":
            return next(answers, b"+OK\r\n")
        return {b"HELLO": b"*0\r\n", b"ZSCAN": b"*2\r\n$1\r\n0\r\n*0\r\n"}.get(words[0], TIME)

    with Peer(answer, login=False) as peer, store_at(peer.url.replace("//", "//:secret@"), face, retry_for=9) as store:
        assert store.list_runs() == []
        assert peer.connections == 5


# What is told then --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("refusal", [b"-BUSY a script\r\n", b"-LOADING it\r\n", b"-TRYAGAIN later\r\n"])
def test_a_write_that_was_refused_is_not_in_doubt_because_a_question_was_answered(face, refusal) -> None:
    """The first call of a store also asks what the server evicts."""
    with (
        Peer(lambda words: text(b"noeviction") if words[0] == b"EVAL" else refusal) as peer,
        store_at(peer.url, face, retry_for=0.05, timeout=5) as store,
    ):
        with pytest.raises(StoreUnavailableError) as caught:
            store.store(b"x")
        assert not isinstance(caught.value, AmbiguousWriteError)


@pytest.mark.parametrize(
    ("refusal", "error", "reason"),
    [
        (b"-BUSY a script", StoreUnavailableError, "no usable server: BUSY"),
        (b"-LOADING the data", StoreUnavailableError, "no usable server"),
        (b"-NOPERM this user has no permissions to run the 'waitaof' command", StoreAccessError, "lacks a permission"),
        (b"-ERR WAITAOF cannot be used with replica instances. Please", StoreUnavailableError, "read-only replica"),
        (b"-ERR WAITAOF cannot be used when numlocal is set but appendonly", InvalidArtifactError, "appendonly yes"),
        (b"-ERR unknown command 'WAITAOF'", InvalidArtifactError, "Redis 7.2"),
    ],
)
def test_why_a_durability_cannot_be_had_is_told(refusal, error, reason) -> None:
    with Peer(lambda words: b"+PONG\r\n" if words[0] == b"PING" else refusal + b"\r\n") as peer:
        with pytest.raises(error, match=reason):
            RedisArtifactStore(peer.url, durability="fsync", retry_for=0)
