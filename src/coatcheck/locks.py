"""Advisory locks between processes: `flock` where there is one, a byte-range lock on Windows."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _acquire(fd: int, *, shared: bool) -> None:  # noqa: ARG001  # no shared locks here: readers queue
        msvcrt.locking(fd, msvcrt.LK_LOCK, 1)

else:
    import fcntl

    def _acquire(fd: int, *, shared: bool) -> None:
        fcntl.flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)


@contextmanager
def file_lock(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock on a file, made where it is missing. Closing the file releases it, as does the end of the process.

    Each call opens the file anew: threads of one process keep each other out too.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        _acquire(fd, shared=shared)
        yield
    finally:
        os.close(fd)
