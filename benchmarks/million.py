"""What finding, counting and cleaning up take in a store of a million, and what others notice of it.

    python -m benchmarks.scale million --artifacts 1000000
    python -m benchmarks.scale storm --artifacts 1000000

Each row is measured once or some times on one server, after the store was filled by `store_many`. Meanwhile another
process loads 1 KiB every two milliseconds: its p99.9 is beside each row. A million artifacts of 64 bytes take about a
gigabyte of memory.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import NamedTuple

from coatcheck import RedisArtifactStore

from .server import BenchServer

RUNS = 2000
TYPES = ("application/pdf", "application/json", "image/png", "text/plain", "text/html")
BATCH = 1000


class Row(NamedTuple):
    """What is measured: its goal in words, how often, and what its artifacts come to where a rate is asked for."""

    name: str
    goal: str
    call: Callable[[], object]
    rounds: int = 1
    rate_of: int = 0


def fill(store: RedisArtifactStore, count: int) -> tuple[float, datetime]:
    """Store so many small artifacts, of 2,000 runs, five types and three tags; how many a second, and when half was.

    The time is the server's.
    """
    began, middle = time.perf_counter(), datetime.now(UTC)
    for start in range(0, count, BATCH):
        number = start // BATCH
        views = store.store_many(
            [b"%d" % n + os.urandom(56) for n in range(start, min(start + BATCH, count))],
            run_id=f"run-{number % RUNS:04}",
            content_type=TYPES[number % len(TYPES)],
            tags={"step": f"step-{number % 7}", "kind": f"kind-{number % 3}", "batch": str(number)},
            ttl=86_400,
        )
        if start <= count // 2:
            middle = views[0].created
    return count / (time.perf_counter() - began), middle


def _neighbour(url: str, pipe: Connection) -> None:
    """Load 1 KiB again and again; tell what each load took, whenever asked."""
    with RedisArtifactStore(url, namespace="neighbour") as store:
        one = store.store(os.urandom(1024))
        taken: list[float] = []
        while True:
            if pipe.poll():
                if pipe.recv() is None:
                    return
                pipe.send(taken)
                taken = []
            began = time.perf_counter()
            store.load(one)
            taken.append(time.perf_counter() - began)
            time.sleep(0.002)


@contextmanager
def neighbour(url: str) -> Iterator[Callable[[], float]]:
    """Another client; the p99.9 in ms of its loads since it was asked before."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_neighbour, args=(url, there), daemon=True)
    process.start()

    def asked() -> float:
        here.send(0)
        taken = sorted(here.recv())
        return 1000 * taken[min(len(taken) - 1, int(0.999 * len(taken)))] if taken else 0.0

    try:
        yield asked
    finally:
        here.send(None)
        process.join()


