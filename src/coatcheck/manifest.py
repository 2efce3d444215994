"""The manifest of a chunked content: which chunks there are, and what each of them has to be.

    envelope:50  chunk size:4  token:8  then for each chunk  codec:1  length:4  checksum:8

`lua/lib/format.lua` reads the token and counts the chunks; `docs/format.md` describes it to the byte.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import xxhash

from .envelope import HEADER, MANIFEST, RAW, header, open_envelope, unpack
from .errors import CorruptArtifactError

_FIXED: Final = struct.Struct(">I8s")
_ENTRY: Final = struct.Struct(">BIQ")
START: Final = HEADER.size + _FIXED.size
"""Bytes of a sealed manifest that tell how long it is."""
_LARGEST_CHUNK: Final = 16 * 1024 * 1024  # what a damaged manifest may make us allocate


class Entry(NamedTuple):
    """One chunk as it is stored: codec, length and XXH3-64 of the stored bytes."""

    codec: int
    length: int
    checksum: int


def may_be_manifest(stored: int, size: int) -> bool:
    """Whether so many bytes, as they are stored, may be the manifest of a content of that size."""
    return stored > START and (stored - START) % _ENTRY.size == 0 and stored != HEADER.size + size


class Manifest(NamedTuple):
    """A chunked content.

    Attributes:
        digest: SHA-256 of the whole.
        size: Its length.
        chunk_size: Plain length of every chunk but the last.
        token: What distinguishes this upload, 16 hex digits, as in the names of its chunks.
        chunks: The chunks in order.
    """

    digest: bytes
    size: int
    chunk_size: int
    token: bytes
    chunks: Sequence[Entry]

    @staticmethod
    def length_of(start: bytes) -> int:
        """How long a manifest is as it is stored, by its first `START` bytes.

        Raises:
            CorruptArtifactError: They do not begin one.
        """
        if len(start) < START:
            raise CorruptArtifactError("stored content is damaged: its manifest is truncated")
        size: int = HEADER.unpack_from(start)[2]
        chunk_size: int = _FIXED.unpack_from(start, HEADER.size)[0]
        if chunk_size == 0:
            raise CorruptArtifactError("stored content is damaged: its manifest does not add up")
        return START + _ENTRY.size * -(-size // chunk_size)

    @property
    def stored_length(self) -> int:
        """What all chunks take as they are stored."""
        return sum(chunk.length for chunk in self.chunks)

    def plain_length(self, n: int) -> int:
        """Length of a chunk before compression."""
        return min(self.chunk_size, self.size - n * self.chunk_size)

    def are_raw(self, numbers: range) -> bool:
        """Whether chunks lie there as they are."""
        return all(self.chunks[n].codec == RAW for n in numbers)

    def compare(self, n: int, checksum: int) -> None:
        """See whether the stored bytes of a chunk, which have that XXH3-64, are its own.

        Raises:
            CorruptArtifactError: They are not.
        """
        if checksum != self.chunks[n].checksum:
            raise CorruptArtifactError(f"chunk {n}: stored content is damaged: its checksum does not match")

    def unpack(self, n: int, payload: bytes | memoryview) -> bytes | memoryview:
        """The plain bytes of a chunk.

        Raises:
            CorruptArtifactError: These are not its stored bytes.
        """
        codec, length, _ = self.chunks[n]
        self.compare(n, xxhash.xxh3_64_intdigest(payload) if len(payload) == length else -1)
        try:
            return unpack(codec, payload, self.plain_length(n))
        except CorruptArtifactError as error:
            raise CorruptArtifactError(f"chunk {n}: {error}") from None

    def seal(self) -> tuple[bytes, bytes]:
        """As it is stored: envelope and payload."""
        parts = [_FIXED.pack(self.chunk_size, bytes.fromhex(self.token.decode()))]
        parts += [_ENTRY.pack(*entry) for entry in self.chunks]
        payload = b"".join(parts)
        return header(MANIFEST, self.size, self.digest, payload), payload

    @classmethod
    def unseal(cls, sealed: bytes, digest: bytes) -> Manifest:
        """Read what `seal` wrote.

        Raises:
            CorruptArtifactError: Damaged, of a newer version, or of another content.
        """
        codec, size, payload = open_envelope(sealed, digest)
        if codec != MANIFEST or len(payload) < _FIXED.size or (len(payload) - _FIXED.size) % _ENTRY.size:
            raise CorruptArtifactError("stored content is damaged: its manifest is truncated")
        chunk_size, token = _FIXED.unpack_from(payload)
        chunks = [Entry(*fields) for fields in _ENTRY.iter_unpack(payload[_FIXED.size :])]
        if not 0 < chunk_size <= _LARGEST_CHUNK or not 0 < len(chunks) == -(-size // chunk_size):
            raise CorruptArtifactError("stored content is damaged: its manifest does not add up")
        return cls(digest, size, chunk_size, token.hex().encode(), chunks)
