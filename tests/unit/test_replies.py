"""Replies that come in pieces of any size, and what is no reply."""

from __future__ import annotations

import hashlib
import random
from base64 import b64encode
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
import xxhash
from coatcheck.backends.redis.content.arriving import Arriving, ArrivingChunks
from coatcheck.backends.redis.transport.replies import _END, _ROOM, MalformedError, Replies
from coatcheck.compression import Zstd
from coatcheck.envelope import Hashed, seal, unseal
from coatcheck.errors import CorruptArtifactError
from coatcheck.ids import compute_digest
from redis.exceptions import BusyLoadingError, ResponseError

MIB = 1024 * 1024

# Contents that look like headers, or come to their ends where headers do.
PIECES = [
    *(b"\n*123456789\r\n", b"\r\n$99999\r\n", b"*", b"\n*", b"\n$", b"$80000\r\n", b"\n*1234", b"\n", b"\r", b"\n%5"),
    *(b"\n$12345678901234", b"\r\n+" + _END + b"\r\n", b">999999", b"a" * 20, b"b" * 69_990, b"c" * 200_000),
]


def encode(value: Any) -> bytes:
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, int):
        return b":%d\r\n" % value
    return b"*%d\r\n" % len(value) + b"".join(map(encode, value))


def random_value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.random()
    if kind < 0.1:
        return None
    if kind < 0.2:
        return chance.randrange(-5, 10**12)
    if kind < 0.4 and depth < 3:
        return [random_value(chance, depth + 1) for _ in range(chance.randrange(5))]
    return b"".join(chance.choices(PIECES, k=chance.randrange(4)))


def read(replies: Replies, data: bytes, count: int, sizes: Iterable[int], large: Any = None) -> list[Any]:
    replies.expect(count, large)
    position, complete = 0, False
    for size in sizes:
        piece = data[position : position + min(size, len(replies.space()))]
        replies.space()[: len(piece)] = piece
        complete = replies.took(len(piece))
        position += len(piece)
        if position == len(data):
            break
    assert complete
    return replies.all()


def forever(size: int) -> Iterable[int]:
    while True:
        yield size


def test_any_replies_in_pieces_of_any_size() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    replies = Replies()
    for _ in range(1000):
        values = [random_value(chance) for _ in range(chance.randrange(1, 6))]
        data = b"".join(map(encode, values))
        longest = 3 if len(data) < 1000 else 70_000
        sizes = (chance.choice([1, chance.randint(1, longest), MIB]) for _ in forever(1))
        assert read(replies, data, len(values), sizes) == values


FITS = _ROOM - len(b"$123456\r\n\r\n")  # the longest value that comes as a whole before it is read


@pytest.mark.parametrize("size", [9_999, 10_000, 10_001, 70_000, FITS, FITS + 1, 20 * MIB])
def test_values_of_any_size(size) -> None:
    values = [b"a" * size, [b"small", size], b"b" * size]
    data = b"".join(map(encode, values))
    for piece in (MIB, 50_000):
        assert read(Replies(), data, 3, forever(piece)) == values


@pytest.mark.parametrize("large", [None, partial(Arriving, verify="full")])
def test_a_value_stays_when_the_next_one_comes(large) -> None:
    replies = Replies()
    first, second = (b"\2\0" + letter * 20_000 for letter in (b"a", b"b"))
    [value] = read(replies, encode(first), 1, forever(MIB), large)
    read(replies, encode(second), 1, forever(MIB), large)
    assert (value if large is None else value.header + value.payload) == first


def test_a_value_that_comes_in_pieces_is_made_room_for_once_it_is_there() -> None:
    made = []

    def large(size: int) -> Arriving:
        made.append(size)
        return Arriving(size, "full")

    data = encode(b"a" * 20_000)
    replies = Replies()
    replies.expect(1, large)
    take(replies, data[:-1])
    assert not made
    replies.space()[:1] = data[-1:]
    assert replies.took(1)
    assert made == [20_000]


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("piece", [MIB, 30_000, 999])
def test_chunks_come_where_they_belong(piece, checked) -> None:
    chunks = [random.randbytes(size) for size in (20_000, 200_000, 20_000, 9_999)]
    buffer = memoryview(bytearray(240_002))
    sha256 = hashlib.sha256()
    arriving = ArrivingChunks(buffer, list(map(len, chunks)), sha256, checked=checked)
    *replies, last = read(Replies(), b"".join(map(encode, chunks)), 4, forever(piece), arriving.make)
    sums = [xxhash.xxh3_64_intdigest(chunk) if checked else None for chunk in chunks[:3]]
    assert [reply.checksum for reply in replies] == sums
    assert buffer[:-2] == b"".join(chunks[:3])
    assert sha256.digest() == hashlib.sha256(buffer[:-2]).digest()
    assert last == chunks[3]


def test_a_chunk_that_is_longer_than_announced_is_malformed() -> None:
    for piece in (MIB, 999):
        arriving = ArrivingChunks(memoryview(bytearray(20_002)), [20_000], None, checked=True)
        with pytest.raises(MalformedError, match="longer than announced"):
            read(Replies(), b"$20000\r\n" + b"a" * 20_002, 1, forever(piece), arriving.make)


