"""Large contents on their way in: hashed while the server sends on, and never copied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import xxhash

from ....envelope import HEADER, RAW, Hashed, Hashing, Verify
from ..transport.replies import Large, LargeBytes, MalformedError

if TYPE_CHECKING:
    import hashlib

_PIECE: Final = 128 * 1024  # bytes that are hashed before more are received: the server fills the socket meanwhile


def taking_in(verify: Verify) -> Callable[[int], Large]:
    """What takes in a sealed content of some size, see `Replies.expect`."""
    return lambda size: Arriving(size, verify)


class Arriving:
    """A sealed content that comes in as one reply; becomes a `Hashed`, or bytes where it is not the plain content.

    Args:
        size: Its bytes, more than a header has.
        verify: As for `envelope.unseal`.
    """

    __slots__ = ("_hashing", "_header", "_left", "_payload", "_verify", "_view")

    def __init__(self, size: int, verify: Verify) -> None:
        self._verify: Verify = verify
        self._left = size - HEADER.size  # of the payload
        self._payload = LargeBytes(self._left)
        self._header = b""
        self._hashing: Hashing | None = None
        self._view = memoryview(bytearray(HEADER.size))  # where the next bytes go

    def space(self) -> memoryview:
        """See `Large`."""
        if len(self._header) == HEADER.size:
            self._view = self._payload.space()[:_PIECE]
        return self._view

    def took(self, size: int) -> bool:
        """See `Large`."""
        if len(self._header) < HEADER.size:
            self._header += self._view[:size]
            self._view = self._view[size:]
            if len(self._header) == HEADER.size and self._header[1] == RAW:
                self._hashing = Hashing(self._header, self._verify)
            return False
        if self._hashing is not None:
            self._hashing.update(self._view[: min(size, self._left)])  # without the end of the line
        self._left = max(0, self._left - size)
        return self._payload.took(size)

    def whole(self) -> Hashed | bytes:
        """See `Large`."""
        self._view.release()
        payload = self._payload.whole()
        return self._header + payload if self._hashing is None else self._hashing.whole(payload)

    def at_once(self, value: memoryview) -> Hashed | bytes:
        """See `Large`."""
        if value[1] != RAW:
            return self._payload.at_once(value)
        hashing = Hashing(bytes(value[: HEADER.size]), self._verify)
        hashing.update(value[HEADER.size : -2])
        return hashing.whole(self._payload.at_once(value[HEADER.size :]))


class Arrived(NamedTuple):
    """A chunk that lies where it belongs by now.

    Attributes:
        checksum: XXH3-64 of what came; `None`: the SHA-256 that it went into is compared instead.
    """

    checksum: int | None


class ArrivingChunks:
    """The chunks of one exchange, which lie in one buffer without gaps; one that comes as a large reply is `Arrived`.

    Which chunk a reply is, is known by their order, so it is known only if each of them is there and as long as it
    should be: one that is longer or shorter comes as bytes, and whoever finds one missing forgets all.

    Args:
        buffer: Where they lie, with room for the end of a line behind them.
        lengths: Of the chunks.
        sha256: Of all that lies before them, to go on with; `None`: not needed.
        checked: Whether each has its own checksum compared.
    """

    def __init__(
        self, buffer: memoryview, lengths: Sequence[int], sha256: hashlib._Hash | None, *, checked: bool
    ) -> None:
        self._buffer = buffer
        self._lengths = lengths
        self._sha256 = sha256
        self._checked = checked
        self._next = self._start = 0
        self._made: list[_ArrivingChunk] = []

    def make(self, size: int) -> Large:
        """See `Replies.expect`."""
        if self._next >= len(self._lengths) or self._lengths[self._next] != size:
            self._next = len(self._lengths)  # nothing is where it belongs any more
            return LargeBytes(size)
        chunk = _ArrivingChunk(self._buffer[self._start : self._start + size + 2], self._sha256, checked=self._checked)
        self._next += 1
        self._start += size
        self._made.append(chunk)
        return chunk

    def let_go(self) -> None:
        """Hold on to the buffer no more."""
        for chunk in self._made:
            chunk.let_go()


class _ArrivingChunk:
    __slots__ = ("_checksum", "_done", "_length", "_sha256", "_view")

    def __init__(self, view: memoryview, sha256: hashlib._Hash | None, *, checked: bool) -> None:
        self._view = view
        self._length = len(view) - 2
        self._done = 0
        self._sha256 = sha256
        self._checksum = xxhash.xxh3_64() if checked else None

    def space(self) -> memoryview:
        """See `Large`."""
        return self._view[self._done : self._done + _PIECE]

    def took(self, size: int) -> bool:
        """See `Large`."""
        with self._view[self._done : min(self._done + size, self._length)] as piece:
            if self._checksum is not None:
                self._checksum.update(piece)
            if self._sha256 is not None:
                self._sha256.update(piece)
        self._done += size
        if self._done < len(self._view):
            return False
        if bytes(self._view[self._length :]) != b"\r\n":  # now: the next chunk will overwrite it
            raise MalformedError("a value longer than announced")
        return True

    def whole(self) -> Any:
        """See `Large`."""
        return Arrived(None if self._checksum is None else self._checksum.intdigest())

    def at_once(self, value: memoryview) -> Any:
        """See `Large`."""
        done = False
        while not done:
            space = self.space()
            space[:] = value[self._done : self._done + len(space)]
            done = self.took(len(space))
        return self.whole()

    def let_go(self) -> None:
        """Hold on to the buffer no more."""
        self._view.release()
