"""Replies: bytes as they come in, values as they are complete.

hiredis parses. It copies what it parses, so a large value goes straight into the memory that is handed out instead. It
also makes room for as many elements as a header announces, so headers are looked at before it sees them: what a server
can make this process hold is bounded by what it sends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final, Protocol

from hiredis import Reader
from redis.connection import DefaultParser

_ROOM: Final = 16 * 1024  # bytes received at a time
_PIECE: Final = 16 * 1024 * 1024  # bytes of a large value that room is made for before they have come
_LARGEST: Final = 512 * 1024 * 1024  # bytes of a value, by the protocol
_LONGEST: Final = 32 * 1024 * 1024  # bytes of another reply
_LINE: Final = 64 * 1024  # bytes of a line: an error, a number, a header

# A list of 100,000 elements or more, which no command of ours returns; a value of 70,000 bytes or more; a header that
# may be either once the rest of it has come.
_HEADER: Final = rb"(?:(?P<many>[*%~>|]\d{6})|\$(?P<large>[1-9]\d{5,}|[7-9]\d{4})\r\n|(?P<cut>[*%~>|$]\d{0,12}\r?\Z))"
_SUSPECT: Final = re.compile(rb"\n" + _HEADER)

# Whether there may be one, at a third of the cost: at the end of what came, and anywhere before.
_CUT: Final = re.compile(rb"\n[*%~>|$]\d{0,12}\r?\Z")
_CUT_LENGTH: Final = 16  # bytes
_NEWLINE: Final = ord("\n")  # the last byte of what was not cut
_MUCH: Final = re.compile(rb"\n[*%~>|$](?:\d{6}|[7-9]\d{4}\r)")

_TOO_MANY: Final = "more replies than commands"
_MORE: Final = object()
_END: Final = b"coatcheck: the end of what came before"


class MalformedError(Exception):
    """What came is not what a Redis server replies."""


class Large(Protocol):
    """A large value that is coming in."""

    def space(self) -> memoryview:
        """Where its next bytes go, and the end of the line behind them."""

    def took(self, size: int) -> bool:
        """So many bytes are there; whether it is complete."""

    def whole(self) -> Any:
        """What stands for it among the replies, once nobody writes into `space` any more."""


class Replies:
    """The replies on one connection, those of one pipeline after the other."""

    __slots__ = (
        *("_clean", "_cut", "_fed", "_large", "_line", "_make_large", "_missing", "_reader", "_room", "_value"),
        *("_values", "_view"),
    )

    def __init__(self) -> None:
        self._room = bytearray(b"\n").ljust(1 + _ROOM, b"\0")  # headers follow the end of a line, the first one too
        self._view = memoryview(self._room)[1:]
        self._reader = _reader()
        self._cut = b""  # the beginning of a header
        self._value: Large | None = None  # what is coming in
        self.expect(0)

    def expect(self, count: int, make_large: Callable[[int], Large] | None = None) -> None:
        """The next pipeline has so many replies. `make_large`: of the size of a large value, what takes it in."""
        self._missing = count
        self._make_large = make_large or LargeBytes
        self._values: list[Any] = []
        self._fed = 0  # bytes of this pipeline that hiredis was given
        self._line: int | None = 0  # bytes of the line that is coming in, where that is known to be one
        self._clean = True  # whether what comes next is the beginning of a reply
        self._large: list[tuple[int, Large]] = []

    @property
    def missing(self) -> int:
        """How many replies are not complete."""
        return self._missing + (self._value is not None)

    @property
    def in_place(self) -> bool:
        """Whether `space` is part of a large value."""
        return self._value is not None

    def space(self) -> memoryview:
        """Where the next bytes go."""
        return self._view if self._value is None else self._value.space()

    def took(self, size: int) -> bool:
        """Read so many bytes that are in `space` now; whether all replies are there.

        Raises:
            MalformedError: They are none, or more than there were commands.
        """
        if self._value is not None:
            return self._into_value(size)
        room, end = self._room, size + 1
        if (
            self._cut
            or _MUCH.search(room, 0, end)
            or (room[size] != _NEWLINE and _CUT.search(room, max(0, end - _CUT_LENGTH), end))
        ):
            data, self._cut = b"".join((self._cut, self._view[:size])), b""
            return self._carefully(data)
        return self._read(room, size, 1)

    def all(self) -> list[Any]:
        """All replies, errors among them in place; once nobody writes into `space` any more.

        Raises:
            MalformedError: A value has no end.
        """
        for place, value in self._large:
            self._values[place] = value.whole()
        return self._values

    def _read(self, data: bytes | bytearray, size: int, start: int = 0) -> bool:
        """Let hiredis parse so many bytes."""
        self._fed += size
        self._reader.feed(data, start, size)  # type: ignore[arg-type]  # any buffer
        gets, values, missing = self._reader.gets, self._values, self._missing
        while missing and (value := gets()) is not _MORE:
            values.append(value)
            missing -= 1
        self._missing = missing
        if missing:
            self._clean = False
            if self._fed > _LONGEST * (len(values) + 1) or self._in_a_long_line(data, start, start + size):
                raise MalformedError("a reply without end")
            return False
        if self._reader.has_data():
            raise MalformedError(_TOO_MANY)
        return True

    def _in_a_long_line(self, data: bytes | bytearray, start: int, stop: int) -> bool:
        """Whether what began last is a line that goes on and on; a text has a line with its length first."""
        if not self._reader.has_data():
            self._line = 0
        elif self._line is not None:
            self._line = None if data.find(b"\n", start, stop) >= 0 else self._line + stop - start
        return self._line is not None and self._line > _LINE

    def _carefully(self, data: bytes) -> bool:
        """The same, where there seem to be headers of much; whether it is one shows in what hiredis holds by then."""
        position = 0
        line = b"\n" + data
        while (header := _SUSPECT.search(line, position)) is not None:
            start, end = header.start(), header.end() - 1  # in data
            if header["large"] and self._clean and self._ends_before(data[:start]):
                return self._begin_value(int(header["large"]), data[end:])
            if start > position:
                self._read(data[position:start], start - position)
            if not self._missing:
                raise MalformedError(_TOO_MANY)
            if header["cut"] is not None:
                self._cut = header["cut"]
                return False
            if header["many"] and not self._reader.has_data():
                raise MalformedError(f"a list of {header['many'][1:].decode()}… elements")
            self._read(data[start:end], end - start)
            position = end
        return self._read(data[position:], len(data) - position)

    def _ends_before(self, data: bytes) -> bool:
        """Whether these are whole replies; they are taken then."""
        reader = _reader()
        reader.feed(b"%b+%b\r\n" % (data, _END))
        try:
            *values, end = iter(reader.gets, _MORE)
        except (MalformedError, ValueError):  # part of a value, or nothing
            return False
        if end != _END or reader.has_data() or len(values) >= self._missing:
            return False
        self._values += values
        self._missing -= len(values)
        return True

    def _begin_value(self, size: int, data: bytes) -> bool:
        if size > _LARGEST:
            raise MalformedError(f"a value of {size} bytes")
        value = self._make_large(size)
        self._large.append((len(self._values), value))
        self._values.append(None)
        self._missing -= 1
        while data:
            space = value.space()
            some, data = data[: len(space)], data[len(space) :]
            space[: len(some)] = some
            if value.took(len(some)):
                return self._carefully(data) if data else not self._missing
        self._value = value
        return False

    def _into_value(self, size: int) -> bool:
        if self._value is None or not self._value.took(size):
            return False
        self._value, self._clean = None, True
        return not self._missing


class LargeBytes:
    """A large value as bytes.

    Args:
        size: Its bytes.
    """

    __slots__ = ("_filled", "_left", "_pieces", "_view")

    def __init__(self, size: int) -> None:
        self._left = size + 2  # and the end of the line
        self._pieces: list[BytesIO] = []
        self._make_room()

    def _make_room(self) -> None:
        self._pieces.append(BytesIO(bytes(min(self._left, _PIECE))))
        self._view = self._pieces[-1].getbuffer()
        self._filled = 0

    def space(self) -> memoryview:
        return self._view[self._filled :]

    def took(self, size: int) -> bool:
        """Whether the value is complete."""
        self._filled += size
        self._left -= size
        if self._left and self._filled == len(self._view):
            self._make_room()
        return not self._left

    def whole(self) -> bytes:
        """The value; a single piece without a copy."""
        self._view.release()
        if len(self._pieces) > 1:
            joined = b"".join([piece.getvalue() for piece in self._pieces])
            return _without_end(joined[-2:], joined[:-2])
        [piece] = self._pieces
        piece.seek(-2, 2)
        end = piece.read()
        piece.seek(-2, 2)
        piece.truncate()
        return _without_end(end, piece.getvalue())


def _without_end(end: bytes, value: bytes) -> bytes:
    if end != b"\r\n":
        raise MalformedError("a value longer than announced")
    return value


def _reader() -> Reader:
    return Reader(protocolError=MalformedError, replyError=_error, notEnoughData=_MORE)


def _error(text: str) -> Exception:
    """An error reply as redis-py knows it."""
    try:
        error: Exception = DefaultParser.parse_error(text)  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001  # redirections to nowhere
        return MalformedError(f"an error reply that makes no sense: {text[:100]!r}")
    return error