@pytest.mark.parametrize("verify", ["full", "checksum"])
@pytest.mark.parametrize("compression", [None, Zstd()])
@pytest.mark.parametrize("length", [20_000, 200_000])
def test_a_content_is_hashed_as_it_comes(length, compression, verify) -> None:
    content = b64encode(random.randbytes(length))
    digest = compute_digest(content)
    sealed = b"".join(seal(content, digest, compression=compression))
    for size in (7, 50, 51, 4096, 128 * 1024, MIB):
        before, value, after = read_arriving([1, sealed, 2], size, verify)
        assert (before, after) == (1, 2)
        if compression is None and (size >= 100 or value != sealed):  # of a length in pieces, hiredis may read it
            assert value == Hashed(sealed[:50], sealed[50:], value.checksum, digest if verify == "full" else None)
        else:
            assert value == sealed
        assert unseal(value, digest, verify, len(content)) == content
    for place in (0, 1, 9, 10, 41, 42, 49, 50, length // 2, len(sealed) - 1):
        damaged = bytearray(sealed)
        damaged[place] ^= 1 << random.randrange(8)
        [value] = read_arriving([bytes(damaged)], MIB, verify)
        with pytest.raises(CorruptArtifactError):
            unseal(value, digest, verify, len(content))


@pytest.mark.parametrize("length", [20_000, 200_000])
def test_a_content_that_was_forged_shows_by_its_sha_256_only(length) -> None:
    forged, digest = random.randbytes(length), compute_digest(random.randbytes(length))
    sealed = b"".join(seal(forged, digest))
    [value] = read_arriving([sealed], MIB, "checksum")
    assert unseal(value, digest, "checksum", length) == forged
    [value] = read_arriving([sealed], MIB, "full")
    with pytest.raises(CorruptArtifactError, match="SHA-256"):
        unseal(value, digest, "full", length)


def read_arriving(values: list[Any], size: int, verify: str) -> list[Any]:
    data = b"".join(map(encode, values))
    return read(Replies(), data, len(values), forever(size), partial(Arriving, verify=verify))


def test_error_replies_have_their_place() -> None:
    first, second, third = read(Replies(), b"-LOADING it\r\n:1\r\n-ODD text\r\n", 3, forever(4))
    assert isinstance(first, BusyLoadingError)
    assert second == 1
    assert isinstance(third, ResponseError)
    assert str(third) == "ODD text"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0" * 100,
        b"*2147483647\r\n",
        b"*100000\r\n",
        b"*1\r\n*1\r\n*0000000000000001\r\n",
        b"*1\r\n" * 2000,
        b"%99999999\r\n~99999999\r\n",
        b"*-2\r\n",
        b"$9999999999\r\n",
        b"$536870913\r\n",
        b"$x\r\n",
        b":x\r\n",
        b":99999999999999999999999999\r\n",
        b"$80000\r\n" + b"a" * 80_002,
        b":1\r\n:2\r\n",
        b":1\r\n*",
        b":1\r\n*999999",
        b"$80000\r\n" + b"a" * 80_000 + b"\r\n:1\r\n",
        b"$80000\r\n" + b"a" * 80_000 + b"\r\n$80000\r\n",
        b"+" + b"a" * 40 * MIB,
        b"*2\r\n$100000000\r\n" + b"a" * 40 * MIB,
        b"-MOVED nowhere\r\n",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_reply_ends_at_once(data) -> None:
    for size in (64 * 1024,) if len(data) > MIB else (3, 64 * 1024):
        try:
            [reply] = read(Replies(), data, 1, forever(size))
        except MalformedError:
            pass
        else:
            assert isinstance(reply, MalformedError)


def test_a_header_of_much_is_seen_wherever_a_piece_ends() -> None:
    for header in (b"*100000\r\n", b"%999999999999\r\n"):
        for before in (b"", b"+OK\r\n", b"$2000\r\n" + bytes(2000) + b"\r\n"):
            for cut in range(1, len(header)):
                data = before + header
                with pytest.raises(MalformedError, match="a list of"):
                    read(Replies(), data, 3, iter([len(before) + cut, len(data)]))


@pytest.mark.parametrize(
    "before", [b"", b"+OK\r\n", b"*2\r\n", b"*2\r\n$3\r\nabc\r\n", b"$80000\r\n" + bytes(80_000) + b"\r\n"]
)
@pytest.mark.parametrize("kind", [b"+", b"-", b":", b"*", b"$", b"("])
def test_a_line_ends_soon(before, kind) -> None:
    replies = Replies()
    replies.expect(3)
    for piece in (before[: len(before) // 2], before[len(before) // 2 :]):
        take(replies, piece)
    taken = 0
    with pytest.raises(MalformedError):
        for piece in (kind, *[b"1" * 4096] * 1000):
            take(replies, piece)
            taken += len(piece)
    assert taken < 70_000


def take(replies: Replies, data: bytes) -> None:
    while data:
        space = replies.space()
        some, data = data[: len(space)], data[len(space) :]
        space[: len(some)] = some
        assert not replies.took(len(some))


def test_lists_in_lists_end_somewhere() -> None:
    replies = Replies()
    replies.expect(1)
    with pytest.raises(MalformedError):
        take(replies, b"*1\r\n" * 100_000)
