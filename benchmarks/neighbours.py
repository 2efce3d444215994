"""What a content of many gibibytes does to another client's small loads: `python -m benchmarks.neighbours`.

Both clients are processes of their own: one stores and reads the content, and tells how much memory that took; the
other loads a small artifact again and again, and tells how long each load took.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from coatcheck import RedisArtifactStore

from .bench import GIB, KIB, MIB
from .memory import Peak, in_process
from .server import NAMES, BenchServer, NoServerError


class Pattern(io.RawIOBase):
    """A seekable stream of any length that does not compress and takes no disk: one random block, numbered."""

    def __init__(self, size: int) -> None:
        self._block, self._size, self._position = memoryview(os.urandom(MIB)), size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        number, offset = divmod(self._position, MIB)
        count = min(len(buffer), MIB - offset, self._size - self._position)
        buffer[:count] = self._block[offset : offset + count]
        if offset == 0 and count >= 8:
            buffer[:8] = number.to_bytes(8)
        self._position += count
        return count


def store_large(url: str, size: int) -> tuple[str, float, int]:
    """Store a content of that size: its id, when sending began, and the peak of memory."""
    began = 0.0

    def watch(_done: int, total: int | None) -> None:
        nonlocal began
        if total is None:  # as long as the size is not known: during the first reading, which hashes
            began = time.time()

    with RedisArtifactStore(url, namespace="large") as store, Peak() as peak:
        artifact_id = store.store_file(Pattern(size), progress=watch).artifact_id
    return artifact_id, began, peak.bytes


def read_large(url: str, artifact_id: str) -> int:
    """Read it back, verified; the peak of memory."""
    with RedisArtifactStore(url, namespace="large") as store:
        with Peak() as peak, store.open(artifact_id) as reader:  # type: ignore[union-attr]  # it is there
            while reader.read(MIB):
                pass
        store.delete(artifact_id)
    return peak.bytes


def load_small(url: str, stop: Any) -> list[tuple[float, float]]:
    """When each load was, and the seconds that it took."""
    seen = []
    with RedisArtifactStore(url, namespace="neighbour") as store:
        artifact_id = store.store(os.urandom(KIB)).artifact_id
        while not stop.is_set():
            begin = time.perf_counter()
            store.load(artifact_id)
            seen.append((time.time(), time.perf_counter() - begin))
            time.sleep(0.0005)
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neighbours", description=__doc__)
    parser.add_argument("--engine", choices=NAMES, default="valkey")
    parser.add_argument("--gib", type=float, default=6, help="size of the content; default: %(default)s")
    arguments = parser.parse_args()
    try:
        server = BenchServer(arguments.engine)
    except NoServerError as error:
        sys.exit(f"benchmarks: {error}")
    with server, multiprocessing.Manager() as manager, ThreadPoolExecutor(1) as beside:
        stop = manager.Event()
        loads = beside.submit(in_process, load_small, server.url, stop)
        try:
            time.sleep(5)  # it starts
            phases = [("idle", time.time())]
            time.sleep(5)
            phases.append(("hashing", time.time()))
            artifact_id, sending, storing = in_process(store_large, server.url, int(arguments.gib * GIB))
            phases += [("sending", sending), ("reading", time.time())]
            reading = in_process(read_large, server.url, artifact_id)
            phases.append(("the end", time.time()))
        finally:
            stop.set()
        for (phase, begin), (_, end) in pairwise(phases):
            taken = sorted(1e3 * seconds for when, seconds in loads.result() if begin <= when < end)
            p50, p99, worst = (taken[min(len(taken) - 1, int(len(taken) * q))] for q in (0.5, 0.99, 1))
            print(f"{phase}, {end - begin:.1f} s: loads took {p50:.2f} ms, p99 {p99:.2f} ms, at worst {worst:.2f} ms")
        print(f"peaks over idle: store_file {storing / MIB:.1f} MiB, open {reading / MIB:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
