"""Wires over a pair of sockets: many large replies are asked for one by one."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import itertools
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from typing import Any

import pytest
import uvloop

from coatcheck.backends.redis.content.arriving import Arrived, ArrivingChunks
from coatcheck.backends.redis.transport.replies import MalformedError
from coatcheck.backends.redis.transport.wire import AsyncWire, Wire

uvloop.new_event_loop().close()  # libuv keeps a pipe for signals as long as the process lives: no leak of a test

COUNT, SIZE = 11, 100_000
ASKS = [b"GET %02d\n" % n for n in range(COUNT)]


class Server:
    """Answers one question after the other, and counts what was asked before each answer."""

    def __init__(self, sock: socket.socket, end: bytes = b"\r\n") -> None:
        self.asked: list[int] = []
        self._sock, self._end = sock, end
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        seen = b""
        for n in range(COUNT):
            time.sleep(0.002)  # whoever asks for more than they should has time to
            while len(seen) < (n + 1) * len(ASKS[0]):
                if not (some := self._sock.recv(1000)):
                    return
                seen += some
            self.asked.append(len(seen) // len(ASKS[0]))
            try:
                self._sock.sendall(b"$%d\r\n%b%b" % (SIZE, b"%c" % n * SIZE, self._end))
            except OSError:  # hung up
                return

    def join(self) -> None:
        self._sock.close()
        self._thread.join()


def blocking(ours: socket.socket, arriving: ArrivingChunks) -> list[object]:
    with closing(Wire(ours, 20)) as wire:
        wire.send(list(ASKS), COUNT, time.monotonic(), arriving.make)
        return wire.receive()


def awaited(ours: socket.socket, arriving: ArrivingChunks) -> list[object]:
    async def main() -> list[object]:
        _, writer = await asyncio.open_connection(sock=ours)
        with closing(AsyncWire(writer, 20)) as wire:
            return await wire.exchange(list(ASKS), COUNT, arriving.make)

    return asyncio.run(main())


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("exchange", [blocking, awaited])
def test_large_replies_are_asked_for_as_they_come(pair, exchange) -> None:
    buffer = memoryview(bytearray(COUNT * SIZE + 2))
    server = Server(pair[1])
    try:
        replies = exchange(pair[0], ArrivingChunks(buffer, [SIZE] * COUNT, None, checked=True))
    finally:
        server.join()
    assert all(type(reply) is Arrived for reply in replies)
    assert bytes(buffer[:-2]) == b"".join(b"%c" % n * SIZE for n in range(COUNT))
    assert max(asked - n for n, asked in enumerate(server.asked)) == 4
    assert server.asked[-1] == COUNT


@pytest.mark.parametrize("exchange", [blocking, awaited])
def test_a_chunk_longer_than_announced_is_no_reply(pair, exchange) -> None:
    server = Server(pair[1], b"xx")
    try:
        with pytest.raises(MalformedError, match="longer than announced"):
            exchange(
                pair[0], ArrivingChunks(memoryview(bytearray(COUNT * SIZE + 2)), [SIZE] * COUNT, None, checked=True)
            )
    finally:
        pair[0].close()
        server.join()


def test_what_the_server_has_not_taken_waits_with_us(pair) -> None:
    content = bytes(8 * 1024 * 1024)

    async def main() -> tuple[int, int, list[object]]:
        loop = asyncio.get_running_loop()
        _, writer = await asyncio.open_connection(sock=pair[0])
        pair[1].setblocking(False)
        with closing(AsyncWire(writer, 20)) as wire:
            sending = asyncio.ensure_future(wire.exchange([content], 1))
            taken, waiting = 0, 0
            while taken < len(content):
                some = await loop.sock_recv(pair[1], 64 * 1024)
                assert some  # else it hung up
                taken += len(some)
                waiting = max(waiting, writer.transport.get_write_buffer_size())
            await loop.sock_sendall(pair[1], b"+OK\r\n")
            return taken, waiting, await sending

    taken, waiting, replies = asyncio.run(main())
    assert (taken, replies) == (len(content), [b"OK"])
    assert waiting <= 192 * 1024  # what asyncio has when it says that it is full, and what it is given at a time


@pytest.mark.parametrize("pipeline", [iter, list], ids=["one by one", "together"])
def test_what_the_server_takes_slowly_ends_at_the_deadline(pair, pipeline) -> None:
    def take() -> None:
        with suppress(OSError):
            while pair[1].recv(32 * 1024):
                time.sleep(0.01)

    taking = threading.Thread(target=take)
    taking.start()
    try:
        with closing(Wire(pair[0], 0.5)) as wire, pytest.raises(TimeoutError):
            wire.send(pipeline([bytes(4 * 1024 * 1024)] * 2), 1, time.monotonic())
    finally:
        pair[0].close()
        taking.join()


def test_what_comes_late_comes_all_the_same(pair) -> None:
    def answer() -> None:
        for pause in (0, 0.05, 0):
            assert pair[1].recv(100)
            time.sleep(pause)
            pair[1].sendall(b"+OK\r\n")

    answering = threading.Thread(target=answer)
    answering.start()
    with closing(Wire(pair[0], 20)) as wire:
        for _ in range(3):
            wire.send([b"PING"], 1, time.monotonic())
            assert wire.receive() == [b"OK"]
    answering.join()


class OtherSocket:
    """A socket that waits in a way of its own, as gevent's do: it knows nothing of the kernel's timeouts."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def settimeout(self, timeout: float | None) -> None:
        assert timeout is not None, "it waits for ever"
        self._sock.settimeout(timeout)


