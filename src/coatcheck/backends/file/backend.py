"""The backend: what happens to which file, in which order."""

from __future__ import annotations

import hashlib
import os
import stat
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Final, TypeVar

from ...errors import CorruptArtifactError, InvalidArtifactError, StoreUnavailableError
from ...folders import Folder
from ...ids import ID_LENGTH
from ...plan import Plan, Work
from ...sources import MIB, Source, TransferProgress
from ..local import UNUSABLE, Clock, LocalBackend
from ..local_records import Orphan, Record, damaged
from ..opened import OpenedArtifact
from .directory import Directory, is_unfinished, open_file
from .opened import OpenedFile
from .records import Stored, decode, encode, file_name, is_digest, is_id

T = TypeVar("T")

_STRIPES: Final = 32  # locks of artifacts, and as many of contents
_LONGEST_META: Final = 64 * MIB
_UNFINISHED_SECONDS: Final = 60  # a file without its name that is written to at least this often is under way


class FileBackend(LocalBackend):
    """A directory, shared by any number of processes of one machine.

    Args:
        base_dir: Where `artifacts/` is, or is made.
        mode: Permissions of its directories, and of files but for the right to execute; see `FileArtifactStore`.
        max_size: Largest content in bytes.
        clock: Unix time in seconds; tests may bring their own.

    Raises:
        InvalidArtifactError: An argument makes no sense.
        StoreFullError: There is no room for it.
        StoreUnavailableError: The directory cannot be made or used, or other users could tamper with it.
    """

    blocking = True
    name = "file"

    def __init__(
        self, base_dir: Path, *, mode: int | None = None, max_size: int | None = None, clock: Clock = time.time
    ) -> None:
        super().__init__(max_size=max_size, clock=clock)
        self._users: set[object] = set()  # calls under way
        self._is_closed = False
        self._dir = Directory(base_dir, mode)
        self.identity = f"file {self._dir.path}"
        if not self._dir.foreign:
            with self._dir.telling(), suppress(PermissionError):  # one who may only read looks at all metadata
                self._index()

    def _index(self) -> None:
        """Make the indexes of a directory that has none."""
        if self._dir.wants_indexes():
            self._dir.make_locks(2 * _STRIPES)
            for record in self._records():
                record.entered = frozenset()
                self._note(record)
                self._need(record)
            self._dir.set_indexed()

    def _plan(self, call: Callable[[], T]) -> Plan[T]:
        def told() -> T:
            self._users.add(call)
            try:
                with self._dir.telling():
                    return call()
            finally:
                self._users.discard(call)
                if self._is_closed and not self._users:
                    self._dir.close()

        result: T = yield Work(told)
        return result

    def close(self) -> Plan[None]:
        self._is_closed = True  # a call that was cancelled may still be in its thread: the last one closes
        return super().close()

    # Locks ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self, artifact_id: str) -> Iterator[None]:
        if self._dir.foreign:
            raise StoreUnavailableError(
                f"{self._dir.path} is another user's, so it is only read; "
                "whoever trusts that user opens it with mode=0o700"
            )
        with self._dir.locked(zlib.crc32(artifact_id.encode()) % _STRIPES):
            yield

    @contextmanager
    def _keeping(self, digest: bytes) -> Iterator[None]:
        """Let nobody remove a content, or begin to need it. May be taken within `_writing`, never around it."""
        with self._dir.locked(_STRIPES + digest[0] % _STRIPES):
            yield

    # Records ----------------------------------------------------------------------------------------------------

    def _get(self, artifact_id: str) -> Stored | None:
        name = file_name(artifact_id)
        # AbstractRuntime looks in this order too. The third look is for what moves between the first two.
        for folder in (self._dir.refs, self._dir.top, self._dir.refs):
            file = open_file(folder, name)
            if file is not None:
                with file:
                    record = decode(file.read(_LONGEST_META), name)
                record.old = folder is self._dir.top
                if record.artifact_id == artifact_id:
                    return record
                if record.artifact_id.lower() == artifact_id.lower():
                    raise InvalidArtifactError(
                        f"artifact_id {artifact_id!r} and {record.artifact_id!r} are the same file name here: "
                        "choose ids that differ in more than case"
                    )
                raise CorruptArtifactError(f"metadata file {name} is of {record.artifact_id}; remove it")
        return None

    def _records(self, run_id: str | None = None) -> Iterator[Stored]:
        for artifact_id in self._ids(run_id):
            with suppress(*UNUSABLE):  # one bad file breaks no listing; `check` tells of it
                record = self._get(artifact_id)
                if record is not None:
                    yield record

    def _ids(self, run_id: str | None) -> list[str]:
        if run_id is not None and self._dir.is_indexed():
            return sorted(self._dir.runs.members(_hash(run_id)))
        names = {
            name for folder in (self._dir.refs, self._dir.top) for name in folder.names() if name.endswith(".meta")
        }
        return sorted(filter(is_id, (name.removesuffix(".meta") for name in names)))

    def _put(self, record: Record) -> None:
        assert isinstance(record, Stored)
        self._note(record)
        if record.old:
            self._move(record)
        else:
            self._publish(record)
        self._forget(record)

    def _put_content(self, record: Record, content: bytes | str | None, previous: Record | None) -> bool:
        assert isinstance(previous, Stored | None)
        stored = Stored(
            record.artifact_id, record.digest, record.size, record.leases, record.foreign, record.digest.hex()
        )
        if previous is not None:
            stored.noted, stored.entered = previous.noted, previous.entered
            if previous.digest == stored.digest:
                stored.rest = previous.rest
        self._note(stored)
        with self._keeping(stored.digest):
            self._need(stored)
            if not self._has_content(stored):
                if content is None:
                    return False
                self._dir.write(self._dir.blobs, f"{stored.blob}.bin", content)
            self._publish(stored)
        self._forget(stored)
        if previous is not None:
            self._remove_old(previous)
            if previous.digest != stored.digest:
                self._drop(previous.digest)
        return True

    def _move(self, record: Stored) -> None:
        """Bring an artifact of the older layout into this one; at each moment its content is found."""
        content = self._content(record)
        if content is None:
            self._publish(record)
            return
        digest = hashlib.sha256(content).digest()
        if record.digest not in (b"", digest):
            raise damaged(record.artifact_id)
        record.digest = digest
        record.blob = record.digest.hex()
        with self._keeping(record.digest):
            self._need(record)
            self._dir.write(self._dir.blobs, f"{record.blob}.bin", content)
            self._publish(record)
        self._remove_old(record)

    def _remove(self, record: Record) -> None:
        assert isinstance(record, Stored)
        # Metadata first: whatever a crash leaves then is invisible.
        self._dir.refs.remove(file_name(record.artifact_id))
        self._remove_old(record)
        for run in {*record.noted, *record.leases}:
            self._leave(run, record.artifact_id)
        self._drop(record.digest)

    def _publish(self, record: Stored) -> None:
        self._dir.write(self._dir.refs, file_name(record.artifact_id), encode(record))

    def _remove_old(self, record: Stored) -> None:
        for name in (file_name(record.artifact_id), f"{record.artifact_id}.bin"):
            self._dir.top.remove(name)

    # Indexes ----------------------------------------------------------------------------------------------------

    def _note(self, record: Stored) -> None:
        """Enter an artifact with its runs, before its metadata name them."""
        for run in record.leases.keys() - record.entered:
            if run is not None:
                self._dir.runs.enter(_hash(run), record.artifact_id)

    def _forget(self, record: Stored) -> None:
        """Remove an artifact from indexes of runs that its metadata do not name any more."""
        for run in record.noted - record.leases.keys():
            self._leave(run, record.artifact_id)

    def _leave(self, run_id: str | None, artifact_id: str) -> None:
        if run_id is not None:
            self._dir.runs.leave(_hash(run_id), artifact_id)

    def _settle(self, run_id: str, ids: Iterable[str]) -> None:
        if self._dir.is_indexed():
            for artifact_id in ids:
                with suppress(CorruptArtifactError), self._writing(artifact_id):
                    record = self._live(artifact_id)
                    if record is None or run_id not in record.leases:
                        self._leave(run_id, artifact_id)

    def _need(self, record: Stored) -> None:
        if record.digest and not record.is_named:
            self._dir.needs.enter(record.digest.hex(), record.artifact_id)

    def _drop(self, digest: bytes) -> None:
        """Remove a content that nothing needs. Where AbstractRuntime writes, only `gc` can know that."""
        if digest and self._dir.is_indexed():
            with self._keeping(digest):
                if not self._is_needed(digest):
                    self._dir.blobs.remove(f"{digest.hex()}.bin")

    def _is_needed(self, digest: bytes) -> bool:
        name = digest.hex()
        members = self._dir.needs.members(name)
        needing = [artifact_id for artifact_id in members if self._stands_for(artifact_id, digest)]
        for artifact_id in set(members).difference(needing):
            self._dir.needs.leave(name, artifact_id)
        return bool(needing) or self._stands_for(name[:ID_LENGTH], digest)

    def _stands_for(self, artifact_id: str, digest: bytes) -> bool:
        """Whether an artifact has this content, as far as can be told: damage keeps it."""
        try:
            record = self._get(artifact_id)
        except UNUSABLE:
            return True
        return record is not None and record.digest == digest

    # Maintenance ------------------------------------------------------------------------------------------------

    def _orphans(self, grace_ms: int) -> list[Orphan]:
        found = []
        for kind, place, name in self._unclaimed():
            status = Folder(place, self._dir.top).status(name)
            if status is not None and _is_old(name, status, grace_ms):
                found.append(Orphan(kind, f"{place}/{name}", status.st_size))
        return found

    def _unclaimed(self) -> Iterator[tuple[str, str, str]]:
        """Kind, place and name of what no metadata name: contents, entries of runs, files that were not finished."""
        ids = set(self._ids(None))
        records = list(self._records())
        unreadable = ids.difference(record.artifact_id for record in records)
        blobs = {record.blob for record in records}
        leases = {(_hash(run), r.artifact_id) for r in records for run in r.leases if run is not None}
        for place, claimed in (("refs", ids), ("blobs", blobs), (".", ids)):
            for name in Folder(place, self._dir.top).names():
                is_content = name.endswith(".bin") and name.removesuffix(".bin") not in claimed
                # What cannot be read might name any content.
                if is_unfinished(name) or (is_content and not unreadable):
                    yield "orphan-content", place, name
        for key, artifact_id in self._dir.runs.all():
            if (key, artifact_id) not in leases and artifact_id not in unreadable:
                yield "stale-index-member", f"runs/{key}", artifact_id

    def _remove_orphan(self, orphan: Orphan, grace_ms: int) -> bool:
        place, _, name = orphan.name.rpartition("/")
        if orphan.kind == "stale-index-member":
            return self._remove_entry(place.removeprefix("runs/"), name)
        folder, stem = Folder(place, self._dir.top), name.removesuffix(".bin")
        digest = bytes.fromhex(stem) if place == "blobs" and is_digest(stem) else b""
        with self._keeping(digest) if digest else nullcontext():
            status = folder.status(name)
            if status is None or not _is_old(name, status, grace_ms) or (digest and self._is_needed(digest)):
                return False
            folder.remove(name)
            return True

    def _remove_entry(self, key: str, artifact_id: str) -> bool:
        with self._writing(artifact_id):
            record = self._get(artifact_id)
            if record is not None and key in {_hash(run) for run in record.leases if run is not None}:
                return False
            self._dir.runs.leave(key, artifact_id)
            return True

    # Contents ---------------------------------------------------------------------------------------------------

    def _places(self, record: Record) -> list[tuple[Folder, str]]:
        """Where the content may be, first match wins."""
        assert isinstance(record, Stored)
        own = [(self._dir.top, f"{record.artifact_id}.bin")]
        return [(self._dir.blobs, f"{record.blob}.bin"), *own] if record.blob else own

    def _content_file(self, record: Record) -> BufferedReader | None:
        for folder, name in self._places(record):
            file = open_file(folder, name)
            if file is not None:
                if os.fstat(file.fileno()).st_size == record.size:
                    return file
                file.close()
                raise damaged(record.artifact_id)
        return None

    def content_path(self, artifact_id: str) -> Plan[Path | None]:
        """The file with an artifact's content."""
        return self._plan(lambda: found[1] if (found := self._find(artifact_id, self._content_at)) else None)

    def _content_at(self, record: Record) -> Path | None:
        return next((folder.path / name for folder, name in self._places(record) if folder.status(name)), None)

    def _content(self, record: Record) -> bytes | None:
        file = self._content_file(record)
        if file is None:
            return None
        with file:
            return file.read(record.size)

    def _has_content(self, record: Record) -> bool:
        for folder, name in self._places(record):
            status = folder.status(name)
            if status is not None:
                return stat.S_ISREG(status.st_mode) and status.st_size == record.size
        return False

    def _stored_bytes(self, record: Record) -> int:
        return next((status.st_size for folder, name in self._places(record) if (status := folder.status(name))), 0)

    def _open(self, artifact_id: str) -> OpenedArtifact | None:
        found = self._find(artifact_id, self._content_file)
        if found is None:
            return None
        record, file = found
        try:
            if record.digest and hashlib.file_digest(file, "sha256").digest() != record.digest:
                raise damaged(artifact_id)
        except BaseException:
            file.close()
            raise
        return OpenedFile(record.view(record.latest()), file)

    def _stage(self, source: Source, progress: TransferProgress | None) -> Plan[bytes | str]:
        name, file = self._dir.begin()
        done = 0
        try:
            with file:
                for first in range(0, self.chunking.count(source.size), self.chunking.window):
                    done += yield Work(partial(self._copy, source, first, file))
                    if progress is not None and done < source.size:
                        progress(done, source.size)
                yield Work(partial(self._dir.sync, file))
        except BaseException:
            self._unstage(name)
            raise
        return name

    def _unstage(self, content: bytes | str) -> None:
        if isinstance(content, str):
            self._dir.blobs.remove(content)

    def _copy(self, source: Source, first: int, file: BufferedWriter) -> int:
        chunks = source.chunks(first, self.chunking.window)
        with self._dir.telling():
            file.writelines(chunk.data for chunk in chunks)
        return sum(len(chunk.data) for chunk in chunks)


def _is_old(name: str, status: os.stat_result, grace_ms: int) -> bool:
    seconds = grace_ms / 1000
    return status.st_mtime <= time.time() - (max(seconds, _UNFINISHED_SECONDS) if is_unfinished(name) else seconds)


def _hash(run_id: str) -> str:
    """A run's name in the index: any text becomes a short one."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:ID_LENGTH]
