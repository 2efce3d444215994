"""What a store tells of its operations: one event for each, at its end, if somebody asked for them by `on_event=`.

Without `on_event` there is nothing of this in a store: no branch, no clock. With it, a layer around the operations
looks at what their plans yield on the way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final, Literal, NamedTuple

from .arguments import check_callback
from .backends.opened import Block, OpenedArtifact
from .interception import intercepted
from .model import Page
from .operations import Operations
from .plan import Notice, Pause, Plan

Outcome = Literal["done", "absent", "failed"]


class Event(NamedTuple):
    """One operation that has ended.

    Attributes:
        operation: The method's name: `store`, `load_many`, …; `read` for what a reader of `open` fetches.
        outcome: `"done"`; `"absent"`: the answer was `None` or `False`; `"failed"`: it raised.
        seconds: How long it took, waiting and retries included.
        items: Artifacts that it was about, as far as the answer tells: the length of a list or page, or 1.
        bytes: Content handed in (`store…`) or out (`load…`, `read`), in bytes, before compression; else 0.
        retries: How often something was sent again, after a pause, because it had failed.
        cache_hits: Contents that came from this store's cache.
        cache_misses: Contents that had to come from the server although there is a cache.
        error: What was raised, a cancellation included; `None` unless it failed.
        backend: `"memory"`, `"file"` or `"redis"`; that of a backend of your own is its `name`.
        namespace: The store's; empty where stores have none.
    """

    operation: str
    outcome: Outcome
    seconds: float
    items: int
    bytes: int
    retries: int
    cache_hits: int
    cache_misses: int
    error: BaseException | None
    backend: str
    namespace: str


OnEvent = Callable[[Event], object]
"""Told of each event in the thread, or on the event loop, of its caller: it should not take long."""

_logger: Final = logging.getLogger(__name__)


def watched(operations: Operations, on_event: OnEvent | None) -> Operations:
    """The same operations; each tells an event at its end. What the callee raises is logged, and disturbs nobody.

    Raises:
        InvalidArtifactError: It cannot be called, or has to be awaited.
    """
    if on_event is None:
        return operations
    return intercepted(operations, _Watch(operations, check_callback(on_event, "on_event")).around)


class _Watch:
    def __init__(self, operations: Operations, on_event: OnEvent) -> None:
        self._backend, self._namespace = operations.backend.name, operations.backend.namespace
        self._on_event = on_event

    def around(self, name: str, operation: Callable[..., Any], /, *args: Any, **keywords: Any) -> Plan[Any]:
        """See `interception.Around`."""
        return self.tell(name, _begun(operation, *args, **keywords))

    def tell(self, operation: str, plan: Plan[Any]) -> Plan[Any]:
        """The same plan, and an event at its end. Its notices end here."""
        counts = {"retries": 0, "cache_hits": 0, "cache_misses": 0}
        start = perf_counter()
        try:
            step = plan.send(None)
            while True:
                if type(step) is Notice:
                    counts[step.what] += step.count
                    step = plan.send(None)
                    continue
                if type(step) is Pause:
                    counts["retries"] += 1
                try:
                    answer = yield step
                except BaseException as error:  # noqa: BLE001  # the plan decides what an error means
                    step = plan.throw(error)
                else:
                    step = plan.send(answer)
        except StopIteration as end:
            result = end.value
        except BaseException as error:
            self._tell(operation, "failed", start, None, counts, error)
            raise
        finally:
            plan.close()
        absent = (result is None or result is False) and operation != "close"
        self._tell(operation, "absent" if absent else "done", start, result, counts, None)
        return _WatchedOpened(result, self) if isinstance(result, OpenedArtifact) else result

    def _tell(
        self,
        operation: str,
        outcome: Outcome,
        start: float,
        result: Any,
        counts: dict[str, int],
        error: BaseException | None,
    ) -> None:
        event = Event(
            operation,
            outcome,
            perf_counter() - start,
            _items(result),
            _BYTES[operation](result) if operation in _BYTES and result is not None else 0,
            counts["retries"],
            counts["cache_hits"],
            counts["cache_misses"],
            error,
            self._backend,
            self._namespace,
        )
        try:
            self._on_event(event)
        except Exception:
            _logger.exception("on_event failed for %s", operation)


def _begun(operation: Callable[..., Plan[Any]], /, *args: Any, **keywords: Any) -> Plan[Any]:
    """The plan of an operation. What that raises before there is one is raised by the plan."""
    return (yield from operation(*args, **keywords))


def _items(result: Any) -> int:
    if type(result) is Page:
        return len(result.items)
    return len(result) if type(result) is list else 1


class _WatchedOpened(OpenedArtifact):
    """An opened artifact; each fetch of blocks is an event."""

    def __init__(self, opened: OpenedArtifact, watch: _Watch) -> None:
        super().__init__(opened.metadata)
        self.size = opened.size
        self._opened = opened
        self._watch = watch

    def blocks(self, start: int, stop: int) -> Plan[list[Block]]:
        return self._watch.tell("read", self._opened.blocks(start, stop))

    def close(self) -> None:
        self._opened.close()


_BYTES: Final[dict[str, Callable[[Any], int]]] = {
    "store": lambda view: view.size_bytes,
    "store_file": lambda view: view.size_bytes,
    "store_many": lambda views: sum(view.size_bytes for view in views),
    "load": lambda artifact: len(artifact.content),
    "load_many": lambda artifacts: sum(len(artifact.content) for artifact in artifacts if artifact is not None),
    "load_range": len,
    "read": lambda blocks: sum(len(block.data) for block in blocks),
}
