"""What views come to, some hundred at a time: added up by a script, or here of what plain commands tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeVar

from ....errors import CorruptArtifactError
from ....figures import Tally, tag_of
from ....model import StoreStats
from ....plan import Plan
from ....search import Query
from ....seen import Seen
from ..batching import by_partition, pages
from ..layout import records
from ..layout.keys import Keys, listed
from ..scripts import calls
from ..scripts.script import Unit
from ..session import Session
from .bounded import BoundedScan, Span
from .labelled import Source, Sources, sources
from .looking import Looking, Weighing
from .scanning import Scan, view_of

T = TypeVar("T")

_TRIES: Final = 10  # counts that are begun anew: where connections are made all the time, that is their reason


class _BegunAnewError(Exception):
    """An index is read from its beginning again."""


def once(count: Callable[[bool], Plan[T]]) -> Plan[T]:
    """A count that counts nothing twice because a new connection might have led to another server."""
    for _ in range(_TRIES):
        with suppress(_BegunAnewError):
            return (yield from count(True))
    return (yield from count(False))


class TallyScan(Scan[tuple[Keys, calls.Tallied]]):
    """What the views that a query wants come to, some at a time.

    Args:
        session: The namespace.
        query: Which views.
        by: What they are counted by.
        contents: Also what leases and contents come to.
        strict: Whether to raise where an index is begun anew: what was counted of it would count twice.
        read: Which indexes; `None`: those that know all of it.
    """

    def __init__(
        self,
        session: Session,
        query: Query,
        by: str | None,
        *,
        contents: bool,
        strict: bool,
        read: Sources | None = None,
    ) -> None:
        super().__init__(session, None)
        self._strict = strict
        self._query = query
        self._sought = calls.Sought.of(query, by_store=query.run_id is None, movable=session.transport.is_cluster)
        self._by = by
        self._contents = contents
        self._plain = contents and by is None  # of all artifacts
        self._begun = read is not None
        if read is not None:
            self._begin(read)

    def _next(self) -> Plan[Sequence[tuple[Keys, calls.Tallied]] | None]:
        if not self._begun:
            self._begun = True
            found = yield from sources(self._session, self._query, "deadlines" if self._plain else "created")
            if found.mixed:
                found = yield from sources(self._session, self._query, "deadlines")
            self._begin(found)
        some = yield from super()._next()
        if self._strict and self._restarts:
            raise _BegunAnewError
        return (yield from self._told(some)) if some and self._plain and not self._sought.movable else some

    def _told(self, some: Sequence[tuple[Keys, calls.Tallied]]) -> Plan[Sequence[tuple[Keys, calls.Tallied]]]:
        """The same with what plain commands left to a script."""
        places = [(keys, member) for keys, tallied in some for member in tallied.unknown]
        known = [(keys, tallied._replace(unknown=[])) for keys, tallied in some]
        return known + (yield from _weighed(self._session, self._sought, None, places))

    def _begin(self, read: Sources) -> None:
        if self._plain:
            self._looking = Weighing(movable=self._sought.movable)
        if read.mixed or self._plain:  # by deadline: what has expired there may be known under something else again
            self._sought = replace(self._sought, by_store=False)
        elif not self._contents:
            self._looking = Looking(self._query, self._sought)
        self._read(read.first or read.mixed, read.mixed if read.first else ())

    def _question(self, source: Source, cursor: bytes, count: int, budget: int) -> Unit[tuple[bytes, Sequence[Any]]]:  # noqa: ARG002  # sums are short
        call = calls.tally(*source, self._sought, cursor, look=count, by=self._by, contents=self._contents)
        return call.then(lambda tallied: (tallied.cursor, [(source.keys, tallied)]))

    def _taken(self, keys: Keys, found: Sequence[Any]) -> Sequence[Any]:
        if self._plain:
            return [(keys, tallied) for tallied in found]
        matches: Sequence[calls.Match] = found
        seen = [match for match in matches if match.header is not None]
        unknown = [match.member for match in matches if match.header is None] if len(seen) < len(matches) else []
        if self._query.is_filter:
            seen = [match for match in seen if self._query.matches(view_of(match))]
        return [(keys, tallied_of(seen, self._by)._replace(unknown=unknown))]


class FewTallied:
    """The same of what was stored between bounds, where that is little. Nothing counts twice.

    Args:
        session: The namespace.
        query: Which views.
        by: What they are counted by.
        span: What they are among.
    """

    def __init__(self, session: Session, query: Query, by: str | None, span: Span) -> None:
        self._session = session
        self._by = by
        self._sought = calls.Sought.of(query, by_store=False, movable=session.transport.is_cluster)
        self._scan = BoundedScan(session, query, span)
        self._seen = Seen()

    def next(self) -> Plan[Sequence[tuple[Keys, calls.Tallied]] | None]:
        """What some come to; `None`: that was all."""
        matches = yield from self._scan.matches()
        if matches is None:
            return None
        names = [(match.member, listed(match.member).decode()) for match in matches]
        places = [(self._session.of(name), member) for member, name in names if self._seen.add(name)]
        return (yield from _weighed(self._session, self._sought, self._by, places))


class Weights:
    """What artifacts, their leases and their contents come to.

    Args:
        by: What views are counted by.

    Attributes:
        views: What views come to.
        explicit: Contents of explicit ids, by digest: others may stand for them, too.
        chunked: Where contents lie that are in chunks, by digest.
    """

    def __init__(self, by: str | None) -> None:
        self._by = by
        self.views = Tally()
        self.explicit: dict[bytes, calls.StoredContent] = {}
        self.chunked: dict[bytes, Keys] = {}
        self._leases = self._handed_in = self._hour = self._day = 0
        self._contents = self._bytes = self._stored = 0  # of default ids

    def add(self, keys: Keys, tallied: calls.Tallied) -> None:
        """Take some of a partition into account."""
        sums, (contents, size, stored) = tallied.sums, tallied.own
        self.views.add(tally_of(tallied, self._by))
        self._leases += sums.leases
        self._handed_in += sums.handed_in
        self._hour += sums.hour
        self._day += sums.day
        self._contents += contents
        self._bytes += size
        self._stored += stored
        self.explicit |= {content.digest: content for content in tallied.contents if content.explicit}
        self.chunked |= {content.digest: keys for content in tallied.contents if content.chunked}

    def stats(self, *, runs: int, in_chunks: int) -> StoreStats:
        """All of it. `in_chunks`: bytes that the chunks take."""
        explicit = self.explicit.values()
        return StoreStats(
            artifacts=self.views.views,
            leases=self._leases,
            runs=runs,
            contents=self._contents + len(explicit),
            artifact_bytes=self._handed_in,
            content_bytes=self._bytes + sum(content.size for content in explicit),
            stored_bytes=self._stored + sum(content.stored for content in explicit) + in_chunks,
            ends_within_hour=self._hour,
            ends_within_day=self._day,
        )


def _weighed(
    session: Session, sought: calls.Sought, by: str | None, places: Sequence[tuple[Keys, bytes]]
) -> Plan[list[tuple[Keys, calls.Tallied]]]:
    """What some members come to, with their leases and contents."""
    work = [
        (keys, [places[i][1] for i in page])
        for keys, numbers in by_partition(keys for keys, _ in places).items()
        for page in pages(numbers)
    ]
    replies = yield from session.read_each(
        [calls.tally(keys, keys.deadlines, sought, page, look=len(page), by=by, contents=True) for keys, page in work]
    )
    return [(keys, tallied) for (keys, _), tallied in zip(work, replies, strict=True)]


def tallied_of(seen: Sequence[calls.Match], by: str | None) -> calls.Tallied:
    """What some views come to, as `tally.lua` tells it."""
    return calls.Tallied(b"", _sums_of(seen), [], _values_of(seen, by), (0, 0, 0), [])


def summed(sums: calls.Sums) -> Tally:
    """Sums as those of any backend."""
    if not (records.is_deadline(sums.first) and records.is_deadline(sums.last)):
        raise CorruptArtifactError("a lease ends beyond the year 9999: list_all() names its artifact")
    first = None if sums.first >= records.FOREVER else sums.first
    last = None if sums.last >= records.FOREVER else sums.last
    return Tally(sums.views, sums.size, sums.oldest, sums.newest, first, last)


def tally_of(tallied: calls.Tallied, by: str | None) -> Tally:
    """The same with how often each value occurs."""
    tally, values = summed(tallied.sums), Counter[str | None]()
    for value, count in tallied.values.items():
        if by == "run_id":
            values[records.run_of(value)] += count
        else:
            values[value.decode() or (records.DEFAULT_TYPE if by == "content_type" else "")] += count
    tally.values = values
    return tally


def _sums_of(seen: Sequence[calls.Match]) -> calls.Sums:
    """What `sums.lua` makes of some views."""
    if not seen:
        return calls.Sums(0, 0, 0, 0, records.FOREVER, 0)
    sizes = [records.size_of(match.header, match.member) for match in seen]
    times = [records.moments_of(match.lease, match.member) for match in seen]
    created, ends = [one for one, _ in times], [one for _, one in times]
    return calls.Sums(len(seen), sum(sizes), min(created), max(created), min(ends), max(ends))


def _values_of(seen: Sequence[calls.Match], by: str | None) -> dict[bytes, int]:
    """How often each value occurs, as `tally.lua` tells it."""
    if by is None:
        return {}
    if by == "run_id":
        return Counter([match.field for match in seen])
    name, values = tag_of(by), Counter[bytes]()
    # Many leases say the same.
    for says, count in Counter([records.view_bytes(match.lease) for match in seen]).items():
        view = records.said_by(says)
        value = view.content_type if name is None else view.tags.get(name)
        if value is not None:
            values[value.encode()] += count
    return values
