"""What indexes by label cost and give: `python -m benchmarks.labels [artifacts]`."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from coatcheck import ANY, RedisArtifactStore
from coatcheck.testing import ENGINES, Server

TAGS = 20  # values of the tag
SETTINGS: dict[str, dict] = {
    "nothing": {},
    "1 tag": {"index_tags": ("kind",)},
    "2 tags": {"index_tags": ("kind", "step")},
    "2 tags, type": {"index_tags": ("kind", "step"), "index_content_type": True},
}


def fill(store: RedisArtifactStore, first: int, count: int) -> None:
    """Store new contents in batches of one run, kind and step."""
    for start in range(first, first + count, 100):
        tags = {"kind": f"kind-{start // 100 % TAGS}", "step": str(start // 100 % 7)}
        if start % 10_000 == 0:
            tags["shared"] = "true"
        items = [b"%08d" % i * 16 for i in range(start, start + 100)]
        store.store_many(items, run_id=f"run-{start // 1000}", content_type="text/plain", tags=tags, ttl=86_400)


def timed(call: Callable[[], object], rounds: int = 15) -> str:
    """Least and median time in ms."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return f"{min(times):.2f} {statistics.median(times):.2f}"


def main(count: int) -> None:
    """Print a table: for each setting bytes and server time of a store, then what lists and counts take."""
    [engine] = [engine for engine in ENGINES if engine.name == "valkey"]
    for name, options in SETTINGS.items():
        with Server(engine.find()) as server, RedisArtifactStore(server.url, **options) as store:
            client = server.client()
            fill(store, 0, count)
            bytes_each = client.info("memory")["used_memory"] / count
            single = []
            for n in range(20):
                client.config_resetstat()
                for i in range(100):
                    tags = {"kind": f"kind-{i % TAGS}", "step": str(i % 7)}
                    store.store(b"%d %d" % (n, i), run_id="one", content_type="text/plain", tags=tags, ttl=86_400)
                stats = client.info("commandstats")
                single.append(stats["cmdstat_evalsha"]["usec"] / 100)
            least, median = min(single), statistics.median(single)
            print(f"{name}: {bytes_each:.0f} B, a store {least:.1f} {median:.1f} us of the server")
            if name in ("nothing", "2 tags, type"):
                rounds = 15 if options else 3
                print("  ping", timed(client.ping))
                print("  first 100 by tag", timed(lambda: store.page(tags={"kind": "kind-3"}, limit=100), rounds))
                print("  count by tag", timed(lambda: store.count(tags={"kind": "kind-3"}), rounds))
                print("  facets of the tag", timed(lambda: store.facets("tag:kind"), rounds))
                print("  facets of the type", timed(lambda: store.facets("content_type"), rounds))
                print(
                    "  a value that is not there", timed(lambda: store.page(tags={"kind": "none"}, limit=100), rounds)
                )
    with (
        Server(engine.find()) as server,
        RedisArtifactStore(server.url, index_tags=("kind",), index_presence=("shared",)) as store,
    ):
        fill(store, 0, 20_000)
        print("of 20,000:")
        print("  search(tags={'shared': ANY})", timed(lambda: store.search(tags={"shared": ANY}, limit=0)))
        print("  search of 1,000 by tag", timed(lambda: store.search(tags={"kind": "kind-3"}, limit=0)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
