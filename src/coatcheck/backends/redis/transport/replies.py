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

from ....buffers import unfilled

_ROOM: Final = 128 * 1024  # bytes received at a time
_PIECE: Final = 16 * 1024 * 1024  # bytes of a large value that room is made for before they have come
_LARGEST: Final = 512 * 1024 * 1024  # bytes of a value, by the protocol
_LONGEST: Final = 32 * 1024 * 1024  # bytes of another reply
_LINE: Final = 64 * 1024  # bytes of a line: an error, a number, a header

# A list of 100,000 elements or more, which no command of ours returns; a value of 10,000 bytes or more; a header that
# may be either once the rest of it has come.
_HEADER: Final = rb"(?:(?P<many>[*%~>|]\d{6})|\$(?P<large>[1-9]\d{4,})\r\n|(?P<cut>[*%~>|$]\d{0,12}\r?\Z))"
_SUSPECT: Final = re.compile(rb"\n" + _HEADER)

# Whether there may be one, at a third of the cost: at the end of what came, and anywhere before.
_CUT: Final = re.compile(rb"\n[*%~>|$]\d{0,12}\r?\Z")
_CUT_LENGTH: Final = 16  # bytes
_NEWLINE: Final = ord("\n")  # the last byte of what was not cut
_LINE_END: Final = re.compile(rb"\n")
_MUCH: Final = re.compile(rb"\n[*%~>|$]\d{5}")

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

    def at_once(self, value: memoryview) -> Any:
        """The same of one that came as a whole, in memory that others need again; the end of the line included."""


class Replies:
    """The replies on one connection, those of one pipeline after the other."""

    __slots__ = (
        *("_clean", "_fed", "_kept", "_large", "_line", "_make_large", "_missing", "_reader", "_room", "_value"),
        *("_values", "_view", "_wanted"),
    )

    def __init__(self) -> None:
        self._room = unfilled(1 + _ROOM).getbuffer()
        self._room[0] = _NEWLINE  # headers follow the end of a line, the first one too
        self._view = self._room[1:]
        self._reader = _reader()
        self._kept = 0  # bytes in the room that wait for more
        self._wanted = 0  # bytes there without which they need not be looked at again
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
        if self._value is not None:
            return self._value.space()
        return self._view[self._kept :] if self._kept else self._view

    def took(self, size: int) -> bool:
        """Read so many bytes that are in `space` now; whether all replies are there.

        Raises:
            MalformedError: They are none, or more than there were commands.
        """
        if self._value is not None:
            return self._into_value(size)
        room, end = self._room, 1 + self._kept + size
        if self._kept:
            if end <= self._wanted:
                self._kept += size
                return False
            self._kept = 0
            return self._carefully(end)
        if _MUCH.search(room, 0, end) or (room[size] != _NEWLINE and _CUT.search(room, max(0, end - _CUT_LENGTH), end)):
            return self._carefully(end)
        return self._read(1, end)

    def all(self) -> list[Any]:
        """All replies, errors among them in place; once nobody writes into `space` any more.

        Raises:
            MalformedError: A value has no end.
        """
        for place, value in self._large:
            self._values[place] = value.whole()
        return self._values

    def _read(self, start: int, stop: int) -> bool:
        """Let hiredis parse that part of the room."""
        self._fed += stop - start
        self._reader.feed(self._room, start, stop - start)  # type: ignore[arg-type]  # any buffer
        gets, values, missing = self._reader.gets, self._values, self._missing
        while missing and (value := gets()) is not _MORE:
            values.append(value)
            missing -= 1
        self._missing = missing
        if missing:
            self._clean = False
            if self._fed > _LONGEST * (len(values) + 1) or self._in_a_long_line(start, stop):
                raise MalformedError("a reply without end")
            return False
        if self._reader.has_data():
            raise MalformedError(_TOO_MANY)
        return True

    def _in_a_long_line(self, start: int, stop: int) -> bool:
        """Whether what began last is a line that goes on and on; a text has a line with its length first."""
        if not self._reader.has_data():
            self._line = 0
        elif self._line is not None:
            self._line = None if _LINE_END.search(self._room, start, stop) else self._line + stop - start
        return self._line is not None and self._line > _LINE

    def _carefully(self, end: int) -> bool:
        """Read the room up to there, where there seem to be headers of much.

        Whether it is one shows in what hiredis holds by then.
        """
        room, position = self._room, 1
        while (header := _SUSPECT.search(room, position - 1, end)) is not None:
            start, stop = header.start() + 1, header.end()
            if header["large"] and self._clean and self._ends_before(position, start):
                size = int(header["large"])
                if stop - start + size + 2 > _ROOM:
                    return self._begin_value(size, stop, end)
                position = stop + size + 2
                if position > end:
                    return self._keep(start, end, position - start)
                self._values.append(self._make_large(size).at_once(room[stop:position]))
                self._missing -= 1
                if position == end:
                    return not self._missing
                continue
            if start > position:
                self._read(position, start)
            if not self._missing:
                raise MalformedError(_TOO_MANY)
            if header["cut"] is not None:
                return self._keep(start, end)
            if header["many"] and not self._reader.has_data():
                raise MalformedError(f"a list of {header['many'][1:].decode()}… elements")
            self._read(start, stop)
            position = stop
        return self._read(position, end)

    def _keep(self, start: int, end: int, wanted: int = 0) -> bool:
        """Let that part of the room wait, at its beginning, until so many bytes of it are there, or more."""
        self._kept, self._wanted = end - start, wanted
        self._view[: self._kept] = self._room[start:end]
        return False

    def _ends_before(self, start: int, stop: int) -> bool:
        """Whether that part of the room are whole replies; they are taken then."""
        reader = _reader()
        reader.feed(self._room, start, stop - start)  # type: ignore[arg-type]  # any buffer
        reader.feed(b"+%b\r\n" % _END)
        try:
            *values, end = iter(reader.gets, _MORE)
        except (MalformedError, ValueError):  # part of a value, or nothing
            return False
        if end != _END or reader.has_data() or len(values) >= self._missing:
            return False
        self._values += values
        self._missing -= len(values)
        return True

    def _begin_value(self, size: int, start: int, stop: int) -> bool:
        """Take in a value of which that part of the room is the beginning."""
        if size > _LARGEST:
            raise MalformedError(f"a value of {size} bytes")
        self._value = value = self._make_large(size)
        self._large.append((len(self._values), value))
        self._values.append(None)
        self._missing -= 1
        while start < stop:
            space = value.space()[: stop - start]
            space[:] = self._room[start : start + len(space)]
            value.took(len(space))
            start += len(space)
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
        self._view = memoryview(b"")
        self._filled = 0

    def space(self) -> memoryview:
        if self._filled == len(self._view):
            self._pieces.append(unfilled(min(self._left, _PIECE)))
            self._view = self._pieces[-1].getbuffer()
            self._filled = 0
        return self._view[self._filled :]

    def took(self, size: int) -> bool:
        """Whether the value is complete."""
        self._filled += size
        self._left -= size
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

    def at_once(self, value: memoryview) -> bytes:
        return _without_end(bytes(value[-2:]), bytes(value[:-2]))


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
