"""Artifacts in a directory: `artifacts/<id>.bin` and `artifacts/<id>.meta`, the layout inherited from AbstractRuntime.

Every file is written to a temporary name, synced and renamed; the rename of `.meta` is what publishes a store. When an
explicit id gets other content, that content first lies beside the old one as `<id>.<digest>.bin`, so that a crash
between the two renames leaves either the old artifact or the new one. Directories that AbstractRuntime 0.13 wrote
(`artifacts/refs/<id>.meta` and `artifacts/blobs/<digest>.bin`) are read too; what is stored again moves to this layout.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any, Final

from ..arguments import check_size
from ..errors import CorruptArtifactError, InvalidArtifactError, StoreFullError, StoreUnavailableError
from ..ids import ID_LENGTH, is_default_id, validate_artifact_id
from ..locks import file_lock
from ..model import ArtifactMetadata, format_time
from ..plan import Plan, Work
from ..sources import MIB, Source, TransferProgress
from .local import Clock, LeaseRecord, LocalBackend, Record, damaged, lost
from .opened import Block, OpenedArtifact

VERSION: Final = 1
_LEAST_READ: Final = 64 * 1024
_PART_SECONDS: Final = 60  # a streamed file that is written to at least this often is under way
_FULL: Final = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_DEVICES: Final = frozenset({"con", "prn", "aux", "nul"}) | {f"{d}{n}" for d in ("com", "lpt") for n in range(10)}
_READ_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO must not hang us
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_WRITE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class FileBackend(LocalBackend):
    """A directory, shared by any number of processes of one machine.

    Args:
        base_dir: Where `artifacts/` is, or is made.
        max_size: Largest content in bytes.
        clock: Unix time in seconds; tests may bring their own.

    Raises:
        StoreUnavailableError: The directory cannot be made or written.
    """

    blocking = True

    def __init__(self, base_dir: Path, *, max_size: int | None = None, clock: Clock = time.time) -> None:
        super().__init__(max_size=max_size, clock=clock)
        self._dir = base_dir / "artifacts"
        self._lock_path = self._dir / ".lock"
        try:
            self._dir.mkdir(parents=True, exist_ok=True)
            if self._dir.is_symlink():
                raise StoreUnavailableError(f"{self._dir} is a symbolic link: give the real directory")
            with file_lock(self._lock_path):
                pass
        except OSError as error:
            raise StoreUnavailableError(
                f"cannot use the directory {base_dir}: {error.strerror}; choose one that this user may write"
            ) from None
        except ValueError as error:  # a NUL, or what no file name can hold
            raise InvalidArtifactError(f"{str(base_dir)!r} cannot be a directory: {error}") from None

    # Paths: the only places where a name becomes one ------------------------------------------------------------

    def _path(self, artifact_id: str, suffix: str) -> Path:
        validate_artifact_id(artifact_id)
        if artifact_id.lower() in _DEVICES:
            raise InvalidArtifactError(
                f"artifact_id {artifact_id!r} is the name of a device on Windows; the file store refuses it everywhere"
            )
        return self._dir / f"{artifact_id}{suffix}"

    def _meta(self, artifact_id: str) -> Path:
        return self._path(artifact_id, ".meta")

    def _runtime_meta(self, artifact_id: str) -> Path:
        return self._dir / "refs" / self._meta(artifact_id).name

    def _beside(self, record: Record) -> Path:
        """Where new content waits for its metadata while the old content still has the proper name."""
        return self._path(record.artifact_id, f".{record.digest.hex()[:ID_LENGTH]}.bin")

    def _content_paths(self, record: Record) -> list[Path]:
        """Where the content may be, first match wins."""
        paths = [self._beside(record), self._path(record.artifact_id, ".bin")]
        if self._runtime_meta(record.artifact_id).exists():
            paths.insert(0, self._dir / "blobs" / f"{record.digest.hex()}.bin")
        return paths

    # Locks ------------------------------------------------------------------------------------------------------

    def _writing(self) -> AbstractContextManager[object]:
        return file_lock(self._lock_path)

    def _reading(self) -> AbstractContextManager[object]:
        return file_lock(self._lock_path, shared=True)

    # Records ----------------------------------------------------------------------------------------------------

    def _get(self, artifact_id: str) -> Record | None:
        # AbstractRuntime's own record wins: a store of ours would have removed it.
        for path in (self._runtime_meta(artifact_id), self._meta(artifact_id)):
            raw = _read(path)
            if raw is not None:
                record = _decode(raw, path.name)
                if record.artifact_id != artifact_id:
                    raise InvalidArtifactError(
                        f"artifact_id {artifact_id!r} and {record.artifact_id!r} are the same file name here: "
                        "choose ids that differ in more than case"
                    )
                return record
        return None

    def _records(self) -> Iterable[Record]:
        for name in self._names():
            record = self._get(name)
            if record is not None:
                yield record

    def _put(self, record: Record) -> None:
        self._write(self._meta(record.artifact_id), _encode(record))
        if (runtime := self._runtime_meta(record.artifact_id)).exists():
            self._adopt(record, runtime)

    def _put_content(self, record: Record, content: bytes | Path, previous: Record | None) -> None:
        final = self._path(record.artifact_id, ".bin")
        beside = self._beside(record)
        self._write(beside if previous is not None else final, content)
        self._write(self._meta(record.artifact_id), _encode(record))
        self._runtime_meta(record.artifact_id).unlink(missing_ok=True)
        if previous is not None:
            beside.replace(final)

    def _adopt(self, record: Record, runtime: Path) -> None:
        """Bring an artifact that AbstractRuntime wrote into this layout; its blob may serve others and stays."""
        content = self._content(record)
        if content is not None:
            self._write(self._path(record.artifact_id, ".bin"), content)
            runtime.unlink()

    def _remove(self, record: Record) -> None:
        # Metadata first: whatever a crash leaves then is invisible.
        self._runtime_meta(record.artifact_id).unlink(missing_ok=True)
        self._meta(record.artifact_id).unlink(missing_ok=True)
        for path in self._content_paths(record):
            path.unlink(missing_ok=True)

    # Maintenance ------------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        names = {path.stem for folder in (self._dir, self._dir / "refs") for path in folder.glob("*.meta")}
        return sorted(name for name in names if _is_id(name))

    def _orphans(self, grace_ms: int) -> list[tuple[str, int]]:
        newest = time.time() - grace_ms / 1000
        with self._reading():
            orphans = [path for path in sorted(self._dir.iterdir()) if self._is_orphan(path)]
            found = [(path.name, path.lstat()) for path in orphans]
        return [(name, status.st_size) for name, status in found if status.st_mtime <= newest]

    def _is_orphan(self, path: Path) -> bool:
        """A temporary file, or content that no metadata names. AbstractRuntime's blobs are its own business."""
        if path.is_symlink() or not path.is_file():
            return False
        if path.suffix == ".tmp":
            return path.name.startswith(".")
        if path.suffix == ".part":
            return path.name.startswith(".") and path.lstat().st_mtime <= time.time() - _PART_SECONDS
        artifact_id, _, digest = path.stem.partition(".")
        if path.suffix != ".bin" or not _is_id(artifact_id):
            return False
        try:
            record = self._get(artifact_id)
        except CorruptArtifactError:
            return False
        return record is None or (bool(digest) and not record.digest.hex().startswith(digest))

    def _remove_orphan(self, name: str, grace_ms: int) -> bool:
        path = self._dir / name
        with self._writing():
            if not self._is_orphan(path) or path.lstat().st_mtime > time.time() - grace_ms / 1000:
                return False
            path.unlink()
            return True

    # Contents ---------------------------------------------------------------------------------------------------

    def _content(self, record: Record) -> bytes | None:
        for path in self._content_paths(record):
            content = _read(path)
            if content is not None:
                return content
        return None

    def _has_content(self, record: Record) -> bool:
        return any(path.is_file() and not path.is_symlink() for path in self._content_paths(record))

    def _stored_bytes(self, record: Record) -> int:
        sizes = (path.lstat().st_size for path in self._content_paths(record) if path.is_file())
        return next(sizes, 0)

    def _open(self, artifact_id: str) -> OpenedArtifact | None:
        with self._reading():
            record = self._live(artifact_id)
            if record is None:
                return None
            check_size(record.size, self.max_size, f"artifact {artifact_id}")
            files = (_open(path) for path in self._content_paths(record))
            file = next((file for file in files if file is not None), None)
        if file is None:
            raise lost(artifact_id)
        try:
            if os.fstat(file.fileno()).st_size != record.size or (
                record.digest and hashlib.file_digest(file, "sha256").digest() != record.digest
            ):
                raise damaged(artifact_id)
        except BaseException:
            file.close()
            raise
        return _OpenedFile(record.view(record.latest()), file)

    def _stage(self, source: Source, progress: TransferProgress | None) -> Plan[bytes | Path]:
        path = self._dir / f".{uuid.uuid4().hex}.part"
        done = 0
        try:
            with self._create(path) as file:
                for first in range(0, self.chunking.count(source.size), self.chunking.window):
                    done += yield Work(partial(self._copy, source, first, file))
                    if progress is not None and done < source.size:
                        progress(done, source.size)
                yield Work(partial(self._sync, file))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _copy(self, source: Source, first: int, file: BufferedWriter) -> int:
        chunks = source.chunks(first, self.chunking.window)
        with self._telling(file.name):
            file.writelines(chunk.data for chunk in chunks)
        return sum(len(chunk.data) for chunk in chunks)

    def _create(self, path: Path) -> BufferedWriter:
        with self._telling(path.name):
            return os.fdopen(os.open(path, _WRITE_FLAGS, 0o644), "wb")

    def _sync(self, file: BufferedWriter) -> None:
        with self._telling(file.name):
            file.flush()
            os.fsync(file.fileno())

    def _write(self, path: Path, data: bytes | Path) -> None:
        """Write a file; `data` may be the path of one that is written and synced already."""
        # Synced before it gets its name, and the name synced before anyone is told.
        temporary = data if isinstance(data, Path) else self._dir / f".{uuid.uuid4().hex}.tmp"
        try:
            if isinstance(data, bytes):
                with self._create(temporary) as file:
                    with self._telling(path.name):
                        file.write(data)
                    self._sync(file)
            with self._telling(path.name):
                temporary.replace(path)
                _sync_directory(self._dir)
        finally:
            temporary.unlink(missing_ok=True)

    @contextmanager
    def _telling(self, name: object) -> Iterator[None]:
        """Say what an error means that the file system has."""
        try:
            yield
        except OSError as error:
            full = error.errno in _FULL
            kind = StoreFullError if full else StoreUnavailableError
            cure = "delete artifacts or make room" if full else "is the directory still there and writable?"
            raise kind(f"cannot write {name} in {self._dir}: {error.strerror}; {cure}") from None


