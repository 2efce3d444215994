"""An agent whose state stays small: tools hand in what is large, the model sees previews, one tool gets it all again.

`python examples/agent.py [URL]`. The model is a few lines that choose as one might; everything else is as in earnest.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from coatcheck import AsyncArtifactStore, aopen_store, get_artifact_id, is_artifact_ref
from coatcheck.offloading import aoffload, aresolve, offloads, resolves

RUN = "agent-1"
LARGEST_STATE = 6_000  # bytes

Tool = Callable[..., Awaitable[Any]]


async def fetch(page: int) -> dict[str, Any]:
    """A page of a few hundred KiB."""
    words = random.Random(page).choices(["tickets", "coats", "hooks", "tokens", "counters"], k=50_000)
    return {"url": f"https://example.org/{page}", "title": f"Page {page}", "text": " ".join(words)}


async def screenshot(page: int) -> bytes:
    """An image that no state should carry."""
    return random.Random(-page).randbytes(300_000)


async def count(pages: list[dict[str, Any]], word: str) -> dict[str, int]:
    """How often a word occurs: it needs the whole text of every page."""
    return {page["title"]: page["text"].split().count(word) for page in pages}


def model(history: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Which tools to call next, and with what, judging by what it sees: tickets and their previews."""
    if not history:
        return [("fetch", {"page": page}) for page in range(8)] + [("screenshot", {"page": 0})]
    pages = [step["output"] for step in history if step["tool"] == "fetch"]
    seen = [page for page in pages if "coats" in page["text"]["preview"]]
    return [] if history[-1]["tool"] == "count" else [("count", {"pages": seen, "word": "coats"})]


async def work(store: AsyncArtifactStore) -> str:
    """Let the model call tools until it wants no more; its last state as JSON."""
    large = offloads(store, threshold=4_000, preview=60, run_id=RUN, ttl=3600)
    tools: dict[str, Tool] = {"fetch": large(fetch), "screenshot": large(screenshot), "count": resolves(store)(count)}
    history: list[dict[str, Any]] = []
    while calls := model(history):
        outputs = await asyncio.gather(*(tools[name](**arguments) for name, arguments in calls))
        history += [{"tool": name, "output": out} for (name, _), out in zip(calls, outputs, strict=True)]
        state = json.dumps(await aoffload(history, store, total=LARGEST_STATE, run_id=RUN, ttl=3600, again=True))
        print(f"{len(calls)} calls, state of {len(state):,} bytes")
    return state


async def main(url: str) -> None:
    async with await aopen_store(url) as store:
        state = json.loads(await work(store))
        whole = await aresolve(state, store)  # as another process would, with nothing but the state
        print(f"whole: {len(repr(whole)):,} characters; {whole[-1]['output']}")
        shot = next(step["output"] for step in state if step["tool"] == "screenshot")
        assert is_artifact_ref(shot), "the image lies in the store"
        assert whole[8]["output"] == (await store.load_many([get_artifact_id(shot)]))[0].content  # type: ignore[union-attr]
        print(f"{await store.delete_by_run(RUN)} artifacts given up")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:] or ["memory://"]))
