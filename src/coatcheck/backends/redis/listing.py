"""What is there: what a run leases, all artifacts, runs, figures. Each asks all partitions at once and merges.

Exact whatever others do meanwhile (P12): an index is read by ZSCAN, which returns what is there all the time; what is
read in order is looked at again where it may have changed meanwhile.
"""

from __future__ import annotations

from typing import Any, TypeVar

from ...model import ArtifactMetadata, StoreStats
from ...plan import Plan
from ...search import Best, Place, Query
from ..base import Listing
from .batching import ask_about
from .layout import records
from .layout.keys import Keys, listed
from .layout.manifest import Manifest
from .ordered import InOrder
from .scanning import MemberScan, RunScan, ViewScan
from .scripts import calls
from .scripts.script import Command
from .session import Session, heard

T = TypeVar("T")


class Lists:
    """The operations that list.

    Args:
        session: The namespace.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def listing(self, query: Query) -> Listing[ArtifactMetadata]:
        """See `Backend.listing`."""
        return ViewScan(self._session, query)

    def page(self, query: Query, start: Place | None, count: int) -> Plan[tuple[list[ArtifactMetadata], Place | None]]:
        """See `Backend.page`."""
        run = query.run_id
        if query.by == "expiry":
            index = (lambda keys: keys.deadlines) if run is None else (lambda keys: keys.run(run))
        elif query.by == "time" and run is None:
            index = lambda keys: keys.created  # noqa: E731
        else:
            return self._best(query, start, count)
        return heard(InOrder(self._session, query, index, start, count).page())

    def _best(self, query: Query, start: Place | None, count: int) -> Plan[tuple[list[ArtifactMetadata], Place | None]]:
        """The same in an order that no index has."""
        best, listing = Best(query, start, count), self.listing(query)
        while (views := (yield from listing.next())) is not None:
            for view in views:
                best.add(query.place(view), view)
        return best.page()

    def runs(self) -> Listing[str]:
        """See `Backend.runs`."""
        return RunScan(self._session)

    def stats(self) -> Plan[StoreStats]:
        """See `Backend.stats`."""
        members = yield from everything(MemberScan(self._session, lambda keys: keys.created))
        places = [(keys, listed(name)) for keys, name in dict.fromkeys((keys, name) for keys, name, _ in members)]
        figures = yield from ask_about(self._session, places, lambda keys, ids, _: calls.figures(keys, ids))
        contents: dict[bytes, tuple[Keys, int, int, bool]] = {}
        artifacts = leases = artifact_bytes = 0
        for (keys, name), one in zip(places, figures, strict=True):
            if one is None:
                continue
            header = records.decode_header(one.header, name.decode())
            artifacts += 1
            leases += one.leases
            artifact_bytes += header.size * one.leases
            contents[header.digest] = (keys, header.size, one.stored, one.chunked)
        chunked = [(digest, keys) for digest, (keys, _, _, is_chunked) in contents.items() if is_chunked]
        manifests = yield from self._session.read_each(
            [
                Command(keys.slot, (b"GET", keys.content(records.content_id_of(digest))), _same)
                for digest, keys in chunked
            ]
        )
        stored_in_chunks = sum(
            chunk.length
            for (digest, _), sealed in zip(chunked, manifests, strict=True)
            if sealed is not None
            for chunk in Manifest.unseal(sealed, digest).chunks
        )
        return StoreStats(
            artifacts=artifacts,
            leases=leases,
            runs=len(set((yield from everything(self.runs())))),
            contents=len(contents),
            artifact_bytes=artifact_bytes,
            content_bytes=sum(size for _, size, _, _ in contents.values()),
            stored_bytes=sum(stored for _, _, stored, _ in contents.values()) + stored_in_chunks,
        )


def everything(listing: Listing[T]) -> Plan[list[T]]:
    """All of it at once; some of it may come twice."""
    found: list[T] = []
    while (some := (yield from listing.next())) is not None:
        found += some
    return found


def _same(reply: Any) -> Any:
    return reply
