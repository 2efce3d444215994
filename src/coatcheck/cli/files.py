"""Files of a directory: finding them, naming them, taking them in bounded batches."""

from __future__ import annotations

import errno
import mimetypes
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from .failures import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedReader

_FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_READ: Final = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO must not hang us
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)

BATCH_FILES: Final = 200
BATCH_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file.

    Attributes:
        path: Where it lies.
        name: Path relative to the directory that was searched, with `/`; what is not UTF-8 in it is escaped.
        size: Bytes, when it was found.
    """

    path: Path
    name: str
    size: int


def regular_files(directory: Path) -> Iterator[LocalFile]:
    """Every regular file below a directory, sorted; symbolic links are not followed.

    Args:
        directory: Where to start; may itself be a link.

    Raises:
        OSError: A directory cannot be read.
    """
    for parent, folders, names in os.walk(directory, onerror=_raise):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            found = path.lstat()
            if stat.S_ISREG(found.st_mode):
                yield LocalFile(path, _readable(path.relative_to(directory)), found.st_size)


def open_regular(directory: Path, file: LocalFile) -> BufferedReader:
    """Open a file that was found below a directory, through no link that has come in its way since.

    Raises:
        CommandError: It is no regular file any more.
        OSError: It cannot be opened.
    """
    fds: list[int] = []
    try:
        if os.open in os.supports_dir_fd:
            *folders, name = file.path.relative_to(directory).parts
            fds.append(os.open(directory, _FOLDER))
            for folder in folders:
                fds.append(os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=fds[-1]))
            fd = os.open(name, _READ, dir_fd=fds[-1])
        else:
            fd = os.open(file.path, _READ)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _changed(file) from None
        raise OSError(error.errno, error.strerror, str(file.path)) from None
    finally:
        for folder_fd in fds:
            os.close(folder_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _changed(file)
    return os.fdopen(fd, "rb")


def _changed(file: LocalFile) -> CommandError:
    return CommandError(f"{file.path} is no regular file any more")


def batches(files: Iterable[LocalFile]) -> Iterator[list[LocalFile]]:
    """Files in order, in lists bounded by number and by bytes."""
    batch: list[LocalFile] = []
    size = 0
    for file in files:
        if batch and (len(batch) >= BATCH_FILES or size + file.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch


def guess_type(path: Path) -> str:
    """A content type, by the file's name."""
    kind, encoding = mimetypes.guess_type(path.name)
    if encoding is not None:  # the type is that of what is inside
        return "application/gzip" if encoding == "gzip" else f"application/x-{encoding}"
    return kind or "application/octet-stream"


def _readable(path: Path) -> str:
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _raise(error: OSError) -> NoReturn:
    raise error
