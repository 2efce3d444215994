"""Commands as bytes. redis-py's own packers are made for small values: hiredis' copies a large one several times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

Piece = bytes | memoryview
Argument = bytes | tuple[Piece, ...]
"""One argument of a command; a tuple is one value in several pieces, so that large ones need not be joined."""

_LARGE: Final = 16 * 1024  # from here on a system call costs less than a copy


def pack(arguments: Sequence[Argument]) -> list[Piece]:
    """One command in RESP, as a list of buffers to send one after the other."""
    buffers: list[Piece] = []
    small: list[Piece] = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        if isinstance(argument, bytes):
            if len(argument) < _LARGE:
                small.append(b"$%d\r\n%b\r\n" % (len(argument), argument))
                continue
            pieces: tuple[Piece, ...] = (argument,)
        else:
            pieces = argument
        small.append(b"$%d\r\n" % sum(map(len, pieces)))
        for piece in pieces:
            if len(piece) < _LARGE:
                small.append(piece)
            else:
                buffers.append(b"".join(small))
                buffers.append(piece)
                small = []
        small.append(b"\r\n")
    buffers.append(b"".join(small))
    return buffers


def template(arguments: Sequence[bytes | None]) -> bytes:
    """One command as a format for `fill`, its `None`s left open: packing costs one operation instead of one each."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        if argument is None:
            parts.append(b"$%d\r\n%b\r\n")
        else:
            parts.append((b"$%d\r\n%b\r\n" % (len(argument), argument)).replace(b"%", b"%%"))
    return b"".join(parts)


def fill(form: bytes, values: Sequence[bytes]) -> bytes:
    """A packed command: a template with its open arguments, in order. Copies them: not for large values."""
    words: list[int | bytes] = [*values, *values]
    words[::2], words[1::2] = map(len, values), values
    return form % tuple(words)


def merge(packed: Iterable[Sequence[Piece]]) -> Iterator[Piece]:
    """Several packed commands as buffers, the small neighbours joined; each as soon as its commands are there."""
    small: list[Piece] = []
    for command in packed:
        for buffer in command:
            if len(buffer) < _LARGE:
                small.append(buffer)
            else:
                if small:
                    yield b"".join(small)
                    small = []
                yield buffer
    if small:
        yield b"".join(small)


def split(packed: Sequence[Piece]) -> list[bytes]:
    """Packed commands, one by one."""
    stream = b"".join(packed)
    commands, position = [], 0
    while position < len(stream):
        start, end = position, stream.index(b"\r\n", position)
        count, position = int(stream[start + 1 : end]), end + 2
        for _ in range(count):
            end = stream.index(b"\r\n", position)
            position = end + 2 + int(stream[position + 1 : end]) + 2
        commands.append(stream[start:position])
    return commands
