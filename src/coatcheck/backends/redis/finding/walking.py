"""Walks that a server leads, place after place: one that leads in circles, or on for ever, is noticed."""

from __future__ import annotations

from typing import Final

from ....errors import StoreUnavailableError
from ..transport.errors import unexpected

START: Final = b"0"
"""Where a SCAN begins and ends."""

_MOST: Final = 10_000_000  # places: more than the 2^32 keys of a server make pages


class Steps:
    """Compares each place with one before, at ever longer distances (Brent): a circle of any length is noticed."""

    def __init__(self) -> None:
        self._count = 0
        self._mark = object()

    def in_circles(self, place: object) -> bool:
        """Take a step; whether this place was come by before, or there were too many."""
        self._count += 1
        if place == self._mark or self._count > _MOST:
            return True
        if self._count & (self._count - 1) == 0:
            self._mark = place
        return False


class Cursor:
    """Where a SCAN goes on. No cursor of a server comes twice: each is beyond the one it was asked with.

    Attributes:
        at: What to ask with.
        ended: Whether that was all.
    """

    def __init__(self) -> None:
        self.at = START
        self.ended = False
        self._steps = Steps()

    def move(self, to: bytes) -> None:
        """Take the cursor that was returned.

        Raises:
            StoreUnavailableError: That is none, or there is no end.
        """
        if not to.isdigit() or self._steps.in_circles(to):
            raise StoreUnavailableError(unexpected(ValueError("a SCAN that does not end")))
        self.at, self.ended = to, to == START
