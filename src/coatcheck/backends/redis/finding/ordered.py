"""The first artifacts in an order that an index has, merged from all partitions.

A script names the first of each partition, and plain commands say what those are that may be among the first of all:
half of what it takes a server when a script looks at them. Where most of them are in vain, scripts look at the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from operator import itemgetter
from typing import Final

from ....model import ArtifactMetadata, parse_time
from ....plan import Plan
from ....search import Place, Query
from ..batching import BATCH_BYTES, PAGE, by_partition
from ..layout import records
from ..layout.keys import Keys
from ..layout.labels import BEHIND, alone
from ..scripts import calls
from ..scripts.calls import Match, Scanned, Sought
from ..session import Session
from .labelled import By, Source, Sources, sources
from .looking import Looking
from .scanning import Found, completed, looked_at
from .walking import Steps

HIGHEST: Final = b"\xff" * 256  # behind all members of one score
_LITTLE: Final = 30  # artifacts at which a script looks in less time than another round trip takes
_NAMED: Final = 4_000  # names in one reply, which takes a server a millisecond
_NAMED_TOGETHER: Final = BATCH_BYTES // 256  # the longest in all replies of a round trip
_UNFILTERED: Final = 2  # pages that one call looks at where nothing is filtered


_Found = tuple[Place, Keys]
"""Where a member stands, and in which partition. No two have the same place, so that they can be sorted."""


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
        self._looking = Looking(query, self._sought)
        self._by_name = False
        self._found: dict[bytes, _Found] = {}
        self._seen: dict[bytes, Match] = {}  # by scripts, where they know it
        self._views: dict[bytes, ArtifactMetadata] = {}

    def page(self) -> Plan[tuple[list[ArtifactMetadata], Place | None]]:
        """See `Backend.page`."""
        found = yield from sources(self._session, self._query, self._by)
        self._by_name = self._is_told(found)
        walks = self._walks(found)
        trips = yield from self._walk(walks)
        if trips > 1:
            yield from self._look_again(walks)
            while not (yield from self._read()):
                pass
        best = self._best()
        more = len(self._found) > len(best) or any(not walk.ended for walk in walks)
        return [self._views[member] for (_, member), _ in best], best[-1][0] if best and more else None

    def _is_told(self, found: Sources) -> bool:
        """Whether indexes tell what is wanted, so that little of what they name is in vain, and it is worth a trip."""
        partitions = len(self._session.partitions.all)
        rest = self._query.unbounded if self._by_store else self._query
        told = not rest.is_filter or (alone(rest) is not None and len(found.labels) == partitions)
        return told and (partitions > 1 or self._count > _LITTLE)

    def _walks(self, found: Sources) -> list[Walk]:
        """The ways through all indexes; first through that of what may be seen with an earlier time of store."""
        low, high = self._bounds()
        walks = [self._walk_of(source, low, high) for source in found.all]
        if high is None:
            return walks
        others = [Source(keys, keys.outlived) for keys in self._session.partitions.all]
        return [self._walk_of(source, high, None) for source in others] + walks

    def _best(self) -> list[_Found]:
        """The first of what was found."""
        return sorted(self._found.values(), reverse=self._query.descending)[: self._count]

    def _end(self) -> Place | None:
        """The place of the last one, if there are enough."""
        return self._best()[-1][0] if len(self._found) >= self._count else None

    def _beginning(self) -> Place | bytes:
        if not self._by_store:
            return b"" if self._query.descending else calls.NOW
        return (float(BEHIND), b"") if self._query.descending else b""

    def _bounds(self) -> tuple[Place | None, Place | None]:
        """The place behind which all lies that was stored since the query's earliest time, and the last one of it."""
        earliest, latest = self._query.earliest, self._query.latest
        low = None if earliest is None or not self._by_store else (float(parse_time(earliest)), b"")
        return low, None if latest is None or not self._by_store else (float(parse_time(latest)), HIGHEST)

    def _walk_of(self, source: Source, low: Place | None, high: Place | None) -> Walk:
        begin: Place | bytes = self._beginning() if self._start is None else self._start
        first = high if self._query.descending else low
        if first is not None and (not isinstance(begin, tuple) or self._query.is_behind(first, begin)):
            begin = first
        return Walk(source, begin, low, high)

    def _walk(self, walks: Sequence[Walk]) -> Plan[int]:
        """Take the first of all partitions until there are enough; in how many round trips others could move them."""
        partitions = len(self._session.partitions.all)
        share = self._count if partitions == 1 else max(10, 2 * self._count // partitions)
        share += 1 + (max(10, share // 4) if self._by_name else 0)  # names cost little, and some may be in vain
        way: calls.Way = b"<" if self._query.descending else b">"
        trips = 0
        while True:
            if left := self._undecided(walks):
                trips += 1
                replies = yield from self._scan([(walk.source, walk.last or walk.begin) for walk in left], way, share)
                for walk, scanned in zip(left, replies, strict=True):
                    walk.note(scanned)
                    self._note(walk.source, scanned, walk.has)
                if not any(scanned.places for scanned in replies):
                    share = min(2 * share, _UNFILTERED * PAGE)  # much may have expired at once
            elif (yield from self._read()):
                return trips

    def _note(self, source: Source, scanned: Scanned, has: Callable[[Place], bool]) -> None:
        """Take those into account whose places matter; what is known at its place already stays as it was seen."""
        places = scanned.places
        if not (places and has(places[0]) and has(places[-1])):  # what lies between two that matter does so, too
            places = [place for place in places if has(place)]
        found = dict(zip([member for _, member in places], zip(places, repeat(source.keys)), strict=False))
        for member in self._found.keys() & found.keys():
            if self._found[member] == found[member]:
                del found[member]
            else:
                self._views.pop(member, None)
                self._seen.pop(member, None)
        self._found |= found
        self._seen.update(
            (match.member, match) for match in scanned.matches if match.header is not None and match.member in found
        )

    def _read(self) -> Plan[bool]:
        """Make views of the first; whether all of them are wanted. What is not, or is gone, is dropped."""
        unread = [(keys, member) for (_, member), keys in self._best() if member not in self._views]
        found: list[Found] = []
        named: dict[Keys, list[bytes]] = {}
        for keys, member in unread:
            match = self._seen.pop(member, None)
            if match is None:
                named.setdefault(keys, []).append(member)
            else:
                found.append((keys, match))
        found += yield from looked_at(self._session, self._looking, named)
        matches = [match for _, match in (yield from completed(self._session, self._query, found))]
        views = zip([match.member for match in matches], records.decode_views(matches), strict=True)
        self._views.update([one for one in views if self._query.matches(one[1])] if self._query.is_filter else views)
        gone = [member for _, member in unread if member not in self._views]
        for member in gone:
            del self._found[member]
        self._by_name = self._by_name and 2 * len(gone) <= len(unread)
        return not gone

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
                self._note(source, scanned, partial(self._is_passed, end))
                if scanned.place == start:
                    raise ValueError("a list without end")
                if scanned.more and scanned.place and (end is None or scanned.place < end):
                    following.append((source, scanned.place, end))
            ranges = following
        return len(self._found) - before

    def _is_passed(self, end: Place | None, place: Place) -> bool:
        """Whether a place lies between the beginning of the list and this end."""
        return (end is None or place <= end) and self._query.is_behind(place, self._start)

    def _scan(self, places: Sequence[tuple[Source, Place | bytes]], way: calls.Way, most: int) -> Plan[list[Scanned]]:
        """Names behind these places, or what scripts find there."""
        if self._by_name:
            return (yield from self._names(places, way, min(most, _NAMED, _NAMED_TOGETHER // len(places))))
        look = PAGE if self._query.is_filter else min(_UNFILTERED * PAGE, most)
        budget = BATCH_BYTES // len(places)
        return (
            yield from self._session.read_each(
                [
                    calls.scan(*source, self._sought, way, start, look=look, most=most, budget=budget)
                    for source, start in places
                ]
            )
        )

    def _names(self, places: Sequence[tuple[Source, Place | bytes]], way: calls.Way, look: int) -> Plan[list[Scanned]]:
        """Names; those of a partition of one moment, unless its slot may be on its way: then each index goes alone."""
        together = by_partition(source.keys for source, _ in places).values()
        numbers = [[i] for some in together for i in some] if self._sought.movable else list(together)
        replies = yield from self._session.read_each(
            [
                calls.names(
                    places[some[0]][0].keys,
                    [places[i][0].key for i in some],
                    way,
                    [places[i][1] for i in some],
                    look=look,
                )
                for some in numbers
            ]
        )
        found = zip([i for some in numbers for i in some], [one for some in replies for one in some], strict=True)
        return [scanned for _, scanned in sorted(found, key=itemgetter(0))]


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
