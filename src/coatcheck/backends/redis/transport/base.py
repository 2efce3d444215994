"""One exchange with a server: commands out, replies back, on one pooled connection. No policy here (see retry.py).

A connection goes back to the pool only after every reply was read; after anything else it is closed, so that no
reply can ever reach another caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from ....embedded import EmbeddedEngine
from ....plan import Step
from .pool import Connections
from .resp import Piece

TRANSPORT_ERRORS = (RedisConnectionError, RedisTimeoutError, OSError)


class NotSentError(Exception):
    """No connection: the commands were surely not executed."""


class RefusedError(NotSentError):
    """The server refused the connection for a reason that waiting does not cure (password, user, database)."""


class BrokenError(Exception):
    """The connection broke after sending began: what was executed is unknown."""


class Node(Protocol):
    """A server."""

    name: str


class Link(Protocol):
    """A way to a server, blocking or awaited. `engine`: the embedded engine behind it, if it is one."""

    engine: EmbeddedEngine | None
    is_cluster = False

    def primaries(self):
        return [None]

    def incarnation(self, slot):
        return 0

    def __init__(self, connections: Connections, engine: EmbeddedEngine | None = None) -> None: ...

    def exchange(self, buffers: Sequence[Piece], count: int) -> Any:
        """Send packed commands and read `count` replies; error replies are returned in place, not raised."""

    def close(self) -> Any:
        """Close the connections that this link made."""


class Exchange(Step):
    """Some packed commands, sent together; the result is the list of replies."""

    __slots__ = ("buffers", "count", "link")

    def __init__(self, link: Link, buffers: Sequence[Piece], count: int) -> None:
        self.link = link
        self.buffers = buffers
        self.count = count

    def run(self) -> list[Any]:
        replies: list[Any] = self.link.exchange(self.buffers, self.count)
        return replies

    async def arun(self) -> list[Any]:
        replies: list[Any] = await self.link.exchange(self.buffers, self.count)
        return replies


class CloseLink(Step):
    """Close a link."""

    __slots__ = ("link",)

    def __init__(self, link: Link) -> None:
        self.link = link

    def run(self) -> None:
        self.link.close()

    async def arun(self) -> None:
        await self.link.close()


def _connect_error(error: BaseException) -> NotSentError:
    lasting = isinstance(error, AuthenticationError | AuthorizationError) or (
        isinstance(error, ResponseError) and not isinstance(error, BusyLoadingError)
    )
    return (RefusedError if lasting else NotSentError)(str(error) or type(error).__name__)


class SyncLink(Link):
    """Blocking exchanges over redis-py's connections."""

    def __init__(self, connections: Connections, engine: EmbeddedEngine | None = None) -> None:
        self._connections = connections
        self.engine = engine

    def exchange(self, buffers: Sequence[Piece], count: int) -> list[Any]:
        try:
            connection = self._connections.take()
        except (RedisError, OSError) as error:
            raise _connect_error(error) from error
        replies: list[Any] = []
        try:
            connection.send_packed_command(buffers)
            read = connection.read_response
            while len(replies) < count:
                try:
                    replies.append(read(disable_decoding=True))
                except ResponseError as error:
                    replies.append(error)
                except BusyLoadingError as error:
                    replies.append(error)
        except TRANSPORT_ERRORS as error:
            raise BrokenError(str(error) or type(error).__name__) from error
        finally:
            if len(replies) < count:
                connection.disconnect()
            self._connections.give_back(connection)
        return replies

    def close(self) -> None:
        self._connections.close()
        if self.engine is not None:
            self.engine.close()


class AsyncLink(Link):
    """Awaited exchanges over redis-py's asyncio connections."""

    def __init__(self, connections: Connections, engine: EmbeddedEngine | None = None) -> None:
        self._connections = connections
        self.engine = engine

    async def exchange(self, buffers: Sequence[Piece], count: int) -> list[Any]:
        try:
            connection = await self._connections.take()
        except (RedisError, OSError) as error:
            raise _connect_error(error) from error
        replies: list[Any] = []
        try:
            await connection.send_packed_command(buffers)
            while len(replies) < count:
                try:
                    replies.append(await connection.read_response(disable_decoding=True))
                except ResponseError as error:
                    replies.append(error)
                except BusyLoadingError as error:
                    replies.append(error)
        except TRANSPORT_ERRORS as error:
            raise BrokenError(str(error) or type(error).__name__) from error
        finally:
            if len(replies) < count:
                await connection.disconnect(nowait=True)
            await self._connections.give_back(connection)
        return replies

    async def close(self) -> None:
        await self._connections.close()
        if self.engine is not None:
            self.engine.close()


Transport = Link
Close = CloseLink
