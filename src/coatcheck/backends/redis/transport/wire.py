"""Wires: one connection to a server each, blocking or awaited, with a deadline for every exchange on it.

redis-py connects; from then on its socket is read and written here.
"""

from __future__ import annotations

import _socket
import asyncio
import socket
import ssl
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from .replies import Large, Replies
from .resp import Piece

_AHEAD: Final = 4  # large replies that are asked for at a time; others get their turn at the server between them
_AT_ONCE: Final = 128 * 1024  # bytes that asyncio is given at a time: it copies what the socket does not take
_TOGETHER: Final = 64  # buffers that go out in one call; systems take 1,024
_SOON: Final = 0.005  # seconds; scheduling and most replies take less
_EXACT: Final = 0.01  # seconds by which a deadline may be missed, to spare system calls
_TRUSTED: Final = 1.0  # seconds after an exchange in which nobody looks whether the connection still stands
_CLOSED: Final = "the server closed the connection"


class Wire:
    """A blocking connection.

    For what comes soon, as most replies do, the kernel waits. Python's timeouts take a `poll` before each call of the
    socket: they hold from then on, and always with TLS and with sockets that are not the system's.

    Args:
        sock: A connected socket; it is the wire's own from here on.
        timeout: Seconds for one exchange.
    """

    __slots__ = ("_deadline", "_gathers", "_later", "_limit", "_replies", "_socket", "_soon", "_trusted", "timeout")

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self._socket = sock
        self._gathers = not isinstance(sock, ssl.SSLSocket)
        self._soon = self._gathers and _waits_by_kernel(sock)
        self.timeout = timeout
        self._replies = Replies()
        self._later: Sequence[Piece] = ()
        self._deadline = 0.0
        self._trusted = 0.0  # when somebody has to look whether the connection still stands
        self._limit = 0.0  # seconds for the next call of the socket

    def send(
        self,
        buffers: Iterable[Piece],
        count: int,
        start: float,
        make_large: Callable[[int], Large] | None = None,
        within: float | None = None,
    ) -> None:
        """Send a pipeline that has so many replies, in the time that runs since `start`, or `within` less.

        `make_large`: see `Replies.expect`. Where it is given, a list of buffers is one of questions, which are asked
        one by one as the answers come.

        Raises:
            OSError: The connection broke, or the time is up.
        """
        self._replies.expect(count, make_large)
        self._deadline = start + (self.timeout if within is None else min(within, self.timeout))
        self._trusted = start + _TRUSTED
        if not self._soon:
            if self._limit < self.timeout - _EXACT:
                self._be_patient()
        elif self._limit != _SOON:
            self._socket.settimeout(None)
            self._limit = _SOON
        if isinstance(buffers, list) and len(buffers) > 1:
            if make_large is not None:
                buffers, self._later = buffers[:_AHEAD], buffers[_AHEAD:]
            if self._gathers:
                self._send_together(buffers)
                return
        for buffer in buffers:
            self._send_one(buffer)

    def _send_one(self, buffer: Piece) -> None:
        while True:
            try:
                sent = self._socket.send(buffer)
            except BlockingIOError:  # not soon
                self._be_patient()
                continue
            if sent == len(buffer):
                return
            buffer = memoryview(buffer)[sent:]
            self._hurry()

    def _send_together(self, buffers: Sequence[Piece]) -> None:
        """Several buffers in one call of the system: the server wakes up once."""
        waiting = [memoryview(buffer) for buffer in buffers]
        first = 0
        while first < len(waiting):
            try:
                sent = self._socket.sendmsg(waiting[first : first + _TOGETHER])
            except BlockingIOError:  # not soon
                self._be_patient()
                continue
            while first < len(waiting) and sent >= len(waiting[first]):
                sent -= len(waiting[first])
                first += 1
            if first < len(waiting):
                waiting[first] = waiting[first][sent:]
                self._hurry()

    def receive(self) -> list[Any]:
        """All replies of the pipeline that was sent, error replies in place.

        Raises:
            OSError: The connection broke, or the time is up.
            MalformedError: What came is not what a server replies.
        """
        replies, receive = self._replies, self._socket.recv_into
        if self._limit != _SOON:
            self._hurry()
        while True:
            try:
                size = receive(replies.space())
            except BlockingIOError:  # not soon
                self._be_patient()
                continue
            if size == 0:
                raise ConnectionResetError(_CLOSED)
            if replies.took(size):
                return replies.all()
            self._hurry()
            while len(self._later) > max(0, replies.missing - _AHEAD):
                self._send_one(self._later[0])
                self._later = self._later[1:]

    def _be_patient(self) -> None:
        """Let Python's timeouts hold, for as long as there is time."""
        self._limit = self.timeout + _EXACT
        self._hurry()

    def _hurry(self) -> None:
        """Let the next call of the socket take no longer than there is time."""
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        if left < self._limit - _EXACT:
            self._socket.settimeout(left)
            self._limit = left

    @property
    def usable(self) -> bool:
        """Whether nothing came on it since: an end, or what nobody asked for. Looked for after some idle time only."""
        return monotonic() < self._trusted or self._is_silent()

    def _is_silent(self) -> bool:
        self._socket.settimeout(0.0)
        self._limit = 0.0
        try:
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Close it, in whatever state."""
        self._socket.close()

    def __del__(self) -> None:
        self._socket.close()  # whoever held it was interrupted, or never closed its store


def _waits_by_kernel(sock: socket.socket) -> bool:
    """Let a socket without a timeout of Python's wait for `_SOON`; whether it does."""
    if sys.platform == "win32" or not isinstance(sock, _socket.socket):  # gevent and others have sockets of their own
        return False
    try:
        for side in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, side, struct.pack("ll", 0, int(_SOON * 1_000_000)))
    except OSError:  # 32-bit systems whose times have 64 bits write them otherwise
        return False
    return True


