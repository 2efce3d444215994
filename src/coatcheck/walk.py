"""A way through a list of any length: what iterators take their items from, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from .backends.base import Listing
from .plan import Plan
from .seen import Seen

T = TypeVar("T")


class Walk(Generic[T]):
    """All of a listing, each item once.

    Args:
        listing: Where they come from; some may come twice.
        name: What an item is known by.
        wanted: Which of them to take.
    """

    def __init__(
        self, listing: Listing[T], name: Callable[[T], str], wanted: Callable[[T], bool] = lambda _: True
    ) -> None:
        self._listing = listing
        self._name = name
        self._wanted = wanted
        self._seen = Seen()

    def next(self) -> Plan[list[T]]:
        """A batch; empty only at the end."""
        while (some := (yield from self._listing.next())) is not None:
            new = [item for item in some if self._wanted(item) and self._seen.add(self._name(item))]
            if new:
                return new
        return []


def everything(walk: Walk[T]) -> Plan[list[T]]:
    """All of it at once."""
    found: list[T] = []
    while batch := (yield from walk.next()):
        found += batch
    return found
