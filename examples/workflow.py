"""An AbstractRuntime workflow whose state stays small: one process crashes half-way, another one finishes its run.

`python examples/workflow.py [URL]`; left out: an embedded engine below a temporary directory.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from abstractruntime import (
    JsonFileRunStore,
    JsonlLedgerStore,
    Runtime,
    StepPlan,
    WorkflowSpec,
    artifact_ref,
    resolve_artifact,
)

from coatcheck.integrations.abstractruntime import RuntimeArtifactStore


def workflow(artifacts: RuntimeArtifactStore, *, crash: bool) -> WorkflowSpec:
    def fetch(run: Any, _: Any) -> StepPlan:
        text = "".join(f"line {i}: all is well\n" for i in range(10_000))
        report = artifacts.store_text(text, run_id=run.run_id)
        run.vars["report"] = artifact_ref(report.artifact_id)
        return StepPlan(node_id="fetch", next_node="count")

    def count(run: Any, _: Any) -> StepPlan:
        if crash:
            os._exit(1)  # as if the machine were gone
        report = resolve_artifact(run.vars["report"], artifacts)
        return StepPlan(node_id="count", complete_output={"lines": len(report.as_text().splitlines())})

    return WorkflowSpec(workflow_id="report", entry_node="fetch", nodes={"fetch": fetch, "count": count})


def work(directory: str, url: str, run_id: str | None, *, crash: bool = False) -> None:
    """Start a run, or go on with one."""
    with RuntimeArtifactStore(url, namespace="workflow", default_ttl=86_400) as artifacts:
        runs, ledger, spec = JsonFileRunStore(directory), JsonlLedgerStore(directory), workflow(artifacts, crash=crash)
        runtime = Runtime(run_store=runs, ledger_store=ledger, artifact_store=artifacts)
        run_id = run_id or runtime.start(workflow=spec)
        state = runtime.tick(workflow=spec, run_id=run_id)
        print(f"{state.status.value}: {state.output}")
        print(f"{artifacts.delete_by_run(run_id)} artifact given up", flush=True)


def elsewhere(*args: str | None, **options: bool) -> int | None:
    process = multiprocessing.get_context("spawn").Process(target=work, args=args, kwargs=options)
    process.start()
    process.join()
    return process.exitcode


def main(url: str | None = None) -> None:
    with tempfile.TemporaryDirectory(prefix="coatcheck-") as directory:
        url = url or f"embedded://{directory}/engine"
        assert elsewhere(directory, url, None, crash=True) == 1
        [state] = Path(directory).glob("run_*.json")
        print(
            f"one process died; the state on disk has {state.stat().st_size} bytes, the report lies elsewhere",
            flush=True,
        )
        assert elsewhere(directory, url, state.stem.removeprefix("run_")) == 0


if __name__ == "__main__":
    main(*sys.argv[1:])
