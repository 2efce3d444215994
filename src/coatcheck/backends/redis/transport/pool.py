"""Where a link's connections wait between exchanges.

redis-py's pools lock, count and send events on each way in and out: about 20 µs of every call, twice that on asyncio.
A store that was opened by URL keeps its connections in a plain stack instead; a caller's own client keeps its pool.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, Protocol

from redis.exceptions import RedisError


class Connections(Protocol):
    """Takes a usable connection and gives it back; awaited by asyncio links."""

    def __init__(self, pool: Any) -> None: ...

    def take(self) -> Any:
        """A connected connection with nothing left to read on it."""

    def give_back(self, connection: Any) -> Any:
        """Keep it for the next taker; it may be disconnected."""

    def close(self) -> Any:
        """Disconnect what is idle, and everything that is given back from now on."""


class Borrowed:
    """The pool of a caller's client; whoever made it closes it."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def take(self) -> Any:
        return self._pool.get_connection()

    def give_back(self, connection: Any) -> Any:
        return self._pool.release(connection)

    def close(self) -> Any:
        """Not ours to close."""


class AsyncBorrowed(Borrowed):
    """The pool of a caller's asyncio client."""

    async def close(self) -> None:
        pass


class Stack:
    """Blocking connections, the last one used first. `list.pop` and `list.append` are atomic, so threads need no lock.

    Args:
        pool: Makes connections; holds none.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._idle: list[Any] = []
        self._process = os.getpid()
        self._closed = False

    def take(self) -> Any:
        if self._process != os.getpid():  # forked: the connections are the parent's
            self._idle, self._process = [], os.getpid()
            self._pool.reset()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._pool.make_connection()
        try:
            if not connection.can_read():  # connects where that is needed
                return connection
        except (RedisError, OSError):
            pass
        connection.disconnect()  # closed by the server, or not read to its end
        try:
            connection.connect()
        except BaseException:
            self._idle.append(connection)
            raise
        return connection

    def give_back(self, connection: Any) -> None:
        if self._closed:
            connection.disconnect()
        self._idle.append(connection)

    def close(self) -> None:
        self._closed = True
        for connection in self._idle:
            connection.disconnect()


class AsyncStack:
    """`Stack` for asyncio; tasks beyond the pool's `max_connections` wait.

    It starts empty again on another event loop: connections live on the one that made them.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[Any] = []
        self._free: asyncio.Semaphore
        self._closed = False

    async def take(self) -> Any:
        if self._loop is not asyncio.get_running_loop():
            self._loop, self._idle = asyncio.get_running_loop(), []
            self._free = asyncio.Semaphore(self._pool.max_connections)
        await self._free.acquire()
        try:
            return await self._connected()
        except BaseException:
            self._free.release()
            raise

    async def _connected(self) -> Any:
        if self._idle:
            connection = self._idle.pop()
            try:
                if not await connection.can_read():
                    return connection
            except (RedisError, OSError):
                pass
            await connection.disconnect(nowait=True)  # closed by the server, or not read to its end
        else:
            connection = self._pool.make_connection()
        await connection.connect()
        return connection

    async def give_back(self, connection: Any) -> None:
        if self._closed:
            await connection.disconnect()
        self._idle.append(connection)
        self._free.release()

    async def close(self) -> None:
        self._closed = True
        for connection in self._idle:
            await connection.disconnect()
