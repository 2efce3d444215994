"""An asyncio store seen as a blocking one, so that one suite tests both."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

from ..aio import AsyncArtifactStore
from ..reader import ArtifactReader, AsyncArtifactReader
from ..runs import AsyncRun
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

    def _each(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        async def more() -> list[Any]:
            return [await anext(items)]

        try:
            while True:
                yield from self._run(more())
        except StopAsyncIteration:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class BlockingReader(io.RawIOBase):
    """An `AsyncArtifactReader` seen as a blocking one."""

    def __init__(self, reader: AsyncArtifactReader, run: Any) -> None:
        self._reader, self._run = reader, run
        self.metadata, self.size = reader.metadata, reader.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        content: bytes = self._run(self._reader.read(size))
        return content

    def readall(self) -> bytes:
        async def all_chunks() -> bytes:
            return b"".join([chunk async for chunk in self._reader])

        content: bytes = self._run(all_chunks())
        return content

    def readinto(self, buffer: Any, /) -> int:
        count: int = self._run(self._reader.readinto(buffer))
        return count

    def iter_range(self, start: int | None = None, stop: int | None = None) -> Iterator[bytes]:
        pieces = self._reader.iter_range(start, stop)

        async def all_pieces() -> list[bytes]:
            return [piece async for piece in pieces]

        return iter(self._run(all_pieces()))

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()

    def close(self) -> None:
        async def leave() -> None:
            async with self._reader:
                pass

        if not self.closed:
            self._run(leave())
        super().close()


ArtifactReader.register(BlockingReader)


def _blocking(name: str) -> Any:
    def method(self: Blocking, *args: Any, **kwargs: Any) -> Any:
        called = getattr(self._store, name)(*args, **kwargs)
        if isinstance(called, AsyncIterator):
            return self._each(called)
        if isinstance(called, AsyncRun):
            return BlockingRun(called, self)
        result = self._run(called)
        return BlockingReader(result, self._run) if isinstance(result, AsyncArtifactReader) else result

    method.__name__ = name
    return method


for _name in [name for name in vars(ArtifactStore) if not name.startswith("_") and name != "close"]:
    setattr(Blocking, _name, _blocking(_name))
ArtifactStore.register(Blocking)


class BlockingRun:
    """An `AsyncRun` seen as a blocking one."""

    def __init__(self, run: AsyncRun, store: Blocking) -> None:
        self._aio, self._blocking = run, store
        self.run_id = run.run_id

    def __getattr__(self, name: str) -> Any:
        def method(*args: Any, **keywords: Any) -> Any:
            called = getattr(self._aio, name)(*args, **keywords)
            each = self._blocking._each if isinstance(called, AsyncIterator) else self._blocking._run  # noqa: SLF001
            return each(called)

        return method

    def __repr__(self) -> str:
        return repr(self._aio).removeprefix("Async")

    def __enter__(self) -> Self:
        self._blocking._run(self._aio.__aenter__())  # noqa: SLF001  # the same room
        return self

    def __exit__(self, *exc: object) -> None:
        self._blocking._run(self._aio.__aexit__(*exc))  # noqa: SLF001
