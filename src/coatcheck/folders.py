"""Directories that others may not tamper with."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

_ROOT: Final = 0


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
    if status.st_uid not in (os.geteuid(), _ROOT):
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
