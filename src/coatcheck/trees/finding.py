"""What a directory has, read without following a link, and its files in bounded batches."""

from __future__ import annotations

import errno
import mimetypes
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

from ..errors import InvalidArtifactError
from .manifest import Kind

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
class Found:
    """What lies in a directory under one path.

    Attributes:
        path: Relative to the directory, with `/`; names that are not UTF-8 as `os.fsdecode` gives them.
        kind: `None`: nothing that can be stored.
        mode: Permission bits.
        size: Bytes of a file, when it was found.
        target: Of a link: where it leads.
        what: What it is, where `kind` is `None`.
    """

    path: str
    kind: Kind | None
    mode: int = 0
    size: int = 0
    target: str = ""
    what: str = ""


def find(directory: Path) -> Iterator[Found]:
    """Everything below a directory, by path; a directory comes before what it has.

    Args:
        directory: Where to start; may itself be a link.

    Raises:
        OSError: A directory cannot be read.
    """
    ahead = [""]
    while ahead:
        path = ahead.pop()
        if path:
            found = _look(directory, path)
            yield found
            if found.kind != "directory":
                continue
        names = sorted((below.name for below in (directory / path).iterdir()), key=os.fsencode, reverse=True)
        ahead += [f"{path}/{name}" if path else name for name in names]


def _look(directory: Path, path: str) -> Found:
    whole = directory / path
    status = whole.lstat()
    mode = status.st_mode & 0o777
    if stat.S_ISREG(status.st_mode):
        return Found(path, "file", mode, status.st_size)
    if stat.S_ISDIR(status.st_mode):
        return Found(path, "directory", mode)
    if stat.S_ISLNK(status.st_mode):
        return Found(path, "link", target=os.fspath(whole.readlink()))
    kinds = ((stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))
    return Found(path, None, what=next((name for is_one, name in kinds if is_one(status.st_mode)), "a device"))


def open_regular(directory: Path, path: str) -> BufferedReader:
    """Open a file that was found below a directory, through no link that has come in its way since.

    Raises:
        InvalidArtifactError: It is no regular file any more.
        OSError: It cannot be opened.
    """
    whole = directory / path
    fds: list[int] = []
    try:
        if os.open in os.supports_dir_fd:
            *folders, name = path.split("/")
            fds.append(os.open(directory, _FOLDER))
            for folder in folders:
                fds.append(os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=fds[-1]))
            fd = os.open(name, _READ, dir_fd=fds[-1])
        else:
            fd = os.open(whole, _READ)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _changed(whole) from None
        raise OSError(error.errno, error.strerror, str(whole)) from None
    finally:
        for folder_fd in fds:
            os.close(folder_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _changed(whole)
    return os.fdopen(fd, "rb")


def _changed(path: Path) -> InvalidArtifactError:
    return InvalidArtifactError(f"{path} is no regular file any more: store a directory while nobody changes it")


def batches(files: Iterable[Found]) -> Iterator[list[Found]]:
    """Files in order, in lists bounded by number and by bytes."""
    batch: list[Found] = []
    size = 0
    for file in files:
        if batch and (len(batch) >= BATCH_FILES or size + file.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch


def guess_type(name: str) -> str:
    """A content type, by a file's name."""
    kind, encoding = mimetypes.guess_type(name)
    if encoding is not None:  # the type is that of what is inside
        return "application/gzip" if encoding == "gzip" else f"application/x-{encoding}"
    return kind or "application/octet-stream"
