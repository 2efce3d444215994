"""How long another client's small loads take while much larger contents move: `python -m benchmarks.neighbours`.

`traffic`: contents of 10 MB are stored and loaded at 100 MB/s, by coatcheck with several ways of cutting them, and the
same bytes by redis-py's SET and GET; all ways in turn, several rounds. `content`: one content of many gibibytes is
stored and read, and how much memory that takes. Clients are processes of their own.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import redis

from coatcheck import RedisArtifactStore
from coatcheck.sources import Chunking

from .bench import GIB, KIB, MIB
from .memory import Peak, in_process
from .server import NAMES, BenchServer, NoServerError

MOVED = 10_000_000  # bytes of a content
RATE = 100_000_000  # bytes a second that are moved, as far as both sides keep up
CUTS = {
    "whole": Chunking(threshold=GIB),
    "chunks of 4 MiB": Chunking(4 * MIB, 4 * MIB),
    "chunks of 1 MiB": Chunking(MIB, MIB),
    "chunks of 256 KiB": Chunking(MIB // 4, MIB),
    "as it is": Chunking(),
}
Sample = tuple[float, float]
"""When a load was, and the seconds that it took."""


# One client loads ------------------------------------------------------------------------------------------------


def load_small(url: str, stop: Any) -> list[Sample]:
    """Load 1 KiB again and again until told to stop."""
    seen = []
    with RedisArtifactStore(url, namespace="neighbour") as store:
        artifact_id = store.store(os.urandom(KIB)).artifact_id
        while not stop.is_set():
            begin = time.perf_counter()
            store.load(artifact_id)
            seen.append((time.time(), time.perf_counter() - begin))
            time.sleep(0.0005)
    return seen


@contextmanager
def loading(url: str) -> Iterator[Future[list[Sample]]]:
    """Somebody loads meanwhile; what they saw is known afterwards."""
    with multiprocessing.Manager() as manager, ThreadPoolExecutor(1) as beside:
        stop = manager.Event()
        samples = beside.submit(in_process, load_small, url, stop)
        try:
            time.sleep(3)  # it starts
            yield samples
        finally:
            stop.set()


def told(samples: Sequence[Sample], windows: Sequence[tuple[float, float]]) -> str:
    """Percentiles of the loads in some windows of time."""
    taken = sorted(1e3 * seconds for when, seconds in samples if any(begin <= when < end for begin, end in windows))
    p50, p99, p999, worst = (taken[min(len(taken) - 1, int(len(taken) * q))] for q in (0.5, 0.99, 0.999, 1))
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, p99.9 {p999:.2f} ms, at worst {worst:.2f} ms, of {len(taken)} loads"


# Another one moves much ------------------------------------------------------------------------------------------


def move(url: str, way: str, seconds: float) -> tuple[float, float, int]:
    """Store and load contents in turn: when that began and ended, and how many bytes were moved."""
    contents = [os.urandom(MOVED) for _ in range(3)]
    with redis.Redis.from_url(url) as client, RedisArtifactStore(url, namespace="mover") as store:
        begin = time.time()
        deadline, moved = time.monotonic() + seconds, 0
        due = time.monotonic()
        while due < deadline:
            content = contents[moved // MOVED // 2 % len(contents)]
            for step in _steps(client, store, way, content):
                time.sleep(max(0.0, due - time.monotonic()))
                step()
                moved += 0 if way == "quiet" else MOVED
                due = max(due + MOVED / RATE, time.monotonic() - 1)  # what was missed long ago is not made up for
        return begin, time.time(), moved


def _steps(client: redis.Redis, store: RedisArtifactStore, way: str, content: bytes) -> list[Callable[[], Any]]:
    if way == "quiet":
        return [lambda: None, lambda: None]
    if way == "SET and GET":
        return [lambda: client.set("moved", content, ex=60), lambda: client.get("moved")]
    store._operations.backend.chunking = CUTS[way]  # noqa: SLF001  # no option

    def load() -> None:
        store.load(artifacts[-1])
        store.delete(artifacts[-1])

    artifacts: list[Any] = []
    return [lambda: artifacts.append(store.store(content, ttl=60).artifact_id), load]


def traffic(server: BenchServer, rounds: int, seconds: float) -> None:
    """All ways in turn, a few times."""
    ways = ("quiet", "SET and GET", *CUTS)
    windows: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    with loading(server.tcp_url) as samples:
        for _ in range(rounds):
            for way in ways:
                begin, end, moved = in_process(move, server.tcp_url, way, seconds)
                windows[way].append((begin, end))
                rates[way].append(moved / (end - begin) / 1e6)
    for way in ways:
        print(f"{way}, {max(rates[way]):.0f} MB/s: {told(samples.result(), windows[way])}")


# One content of many gibibytes -----------------------------------------------------------------------------------


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


def content(server: BenchServer, gib: float) -> None:
    """Store and read one."""
    with loading(server.url) as samples:
        phases = [("idle", time.time())]
        time.sleep(5)
        phases.append(("hashing", time.time()))
        artifact_id, sending, storing = in_process(store_large, server.url, int(gib * GIB))
        phases += [("sending", sending), ("reading", time.time())]
        reading = in_process(read_large, server.url, artifact_id)
        phases.append(("the end", time.time()))
    for (phase, begin), (_, end) in pairwise(phases):
        print(f"{phase}, {end - begin:.1f} s: {told(samples.result(), [(begin, end)])}")
    print(f"peaks over idle: store_file {storing / MIB:.1f} MiB, open {reading / MIB:.1f} MiB")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neighbours", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("traffic", "content"), default="traffic")
    parser.add_argument("--engine", choices=NAMES, default="valkey")
    parser.add_argument("--rounds", type=int, default=3, help="of traffic; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=6, help="of each way in a round; default: %(default)s")
    parser.add_argument("--gib", type=float, default=6, help="size of the content; default: %(default)s")
    arguments = parser.parse_args()
    measure = {
        "traffic": partial(traffic, rounds=arguments.rounds, seconds=arguments.seconds),
        "content": partial(content, gib=arguments.gib),
    }[arguments.what]
    try:
        server = BenchServer(arguments.engine)
    except NoServerError as error:
        sys.exit(f"benchmarks: {error}")
    with server:
        measure(server)
    return 0


if __name__ == "__main__":
    sys.exit(main())
