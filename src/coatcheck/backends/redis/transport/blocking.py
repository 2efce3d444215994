"""The blocking transport."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Sequence
from time import monotonic

from ....embedded import EmbeddedEngine
from ....plan import run
from .base import BrokenError, Part, Result
from .errors import TRANSPORT_ERRORS, broken, not_sent
from .topology import Find, Routed, Topology


class BlockingTransport(Routed):
    """Pipelines over blocking wires.

    Args:
        topology: Which server answers for which slot.
        find: Asks who serves what; `None` where that never changes.
        engine: See `Transport`.
    """

    def __init__(self, topology: Topology, find: Find | None = None, engine: EmbeddedEngine | None = None) -> None:
        super().__init__(topology, engine, follows=find is not None)
        self._find = find
        self._refreshing = threading.Lock()
        self._process = os.getpid()

    def send(self, parts: Sequence[Part]) -> list[Result]:
        if len(parts) == 1:
            return [_exchanged(parts[0])]
        return self.begin(parts).results()

    def begin(self, parts: Sequence[Part]) -> _Sent:
        return _Sent(parts)

    def refresh(self) -> None:
        if self._find is None:
            return
        if self._process != os.getpid():  # forked, perhaps while a thread of the parent held the lock
            self._refreshing, self._process = threading.Lock(), os.getpid()
        known = self._topology.version
        with self._refreshing:
            if self._topology.version is known:
                for gone in self._topology.adopt(run(self._find(self))):
                    gone.close()

    def close(self) -> None:
        for node in self._topology.nodes():
            node.close()
        if self.engine is not None:
            self.engine.close()


class _Sent:
    """Pipelines that are under way, each on a wire of its own."""

    def __init__(self, parts: Sequence[Part]) -> None:
        start = monotonic()
        self._exchanges = [_exchange(part, start) for part in parts]
        try:
            self._early = [next(exchange) for exchange in self._exchanges]
        except BaseException:
            self.close()
            raise

    def results(self) -> list[Result]:
        try:
            return [early or next(exchange) for early, exchange in zip(self._early, self._exchanges, strict=True)]  # type: ignore[misc]
        finally:
            self.close()

    def close(self) -> None:
        for exchange in self._exchanges:
            exchange.close()


def _exchanged(part: Part) -> Result:
    """The result of one pipeline by itself, without a generator: most calls."""
    node, buffers, count, large, within = part
    start = monotonic()
    try:
        wire = node.take(within)
    except TRANSPORT_ERRORS as error:
        return not_sent(error, node)
    clean = False
    try:
        wire.send(buffers, count, start, large, within)
        result: Result = wire.receive()
        clean = True
    except TRANSPORT_ERRORS as error:
        result = broken(error, node)
    finally:
        node.give_back(wire, clean=clean)
    if type(result) is BrokenError:
        node.forget_idle()
    return result


def _exchange(part: Part, start: float) -> Generator[Result | None, None, None]:
    """Yields nothing when all is sent, then the result; the result at once if that failed."""
    node, buffers, count, large, within = part
    try:
        wire = node.take(within)
    except TRANSPORT_ERRORS as error:
        yield not_sent(error, node)
        return
    clean = False
    try:
        wire.send(buffers, count, start, large, within)
        yield None
        result: Result = wire.receive()
        clean = True
    except TRANSPORT_ERRORS as error:
        result = broken(error, node)
    finally:
        node.give_back(wire, clean=clean)
    if type(result) is BrokenError:
        node.forget_idle()
    yield result
