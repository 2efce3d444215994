"""Rows about one artifact at a time, as bytes."""

from __future__ import annotations

import hashlib

from .bench import KIB, MIB, PER_RUN, Bench, row
from .candidates import Batch, Candidate
from .measure import Trial
from .ours import Coatcheck
from .results import Row
from .trials import loading, same, storing


def _store_row(bench: Bench, name: str, title: str, limit: float, size: int, ops: int) -> Row:
    trials = [storing(bench, one, size, one.store) for one in bench.writers()]
    return bench.compare(name, f"store {title}", trials, ops, goal=f"≤ {limit}", limit=limit)


def _load_row(bench: Bench, name: str, title: str, limit: float, size: int, ops: int) -> Row:
    trials = [loading(bench, one, size, one.load) for one in bench.readers()]
    return bench.compare(name, f"load {title}", trials, ops, goal=f"≤ {limit}", limit=limit)


@row("store-1k")
def store_1_kib(bench: Bench) -> Row:
    return _store_row(bench, "store-1k", "1 KiB with run, tags and TTL", 1.0, KIB, PER_RUN)


@row("load-1k")
def load_1_kib(bench: Bench) -> Row:
    return _load_row(bench, "load-1k", "1 KiB with its metadata", 1.0, KIB, PER_RUN)


@row("store-100k")
def store_100_kib(bench: Bench) -> Row:
    return _store_row(bench, "store-100k", "100 KiB", 1.1, 100 * KIB, 40)


@row("load-100k")
def load_100_kib(bench: Bench) -> Row:
    return _load_row(bench, "load-100k", "100 KiB", 1.1, 100 * KIB, 40)


@row("store-10m")
def store_10_mib(bench: Bench) -> Row:
    return _store_row(bench, "store-10m", "10 MiB", 1.1, 10 * MIB, 3)


@row("load-10m")
def load_10_mib(bench: Bench) -> Row:
    return _load_row(bench, "load-10m", "10 MiB", 1.1, 10 * MIB, 3)


@row("store-10m-again")
def store_10_mib_again(bench: Bench) -> Row:
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
    sent = bench.server.bytes_received(lambda: ours.store(batches[1]))
    clean(ours, batches)
    facts = [f"coatcheck sent the server {sent:,} bytes for one store"]
    floor = Trial("floor: SHA-256 + two small round trips", lambda ops: bench.batch(10 * MIB, ops), floor_run)
    trials = [floor, *(storing_again(one) for one in bench.writers()[1:])]
    title = "store 10 MiB that another run has stored"
    return bench.compare("store-10m-again", title, trials, 3, goal="≤ 1.0", limit=1.0, facts=facts)


@row("load-10m-cached")
def load_10_mib_cached(bench: Bench) -> Row:
    """From the content cache: the server is asked whether the artifact is there, and sends no content."""
    cached = Coatcheck(bench.endpoint, cache_size=64 * MIB)
    batch, small = bench.batch(10 * MIB, 1), bench.batch(100, 1)
    try:
        cached.store(batch)
        same(cached.load(batch), batch.contents)
        bench.floor.store(small)
        received = bench.server.bytes_sent(lambda: cached.load(batch))

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
        facts = [f"the server sent {received:,} bytes for one load"]
        title = "load 10 MiB from the content cache"
        return bench.compare("load-10m-cached", title, trials, PER_RUN, goal="≤ 1.3", limit=1.3, facts=facts)
    finally:
        cached.forget(batch)
        bench.floor.forget(small)
        cached.close()


def _await_row(bench: Bench, name: str, title: str, size: int, ops: int) -> Row:
    kind = storing if "store" in name else loading
    trials = [kind(bench, one, size, one.store if kind is storing else one.load) for one in bench.awaited]
    return bench.compare(name, title, trials, ops)


@row("async-store-1k")
def async_store_1_kib(bench: Bench) -> Row:
    return _await_row(bench, "async-store-1k", "await store 1 KiB", KIB, PER_RUN)


@row("async-load-1k")
def async_load_1_kib(bench: Bench) -> Row:
    return _await_row(bench, "async-load-1k", "await load 1 KiB", KIB, PER_RUN)


@row("async-store-10m")
def async_store_10_mib(bench: Bench) -> Row:
    return _await_row(bench, "async-store-10m", "await store 10 MiB", 10 * MIB, 3)


@row("async-load-10m")
def async_load_10_mib(bench: Bench) -> Row:
    return _await_row(bench, "async-load-10m", "await load 10 MiB", 10 * MIB, 3)
