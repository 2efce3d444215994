"""How backends over plain records list, count and clean up."""

from __future__ import annotations

import heapq
import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, TypeVar

from ..figures import Tally
from ..model import ArtifactMetadata, StoreStats
from ..plan import Plan
from ..search import Best, Place, Query
from .base import Backend, Listing, Progress
from .local_records import LeaseRecord, Record

T = TypeVar("T")

_PIECE: Final = 1000  # records that a listing reads at a time
_HOUR: Final = 3_600_000_000  # us


class LocalLists(Backend):
    """The operations that concern many records. What they are made of, `LocalBackend` says."""

    @abstractmethod
    def _plan(self, call: Callable[[], T]) -> Plan[T]:
        """A plan that calls."""

    @abstractmethod
    def _now(self) -> int:
        """Microseconds."""

    @abstractmethod
    def _ids(self, run_id: str | None) -> list[str]:
        """Ids of all records, damaged ones included, or of those that a run may lease."""

    @abstractmethod
    def _live(self, artifact_id: str) -> Record | None:
        """A record with its live leases, if there is any."""

    @abstractmethod
    def _live_records(self, ids: Iterable[str]) -> Iterator[Record]:
        """Those that can be read."""

    @abstractmethod
    def _writing(self, artifact_id: str) -> AbstractContextManager[object]:
        """Keeps every other writer of an artifact out."""

    @abstractmethod
    def _touch(self, artifact_id: str, run_id: str | None, ttl_ms: int | None, *, longer: bool = False) -> bool:
        """Set a deadline, or only make it later; whether there is such a lease."""

    @abstractmethod
    def _give_up(self, record: Record, run_id: str | None) -> bool:
        """Give up a lease; whether there was one."""

    @abstractmethod
    def _remove(self, record: Record) -> None:
        """Remove a record, and its content unless others need it."""

    @abstractmethod
    def _settle(self, run_id: str, ids: Iterable[str]) -> None:
        """Told of ids that a run does not lease although `_ids` named them."""

    @abstractmethod
    def _stored_bytes(self, record: Record) -> int:
        """What the content takes."""

    @staticmethod
    @abstractmethod
    def _try(tidy: Callable[[], None]) -> None:
        """Tidy up if that can be done."""

    def listing(self, query: Query) -> Listing[ArtifactMetadata]:
        return _InPieces(self, query.run_id, lambda record: self._wanted(record, query))

    def page(self, query: Query, start: Place | None, count: int) -> Plan[tuple[list[ArtifactMetadata], Place | None]]:
        def look() -> tuple[list[ArtifactMetadata], Place | None]:
            best: Best[ArtifactMetadata] = Best(query, start, count)
            for record, view in self._found(query):
                best.add(self._place(record, view, query), view)
            return best.page()

        return self._plan(look)

    @staticmethod
    def _wanted(record: Record, query: Query) -> list[ArtifactMetadata]:
        lease = record.leases.get(query.run_id) if query.is_of_one else record.latest()
        views = [] if lease is None else [record.view(lease)]
        return list(filter(query.matches, views))

    @staticmethod
    def _place(record: Record, view: ArtifactMetadata, query: Query) -> Place:
        value, name = query.place(view)
        if query.by == "expiry" and not query.is_of_one:
            value = max(
                math.inf if lease.deadline is None else 1000 * lease.deadline for lease in record.leases.values()
            )
        return value, name

    def runs(self) -> Listing[str]:
        return _InPieces(self, None, lambda record: [run for run in record.leases if run is not None])

    def runs_page(self, prefix: str | None, start: Place | None, count: int) -> Plan[tuple[list[str], Place | None]]:
        def look() -> tuple[list[str], Place | None]:
            ends: dict[str, float] = {}
            for record in self._records_of(None, self._ids(None)):
                for run, lease in record.leases.items():
                    if run is not None and run.startswith(prefix or ""):
                        ends[run] = max(_ends(lease), ends.get(run, 0.0))
            places = ((end, run.encode()) for run, end in ends.items())
            found = heapq.nlargest(count + 1, (place for place in places if start is None or place < start))
            runs = [run.decode() for _, run in found[:count]]
            return runs, found[count - 1] if len(found) > count else None

        return self._plan(look)

    def count(self, query: Query) -> Plan[int]:
        return self._plan(lambda: sum(1 for _ in self._found(query)))

    def tally(self, query: Query, by: str | None) -> Plan[Tally]:
        def look() -> Tally:
            tally = Tally()
            for _, view in self._found(query):
                tally.add(Tally.of(view, by))
            return tally

        return self._plan(look)

    def tallies(self, runs: Sequence[str]) -> Plan[list[Tally]]:
        def look() -> list[Tally]:
            found = {run: Tally() for run in runs}
            for record in self._live_records(dict.fromkeys(one for run in found for one in self._ids(run))):
                for run in found.keys() & record.leases.keys():
                    found[run].add(Tally.of(record.view(record.leases[run]), None))
            return [found[run] for run in runs]

        return self._plan(look)

    def stats(self, query: Query) -> Plan[StoreStats]:
        def look() -> StoreStats:
            found = list(self._found(query))
            contents = {record.digest or record.artifact_id: record for record, _ in found}
            shown = [(record, [query.run_id] if query.is_of_one else record.leases) for record, _ in found]
            runs = {view.run_id for _, view in found} if query.is_filter else {run for _, some in shown for run in some}
            now = self._now()
            ends = [max(_ends(record.leases[run]) for run in some) for record, some in shown]
            return StoreStats(
                artifacts=len(found),
                leases=sum(len(some) for _, some in shown),
                runs=len(runs - {None}),
                contents=len(contents),
                artifact_bytes=sum(record.size * len(some) for record, some in shown),
                content_bytes=sum(record.size for record in contents.values()),
                stored_bytes=sum(self._stored_bytes(record) for record in contents.values()),
                ends_within_hour=sum(end <= now + _HOUR for end in ends),
                ends_within_day=sum(end <= now + 24 * _HOUR for end in ends),
            )

        return self._plan(look)

    def touch_run(self, run_id: str | None, ttl_ms: int | None, *, longer: bool) -> Plan[int]:
        def change() -> int:
            ids = self._ids(run_id)
            if run_id is None:  # what cannot be read is none of these
                ids = [record.artifact_id for record in self._live_records(ids) if None in record.leases]
            return sum(self._each(ids, lambda one: self._touch(one, run_id, ttl_ms, longer=longer)))

        return self._plan(change)

    def delete_where(self, query: Query, progress: Progress) -> Plan[tuple[int, int]]:
        def change() -> tuple[int, int]:
            # Read whole before anything is removed.
            ids = [record.artifact_id for record, _ in self._found(query)]
            count = size = 0
            for looked_at, artifact_id in enumerate(ids, 1):
                with self._writing(artifact_id):
                    record = self._live(artifact_id)
                    if record is not None and self._wanted(record, query):
                        count, size = count + 1, size + record.size
                        if query.is_of_one:
                            self._give_up(record, query.run_id)
                        else:
                            self._remove(record)
                if progress is not None:
                    progress(looked_at)
            return count, size

        return self._plan(change)

    def _each(self, ids: Sequence[str], change: Callable[[str], bool]) -> list[bool]:
        """Change artifacts one after the other. All are read before: where one cannot be, none is changed."""
        for artifact_id in ids if len(ids) > 1 else ():
            self._live(artifact_id)
        return [change(artifact_id) for artifact_id in ids]

    def _found(self, query: Query) -> Iterator[tuple[Record, ArtifactMetadata]]:
        """What a query wants, and the records that it belongs to."""
        for record in self._records_of(query.run_id, self._ids(query.run_id)):
            for view in self._wanted(record, query):
                yield record, view

    def _records_of(self, run_id: str | None, ids: Sequence[str]) -> Iterator[Record]:
        """Live records, for a run those that it leases."""
        leased = set()
        for record in self._live_records(ids):
            if run_id is None or run_id in record.leases:
                leased.add(record.artifact_id)
                yield record
        if run_id is not None:
            self._try(lambda: self._settle(run_id, set(ids) - leased))


def _ends(lease: LeaseRecord) -> float:
    """When a lease ends, in microseconds."""
    return math.inf if lease.deadline is None else 1000 * lease.deadline


class _InPieces(Listing[T]):
    """Something of every record: the ids are read at once, the records some at a time."""

    def __init__(self, backend: LocalLists, run_id: str | None, take: Callable[[Record], Iterable[T]]) -> None:
        self._backend = backend
        self._run_id = run_id
        self._take = take
        self._ids: list[str] | None = None

    def next(self) -> Plan[Sequence[T] | None]:
        return self._backend._plan(self._next)  # noqa: SLF001  # the same room

    def _next(self) -> Sequence[T] | None:
        backend = self._backend
        if self._ids is None:
            self._ids = backend._ids(self._run_id)[::-1]  # noqa: SLF001
        if not self._ids:
            return None
        some = [self._ids.pop() for _ in range(min(_PIECE, len(self._ids)))]
        return [one for record in backend._records_of(self._run_id, some) for one in self._take(record)]  # noqa: SLF001
