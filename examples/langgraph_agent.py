"""A LangGraph agent that waits for somebody's approval, in a store, and goes on from there: elsewhere, or another day.

`pip install langgraph 'coatcheck[langgraph]'`, then `python examples/langgraph_agent.py [URL]`. It needs no model.
"""

from __future__ import annotations

import random
import sys
from operator import add
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import CachePolicy, Command, interrupt

from coatcheck import open_store
from coatcheck.integrations.langgraph import CoatcheckCache, CoatcheckSaver

THREAD = {"configurable": {"thread_id": "customer-17"}}


class State(TypedDict, total=False):
    wanted: int
    pages: Annotated[list[str], add]
    approved: bool
    report: str


def fetch(state: State) -> State:
    """A page of some hundred KiB; the same number is the same page."""
    words = random.Random(len(state.get("pages", []))).choices(["tickets", "coats", "hooks"], k=50_000)
    return {"pages": [" ".join(words)]}


def model(state: State) -> str:
    """Which node comes next."""
    return "fetch" if len(state["pages"]) < state["wanted"] else "approve"


def approve(state: State) -> State:
    """Somebody has to agree, perhaps tomorrow, perhaps on another machine."""
    return {"approved": interrupt(f"read {sum(map(len, state['pages'])):,} characters?")}


def report(state: State) -> State:
    """What it was all about."""
    coats = sum(page.split().count("coats") for page in state["pages"])
    return {"report": f"{coats:,} coats" if state["approved"] else "nothing"}


def agent(**options: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node(fetch, cache_policy=CachePolicy(ttl=600)).add_node(approve).add_node(report)
    builder.add_edge(START, "fetch").add_conditional_edges("fetch", model).add_edge("approve", "report").add_edge(
        "report", END
    )
    return builder.compile(**options)


def main(url: str | None = None) -> None:
    with CoatcheckSaver(url, namespace="agents", ttl=24 * 3600) as saver:
        cache = CoatcheckCache[Any](url, namespace="agents")
        print(agent(checkpointer=saver, cache=cache).invoke({"wanted": 3}, THREAD)["__interrupt__"][0].value)
        cache.close()
    with CoatcheckSaver(url, namespace="agents", ttl=24 * 3600) as saver:  # as another process would
        graph = agent(checkpointer=saver)
        print(graph.invoke(Command(resume=True), THREAD)["report"])
        print(f"{len(list(graph.get_state_history(THREAD)))} checkpoints")
        with open_store(url, namespace="agents") as store:
            print(f"{store.delete_by_run('customer-17')} artifacts given up")


if __name__ == "__main__":
    main(*sys.argv[1:])
