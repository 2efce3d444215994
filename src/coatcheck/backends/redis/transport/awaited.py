"""The asyncio transport."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from ....embedded import EmbeddedEngine
from ....plan import arun
from .base import BrokenError, Part, Result
from .errors import TRANSPORT_ERRORS, broken, not_sent
from .pool import PerLoop
from .topology import Find, Routed, Topology


class AwaitedTransport(Routed):
    """Pipelines over wires of asyncio; see `BlockingTransport`."""

    def __init__(
        self,
        topology: Topology,
        find: Find | None = None,
        engine: EmbeddedEngine | None = None,
    ) -> None:
        super().__init__(topology, engine, follows=find is not None)
        self._find = find
        self._refreshing = PerLoop(asyncio.Lock)

    async def send(self, parts: Sequence[Part]) -> list[Result]:
        if len(parts) == 1:
            return [await _exchange(parts[0])]
        return await asyncio.gather(*map(_exchange, parts))

    def begin(self, parts: Sequence[Part]) -> _Sent:
        return _Sent(parts)

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
                for gone in self._topology.adopt(await arun(self._find(self))):
                    await gone.close()

    async def close(self) -> None:
        for node in self._topology.nodes():
            await node.close()
        if self.engine is not None:
            self.engine.close()


class _Sent:
    """Pipelines that are under way, each in a task of its own."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._tasks = [asyncio.ensure_future(_exchange(part)) for part in parts]

    async def results(self) -> list[Result]:
        return await asyncio.gather(*self._tasks)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


def _exchange(part: Part) -> Coroutine[Any, Any, Result]:
    return _exchanged(part) if part.within is None else _exchanged_within(part)


async def _exchanged_within(part: Part) -> Result:
    try:
        async with asyncio.timeout(part.within):
            return await _exchanged(part)
    except TimeoutError as error:
        return broken(error, part.node)


async def _exchanged(part: Part) -> Result:
    node, buffers, count, large, _ = part
    try:
        wire = await node.take()
    except TRANSPORT_ERRORS as error:
        return not_sent(error, node)
    result: Result
    clean = False
    try:
        result = await wire.exchange(buffers, count, large)
        clean = True
    except TRANSPORT_ERRORS as error:
        result = broken(error, node)
    finally:
        if (closing := node.give_back(wire, clean=clean)) is not None:
            await closing
    if type(result) is BrokenError:
        node.forget_idle()
    return result
