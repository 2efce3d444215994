"""Nodes of a store that was opened by URL: where the wires to one server wait between pipelines.

Wires are taken and given back so that an interrupt at any point closes them: one that nobody holds any more is closed
by the garbage collector, and nothing here counts wires but how many tasks of an event loop may have one. Threads have
as many as they need: redis-py's pools raise beyond 100, and take 20 µs of every call.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Generic, TypeVar

from redis.exceptions import AuthenticationError, ResponseError

from .replies import MalformedError
from .resp import merge, pack
from .wire import AsyncWire, Wire

T = TypeVar("T")


class Login:
    """What is said first on each wire, in one round trip: who we are; and the question whether this is a server.

    HELLO needs no permission, is answered while a script keeps the server busy, and changes nothing.

    Args:
        settings: Those of redis-py.

    Attributes:
        within: Seconds to connect, and seconds to be answered.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.within: float = settings["socket_connect_timeout"]
        user, password = settings.get("username"), settings.get("password")
        commands: list[tuple[str, ...]] = []
        if user or password:
            commands.append(("AUTH", user, password or "") if user else ("AUTH", password or ""))
        if name := settings.get("client_name"):
            commands.append(("CLIENT", "SETNAME", name))
        if database := settings.get("db"):
            commands.append(("SELECT", str(database)))
        commands.append(("HELLO",))
        self.count = len(commands)
        self.buffers = list(merge([pack([word.encode() for word in command]) for command in commands]))

    def check(self, replies: Sequence[Any]) -> None:
        """See whether we are let in.

        Raises:
            RedisError: We are not.
            MalformedError: This is no Redis server.
        """
        *answers, hello = replies
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        if isinstance(hello, AuthenticationError) or not isinstance(hello, ResponseError | list):
            raise hello if isinstance(hello, Exception) else MalformedError("no answer to HELLO")


class _Own:
    """What blocking and asyncio nodes have in common.

    Args:
        name: See `Node`.
        trust: See `Node`.
        make: Makes a connection of redis-py that does not log in.
        login: Said on each new wire.
        timeout: Seconds for one exchange.
    """

    spare = True

    def __init__(self, name: str, trust: str, make: Callable[[], Any], login: Login, timeout: float) -> None:
        self.name = name
        self.trust = trust
        self.incarnation = object()
        self._make = make
        self._login = login
        self._timeout = timeout
        self._closed = False


