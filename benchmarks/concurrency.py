"""Throughput of many clients at once, next to redis-py's own client at the same concurrency, on both transports."""

from __future__ import annotations

from .bench import KIB, MIB, Bench, Found, lacks, measurement
from .measure import Effort, Trial, alternate
from .results import Left, Load
from .workers import Crew, Processes, Tasks, Threads

CLIENTS = (1, 8, 64)
PER_PROCESS = 24 * MIB  # of memory that it doesn't share with the others


@measurement("concurrency")
def concurrency(bench: Bench) -> Found:
    for endpoint in (bench.server.unix, bench.server.tcp):
        for kind in (Processes, Threads, Tasks):
            clients = [n for n in CLIENTS if not (kind is Processes and lacks(n * PER_PROCESS))]
            for n in CLIENTS[len(clients) :]:
                yield Left("concurrency", f"{n} processes: {lacks(n * PER_PROCESS)}")
            if not clients:
                continue
            with kind(endpoint, max(clients)) as crew:
                for n in clients:
                    for work in ("store", "load"):
                        yield _load(bench, crew, endpoint.transport, n, work)


def _load(bench: Bench, crew: Crew, transport: str, clients: int, work: str) -> Load:
    def trial(name: str, shown: str) -> Trial:
        return Trial(
            shown,
            prepare=lambda ops: crew.prepare(name, work, [bench.batch(KIB, ops) for _ in range(clients)]),
            run=crew.run,
            clean=crew.clean,
            once=work == "load",
        )

    trials = [trial("floor", "redis-py SET/GET + SHA-256"), trial("coatcheck", "coatcheck")]
    ops = max(20, (640 if bench.quick else 2560) // clients)  # of each client
    effort = Effort(bench.effort(0.4).rounds, float("inf"))
    timings = alternate(trials, ops, effort, bench.server)
    return Load(f"{work} 1 KiB", crew.how, transport, clients, timings)
