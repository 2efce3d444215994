"""Where large content comes from: files and binary streams, read in blocks, twice.

The first reading finds out the SHA-256, because that names the content and says whether it has to be sent at all. It
also notes a checksum of every chunk; the second reading compares, so that a file that changed in between is refused
before anything of it is published. Streams that cannot be read twice are copied to a temporary file on the way.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import IO, Any, BinaryIO, Final, NamedTuple

import xxhash

from .ahead import Ahead
from .errors import ArtifactTooLargeError, InvalidArtifactError
from .folders import check_path
from .plan import Plan, Step, Work

MIB: Final = 1024 * 1024
_PIECE: Final = 128 * 1024  # bytes that are hashed twice before the next ones are

TransferProgress = Callable[[int, int | None], None]
"""Told how many bytes were read while their number is not known yet, then how many of how many were stored."""

SourceLike = str | os.PathLike[str] | BinaryIO | io.RawIOBase  # the last one: what `open` of another store gives

AsyncSourceLike = SourceLike | AsyncIterable[bytes]


class Chunking(NamedTuple):
    """How content is cut.

    Attributes:
        size: Length of a chunk in bytes.
        threshold: Content of this length and more is cut.
        window: How many chunks are in memory, and under way in one round trip, at a time.
    """

    size: int = MIB
    threshold: int = 4 * MIB
    window: int = 4

    def count(self, length: int) -> int:
        """How many chunks a content of that length has."""
        return -(-length // self.size)


class Chunk(NamedTuple):
    """Plain bytes and their XXH3-64. The bytes may be overwritten when the source is asked for more, twice."""

    data: memoryview
    checksum: int


class Source(ABC):
    """Large content that can be read chunk by chunk, as often as needed.

    Attributes:
        size: Length in bytes.
        digest: SHA-256.
        apart: Whether a thread of our own may read it, and is worth its cost.
        held: Whether all of it is in memory anyway.
    """

    size: int
    digest: bytes
    apart = True
    held = False

    @abstractmethod
    def chunks(self, first: int, count: int) -> list[Chunk]:
        """Consecutive chunks; fewer at the end.

        Raises:
            InvalidArtifactError: The source changed since it was read first.
        """


class BytesSource(Source):
    """Content that is in memory. Its checksums take less time than handing them from thread to thread."""

    apart = False
    held = True

    def __init__(self, content: bytes, digest: bytes, chunk_size: int) -> None:
        self.size = len(content)
        self.digest = digest
        self._content = memoryview(content)
        self._chunk_size = chunk_size

    def chunks(self, first: int, count: int) -> list[Chunk]:
        width = self._chunk_size
        parts = [
            self._content[n * width : (n + 1) * width] for n in range(first, first + count) if n * width < self.size
        ]
        return [Chunk(part, xxhash.xxh3_64_intdigest(part)) for part in parts]


class StreamSource(Source):
    """A seekable stream that was read once.

    Args:
        stream: The stream.
        start: Where the content begins in it.
        size: Its length.
        digest: Its SHA-256.
        checksums: XXH3-64 of every chunk.
        chunk_size: Length of a chunk.
    """

    def __init__(
        self, stream: Any, start: int, size: int, digest: bytes, checksums: list[int], chunk_size: int
    ) -> None:
        self.size = size
        self.digest = digest
        self._stream = stream
        self._start = start
        self._checksums = checksums
        self._chunk_size = chunk_size
        self._buffers = _Buffers()
        self.apart = _is_file(stream)

    def chunks(self, first: int, count: int) -> list[Chunk]:
        width = self._chunk_size
        begin, end = first * width, min((first + count) * width, self.size)
        buffer = self._buffers.next(count * width)
        self._stream.seek(self._start + begin)
        window = buffer[: _fill(self._stream, buffer[: end - begin])]
        if len(window) < end - begin:
            raise _changed("became shorter")
        if end == self.size and self._stream.read(1):
            raise _changed("became longer")
        chunks = []
        for n, offset in enumerate(range(0, len(window), width), first):
            part = window[offset : offset + width]
            if xxhash.xxh3_64_intdigest(part) != self._checksums[n]:
                raise _changed("changed")
            chunks.append(Chunk(part, self._checksums[n]))
        return chunks


class _Buffers:
    """Two buffers in turn: one is filled while the other is used."""

    def __init__(self) -> None:
        self._used = self._idle = memoryview(b"")

    def next(self, size: int) -> memoryview:
        """One of that size, or longer; what was in it is gone."""
        self._used, self._idle = self._idle, self._used
        if len(self._used) < size:
            self._used = memoryview(bytearray(size))
        return self._used


def _is_file(stream: Any) -> bool:
    """Whether it surely is a regular file: any thread may read that, and it never lets one wait."""
    if isinstance(stream, tempfile.SpooledTemporaryFile):
        return True
    if type(getattr(stream, "file", stream)) not in (io.BufferedReader, io.BufferedRandom, io.FileIO, io.BytesIO):
        return False
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:  # in memory
        return True


def _changed(how: str) -> InvalidArtifactError:
    return InvalidArtifactError(
        f"the source {how} while it was read; nothing was stored: store a file that is finished"
    )


def open_source(source: object, closing: ExitStack) -> Any:
    """The binary stream that a caller means; a file is opened, and closed with `closing`.

    Raises:
        InvalidArtifactError: Neither a path nor a readable binary stream.
        OSError: The file cannot be opened.
    """
    if isinstance(source, str | os.PathLike):
        check_path(source, "source")
        return closing.enter_context(open(source, "rb"))  # noqa: PTH123  # as given: a path may be relative to anything
    kind = type(source).__name__
    if isinstance(source, io.TextIOBase):
        raise InvalidArtifactError(f"{kind} is a text stream: open the file in binary mode")
    if not callable(getattr(source, "read", None)):
        raise InvalidArtifactError(f"expected a path or a binary stream, not {kind}; use store() for bytes")
    if getattr(source, "closed", False):
        raise InvalidArtifactError(f"the {kind} is closed")
    readable = getattr(source, "readable", None)
    if readable is not None and not readable():
        raise InvalidArtifactError(f"the {kind} is not open for reading")
    return source


class _Next(Step):
    """The next piece of an async iterable; `None` at its end."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: AsyncIterator[Any]) -> None:
        self._pieces = pieces

    def run(self) -> Any:
        kind = type(self._pieces).__name__
        raise InvalidArtifactError(f"{kind} is an async iterable: only an asyncio store can read it")

    async def arun(self) -> Any:
        return await anext(self._pieces, None)


