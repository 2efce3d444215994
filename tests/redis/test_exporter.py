"""Figures of stores and their servers as metrics, and the process that serves them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from coatcheck import FileArtifactStore, InMemoryArtifactStore, InvalidArtifactError, RedisArtifactStore
from coatcheck.testing import eventually
from coatcheck.watching import exporter
from coatcheck.watching.exporter import StoreCollector

MINE = {"namespace": "mine"}


def registered(store, **options) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(StoreCollector(store, namespace="mine", **options))
    return registry


def fill(store) -> str:
    store.store_many([b"x" * 100, b"y" * 100], run_id="run-17", tags={"kind": "tag-5"}, ttl=60)
    return store.store(b"x" * 100, run_id="run-18", ttl=60).artifact_id


@pytest.fixture(params=["memory", "file", "redis"])
def any_store(request, tmp_path, namespace):
    if request.param == "redis":
        url = request.getfixturevalue("valkey").tcp_url
        store = RedisArtifactStore(url, namespace=namespace)
    else:
        store = InMemoryArtifactStore() if request.param == "memory" else FileArtifactStore(tmp_path)
    with store:
        yield store


def test_what_a_store_holds_is_told(any_store) -> None:
    stored = fill(any_store)
    registry = registered(any_store)
    told = {
        name: registry.get_sample_value(f"coatcheck_{name}", MINE)
        for name in ("up", "artifacts", "leases", "runs", "contents", "artifact_bytes", "content_bytes")
    }
    assert told == {
        **{"up": 1, "artifacts": 2, "leases": 3, "runs": 2, "contents": 2},
        **{"artifact_bytes": 300, "content_bytes": 200},
    }
    assert registry.get_sample_value("coatcheck_stored_bytes", MINE) > 0
    shown = generate_latest(registry).decode()
    for secret in (stored, "run-17", "tag-5"):
        assert secret not in shown


def test_sizes_are_told_where_they_are_wanted(any_store) -> None:
    any_store.store_many([b"", b"x" * 1024, b"x" * 1025, b"x" * 20_000], ttl=60)
    registry = registered(any_store, sizes=True)
    name = "coatcheck_artifact_size_bytes"
    buckets = {le: registry.get_sample_value(f"{name}_bucket", {**MINE, "le": le}) for le in ("1024", "4096", "+Inf")}
    assert buckets == {"1024": 2, "4096": 3, "+Inf": 4}
    assert registry.get_sample_value(f"{name}_gsum", MINE) == 22_049
    assert f'{name}_bucket{{le="1024",namespace="mine"}} 2.0' in generate_latest(registry).decode()
    assert registered(any_store).get_sample_value(f"{name}_gsum", MINE) is None


def test_servers_and_findings_are_told(valkey, namespace) -> None:
    with RedisArtifactStore(valkey.tcp_url, namespace=namespace) as store:
        registry = registered(store)
        server = {**MINE, "server": valkey.address}
        assert registry.get_sample_value("coatcheck_server_memory_used_bytes", server) > 0
        assert registry.get_sample_value("coatcheck_server_memory_limit_bytes", server) == 0
        assert registry.get_sample_value("coatcheck_server_evicted_keys_total", server) == 0
        assert registry.get_sample_value("coatcheck_server_replicas", server) == 0
        assert 0 < registry.get_sample_value("coatcheck_server_round_trip_seconds", server) < 60
        finding = {**MINE, "level": "warning", "name": "maxmemory"}
        assert registry.get_sample_value("coatcheck_findings", finding) == 1


def test_partitions_are_told_by_server(valkey_cluster, namespace) -> None:
    with RedisArtifactStore(valkey_cluster.url, namespace=namespace) as store:
        store.store_many([b"%d" % n for n in range(30)], ttl=60)
        samples = [
            s for m in registered(store).collect() for s in m.samples if s.name == "coatcheck_partition_artifacts"
        ]
    assert len(samples) == 64
    assert sum(sample.value for sample in samples) == 30
    assert len({sample.labels["server"] for sample in samples}) == 3


def test_servers_are_told_of_where_figures_of_the_store_are_not(valkey, namespace) -> None:
    with RedisArtifactStore(valkey.tcp_url, namespace=namespace) as store:
        name = store.store(b"x", run_id="a", ttl=60).artifact_id
        with valkey.client() as client:
            key = f"{namespace}:artifact:{name}"
            header = client.hget(key, "h")
            client.hset(key, "h", "damaged")
        registry = registered(store)
        assert registry.get_sample_value("coatcheck_up", MINE) == 0
        assert registry.get_sample_value("coatcheck_artifacts", MINE) is None
        assert registry.get_sample_value("coatcheck_server_memory_used_bytes", {**MINE, "server": valkey.address}) > 0
        with valkey.client() as client:
            client.hset(key, "h", header)
        store.delete(name)


def test_figures_are_not_read_more_often_than_wanted() -> None:
    with InMemoryArtifactStore() as store:
        rare, always = registered(store, every=3600), registered(store, every=0)
        for registry in (rare, always):
            assert registry.get_sample_value("coatcheck_artifacts", MINE) == 0
        fill(store)
        assert rare.get_sample_value("coatcheck_artifacts", MINE) == 0
        assert always.get_sample_value("coatcheck_artifacts", MINE) == 2
        with pytest.raises(InvalidArtifactError, match="every"):
            StoreCollector(store, every=float("nan"))


def test_a_scrape_is_given_the_last_figures_where_new_ones_take_long(monkeypatch) -> None:
    monkeypatch.setattr(exporter, "_PATIENCE", 0.01)
    with InMemoryArtifactStore() as store:
        registry, figures = registered(store, every=0), store.stats
        read_at = registry.get_sample_value("coatcheck_figures_timestamp_seconds", MINE)
        fill(store)
        asked, go_on = [], threading.Event()

        def slow(**filters):
            asked.append(filters)
            go_on.wait(60)
            return figures(**filters)

        monkeypatch.setattr(store, "stats", slow)
        for _ in range(3):  # they wait for one and the same reading
            assert registry.get_sample_value("coatcheck_artifacts", MINE) == 0
        assert registry.get_sample_value("coatcheck_figures_timestamp_seconds", MINE) == read_at
        assert len(asked) == 1
        go_on.set()
        eventually(lambda: registry.get_sample_value("coatcheck_artifacts", MINE) == 2)


def test_a_store_that_cannot_be_asked_is_down() -> None:
    with RedisArtifactStore("redis://127.0.0.1:1", retry_for=0) as store:
        registry = registered(store)
        assert registry.get_sample_value("coatcheck_up", MINE) == 0
        assert registry.get_sample_value("coatcheck_artifacts", MINE) is None


def test_the_process_serves_them_until_it_is_ended(tmp_path) -> None:
    with FileArtifactStore(tmp_path) as store:
        fill(store)
    command = [
        sys.executable,
        "-m",
        "coatcheck",
        "--url",
        f"file://{tmp_path}",
        "exporter",
        "--port",
        "0",
        "--every",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as running:
        try:
            url = running.stdout.readline().strip()
            with urllib.request.urlopen(url) as answer:
                families = {f.name: f for f in text_string_to_metric_families(answer.read().decode())}
            assert families["coatcheck_artifacts"].samples[0].value == 2
            assert families["coatcheck_artifacts"].samples[0].labels == {"namespace": "coatcheck"}
        finally:
            running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0


def test_an_address_that_is_taken_is_one_line(server) -> None:
    command = [sys.executable, "-m", "coatcheck", "--url", server.url, "exporter", "--host", "192.0.2.1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: cannot listen on 192.0.2.1 port 9765: ")
