"""The stored bytes: a versioned envelope around one content. `docs/format.md` describes it to the byte.

    version:1  codec:1  size:8  digest:32  checksum:8  payload

`size` is the length of the plain content, `digest` its full SHA-256. `checksum` is XXH3-64 over the payload
and then the rest of the header, so that a flipped bit anywhere is noticed without hashing the plain content.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from typing import Final, Literal, NamedTuple

import xxhash
import zstandard

from .compression import Zstd
from .errors import CorruptArtifactError

VERSION: Final = 2
HEADER: Final = struct.Struct(">BBQ32s8s")
_SMALL: Final = 4096  # joining so few bytes costs less than hashing in two steps
_LENGTH: Final = HEADER.size
_SIGNED: Final = struct.Struct(">BBQ32s")  # the part of the header that the checksum covers
_PROTECTED: Final = _SIGNED.size

RAW: Final = 0
ZSTD: Final = 1
MANIFEST: Final = 2  # the payload names the chunks that hold the content

Verify = Literal["full", "checksum"]


class Hashed(NamedTuple):
    """A sealed value whose payload is the plain content, hashed while it came in.

    Attributes:
        header: Its first bytes.
        payload: The rest.
        checksum: What its checksum has to be.
        digest: The SHA-256 of the payload, where that is to be verified.
    """

    header: bytes
    payload: bytes
    checksum: bytes
    digest: bytes | None


Sealed = tuple[bytes, bytes]
"""Header and payload of a content; kept apart so that large contents are not copied."""

_LARGEST_FRAME: Final = 64 * 1024 * 1024  # plain bytes: what a damaged frame may make us allocate

_DEFAULT_COMPRESSION: Final = Zstd()
_contexts = threading.local()  # zstd contexts are costly to make and not safe to share between threads


def _decompressor() -> zstandard.ZstdDecompressor:
    try:
        found: zstandard.ZstdDecompressor = _contexts.decompressor
    except AttributeError:
        found = _contexts.decompressor = zstandard.ZstdDecompressor()
    return found


def pack(content: bytes | memoryview, content_type: str, compression: Zstd | None) -> tuple[int, bytes | memoryview]:
    """Codec and payload of a content: compressed where that pays, else the content itself."""
    if compression is None or len(content) > _LARGEST_FRAME:
        return RAW, content
    packed = compression.pack(content, content_type)
    return (RAW, content) if packed is None else (ZSTD, packed)


def unpack(codec: int, payload: bytes | memoryview, size: int) -> bytes | memoryview:
    """The content of a payload.

    Raises:
        CorruptArtifactError: Damaged, of another size, or of an unknown codec.
    """
    if codec == ZSTD:
        payload = _decompress(payload, size)
    elif codec != RAW:
        raise CorruptArtifactError(f"stored content has unknown codec {codec}: upgrade coatcheck to read it")
    if len(payload) != size:
        raise CorruptArtifactError(f"stored content has {len(payload)} bytes, its envelope says {size}")
    return payload


def header(codec: int, size: int, digest: bytes, payload: bytes | memoryview) -> bytes:
    """What stands in front of a payload."""
    signed = _SIGNED.pack(VERSION, codec, size, digest)
    return signed + _checksum(signed, payload)


def _checksum(signed: bytes, payload: bytes | memoryview) -> bytes:
    if len(payload) < _SMALL:
        return xxhash.xxh3_64_digest(bytes(payload) + signed)
    checksum = xxhash.xxh3_64(payload)
    checksum.update(signed)
    return checksum.digest()


def open_envelope(sealed: bytes | Hashed, digest: bytes) -> tuple[int, int, bytes | memoryview]:
    """Codec, plain size and payload of a sealed value whose checksum and digest are as they should be.

    Raises:
        CorruptArtifactError: As `unseal`.
    """
    payload: bytes | memoryview
    start: bytes
    if isinstance(sealed, Hashed):
        start, payload = sealed.header, sealed.payload
    elif len(sealed) < _SMALL:
        start, payload = sealed, sealed[_LENGTH:]
    else:
        start, payload = sealed, memoryview(sealed)[_LENGTH:]
    if len(start) < _LENGTH:
        raise CorruptArtifactError(f"stored content is truncated: {len(start)} bytes, no envelope")
    version, codec, size, stored_digest, checksum = HEADER.unpack_from(start)
    if version != VERSION:
        raise CorruptArtifactError(
            f"stored content has format version {version}; this coatcheck reads version {VERSION}: upgrade it"
        )
    found = sealed.checksum if isinstance(sealed, Hashed) else _checksum(start[:_PROTECTED], payload)
    if found != checksum:
        raise CorruptArtifactError("stored content is damaged: its checksum does not match")
    if stored_digest != digest:
        raise CorruptArtifactError("stored content is intact, but it is the content of another artifact")
    return codec, size, payload


def seal(
    content: bytes, digest: bytes, content_type: str = "", compression: Zstd | None = _DEFAULT_COMPRESSION
) -> tuple[bytes, bytes]:
    """Wrap a content for storage.

    Args:
        content: The plain content.
        digest: Its full SHA-256.
        content_type: Tells which contents are compressed already.
        compression: How to compress where it pays; `None`: not at all.

    Returns:
        Header and payload. They are stored as one value; kept apart so that large contents are not copied.
        Never longer than the content plus the header.
    """
    codec, payload = pack(content, content_type, compression)
    assert isinstance(payload, bytes)
    return header(codec, len(content), digest, payload), payload


def unseal(sealed: bytes | Hashed, digest: bytes, verify: Verify = "full", size: int | None = None) -> bytes:
    """The plain content of a sealed value.

    Args:
        sealed: What was stored.
        digest: The full SHA-256 of the content that is wanted.
        verify: `"full"` hashes the plain content again, `"checksum"` trusts the checksum of the stored bytes.
        size: Its length, where metadata tell it.

    Raises:
        CorruptArtifactError: It is not an envelope of a known version, or not that content, or damaged.
            Memory stays bounded by `size`, or by the declared size, which the digest's owner wrote.
    """
    if size is not None and (plain := unseal_usual(sealed, digest, verify, size)) is not None:
        return plain
    codec, declared, payload = open_envelope(sealed, digest)
    if size is not None and declared != size:
        raise CorruptArtifactError(f"content of {declared} bytes, metadata says {size}")
    content = payload if codec == RAW and len(payload) == declared else unpack(codec, payload, declared)
    if type(content) is not bytes:
        content = bytes(content)
    if verify == "full":
        known = sealed.digest if isinstance(sealed, Hashed) else None
        if (hashlib.sha256(content).digest() if known is None else known) != digest:
            raise CorruptArtifactError("stored content does not have the SHA-256 it was stored under")
    return content


def unseal_usual(sealed: bytes | Hashed | None, digest: bytes, verify: Verify, size: int) -> bytes | None:
    """The same, straight, of what is small or hashed, raw and as it should be.

    What anything else is, `unseal` finds out.
    """
    if type(sealed) is bytes and len(sealed) == _LENGTH + size and size <= _SMALL:
        signed, plain = sealed[:_PROTECTED], sealed[_LENGTH:]
        if (
            signed == _SIGNED.pack(VERSION, RAW, size, digest)
            and sealed[_PROTECTED:_LENGTH] == xxhash.xxh3_64_digest(plain + signed)
            and (verify != "full" or hashlib.sha256(plain).digest() == digest)
        ):
            return plain
    elif (
        type(sealed) is Hashed
        and len(sealed.payload) == size
        and sealed.header == HEADER.pack(VERSION, RAW, size, digest, sealed.checksum)
        and (verify != "full" or sealed.digest == digest)
    ):
        return sealed.payload
    return None


def is_manifest(sealed: bytes) -> bool:
    """Whether a sealed value says that its payload is a manifest."""
    return len(sealed) > 1 and sealed[1] == MANIFEST


class Hashing:
    """Hashes a sealed value whose payload is the plain content, piece by piece.

    Args:
        header: Its first bytes.
        verify: As for `unseal`.
    """

    def __init__(self, header: bytes, verify: Verify) -> None:
        self._header = header
        self._checksum = xxhash.xxh3_64()
        self._sha256 = hashlib.sha256() if verify == "full" else None

    def update(self, piece: memoryview) -> None:
        """The next bytes of the payload."""
        self._checksum.update(piece)
        if self._sha256 is not None:
            self._sha256.update(piece)

    def whole(self, payload: bytes) -> Hashed:
        """The value, of whose payload all was hashed."""
        self._checksum.update(self._header[: _SIGNED.size])
        digest = None if self._sha256 is None else self._sha256.digest()
        return Hashed(self._header, payload, self._checksum.digest(), digest)


class InOrder:
    """Compares the SHA-256 of a content that is read in pieces, as far as they come in order, from first to last.

    Args:
        digest: What it has to be.
        size: Of the content, in bytes.
    """

    def __init__(self, digest: bytes, size: int) -> None:
        self._digest = digest
        self._size = size
        self._sha256 = hashlib.sha256()
        self._done = 0  # bytes, from the start

    def take(self, start: int, data: bytes | memoryview) -> None:
        """Hash what begins there, if it goes on where the last one ended; it may overlap.

        Raises:
            CorruptArtifactError: All was hashed, now or before, and it is not that content.
        """
        stop = start + len(data)
        if start <= self._done < stop:
            self._sha256.update(data[self._done - start :])
            self._done = stop
        self._compare()

    @property
    def complete(self) -> bool:
        """Whether all was hashed, and is that content."""
        return self._done == self._size

    def fork(self, start: int) -> hashlib._Hash | None:
        """What can hash on from there, for `join`; `None` where another place is next."""
        return self._sha256.copy() if start == self._done else None

    def join(self, sha256: hashlib._Hash, stop: int) -> None:
        """Take what a fork hashed, up to there. Raises as `take`."""
        self._sha256, self._done = sha256, stop
        self._compare()

    def _compare(self) -> None:
        if self._done == self._size and self._sha256.digest() != self._digest:
            raise CorruptArtifactError("stored content does not have the SHA-256 it was stored under")


def _decompress(frame: bytes | memoryview, size: int) -> bytes:
    # zstandard allocates what the frame declares: believed only when the envelope says the same, and within reason.
    try:
        if size > _LARGEST_FRAME or zstandard.get_frame_parameters(frame).content_size != size:
            raise CorruptArtifactError("stored content is damaged: its zstd frame declares another size, or too much")
        return _decompressor().decompress(frame, max_output_size=size)
    except zstandard.ZstdError as error:
        raise CorruptArtifactError(f"stored content is damaged: {error}") from None
