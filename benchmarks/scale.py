"""What docs/scale.md starts from: memory of an artifact and of a lease, and what it costs to ask all partitions.

    python -m benchmarks.scale memory     # bytes on each engine, with 1 and 64 partitions
    python -m benchmarks.scale fan-out    # one server against a cluster of three primaries on this machine
    python -m benchmarks.scale primaries  # what 1, 2, 4 and 8 primaries can do, from the CPU time of each
    python -m benchmarks.scale million    # finding, counting and cleaning up in a large store, and what others notice

Times are medians. CPU time is that of the client and all servers together, on average: the figure to trust on a machine
that does other things as well. Round trips, pipelines and commands are counted where the client sends them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from coatcheck import RedisArtifactStore
from coatcheck.testing import ENGINES, Cluster, Server

from . import million
from .server import BenchServer, NoServerError

KIB = 1024
TAGS = {"step": "extract", "source": "crawler"}
BATCH = 1000


def fill(store: RedisArtifactStore, count: int, run_id: str) -> list[str]:
    """Store that many artifacts of 1 KiB of noise; their ids."""
    ids = []
    for start in range(0, count, BATCH):
        contents = [os.urandom(KIB) for _ in range(min(BATCH, count - start))]
        stored = store.store_many(contents, run_id=run_id, tags=TAGS, ttl=86_400)
        ids += [one.artifact_id for one in stored]
    return ids


def artifacts(server: BenchServer, count: int) -> None:
    """Print bytes for an artifact of a large run."""
    for partitions in (1, 64):
        server.clear()
        with RedisArtifactStore(server.url, partitions=partitions) as store:
            fill(store, 1, "first")  # what a server has once
            before = server.used_memory()
            fill(store, count, "run")
            each = (server.used_memory() - before) / count - KIB
        print(f"{server.version}, {partitions} partitions: {each:.0f} bytes an artifact besides 1 KiB", flush=True)


def leases(server: BenchServer, count: int) -> None:
    """Print bytes for a lease of a content that many runs lease, and what such a content's operations take."""
    server.clear()
    numbers = iter(range(1, count))
    with RedisArtifactStore(server.url) as store:
        before = server.used_memory()
        for number in range(count):
            artifact_id = store.store(b"shared", run_id=f"run-{number:09}", ttl=86_400).artifact_id
        each = (server.used_memory() - before) / count
        keys = [f"coatcheck:{kind}:{artifact_id}" for kind in ("artifact", "leases", "stores")]
        of_keys = sum(server.control.memory_usage(key, samples=0) or 0 for key in keys) / count
        print(f"{server.version}: {each:.0f} bytes a lease, {of_keys:.0f} of them in the artifact's keys", flush=True)
        for name, call in (
            ("load", lambda: store.load(artifact_id)),
            ("store by one more", lambda: store.store(b"shared", run_id=os.urandom(8).hex(), ttl=86_400)),
            ("touch", lambda: store.touch(artifact_id, 86_400, "run-000000000")),
            ("delete_by_run", lambda: store.delete_by_run(f"run-{next(numbers):09}")),
        ):
            effort = Effort([])
            effort.of(call, 200)
            print(f"{server.version}: {name} {1000 * statistics.median(effort.seconds):.2f} ms", flush=True)


@contextmanager
def counted(store: RedisArtifactStore) -> Iterator[list[int]]:
    """Counts round trips, pipelines and commands."""
    counts = [0, 0, 0]
    transport: Any = store._redis.session.transport  # noqa: SLF001
    send = transport.send

    def counting(parts: Any) -> Any:
        counts[0] += 1
        counts[1] += len(parts)
        counts[2] += sum(part.replies for part in parts)
        return send(parts)

    transport.send = counting
    try:
        yield counts
    finally:
        transport.send = send