class _OpenedFile(OpenedArtifact):
    """A content file that was verified when it was opened. Replacing and deleting leave an open file as it is."""

    def __init__(self, metadata: ArtifactMetadata, file: BufferedReader) -> None:
        super().__init__(metadata)
        self._file = file
        self._lock = threading.Lock()  # an awaited read that was cancelled may still be in its thread

    def blocks(self, start: int, stop: int) -> Plan[list[Block]]:
        block: Block = yield Work(lambda: self._block(start, stop))
        return [block]

    def _block(self, start: int, stop: int) -> Block:
        wanted = min(max(stop - start, _LEAST_READ), MIB, self.size - start)
        with self._lock:
            self._file.seek(start)
            data = self._file.read(wanted)
        if len(data) != wanted:
            raise damaged(self.metadata.artifact_id)
        return Block(start, data)

    def close(self) -> None:
        self._file.close()


def _is_id(name: str) -> bool:
    """Whether a file of that name can be ours."""
    try:
        validate_artifact_id(name)
    except InvalidArtifactError:
        return False
    return name.lower() not in _DEVICES


def _sync_directory(path: Path) -> None:
    if os.name == "posix":
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _read(path: Path) -> bytes | None:
    """A regular file's bytes; `None` where there is none."""
    file = _open(path)
    if file is None:
        return None
    with file:
        return file.read()


