"""What a store holds, and how its servers are, as metrics of Prometheus (extra `prometheus`).

`coatcheck exporter` serves them; a process with a registry of its own registers a `StoreCollector` there. Operations
are counted where they happen: see `watching.prometheus`.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, Final

from ..doctor import Diagnosis, Facts, ask, judge
from ..errors import ArtifactError, InvalidArtifactError, MissingExtraError
from ..model import StoreStats
from ..store import ArtifactStore
from ..sync import RedisArtifactStore

try:
    from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeHistogramMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtraError(f"{error.name} is missing: pip install 'coatcheck[prometheus]'") from error

_logger: Final = logging.getLogger(__name__)

_PATIENCE: Final = 5.0  # seconds that a scrape waits for new figures where there are some: half of Prometheus' default

_STATS: Final = {
    "artifacts": "Live artifacts",
    "leases": "Live leases on artifacts",
    "runs": "Runs that hold a lease",
    "contents": "Distinct contents",
    "artifact_bytes": "Sizes of all artifacts, once for each lease: what would be kept without sharing",
    "content_bytes": "Sizes of the distinct contents, before compression",
    "stored_bytes": "What contents take as they are stored",
}

_BOUNDS: Final = tuple(4**power * 1024 for power in range(11))  # 1 KiB … 1 GiB

_OF_SERVERS: Final = {
    "memory_used_bytes": ("used_memory", "Memory that the server uses"),
    "memory_limit_bytes": ("maxmemory", "Its maxmemory; 0: none"),
    "memory_fragmentation_ratio": ("mem_fragmentation_ratio", "Memory of its process by that of what lies in it"),
    "connections": ("connected_clients", "Connections that are open"),
    "replicas": ("connected_slaves", "Replicas that are connected"),
}


@contextmanager
def served(registry: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """Answer scrapes until the block is left; at which port, where `port` is 0.

    Raises:
        OSError: That is no address to listen at.
    """
    server, thread = start_http_server(port, host, registry)
    try:
        server.set_app(_enduring(make_wsgi_app(registry)))
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _enduring(application: Callable[..., Any]) -> Callable[..., Any]:
    """The same; an `Accept` that prometheus-client stumbles over (version=1.0.x) counts as none."""

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        try:
            return application(environ, start_response)
        except TypeError:
            return application({**environ, "HTTP_ACCEPT": ""}, start_response)

    return answer


class StoreCollector(Collector):
    """Figures of one store. They are read when they are asked for, not more often than every so many seconds.

    Reading those of a large store takes long: after five seconds the last ones are told, and the new ones next time.

    Args:
        store: Any store; servers are told of where it has some.
        namespace: The label of all metrics.
        every: Seconds that figures are told again before they are read anew: `stats` reads all metadata.
        sizes: Also tell how large artifacts are, as a histogram; reads all metadata once more.

    Raises:
        InvalidArtifactError: These are no seconds.
    """

    def __init__(self, store: ArtifactStore, *, namespace: str = "", every: float = 60, sizes: bool = False) -> None:
        if not every >= 0:
            raise InvalidArtifactError(f"every must be seconds, 0 or more, not {every!r}")
        self._store = store
        self._labels = [namespace]
        self._every = every
        self._sizes = sizes
        self._lock = threading.Lock()
        self._read_at = -float("inf")
        self._reading: threading.Thread | None = None
        self._families: list[Metric] = []

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering asks no server."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The figures; `coatcheck_up` is 0 where some cannot be read, and what came before these is told."""
        with self._lock:
            if self._reading is None and time.monotonic() - self._read_at >= self._every:
                self._reading = threading.Thread(target=self._read_anew, name="coatcheck-figures", daemon=True)
                self._reading.start()
            reading = self._reading
        if reading is not None:
            reading.join(_PATIENCE if self._families else None)
        yield from self._families

    def _read_anew(self) -> None:
        try:
            self._families = list(self._read())
        finally:
            with self._lock:
                self._read_at = time.monotonic()
                self._reading = None

    def _read(self) -> Iterator[Metric]:
        start, figures = time.perf_counter(), list[Metric]()
        try:
            if isinstance(self._store, RedisArtifactStore):
                facts = ask(self._store, thorough=False)
                figures += [*self._of_servers(facts), self._of_findings(judge(facts))]
            figures += self._of_store(self._store.stats())
            if self._sizes:
                figures += self._of_sizes()
        except ArtifactError as error:
            _logger.warning("figures cannot be read: %s", error)
            yield self._gauge("up", "Whether all figures could be read", 0)
        else:
            yield self._gauge("up", "Whether all figures could be read", 1)
            yield self._gauge("figures_duration_seconds", "How long reading them took", time.perf_counter() - start)
            yield self._gauge("figures_timestamp_seconds", "When they were read", time.time())
        yield from figures

    def _of_store(self, stats: StoreStats) -> Iterator[Metric]:
        for name, text in _STATS.items():
            yield self._gauge(name, text, getattr(stats, name))

    def _of_sizes(self) -> Iterator[Metric]:
        counts, total = Counter[int](), 0
        for view in self._store.iter_artifacts():
            counts[bisect_left(_BOUNDS, view.size_bytes)] += 1
            total += view.size_bytes
        summed = list(accumulate(counts[place] for place in range(len(_BOUNDS) + 1)))
        buckets = list(zip((*map(str, _BOUNDS), "+Inf"), map(float, summed), strict=True))
        family = GaugeHistogramMetricFamily("coatcheck_artifact_size_bytes", "Sizes of artifacts", labels=["namespace"])
        family.add_metric(self._labels, buckets, gsum_value=total)
        yield family

    def _of_servers(self, facts: Facts) -> Iterator[Metric]:
        labels = ["namespace", "server"]
        families = {
            name: GaugeMetricFamily(f"coatcheck_server_{name}", text, labels=labels)
            for name, (_, text) in _OF_SERVERS.items()
        }
        evicted = CounterMetricFamily("coatcheck_server_evicted_keys", "Keys that were evicted", labels=labels)
        round_trip = GaugeMetricFamily(
            "coatcheck_server_round_trip_seconds", "A question and its answer", labels=labels
        )
        artifacts = GaugeMetricFamily(
            "coatcheck_partition_artifacts", "Members of the catalog, by partition", labels=[*labels, "partition"]
        )
        for server in facts.servers:
            where = [*self._labels, server.name]
            round_trip.add_metric(where, server.round_trip)
            for name, (field, _) in _OF_SERVERS.items():
                if field in server.info:
                    families[name].add_metric(where, float(server.info[field]))
            if "evicted_keys" in server.info:
                evicted.add_metric(where, float(server.info["evicted_keys"]))
            for number, count in enumerate(facts.artifacts.get(server.name, [])):
                artifacts.add_metric([*where, str(number)], count)
        yield from (*families.values(), evicted, round_trip, artifacts)

    def _of_findings(self, diagnosis: Diagnosis) -> Metric:
        family = GaugeMetricFamily(
            "coatcheck_findings", "What coatcheck doctor finds", labels=["namespace", "level", "name"]
        )
        for level, name in sorted({(finding.level, finding.name) for finding in diagnosis.findings}):
            count = sum((finding.level, finding.name) == (level, name) for finding in diagnosis.findings)
            family.add_metric([*self._labels, level, name], count)
        return family

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"coatcheck_{name}", text, labels=["namespace"])
        family.add_metric(self._labels, value)
        return family
