"""Plans: what an operation does, written once; and the two drivers that run it.

A plan is a generator. It yields steps (things that take time or touch the world) and receives their results; its
return value is the operation's result. The drivers below are the only code that knows whether the caller waits or
awaits, so protocol logic has no synchronous and asynchronous twin. psycopg 3 is built the same way.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Step(ABC):
    """One thing to do. `run` does it now, `arun` does it without blocking the event loop."""

    __slots__ = ()

    @abstractmethod
    def run(self) -> Any:
        """Do it and return the result."""

    @abstractmethod
    async def arun(self) -> Any:
        """Do it without blocking the event loop and return the result."""


Plan = Generator[Step, Any, T]


class Work(Step, Generic[T]):
    """A function call that blocks or computes for long. The event loop runs it in a thread."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], T]) -> None:
        self.call = call

    def run(self) -> T:
        return self.call()

    async def arun(self) -> T:
        return await asyncio.to_thread(self.call)


class Notice(Step):
    """Nothing to do: it tells whoever watches the plan what happened, see `events.py`.

    Args:
        what: The count of an event: `cache_hits`, `cache_misses`.
        count: How many more.
    """

    __slots__ = ("count", "what")

    def __init__(self, what: str, count: int = 1) -> None:
        self.what = what
        self.count = count

    def run(self) -> None:
        pass

    async def arun(self) -> None:
        pass


class Pause(Step):
    """Wait for some seconds until something that failed is tried again."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(self) -> None:
        time.sleep(self.seconds)

    async def arun(self) -> None:
        await asyncio.sleep(self.seconds)


def run(plan: Plan[T]) -> T:
    """Run a plan to its end in this thread."""
    try:
        step = plan.send(None)
        while True:
            try:
                result = step.run()
            except BaseException as error:  # noqa: BLE001  # the plan decides what an error means
                step = plan.throw(error)
            else:
                step = plan.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        plan.close()


async def arun(plan: Plan[T]) -> T:
    """Run a plan to its end on the running event loop."""
    try:
        step = plan.send(None)
        while True:
            try:
                result = await step.arun()
            except BaseException as error:  # noqa: BLE001  # the plan decides what an error means
                step = plan.throw(error)
            else:
                step = plan.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        plan.close()
