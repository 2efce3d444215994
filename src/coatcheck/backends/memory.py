"""Artifacts in this process's memory: for tests and for single-process use."""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from io import BytesIO
from typing import TypeVar

from ..plan import Plan, Work
from ..sources import Source, TransferProgress
from .local import Clock, LocalBackend
from .local_records import Orphan, Record

T = TypeVar("T")


class MemoryBackend(LocalBackend):
    """Records and contents in dicts; contents are kept once, by digest."""

    blocking = False
    name = "memory"

    def __init__(self, *, max_size: int | None = None, clock: Clock = time.time) -> None:
        super().__init__(max_size=max_size, clock=clock)
        self.identity = f"memory {os.urandom(8).hex()}"
        self._lock = threading.RLock()
        self._artifacts: dict[str, Record] = {}
        self._contents: dict[bytes, tuple[bytes, set[str]]] = {}  # digest -> content, ids that need it
        self._runs: dict[str | None, set[str]] = {}  # run -> what it may lease
        self._ends: list[tuple[int, str]] = []  # heap of (deadline, id): when to look whether a record has ended

    def _writing(self, artifact_id: str) -> AbstractContextManager[object]:  # noqa: ARG002  # one lock for all
        return self._lock

    def _plan(self, call: Callable[[], T]) -> Plan[T]:
        def alone() -> T:
            with self._lock:
                return call()

        return super()._plan(alone)

    def _ids(self, run_id: str | None) -> list[str]:
        return list(self._artifacts if run_id is None else self._runs.get(run_id, ()))

    def _get(self, artifact_id: str) -> Record | None:
        record = self._artifacts.get(artifact_id)
        return None if record is None else record.copy()

    # Each change is whole at every moment, as an interrupt may end a call anywhere: the record makes it visible. What
    # it needs comes before, what it leaves goes after; indexes may name too much, since readers compare.

    def _put(self, record: Record) -> None:
        old = self._artifacts.get(record.artifact_id)
        for run in record.leases:
            self._runs.setdefault(run, set()).add(record.artifact_id)
        deadlines = [lease.deadline for lease in record.leases.values()]
        if None not in deadlines:
            heapq.heappush(self._ends, (max(d for d in deadlines if d is not None), record.artifact_id))
        self._artifacts[record.artifact_id] = record.copy()
        if old is not None:
            self._leave_runs(record.artifact_id, old.leases.keys() - record.leases.keys())
        self._drop_expired()

    def _put_content(self, record: Record, content: bytes | str | None, previous: Record | None) -> bool:
        assert not isinstance(content, str)
        if content is None:
            if record.digest not in self._contents:
                return False
            content, _ = self._contents[record.digest]
        self._contents.setdefault(record.digest, (content, set()))[1].add(record.artifact_id)
        self._put(record)
        if previous is not None and previous.digest != record.digest:
            self._drop_content(previous)
        return True

    def _stage(self, source: Source, progress: TransferProgress | None) -> Plan[bytes | str]:
        content = BytesIO()
        for first in range(0, self.chunking.count(source.size), self.chunking.window):
            chunks = yield Work(partial(source.chunks, first, self.chunking.window))
            content.writelines(chunk.data for chunk in chunks)
            if progress is not None and content.tell() < source.size:
                progress(content.tell(), source.size)
        return content.getvalue()  # not a copy

    def _drop_content(self, record: Record) -> None:
        _, needed_by = self._contents.get(record.digest, (b"", set()))
        needed_by.discard(record.artifact_id)
        if not needed_by:
            self._contents.pop(record.digest, None)

    def _leave_runs(self, artifact_id: str, runs: Iterable[str | None]) -> None:
        for run in runs:
            ids = self._runs.get(run, set())
            ids.discard(artifact_id)
            if not ids:
                self._runs.pop(run, None)

    def _settle(self, run_id: str, ids: Iterable[str]) -> None:
        for artifact_id in ids:
            record = self._artifacts.get(artifact_id)
            if record is None or run_id not in record.leases:
                self._leave_runs(artifact_id, [run_id])

    def _remove(self, record: Record) -> None:
        old = self._artifacts.pop(record.artifact_id)
        self._leave_runs(record.artifact_id, old.leases)
        self._drop_content(record)

    def _orphans(self, grace_ms: int) -> list[Orphan]:  # noqa: ARG002  # nobody is at work meanwhile
        """Contents that an interrupted call left."""
        needed = {record.digest for record in self._artifacts.values()}
        left = ((digest, content) for digest, (content, _) in self._contents.items() if digest not in needed)
        return [Orphan("orphan-content", digest.hex(), len(content)) for digest, content in left]

    def _remove_orphan(self, orphan: Orphan, grace_ms: int) -> bool:  # noqa: ARG002  # see above
        return self._contents.pop(bytes.fromhex(orphan.name), None) is not None

    def _drop_expired(self) -> None:
        now = int(self._clock() * 1_000_000)
        if len(self._ends) > 2 * len(self._artifacts) + 64:  # renewals leave entries behind that mean nothing
            latest = {artifact_id: end for end, artifact_id in sorted(self._ends) if artifact_id in self._artifacts}
            self._ends = sorted((end, artifact_id) for artifact_id, end in latest.items())
        while self._ends and self._ends[0][0] * 1000 <= now:
            _, artifact_id = heapq.heappop(self._ends)
            record = self._get(artifact_id)
            if record is not None and not record.prune(now):
                self._remove(record)

    def _content(self, record: Record) -> bytes | None:
        return self._contents[record.digest][0]

    def _has_content(self, record: Record) -> bool:
        return record.digest in self._contents

    def _stored_bytes(self, record: Record) -> int:
        return len(self._contents[record.digest][0])
