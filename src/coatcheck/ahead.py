"""Work that is begun before it is needed: a block is read while the one before it is hashed or sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, Self, TypeVar

from .plan import Step, Work

T = TypeVar("T")


class Ahead:
    """A thread for a plan's work, one call after the other, in a with-statement, which waits for what was begun.

    Args:
        apart: Whether there is one. Else calls are made when they are waited for, where other work is done.
    """

    def __init__(self, *, apart: bool) -> None:
        self._thread = ThreadPoolExecutor(1, "coatcheck-ahead") if apart else None

    def begin(self, call: Callable[[], T]) -> Step:
        """Begin a call; the step that waits for its result. Where no thread can be had, `Work`."""
        if self._thread is not None:
            try:
                return _Wait(self._thread.submit(call))
            except RuntimeError:  # the interpreter ends, or has as many threads as it may
                self._thread.shutdown()
                self._thread = None
        return Work(call)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)


class _Wait(Step, Generic[T]):
    __slots__ = ("_future",)

    def __init__(self, future: Future[T]) -> None:
        self._future = future

    def run(self) -> T:
        return self._future.result()

    async def arun(self) -> Any:
        return await asyncio.wrap_future(self._future)
