"""Processors that are kept awake: waking one for each round trip can take longer than what is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# It gives way to anything else at once, and ends with who started it.
_SPIN = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while os.getppid() == int(sys.argv[2]):
    for _ in range(1_000_000):
        pass
"""


@contextmanager
def awake() -> Iterator[None]:
    """Keep each processor awake by a process that runs where nothing else does."""
    spinning = [
        subprocess.Popen([sys.executable, "-c", _SPIN, str(number), str(os.getpid())])
        for number in os.sched_getaffinity(0)
    ]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()
