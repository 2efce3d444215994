"""Rows about many artifacts at once: batches, runs, and what the server keeps for each."""

from __future__ import annotations

from collections.abc import Iterator

from .bench import KIB, PER_RUN, Bench, lacks, measurement
from .measure import Effort, Trial, alternate
from .ours import Coatcheck
from .results import Left, Row
from .trials import deleting, deleting_floor, holding, listing, listing_floor, loading, storing

OTHERS = 1_000_000
BYTES_EACH = 1024  # of server memory for a small artifact, rounded up


def _many(bench: Bench, title: str, trials: list[Trial], limit: float, goal: str) -> Iterator[Row]:
    return bench.compare(title, trials, 1000, bench.effort(0.6, 1.5), goal=goal, limit=limit)


def _of_run(bench: Bench, title: str, trials: list[Trial], limit: float) -> Iterator[Row]:
    effort = bench.effort(0.4, 2.5 if bench.quick else 5.0)
    return bench.compare(title, trials, 10_000, effort, goal=f"≤ {limit}", limit=limit)


@measurement("store-many")
def store_many(bench: Bench) -> Iterator[Row]:
    trials = [storing(bench, one, KIB, one.store_many) for one in bench.writers() if one.store_many]
    return _many(bench, "store_many 1,000 x 1 KiB", trials, 1 / 0.9, "≤ 1.11 (0.9 x the speed)")


@measurement("load-many")
def load_many(bench: Bench) -> Iterator[Row]:
    trials = [loading(bench, one, KIB, one.load_many) for one in bench.readers() if one.load_many]
    return _many(bench, "load_many 1,000 x 1 KiB", trials, 1 / 0.8, "≤ 1.25 (0.8 x the speed)")


@measurement("list-run")
def list_by_run(bench: Bench) -> Iterator[Row]:
    trials = [listing_floor(bench), *(listing(bench, one) for one in bench.readers() if one.list_run)]
    return _of_run(bench, "list_by_run of 10,000", trials, 1.0)


@measurement("list-run-in-a-million")
def list_by_run_in_a_million(bench: Bench) -> Iterator[Row | Left]:
    """The same listing on a server that holds the run alone, and on one that holds a million other artifacts."""
    if bench.quick:
        yield Left("--quick leaves it out: a million artifacts take minutes to store")
        return
    if reason := lacks(memory=OTHERS * BYTES_EACH):
        yield Left(reason)
        return
    with bench.alone() as few, bench.alone() as many:
        populate(many.ours(), bench, OTHERS)
        trials = [listing(few, few.ours()), listing(many, many.ours())]
        trials[0].name, trials[1].name = "floor: coatcheck, without the others", few.ours().name
        timings = alternate(trials, 10_000, Effort(bench.effort(0.4).rounds, float("inf")), few.server, many.server)
        yield Row(f"list_by_run of 10,000 beside {OTHERS:,} other artifacts", timings, "0.9 to 1.1", 1.1)


@measurement("stats")
def stats(bench: Bench) -> Iterator[Row]:
    """Of a store that holds nothing else."""
    with bench.alone() as alone:
        ours = alone.ours()
        trial = loading(alone, ours, 64, ours.count)
        trial.check = lambda batch, count: holding(count, len(batch.contents))
        yield from _of_run(alone, "stats of 10,000", [listing_floor(alone), trial], 0.35)


@measurement("delete-run")
def delete_by_run(bench: Bench) -> Iterator[Row]:
    trials = [deleting_floor(bench), *(deleting(bench, one) for one in bench.writers() if one.delete_run)]
    return _of_run(bench, "delete_by_run of 10,000", trials, 3.0)


@measurement("server-memory")
def server_memory(bench: Bench) -> Iterator[Row]:
    """What the server keeps for one artifact besides its content: keys, tables, indexes, expiries, everything."""
    count = 20_000
    sizes = {}
    for candidate in bench.writers():
        if not candidate.has_layout:
            continue
        candidate.fill(bench.batch(KIB, 1))  # what is there once is not counted
        bench.server.clear()
        before = bench.server.used_memory()
        for _ in range(count // PER_RUN):
            candidate.fill(bench.batch(KIB, PER_RUN))
        sizes[candidate.name] = (bench.server.used_memory() - before) / count - KIB
        bench.server.clear()
    yield Row("server memory of 1 KiB, besides the content", goal="≤ 560 B", limit=560, sizes=sizes)


def populate(store: Coatcheck, bench: Bench, count: int) -> None:
    """Store small artifacts of many runs."""
    for _ in range(0, count, PER_RUN):
        store.store_many(bench.batch(64, PER_RUN))
