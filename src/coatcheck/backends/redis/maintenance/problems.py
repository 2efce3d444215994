"""The problems of one inspection: what was found, and what of it is repaired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ....model import CheckReport, ProblemCounter

LEFTOVERS: Final = frozenset(
    {
        "orphan-content",
        "orphan-chunk",
        "stale-index-member",
        "expired-index-member",
        "expired-artifact",
        "immortal-staging",
    }
)
"""Problems that cost memory and nothing else: what `gc` removes."""

LOSSES: Final = frozenset(
    {"lost-content", "damaged-content", "damaged-metadata", "wrong-type", "future-version", "other-partitions"}
)
"""Problems that no repair can undo; of these, only damaged content is removed, so that a store heals it."""


class Problems:
    """What was found so far.

    Args:
        repairs: Whether problems of a kind are to be repaired.
    """

    def __init__(self, repairs: Callable[[str], bool]) -> None:
        self.repairs = repairs
        self._counter = ProblemCounter()

    def flag(self, kind: str) -> bytes:
        """What scripts are told: `1` to repair problems of this kind, else nothing."""
        return b"1" if self.repairs(kind) else b""

    def add(self, kind: str, key: bytes, *, size: int = 0, repaired: bool | None = None) -> None:
        """Note one problem.

        Args:
            kind: Its kind.
            key: Where.
            size: Bytes of content that it concerns.
            repaired: Whether it was repaired; left out: if such problems are.
        """
        if repaired is None:
            repaired = kind not in LOSSES and self.repairs(kind)
        self._counter.add(kind, key, size=size, repaired=repaired)

    def report(self, looked_at: int) -> CheckReport:
        """All of it, and how many keys were looked at."""
        return self._counter.report(looked_at)
