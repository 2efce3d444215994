"""For frameworks that want every method twice, blocking and awaited: what to do is written once, as a plan.

A plan is a generator that yields what to ask the store, as a function of the store, and receives the answer:
`views = yield lambda store: store.list_by_run(run)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from coatcheck import ArtifactStore
from coatcheck.urls import kind_of

from .opening import LazyAsyncStore, LazyStore

T = TypeVar("T")

Plan = Generator[Callable[[Any], Any], Any, T]


class Faces:
    """One store, asked blockingly or awaited.

    Args:
        place: A URL; `None` for `$COATCHECK_URL`; or an open blocking store, which threads ask where it is awaited.
        options: For `open_store`.

    Raises:
        InvalidArtifactError: Neither, or options for a store that is open.
        TypeError: An option that no store has.
    """

    def __init__(self, place: str | ArtifactStore | None, options: dict[str, Any]) -> None:
        self._blocking = LazyStore(place, **options)
        self._awaited = None if isinstance(place, ArtifactStore) else LazyAsyncStore(place, **options)

    def __repr__(self) -> str:
        return repr(self._blocking)

    def run(self, plan: Plan[T]) -> T:
        """Carry out a plan in this thread."""
        store = self._blocking.get()
        try:
            question = next(plan)
            while True:
                try:
                    answer = question(store)
                except Exception as error:  # noqa: BLE001  # the plan may know what to do
                    question = plan.throw(error)
                else:
                    question = plan.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    async def arun(self, plan: Plan[T]) -> T:
        """Carry out a plan on the running event loop."""
        if self._awaited is None or kind_of(self._blocking.url) == "memory":
            return await asyncio.to_thread(self.run, plan)  # what is in memory is only there for this face
        store = await self._awaited.get()
        try:
            question = next(plan)
            while True:
                try:
                    answer = await question(store)
                except Exception as error:  # noqa: BLE001
                    question = plan.throw(error)
                else:
                    question = plan.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    def close(self) -> None:
        """Give back the connections of blocking calls. A store that was handed in stays open."""
        self._blocking.close()

    async def aclose(self) -> None:
        """Give back all connections."""
        if self._awaited is not None:
            await self._awaited.close()
        await asyncio.to_thread(self._blocking.close)
