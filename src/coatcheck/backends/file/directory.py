"""The directory of a store: who may use it, its folders and locks, and how a file in it becomes visible."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Final

from ...errors import CorruptArtifactError, InvalidArtifactError, StoreFullError, StoreUnavailableError
from ...folders import Folder, check_way, is_own
from ...locks import locked
from .index import Index

_FOLDERS: Final = ("refs", "blobs", "locks", "runs", "needs")
_INDEXED: Final = ".indexed"  # is there when the indexes know everything
_CATALOG: Final = "artifact_catalog.sqlite3"  # AbstractRuntime itself writes here, and tells no index of ours
_UNFINISHED: Final = (".tmp", ".part")
_FULL: Final = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # these say nothing about a file


class Directory:
    """An open directory, trusted as far as its owner and permissions allow.

    Args:
        base_dir: Where `artifacts/` is, or is made.
        mode: Permissions of its directories, and of files but for the right to execute; see `FileArtifactStore`.

    Attributes:
        path: For messages.
        foreign: Whether it is another user's, and therefore only read.
        top: The directory itself; artifacts of AbstractRuntime's older layout lie in it.
        refs: Metadata, a file for each artifact.
        blobs: Contents, a file for each digest.
        runs: Which artifacts a run leases.
        needs: Which explicit ids need a content.

    Raises:
        InvalidArtifactError: An argument makes no sense.
        StoreFullError: There is no room for it.
        StoreUnavailableError: The directory cannot be made or used, or other users could tamper with it.
    """

    def __init__(self, base_dir: Path, mode: int | None) -> None:
        if mode is not None and (type(mode) is not int or mode & ~0o7775 or mode & 0o700 != 0o700):
            raise InvalidArtifactError(f"mode {mode!r}: give permissions such as 0o700, 0o755 or, for a group, 0o2770")
        try:
            self.path = base_dir.resolve() / "artifacts"
        except ValueError as error:  # a NUL, or what no file name can hold
            raise InvalidArtifactError(f"{str(base_dir)!r} cannot be a directory: {error}") from None
        with self.telling():
            self._open(mode)

    def _open(self, mode: int | None) -> None:
        if not os.path.lexists(self.path):
            _make_way(self.path, mode)
        check_way(self.path)
        self.top = Folder(self.path)
        status = self.top.own_status()
        by_group = _is_shared(status.st_mode) or bool((mode or 0) & stat.S_IWGRP)
        if os.name == "posix" and status.st_mode & (stat.S_IWOTH if by_group else stat.S_IWOTH | stat.S_IWGRP):
            raise PermissionError("others may write there: chmod go-w it, or g+s,o-w where a group shares it")
        self._mode = stat.S_IMODE(status.st_mode) if mode is None else mode
        self.foreign = not is_own(status) and not by_group and mode is None
        if not self.foreign:
            for name in _FOLDERS:
                self.top.make(name, self._mode)
        folders = [Folder(name, self.top) for name in _FOLDERS]
        self._folders = (*folders, self.top)
        self.refs, self.blobs, self._locks, runs, needs = folders
        self.runs, self.needs = Index(runs, self._mode), Index(needs, self._mode)

    def close(self) -> None:
        """Give back the descriptors."""
        for folder in self._folders:
            folder.close()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Say what an error means that the file system has."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            what = f"{error.filename}: {reason}" if isinstance(error.filename, str) else reason
            if error.errno in _FULL:
                raise StoreFullError(f"no room in {self.path}: {what}; delete artifacts or make room") from None
            raise StoreUnavailableError(
                f"cannot use the directory {self.path}: {what}; choose one of your own, there and writable"
            ) from None

    # Whether the indexes know everything -------------------------------------------------------------------------

    def wants_indexes(self) -> bool:
        """Whether indexes are to be made; those that AbstractRuntime wrote past are given up."""
        if self._is_written_past():
            self.top.remove(_INDEXED)
            return False
        return self.top.status(_INDEXED) is None

    def set_indexed(self) -> None:
        """Say that the indexes know everything from now on."""
        with suppress(FileExistsError):
            os.close(self.top.create(_INDEXED, self.file_mode))

    def is_indexed(self) -> bool:
        """Whether the indexes know everything."""
        return self.top.status(_INDEXED) is not None and not self._is_written_past()

    def _is_written_past(self) -> bool:
        """Whether AbstractRuntime itself writes here too."""
        return self.top.status(_CATALOG) is not None

    # Locks -------------------------------------------------------------------------------------------------------

    @contextmanager
    def locked(self, number: int) -> Iterator[None]:
        """Hold one of the directory's locks, against threads and processes."""
        with locked(self._locks.open_lock(f"{number:02x}", self._lock_mode)):
            yield

    def make_locks(self, count: int) -> None:
        """Make the files of locks 0 to `count` - 1, so that a full disk keeps no deletion from them."""
        for number in range(count):
            os.close(self._locks.open_lock(f"{number:02x}", self._lock_mode))

    @property
    def _lock_mode(self) -> int:
        """Only for those who may write: whoever may open a file may lock the others out."""
        return 0o660 if self._mode & stat.S_IWGRP else 0o600

    # Files -------------------------------------------------------------------------------------------------------

    @property
    def file_mode(self) -> int:
        """Permissions of a new file."""
        return self._mode & 0o666

    def begin(self) -> tuple[str, BufferedWriter]:
        """A new content file without its name yet, and what it is called until then; errors are told."""
        name = f".{uuid.uuid4().hex}.part"
        with self.telling():
            return name, os.fdopen(self.blobs.create(name, self.file_mode), "wb")

    def sync(self, file: BufferedWriter) -> None:
        """Return when what was written is on the disk; errors are told."""
        with self.telling():
            file.flush()
            os.fsync(file.fileno())

    def write(self, folder: Folder, name: str, data: bytes | str) -> None:
        """Write a file: it is there whole or not at all. `data` may be what `begin` named, written and synced."""
        # Synced before it gets its name, and the name synced before anyone is told.
        temporary = data if isinstance(data, str) else f".{uuid.uuid4().hex}.tmp"
        try:
            if isinstance(data, bytes):
                with os.fdopen(folder.create(temporary, self.file_mode), "wb") as file:
                    file.write(data)
                    self.sync(file)
            folder.rename(temporary, name)
            folder.sync()
        except BaseException:
            folder.remove(temporary)
            raise


