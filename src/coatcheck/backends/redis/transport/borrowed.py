"""Nodes behind a caller's own client: its pools lend connections, and redis-py reads and writes on them."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import RedisError

from .errors import ERROR_REPLIES
from .replies import MalformedError
from .resp import Piece

_TOO_LARGE: Final = "a reply larger than there is memory"


class _Watch:
    """Notices each new connection that somebody else's pool makes."""

    trust = ""
    spare = False

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

    def forget_idle(self) -> None:
        """The pool looks after them."""


class _Loan:
    """A connection of redis-py as a wire; it has its own time limits."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._count = 0

    def send(self, buffers: Sequence[Piece], count: int, *_: object) -> None:
        self._count = count
        self.connection.send_packed_command(buffers)

    def receive(self) -> list[Any]:
        return [self._reply() for _ in range(self._count)]

    def _reply(self) -> Any:
        try:
            return self.connection.read_response(disable_decoding=True, disconnect_on_error=False)
        except ERROR_REPLIES as error:
            return error
        except MemoryError:  # its parser makes room for whatever is announced
            raise MalformedError(_TOO_LARGE) from None


class _AsyncLoan(_Loan):
    """The same for asyncio."""

    async def exchange(self, buffers: Sequence[Piece], count: int, *_: object) -> list[Any]:
        await self.connection.send_packed_command(buffers)
        return [await self._awaited_reply() for _ in range(count)]

    async def _awaited_reply(self) -> Any:
        try:
            return await self.connection.read_response(disable_decoding=True, disconnect_on_error=False)
        except ERROR_REPLIES as error:
            return error
        except MemoryError:  # its parser makes room for whatever is announced
            raise MalformedError(_TOO_LARGE) from None


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

    def take(self, within: float | None = None) -> _Loan:  # noqa: ARG002  # the caller's client has its own limits
        connection = self._pool.get_connection()
        try:
            self._seen(connection)
        except BaseException:
            self._pool.release(connection)
            raise
        return _Loan(connection)

    def give_back(self, loan: _Loan, *, clean: bool) -> None:
        try:
            if not clean:
                loan.connection.disconnect()
        finally:
            self._pool.release(loan.connection)

    def close(self) -> None:
        if self._ours:
            self._pool.disconnect()


class AsyncBorrowed(_Watch):
    """`Borrowed` for asyncio."""

    def __init__(self, name: str, pool: Any) -> None:
        super().__init__(name)
        self._pool = pool

    async def take(self, within: float | None = None) -> _AsyncLoan:  # noqa: ARG002  # see Borrowed
        connection = await self._pool.get_connection()
        self._seen(connection)
        return _AsyncLoan(connection)

    async def give_back(self, loan: _AsyncLoan, *, clean: bool) -> None:
        try:
            if not clean:
                await loan.connection.disconnect(nowait=True)
        finally:
            await self._pool.release(loan.connection)

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

    async def take(self, within: float | None = None) -> _AsyncLoan:  # noqa: ARG002  # see Borrowed
        connection = self._node.acquire_connection()
        try:
            await _connect(connection)
            self._seen(connection)
        except BaseException:
            self._node.release(connection)
            raise
        return _AsyncLoan(connection)

    async def give_back(self, loan: _AsyncLoan, *, clean: bool) -> None:
        try:
            if not clean:
                await loan.connection.disconnect(nowait=True)
        finally:
            self._node.release(loan.connection)

    async def close(self) -> None:
        if self._ours:
            await self._node.disconnect()


async def _connect(connection: Any) -> None:
    """Connect it where that is needed."""
    if connection.is_connected:
        try:
            # Before redis-py 8 it had a longer name.
            if not await getattr(connection, "can_read", connection.can_read_destructive)():
                return
        except (RedisError, OSError):
            pass
        await connection.disconnect(nowait=True)  # closed by the server, or not read to its end
    try:
        await connection.connect()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
