"""Advisory locks between processes: `flock` where there is one, a byte-range lock on Windows."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

if sys.platform == "win32":
    import msvcrt

    def _acquire(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_LOCK, 1)

else:
    import fcntl

    def _acquire(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)


@contextmanager
def locked(fd: int) -> Iterator[None]:
    """Hold the lock on an open file, and close it in the end. The end of the process releases it too.

    Threads that opened the file for themselves keep each other out.
    """
    try:
        _acquire(fd)
        yield
    finally:
        os.close(fd)
