"""What is there: what a run leases, all artifacts, runs. Each asks all partitions at once and merges.

Exact whatever others do meanwhile (P12): an index is read by ZSCAN, which returns what is there all the time; what is
read in order is looked at again where it may have changed meanwhile.
"""

from __future__ import annotations

from ....model import ArtifactMetadata
from ....plan import Plan
from ....search import Best, Place, Query
from ...base import Listing
from ..session import Session, heard
from .bounded import scan_of
from .ofrun import RunPage, RunViews
from .ordered import InOrder
from .runs import RunScan, runs_page


class Lists:
    """The operations that list.

    Args:
        session: The namespace.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def listing(self, query: Query) -> Listing[ArtifactMetadata]:
        """See `Backend.listing`."""
        if query.run_id is None or query.is_filter:
            return scan_of(self._session, query)
        return RunViews(self._session, query)

    def page(self, query: Query, start: Place | None, count: int) -> Plan[tuple[list[ArtifactMetadata], Place | None]]:
        """See `Backend.page`."""
        if query.by == "expiry" and not query.anonymous:
            return heard(InOrder(self._session, query, "deadlines", start, count).page())
        if query.by == "time" and not query.is_of_one:
            return heard(InOrder(self._session, query, "created", start, count).page())
        if query.by == "time" and query.run_id is not None and not query.unbounded.is_filter:
            return heard(RunPage(self._session, query, start, count).page())
        return self._best(query, start, count)

    def _best(self, query: Query, start: Place | None, count: int) -> Plan[tuple[list[ArtifactMetadata], Place | None]]:
        """The same in an order that no index has."""
        listing = self.listing(query)
        best = Best[ArtifactMetadata](query, start, count)
        while (views := (yield from listing.next())) is not None:
            for view in views:
                best.add(query.place(view), view)
        return best.page()

    def runs(self) -> Listing[str]:
        """See `Backend.runs`."""
        return RunScan(self._session)

    def runs_page(self, prefix: str | None, start: Place | None, count: int) -> Plan[tuple[list[str], Place | None]]:
        """See `Backend.runs_page`."""
        return heard(runs_page(self._session, prefix, start, count))
