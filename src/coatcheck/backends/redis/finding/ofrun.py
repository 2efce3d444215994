"""What one run leases: names, and views.

An index of a run is mostly short enough to be read by one command, so that its names are of one moment. Views are then
read by plain commands, at a third of what a script takes, the next while those before are decoded. Where a run leases
more in a partition than one reply may name, that index is scanned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from math import inf
from operator import itemgetter
from typing import Any, Final

from ....model import ArtifactMetadata, parse_time
from ....plan import Plan
from ....search import Best, Place, Query
from ...base import Listing
from ..batching import PAGE, ROUND, Pace, cut, pages
from ..layout import records
from ..layout.keys import Keys, all_listed
from ..scripts.plain import TIME, milliseconds, own_form
from ..scripts.script import Command, Repeated
from ..session import Session, heard
from ..transport.overlapping import overlapped
from .labelled import Source
from .scanning import LEAST, ViewScan

_NAMED: Final = 16_000  # names in one reply, which takes a server two milliseconds
_NAMED_TOGETHER: Final = 32_000  # in the replies of all partitions

Row = tuple[float, bytes, Any, Any, Any]
"""A member of an index with header, lease field and lease, as `records.decode_views` takes it."""

Take = Callable[[Sequence[Row]], None]
Some = list[tuple[Keys, Sequence[bytes]]]  # members of partitions


class RunViews(Listing[ArtifactMetadata]):
    """Views of all that a run leases.

    Args:
        session: The namespace.
        query: Which run; nothing else is asked for.
    """

    def __init__(self, session: Session, query: Query) -> None:
        assert query.run_id is not None
        self._session = session
        self._run_id = query.run_id
        self._scan = ViewScan(session, query)
        self._pace = Pace(PAGE)
        self._parts: Iterator[Some] | None = None  # that are left

    def next(self) -> Plan[Sequence[ArtifactMetadata] | None]:
        return heard(self._next())

    def rest(self) -> Plan[list[Sequence[ArtifactMetadata]]]:
        found: list[Sequence[ArtifactMetadata]] = []
        yield from self.each(lambda rows: found.append(records.decode_views(rows)))
        return found

    def each(self, take: Take) -> Plan[None]:
        """Hand over all rows, some at a time: what takes them has time while the next are under way."""
        return heard(self._each(take))

    def _next(self) -> Plan[Sequence[ArtifactMetadata] | None]:
        rows: list[Row] = []
        if self._parts is None:
            self._parts = yield from self._begin(rows.extend)
        elif (part := next(self._parts, None)) is not None:
            yield from self._read(part, rows.extend)
        else:
            matches = yield from self._scan.matches()
            if matches is None:
                return None
            rows.extend(matches)
        return records.decode_views(rows)

    def _each(self, take: Take) -> Plan[None]:
        self._parts = yield from self._begin(take)
        yield from overlapped(self._read(part, take) for part in self._parts)
        while (matches := (yield from self._scan.matches())) is not None:
            take(matches)

    def _begin(self, take: Take) -> Plan[Iterator[Some]]:
        """Find out what there is, or take all that there is."""
        everywhere, first = self._session.partitions.all, {}
        if len(everywhere) == 1:  # a script reads a short run in one trip
            matches = (yield from self._scan.matches(LEAST)) or ()
            take(matches)
            if self._scan.ended:
                return iter(())
            first = {match.member: len(match.lease) for match in matches}
            self._pace.saw(max(first.values(), default=0))
        most = _most(self._session)
        found = yield from self._session.read_of_run(self._run_id, b"ZRANGE", b"0", b"%d" % most)
        named = {keys: some for keys, some in found if len(some) <= most}
        if not first or named:  # else what was begun goes on
            self._scan.begin([Source(keys, keys.run(self._run_id)) for keys, some in found if keys not in named])
        if first:
            named = {keys: [one for one in some if one not in first] for keys, some in named.items()}
        return cut(named, self._pace)

    def _read(self, part: Some, take: Take) -> Plan[Any]:
        return _read(self._session, self._run_id, part, self._pace, take)


class RunPage:
    """The first of a run by time of store, of which no index knows the order.

    The catalog knows a time that is none before that of the run's own lease. So in descending order leases are read as
    they stand there, until what is left was stored earlier than all on the page.

    Args:
        session: The namespace.
        query: Which run, in which order; nothing else but bounds is asked for.
        start: The place that they are behind; `None`: the beginning.
        count: How many.
    """

    def __init__(self, session: Session, query: Query, start: Place | None, count: int) -> None:
        assert query.run_id is not None
        self._session = session
        self._run_id = query.run_id
        self._descending = query.descending
        self._count = count
        self._earliest = 0 if query.earliest is None else parse_time(query.earliest)
        self._latest = inf if query.latest is None else parse_time(query.latest)
        self._best = Best[Row](query, start, count)
        self._pace = Pace(PAGE)

    def page(self) -> Plan[tuple[list[ArtifactMetadata], Place | None]]:
        """See `Backend.page`."""
        most = _most(self._session)
        named = yield from self._session.read_of_run(self._run_id, b"ZRANGE", b"0", b"%d" % most)
        if any(len(members) > most for _, members in named):
            yield from RunViews(self._session, Query(self._run_id)).each(self._take)
        elif self._descending and sum(len(members) for _, members in named) > 2 * self._count:
            yield from self._latest_of(named)
        else:
            yield from self._read(dict(named))
        rows, end = self._best.page()
        return records.decode_views(rows), end

    def _latest_of(self, named: Sequence[tuple[Keys, Sequence[bytes]]]) -> Plan[None]:
        """Read the leases of the latest, as far as the page may go."""
        waiting = [
            one for one in sorted((yield from self._placed(named)), key=itemgetter(0)) if one[0] >= self._earliest
        ]
        some = self._count + 1
        while waiting:
            end = self._best.end
            if end is not None and waiting[-1][0] < end[0]:
                return
            part: dict[Keys, list[bytes]] = {}
            for _, keys, member in waiting[: -some - 1 : -1]:
                part.setdefault(keys, []).append(member)
            del waiting[-some:]
            yield from self._read(part)

    def _placed(self, named: Sequence[tuple[Keys, Sequence[bytes]]]) -> Plan[list[tuple[float, Keys, bytes]]]:
        """Members with the times at which they stand in the catalog; what it does not know may be of any."""
        parts = [(keys, some) for keys, members in named for some in pages(members, ROUND)]
        replies = yield from self._session.read_each(
            [Command(keys.slot, (b"ZMSCORE", keys.created, *some), list[Any]) for keys, some in parts]
        )
        return [
            (inf if score is None else float(score), keys, member)
            for (keys, some), scores in zip(parts, replies, strict=True)
            for member, score in zip(some, scores, strict=True)
        ]

    def _read(self, named: Mapping[Keys, Sequence[bytes]]) -> Plan[None]:
        parts = cut(named, self._pace)
        return overlapped(_read(self._session, self._run_id, part, self._pace, self._take) for part in parts)

    def _take(self, rows: Sequence[Row]) -> None:
        leases = [lease for *_, lease in rows]
        if any(map(records.is_damaged, leases)):
            records.decode_views(rows)  # raises: nobody knows where it stands
        names = all_listed([member for _, member, *_ in rows])
        for name, created, row in zip(names, map(records.created_of, leases), rows, strict=True):
            if self._earliest <= created <= self._latest:
                self._best.add((created, name), row)


def _most(session: Session) -> int:
    """Names that a partition is asked for."""
    return min(_NAMED, _NAMED_TOGETHER // len(session.partitions.all))


def _read(session: Session, run_id: str, part: Some, pace: Pace, take: Take) -> Plan[Any]:
    """Read the run's leases of some members."""
    return session.read_each([_unit(run_id, keys, members, pace, take) for keys, members in part])


def _unit(run_id: str, keys: Keys, members: Sequence[bytes], pace: Pace, take: Take) -> Repeated[None]:
    field = records.lease_field(run_id)

    def decode(replies: Sequence[Any]) -> None:
        time, *pairs = replies
        now = records.deadline_bytes(milliseconds(time))
        headers, leases = zip(*pairs, strict=True)
        rows = list(zip(repeat(0.0), members, headers, repeat(field), leases, strict=False))
        if None in headers or None in leases or not records.is_live(min(leases), now):
            rows = [row for row in rows if None not in row and records.is_live(row[-1], now)]
            leases = tuple(lease for *_, lease in rows)
        pace.saw(max(map(len, leases), default=1))
        take(rows)

    return Repeated(own_form(keys, field), keys.slot, all_listed(members), decode, TIME)
