"""The asyncio transport."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from ....embedded import EmbeddedEngine
from .base import BrokenError, NotSentError, Part
from .errors import ERROR_REPLIES, TRANSPORT_ERRORS, broken, not_sent
from .pool import PerLoop
from .topology import Owners, Routed, Topology


class AwaitedTransport(Routed):
    """Pipelines over redis-py's asyncio connections; see `BlockingTransport`."""

    def __init__(
        self,
        topology: Topology,
        find: Callable[[], Awaitable[Owners]] | None = None,
        engine: EmbeddedEngine | None = None,
    ) -> None:
        super().__init__(topology, engine, follows=find is not None)
        self._find = find
        self._refreshing = PerLoop(asyncio.Lock)

    async def send(self, parts: Sequence[Part]) -> list[list[Any] | NotSentError | BrokenError]:
        if len(parts) == 1:
            return [await _exchange(parts[0])]
        return await asyncio.gather(*map(_exchange, parts))

    async def refresh(self) -> None:
        asking = asyncio.ensure_future(self._refresh())
        try:
            # Before Python 3.12, redis-py sometimes swallows a cancellation: whoever is cancelled leaves at once.
            await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.cancel()
            raise

    async def _refresh(self) -> None:
        if self._find is None:
            return
        known = self._topology.version
        async with self._refreshing():
            if self._topology.version is known:
                for gone in self._topology.adopt(await self._find()):
                    await gone.close()

    async def close(self) -> None:
        for node in self._topology.nodes():
            await node.close()
        if self.engine is not None:
            self.engine.close()


async def _exchange(part: Part) -> list[Any] | NotSentError | BrokenError:
    node, buffers, count = part
    if not isinstance(buffers, list):  # making them takes time
        buffers = await asyncio.to_thread(list, buffers)
    try:
        connection = await node.take()
    except (RedisError, OSError) as error:
        return not_sent(error, node)
    replies: list[Any] = []
    try:
        async with asyncio.timeout(node.timeout) as limit:
            await connection.send_packed_command(buffers)
            while len(replies) < count:
                if replies and node.timeout is not None:
                    limit.reschedule(asyncio.get_running_loop().time() + node.timeout)
                try:
                    replies.append(await connection.read_response(disable_decoding=True, disconnect_on_error=False))
                except ERROR_REPLIES as error:
                    replies.append(error)
    except TRANSPORT_ERRORS as error:
        return broken(error, node)
    finally:
        await node.give_back(connection, clean=len(replies) == count)
    return replies