class Own(_Own):
    """Blocking wires, the last one used first. `list.pop` and `list.append` are atomic: threads need no lock."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._idle: list[Wire] = []
        self._process = os.getpid()

    def take(self, within: float | None = None) -> Wire:
        if self._process != os.getpid():  # forked: the wires are the parent's
            self.forget_idle()
            self._process = os.getpid()
        wire: Wire | None
        try:
            while not (wire := self._idle.pop()).usable:
                wire.close()
        except IndexError:  # none is left
            wire = None
        return self._connect(within) if wire is None else wire

    def _connect(self, within: float | None) -> Wire:
        connection = self._make()
        limit = self._login.within if within is None else min(within, self._login.within)
        try:
            connection.socket_connect_timeout = connection.socket_timeout = limit
            connection.connect()
            sock, connection._sock = connection._sock, None  # noqa: SLF001  # no part of its interface is lean
            wire = Wire(sock, limit)
        except BaseException:
            connection.disconnect()
            raise
        try:
            wire.send(self._login.buffers, self._login.count, monotonic())
            self._login.check(wire.receive())
        except BaseException:
            wire.close()
            raise
        wire.timeout = self._timeout
        self.incarnation = object()
        return wire

    def give_back(self, wire: Wire, *, clean: bool) -> None:
        if not clean:
            wire.close()
            return
        self._idle.append(wire)
        if self._closed:
            self.forget_idle()

    def forget_idle(self) -> None:
        with suppress(IndexError):  # there may be other threads
            while True:
                self._idle.pop().close()

    def close(self) -> None:
        self._closed = True
        self.forget_idle()


class PerLoop(Generic[T]):
    """One thing for each event loop: what asyncio makes lives on the loop that made it.

    Args:
        make: Makes it on the running loop.
        end: What to do with it when its loop is found closed.
    """

    def __init__(self, make: Callable[[], T], end: Callable[[T], None] = lambda _: None) -> None:
        self._make = make
        self._end = end
        self._things: dict[asyncio.AbstractEventLoop, T] = {}
        self._process = os.getpid()
        self._inherited: object = None

    def __call__(self, loop: asyncio.AbstractEventLoop | None = None) -> T:
        """That of a loop; left out: of the running one, which asyncio asks the system about before Python 3.12."""
        loop = loop or asyncio.get_running_loop()
        try:
            return self._things[loop]
        except KeyError:
            pass
        if self._process != os.getpid():
            # Forked: the parent's loops share their selectors with us. Closing anything of theirs would disturb it.
            self._inherited, self._things, self._process = self._things, {}, os.getpid()
        for other in list(self._things):
            if other.is_closed() and (thing := self._things.pop(other, None)) is not None:
                self._end(thing)
        return self._things.setdefault(loop, self._make())

    def all(self) -> list[tuple[asyncio.AbstractEventLoop, T]]:
        """What there is in this process, by loop."""
        return list(self._things.items()) if self._process == os.getpid() else []


class _Held:
    """The wires of one event loop. They end with it, because it closes the asynchronous generators that it knows.

    Args:
        limit: How many tasks may have one at a time. (A semaphore of asyncio would be awaited where nobody waits, too.)

    Attributes:
        free: How many more may have one now.
        idle: Those that nobody has.
    """

    __slots__ = ("_ending", "_turns", "free", "idle")

    def __init__(self, limit: int) -> None:
        self.idle: list[AsyncWire] = []
        self.free = limit
        self._turns: deque[asyncio.Future[None]] = deque()
        self._ending: Any = _closing_at_the_end(self.idle)
        with suppress(StopIteration):  # it has begun: now the loop knows it
            self._ending.asend(None).send(None)

    def keep(self, wire: AsyncWire) -> None:
        if self._ending.ag_frame is None:
            wire.close()
        else:
            self.idle.append(wire)

    async def turn(self) -> None:
        """Wait for what others take now, the longest first."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            await turn
        except BaseException:
            if not turn.cancelled() and not turn.cancel():  # it came all the same
                self.release()
            raise

    def release(self) -> None:
        """Let in who waits, or whoever comes next."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                return
        self.free += 1

    def forget_idle(self) -> None:
        while self.idle:
            self.idle.pop().close()

    def end(self) -> None:
        """Keep nothing any more; on its own loop."""
        with suppress(StopIteration):  # it has ended
            self._ending.aclose().send(None)


async def _closing_at_the_end(idle: list[AsyncWire]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        while idle:
            idle.pop().close()


class AsyncOwn(_Own):
    """`Own` for asyncio; tasks beyond the limit wait.

    Args:
        *args: See `_Own`.
        limit: Wires at a time on one event loop.
    """

    def __init__(self, *args: Any, limit: int) -> None:
        super().__init__(*args)
        self._held = PerLoop(lambda: _Held(limit), _Held.forget_idle)

    async def take(self, within: float | None = None) -> AsyncWire:  # noqa: ARG002  # the transport looks to that
        held = self._held()
        if held.free:
            held.free -= 1
        else:
            await held.turn()
        try:
            while held.idle:
                if (wire := held.idle.pop()).usable:
                    return wire
            return await self._connect()
        except BaseException:
            held.release()
            raise

    async def _connect(self) -> AsyncWire:
        connection = self._make()
        try:
            async with asyncio.timeout(self._login.within):
                await connection.connect()
            writer, connection._writer = connection._writer, None  # noqa: SLF001  # see Own
            wire = AsyncWire(writer, self._login.within)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        try:
            self._login.check(await wire.exchange(self._login.buffers, self._login.count))
        except BaseException:
            wire.close()
            raise
        wire.timeout = self._timeout
        self.incarnation = object()
        return wire

    def give_back(self, wire: AsyncWire, *, clean: bool) -> None:
        held = self._held(wire.loop)
        held.release()
        if clean and not self._closed:
            held.keep(wire)
        else:
            wire.close()

    def forget_idle(self) -> None:
        """Those of the running loop."""
        self._held().forget_idle()

    async def close(self) -> None:
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, held in self._held.all():
            if loop is here:
                held.end()
            elif loop.is_closed():
                held.forget_idle()
            else:
                with suppress(RuntimeError):  # closed just now
                    loop.call_soon_threadsafe(held.end)