class AsyncWire(asyncio.BufferedProtocol):
    """A connection of asyncio.

    Args:
        writer: Of a connection; it is the wire's own from here on.
        timeout: Seconds for one exchange.

    Attributes:
        loop: The event loop that it lives on.
    """

    def __init__(self, writer: asyncio.StreamWriter, timeout: float) -> None:
        self.timeout = timeout
        self._writer = writer  # which closes the connection when it is deleted
        self._transport = writer.transport
        self.loop = asyncio.get_running_loop()
        self._replies = Replies()
        self._later: Sequence[Piece] = ()
        self._waiting: asyncio.Future[None] | None = None
        self._full: asyncio.Future[None] | None = None  # until asyncio has room for more
        self._failure: BaseException | None = None
        self._deadline = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._transport.set_protocol(self)

    async def exchange(
        self, buffers: Iterable[Piece], count: int, make_large: Callable[[int], Large] | None = None
    ) -> list[Any]:
        """Send a pipeline and return its replies; see `Wire`."""
        self._replies.expect(count, make_large)
        if self._failure is not None:
            raise self._failure
        waiting: asyncio.Future[None] = asyncio.Future(loop=self.loop)
        self._waiting = waiting
        self._deadline = self.loop.time() + self.timeout
        if self._alarm is None:
            self._alarm = self.loop.call_at(self._deadline, self._check_time)
        try:
            if isinstance(buffers, list):
                self._later = ()
                if make_large is not None and len(buffers) > _AHEAD:
                    buffers, self._later = buffers[:_AHEAD], buffers[_AHEAD:]
                for buffer in buffers:
                    if len(buffer) <= _AT_ONCE and self._full is None:
                        self._transport.write(buffer)
                    else:
                        await self._write(buffer)
            else:  # making them takes time
                pieces = iter(buffers)
                while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                    await self._write(piece)
            await waiting
        finally:
            self._waiting = None
        return self._replies.all()

    async def _write(self, buffer: Piece) -> None:
        """Send as fast as the socket takes it: what waits in asyncio is copied, and takes memory."""
        rest = memoryview(buffer)
        while rest and self._failure is None:
            if self._full is not None:
                await self._full
                continue
            self._transport.write(rest[:_AT_ONCE])
            rest = rest[_AT_ONCE:]

    @property
    def usable(self) -> bool:
        """See `Wire`; the event loop notices by itself."""
        return self._failure is None

    def close(self) -> None:
        """Close it, in whatever state, on its own loop or when that is closed."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self.loop.is_closed():
            with suppress(OSError):
                self._transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        else:
            self._transport.abort()

    # What the event loop calls ---------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # as much as fits
        return self._replies.space()

    def buffer_updated(self, nbytes: int) -> None:
        replies = self._replies
        in_place = replies.in_place
        try:
            complete = replies.took(nbytes)
        except Exception as error:  # noqa: BLE001  # for whoever waits
            self._fail(error)
            return
        if complete:
            if self._waiting is None or self._waiting.done():
                return
            if in_place:  # the event loop holds its memory until this returns
                self._waiting.set_result(None)
            else:
                _let_go_on(self._waiting)
            return
        while len(self._later) > max(0, replies.missing - _AHEAD):
            self._transport.write(self._later[0])
            self._later = self._later[1:]

    def pause_writing(self) -> None:
        self._full = self.loop.create_future()

    def resume_writing(self) -> None:
        if self._full is not None and not self._full.done():  # whoever waited may be gone
            self._full.set_result(None)
        self._full = None

    def eof_received(self) -> None:
        self._fail(ConnectionResetError(_CLOSED))

    def connection_lost(self, exc: BaseException | None) -> None:
        self._fail(exc or ConnectionResetError(_CLOSED))

    def _check_time(self) -> None:
        """The alarm of some exchange, perhaps of an earlier one."""
        self._alarm = None
        if self._waiting is None:
            return
        if self.loop.time() < self._deadline:
            self._alarm = self.loop.call_at(self._deadline, self._check_time)
        else:
            self._fail(TimeoutError())

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
            self._transport.abort()
        self.resume_writing()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(self._failure)


def _let_go_on(waiting: asyncio.Future[None]) -> None:
    """Let the task that waits go on now, and not in the next turn of its event loop, which asks the selector again.

    Only as the last thing that a callback of the loop does: this returns when the task waits for something else.
    """
    callbacks = getattr(waiting, "_callbacks", None)  # no part of its interface tells who waits
    if not callbacks or asyncio.current_task(waiting.get_loop()) is not None:  # nobody yet; or a task is what reads
        waiting.set_result(None)
        return
    callback, context = callbacks[0]
    waiting.remove_done_callback(callback)
    waiting.set_result(None)
    try:
        context.run(callback, waiting)
    except BaseException as error:  # noqa: BLE001  # ends the program; uvloop's transports would keep it to themselves
        waiting.get_loop().call_soon(_end, error)


def _end(error: BaseException) -> None:
    raise error
