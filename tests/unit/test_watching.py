"""Events as OpenTelemetry's spans and measurements, and as metrics of Prometheus."""

from __future__ import annotations

import importlib
import pickle
import sys

import pytest
from coatcheck import __version__, ArtifactNotFoundError, Event, InMemoryArtifactStore, MissingExtraError
import coatcheck.watching.exporter  # loaded, to be loaded again
from coatcheck.watching.opentelemetry import OpenTelemetryEvents
from coatcheck.watching.prometheus import PrometheusEvents
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry, generate_latest

WHOLE = Event("load_many", "done", 0.25, 3, 5000, 2, 1, 4, None, "redis", "mine")


def work(on_event) -> str:
    """Something that goes well, and something that does not; returns an id."""
    with InMemoryArtifactStore(on_event=on_event) as store:
        stored = store.store_many([b"four", b"seconds"], run_id="run-17", tags={"kind": "tag-5"})[0]
        store.load(stored)
        with pytest.raises(ArtifactNotFoundError):
            store.load("absent", required=True)
    on_event(WHOLE)
    return stored.artifact_id


@pytest.fixture
def spans():
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider, exporter
    provider.shutdown()


@pytest.fixture
def meter():
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield provider, reader
    provider.shutdown()


def test_each_operation_is_a_span_by_the_conventions(spans, meter) -> None:
    on_event = OpenTelemetryEvents({"server.address": "cache"}, tracer_provider=spans[0], meter_provider=meter[0])
    with spans[0].get_tracer("caller").start_as_current_span("request") as request:
        work(on_event)
    batch, load, failed, close, whole, _ = spans[1].get_finished_spans()
    assert [span.name for span in (batch, load, failed, close, whole)] == [
        *("store_many", "load", "load", "close", "load_many")
    ]
    assert {span.parent.span_id for span in (batch, load, failed, whole)} == {request.get_span_context().span_id}
    assert batch.kind is SpanKind.CLIENT
    assert batch.instrumentation_scope.version == __version__
    assert batch.instrumentation_scope.schema_url
    assert batch.end_time >= batch.start_time
    assert batch.attributes["db.operation.name"] == "store_many"
    assert batch.attributes["db.operation.batch.size"] == 2
    assert batch.attributes["coatcheck.bytes"] == 11
    assert batch.attributes["server.address"] == "cache"
    assert "db.operation.batch.size" not in load.attributes
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes["error.type"] == "ArtifactNotFoundError"
    assert whole.attributes["db.system.name"] == "redis"
    assert whole.attributes["coatcheck.namespace"] == "mine"
    assert (whole.attributes["coatcheck.cache.hits"], whole.attributes["coatcheck.cache.misses"]) == (1, 4)
    assert whole.end_time - whole.start_time == 250_000_000


def test_operations_are_measured_by_the_conventions(spans, meter) -> None:
    stored = work(OpenTelemetryEvents(tracer_provider=spans[0], meter_provider=meter[0]))
    data = meter[1].get_metrics_data()
    [scope] = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
    assert scope.scope.version == __version__
    assert scope.schema_url
    metrics = {metric.name: metric for metric in scope.metrics}
    assert metrics.keys() == {
        *("db.client.operation.duration", "coatcheck.operation.size"),
        *("coatcheck.operation.retries", "coatcheck.cache.lookups"),
    }
    duration = metrics["db.client.operation.duration"]
    assert duration.unit == "s"
    points = {
        (p.attributes["db.operation.name"], p.attributes["coatcheck.outcome"]): p for p in duration.data.data_points
    }
    assert points["load_many", "done"].sum == 0.25
    assert points["load", "failed"].attributes["error.type"] == "ArtifactNotFoundError"
    assert tuple(points["load", "done"].explicit_bounds) == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
    [retries] = metrics["coatcheck.operation.retries"].data.data_points
    assert retries.value == 2
    lookups = metrics["coatcheck.cache.lookups"].data.data_points
    assert {p.attributes["coatcheck.cache.result"]: p.value for p in lookups} == {"hit": 1, "miss": 4}
    sizes = {p.attributes["db.operation.name"]: p.sum for p in metrics["coatcheck.operation.size"].data.data_points}
    assert sizes == {"store_many": 11, "load": 4, "load_many": 5000}
    for secret in (stored, "run-17", "tag-5", "absent"):
        assert secret not in meter[1].get_metrics_data().to_json()


def test_prometheus_counts_without_ids() -> None:
    registry = CollectorRegistry()
    stored = work(PrometheusEvents(registry))
    memory = {"backend": "memory", "namespace": ""}
    mine = {"backend": "redis", "namespace": "mine", "operation": "load_many"}

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"coatcheck_{name}", labels)

    assert value("operation_duration_seconds_count", **memory, operation="load", outcome="done") == 1
    assert value("operation_duration_seconds_sum", **mine, outcome="done") == 0.25
    assert value("operation_content_bytes_sum", **memory, operation="store_many") == 11
    assert value("operation_content_bytes_bucket", **mine, le="16384.0") == 1
    assert value("operation_failures_total", **memory, operation="load", error="ArtifactNotFoundError") == 1
    assert value("retries_total", **mine) == 2
    assert value("cache_hits_total", **mine) == 1
    assert value("cache_misses_total", **mine) == 4
    shown = generate_latest(registry).decode()
    for secret in (stored, "run-17", "tag-5", "absent"):
        assert f'"{secret}"' not in shown


def test_stores_of_one_process_share_their_metrics() -> None:
    registry = CollectorRegistry()
    for _ in range(2):
        PrometheusEvents(registry)(WHOLE)
    labels = {"backend": "redis", "namespace": "mine", "operation": "load_many"}
    assert registry.get_sample_value("coatcheck_retries_total", labels) == 4


def test_listeners_go_to_other_processes_where_that_makes_sense() -> None:
    assert isinstance(pickle.loads(pickle.dumps(PrometheusEvents())), PrometheusEvents)
    again = pickle.loads(pickle.dumps(OpenTelemetryEvents({"server.address": "cache"})))
    assert again._attributes == {"server.address": "cache"}
    with pytest.raises(TypeError, match="registry of your own"):
        pickle.dumps(PrometheusEvents(CollectorRegistry()))


@pytest.mark.parametrize(("module", "package", "extra"), [
    ("opentelemetry", "opentelemetry", "opentelemetry"),
    ("prometheus", "prometheus_client", "prometheus"),
    ("exporter", "prometheus_client.core", "prometheus"),
])  # fmt: skip
def test_a_missing_package_is_named_with_its_extra(module, package, extra, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, f"coatcheck.watching.{module}")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'coatcheck\[{extra}\]'"):
        importlib.import_module(f"coatcheck.watching.{module}")
