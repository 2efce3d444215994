"""What memory and file have in common: the rules of leases over plain records.

They are the same as in the Redis scripts; here each operation reads a record, changes it and writes it
back, under a lock on the artifact. Where records and contents lie is up to the subclass.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Final, TypeVar

from ..arguments import check_size
from ..errors import (
    ArtifactLostError,
    CorruptArtifactError,
    InvalidArtifactError,
    StoreFullError,
    StoreUnavailableError,
)
from ..ids import compute_digest
from ..labels import Change, Labels
from ..model import Artifact, ArtifactMetadata, CheckReport, Lease, ProblemCounter
from ..plan import Plan, Work
from ..refs import conflict
from ..request import Request, SourceRequest, StoreRequest
from ..sources import Source, TransferProgress
from .base import Progress
from .local_lists import LocalLists
from .local_records import LeaseRecord, Orphan, Record, damaged, lost
from .opened import OpenedArtifact, WholeArtifact

T = TypeVar("T")
Clock = Callable[[], float]

UNUSABLE: Final = (CorruptArtifactError, InvalidArtifactError, StoreUnavailableError)
"""What reading a record may raise that says something of this record only."""


class LocalBackend(LocalLists):
    """Every operation over records; `blocking` says whether they touch a disk."""

    blocking: bool

    def __init__(self, *, max_size: int | None, clock: Clock) -> None:
        self.max_size = max_size
        self._clock = clock
        self._latest = 0

    # For subclasses ----------------------------------------------------------------------------------------------

    @abstractmethod
    def _writing(self, artifact_id: str) -> AbstractContextManager[object]:
        """Keeps every other writer of an artifact out."""

    @abstractmethod
    def _ids(self, run_id: str | None) -> list[str]:
        """Ids of all records, damaged ones included, or of those that a run may lease."""

    @abstractmethod
    def _get(self, artifact_id: str) -> Record | None:
        """A record, with expired leases still in it; the caller may change it."""

    @abstractmethod
    def _put(self, record: Record) -> None:
        """Write a record whose content is there already."""

    @abstractmethod
    def _put_content(self, record: Record, content: bytes | str | None, previous: Record | None) -> bool:
        """Write a record with its content, which may be what `_stage` named; readers see both or neither.

        `content=None`: only if it is there already, under whatever id; whether it was.
        """

    @abstractmethod
    def _stage(self, source: Source, progress: TransferProgress | None) -> Plan[bytes | str]:
        """Read a source to where `_put_content` takes it from. Nobody else waits meanwhile."""

    def _unstage(self, content: bytes | str) -> None:
        """Give up what `_stage` returned; it may have been taken."""

    @abstractmethod
    def _remove(self, record: Record) -> None:
        """Remove a record, and its content unless others need it."""

    def _settle(self, run_id: str, ids: Iterable[str]) -> None:
        """Told of ids that a run does not lease although `_ids` named them."""

    @abstractmethod
    def _content(self, record: Record) -> bytes | None:
        """The content as it lies there, unverified; `None` where it is gone."""

    @abstractmethod
    def _has_content(self, record: Record) -> bool:
        """Whether the content is there."""

    @abstractmethod
    def _stored_bytes(self, record: Record) -> int:
        """What the content takes."""

    # Plans -------------------------------------------------------------------------------------------------------

    def _plan(self, call: Callable[[], T]) -> Plan[T]:
        if not self.blocking:
            return call()
        result: T = yield Work(call)
        return result

    def store(self, requests: Sequence[StoreRequest]) -> Plan[list[ArtifactMetadata]]:
        def change() -> list[ArtifactMetadata]:
            for request in requests if len(requests) > 1 else ():  # all, before any is written
                self._before(request, self._now())
            return [self._store(request) for request in requests]

        return self._plan(change)

    def store_source(self, request: SourceRequest, progress: TransferProgress | None) -> Plan[ArtifactMetadata]:
        stored = yield from self._plan(lambda: self._store_content(request, None))
        if stored is None:
            content = yield from self._stage(request.source, progress)
            try:
                stored = yield from self._plan(lambda: self._store_content(request, content))
            finally:
                self._unstage(content)
        assert stored is not None
        if progress is not None:
            progress(request.size, request.size)
        return stored

    def link(self, request: Request) -> Plan[ArtifactMetadata | None]:
        return self._plan(lambda: self._store_content(request, None))

    def open(self, artifact_id: str) -> Plan[OpenedArtifact | None]:
        return self._plan(lambda: self._open(artifact_id))

    def load(self, ids: Sequence[str]) -> Plan[list[Artifact | None]]:
        return self._plan(lambda: [self._load(artifact_id) for artifact_id in ids])

    def load_one(self, artifact_id: str, run_id: str | None) -> Plan[Artifact | None]:
        return self._plan(lambda: self._load(artifact_id, run_id))

    def view(self, artifact_id: str, run_id: str | None) -> Plan[ArtifactMetadata | None]:
        def look() -> ArtifactMetadata | None:
            record = self._live(artifact_id)
            return None if record is None else record.seen_by(run_id)

        return self._plan(look)

    def metadata(self, ids: Sequence[str]) -> Plan[list[ArtifactMetadata | None]]:
        def look() -> list[ArtifactMetadata | None]:
            records = [self._live(artifact_id) for artifact_id in ids]
            return [None if record is None else record.view(record.latest()) for record in records]

        return self._plan(look)

    def exists(self, ids: Sequence[str]) -> Plan[list[bool]]:
        def look() -> list[bool]:
            records = [self._live(artifact_id) for artifact_id in ids]
            return [record is not None and self._has_content(record) for record in records]

        return self._plan(look)

    def acquire(self, ids: Sequence[str], run_id: str | None, ttl_ms: int | None) -> Plan[list[bool]]:
        return self._plan(lambda: self._each(ids, lambda artifact_id: self._acquire(artifact_id, run_id, ttl_ms)))

    def delete(self, ids: Sequence[str]) -> Plan[list[bool]]:
        return self._plan(lambda: self._each(ids, self._delete))

    def touch(self, artifact_id: str, run_id: str | None, ttl_ms: int | None) -> Plan[bool]:
        return self._plan(lambda: self._touch(artifact_id, run_id, ttl_ms))

    def update(self, ids: Sequence[str], run_id: str | None, change: Change) -> Plan[list[ArtifactMetadata | None]]:
        def work() -> list[ArtifactMetadata | None]:
            known = [_labels(self._live(artifact_id), run_id) for artifact_id in ids]
            made = [None if old is None else (old, change.of(old)) for old in known]  # before any is written
            return [self._update(artifact_id, run_id, change, one) for artifact_id, one in zip(ids, made, strict=True)]

        return self._plan(work)

    def release(self, artifact_id: str, run_id: str | None) -> Plan[bool]:
        def change() -> bool:
            with self._writing(artifact_id):
                record = self._live(artifact_id)
                return record is not None and self._give_up(record, run_id)

        return self._plan(change)

    def leases(self, ids: Sequence[str]) -> Plan[list[list[Lease]]]:
        return self._plan(lambda: [self._leases(artifact_id) for artifact_id in ids])

    def _leases(self, artifact_id: str) -> list[Lease]:
        record = self._live(artifact_id)
        if record is None:
            return []
        views = [record.view(lease) for lease in sorted(record.leases.values(), key=lambda c: c.created)]
        return [Lease(**view.model_dump(include=set(Lease.model_fields))) for view in views]

    def delete_by_run(self, run_id: str) -> Plan[int]:
        def change() -> int:
            # Read whole before anything is removed: an error while reading deletes nothing.
            records = [self._get(artifact_id) for artifact_id in self._ids(run_id)]
            mine = [record.artifact_id for record in records if record is not None and run_id in record.leases]
            count = 0
            for artifact_id in mine:
                with self._writing(artifact_id):
                    record = self._live(artifact_id)
                    count += record is not None and self._give_up(record, run_id)
            return count

        return self._plan(change)

    def gc(self, *, dry_run: bool, grace_ms: int, progress: Progress) -> Plan[CheckReport]:
        return self._plan(lambda: self._inspect(repair=not dry_run, grace_ms=grace_ms, progress=progress, data=None))

    def check(self, *, read_data: bool, repair: bool, grace_ms: int, progress: Progress) -> Plan[CheckReport]:
        return self._plan(lambda: self._inspect(repair=repair, grace_ms=grace_ms, progress=progress, data=read_data))

    def close(self) -> Plan[None]:
        return self._plan(lambda: None)

    # Maintenance -------------------------------------------------------------------------------------------------

    def _orphans(self, grace_ms: int) -> list[Orphan]:  # noqa: ARG002  # for backends that can have some
        """What belongs to no record and is older than the grace period."""
        return []

    def _remove_orphan(self, orphan: Orphan, grace_ms: int) -> bool:
        """Remove it if it still is one; whether it was."""
        raise NotImplementedError

    def _inspect(self, *, repair: bool, grace_ms: int, progress: Progress, data: bool | None) -> CheckReport:
        """`data`: None for gc, else whether contents are read and verified."""
        found = ProblemCounter()
        names = self._ids(None)
        for looked_at, artifact_id in enumerate(names, 1):
            problem = self._examine(artifact_id, read_data=bool(data))
            if problem == "expired-artifact":
                if data is None:  # a leftover, not a fault: listings and writes would have removed it in time
                    found.add(problem, artifact_id, repaired=repair)
                if repair:
                    self._sweep([artifact_id])
            elif problem is not None and data is not None:
                found.add(problem, artifact_id)
            if progress is not None:
                progress(looked_at)
        orphans = self._orphans(grace_ms)
        for orphan in orphans:
            removed = repair and self._remove_orphan(orphan, grace_ms)
            found.add(orphan.kind, orphan.name, size=orphan.size, repaired=removed)
        return found.report(len(names) + len(orphans))

    def _examine(self, artifact_id: str, *, read_data: bool) -> str | None:
        """The problem of one artifact, if it has one."""
        try:
            record = self._get(artifact_id)
        except UNUSABLE:
            return "damaged-metadata"
        if record is None:
            return None
        if not record.prune(self._now()):
            return "expired-artifact"
        if read_data or not self._has_content(record):
            try:
                self._load(artifact_id)
            except ArtifactLostError:
                return "lost-content"
            except UNUSABLE:
                return "damaged-content"
        return None

    # The rules ---------------------------------------------------------------------------------------------------

    def _now(self) -> int:
        """Microseconds, never the same twice, so that the latest store is always known."""
        self._latest = max(self._latest + 1, int(self._clock() * 1_000_000))
        return self._latest

    @staticmethod
    def _deadline(now: int, ttl_ms: int | None) -> int | None:
        return None if ttl_ms is None else now // 1000 + ttl_ms

    def _live(self, artifact_id: str) -> Record | None:
        record = self._get(artifact_id)
        return record if record is not None and record.prune(self._now()) else None

    def _live_records(self, ids: Iterable[str]) -> Iterator[Record]:
        expired = []
        for artifact_id in ids:
            with suppress(*UNUSABLE):  # one bad record breaks no listing; `check` tells of it
                record = self._get(artifact_id)
                if record is None:
                    continue
                if record.prune(self._now()):
                    yield record
                else:
                    expired.append(artifact_id)
        self._try(lambda: self._sweep(expired))

    @staticmethod
    def _try(tidy: Callable[[], None]) -> None:
        """Tidy up after a listing, if that can be done: who may only read, or finds a full disk, lists all the same."""
        with suppress(*UNUSABLE, StoreFullError, OSError):
            tidy()

    def _sweep(self, ids: Iterable[str]) -> None:
        """Remove what has expired."""
        for artifact_id in ids:
            with self._writing(artifact_id):
                record = self._get(artifact_id)
                if record is not None and not record.prune(self._now()):
                    self._remove(record)

    def _touch(self, artifact_id: str, run_id: str | None, ttl_ms: int | None, *, longer: bool = False) -> bool:
        with self._writing(artifact_id):
            record = self._live(artifact_id)
            if record is None or run_id not in record.leases:
                return False
            lease, deadline = record.leases[run_id], self._deadline(self._now(), ttl_ms)
            if longer:
                deadline = lease.later_of(deadline)
            if deadline != lease.deadline:
                record.leases[run_id] = replace(lease, deadline=deadline)
                self._put(record)
            return True

    def _give_up(self, record: Record, run_id: str | None) -> bool:
        if record.leases.pop(run_id, None) is None:
            return False
        if record.leases:
            self._put(record)
        else:
            self._remove(record)
        return True

    def _store(self, request: StoreRequest) -> ArtifactMetadata:
        stored = self._store_content(request, request.content)
        assert stored is not None
        return stored

    def _store_content(self, request: Request, content: bytes | str | None) -> ArtifactMetadata | None:
        """Store a content; without one, only if it is there already, else return `None`."""
        with self._writing(request.artifact_id):
            now = self._now()
            lease = LeaseRecord(
                request.run_id,
                now,
                self._deadline(now, request.ttl_ms),
                request.content_type,
                request.tags,
                request.extra,
            )
            previous, live = self._before(request, now)
            record = Record(request.artifact_id, request.digest, request.size)
            if live is not None and live.digest == record.digest:
                record = live
                lease.created = max(now, record.latest().created + 1)  # whatever the clock says, it is the latest
                if request.run_id in record.leases and not request.exact_ttl:  # a store never shortens a lease
                    lease.deadline = lease.later_of(record.leases[request.run_id].deadline)
            record.leases[request.run_id] = lease
            if record is previous and self._has_content(record):
                self._put(record)
            elif not self._put_content(record, content, previous):
                return None
            return record.view(lease)

    def _before(self, request: Request, now: int) -> tuple[Record | None, Record | None]:
        """What is there before a store, and the same again if it is live.

        Raises:
            ArtifactConflictError: The condition is not met.
            InvalidArtifactError: The id is the name of other content.
        """
        previous = self._get(request.artifact_id)
        if previous is not None and not previous.digest:
            old = self._content(previous)
            previous.digest = b"" if old is None else compute_digest(old)
        live = previous if previous is not None and previous.prune(now) else None
        self._check_condition(request, live)
        is_named = request.artifact_id == request.default_id
        if live is not None and live.digest != request.digest and (live.is_named or is_named):
            raise InvalidArtifactError(
                f"artifact id {request.artifact_id} already is the name of other content: "
                "a content-addressed id cannot be replaced, choose another artifact_id"
            )
        return previous, live

    @staticmethod
    def _check_condition(request: Request, live: Record | None) -> None:
        wanted = request.condition
        if wanted is not None and (None if live is None else live.digest) != wanted.digest:
            raise conflict(request.artifact_id, None if live is None else live.view(live.latest()))

    def _acquire(self, artifact_id: str, run_id: str | None, ttl_ms: int | None) -> bool:
        with self._writing(artifact_id):
            record = self._live(artifact_id)
            if record is None or not self._has_content(record):
                return False
            now = self._now()
            deadline = self._deadline(now, ttl_ms)
            mine = record.leases.get(run_id)
            if mine is None:
                lease = replace(record.latest(), run_id=run_id, created=now, deadline=deadline)
            else:
                lease = replace(mine, deadline=mine.later_of(deadline))
            if lease != mine:
                record.leases[run_id] = lease
                self._put(record)
            return True

    def _update(
        self, artifact_id: str, run_id: str | None, change: Change, made: tuple[Labels, Labels] | None
    ) -> ArtifactMetadata | None:
        """Change what a lease says; `made`: what it said a moment ago, and what was made of it."""
        with self._writing(artifact_id):
            record = self._live(artifact_id)
            old = _labels(record, run_id)
            if record is None or old is None:
                return None
            content_type, tags, extra = made[1] if made is not None and made[0] == old else change.of(old)
            lease = replace(record.leases[run_id], content_type=content_type, tags=tags, extra=extra)
            record.leases[run_id] = lease
            self._put(record)
            return record.view(lease)

    def _delete(self, artifact_id: str) -> bool:
        with self._writing(artifact_id):
            record = self._get(artifact_id)
            if record is None:
                return False
            was_live = record.prune(self._now())
            self._remove(record)
            return was_live

    def _open(self, artifact_id: str) -> OpenedArtifact | None:
        artifact = self._load(artifact_id)
        return None if artifact is None else WholeArtifact(artifact)

    def _load(self, artifact_id: str, run_id: str | None = None) -> Artifact | None:
        found = self._find(artifact_id, self._content)
        if found is None:
            return None
        record, content = found
        view = record.seen_by(run_id)
        if view is None:
            return None
        if len(content) != record.size or (record.digest and compute_digest(content) != record.digest):
            raise damaged(artifact_id)
        return Artifact(metadata=view, content=content)

    def _find(self, artifact_id: str, look: Callable[[Record], T | None]) -> tuple[Record, T] | None:
        """A live record and its content, as one of the ways to look gives it; `None` where there is no artifact.

        Raises:
            ArtifactLostError: There is a record without content.
            ArtifactTooLargeError: It has more than `max_size` bytes.
        """
        record = self._live(artifact_id)
        while record is not None:
            check_size(record.size, self.max_size, f"artifact {artifact_id}")
            content = look(record)
            if content is not None:
                return record, content
            before, record = record, self._live(artifact_id)
            if record == before:  # else it was deleted or replaced between the two looks
                raise lost(artifact_id)
        return None


def _labels(record: Record | None, run_id: str | None) -> Labels | None:
    """What a lease says; `None` where there is none."""
    lease = None if record is None else record.leases.get(run_id)
    return None if lease is None else Labels(lease.content_type, lease.tags, lease.extra)
