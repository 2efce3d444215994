"""Reading an opened artifact like a file: one position and one cache, a blocking and an awaited face."""

from __future__ import annotations

import io
import operator
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, Never, Self

from .arguments import check_bound
from .backends.opened import Block, OpenedArtifact
from .explained import explained_by
from .plan import Plan

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .model import ArtifactMetadata


class Cursor:
    """A position in an opened artifact, and the blocks around it. Its plans are run by the readers below."""

    def __init__(self, opened: OpenedArtifact) -> None:
        self.opened = opened
        self.position = 0
        self._blocks: list[Block] = []

    @classmethod
    def over(cls, opened: OpenedArtifact, start: int | None, stop: int | None) -> tuple[Cursor, int]:
        """A cursor of its own at the beginning of `content[start:stop]`, and how long that is."""
        wanted = slice(check_bound(start, "start"), check_bound(stop, "stop"))
        cursor = cls(opened)
        cursor.position, last, _ = wanted.indices(opened.size)
        return cursor, max(0, last - cursor.position)

    def seek(self, offset: int, whence: int) -> int:
        """Move; the new position, which may lie beyond the end."""
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.opened.size}
        if whence not in bases:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence!r}")
        position = bases[whence] + operator.index(offset)
        if position < 0:
            raise ValueError(f"cannot seek to {position}, before the beginning")
        self.position = position
        return position

    def available(self, count: int | None) -> int:
        """How many bytes a read of `count` will give (`None` or negative: all that is left)."""
        left = max(0, self.opened.size - self.position)
        return left if count is None or count < 0 else min(count, left)

    def piece(self, limit: int) -> Plan[memoryview]:
        """At least one byte from the position on, at most `limit`; moves the position."""
        block = self._cached()
        if block is None:
            self._blocks = []  # let go of the old ones first
            self._blocks = yield from self.opened.blocks(self.position, self.position + limit)
            block = self._blocks[0]
        offset = self.position - block.start
        piece = memoryview(block.data)[offset : offset + limit]
        self.position += len(piece)
        return piece

    def _cached(self) -> Block | None:
        return next((block for block in self._blocks if block.start <= self.position < block.stop), None)

    def read(self, count: int | None) -> Plan[bytes]:
        """Exactly as many bytes as there are, up to `count`."""
        wanted = self.available(count)
        content = BytesIO()
        while content.tell() < wanted:
            content.write((yield from self.piece(wanted - content.tell())))
        return content.getvalue()  # not a copy

    def readinto(self, buffer: memoryview) -> Plan[int]:
        """Fill a buffer as far as there are bytes; how many."""
        filled, wanted = 0, self.available(len(buffer))
        while filled < wanted:
            piece = yield from self.piece(wanted - filled)
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def close(self) -> None:
        """Let go of everything."""
        self._blocks = []
        self.opened.close()


class ArtifactReader(io.RawIOBase):
    """The content of an artifact as a seekable binary stream. For one thread at a time.

    `read(n)` and `readinto` return less than asked for at the end of the content only. Reading by lines is slow: wrap
    the reader in `io.BufferedReader` or `io.TextIOWrapper` for that.

    Attributes:
        metadata: What `ArtifactStore.get_metadata` would have said when it was opened.
        size: Length of the content in bytes.
    """

    def __init__(self, opened: OpenedArtifact, run: Callable[[Plan[Any]], Any]) -> None:
        self._cursor = Cursor(opened)
        self._run = run
        self.metadata: ArtifactMetadata = opened.metadata
        self.size = opened.size

    def __reduce__(self) -> Never:
        raise _not_picklable()

    def readable(self) -> bool:
        """True."""
        self._check_open()
        return True

    def seekable(self) -> bool:
        """True."""
        self._check_open()
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes; all that is left if it is negative or `None`.

        Raises:
            CorruptArtifactError: What lies there is not what was stored.
            ArtifactLostError: The artifact was deleted or replaced since it was opened.
            ValueError: The reader was closed.
        """
        self._check_open()
        content: bytes = self._run(self._cursor.read(size))
        return content

    def readall(self) -> bytes:
        """All that is left."""
        return self.read()

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill a buffer; how many bytes. Errors as for `read`."""
        self._check_open()
        count: int = self._run(self._cursor.readinto(memoryview(buffer).cast("B")))
        return count

    def write(self, data: Buffer, /) -> Never:  # noqa: ARG002  # the interface of streams
        """Never: an artifact is replaced as a whole.

        Raises:
            io.UnsupportedOperation: Always.
        """
        self._check_open()
        raise io.UnsupportedOperation("an artifact is only read: store other content instead")

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a position, counted from the start, from here or from the end; the new position."""
        self._check_open()
        return self._cursor.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        self._check_open()
        return self._cursor.position

    def iter_range(self, start: int | None = None, stop: int | None = None) -> Iterator[bytes]:
        """`content[start:stop]`, by the rules of slices, in verified pieces; the position stays where it is."""
        self._check_open()
        return self._pieces(*Cursor.over(self._cursor.opened, start, stop))

    def _pieces(self, cursor: Cursor, left: int) -> Iterator[bytes]:
        while left:
            self._check_open()
            piece: memoryview = self._run(cursor.piece(left))
            left -= len(piece)
            yield bytes(piece)

    def close(self) -> None:
        """Close the reader. Idempotent."""
        if not self.closed:
            self._cursor.close()
        super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed artifact reader: open the artifact again")


@explained_by(ArtifactReader)
class AsyncArtifactReader:
    """`ArtifactReader`, awaited; `async for` gives the content from the position on, in chunks. For one task at a time.

    Attributes:
        metadata: What `get_metadata` would have said when it was opened.
        size: Length of the content in bytes.
        closed: Whether it was closed.
    """

    def __init__(self, opened: OpenedArtifact, run: Callable[[Plan[Any]], Awaitable[Any]]) -> None:
        self._cursor = Cursor(opened)
        self._run = run
        self.metadata: ArtifactMetadata = opened.metadata
        self.size = opened.size
        self.closed = False

    def __reduce__(self) -> Never:
        raise _not_picklable()

    async def read(self, size: int | None = -1, /) -> bytes:
        """See `ArtifactReader.read`."""
        self._check_open()
        content: bytes = await self._run(self._cursor.read(size))
        return content

    async def readinto(self, buffer: Buffer, /) -> int:
        """See `ArtifactReader.readinto`."""
        self._check_open()
        count: int = await self._run(self._cursor.readinto(memoryview(buffer).cast("B")))
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """See `ArtifactReader.seek`; nothing is awaited."""
        self._check_open()
        return self._cursor.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        self._check_open()
        return self._cursor.position

    def iter_range(self, start: int | None = None, stop: int | None = None) -> AsyncIterator[bytes]:
        """See `ArtifactReader.iter_range`; for `async for`."""
        self._check_open()
        return self._pieces(*Cursor.over(self._cursor.opened, start, stop))

    async def _pieces(self, cursor: Cursor, left: int) -> AsyncIterator[bytes]:
        while left:
            self._check_open()
            piece: memoryview = await self._run(cursor.piece(left))
            left -= len(piece)
            yield bytes(piece)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._check_open()
        while left := self._cursor.available(None):
            piece: memoryview = await self._run(self._cursor.piece(left))
            yield bytes(piece)
            self._check_open()

    async def aclose(self) -> None:
        """Close the reader. Idempotent."""
        self.closed = True
        self._cursor.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed artifact reader: open the artifact again")


def _not_picklable() -> TypeError:
    return TypeError("a reader has one position and stays where it was opened: hand on the ticket, and open that")
