"""All that was stored between two times, or since one, or until one: nothing else is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ....model import ArtifactMetadata, parse_time
from ....plan import Plan
from ....search import Place, Query
from ...base import Listing
from ..batching import BATCH_BYTES, PAGE
from ..layout import records
from ..layout.keys import Keys
from ..layout.labels import BEHIND
from ..scripts import calls
from ..scripts.calls import Match, Sought, Way
from ..scripts.script import Command, Unit
from ..session import Session, heard
from .labelled import Source, Sources, sources
from .looking import Looking
from .ordered import HIGHEST, Walk
from .scanning import LEAST, Found, ViewScan, completed, looked_at, views_of

_LAST: Final = (b"(" + BEHIND, b"-inf", b"BYSCORE", b"REV", b"LIMIT", b"0", b"1", b"WITHSCORES")
_PART: Final = 5  # of what the indexes know one part is few: by then a look at all costs a server as much


def scan_of(session: Session, query: Query) -> BoundedScan | ViewScan:
    """Views that a query wants, of all artifacts or of a run's, by the shortest way."""
    return BoundedScan(session, query) if is_bounded(query) else ViewScan(session, query)


def is_bounded(query: Query) -> bool:
    """Whether the index of times of store tells where to begin or to end."""
    return query.run_id is None and _bounds(query) != (None, None)


def _bounds(query: Query) -> tuple[int | None, int | None]:
    """Between which times of the index all lies that a query may want. A certain lease may be older than its place."""
    earliest, latest = query.earliest, None if query.is_of_one else query.latest
    return None if earliest is None else parse_time(earliest), None if latest is None else parse_time(latest)


class Span(NamedTuple):
    """What was stored between the bounds of a query.

    Attributes:
        found: The indexes that know it.
        outlived: Those of what is newer and may be seen with an earlier time of store.
        last: The last place of each of the first.
    """

    found: Sources
    outlived: Sequence[Source]
    last: Mapping[Source, Place]


def few_of(session: Session, query: Query) -> Plan[Span | None]:
    """The same, if it is only a small part of what the indexes know."""
    found = yield from sources(session, query, "created")
    low, high = (None if bound is None else b"%d" % bound for bound in _bounds(query))
    newer = [Source(keys, keys.outlived) for keys in session.partitions.all] if high is not None else []
    ranges = [(source, b"(%b" % high, b"+inf") for source in newer if high is not None]
    ranges += [(source, low or b"-inf", high or b"(" + BEHIND) for source in found.all]
    ranges += [(source, b"-inf", b"+inf") for source in found.all]
    units: list[Unit[Any]] = [
        *(Command(source.keys.slot, (b"ZCOUNT", source.key, *between), int) for source, *between in ranges),
        *(Command(source.keys.slot, (b"ZRANGE", source.key, *_LAST), records.scored) for source in found.all),
    ]
    replies = yield from session.read_each(units)
    counts, lasts = replies[: len(ranges)], replies[len(ranges) :]
    if _PART * sum(counts[: -len(lasts)]) > sum(counts[-len(lasts) :]):
        return None
    last = {source: (one[0][1], one[0][0]) if one else (0.0, b"") for source, one in zip(found.all, lasts, strict=True)}
    return Span(found, [source for source, count in zip(newer, counts, strict=False) if count], last)


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
        span: What they are among, if that is known to be little.
    """

    def __init__(self, session: Session, query: Query, span: Span | None = None) -> None:
        self._session = session
        self._query = query
        self._sought = Sought.of(query, by_store=True, movable=session.transport.is_cluster)
        self._looking = Looking(query, self._sought)
        self._all: ViewScan | None = None
        self._phases = None if span is None else self._plan(span)

    def next(self) -> Plan[Sequence[ArtifactMetadata] | None]:
        return heard(self._next())

    def _next(self) -> Plan[Sequence[ArtifactMetadata] | None]:
        found = yield from self.matches()
        return None if found is None else views_of(found, self._query)

    def matches(self) -> Plan[Sequence[Match] | None]:
        """The same as it is stored."""
        if self._phases is None:
            span = yield from few_of(self._session, self._query)
            self._all = ViewScan(self._session, self._query) if span is None else None
            self._phases = [] if span is None else self._plan(span)
        if self._all is not None:
            return (yield from self._all.matches())
        while self._phases and all(walk.ended for walk in self._phases[0].walks):
            del self._phases[0]
        if not self._phases:
            return None
        way, walks = self._phases[0]
        walks = [walk for walk in walks if not walk.ended]
        found = yield from (self._by_name if self._looking.pays else self._by_script)(way, walks)
        return [match for _, match in (yield from completed(self._session, self._query, found))]

    def _by_name(self, way: Way, walks: Sequence[Walk]) -> Plan[list[Found]]:
        """Scripts name the next, and plain commands say what those are."""
        look = max(LEAST, PAGE // len(walks)) if self._looking.bytes else LEAST
        replies = yield from self._session.read_each(
            [
                calls.names(walk.source.keys, [walk.source.key], way, [walk.last or walk.begin], look=look)
                for walk in walks
            ]
        )
        named: dict[Keys, list[bytes]] = {}
        for walk, [scanned] in zip(walks, replies, strict=True):
            walk.note(scanned)
            named.setdefault(walk.source.keys, []).extend(place[1] for place in scanned.places if walk.has(place))
        return (yield from looked_at(self._session, self._looking, named))

    def _by_script(self, way: Way, walks: Sequence[Walk]) -> Plan[list[Found]]:
        """Scripts look at the next."""
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
        return found

    def _plan(self, span: Span) -> list[_Phase]:
        """Where to walk, one after the other."""
        low_bound, high_bound = _bounds(self._query)
        low = None if low_bound is None else (float(low_bound), b"")
        high = None if high_bound is None else (float(high_bound), HIGHEST)
        parts = [some for some in (span.found.first, span.found.mixed) if some]
        return [
            _Phase(b">", [Walk(source, high or b"", high, None) for source in span.outlived]),
            *(
                _Phase(b"<", [Walk(source, high or (float(BEHIND), b""), low, high) for source in some])
                for some in parts
            ),
            *(
                _Phase(
                    b">",
                    [
                        Walk(source, span.last[source], None, high)
                        for source in some
                        if high is None or span.last[source] < high
                    ],
                )
                for some in parts
            ),
        ]
