"""LangGraph's own tests of checkpointers, over `CoatcheckSaver` on a server, a cluster, files and memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES

from coatcheck.integrations.langgraph import CoatcheckSaver


@pytest.fixture(params=["valkey", "valkey_cluster", "file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file://{tmp_path}"
    return "memory://" if request.param == "memory" else request.getfixturevalue(request.param).url


def test_conformance(place: str, namespace: str) -> None:
    @checkpointer_test(name="CoatcheckSaver")
    async def ours():
        async with CoatcheckSaver(place, **({} if place == "memory://" else {"namespace": namespace})) as saver:
            yield saver

    report = asyncio.run(validate(ours))
    failures = [failure for result in report.results.values() for failure in result.failures]
    assert not failures
    assert {name for name, result in report.results.items() if result.passed} == {one.value for one in ALL_CAPABILITIES}
    assert sum(result.tests_passed for result in report.results.values()) >= 80
