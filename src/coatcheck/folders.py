"""Paths of callers, and directories among other users: which may be trusted, how their files are reached by no link."""

from __future__ import annotations

import errno
import os
import stat
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from .errors import InvalidArtifactError
from .ids import exact

_ROOT: Final = 0
_COMMON: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_DIRECTORY: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _COMMON
_READ: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _COMMON  # a FIFO must not hang us
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _COMMON
_LOCK: Final = os.O_RDWR | os.O_CREAT | _COMMON
_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
_BY_DESCRIPTOR: Final = os.open in os.supports_dir_fd  # else by path, as on Windows


def check_path(path: Any, what: str) -> Path:
    """A path that the operating system can be asked for.

    Raises:
        InvalidArtifactError: It is none, or holds what no name of a file can hold.
    """
    try:
        text = exact(os.fsdecode(path))
        raw = os.fsencode(text)
    except TypeError:
        raise InvalidArtifactError(f"{what} must be a path, not {type(path).__name__}") from None
    except UnicodeEncodeError:
        raise InvalidArtifactError(f"{what} {path!r:.100} is no path here: it cannot be encoded") from None
    if b"\0" in raw:
        raise InvalidArtifactError(f"{what} {path!r:.100} is no path: no name holds a NUL")
    return Path(text)


def give_name(temporary: Path, path: Path) -> None:
    """Rename a file that is whole.

    Raises:
        FileExistsError: Something has appeared under the new name meanwhile.
    """
    try:
        try:
            path.hardlink_to(temporary)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.close(os.open(path, _CREATE, 0o666))
            temporary.replace(path)
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None


def check_private(directory: Path, *, group: bool = False) -> None:
    """Refuse a directory in which another user could put, swap or remove files.

    Args:
        directory: Absolute, and there.
        group: Whether its group may write there.

    Raises:
        OSError: It is no directory, a symbolic link, somebody else's, or others may write there or swap it. The
            message goes on after "cannot use …: " and names the cure.
    """
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a directory"
        raise NotADirectoryError(f"it is {kind}")
    if os.name != "posix":
        return
    if not is_own(status):
        raise PermissionError(f"it belongs to user {status.st_uid}, who could read and change everything")
    if status.st_mode & (stat.S_IWOTH if group else stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError("others may write there: chmod go-w it")
    check_way(directory)


def check_way(directory: Path) -> None:
    """Refuse a directory that everybody could rename, and put another in its place.

    Raises:
        PermissionError: One above it may be written by all users, without the sticky bit.
    """
    for above in directory.parents:
        if above.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH and os.name == "posix":
            raise PermissionError(f"every user may rename it, since all may write in {above}: chmod o-w that")


def is_own(status: os.stat_result) -> bool:
    """Whether it belongs to this user, or to root, who may do anything anyway."""
    return os.name != "posix" or status.st_uid in (os.geteuid(), _ROOT)


class Folder:
    """An open directory: its files are reached in it, wherever its name leads by now, and never through a link.

    Args:
        name: Its name within `parent`, or its path.
        parent: Where it lies.

    Attributes:
        path: For messages.

    Raises:
        OSError: It is no directory, or a link to one.
    """

    def __init__(self, name: str | Path, parent: Folder | None = None) -> None:
        self.path: Path = Path(name) if parent is None else parent.path / name
        self._fd: int | None = None
        self._prefix = f"{self.path}{os.sep}"
        if _BY_DESCRIPTOR:
            try:
                self._fd = os.open(name, _DIRECTORY, dir_fd=None if parent is None else parent._fd)  # noqa: SLF001
            except NotADirectoryError:
                raise NotADirectoryError(f"{self.path} is a symbolic link, or no directory") from None
            self._prefix = ""
        elif not stat.S_ISDIR(self.path.lstat().st_mode):
            raise NotADirectoryError(f"{self.path} is a symbolic link, or no directory")
        self.close = weakref.finalize(self, _close, self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, name: str) -> int:
        """A descriptor for reading; whether it is a regular file is for the caller to see."""
        return os.open(self._prefix + name, _READ, dir_fd=self._fd)

    def create(self, name: str, mode: int) -> int:
        """A descriptor for writing a new file, whatever umask says; nothing of that name may be there."""
        fd = os.open(self._prefix + name, _CREATE, mode, dir_fd=self._fd)
        if mode & 0o077 and os.name == "posix":
            os.fchmod(fd, mode)
        return fd

    def open_lock(self, name: str, mode: int) -> int:
        """A descriptor of a lock file, made where it is missing."""
        fd = os.open(self._prefix + name, _LOCK, mode, dir_fd=self._fd)
        if mode & 0o077 and os.name == "posix" and os.fstat(fd).st_uid == os.geteuid():
            os.fchmod(fd, mode)
        return fd

    def make(self, name: str, mode: int) -> None:
        """Make a directory in it, whatever umask says; one may be there."""
        try:
            os.mkdir(self._prefix + name, mode, dir_fd=self._fd)
        except FileExistsError:
            return
        if mode & 0o7077 and os.name == "posix":
            os.chmod(self._prefix + name, mode, dir_fd=self._fd)  # new, so no link

    def rename(self, name: str, new: str) -> None:
        """Give a file another name; what had that name goes."""
        os.replace(self._prefix + name, self._prefix + new, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(self._prefix + name, dir_fd=self._fd)

    def remove_folder(self, name: str) -> None:
        """Remove a directory, if it is there and empty."""
        with suppress(OSError):
            os.rmdir(self._prefix + name, dir_fd=self._fd)

    def names(self) -> list[str]:
        """What is there, in no order."""
        return os.listdir(self.path if self._fd is None else self._fd)  # noqa: PTH208  # a descriptor

    def status(self, name: str) -> os.stat_result | None:
        """Of a file or a link itself; `None` where there is none."""
        try:
            return os.stat(self._prefix + name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def own_status(self) -> os.stat_result:
        """Of the directory."""
        return self.path.stat() if self._fd is None else os.fstat(self._fd)

    def sync(self) -> None:
        """Return when the names in it are on the disk."""
        if self._fd is not None:
            os.fsync(self._fd)


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)