def is_unfinished(name: str) -> bool:
    """Whether a file has not got its name yet: one under way, or left by a crash."""
    return name.startswith(".") and name.endswith(_UNFINISHED)


def open_file(folder: Folder, name: str) -> BufferedReader | None:
    """A regular file, open for reading; `None` where there is none.

    Raises:
        CorruptArtifactError: It is a link, or no regular file.
        StoreUnavailableError: This user may not read it.
    """
    try:
        fd = folder.open(name)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise StoreUnavailableError(f"cannot read {folder.path / name}: {error.strerror}") from None
    except OSError as error:
        if error.errno in _EXHAUSTED:
            raise
        is_link = error.errno == errno.ELOOP
        reason = "is a symbolic link, which the file store does not follow" if is_link else error.strerror
        raise CorruptArtifactError(f"{folder.path / name}: {reason}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise CorruptArtifactError(f"{folder.path / name} is not a regular file")
    return os.fdopen(fd, "rb")


def _make_way(path: Path, mode: int | None) -> None:
    """Make a directory and those above it: for this user, or as a group shares the one that is there."""
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    above = missing[-1].parent.stat().st_mode
    if mode is None:
        mode = stat.S_IMODE(above) & ~stat.S_IWOTH if _is_shared(above) else 0o700
    for directory in reversed(missing):
        with suppress(FileExistsError):  # another process was faster
            directory.mkdir(mode)
            directory.chmod(mode)  # whatever umask says


def _is_shared(mode: int) -> bool:
    """Whether a directory is meant for its group: what is made there belongs to the group, which may write."""
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)
