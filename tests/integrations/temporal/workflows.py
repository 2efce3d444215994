"""A workflow, its child and an activity that hand large values to each other. Workers load this in Temporal's sandbox."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

import coatcheck.integrations.temporal  # noqa: F401  # as a workflow's module may: no exception of the sandbox's


@activity.defn
async def double(text: str) -> str:
    return text * 2


@workflow.defn
class Child:
    @workflow.run
    async def run(self, text: str) -> str:
        return text + "child"


@workflow.defn
class Parent:
    def __init__(self) -> None:
        self.more: str | None = None

    @workflow.signal
    async def add(self, text: str) -> None:
        self.more = text

    @workflow.query
    def added(self) -> str | None:
        return self.more

    @workflow.run
    async def run(self, text: str) -> list[str]:
        doubled = await workflow.execute_activity(double, text, start_to_close_timeout=timedelta(seconds=30))
        child = await workflow.execute_child_workflow(Child.run, text, id=f"{workflow.info().workflow_id}-child")
        await workflow.wait_condition(lambda: self.more is not None)
        return [doubled, child, self.more]