class ByteByByte(OtherSocket):
    """A socket that takes one byte a call."""

    def send(self, buffer: Any) -> int:
        return self._sock.send(buffer[:1])

    def sendmsg(self, buffers: Any) -> int:
        return self.send(buffers[0])


@pytest.mark.parametrize("pipeline", [iter, list], ids=["one by one", "together"])
def test_what_is_taken_without_a_pause_ends_at_the_deadline(pair, pipeline, monkeypatch) -> None:
    clock = map(float, itertools.count())  # a second passes whenever somebody looks
    monkeypatch.setattr("coatcheck.backends.redis.transport.wire.monotonic", lambda: next(clock))
    with closing(Wire(ByteByByte(pair[0]), 20)) as wire, pytest.raises(TimeoutError):
        wire.send(pipeline([bytes(50)] * 2), 1, 0.0)


class OtherSystem(socket.socket):
    """A socket of a system that takes no such timeouts."""

    def setsockopt(self, *_: object) -> None:  # type: ignore[override]
        raise OSError(errno.EINVAL, "Invalid argument")

    def settimeout(self, timeout: float | None) -> None:
        assert timeout is not None, "it waits for ever"
        super().settimeout(timeout)


def on_another_system(sock: socket.socket) -> OtherSystem:
    return OtherSystem(sock.family, sock.type, fileno=sock.detach())


@pytest.mark.parametrize(
    "kind", [lambda sock: sock, OtherSocket, on_another_system], ids=["system", "other", "other system"]
)
@pytest.mark.parametrize("pause", [0.001, 0.02, 20], ids=["quick drops", "slow drops", "nothing"])
def test_what_never_ends_ends_at_the_deadline(pair, kind, pause) -> None:
    ended = threading.Event()

    def drip() -> None:
        give_up_at = time.monotonic() + 20
        with suppress(OSError):
            pair[1].sendall(b"+")
            while not ended.wait(pause) and time.monotonic() < give_up_at:
                pair[1].sendall(b"k")
        pair[1].close()

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        with closing(Wire(kind(pair[0]), 0.3)) as wire, pytest.raises(TimeoutError):
            wire.send([b"PING"], 1, time.monotonic())
            wire.receive()
    finally:
        ended.set()
        dripping.join()


def test_signals_put_no_deadline_off(pair) -> None:
    give_up_at, signalled = time.monotonic() + 20, []

    def handle(*_: object) -> None:
        signalled.append(time.monotonic())
        assert signalled[-1] < give_up_at

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        with closing(Wire(pair[0], 0.3)) as wire, pytest.raises(TimeoutError):
            wire.send([b"PING"], 1, time.monotonic())
            wire.receive()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert signalled


