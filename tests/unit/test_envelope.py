"""The stored bytes: what goes in comes out, and nothing else ever does."""

from __future__ import annotations

import hashlib
import os
import struct
import tracemalloc

import pytest
import xxhash
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.compression import Zstd
from coatcheck.envelope import HEADER, RAW, VERSION, ZSTD, seal, unseal
from coatcheck.errors import CorruptArtifactError


def sealed(content: bytes, **options) -> tuple[bytes, bytes]:
    digest = hashlib.sha256(content).digest()
    return b"".join(seal(content, digest, **options)), digest


def forge(codec: int, size: int, digest: bytes, payload: bytes, version: int = VERSION) -> bytes:
    """An envelope with a right checksum around whatever one likes."""
    signed = struct.pack(">BBQ32s", version, codec, size, digest)
    return signed + xxhash.xxh3_64(payload + signed).digest() + payload


@given(st.binary(max_size=3000), st.sampled_from([Zstd(), Zstd(-7, 0), None]), st.sampled_from(["full", "checksum"]))
def test_what_goes_in_comes_out(content, compression, verify) -> None:
    stored, digest = sealed(content, compression=compression)
    assert unseal(stored, digest, verify) == unseal(stored, digest, verify, len(content)) == content
    assert len(stored) <= len(content) + HEADER.size


def test_the_layout_is_the_documented_one() -> None:
    stored, digest = sealed(b"hello")
    assert stored[:1] == b"\x02"
    assert stored[1:2] == b"\x00"
    assert stored[2:10] == (5).to_bytes(8)
    assert stored[10:42] == digest
    assert stored[42:50] == xxhash.xxh3_64(b"hello" + stored[:42]).digest()
    assert stored[50:] == b"hello"


def test_text_shrinks_and_noise_does_not_grow() -> None:
    text = b'{"name": "value", "number": 12345}\n' * 1000
    assert len(sealed(text)[0]) < len(text) / 3
    for size in (600, 100_000, 1_000_000):
        noise = os.urandom(size)
        assert len(sealed(noise)[0]) == size + HEADER.size


def test_types_that_are_compressed_already_are_left_alone() -> None:
    text = b"x" * 10_000
    assert sealed(text, content_type="image/png")[0][1] == RAW
    assert sealed(text, content_type="image/svg+xml")[0][1] == ZSTD
    assert sealed(text, compression=None)[0][1] == RAW


@pytest.mark.parametrize("content", [b"", b"hello", b"text " * 500])
@pytest.mark.parametrize("verify", ["full", "checksum"])
def test_every_truncation_is_noticed(content, verify) -> None:
    stored, digest = sealed(content)
    for length in range(len(stored)):
        for size in (None, len(content), max(0, length - HEADER.size)):
            with pytest.raises(CorruptArtifactError):
                unseal(stored[:length], digest, verify, size)


@pytest.mark.parametrize("content", [b"hello", b"text " * 200, bytes(range(256))])
@pytest.mark.parametrize("verify", ["full", "checksum"])
def test_every_flipped_bit_is_noticed(content, verify) -> None:
    stored, digest = sealed(content)
    for bit in range(len(stored) * 8):
        flipped = bytearray(stored)
        flipped[bit // 8] ^= 1 << bit % 8
        for size in (None, len(content)):
            with pytest.raises(CorruptArtifactError):
                unseal(bytes(flipped), digest, verify, size)


@pytest.mark.parametrize("size", [None, 6])
@pytest.mark.parametrize("verify", ["full", "checksum"])
def test_anothers_content_is_noticed(verify, size) -> None:
    with pytest.raises(CorruptArtifactError, match="another artifact"):
        unseal(sealed(b"theirs")[0], hashlib.sha256(b"mine").digest(), verify, size)


@pytest.mark.parametrize("size", [None, 5])
def test_a_right_checksum_over_wrong_content_is_noticed_by_the_digest(size) -> None:
    digest = hashlib.sha256(b"right").digest()
    with pytest.raises(CorruptArtifactError, match="SHA-256"):
        unseal(forge(RAW, 5, digest, b"wrong"), digest, size=size)


@pytest.mark.parametrize(
    ("version", "codec", "message"),
    [(3, RAW, "version 3.*upgrade"), (1, RAW, "version 1"), (0, RAW, "version 0"), (2, 7, "codec 7")],
)
@pytest.mark.parametrize("size", [None, 1])
def test_the_future_is_named(version, codec, message, size) -> None:
    digest = hashlib.sha256(b"x").digest()
    with pytest.raises(CorruptArtifactError, match=message):
        unseal(forge(codec, 1, digest, b"x", version), digest, size=size)


@pytest.mark.parametrize("declared", [1024, 2**30])
def test_a_bomb_does_not_explode(declared) -> None:
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(64 << 20))
    streamed = zstandard.ZstdCompressor(level=1, write_content_size=False)
    digest = bytes(32)
    for payload in (bomb, streamed.compressobj().compress(b"x") + b"", bomb[:-10]):
        tracemalloc.start()
        with pytest.raises(CorruptArtifactError):
            unseal(forge(ZSTD, declared, digest, payload), digest)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 << 20


@given(st.binary(max_size=200))
def test_garbage_is_a_typed_error(garbage) -> None:
    with pytest.raises(CorruptArtifactError):
        unseal(garbage, bytes(32))


@given(st.integers(0, 3), st.integers(0, 2**64 - 1), st.binary(max_size=100))
def test_garbage_with_a_right_checksum_is_a_typed_error(codec, size, payload) -> None:
    with pytest.raises(CorruptArtifactError):
        unseal(forge(codec, size, bytes(32), payload), bytes(32))
