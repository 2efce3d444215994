"""What indexes by label cost and give: `python -m benchmarks.labels [artifacts]`."""

from __future__ import annotations

import hashlib
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from redis import Redis

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


def stored(stores: Mapping[str, tuple[RedisArtifactStore, Redis]], rounds: int = 200) -> dict[str, float]:
    """Server time of a single new store in us: the least of some rounds, which take turns as the machine is shared."""
    least = dict.fromkeys(stores, math.inf)
    for n in range(rounds):
        for name, (store, client) in stores.items():
            client.config_resetstat()
            for i in range(20):
                tags = {"kind": f"kind-{i % TAGS}", "step": str(i % 7)}
                store.store(b"%d %d" % (n, i), run_id="one", content_type="text/plain", tags=tags, ttl=86_400)
            least[name] = min(least[name], client.info("commandstats")["cmdstat_evalsha"]["usec"] / 20)
    return least


def asked(store: RedisArtifactStore, client: Redis, rounds: int) -> None:
    """Print what lists and counts take."""
    print("  ping", timed(client.ping))
    print("  first 100", timed(lambda: store.page(limit=100)))
    print("  first 100 by tag", timed(lambda: store.page(tags={"kind": "kind-3"}, limit=100), rounds))
    print("  count by tag", timed(lambda: store.count(tags={"kind": "kind-3"}), rounds))
    print("  facets of the tag", timed(lambda: store.facets("tag:kind"), rounds))
    print("  facets of the type", timed(lambda: store.facets("content_type"), rounds))
    print("  a value that is not there", timed(lambda: store.page(tags={"kind": "none"}, limit=100), rounds))


def layouts(binary: Path, count: int) -> None:
    """Print what other layouts would cost for one field: bytes and server time an artifact, the least of a thousand."""
    shapes: dict[str, Callable[[int, bytes], list[tuple]]] = {
        "a pair of sorted sets for each value": lambda n, member: [
            ("ZADD", f"c:{n % TAGS}", 1.7e15 + n, member),
            ("ZADD", f"d:{n % TAGS}", 1.7e12 + n // 10, member),
        ],
        "one by time of store for each value": lambda n, member: [("ZADD", f"c:{n % TAGS}", 1.7e15 + n, member)],
        "a set for each value": lambda n, member: [("SADD", f"s:{n % TAGS}", member)],
        "one sorted set of values and ids": lambda n, member: [("ZADD", "v", 0, b"kind-%d\0" % (n % TAGS) + member)],
    }
    for name, shape in shapes.items():
        with Server(binary) as server:
            client = server.client()
            before, least = client.info("memory")["used_memory"], math.inf
            for start in range(0, count, 1000):
                pipe = client.pipeline(transaction=False)
                for n in range(start, start + 1000):
                    for command in shape(n, hashlib.sha256(b"%d" % n).digest()[:16]):
                        pipe.execute_command(*command)
                client.config_resetstat()
                pipe.execute()
                stats = client.info("commandstats")
                spent = sum(stats[one]["usec"] for one in ("cmdstat_zadd", "cmdstat_sadd") if one in stats)
                least = min(least, spent / 1000)
            grown = client.info("memory")["used_memory"] - before
            print(f"layout: {name}: {grown / count:.0f} B, {least:.2f} us", flush=True)


def main(count: int) -> None:
    """Print for each setting bytes and server time of a store, then what lists and counts take, and other layouts."""
    [engine] = [engine for engine in ENGINES if engine.name == "valkey"]
    with ExitStack() as opened:
        stores: dict[str, tuple[RedisArtifactStore, Redis]] = {}
        sizes = {}
        for name, options in SETTINGS.items():
            server = opened.enter_context(Server(engine.find()))
            store = opened.enter_context(RedisArtifactStore(server.url, **options))
            stores[name] = store, server.client()
            fill(store, 0, count)
            sizes[name] = stores[name][1].info("memory")["used_memory"] / count
        spent = stored(stores)
        for name in SETTINGS:
            more = f"+{sizes[name] - sizes['nothing']:.0f} B, +{spent[name] - spent['nothing']:.1f} us"
            print(f"{name}: {sizes[name]:.0f} B, a store {spent[name]:.1f} us of the server; {more}", flush=True)
        for name in ("nothing", "2 tags, type"):
            print(name)
            asked(*stores[name], rounds=15 if SETTINGS[name] else 3)
    layouts(engine.find(), count)
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