def _open(path: Path) -> BufferedReader | None:
    """A regular file, open for reading; `None` where there is none."""
    try:
        fd = os.open(path, _READ_FLAGS)
    except FileNotFoundError:
        return None
    except OSError as error:
        if path.is_symlink():
            raise CorruptArtifactError(f"{path} is a symbolic link, which the file store does not follow") from None
        raise StoreUnavailableError(f"cannot read {path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise CorruptArtifactError(f"{path} is not a regular file")
    return os.fdopen(fd, "rb")


def _encode(record: Record) -> bytes:
    shown = record.view(record.latest()).to_dict()  # what AbstractRuntime reads
    leases = [
        {
            "run_id": lease.run_id,
            "created": lease.created,
            "deadline": lease.deadline,
            "content_type": lease.content_type,
            "tags": lease.tags,
        }
        for lease in sorted(record.leases.values(), key=lambda lease: lease.created)
    ]
    ours = {"version": VERSION, "leases": leases, **({"foreign": True} if record.foreign else {})}
    return json.dumps({**shown, "coatcheck": ours}, ensure_ascii=False).encode()


def _decode(raw: bytes, name: str) -> Record:
    try:
        data: dict[str, Any] = json.loads(raw)
        shown = ArtifactMetadata.from_dict(data)
        validate_artifact_id(shown.artifact_id)
        if shown.digest is not None and _DIGEST.fullmatch(shown.digest) is None:
            raise ValueError(f"digest {shown.digest!r}")
        ours = data.get("coatcheck")
        if ours is not None and ours["version"] != VERSION:
            raise CorruptArtifactError(
                f"{name} has format version {ours['version']}; this coatcheck reads version {VERSION}: upgrade it"
            )
        leases = [_inherited_lease(shown)] if ours is None else [_lease(lease) for lease in ours["leases"]]
        foreign = ours is None or bool(ours.get("foreign"))
        if not foreign and is_default_id(shown.artifact_id) and not (shown.digest or "").startswith(shown.artifact_id):
            raise ValueError("they are of other content")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise CorruptArtifactError(f"metadata file {name} is damaged ({reason}); remove it and store again") from None
    digest = bytes.fromhex(shown.digest or "")
    return Record(shown.artifact_id, digest, shown.size_bytes, {lease.run_id: lease for lease in leases}, foreign)


def _lease(data: dict[str, Any]) -> LeaseRecord:
    created, deadline = data["created"], data["deadline"]
    if not isinstance(created, int) or not isinstance(deadline, int | None):
        raise TypeError("times that are not numbers")
    shown = ArtifactMetadata(
        artifact_id="-",
        content_type=data["content_type"],
        size_bytes=0,
        created_at=format_time(created),
        run_id=data["run_id"],
        tags=data["tags"],
    )
    return LeaseRecord(shown.run_id, created, deadline, shown.content_type, shown.tags)


def _inherited_lease(shown: ArtifactMetadata) -> LeaseRecord:
    created = datetime.fromisoformat(shown.created_at)
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    return LeaseRecord(shown.run_id, int(created.timestamp() * 1_000_000), None, shown.content_type, shown.tags)
