"""Events as metrics of Prometheus (extra `prometheus`), in the process that uses the store.

What a store holds is told by `coatcheck exporter`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import MissingExtraError

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
except ImportError as error:
    raise MissingExtraError(f"{error.name} is missing: pip install 'coatcheck[prometheus]'") from error

if TYPE_CHECKING:
    from ..events import Event

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BYTES: Final = tuple(4**power * 1024 for power in range(11))  # 1 KiB … 1 GiB
_STORE: Final = ("backend", "namespace", "operation")


class PrometheusEvents:
    """Counts and durations of operations. Labels are few: no ids, runs or tags.

    The metrics of one registry are made once: several stores share them, told apart by backend and namespace.

    Args:
        registry: Where they are registered; left out: the default one.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry
        self._metrics = _metrics(REGISTRY if registry is None else registry)

    def __reduce__(self) -> Any:
        if self._registry is not None:
            raise TypeError("events for a registry of your own stay in this process: make the store anew in the other")
        return type(self), ()

    def __call__(self, event: Event) -> None:
        """Count one event."""
        metrics = self._metrics
        store = (event.backend, event.namespace, event.operation)
        metrics.seconds.labels(*store, event.outcome).observe(event.seconds)
        if event.bytes:
            metrics.bytes.labels(*store).observe(event.bytes)
        if event.error is not None:
            metrics.failures.labels(*store, type(event.error).__name__).inc()
        if event.retries:
            metrics.retries.labels(*store).inc(event.retries)
        if event.cache_hits:
            metrics.hits.labels(*store).inc(event.cache_hits)
        if event.cache_misses:
            metrics.misses.labels(*store).inc(event.cache_misses)


class _Metrics(NamedTuple):
    seconds: Histogram
    bytes: Histogram
    failures: Counter
    retries: Counter
    hits: Counter
    misses: Counter


@cache
def _metrics(registry: CollectorRegistry) -> _Metrics:
    def counter(name: str, text: str, *labels: str) -> Counter:
        return Counter(f"coatcheck_{name}", text, (*_STORE, *labels), registry=registry)

    return _Metrics(
        Histogram(
            "coatcheck_operation_duration_seconds",
            "Duration of operations, waiting and retries included",
            (*_STORE, "outcome"),
            buckets=_SECONDS,
            registry=registry,
        ),
        Histogram(
            "coatcheck_operation_content_bytes",
            "Content handed in or out by one operation, before compression",
            _STORE,
            buckets=_BYTES,
            registry=registry,
        ),
        counter("operation_failures", "Operations that raised, by the class of the error", "error"),
        counter("retries", "How often something was sent again because it had failed"),
        counter("cache_hits", "Contents that came from the store's cache"),
        counter("cache_misses", "Contents that had to come from the server although there is a cache"),
    )
