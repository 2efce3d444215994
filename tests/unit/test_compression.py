"""What is compressed: whatever pays, never noise, and never anything that would grow."""

from __future__ import annotations

import array
import base64
import hashlib
import json
import random
import threading

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from coatcheck import InvalidArtifactError
from coatcheck.compression import Zstd
from coatcheck.envelope import HEADER, RAW, ZSTD, seal, unseal

RANDOM = random.Random(20240229)
WORDS = "artifact content lease ticket worker run stores a of the in by that which Redis hands on größer 内容".split()


def noise(size: int) -> bytes:
    return RANDOM.randbytes(size)


def prose(size: int) -> str:
    return " ".join(RANDOM.choice(WORDS) for _ in range(size // 2 + 1))[:size]


def rows(size: int) -> list[dict]:
    return [
        {"id": RANDOM.getrandbits(40), "name": prose(12), "score": RANDOM.random(), "tags": [prose(5), prose(9)]}
        for _ in range(size // 40 + 1)
    ]


COMPRESSIBLE = {
    "text": lambda size: prose(size).encode(),
    "JSON": lambda size: json.dumps(rows(size)).encode(),
    "msgpack": lambda size: msgpack.packb(rows(size)),
    "base64 of noise": lambda size: base64.b64encode(noise(size)),
    "hex of noise": lambda size: noise(size).hex().encode(),
    "prices as doubles": lambda size: array.array(
        "d", [RANDOM.randrange(10**4) / 100 for _ in range(size // 8 + 1)]
    ).tobytes(),
    "integers": lambda size: array.array("i", [RANDOM.randrange(10**5) for _ in range(size // 4 + 1)]).tobytes(),
}
SIZES = [700, 1024, 4096, 30_000, 200_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", COMPRESSIBLE)
def test_what_pays_is_compressed(kind, size) -> None:
    make = COMPRESSIBLE[kind]
    for _ in range(20):
        content = make(size)[:size]
        assert len(Zstd().pack(content, "") or content) < len(content)


@pytest.mark.parametrize("size", SIZES)
def test_zstd_is_not_asked_about_noise(size, monkeypatch) -> None:
    asked = []
    real = zstandard.ZstdCompressor

    class Watched:
        def __init__(self, level: int) -> None:
            self.context = real(level=level)

        def compress(self, content: bytes) -> bytes:
            asked.append(len(content))
            return self.context.compress(content)

    monkeypatch.setattr("coatcheck.compression._contexts", threading.local())
    monkeypatch.setattr("coatcheck.compression.zstandard.ZstdCompressor", Watched)
    assert all(Zstd().pack(noise(size), "") is None for _ in range(100))
    assert sum(length == size for length in asked) < 5  # the probe guesses; nearly always right is enough
    assert Zstd().pack(prose(size).encode(), "") is not None
    assert asked


@given(st.binary(max_size=2000), st.sampled_from([-7, -1, 0, 1, 3, 19, 22]), st.integers(0, 600))
def test_nothing_grows_at_any_level(content, level, threshold) -> None:
    digest = hashlib.sha256(content).digest()
    stored = b"".join(seal(content, digest, "", Zstd(level, threshold)))
    assert len(stored) <= len(content) + HEADER.size
    assert stored[10:42] == digest  # of the plain bytes
    assert unseal(stored, digest) == content


def test_the_threshold_is_where_compression_begins() -> None:
    text = b"text " * 20
    digest = hashlib.sha256(text).digest()
    assert seal(text, digest, "", Zstd(threshold=len(text) + 1))[0][1] == RAW
    assert seal(text, digest, "", Zstd(threshold=len(text)))[0][1] == ZSTD
    assert seal(text, digest)[0][1] == RAW


def test_levels_are_kept_apart_in_every_thread() -> None:
    text = prose(60_000).encode()
    expected = {level: zstandard.ZstdCompressor(level=level).compress(text) for level in (-7, 1, 3, 12)}
    assert len(set(map(len, expected.values()))) == len(expected)
    wrong = []

    def work() -> None:
        for _ in range(10):
            wrong.extend(level for level, packed in expected.items() if Zstd(level).pack(text, "") != packed)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("level", [-8, 23, True, 3.0, "3", None])
def test_a_level_is_an_int_of_zstd(level) -> None:
    with pytest.raises(InvalidArtifactError, match="compression_level"):
        Zstd(level)


@pytest.mark.parametrize("threshold", [-1, False, 1.5, "1", None])
def test_a_threshold_is_a_number_of_bytes(threshold) -> None:
    with pytest.raises(InvalidArtifactError, match="compression_threshold"):
        Zstd(threshold=threshold)
