"""An asyncio store seen as a blocking one, so that one suite tests both."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from ..aio import AsyncArtifactStore
from ..store import ArtifactStore


class Blocking:
    """Runs every method of an `AsyncArtifactStore` on an event loop of its own. Not for threads, not for speed.

    Args:
        make: Makes the store; called on the loop.
    """

    def __init__(self, make: Any) -> None:
        self._loop = asyncio.new_event_loop()

        async def made() -> AsyncArtifactStore:
            store: AsyncArtifactStore = make()
            return store

        try:
            self._store = self._loop.run_until_complete(made())
        except BaseException:
            self._loop.close()
            raise

    def close(self) -> None:
        """Close the store and its loop."""
        if not self._loop.is_closed():
            self._loop.run_until_complete(self._store.close())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def _run(self, awaitable: Any) -> Any:
        return asyncio.run(awaitable) if self._loop.is_closed() else self._loop.run_until_complete(awaitable)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _blocking(name: str) -> Any:
    def method(self: Blocking, *args: Any, **kwargs: Any) -> Any:
        return self._run(getattr(self._store, name)(*args, **kwargs))

    method.__name__ = name
    return method


for _name in [name for name in vars(ArtifactStore) if not name.startswith("_") and name != "close"]:
    setattr(Blocking, _name, _blocking(_name))
ArtifactStore.register(Blocking)