class Effort:
    """What calls took: seconds each, and CPU seconds of client and servers together."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = servers
        self.seconds: list[float] = []
        self.cpu = 0.0

    def _spent(self) -> float:
        infos = [server.ask("INFO", "cpu") for server in self._servers]
        return time.process_time() + sum(info["used_cpu_user"] + info["used_cpu_sys"] for info in infos)

    def of(self, call: Callable[[], object], repeat: int) -> None:
        """Add some calls."""
        before = self._spent()
        self.cpu -= self._spent() - before  # what asking takes
        before = self._spent()
        for _ in range(repeat):
            began = time.perf_counter()
            call()
            self.seconds.append(time.perf_counter() - began)
        self.cpu += self._spent() - before


def fan_out(url: str, servers: Sequence[Server], partitions: int, rounds: int) -> None:
    """Print what operations on runs and on the whole catalog cost."""
    where = "one server" if len(servers) == 1 else f"{len(servers)} primaries"
    with RedisArtifactStore(url, namespace=f"n{partitions}", partitions=partitions, retry_for=60) as store:
        fill(store, 10_000, "large")
        fill(store, 5, "small")
        for number in range(100):
            fill(store, 1, f"run-{number}")
        [one] = fill(store, 1, "one")
        measured: tuple[tuple[str, Callable[[], object], int, int], ...] = (
            ("load", lambda: store.load(one), 0, 500),
            ("list_by_run of 5", lambda: store.list_by_run("small"), 0, 200),
            ("list_by_run of 10,000", lambda: store.list_by_run("large"), 0, rounds),
            ("list_all(limit=100)", lambda: store.list_all(limit=100), 0, 50),
            ("list_runs of 103", store.list_runs, 0, 50),
            ("stats of 10,106", store.stats, 0, rounds),
            ("delete_by_run of 5", lambda: store.delete_by_run("gone"), 5, 30),
            ("delete_by_run of 10,000", lambda: store.delete_by_run("gone"), 10_000, 3),
            ("gc of 10,106", lambda: store.gc(dry_run=False), 0, 1),
        )
        for what, call, stored_before, times in measured:
            effort = Effort(servers)
            for _ in range(times if stored_before else 1):
                fill(store, stored_before, "gone")
                effort.of(call, 1 if stored_before else times)
            fill(store, stored_before, "gone")
            with counted(store) as counts:  # after the others, so that the servers know the scripts
                call()
            wall, cpu = 1000 * statistics.median(effort.seconds), 1000 * effort.cpu / len(effort.seconds)
            print(
                f"{where} | {partitions} | {what} | {wall:.2f} | {cpu:.2f} | {' | '.join(map(str, counts))}", flush=True
            )


def capacity(binary: Path, primaries: int, count: int) -> dict[str, tuple[float, float, float]]:
    """What a cluster of so many primaries can do, if each had a core of its own, whatever this machine has.

    Clients share no state, so more of them do more; a cluster does as much as the primary that is busiest.

    Returns:
        For each operation: a second by the busiest primary's CPU time, and the CPU time of client and server for one,
        in microseconds.
    """
    with (
        Cluster(binary, primaries=primaries, replicas=0) as cluster,
        RedisArtifactStore(cluster.url, retry_for=60) as store,
    ):
        ids = fill(store, 10_000, "before")
        contents = iter([os.urandom(KIB) for _ in range(count)])
        operations: dict[str, Callable[[int], object]] = {
            "store": lambda n: store.store(next(contents), run_id=f"run-{n % 8}", tags=TAGS, ttl=86_400),
            "load": lambda n: store.load(ids[n % len(ids)]),
        }
        found = {}
        for name, call in operations.items():
            idle = _cpu_of(cluster, lambda: time.sleep(2))
            spent = _cpu_of(cluster, lambda call=call: [call(n) for n in range(count)])  # type: ignore[misc]
            busy = [one - spent.seconds * rest / 2 for one, rest in zip(spent.nodes, idle.nodes, strict=True)]
            found[name] = count / max(busy), 1e6 * spent.client / count, 1e6 * sum(busy) / count
        return found


class Spent(NamedTuple):
    """Seconds: on the clock, and of CPU by the client and by each node."""

    seconds: float
    client: float
    nodes: list[float]


def _cpu_of(cluster: Cluster, call: Callable[[], object]) -> Spent:
    def nodes() -> list[float]:
        infos = [node.ask("INFO", "cpu") for node in cluster.nodes]
        return [info["used_cpu_user"] + info["used_cpu_sys"] for info in infos]

    before, began, client = nodes(), time.perf_counter(), time.process_time()
    call()
    client, seconds = time.process_time() - client, time.perf_counter() - began
    return Spent(seconds, client, [after - one for after, one in zip(nodes(), before, strict=True)])


def scaling(binary: Path, count: int) -> None:
    """Print what 1, 2, 4 and 8 primaries can do."""
    first: dict[str, float] = {}
    print("primaries | operation | a second, by the busiest primary's CPU | efficiency | client us | servers us")
    for primaries in (1, 2, 4, 8):
        for name, (rate, client, servers) in capacity(binary, primaries, count).items():
            share = rate / primaries / first.setdefault(name, rate)
            print(f"{primaries} | {name} | {rate:,.0f} | {share:.2f} | {client:.1f} | {servers:.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["memory", "fan-out", "primaries", "million", "storm"])
    parser.add_argument("--artifacts", type=int, default=50_000, help="for bytes an artifact; of million, storm")
    parser.add_argument("--leases", type=int, default=20_000, help="for bytes a lease")
    parser.add_argument("--operations", type=int, default=10_000, help="of each kind, for primaries")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if options.what == "memory":
        for engine in ENGINES:
            try:
                with BenchServer(engine.name) as server:
                    artifacts(server, options.artifacts)
                    leases(server, options.leases)
            except NoServerError as error:
                print(error)
        return
    if options.what in ("million", "storm"):
        with BenchServer("valkey") as server:
            (million.measure if options.what == "million" else million.measure_storm)(server, options.artifacts)
        return
    binary = next(engine for engine in ENGINES if engine.name == "valkey").find()
    if binary is None:
        raise SystemExit("no valkey here")
    if options.what == "primaries":
        scaling(binary, options.operations)
        return
    print("where | partitions | operation | ms | CPU ms | round trips | pipelines | commands")
    with BenchServer("valkey") as server:
        for partitions in (1, 64, 256):
            fan_out(server.tcp.url, [server], partitions, options.rounds)
    with Cluster(binary, replicas=0) as cluster:
        for partitions in (64, 256):
            fan_out(cluster.url, cluster.nodes, partitions, options.rounds)


if __name__ == "__main__":
    main()
