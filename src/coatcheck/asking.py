"""Calls of a store as steps of a plan: what is built on the public interface is written once for both faces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .aio import AsyncArtifactStore
from .errors import InvalidArtifactError
from .plan import Step
from .store import ArtifactStore

Store = ArtifactStore | AsyncArtifactStore


class Ask(Step):
    """A call of a store. A plan on an event loop asks an awaited store, or a blocking one in a thread.

    Raises:
        InvalidArtifactError: It is no store.
    """

    __slots__ = ("_call", "_store")

    def __init__(self, store: Store, call: Callable[[Any], Any]) -> None:
        _check_store(store)
        self._store, self._call = store, call

    def run(self) -> Any:
        """The answer."""
        if isinstance(self._store, AsyncArtifactStore):
            raise InvalidArtifactError(
                "an AsyncArtifactStore has to be awaited: use aoffload(), or what else has an a before its name, "
                "AsyncKeyed or AsyncVersions"
            )
        return self._call(self._store)

    async def arun(self) -> Any:
        """The answer."""
        if isinstance(self._store, AsyncArtifactStore):
            return await self._call(self._store)
        return await asyncio.to_thread(self._call, self._store)


def _check_store(store: object) -> None:
    if not isinstance(store, ArtifactStore | AsyncArtifactStore):
        kind = type(store).__name__
        raise InvalidArtifactError(f"store must be a store, as open_store(url) opens it, not {kind}")
