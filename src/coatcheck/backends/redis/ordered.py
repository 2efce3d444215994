"""The first artifacts in an order that an index has, merged from all partitions."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from ...model import ArtifactMetadata
from ...plan import Plan
from ...search import Place, Query, microseconds
from .batching import BATCH_BYTES, PAGE
from .layout.keys import Keys
from .scanning import Index, completed, view_of
from .scripts import calls
from .scripts.calls import Match, Scanned, Sought
from .session import Session
from .walking import Steps

_UNFILTERED: Final = 2  # pages that one call looks at where nothing is filtered: `list_all()` takes one trip


class _Found(NamedTuple):
    place: Place
    match: Match


class InOrder:
    """The first views that a query wants, by an index.

    Args:
        session: The namespace.
        query: Which views, and whether from the last on.
        index: Of which the scores are the order.
        start: The place that they are behind; `None`: the beginning.
        count: How many.
    """

    def __init__(self, session: Session, query: Query, index: Index, start: Place | None, count: int) -> None:
        self._session = session
        self._query = query
        self._index = index
        self._start = start
        self._count = count
        self._by_store = query.by == "time"
        self._sought = Sought.of(query, by_store=self._by_store, movable=session.transport.is_cluster)
        self._found: dict[bytes, _Found] = {}

    def page(self) -> Plan[tuple[list[ArtifactMetadata], Place | None]]:
        """See `Backend.page`."""
        query = self._query
        begin: Place | bytes = self._beginning() if self._start is None else self._start
        walks = [_Walk(keys, begin) for keys in self._session.partitions.all]
        trips = yield from self._walk(walks)
        if trips > 1:
            yield from self._look_again(walks)
        found = sorted(self._found.values(), key=lambda one: one.place, reverse=query.descending)
        more = len(found) > self._count or any(walk.ahead or not walk.ended for walk in walks)
        found = found[: self._count]
        views = [view_of(one.match) for one in found]
        return [view for view in views if query.matches(view)], found[-1].place if found and more else None

    def _beginning(self) -> Place | bytes:
        if self._query.descending:
            return b""
        if not self._by_store:
            return calls.NOW
        return b"" if self._query.earliest is None else (microseconds(self._query.earliest), b"")

    def _walk(self, walks: Sequence[_Walk]) -> Plan[int]:
        """Take the first of all partitions until there are enough; how many round trips that took."""
        share = 1 + (self._count if len(walks) == 1 else max(10, 2 * self._count // len(walks)))
        first = max if self._query.descending else min
        trips = 0
        way: calls.Way = b"<" if self._query.descending else b">"
        while len(self._found) < self._count:
            heads = [walk for walk in walks if walk.ahead]
            empty = [walk for walk in walks if not (walk.ahead or walk.ended)]
            head = first(heads, key=lambda walk: walk.ahead[0].place) if heads else None
            if head and all(walk.last and self._query.is_behind(walk.last, head.ahead[0].place) for walk in empty):
                one = head.ahead.popleft()
                self._found[one.match.member] = one
                continue
            if not empty:
                break
            trips += 1
            replies = yield from self._scan([(walk.keys, walk.last or walk.begin) for walk in empty], way, share)
            for walk, scanned in zip(empty, replies, strict=True):
                walk.take(scanned)
        return trips

    def _look_again(self, walks: Sequence[_Walk]) -> Plan[None]:
        """Others changed things between the round trips: look at what was passed once more.

        Newest first, what was stored again meanwhile is ahead of the beginning; so is what lasts longer now. Upwards
        from the last that was found all of it is met, because it only moves on upwards. In ascending order, what was
        moved back is looked for until nothing new is there.
        """
        places = [one.place for one in self._found.values()]
        cut = None
        if len(places) >= self._count:
            cut = min(places) if self._query.descending else max(places)
        if self._query.descending:
            yield from self._upwards([(walk.keys, cut or walk.last or b"", None) for walk in walks])
        else:
            passed = [(walk.keys, walk.begin, cut or walk.last) for walk in walks if walk.last]
            while (yield from self._upwards(passed)):
                pass

    def _upwards(self, ranges: Sequence[tuple[Keys, Place | bytes, Place | None]]) -> Plan[int]:
        """Take what lies in ranges in ascending order; how much of it is new."""
        before = len(self._found)
        while ranges:
            replies = yield from self._scan([(keys, start) for keys, start, _ in ranges], b">", PAGE)
            following = []
            for (keys, start, end), scanned in zip(ranges, replies, strict=True):
                for match in scanned.matches:
                    place = match.score, match.member
                    if (end is None or place <= end) and self._query.is_behind(place, self._start):
                        self._found[match.member] = _Found(place, match)
                if scanned.place == start:
                    raise ValueError("a list without end")
                if scanned.more and scanned.place and (end is None or scanned.place < end):
                    following.append((keys, scanned.place, end))
            ranges = following
        return len(self._found) - before

    def _scan(self, places: Sequence[tuple[Keys, Place | bytes]], way: calls.Way, most: int) -> Plan[list[Scanned]]:
        look = PAGE if self._query.is_filter else min(_UNFILTERED * PAGE, most)
        budget = BATCH_BYTES // len(places)
        replies = yield from self._session.read_each(
            [
                calls.scan(keys, self._index(keys), self._sought, way, start, look=look, most=most, budget=budget)
                for keys, start in places
            ]
        )
        found = [(keys, match) for (keys, _), one in zip(places, replies, strict=True) for match in one.matches]
        matches: dict[Keys, list[Match]] = {}
        for keys, match in (yield from completed(self._session, self._query, found)):
            matches.setdefault(keys, []).append(match)
        return [one._replace(matches=matches.get(keys, [])) for (keys, _), one in zip(places, replies, strict=True)]


class _Walk:
    """The way through one partition's index: where it begins, what was read ahead, and how far."""

    def __init__(self, keys: Keys, begin: Place | bytes) -> None:
        self.keys = keys
        self.begin = begin
        self.ahead: deque[_Found] = deque()
        self.last: Place | None = None
        self.ended = False
        self._steps = Steps()

    def take(self, scanned: Scanned) -> None:
        """Take what came."""
        self.ahead.extend(_Found((match.score, match.member), match) for match in scanned.matches)
        self.last = scanned.place or self.last
        self.ended = not scanned.more
        if not self.ended and self._steps.in_circles(self.last):
            raise ValueError("a list without end")
