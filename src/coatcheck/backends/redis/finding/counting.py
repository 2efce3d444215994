"""Counts and sums, made on the server: one reply for some hundred artifacts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ....envelope import is_manifest
from ....figures import Tally
from ....manifest import Manifest
from ....model import StoreStats
from ....plan import Plan
from ....search import Query
from ....seen import Seen
from ..batching import PAGE, ROUND, ask_about, batches
from ..layout import records
from ..layout.keys import Keys, listed
from ..layout.labels import Wanted, alone, field_of, value_of
from ..scripts import calls
from ..scripts.plain import server_time
from ..scripts.script import Command, same
from ..session import Session, heard
from .bounded import BoundedScan, Span, few_of, is_bounded
from .labelled import Sources, exactly, the_rest
from .runs import RunScan, knowing
from .scanning import completed, view_of
from .tallying import FewTallied, TallyScan, Weights, once, summed, tallied_of, tally_of
from .walking import Cursor


class Counting:
    """The operations that count. While many artifacts are deleted, one that is there all the time may count twice.

    Args:
        session: The namespace.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def count(self, query: Query) -> Plan[int]:
        """See `Backend.count`."""
        wanted = alone(query)
        if wanted is not None:
            return heard(self._labelled(query, wanted))
        return heard(self._tallied(query) if query.is_filter or query.anonymous else self._live(query))

    def facets(self, query: Query, by: str) -> Plan[Counter[str | None]]:
        """See `Backend.facets`."""
        field = field_of(by)
        if field is None or query.is_filter or query.is_of_one:
            return heard(self._values(query, by))
        return heard(self._indexed(query, by, field))

    def tally(self, query: Query, by: str | None) -> Plan[Tally]:
        """See `Backend.tally`."""
        return heard(self._tally(query, by))

    def tallies(self, runs: Sequence[str]) -> Plan[list[Tally]]:
        """See `Backend.tallies`."""
        return heard(self._tallies(runs))

    def stats(self, query: Query) -> Plan[StoreStats]:
        """See `Backend.stats`."""
        return heard(self._stats(query))

    def _tallied(self, query: Query) -> Plan[int]:
        return (yield from self._tally(query, None)).views

    def _values(self, query: Query, by: str) -> Plan[Counter[str | None]]:
        return (yield from self._tally(query, by)).values

    def _labelled(self, query: Query, wanted: Wanted) -> Plan[int]:
        """Members of indexes by label that have not expired, and what is mixed."""
        indexed = yield from exactly(self._session, wanted.field)
        now = (yield from self._session.read(server_time(self._session.partitions.all[0]))) // 1000
        names = [
            (keys, keys.labelled(marker.token + b":" + wanted.value, "deadlines")) for keys, marker in indexed.items()
        ]
        counts = yield from self._session.read_each(
            [Command(keys.slot, (b"ZCOUNT", name, b"(%d" % now, b"+inf"), int) for keys, name in names]
        )
        rest = yield from self._tally(query, None, the_rest(self._session, indexed))
        return sum(counts) + rest.views

    def _indexed(self, query: Query, by: str, field: bytes) -> Plan[Counter[str | None]]:
        """The same for every value that there is."""
        indexed = yield from exactly(self._session, field)
        found: Counter[str | None] = Counter()
        waiting = [(keys, marker, Cursor()) for keys, marker in indexed.items()]
        while waiting:
            replies = yield from self._session.read_each(
                [calls.facets(keys, marker.token, cursor.at, PAGE) for keys, marker, cursor in waiting]
            )
            for (_, _, cursor), (following, values) in zip(waiting, replies, strict=True):
                for value, count in values:
                    found[value_of(value)] += count
                cursor.move(following)
            waiting = [one for one in waiting if not one[2].ended]
        return found + (yield from self._tally(query, by, the_rest(self._session, indexed))).values

    def _live(self, query: Query) -> Plan[int]:
        """Members of an index by deadline that have not expired."""
        run = query.run_id
        now = (yield from self._session.read(server_time(self._session.partitions.all[0]))) // 1000
        counts = yield from self._session.read_each(
            [
                Command(
                    keys.slot, (b"ZCOUNT", keys.deadlines if run is None else keys.run(run), b"(%d" % now, b"+inf"), int
                )
                for keys in self._session.partitions.all
            ]
        )
        return sum(counts)

    def _tally(self, query: Query, by: str | None, read: Sources | None = None) -> Plan[Tally]:
        span = (yield from few_of(self._session, query)) if is_bounded(query) else None
        if span is not None:
            return (yield from self._few(query, by, span))
        return (yield from once(lambda strict: self._tally_all(query, by, read, strict=strict)))

    def _tally_all(self, query: Query, by: str | None, read: Sources | None, *, strict: bool) -> Plan[Tally]:
        total, scan = Tally(), TallyScan(self._session, query, by, contents=False, read=read, strict=strict)
        while (some := (yield from scan.next())) is not None:
            for keys, tallied in some:
                total.add(tally_of(tallied, by))
                for match in (yield from _unseen(self._session, query, keys, tallied.unknown)):
                    total.add(Tally.of(view_of(match), by))
        return total

    def _few(self, query: Query, by: str | None, span: Span) -> Plan[Tally]:
        """The same of what was stored between bounds, where that is little."""
        total, seen, scan = Tally(), Seen(), BoundedScan(self._session, query, span)
        while (found := (yield from scan.matches())) is not None:
            views = zip(found, records.decode_views(found), strict=True)
            new = [match for match, view in views if query.matches(view) and seen.add(view.artifact_id)]
            total.add(tally_of(tallied_of(new, by), by))
        return total

    def _tallies(self, runs: Sequence[str]) -> Plan[list[Tally]]:
        """One script for many runs that lease little in a partition; runs that lease more, one by one."""
        session = self._session
        found = {run: Tally() for run in runs}
        large: set[str] = set()
        for places in batches((yield from knowing(session, list(found))), ROUND, lambda place: 2 * len(place[1])):
            replies = yield from ask_about(
                session,
                places,
                lambda keys, some, _: calls.tally_runs(keys, some, look=PAGE, movable=session.transport.is_cluster),
            )
            for (keys, run), tallied in zip(places, replies, strict=True):
                if tallied is None:
                    large.add(run)
                    continue
                found[run].add(summed(tallied.sums))
                query = Query(run_id=run)
                for match in (yield from _unseen(session, query, keys, tallied.unknown)):
                    found[run].add(Tally.of(view_of(match), None))
        for run in large:
            found[run] = yield from self._tally(Query(run_id=run), None)
        return [found[run] for run in runs]

    def _stats(self, query: Query) -> Plan[StoreStats]:
        by = "run_id" if query.is_filter or query.is_of_one else None
        span = (yield from few_of(self._session, query)) if is_bounded(query) else None
        if span is not None:
            return (yield from self._weigh(query, by, FewTallied(self._session, query, by, span)))
        return (
            yield from once(
                lambda strict: self._weigh(query, by, TallyScan(self._session, query, by, contents=True, strict=strict))
            )
        )

    def _weigh(self, query: Query, by: str | None, scan: FewTallied | TallyScan) -> Plan[StoreStats]:
        weights = Weights(by)
        while (some := (yield from scan.next())) is not None:
            for keys, tallied in some:
                weights.add(keys, tallied)
                for one in (yield from self._unknown(query, by, keys, tallied)):
                    weights.add(keys, one)
        for digest in (yield from self._counted(query, weights.explicit)):
            del weights.explicit[digest]
        runs = len(weights.views.values.keys() - {None}) if by else (yield from self._runs())
        return weights.stats(runs=runs, in_chunks=(yield from self._in_chunks(weights.chunked)))

    def _counted(self, query: Query, others: Iterable[bytes]) -> Plan[list[bytes]]:
        """Contents of explicit ids that are those of wanted default artifacts, too."""
        digests = list(others)
        names = [records.content_id_of(digest) for digest in digests]
        places = [(self._session.of(name.decode()), name) for name in names]
        field = calls.seen_field(query)
        views = yield from ask_about(
            self._session, places, lambda keys, ids, most: calls.metadata(keys, ids, most, field)
        )
        return [
            digest
            for digest, name, view in zip(digests, names, views, strict=True)
            if view is not None and query.matches(records.decode_view(name.decode(), *view))
        ]

    def _runs(self) -> Plan[int]:
        seen, scan = Seen(), RunScan(self._session)
        count = 0
        while (runs := (yield from scan.next())) is not None:
            count += sum(map(seen.add, runs))
        return count

    def _in_chunks(self, chunked: Mapping[bytes, Keys]) -> Plan[int]:
        """What the chunks of these contents take."""
        manifests = yield from self._session.read_each(
            [
                Command(keys.slot, (b"GET", keys.content(records.content_id_of(digest))), same)
                for digest, keys in chunked.items()
            ]
        )
        return sum(
            chunk.length
            for digest, sealed in zip(chunked, manifests, strict=True)
            if sealed is not None
            for chunk in Manifest.unseal(sealed, digest).chunks
        )

    def _unknown(self, query: Query, by: str | None, keys: Keys, tallied: calls.Tallied) -> Plan[list[calls.Tallied]]:
        """The same of what a script could not see, because its keys may lie on two nodes."""
        found = []
        for match in (yield from _unseen(self._session, query, keys, tallied.unknown)):
            name = listed(match.member)
            digest, size = records.decode_header(match.header, name.decode())
            leases, ends = 1, records.deadline_of(match.lease)
            if not query.is_of_one:
                leases, ends = yield from self._leases(keys, name)
            now = (yield from self._session.read(server_time(keys))) // 1000
            content = keys.content(records.content_id_of(digest))
            stored = yield from self._session.read(Command(keys.slot, (b"STRLEN", content), int))
            start = yield from self._session.read(Command(keys.slot, (b"GETRANGE", content, b"0", b"61"), bytes))
            explicit = name != records.content_id_of(digest)
            one = calls.StoredContent(digest, size, stored, is_manifest(start), explicit)
            created = records.created_of(match.lease)
            sums = calls.Sums(
                *(1, size, created, created, ends, ends, leases, leases * size),
                *(int(ends <= now + hours * 3_600_000) for hours in (1, 24)),
            )
            own = (0, 0, 0) if explicit else (1, size, stored)
            values = {match.field: 1} if by else {}
            found.append(calls.Tallied(b"0", sums, [], values, own, [one]))
        return found

    def _leases(self, keys: Keys, name: bytes) -> Plan[tuple[int, int]]:
        """How many live leases an artifact has, and when the last of them ends."""
        after = b"0"
        fields: dict[bytes, bytes] = {}
        while after:
            page = yield from self._session.read(calls.leases(keys, name, after, PAGE))
            fields.update(page.leases)
            after = page.after
        return len(fields), max(map(records.deadline_of, fields.values()), default=0)


def _unseen(session: Session, query: Query, keys: Keys, members: Sequence[bytes]) -> Plan[list[calls.Match]]:
    """Of members that a script could not see, those that a query wants."""
    found = [(keys, calls.Match(0.0, member, None, None, None)) for member in members]
    return [match for _, match in (yield from completed(session, query, found))]
