"""zarr: the chunks of arrays lie in a coatcheck store (extra `zarr`; zarr 3.1 and later).

import zarr
from coatcheck.integrations.zarr import CoatcheckStore

array = zarr.create_array(CoatcheckStore(collection="simulation-7"), shape=(1000, 1000), dtype="f8")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Self

try:
    from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
except ImportError as error:
    raise ImportError("zarr is not installed: pip install 'coatcheck[zarr]'") from error

from coatcheck import DEFAULT, ArtifactConflictError, ArtifactMetadata, ArtifactStore
from coatcheck.arguments import TtlOrDefault
from coatcheck.keyed import Keyed

from .opening import LazyStore


class CoatcheckStore(Store):
    """A store of zarr's: a collection of the keyed view, whose keys are zarr's.

    Equal chunks are kept once, what is read is verified, and of several who create something one wins. The awaited
    methods run the blocking ones in threads.

    Args:
        url: Of the store; `None` is `$COATCHECK_URL`. Or an open `ArtifactStore`, which its owner closes.
        collection: A name: the run that leases all that is in it. `delete_by_run` gives it up.
        ttl: How long a chunk lasts after it was written: seconds, a `timedelta` or `None`; left out: the store's
            `default_ttl`. Arrays end chunk by chunk, and a chunk that has ended reads as the fill value: let it be
            longer than an array is used, or leave it out and say `expire_run`.
        read_only: Whether writing is refused.
        **options: For `open_store`, as `namespace`.
    """

    supports_writes = True
    supports_deletes = True
    supports_listing = True

    def __init__(
        self,
        url: str | ArtifactStore | None = None,
        *,
        collection: str,
        ttl: TtlOrDefault = DEFAULT,
        read_only: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(read_only=read_only)
        self._lazy = LazyStore(url, **options)
        self._collection = collection
        self._ttl = ttl

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._lazy!r}, {self._collection!r})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CoatcheckStore) and self._identity() == other._identity()

    __hash__ = None  # type: ignore[assignment]

    def _identity(self) -> tuple[Any, ...]:
        place = id(self._lazy.get()) if self._lazy.is_given else self._lazy.url
        return place, self._lazy.options, self._collection, self._ttl, self.read_only

    def with_read_only(self, read_only: bool = False) -> Self:
        """The same store, for reading alone or not."""
        place = self._lazy.get() if self._lazy.is_given else self._lazy.url
        options = self._lazy.options
        return type(self)(place, collection=self._collection, ttl=self._ttl, read_only=read_only, **options)

    def close(self) -> None:
        """Give back connections; whoever goes on opens new ones. A store that was given stays open."""
        super().close()
        self._lazy.close()

    def _keyed(self) -> Keyed:
        self._is_open = True
        return Keyed(self._lazy.get(), self._collection)

    # One key, for callers that block ----------------------------------------------------------------------------

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """What lies under a key, or some of it; of large contents only the chunks that are needed are read."""
        make = (prototype or default_buffer_prototype()).buffer.from_bytes
        keyed = self._keyed()
        if byte_range is None:
            found = keyed.get(key)
            return None if found is None else make(found.content)
        reader = self._lazy.get().open(keyed.artifact_id(key))
        if reader is None:
            return None
        with reader:
            return make(b"".join(reader.iter_range(*_bounds(byte_range, reader.size))))

    def set_sync(self, key: str, value: Buffer) -> None:
        """Keep a chunk, in place of what lay under its key."""
        self._set(key, value, if_absent=False)

    def delete_sync(self, key: str) -> None:
        """Remove what lies under a key, if something does."""
        self._check_writable()
        self._keyed().delete(key)

    def _set(self, key: str, value: Buffer, *, if_absent: bool) -> None:
        self._check_writable()
        if not isinstance(value, Buffer):
            raise TypeError(f"a chunk must be a Buffer of zarr's, not {type(value).__name__}")
        self._keyed().set(key, value.to_bytes(), ttl=self._ttl, if_absent=if_absent)

    def _set_if_absent(self, key: str, value: Buffer) -> None:
        try:
            self._set(key, value, if_absent=True)
        except ArtifactConflictError:
            return

    # One key, awaited -------------------------------------------------------------------------------------------

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """See `get_sync`."""
        return await asyncio.to_thread(self.get_sync, key, prototype=prototype, byte_range=byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several, in order."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def set(self, key: str, value: Buffer) -> None:
        """See `set_sync`."""
        await asyncio.to_thread(self.set_sync, key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Keep a chunk where nothing is; of several who try at once one succeeds."""
        await asyncio.to_thread(self._set_if_absent, key, value)

    async def delete(self, key: str) -> None:
        """See `delete_sync`."""
        await asyncio.to_thread(self.delete_sync, key)

    async def exists(self, key: str) -> bool:
        """Whether something lies under a key."""
        return await asyncio.to_thread(lambda: self._keyed().get_metadata(key) is not None)

    async def getsize(self, key: str) -> int:
        """Bytes under a key; nothing is read."""
        view = await asyncio.to_thread(lambda: self._keyed().get_metadata(key))
        if view is None:
            raise FileNotFoundError(key)
        return view.size_bytes

    # What there is: each asks for the metadata of the whole collection ------------------------------------------

    async def _entries(self, prefix: str) -> list[ArtifactMetadata]:
        return await asyncio.to_thread(lambda: self._keyed().entries(prefix))

    async def getsize_prefix(self, prefix: str) -> int:
        """Bytes under all keys with a prefix."""
        return sum(view.size_bytes for view in await self._entries(prefix))

    async def list(self) -> AsyncIterator[str]:
        """All keys, in order."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Keys with a prefix, in order."""
        for view in await self._entries(prefix):
            yield view.extra["key"]

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """What is in a directory: names of chunks, groups and arrays."""
        above = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        keys = [view.extra["key"] for view in await self._entries(above)]
        for name in dict.fromkeys(key.removeprefix(above).partition("/")[0] for key in keys):
            yield name

    async def delete_dir(self, prefix: str) -> None:
        """Remove all in a directory."""
        self._check_writable()
        gone = [view.artifact_id for view in await self._entries(f"{prefix.rstrip('/')}/" if prefix else "")]
        await asyncio.to_thread(lambda: self._lazy.get().delete_many(gone))

    async def clear(self) -> None:
        """Remove all of the collection."""
        await self.delete_dir("")


def _bounds(part: ByteRequest, size: int) -> tuple[int, int]:
    if isinstance(part, RangeByteRequest):
        return part.start, part.end
    if isinstance(part, OffsetByteRequest):
        return part.offset, size
    if isinstance(part, SuffixByteRequest):
        return max(0, size - part.suffix), size
    raise ValueError(f"Unexpected byte_range, got {part!r}.")  # in the words of zarr's own stores
