"""What one run leases: names, and views.

An index of a run is mostly short enough to be read by one command, so that its names are of one moment. Views are then
read by plain commands, at a third of what a script takes, the next while those before are decoded. Where a run leases
more in a partition than one reply may name, that index is scanned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any, Final

from ....model import ArtifactMetadata
from ....plan import Plan
from ....search import Query
from ...base import Listing
from ..batching import PAGE, Pace, cut
from ..layout import records
from ..layout.keys import Keys, all_listed
from ..scripts.plain import TIME, milliseconds, own_form
from ..scripts.script import Repeated
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
        most = min(_NAMED, _NAMED_TOGETHER // len(everywhere))
        found = yield from self._session.read_of_run(self._run_id, b"ZRANGE", b"0", b"%d" % most)
        named = {keys: some for keys, some in found if len(some) <= most}
        if not first or named:  # else what was begun goes on
            self._scan.begin([Source(keys, keys.run(self._run_id)) for keys, some in found if keys not in named])
        if first:
            named = {keys: [one for one in some if one not in first] for keys, some in named.items()}
        return cut(named, self._pace)

    def _read(self, part: Some, take: Take) -> Plan[Any]:
        return self._session.read_each([self._unit(keys, members, take) for keys, members in part])

    def _unit(self, keys: Keys, members: Sequence[bytes], take: Take) -> Repeated[None]:
        field = records.lease_field(self._run_id)

        def decode(replies: Sequence[Any]) -> None:
            time, *pairs = replies
            now = records.deadline_bytes(milliseconds(time))
            headers, leases = zip(*pairs, strict=True)
            rows = list(zip(repeat(0.0), members, headers, repeat(field), leases, strict=False))
            if None in headers or None in leases or not records.is_live(min(leases), now):
                rows = [row for row in rows if None not in row and records.is_live(row[-1], now)]
                leases = tuple(lease for *_, lease in rows)
            self._pace.saw(max(map(len, leases), default=1))
            take(rows)

        return Repeated(own_form(keys, field), keys.slot, all_listed(members), decode, TIME)
