"""Which names a listing has had already, in 11 to 43 bytes each whatever their length."""

from __future__ import annotations

import os
from array import array
from hashlib import blake2b

_FEW = 64  # slots at the beginning


class Seen:
    """A set of texts that only tells whether one is new.

    It keeps 64 bits of a hash that nobody else can compute: among a million names, whoever chose them, two are taken
    for one in one of thirty million listings. A set of the names themselves would take some 150 bytes each.
    """

    def __init__(self) -> None:
        self._key = os.urandom(16)
        self._slots = array("Q", bytes(8 * _FEW))
        self._count = 0

    def add(self, name: str) -> bool:
        """Note a name; whether it is new."""
        if 4 * self._count > 3 * len(self._slots):
            before, self._slots = self._slots, array("Q", bytes(4 * 8 * len(self._slots)))
            for number in filter(None, before):
                self._put(number)
        is_new = self._put(int.from_bytes(blake2b(name.encode(), digest_size=8, key=self._key).digest()) or 1)
        self._count += is_new
        return is_new

    def _put(self, number: int) -> bool:
        slots = self._slots
        at = number % len(slots)
        while slots[at]:
            if slots[at] == number:
                return False
            at = (at + 1) % len(slots)
        slots[at] = number
        return True
