"""`python -m benchmarks.files`: stores a second of processes that share a file store, each on the disk when it returns.

    --directory DIR   where the store lies for the measurement (default: the directory for temporary files)

Contents of 1 KiB, all new, from writers who begin at once. Prints minimum, median
and maximum of all writers' stores a second, by default ids and by explicit ones.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from coatcheck import FileArtifactStore

from .server import machine

WRITERS = (1, 8)
ROUNDS = 5
STORES = 400  # of all writers in a round
PATIENCE = 60  # seconds for the others, which may have failed

_barrier: Any = None


def _enter(barrier: Any) -> None:
    global _barrier  # noqa: PLW0603  # a pool's workers have no other place
    _barrier = barrier


def _work(directory: str, count: int, *, explicit: bool) -> tuple[float, float]:
    """When one writer began and ended, by a clock that processes share."""
    with FileArtifactStore(directory) as store:
        names = [f"{os.getpid()}-{time.monotonic_ns()}-{i}" if explicit else None for i in range(count)]
        contents = [os.urandom(1024) for _ in names]
        _barrier.wait(PATIENCE)
        begin = time.monotonic()
        for content, name in zip(contents, names, strict=True):
            store.store(content, run_id="run", artifact_id=name)
        return begin, time.monotonic()


def measure(directory: Path, writers: int, *, explicit: bool) -> list[float]:
    """Stores a second of all writers, in each round."""
    context = multiprocessing.get_context("forkserver")
    rates = []
    with ProcessPoolExecutor(writers, context, _enter, (context.Barrier(writers),)) as pool:
        for number in range(ROUNDS):
            place = str(directory / f"{writers}-{explicit}-{number}")
            pending = [pool.submit(_work, place, STORES // writers, explicit=explicit) for _ in range(writers)]
            begins, ends = zip(*(one.result() for one in pending), strict=True)
            rates.append(STORES / (max(ends) - min(begins)))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--directory", type=Path, help="where the store lies for the measurement")
    with tempfile.TemporaryDirectory(dir=parser.parse_args().directory) as directory:
        print(f"stores of 1 KiB a second in a file store; {machine()}", flush=True)
        for explicit in (False, True):
            for writers in WRITERS:
                rates = measure(Path(directory), writers, explicit=explicit)
                kind = "explicit ids" if explicit else "default ids"
                print(
                    f"{writers} writers, {kind:<13}{min(rates):8.0f} {statistics.median(rates):8.0f} {max(rates):8.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
