"""Nodes: where the connections to one server wait between pipelines.

redis-py's pools lock, count and send events on each way in and out: about 20 µs of every call, twice that on asyncio;
and they raise beyond 100 connections. A store that was opened by URL keeps its connections in a plain stack instead;
a caller's own client keeps its pools.

Connections are taken and given back so that an interrupt at any point closes them: one that nobody holds any more is
closed by the garbage collector, and nothing here counts connections but the semaphore of asyncio.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from redis.exceptions import RedisError

T = TypeVar("T")


class Own:
    """Blocking connections, the last one used first. `list.pop` and `list.append` are atomic: threads need no lock.

    Args:
        name: See `Node`.
        trust: See `Node`.
        make: Makes a connection, not connected yet.
    """

    timeout: float | None = None  # its connections have their own

    def __init__(self, name: str, trust: str, make: Callable[[], Any]) -> None:
        self.name = name
        self.trust = trust
        self.incarnation = object()
        self._make = make
        self._idle: list[Any] = []
        self._process = os.getpid()
        self._closed = False

    def take(self) -> Any:
        if self._process != os.getpid():  # forked: the connections are the parent's
            self._idle, self._process = [], os.getpid()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._make()
        else:
            try:
                if not connection.can_read():
                    return connection
            except (RedisError, OSError):
                pass
            connection.disconnect()  # closed by the server, or not read to its end
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        self.incarnation = object()
        return connection

    def give_back(self, connection: Any, *, clean: bool) -> None:
        if not clean:
            connection.disconnect()
            return
        self._idle.append(connection)
        if self._closed:
            self.close()

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().disconnect()


class _Watch:
    """Notices each new connection that somebody else's pool makes."""

    trust = ""
    timeout: float | None = None  # its connections have their own

    def __init__(self, name: str) -> None:
        self.name = name
        self.incarnation = object()
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def _seen(self, connection: Any) -> None:
        if connection not in self._known:
            self._known.add(connection)
            connection.register_connect_callback(self._connected)
            self._connected()

    def _connected(self, _connection: Any = None) -> None:
        self.incarnation = object()


class Borrowed(_Watch):
    """The pool of a caller's client; whoever made it closes it.

    Args:
        name: See `Node`.
        pool: A redis-py pool.
        ours: Whether it is our doing that the pool exists, so that it is ours to close.
    """

    def __init__(self, name: str, pool: Any, *, ours: bool = False) -> None:
        super().__init__(name)
        self._pool = pool
        self._ours = ours

    def take(self) -> Any:
        connection = self._pool.get_connection()
        try:
            self._seen(connection)
        except BaseException:
            self._pool.release(connection)
            raise
        return connection

    def give_back(self, connection: Any, *, clean: bool) -> None:
        try:
            if not clean:
                connection.disconnect()
        finally:
            self._pool.release(connection)

    def close(self) -> None:
        if self._ours:
            self._pool.disconnect()


class PerLoop(Generic[T]):
    """One thing for each event loop: what asyncio makes lives on the loop that made it.

    Args:
        make: Makes it on the running loop.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._things: dict[asyncio.AbstractEventLoop, T] = {}
        self._process = os.getpid()
        self._inherited: object = None

    def __call__(self) -> T:
        loop = asyncio.get_running_loop()
        try:
            return self._things[loop]
        except KeyError:
            pass
        if self._process != os.getpid():
            # Forked: the parent's loops share their selectors with us. Closing anything of theirs would disturb it.
            self._inherited, self._things, self._process = self._things, {}, os.getpid()
        for other in list(self._things):
            if other.is_closed():
                self._things.pop(other, None)
        return self._things.setdefault(loop, self._make())


class _Held:
    """Connections of one event loop."""

    __slots__ = ("free", "idle")

    def __init__(self, limit: int) -> None:
        self.idle: list[Any] = []
        self.free = asyncio.Semaphore(limit)


class AsyncOwn:
    """`Own` for asyncio; tasks beyond the limit wait.

    Args:
        name: See `Node`.
        trust: See `Node`.
        make: Makes a connection, not connected yet.
        limit: Connections at a time on one event loop.
        timeout: Seconds to log in, to send and for each reply. The connections must have no timeout of their own:
            redis-py's would sometimes swallow a cancellation, before Python 3.12.
    """

    def __init__(self, name: str, trust: str, make: Callable[[], Any], limit: int, timeout: float | None) -> None:
        self.timeout = timeout
        self.name = name
        self.trust = trust
        self.incarnation = object()
        self._make = make
        self._held = PerLoop(lambda: _Held(limit))
        self._closed = False

    async def take(self) -> Any:
        held = self._held()
        await held.free.acquire()
        try:
            connection = held.idle.pop() if held.idle else self._make()
            if await _connect(connection, self.timeout):
                self.incarnation = object()
        except BaseException:
            held.free.release()
            raise
        return connection

    async def give_back(self, connection: Any, *, clean: bool) -> None:
        held = self._held()
        try:
            if clean and not self._closed:
                held.idle.append(connection)
            else:
                await connection.disconnect(nowait=True)
        finally:
            held.free.release()

    async def close(self) -> None:
        self._closed = True
        idle = self._held().idle
        while idle:
            await idle.pop().disconnect()


class AsyncBorrowed(_Watch):
    """`Borrowed` for asyncio."""

    def __init__(self, name: str, pool: Any) -> None:
        super().__init__(name)
        self._pool = pool

    async def take(self) -> Any:
        connection = await self._pool.get_connection()
        self._seen(connection)
        return connection

    async def give_back(self, connection: Any, *, clean: bool) -> None:
        try:
            if not clean:
                await connection.disconnect(nowait=True)
        finally:
            await self._pool.release(connection)

    async def close(self) -> None:
        """Not ours to close."""


class AsyncBorrowedNode(_Watch):
    """A node of a caller's asyncio cluster client, which is a pool of its own kind.

    Args:
        node: redis-py's `ClusterNode`.
        ours: See `Borrowed`.
    """

    def __init__(self, node: Any, *, ours: bool = False) -> None:
        super().__init__(node.name)
        self._node = node
        self._ours = ours

    async def take(self) -> Any:
        connection = self._node.acquire_connection()
        try:
            await _connect(connection, self.timeout)
            self._seen(connection)
        except BaseException:
            self._node.release(connection)
            raise
        return connection

    async def give_back(self, connection: Any, *, clean: bool) -> None:
        try:
            if not clean:
                await connection.disconnect(nowait=True)
        finally:
            self._node.release(connection)

    async def close(self) -> None:
        if self._ours:
            await self._node.disconnect()


async def _connect(connection: Any, timeout: float | None) -> bool:  # noqa: ASYNC109  # for a part of it
    """Connect it where that is needed, and say whether it was."""
    if connection.is_connected:
        try:
            # Before redis-py 8 it had a longer name.
            if not await getattr(connection, "can_read", connection.can_read_destructive)():
                return False
        except (RedisError, OSError):
            pass
        await connection.disconnect(nowait=True)  # closed by the server, or not read to its end
    try:
        async with asyncio.timeout(timeout):
            await connection.connect()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return True
