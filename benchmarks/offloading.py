"""`python -m benchmarks.offloading`: an agent's state of 10 MiB, offloaded and resolved, next to plain redis-py.

Prints medians. The floor is what keeps such a state without offloading: `json.dumps` and SET, GET and `json.loads`.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from coatcheck import RedisArtifactStore
from coatcheck.offloading import offload, resolve

from .server import BenchServer, machine

ROUNDS = 15
MIB = 2**20


def state_of(seed: int) -> dict[str, Any]:
    """Forty messages, each with a tool's output of 100 to 350 KiB of text, and tables of numbers."""
    chance = random.Random(seed)
    words = [f"{chance.randrange(16**6):06x}" for _ in range(5000)]

    def text(size: int) -> str:
        return " ".join(chance.choices(words, k=size // 7))

    messages = [
        {"role": "tool", "name": f"tool{i % 5}", "content": text(chance.randrange(100_000, 350_000)), "tokens": i}
        for i in range(40)
    ]
    rows = [{"id": i, "score": chance.random(), "label": text(21)} for i in range(12_000)]
    return {"goal": text(500), "messages": messages, "scratch": {"rows": rows, "notes": [text(200) for _ in range(50)]}}


def median(work: Callable[[int], Any]) -> float:
    """Milliseconds, the first round not counted."""
    spent = []
    for number in range(ROUNDS + 1):
        began = time.perf_counter()
        work(number)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent[1:]) * 1000


def main() -> None:
    with BenchServer("valkey") as server, RedisArtifactStore(server.unix.url) as store:
        fresh = [state_of(seed) for seed in range(ROUNDS + 1)]
        client, known = server.control, fresh[0]
        whole = json.dumps(known, separators=(",", ":"))
        small = offload(known, store)
        left = json.dumps(small, separators=(",", ":"))
        assert resolve(small, store) == known
        print(f"{server.version}, unix socket; {machine()}")
        print(f"state {len(whole) / MIB:.1f} MiB, left {len(left) / 1024:.1f} KiB in {left.count('$artifact')} tickets")
        for name, work in {
            "json.dumps, SET": lambda _: client.set("whole", json.dumps(known, separators=(",", ":"))),
            "GET, json.loads": lambda _: json.loads(client.get("whole")),
            "offload, all of it new": lambda number: offload(fresh[number], store),
            "offload, all of it known": lambda _: offload(known, store),
            "resolve": lambda _: resolve(small, store),
            "offload, nothing large": lambda _: offload(known, store, threshold=None),
        }.items():
            print(f"{name:<26}{median(work):8.1f} ms")


if __name__ == "__main__":
    main()
