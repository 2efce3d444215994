"""A way through a list of any length: what iterators take their items from, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Generic, TypeVar

from .arguments import check_run_id
from .backends.base import Backend, Listing
from .plan import Plan
from .seen import Seen

if TYPE_CHECKING:
    from .model import ArtifactMetadata
    from .search import Query

T = TypeVar("T")


class Walk(Generic[T]):
    """All of a listing, each item once.

    Args:
        listing: Where they come from; some may come twice.
        name: What an item is known by.
        wanted: Which of them to take, by their names; `None`: all.
    """

    def __init__(
        self, listing: Listing[T], name: Callable[[T], str], wanted: Callable[[T], bool] | None = None
    ) -> None:
        self._listing = listing
        self._name = name
        self._wanted = wanted
        self._seen = Seen()

    def next(self) -> Plan[list[T]]:
        """A batch; empty only at the end."""
        while (some := (yield from self._listing.next())) is not None:
            new = [item for item in self._chosen(some) if self._seen.add(self._name(item))]
            if new:
                return new
        return []

    def rest(self) -> Plan[list[T]]:
        """All that is left of a walk that was not begun; of what came twice, as it came last."""
        found: dict[str, T] = {}
        for some in (yield from self._listing.rest()):
            chosen = self._chosen(some)
            found.update(zip(map(self._name, chosen), chosen, strict=True))
        return list(found.values())

    def _chosen(self, some: Sequence[T]) -> Sequence[T]:
        return some if self._wanted is None else list(filter(self._wanted, some))


def artifacts(backend: Backend, query: Query) -> Walk[ArtifactMetadata]:
    """All that a query wants."""
    return Walk(backend.listing(query), attrgetter("artifact_id"))


def runs(backend: Backend, prefix: str | None = None) -> Walk[str]:
    """All runs that begin with a text."""
    begins = "" if prefix is None else check_run_id(prefix)
    return Walk(backend.runs(), str, lambda run: run.startswith(begins))
