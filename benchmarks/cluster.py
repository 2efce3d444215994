"""Rows about a cluster of three primaries: what its slots, and three servers instead of one, add to an operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from coatcheck.testing import ENGINES, Cluster

from .bench import KIB, PER_RUN, Bench, measurement
from .candidates import Batch
from .measure import Trial, alternate
from .ours import Coatcheck
from .results import Row
from .server import Endpoint
from .trials import loading, storing

LIMIT = 1.1  # times one server
PRIMARIES = 3
ONE_SERVER = "floor: coatcheck, one server"


class BenchCluster(Cluster):
    """A cluster of primaries that tells what it spends."""

    def cpu_seconds(self) -> float:
        """CPU time that all nodes have taken so far."""
        infos = [node.ask("INFO", "cpu") for node in self.nodes]
        return sum(float(info["used_cpu_user"]) + float(info["used_cpu_sys"]) for info in infos)

    def settle(self) -> None:
        """Small values are freed at once."""


@measurement("cluster")
def one_operation(bench: Bench) -> Iterator[Row]:
    """A store and a load of 1 KiB on a cluster, beside the same on one server, both over TCP."""
    binary = next(engine for engine in ENGINES if engine.name == bench.engine).find()
    assert binary is not None  # the bench has a server
    with bench.alone() as alone, BenchCluster(binary, primaries=PRIMARIES, replicas=0) as cluster:
        one = Coatcheck(alone.server.tcp)
        many = Coatcheck(Endpoint("cluster", {}, cluster.url))

        def row(work: str, trial: Callable[..., Trial], of: Callable[[Coatcheck], Callable[[Batch], Any]]) -> Row:
            trials = [trial(bench, ours, KIB, of(ours)) for ours in (one, many)]
            trials[0].name = ONE_SERVER
            timings = alternate(trials, PER_RUN, bench.effort(), alone.server, cluster)
            title = f"{work} 1 KiB on a cluster of {PRIMARIES}, beside one server"
            return Row(title, timings, f"≤ {LIMIT}", LIMIT)

        try:
            yield row("store", storing, lambda ours: ours.store)
            yield row("load", loading, lambda ours: ours.load)
        finally:
            one.close()
            many.close()
