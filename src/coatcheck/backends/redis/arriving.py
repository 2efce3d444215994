"""A large content on its way in: hashed while the server sends on, and never copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...envelope import HEADER, Hashed, Hashing, Verify
from .transport.replies import Large, LargeBytes

_HASHED: Final = 256 * 1024  # bytes from which on that pays
_PIECE: Final = 128 * 1024  # bytes that are hashed before more are received: the server fills the socket meanwhile


def taking_in(verify: Verify) -> Callable[[int], Large]:
    """What takes in a sealed content of some size, see `Replies.expect`: it becomes bytes, or a `Hashed`."""
    return lambda size: LargeBytes(size) if size < _HASHED else Arriving(size, verify)


class Arriving:
    """A sealed content that comes in as one reply; becomes a `Hashed`.

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
        return self._view

    def took(self, size: int) -> bool:
        """See `Large`."""
        if self._hashing is None:
            self._header += self._view[:size]
            self._view = self._view[size:]
            if len(self._header) < HEADER.size:
                return False
            self._hashing = Hashing(self._header, self._verify)
            complete = False
        else:
            self._hashing.update(self._view[: min(size, self._left)])  # without the end of the line
            self._left = max(0, self._left - size)
            complete = self._payload.took(size)
        self._view = self._payload.space()[:_PIECE]
        return complete

    def whole(self) -> Hashed:
        """See `Large`."""
        assert self._hashing is not None
        self._view.release()
        return self._hashing.whole(self._payload.whole())
