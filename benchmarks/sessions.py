"""`python -m benchmarks.sessions [ARTIFACTS]`: what agents ask an AbstractRuntime store for at every step, in ms.

As many artifacts (20,000 left out) in runs of 100 and sessions of 50, each thousandth shared, on Valkey over a unix
socket; minimum, median and maximum of 9 calls, and the least CPU time of the client, which a busy machine changes
little. Needs `pip install --no-deps abstractruntime`.
"""

from __future__ import annotations

import functools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from coatcheck.integrations.abstractruntime import RuntimeArtifactStore

from .server import BenchServer, machine

CALLS = 9


class Timed:
    """Times of calls of one kind, in ms."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._cpu: list[float] = []

    def __call__(self, work: Callable[[], Any]) -> Any:
        began, busy = time.perf_counter(), time.thread_time()
        result = work()
        self._cpu.append(1000 * (time.thread_time() - busy))
        self._times.append(1000 * (time.perf_counter() - began))
        return result

    def tell(self, name: str) -> None:
        times = self._times
        row = f"{name:<32}{min(times):8.1f} {statistics.median(times):8.1f} {max(times):8.1f} ms"
        print(f"{row} {min(self._cpu):8.1f} ms of CPU", flush=True)


def fill(store: RuntimeArtifactStore, count: int) -> str:
    """The id of the last artifact."""
    timed, name = Timed(), ""
    for i in range(count):
        # A few say their session in the descriptor, not by the tag.
        tags = {} if i % 1000 == 1 else {"session_id": f"session-{i // 50}"}
        shared = {"shared": "yes"} if i % 1000 == 0 else {}
        descriptor = {"session_id": "said"} if i % 1000 == 1 else None
        described = {"tags": {**tags, **shared}, "descriptor": descriptor, "run_id": f"run-{i // 100}"}
        name = timed(functools.partial(store.store, b"%d" % i, **described)).artifact_id
    timed.tell("store")
    return name


def measure(store: RuntimeArtifactStore, last: str) -> None:
    works: dict[str, Callable[[], Any]] = {
        "list_by_run": lambda: store.list_by_run("run-7"),
        "list_session_candidates": lambda: store.list_session_candidates("session-3", owner_run_id="run-7"),
        "search(session_id=), by tag": lambda: store.search(session_id="session-3"),
        "search(session_id=), descriptor": lambda: store.search(session_id="said"),
        "search(run_id=)": lambda: store.search(run_id="run-7"),
        "count(session_id=)": lambda: store.count(session_id="session-3"),
        "search(limit=50)": lambda: store.search(limit=50),
        "list_all(limit=50)": lambda: store.list_all(limit=50),
        "record_access": lambda: store.record_access(last),
    }
    for name, work in works.items():
        timed = Timed()
        for _ in range(CALLS):
            timed(work)
        timed.tell(name)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with BenchServer("valkey") as server, RuntimeArtifactStore(server.unix.url) as store:
        print(f"{count:,} artifacts; {server.version}, unix socket; {machine()}")
        measure(store, fill(store, count))


if __name__ == "__main__":
    main()