def rows(store: RedisArtifactStore, count: int, middle: datetime) -> list[Row]:
    """All that is measured; what removes comes last. `middle`: before it half of them were stored."""
    newest = "≤ 10 x PING"
    after = store.page().next

    def scanned() -> None:
        assert store.count(tags={"batch": "none"}) == 0

    def stepped() -> None:
        assert sum(1 for _ in store.iter_artifacts(tags={"batch": "7"})) <= BATCH

    return [
        Row("first page of 100 newest", newest, lambda: store.page(limit=100), 50),
        Row("second page", newest, lambda: store.page(limit=100, after=after), 50),
        Row("page of 100 before a time", newest, lambda: store.page(limit=100, created_before=middle), 3),
        Row("page of a run", newest, lambda: store.page(limit=100, run_id="run-0007"), 20),
        Row("page_runs, first", newest, store.page_runs, 50),
        Row("list_runs of all", "", store.list_runs, 5),
        Row("list_by_run", "", lambda: store.list_by_run("run-0007"), 10),
        Row("run_stats", "", lambda: store.run_stats("run-0007"), 10),
        Row("count of all", "≤ 20 ms", store.count, 20),
        Row("count by a tag without index", "≥ 100,000/s", scanned, 1, count),
        Row("iter_artifacts by such a tag", "≥ 100,000/s", stepped, 1, count),
        Row("facets of a content type", "", lambda: store.facets("content_type"), 1, count),
        Row("stats", "≤ 1.5 s at 10⁶", store.stats, 1, count),
        Row("gc", "≤ 30 s at 10⁶", lambda: store.gc(dry_run=False), 1, count),
        Row("check", "≤ 30 s at 10⁶", store.check, 1, count),
        Row("check(read_data=True)", "≥ 20,000/s", lambda: store.check(read_data=True), 1, count),
        Row("expire_run", "", lambda: store.expire_run("run-0008", 3600), 1, max(BATCH, count // RUNS)),
        Row("delete_by_run", "", lambda: store.delete_by_run("run-0009"), 1, max(BATCH, count // RUNS)),
        Row(
            "delete_where of a tag",
            "",
            lambda: store.delete_where(dry_run=False, tags={"kind": "kind-1"}),
            1,
            count // 3,
        ),
    ]


def storm(store: RedisArtifactStore, server: BenchServer, count: int, rate: float, others: Callable[[], float]) -> None:
    """Let some end in one second, and print what becomes of lists, memory and others while eight threads store."""
    ends = time.time() + 5 + 2 * count / rate
    before = server.used_memory()
    for start in range(0, count, BATCH):
        contents = [os.urandom(64) for _ in range(min(BATCH, count - start))]
        store.store_many(contents, run_id="storm", ttl=max(0.5, ends - time.time()))
    held = server.used_memory() - before
    time.sleep(max(0.0, ends - time.time()))
    others()
    stored = [0] * 8

    def traffic(number: int, until: float) -> None:
        while time.time() < until:  # what others store drops what has ended
            store.store(b"%d: %d" % (number, stored[number] % 100), run_id="traffic", ttl=60)
            stored[number] += 1

    for seconds in (0, 1, 9):
        with ThreadPoolExecutor(len(stored)) as threads:
            for number in range(len(stored)):
                threads.submit(traffic, number, time.time() + seconds)
        began = time.perf_counter()
        store.page(limit=100)
        page = 1000 * (time.perf_counter() - began)
        left = server.control.info("memory")["used_memory"] - before
        print(
            f"storm of {count:,}, {seconds} s later | {sum(stored):,} stored | page {page:.1f} ms | "
            f"{left / held:.0%} of its memory | others {others():.1f} ms",
            flush=True,
        )


def measure(server: BenchServer, count: int) -> None:
    """Fill, and print a line for each row."""
    with RedisArtifactStore(server.url) as store, neighbour(server.url) as others:
        print(f"{server.version}, {count:,} artifacts, load {os.getloadavg()[0]:.1f}")
        rate, middle = fill(store, count)
        print(f"filled at {rate:,.0f}/s, {server.used_memory() / count:,.0f} bytes each", flush=True)
        pings = [_timed(server.control.ping) for _ in range(500)]
        print(f"PING {1000 * statistics.median(pings):.3f} ms | others, quiet: {others():.1f} ms")
        print("what | goal | ms: min, median, max | server CPU ms | a second | others' p99.9 ms")
        for row in rows(store, count, middle):
            row.call() if row.rounds > 1 else None  # once before: the server knows the scripts
            others()
            cpu, taken = server.cpu_seconds(), sorted(_timed(row.call) for _ in range(row.rounds))
            cpu = (server.cpu_seconds() - cpu) / row.rounds
            times = ", ".join(f"{1000 * one:,.2f}" for one in (taken[0], statistics.median(taken), taken[-1]))
            rate = f"{row.rate_of / taken[0]:,.0f}" if row.rate_of else ""
            print(f"{row.name} | {row.goal} | {times} | {1000 * cpu:,.2f} | {rate} | {others():.1f}", flush=True)


def measure_storm(server: BenchServer, count: int) -> None:
    """Fill, then let a fifth as many end in one second."""
    with RedisArtifactStore(server.url) as store, neighbour(server.url) as others:
        print(f"{server.version}, {count:,} artifacts, load {os.getloadavg()[0]:.1f}")
        rate, _ = fill(store, count)
        print(f"filled at {rate:,.0f}/s; others, quiet: {others():.1f} ms", flush=True)
        storm(store, server, count // 5, rate, others)


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
