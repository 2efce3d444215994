"""Throughput of many clients at once, next to redis-py's own client at the same concurrency, on both transports.

Processes have a client each; threads share one, and so do asyncio tasks.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from .awaited import AsyncCandidate, AsyncCoatcheck, AsyncFloor
from .bare import Floor
from .bench import KIB, MIB, Bench, lacks, measurement
from .candidates import Batch, Candidate
from .measure import Effort, Spent, Trial, alternate
from .ours import Coatcheck
from .results import Left, Load
from .server import Endpoint

CLIENTS = (1, 8, 64)
PER_PROCESS = 24 * MIB  # of memory that it doesn't share with the others
PATIENCE = 60  # seconds for the others, which may have failed
CANDIDATES = {"floor": Floor, "coatcheck": Coatcheck}
AWAITED = {"floor": AsyncFloor, "coatcheck": AsyncCoatcheck}
NAMES = {"floor": "redis-py SET/GET + SHA-256", "coatcheck": "coatcheck"}

Together = Callable[[str, str, Sequence[Batch]], Spent]  # candidate, store or load, a batch for each client


@measurement("concurrency")
def concurrency(bench: Bench) -> Iterator[Load | Left]:
    for endpoint in (bench.server.unix, bench.server.tcp):
        for kind in (processes, threads, tasks):
            for clients in CLIENTS:
                if kind is processes and (reason := lacks(clients * PER_PROCESS)):
                    yield Left(f"{clients} processes: {reason}")
                    continue
                with kind(endpoint, clients) as together:
                    for work in ("store", "load"):
                        timings = _timings(bench, together, clients, work)
                        yield Load(f"{work} 1 KiB", kind.__name__, endpoint.transport, clients, timings)


def _timings(bench: Bench, together: Together, clients: int, work: str) -> Any:
    def trial(name: str) -> Trial:
        return Trial(
            NAMES[name],
            prepare=lambda ops: [bench.batch(KIB, ops) for _ in range(clients)],
            run=lambda batches: together(name, work, batches),
        )

    ops = max(20, (640 if bench.quick else 2560) // clients)  # of each client
    effort = Effort(bench.effort(0.4).rounds, float("inf"))
    return alternate([trial("floor"), trial("coatcheck")], ops, effort, bench.server)


@contextmanager
def processes(endpoint: Endpoint, clients: int) -> Iterator[Together]:
    # Forked from a clean process that has imported everything once: neither threads nor sockets are inherited.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    shared = (endpoint, context.Barrier(clients))
    with ProcessPoolExecutor(clients, context, _enter, shared) as pool:
        yield lambda name, work, batches: _measure(pool, name, work, batches)


@contextmanager
def threads(endpoint: Endpoint, clients: int) -> Iterator[Together]:
    _open(endpoint, threading.Barrier(clients))
    with ThreadPoolExecutor(clients) as pool:
        yield lambda name, work, batches: _measure(pool, name, work, batches)
    for candidate in _open_candidates.values():
        candidate.close()


@contextmanager
def tasks(endpoint: Endpoint, _clients: int) -> Iterator[Together]:
    with ExitStack() as stack:
        candidates: dict[str, AsyncCandidate] = {
            name: stack.enter_context(closing(kind(endpoint))) for name, kind in AWAITED.items()
        }

        def together(name: str, work: str, batches: Sequence[Batch]) -> Spent:
            candidate = candidates[name]
            for batch in batches if work == "load" else ():
                candidate.store(batch)

            async def run_all() -> None:
                await asyncio.gather(*map(getattr(candidate, f"a{work}"), batches))

            begin = time.monotonic()
            candidate.await_(run_all())
            spent = time.monotonic() - begin
            for batch in batches:
                candidate.forget(batch)
            return Spent(spent, 0.0)

        yield together


# What runs in threads and in processes -------------------------------------------------------------------------------

_open_candidates: dict[str, Candidate] = {}
_barrier: Any = None


def _enter(endpoint: Endpoint, barrier: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the benchmark, which ends its processes
    _open(endpoint, barrier)


def _open(endpoint: Endpoint, barrier: Any) -> None:
    global _barrier  # noqa: PLW0603  # a pool's workers have no other place
    _barrier = barrier
    _open_candidates.update({name: kind(endpoint) for name, kind in CANDIDATES.items()})


def _measure(pool: Executor, name: str, work: str, batches: Sequence[Batch]) -> Spent:
    begins, ends = zip(*pool.map(_work, *zip(*((name, work, batch) for batch in batches), strict=True)), strict=True)
    return Spent(max(ends) - min(begins), 0.0)


def _work(name: str, work: str, batch: Batch) -> tuple[float, float]:
    """When one client began and ended, by a clock that processes share; all begin at once."""
    candidate = _open_candidates[name]
    if work == "load":
        candidate.store(batch)
    _barrier.wait(PATIENCE)
    begin = time.monotonic()
    getattr(candidate, work)(batch)
    end = time.monotonic()
    _barrier.wait(PATIENCE)  # nobody tidies up beside others that are measured
    candidate.forget(batch)
    return begin, end
