"""All that was stored between two times, or since one, or until one: nothing else is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ....model import ArtifactMetadata
from ....plan import Plan
from ....search import Place, Query, microseconds
from ...base import Listing
from ..batching import BATCH_BYTES, PAGE
from ..layout import records
from ..layout.labels import BEHIND
from ..scripts import calls
from ..scripts.calls import Match, Sought, Way
from ..scripts.script import Command
from ..session import Session, heard
from .labelled import Source, outlived, sources
from .ordered import HIGHEST, Walk
from .scanning import LEAST, ViewScan, completed, views_of

_PART: Final = 5  # of what the indexes know one part is few: by then a look at all costs a server as much


def scan_of(session: Session, query: Query) -> BoundedScan | ViewScan:
    """Views that a query wants, of all artifacts or of a run's, by the shortest way."""
    return BoundedScan(session, query) if is_bounded(query) else ViewScan(session, query)


def is_bounded(query: Query) -> bool:
    """Whether the index of times of store tells where to begin or to end."""
    return not query.is_of_one and (query.earliest, query.latest) != (None, None)


def are_few(session: Session, query: Query) -> Plan[bool]:
    """Whether only a small part of what the indexes know was stored between the bounds: that is summed up here."""
    found = (yield from sources(session, query, "created")).all
    low = b"-inf" if query.earliest is None else b"%d" % microseconds(query.earliest)
    high = b"(" + BEHIND if query.latest is None else b"%d" % microseconds(query.latest)
    ranges = [(source, low, high) for source in found]
    if query.latest is not None:
        ranges += [(source, b"(" + high, b"+inf") for source in (yield from outlived(session))]
    ranges += [(source, b"-inf", b"+inf") for source in found]
    counts = yield from session.read_each(
        [Command(source.keys.slot, (b"ZCOUNT", source.key, low, high), int) for source, low, high in ranges]
    )
    few, all_ = counts[: -len(found)], counts[-len(found) :]
    return _PART * sum(few) <= sum(all_)


class _Phase(NamedTuple):
    way: Way
    walks: Sequence[Walk]


class BoundedScan(Listing[ArtifactMetadata]):
    """Views that a query with bounds wants, where they are few; else all are looked at.

    What is there all the time is in it. First comes what outlives its latest lease: it may go back to a former place,
    before the bound. Then the indexes backwards: what is released goes back, too. Last what was stored since then, in
    ascending order: it moves on upwards.

    Args:
        session: The namespace.
        query: Which views.
        few: Whether they are known to be few.
    """

    def __init__(self, session: Session, query: Query, *, few: bool = False) -> None:
        self._session = session
        self._query = query
        self._sought = Sought.of(query, by_store=True, movable=session.transport.is_cluster)
        self._few = few
        self._all: ViewScan | None = None
        self._phases: list[_Phase] | None = None

    def next(self) -> Plan[Sequence[ArtifactMetadata] | None]:
        return heard(self._next())

    def _next(self) -> Plan[Sequence[ArtifactMetadata] | None]:
        found = yield from self.matches()
        return None if found is None else views_of(found, self._query)

    def matches(self) -> Plan[Sequence[Match] | None]:
        """The same as it is stored."""
        if self._phases is None:
            if not self._few and not (yield from are_few(self._session, self._query)):
                self._all = ViewScan(self._session, self._query)
            self._phases = [] if self._all is not None else (yield from self._plan())
        if self._all is not None:
            return (yield from self._all.matches())
        while self._phases and all(walk.ended for walk in self._phases[0].walks):
            del self._phases[0]
        if not self._phases:
            return None
        way, walks = self._phases[0]
        walks = [walk for walk in walks if not walk.ended]
        look, budget = max(LEAST, PAGE // len(walks)), BATCH_BYTES // len(walks)
        replies = yield from self._session.read_each(
            [
                calls.scan(
                    *walk.source, self._sought, way, walk.last or walk.begin, look=look, most=look, budget=budget
                )
                for walk in walks
            ]
        )
        found = []
        for walk, scanned in zip(walks, replies, strict=True):
            walk.note(scanned)
            found += [(walk.source.keys, match) for match in scanned.matches]
        return [match for _, match in (yield from completed(self._session, self._query, found))]

    def _plan(self) -> Plan[list[_Phase]]:
        """Where to walk, one after the other."""
        found = yield from sources(self._session, self._query, "created")
        last = yield from _last(self._session, found.all)
        earliest, latest = self._query.earliest, self._query.latest
        low = None if earliest is None else (float(microseconds(earliest)), b"")
        high = None if latest is None else (float(microseconds(latest)), HIGHEST)
        phases = []
        if high is not None:
            others = yield from outlived(self._session)
            phases.append(_Phase(b">", [Walk(source, high, high, None) for source in others]))
        phases += [
            _Phase(b"<", [Walk(source, high or b"", low, high) for source in some])
            for some in (found.first, found.mixed)
        ]
        phases += [
            _Phase(
                b">", [Walk(source, last[source], None, high) for source in some if high is None or last[source] < high]
            )
            for some in (found.first, found.mixed)
        ]
        return phases


def _last(session: Session, indexes: Sequence[Source]) -> Plan[dict[Source, Place]]:
    """The last place of each index."""
    command = (b"(" + BEHIND, b"-inf", b"BYSCORE", b"REV", b"LIMIT", b"0", b"1", b"WITHSCORES")
    replies = yield from session.read_each(
        [Command(source.keys.slot, (b"ZRANGE", source.key, *command), records.scored) for source in indexes]
    )
    return {
        source: (score, member)
        for source, found in zip(indexes, replies, strict=True)
        for member, score in found or [(b"", 0.0)]
    }