def spool(source: AsyncIterable[Any], chunking: Chunking, max_size: int | None, closing: ExitStack) -> Plan[IO[bytes]]:
    """The pieces of an async iterable as a file: in memory while they are short, then in a temporary one.

    Args:
        source: Gives bytes.
        chunking: What is long.
        max_size: Largest content in bytes.
        closing: Closes the file.
    """
    file = closing.enter_context(tempfile.SpooledTemporaryFile(chunking.threshold))  # noqa: SIM115  # it is
    pieces = aiter(source)
    done = 0
    while (piece := (yield _Next(pieces))) is not None:
        data = _bytes(piece, "the iterable")
        done += len(data)
        _check_size(done, max_size)
        if done < chunking.threshold:
            file.write(data)
        else:
            yield Work(partial(file.write, data))
    file.seek(0)
    return file


def read_source(
    stream: Any, chunking: Chunking, max_size: int | None, progress: TransferProgress | None, closing: ExitStack
) -> Plan[bytes | Source]:
    """Read a stream from where it stands to its end: short content whole, long content as a `Source`.

    Args:
        stream: What `open_source` returned.
        chunking: What is long.
        max_size: Largest content in bytes.
        progress: Told about long content.
        closing: Closes the temporary file that a stream without `seek` needs.
    """
    start = stream.tell() if _is_seekable(stream) else None
    head: list[bytes] = yield Work(lambda: list(_pieces(stream, chunking.threshold)))
    done = sum(map(len, head))
    _check_size(done, max_size)
    if done < chunking.threshold:
        return b"".join(head)
    copy = closing.enter_context(tempfile.TemporaryFile()) if start is None else None  # noqa: SIM115  # it is
    reading = _FirstReading(stream, chunking, copy)
    yield Work(lambda: reading.begin(head))
    with Ahead(apart=_is_file(stream)) as ahead:
        upcoming = ahead.begin(reading.read)
        while True:
            if progress is not None:
                progress(done, None)
            block: memoryview = yield upcoming
            if not block:
                break
            done += len(block)
            _check_size(done, max_size)
            upcoming = ahead.begin(reading.read)
            yield Work(partial(reading.take, block))
    return StreamSource(
        stream if copy is None else copy, start or 0, done, reading.digest(), reading.checksums, chunking.size
    )


