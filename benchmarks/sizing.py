"""What docs/operations.md says of the size of a server: memory, files, restarts, and what a rewrite of the file needs.

    python -m benchmarks.sizing                # 100,000 artifacts of 1 KiB, on each engine
    python -m benchmarks.sizing --count 20000 --size 65536

Contents are noise: nothing is gained by compression. A server is started with `appendonly yes`; its memory is told by
`INFO memory`, that of its process by the system.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from pathlib import Path
from typing import Self

from coatcheck import RedisArtifactStore
from coatcheck.testing import ENGINES, Engine, Server, eventually

MIB = 2**20
BATCH = 16 * MIB


def fill(store: RedisArtifactStore, count: int, size: int) -> float:
    """Store that many artifacts of noise; seconds."""
    each = max(1, min(1000, BATCH // size))
    start = time.perf_counter()
    for done in range(0, count, each):
        contents = [os.urandom(size) for _ in range(min(each, count - done))]
        store.store_many(contents, run_id=f"run-{done // 10_000}", tags={"step": "extract"}, ttl=86_400)
    return time.perf_counter() - start


def resident(pid: int) -> int:
    """Bytes of a process and its children that are its own: what a fork shares counts once."""
    pids = [pid, *(int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return sum(_private(pid) for pid in pids)


def _private(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


class Peak:
    """The most that a server and its children take while something goes on."""

    def __init__(self, pid: int) -> None:
        self._pid, self._ended, self.bytes = pid, threading.Event(), 0
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self.bytes = max(self.bytes, resident(self._pid))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()


def measure(engine: Engine, count: int, size: int) -> None:
    """Print a line of figures for one engine."""
    binary = engine.find()
    if binary is None:
        print(f"{engine.name}: not on this machine ({engine.install})")
        return
    with Server(binary, persistent=True) as server, server.client() as admin:
        admin.config_set("appendfsync", "everysec")
        admin.config_set("auto-aof-rewrite-percentage", 0)  # when it is told to
        with RedisArtifactStore(server.url, namespace="sizing", compression=None) as store:
            fill(store, 1, size)
            before = admin.info("memory")["used_memory"]
            seconds = fill(store, count, size)
            used = admin.info("memory")["used_memory"] - before
            whole = resident(server.pid)
            with Peak(server.pid) as peak:  # a rewrite while a tenth as much is stored
                admin.execute_command("BGREWRITEAOF")
                fill(store, max(1, count // 10), size)
                eventually(lambda: not admin.info("persistence")["aof_rewrite_in_progress"], 120)
            files = sum(p.stat().st_size for p in (server.directory / "appendonlydir").iterdir())
        kept = admin.dbsize()
        start = time.perf_counter()
        server.restart()
        eventually(lambda: admin.dbsize() == kept, 120)
        restarted = time.perf_counter() - start
    total = count * size
    print(
        f"{engine.name}: {count:,} of {size:,} bytes: {count / seconds:,.0f} stored a second; "
        f"used_memory {used / total:.2f}, process {whole / total:.2f}, "
        f"peak of a rewrite {peak.bytes / total / 1.1:.2f}, "
        f"files {files / total / 1.1:.2f} times the contents; {restarted:.1f} s to restart, "
        f"{1.1 * total / MIB / restarted:,.0f} MiB of contents a second",
        flush=True,
    )


def main() -> None:
    """Measure each engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="artifacts")
    parser.add_argument("--size", type=int, default=1024, help="bytes of each")
    chosen = parser.parse_args()
    for engine in ENGINES:
        measure(engine, chosen.count, chosen.size)


if __name__ == "__main__":
    main()