def test_a_server_that_hangs_up_ends_what_waits_to_be_sent(pair) -> None:
    async def main() -> None:
        _, writer = await asyncio.open_connection(sock=pair[0])
        with closing(AsyncWire(writer, 20)) as wire:
            sending = asyncio.ensure_future(wire.exchange([bytes(8 * 1024 * 1024)], 1))
            await asyncio.sleep(0.01)  # it waits for room
            pair[1].close()
            with pytest.raises(OSError, match="closed|reset|pipe"):
                await asyncio.wait_for(sending, 30)

    asyncio.run(main())


@pytest.mark.parametrize(("seconds", "ended"), [(25, False), (50, True)])
def test_an_exchange_ends_at_its_own_deadline_and_not_at_that_of_another(pair, seconds, ended) -> None:
    async def main() -> list[object]:
        loop = asyncio.get_running_loop()
        clock, passed = loop.time, [0]
        loop.time = lambda: clock() + passed[0]  # type: ignore[method-assign]
        _, writer = await asyncio.open_connection(sock=pair[0])
        with closing(AsyncWire(writer, 20)) as wire:
            for first in (True, False):
                exchange = asyncio.ensure_future(wire.exchange([b"PING"], 1))
                await asyncio.sleep(0)
                passed[0] = 15 if first else seconds
                await asyncio.sleep(0.01)  # an alarm goes off
                with suppress(BrokenPipeError):  # it ended
                    pair[1].sendall(b"+OK\r\n")
                replies = await exchange
            return replies

    with pytest.raises(TimeoutError) if ended else nullcontext():
        assert asyncio.run(main()) == [b"OK"]


def arrive(wire: AsyncWire, data: bytes) -> None:
    """What the event loop does when something comes."""
    wire.get_buffer(-1)[: len(data)] = data
    wire.buffer_updated(len(data))


def test_a_task_goes_on_as_itself_as_soon_as_its_replies_are_there(pair) -> None:
    said: contextvars.ContextVar[str] = contextvars.ContextVar("said", default="nothing")
    problems = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))
        _, writer = await asyncio.open_connection(sock=pair[0])
        with closing(AsyncWire(writer, 20)) as wire:

            async def ask() -> tuple[object, str, object]:
                said.set("something")
                replies = [await wire.exchange([b"PING"], 1) for _ in range(2)]
                return replies, said.get(), asyncio.current_task()

            task = asyncio.create_task(ask())
            await asyncio.sleep(0)
            done = asyncio.get_running_loop().create_future()

            def serve() -> None:
                for reply in (b"+1\r\n", b"+2\r\n"):  # the second question is asked before the loop's next turn
                    arrive(wire, reply)
                done.set_result(task.done())

            asyncio.get_running_loop().call_soon(serve)
            assert await done
            assert task.result() == ([[b"1"], [b"2"]], "something", task)

    asyncio.run(main())
    assert problems == []


@pytest.mark.parametrize("cancelled_first", [False, True])
def test_a_task_that_is_cancelled_as_its_replies_come_ends_once(pair, cancelled_first) -> None:
    async def main() -> None:
        _, writer = await asyncio.open_connection(sock=pair[0])
        with closing(AsyncWire(writer, 20)) as wire:
            reached = []

            async def ask() -> None:
                await wire.exchange([b"PING"], 1)
                reached.append(True)
                await asyncio.sleep(10)

            task = asyncio.create_task(ask())
            await asyncio.sleep(0)
            both = [task.cancel, lambda: arrive(wire, b"+OK\r\n")]
            for act in both if cancelled_first else reversed(both):
                asyncio.get_running_loop().call_soon(act)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert reached == ([] if cancelled_first else [True])

    asyncio.run(main())


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_leaves_the_event_loop(pair, error, new_loop) -> None:
    went_on = []

    def go_on() -> None:
        went_on.append(True)
        asyncio.get_running_loop().stop()

    async def main() -> None:
        _, writer = await asyncio.open_connection(sock=pair[0])
        with closing(AsyncWire(writer, 20)) as wire:
            asyncio.get_running_loop().call_later(20, go_on)  # else it would go on for ever
            pair[1].sendall(b"+OK\r\n")
            await wire.exchange([b"PING"], 1)
            raise error

    with asyncio.Runner(loop_factory=new_loop) as runner, pytest.raises(error):
        runner.run(main())
    assert not went_on
