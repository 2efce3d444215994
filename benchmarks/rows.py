"""Rows about one artifact at a time, as bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from .bench import KIB, MIB, PER_RUN, Bench, measurement
from .candidates import Batch, Candidate
from .measure import Trial
from .ours import Coatcheck
from .page import as_bytes
from .results import Row
from .trials import loading, same, storing

LIMITS = {
    "store-1k": 1.0,
    "load-1k": 0.8,
    "store-100k": 1.0,
    "load-100k": 0.9,
    "store-10m": 0.95,
    "load-10m": 0.8,
    "async-store-1k": 1.1,
    "async-load-1k": 0.9,
}  # times the floor
SIZES = {"1k": (KIB, PER_RUN), "100k": (100 * KIB, 40), "10m": (10 * MIB, 3)}  # bytes, operations
MORE = {"store-1k": " with run, tags and TTL", "load-1k": " with its metadata"}


def _add_row(work: str, size: str, *, awaited: bool = False) -> None:
    length, ops = SIZES[size]
    name = f"{work}-{size}"

    def measure(bench: Bench) -> Iterator[Row]:
        many = bench.awaited if awaited else bench.writers() if work == "store" else bench.readers()
        kind = storing if work == "store" else loading
        trials = [kind(bench, one, length, getattr(one, work)) for one in many]
        title = f"await {work} {as_bytes(length)}" if awaited else f"{work} {as_bytes(length)}{MORE.get(name, '')}"
        limit = LIMITS.get(part)
        return bench.compare(title, trials, ops, goal="" if limit is None else f"≤ {limit}", limit=limit)

    part = f"async-{name}" if awaited else name
    measurement(part)(measure)


for _size in SIZES:
    _add_row("store", _size)
    _add_row("load", _size)


@measurement("store-10m-again")
def store_10_mib_again(bench: Bench) -> Iterator[Row]:
    """Another run stores what is there: nothing but the hash and the lease should remain to do."""

    def floor_run(batch: Batch) -> None:
        for content in batch.contents:
            key = hashlib.sha256(content).hexdigest()
            bench.floor.client.exists(key)
            bench.floor.client.exists(key)

    def prepare(candidate: Candidate, ops: int) -> tuple[Batch, Batch]:
        first = bench.batch(10 * MIB, ops)
        candidate.fill(first)
        return first, Batch(first.contents, bench.run_id())

    def clean(candidate: Candidate, batches: tuple[Batch, Batch]) -> None:
        for batch in batches:
            if batch.keys:
                candidate.forget(batch)

    def storing_again(candidate: Candidate) -> Trial:
        return Trial(
            candidate.name,
            lambda ops: prepare(candidate, ops),
            lambda batches: candidate.store(batches[1]),
            lambda batches: clean(candidate, batches),
        )

    ours = bench.ours()
    batches = prepare(ours, 1)
    ours.store(Batch(batches[0].contents, batches[0].run))  # from here on the server has all scripts
    sent = bench.server.bytes_of("input", lambda: ours.store(batches[1]))
    clean(ours, batches)
    fact = f"coatcheck sent the server {sent:,} bytes for one store"
    floor = Trial("floor: SHA-256 + two small round trips", lambda ops: bench.batch(10 * MIB, ops), floor_run)
    trials = [floor, *(storing_again(one) for one in bench.writers()[1:])]
    title = "store 10 MiB that another run has stored"
    return bench.compare(title, trials, 3, goal="≤ 1.0", limit=1.0, fact=fact)


@measurement("load-10m-cached")
def load_10_mib_cached(bench: Bench) -> Iterator[Row]:
    """From the content cache: the server is asked whether the artifact is there, and sends no content."""
    cached = Coatcheck(bench.endpoint, cache_size=64 * MIB)
    batch, small = bench.batch(10 * MIB, 1), bench.batch(100, 1)
    try:
        cached.store(batch)
        same(cached.load(batch), batch.contents)
        bench.floor.store(small)
        received = bench.server.bytes_of("output", lambda: cached.load(batch))

        def get_small(ops: int) -> None:
            for _ in range(ops):
                bench.floor.client.get(small.keys[0])

        def load_cached(ops: int) -> None:
            for _ in range(ops):
                cached.load(batch)

        trials = [
            Trial("floor: one GET of 100 bytes", lambda ops: ops, get_small),
            Trial(cached.name, lambda ops: ops, load_cached),
        ]
        fact = f"the server sent {received:,} bytes for one load"
        title = "load 10 MiB from the content cache"
        yield from bench.compare(title, trials, PER_RUN, goal="≤ 1.3", limit=1.3, fact=fact)
    finally:
        cached.forget(batch)
        bench.floor.forget(small)
        cached.close()


for _size in ("1k", "10m"):
    _add_row("store", _size, awaited=True)
    _add_row("load", _size, awaited=True)
