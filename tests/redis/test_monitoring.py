"""The dashboard and the alert rules ask for metrics that there are, and point to pages that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from ruamel.yaml import YAML

from coatcheck import RedisArtifactStore
from coatcheck.watching.exporter import StoreCollector
from coatcheck.watching.prometheus import PrometheusEvents

from ..unit.test_watching import WHOLE

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = json.loads((DOCS / "monitoring" / "grafana.json").read_text())
RULES = YAML(typ="safe").load((DOCS / "monitoring" / "alerts.yaml").read_text())["groups"][0]["rules"]
METRIC = re.compile(r"\bcoatcheck_\w+")
LABEL = re.compile(r"(\w+)(?:=~|!~|!=|=)\"")


@pytest.fixture
def samples(valkey, namespace) -> dict[str, set[str]]:
    """The names of everything that is told, with the names of their labels."""
    registry = CollectorRegistry()
    on_event = PrometheusEvents(registry)
    on_event(WHOLE)
    on_event(WHOLE._replace(error=ValueError()))
    with RedisArtifactStore(valkey.tcp_url, namespace=namespace) as store:
        registry.register(StoreCollector(store, namespace="mine"))
        return {s.name: set(s.labels) for family in registry.collect() for s in family.samples}


def expressions() -> list[str]:
    targets = [target for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    return [target["expr"] for target in targets] + [rule["expr"] for rule in RULES]


def test_all_that_is_asked_for_is_told(samples) -> None:
    for expression in expressions():
        names = METRIC.findall(expression)
        assert names, expression
        assert set(names) <= samples.keys(), expression
        labels = set.union(*(samples[name] for name in names))
        assert set(LABEL.findall(expression)) <= labels, expression


def test_brackets_of_expressions_match() -> None:
    for expression in expressions():
        for opened, closed in ("()", "[]", "{}"):
            assert expression.count(opened) == expression.count(closed), expression


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    seen: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & seen, panel["title"]
        seen |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_alert_says_how_grave_it_is_and_where_to_read_on() -> None:
    headings = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ")).strip().lower().replace(" ", "-")
        for line in (DOCS / "operations.md").read_text().splitlines()
        if line.startswith("#")
    }
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning")
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md"
        assert anchor in headings, rule["alert"]