def read_whole(source: object) -> bytes:
    """Everything that is left in a source, in memory."""
    with ExitStack() as closing:
        return b"".join(_pieces(open_source(source, closing), None))


class _FirstReading:
    """Finds out the SHA-256 of a stream and the XXH3-64 of each chunk; makes the copy if a second reading needs one."""

    def __init__(self, stream: Any, chunking: Chunking, copy: IO[bytes] | None) -> None:
        self.checksums: list[int] = []
        self._stream = stream
        self._copy = copy
        self._chunk_size = chunking.size
        self._window = chunking.window * chunking.size
        self._buffers = _Buffers()
        self._whole = hashlib.sha256()
        self._chunk = xxhash.xxh3_64()
        self._filled = 0

    def begin(self, head: list[bytes]) -> None:
        """Take what was read before, and empty the list on the way."""
        while head:
            self.take(memoryview(head.pop(0)))

    def read(self) -> memoryview:
        """The next block, until the one after the next is read; empty at the end."""
        buffer = self._buffers.next(self._window)
        return buffer[: _fill(self._stream, buffer)]

    def digest(self) -> bytes:
        """The SHA-256, once everything was read; a shorter last chunk gets its checksum now."""
        if self._filled:
            self._next_chunk()
        return self._whole.digest()

    def take(self, block: memoryview) -> None:
        """Hash a block; both ways while a piece of it is in the processor's cache."""
        if self._copy is not None:
            self._copy.write(block)
        while block:
            piece = block[: min(_PIECE, self._chunk_size - self._filled)]
            block = block[len(piece) :]
            self._whole.update(piece)
            self._chunk.update(piece)
            self._filled += len(piece)
            if self._filled == self._chunk_size:
                self._next_chunk()

    def _next_chunk(self) -> None:
        self.checksums.append(self._chunk.intdigest())
        self._chunk.reset()
        self._filled = 0


def _is_seekable(stream: Any) -> bool:
    seekable = getattr(stream, "seekable", None)
    return seekable is not None and bool(seekable())


def _check_size(size: int, max_size: int | None) -> None:
    if max_size is not None and size > max_size:
        raise ArtifactTooLargeError(
            f"content has more than {max_size} bytes, the most that this store takes (max_size)"
        )


def _pieces(stream: Any, limit: int | None) -> Iterator[bytes]:
    """What a stream has, up to a limit."""
    left = limit
    while left is None or left > 0:
        piece = _read(stream, MIB if left is None else min(left, MIB))
        if not piece:
            return
        yield piece
        if left is not None:
            left -= len(piece)


def _fill(stream: Any, buffer: memoryview) -> int:
    """Read until the buffer is full or the stream ends; how many bytes."""
    filled = 0
    readinto = getattr(stream, "readinto", None)
    while filled < len(buffer):
        rest = buffer[filled:]
        if readinto is None:
            piece = _read(stream, len(rest))
            count = len(piece)
            rest[:count] = piece
        else:
            count = _available(readinto(rest))
        if not count:
            break
        filled += count
    return filled


def _read(stream: Any, size: int) -> bytes:
    piece = _available(stream.read(size))
    piece = _bytes(piece, "the stream")
    if len(piece) > size:
        raise InvalidArtifactError(f"the stream gave {len(piece)} bytes when it was asked for {size}")
    return piece


def _bytes(piece: Any, giver: str) -> bytes:
    if isinstance(piece, str):
        raise InvalidArtifactError(f"{giver} gives str: open it in binary mode")
    if isinstance(piece, bytes):
        return piece
    try:
        return bytes(memoryview(piece))
    except TypeError:
        raise InvalidArtifactError(f"{giver} gives {type(piece).__name__}, not bytes") from None


def _available(result: Any) -> Any:
    if result is None:
        raise InvalidArtifactError("the stream is non-blocking and has nothing to read now: make it blocking")
    return result
