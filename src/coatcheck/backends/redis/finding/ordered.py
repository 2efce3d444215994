"""The first artifacts in an order that an index has, merged from all partitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ....model import ArtifactMetadata
from ....plan import Plan
from ....search import Place, Query, microseconds
from ..batching import BATCH_BYTES, PAGE
from ..scripts import calls
from ..scripts.calls import Match, Scanned, Sought
from ..session import Session
from .labelled import By, Source, outlived, sources
from .scanning import completed, views_of
from .walking import Steps

HIGHEST: Final = b"\xff" * 256  # behind all members of one score
_UNFILTERED: Final = 2  # pages that one call looks at where nothing is filtered: `list_all()` takes one trip


class _Found(NamedTuple):
    place: Place
    match: Match


class InOrder:
    """The first views that a query wants, by an index.

    Args:
        session: The namespace.
        query: Which views, and whether from the last on.
        by: Which of the two indexes that the query reads has the order as its scores.
        start: The place that they are behind; `None`: the beginning.
        count: How many.
    """

    def __init__(self, session: Session, query: Query, by: By, start: Place | None, count: int) -> None:
        self._session = session
        self._query = query
        self._by = by
        self._start = start
        self._count = count
        self._by_store = query.by == "time"
        self._sought = Sought.of(query, by_store=self._by_store, movable=session.transport.is_cluster)
        self._found: dict[bytes, _Found] = {}

    def page(self) -> Plan[tuple[list[ArtifactMetadata], Place | None]]:
        """See `Backend.page`."""
        query = self._query
        found = yield from sources(self._session, query, self._by)
        bound = self._bound()
        walks = [self._walk_of(source, None, bound) for source in found.all]
        if bound is not None:
            walks += [self._walk_of(source, bound, None) for source in (yield from outlived(self._session))]
        trips = yield from self._walk(walks)
        if trips > 1:
            yield from self._look_again(walks)
        best = self._best()
        more = len(self._found) > len(best) or any(not walk.ended for walk in walks)
        return views_of([one.match for one in best], query), best[-1].place if best and more else None

    def _best(self) -> list[_Found]:
        """The first of what was found."""
        return sorted(self._found.values(), key=lambda one: one.place, reverse=self._query.descending)[: self._count]

    def _end(self) -> Place | None:
        """The place of the last one, if there are enough."""
        return self._best()[-1].place if len(self._found) >= self._count else None

    def _beginning(self) -> Place | bytes:
        if self._query.descending:
            return b""
        if not self._by_store:
            return calls.NOW
        return b"" if self._query.earliest is None else (microseconds(self._query.earliest), b"")

    def _bound(self) -> Place | None:
        """The last place of what was stored until the query's latest time."""
        latest = self._query.latest
        return (float(microseconds(latest)), HIGHEST) if self._by_store and latest is not None else None

    def _walk_of(self, source: Source, low: Place | None, high: Place | None) -> Walk:
        begin: Place | bytes = self._beginning() if self._start is None else self._start
        first = high if self._query.descending else low
        if first is not None and (not isinstance(begin, tuple) or self._query.is_behind(first, begin)):
            begin = first
        return Walk(source, begin, low, high)

    def _walk(self, walks: Sequence[Walk]) -> Plan[int]:
        """Take the first of all partitions until there are enough; how many round trips that took."""
        share = 1 + (self._count if len(walks) == 1 else max(10, 2 * self._count // len(walks)))
        way: calls.Way = b"<" if self._query.descending else b">"
        trips = 0
        while left := self._undecided(walks):
            trips += 1
            replies = yield from self._scan([(walk.source, walk.last or walk.begin) for walk in left], way, share)
            for walk, scanned in zip(left, replies, strict=True):
                walk.note(scanned)
                for match in scanned.matches:
                    if walk.has((match.score, match.member)):
                        self._found[match.member] = _Found((match.score, match.member), match)
            if not any(scanned.matches for scanned in replies):
                share = min(2 * share, _UNFILTERED * PAGE)  # much may have expired at once
        return trips

    def _undecided(self, walks: Sequence[Walk]) -> list[Walk]:
        """Those on which one may come that is among the first."""
        left, end = [walk for walk in walks if not walk.ended], self._end()
        return [walk for walk in left if end is None or not walk.last or self._query.is_behind(end, walk.last)]

    def _look_again(self, walks: Sequence[Walk]) -> Plan[None]:
        """Others changed things between the round trips: look at what was passed once more.

        Newest first, what was stored again meanwhile is ahead of the beginning; so is what lasts longer now. Upwards
        from the last that was found all of it is met, because it only moves on upwards. In ascending order, what was
        moved back is looked for until nothing new is there.
        """
        cut = self._end()
        if self._query.descending:
            yield from self._upwards([(walk.source, walk.above(cut or walk.last), walk.high) for walk in walks])
        else:
            passed = [(walk.source, walk.begin, walk.below(cut or walk.last)) for walk in walks if walk.last]
            while (yield from self._upwards(passed)):
                pass

    def _upwards(self, ranges: Sequence[tuple[Source, Place | bytes, Place | None]]) -> Plan[int]:
        """Take what lies in ranges in ascending order; how much of it is new."""
        before = len(self._found)
        while ranges:
            replies = yield from self._scan([(source, start) for source, start, _ in ranges], b">", PAGE)
            following = []
            for (source, start, end), scanned in zip(ranges, replies, strict=True):
                for match in scanned.matches:
                    place = match.score, match.member
                    if (end is None or place <= end) and self._query.is_behind(place, self._start):
                        self._found[match.member] = _Found(place, match)
                if scanned.place == start:
                    raise ValueError("a list without end")
                if scanned.more and scanned.place and (end is None or scanned.place < end):
                    following.append((source, scanned.place, end))
            ranges = following
        return len(self._found) - before

    def _scan(self, places: Sequence[tuple[Source, Place | bytes]], way: calls.Way, most: int) -> Plan[list[Scanned]]:
        look = PAGE if self._query.is_filter else min(_UNFILTERED * PAGE, most)
        budget = BATCH_BYTES // len(places)
        replies = yield from self._session.read_each(
            [
                calls.scan(*source, self._sought, way, start, look=look, most=most, budget=budget)
                for source, start in places
            ]
        )
        completed_all = []
        for (source, _), one in zip(places, replies, strict=True):
            found = [(source.keys, match) for match in one.matches]
            matches = yield from completed(self._session, self._query, found)
            completed_all.append(one._replace(matches=[match for _, match in matches]))
        return completed_all


class Walk:
    """The way through one partition's index: where it begins, and how far it was read.

    Args:
        source: The index.
        begin: Where to begin.
        low: The place behind which its members lie, in ascending order; `None`: any.
        high: The last place at which one may lie.
    """

    def __init__(self, source: Source, begin: Place | bytes, low: Place | None, high: Place | None) -> None:
        self.source = source
        self.begin = begin
        self.low = low
        self.high = high
        self.last: Place | None = None
        self.ended = False
        self._steps = Steps()

    def note(self, scanned: Scanned) -> None:
        """Note how far a reply came."""
        self.last = scanned.place or self.last
        self.ended = not scanned.more or (self.last is not None and not self.has(self.last))
        if not self.ended and self._steps.in_circles(self.last):
            raise ValueError("a list without end")

    def has(self, place: Place) -> bool:
        """Whether members at a place belong to it."""
        return (self.low is None or place > self.low) and (self.high is None or place <= self.high)

    def above(self, place: Place | None) -> Place | bytes:
        """Where to begin in ascending order so that all behind a place is met."""
        if self.low is not None and (place is None or place < self.low):
            return self.low
        return place or b""

    def below(self, place: Place) -> Place:
        """The last of its places up to one."""
        return place if self.high is None else min(place, self.high)
