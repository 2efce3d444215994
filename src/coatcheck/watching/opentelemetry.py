"""Events as spans and metrics of OpenTelemetry (extra `opentelemetry`), by its conventions for database clients.

https://opentelemetry.io/docs/specs/semconv/db/ names what begins with `db.`, `server.` and `error.`; what begins with
`coatcheck.` is ours.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .. import __version__
from ..errors import MissingExtraError

try:
    from opentelemetry import metrics, trace
    from opentelemetry.trace import SpanKind, Status, StatusCode
except ImportError as error:
    raise MissingExtraError(f"{error.name} is missing: pip install 'coatcheck[opentelemetry]'") from error

if TYPE_CHECKING:
    from ..events import Event

_NAME: Final = "coatcheck"
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.33.0"  # from which on the names of databases are stable
_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)  # as the conventions advise
_BYTES: Final = tuple(4**power * 1024 for power in range(11))  # 1 KiB … 1 GiB


class OpenTelemetryEvents:
    """A span of kind CLIENT and a few measurements for each operation.

    Spans carry no ids but in the message of an error; measurements never do, and no tags or run ids.

    Args:
        attributes: Of every span and measurement, such as `{"server.address": "cache.internal"}`.
        tracer_provider: Left out: the global one.
        meter_provider: Left out: the global one.
    """

    def __init__(
        self,
        attributes: Mapping[str, str | int | float | bool] | None = None,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._attributes = dict(attributes or {})
        self._tracer = trace.get_tracer(_NAME, __version__, tracer_provider, _SCHEMA)
        meter = metrics.get_meter(_NAME, __version__, meter_provider, _SCHEMA)
        self._duration = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of operations of the store",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._size = meter.create_histogram(
            "coatcheck.operation.size",
            unit="By",
            description="Content handed in or out by one operation",
            explicit_bucket_boundaries_advisory=_BYTES,
        )
        self._retries = meter.create_counter(
            "coatcheck.operation.retries",
            unit="{retry}",
            description="How often something was sent again because it had failed",
        )
        self._lookups = meter.create_counter(
            "coatcheck.cache.lookups", unit="{lookup}", description="Contents that were looked up in the store's cache"
        )

    def __reduce__(self) -> Any:  # a store goes to another process with its options: there, to its providers
        return type(self), (self._attributes,)

    def __call__(self, event: Event) -> None:
        """Record one event."""
        common = self._common(event)
        attributes: dict[str, Any] = {**common, "coatcheck.outcome": event.outcome}
        if event.error is not None:
            attributes["error.type"] = type(event.error).__qualname__
        self._duration.record(event.seconds, attributes)
        if event.bytes:
            self._size.record(event.bytes, common)
        if event.retries:
            self._retries.add(event.retries, common)
        for result, count in (("hit", event.cache_hits), ("miss", event.cache_misses)):
            if count:
                self._lookups.add(count, {**common, "coatcheck.cache.result": result})
        self._span(event, attributes)

    def _common(self, event: Event) -> dict[str, Any]:
        return {
            **self._attributes,
            "db.system.name": "redis" if event.backend == "redis" else f"coatcheck.{event.backend}",
            "db.operation.name": event.operation,
            "coatcheck.namespace": event.namespace,
        }

    def _span(self, event: Event, attributes: dict[str, Any]) -> None:
        end = time.time_ns()
        span = self._tracer.start_span(
            event.operation,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=end - int(event.seconds * 1e9),
        )
        if span.is_recording():
            if event.operation.endswith("_many") and event.items > 1:
                span.set_attribute("db.operation.batch.size", event.items)
            span.set_attribute("coatcheck.items", event.items)
            span.set_attribute("coatcheck.bytes", event.bytes)
            span.set_attribute("coatcheck.retries", event.retries)
            span.set_attribute("coatcheck.cache.hits", event.cache_hits)
            span.set_attribute("coatcheck.cache.misses", event.cache_misses)
            if event.error is not None:
                span.set_status(Status(StatusCode.ERROR, str(event.error)))
        span.end(end)
