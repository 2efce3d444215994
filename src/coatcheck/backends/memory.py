"""Artifacts in this process's memory: for tests and for single-process use."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from io import BytesIO
from pathlib import Path

from ..plan import Plan, Work
from ..sources import Source, TransferProgress
from .local import Clock, LocalBackend, Record


class MemoryBackend(LocalBackend):
    """Records and contents in dicts; contents are kept once, by digest."""

    blocking = False

    def __init__(self, *, max_size: int | None = None, clock: Clock = time.time) -> None:
        super().__init__(max_size=max_size, clock=clock)
        self._lock = threading.RLock()
        self._artifacts: dict[str, Record] = {}
        self._contents: dict[bytes, tuple[bytes, set[str]]] = {}  # digest -> content, ids that need it
        self._ends: list[tuple[int, str]] = []  # heap of (deadline, id): when to look whether a record has ended

    def _writing(self) -> AbstractContextManager[object]:
        return self._lock

    _reading = _writing

    def _get(self, artifact_id: str) -> Record | None:
        record = self._artifacts.get(artifact_id)
        return None if record is None else record.copy()

    def _put(self, record: Record) -> None:
        self._artifacts[record.artifact_id] = record.copy()
        deadlines = [lease.deadline for lease in record.leases.values()]
        if None not in deadlines:
            heapq.heappush(self._ends, (max(d for d in deadlines if d is not None), record.artifact_id))
        self._drop_expired()

    def _put_content(self, record: Record, content: bytes | Path, previous: Record | None) -> None:
        assert isinstance(content, bytes)
        if previous is not None:
            self._drop_content(previous)
        self._contents.setdefault(record.digest, (content, set()))[1].add(record.artifact_id)
        self._put(record)

    def _stage(self, source: Source, progress: TransferProgress | None) -> Plan[bytes | Path]:
        content = BytesIO()
        for first in range(0, self.chunking.count(source.size), self.chunking.window):
            chunks = yield Work(partial(source.chunks, first, self.chunking.window))
            content.writelines(chunk.data for chunk in chunks)
            if progress is not None and content.tell() < source.size:
                progress(content.tell(), source.size)
        return content.getvalue()  # not a copy

    def _drop_content(self, record: Record) -> None:
        _, needed_by = self._contents[record.digest]
        needed_by.discard(record.artifact_id)
        if not needed_by:
            del self._contents[record.digest]

    def _remove(self, record: Record) -> None:
        del self._artifacts[record.artifact_id]
        self._drop_content(record)

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

    def _records(self) -> Iterable[Record]:
        return [record.copy() for record in self._artifacts.values()]

    def _content(self, record: Record) -> bytes | None:
        return self._contents[record.digest][0]

    def _has_content(self, record: Record) -> bool:
        return record.digest in self._contents

    def _stored_bytes(self, record: Record) -> int:
        content, needed_by = self._contents[record.digest]
        return len(content) // len(needed_by)
