"""Rows about many artifacts at once: batches, runs, and what the server keeps for each."""

from __future__ import annotations

from .bench import KIB, PER_RUN, Bench, Found, lacks, measurement, row
from .measure import Effort, alternate
from .ours import Coatcheck
from .results import Left, Row
from .trials import deleting, deleting_floor, listing, listing_floor, loading, storing

OTHERS = 1_000_000
BYTES_EACH = 1024  # of server memory for a small artifact, rounded up


@row("store-many")
def store_many(bench: Bench) -> Row:
    trials = [storing(bench, one, KIB, one.store_many) for one in bench.writers() if one.store_many]
    about = {"goal": "≤ 2.0 (half the speed)", "limit": 2.0, "as_batch": True}
    return bench.compare("store-many", "store_many 1,000 x 1 KiB", trials, 1000, bench.effort(0.6, 1.5), **about)


@row("load-many")
def load_many(bench: Bench) -> Row:
    trials = [loading(bench, one, KIB, one.load_many) for one in bench.readers() if one.load_many]
    about = {"goal": "≤ 1.43 (0.7 x the speed)", "limit": 1 / 0.7, "as_batch": True}
    return bench.compare("load-many", "load_many 1,000 x 1 KiB", trials, 1000, bench.effort(0.6, 1.5), **about)


@row("list-run")
def list_by_run(bench: Bench) -> Row:
    trials = [listing_floor(bench), *(listing(bench, one) for one in bench.readers() if one.list_run)]
    about = {"goal": "≤ 1.5", "limit": 1.5, "as_batch": True}
    return bench.compare(
        "list-run", "list_by_run of 10,000", trials, 10_000, bench.effort(0.4, 2.5 if bench.quick else 5.0), **about
    )


@measurement("list-run-in-a-million")
def list_by_run_in_a_million(bench: Bench) -> Found:
    """The same listing on a server that holds the run alone, and on one that holds a million other artifacts."""
    name, title = "list-run-in-a-million", f"list_by_run of 10,000 beside {OTHERS:,} other artifacts"
    if bench.quick:
        yield Left(name, "--quick leaves it out: a million artifacts take minutes to store")
        return
    if reason := lacks(memory=OTHERS * BYTES_EACH):
        yield Left(name, reason)
        return
    with bench.alone() as few, bench.alone() as many:
        populate(many.ours(), bench, OTHERS)
        trials = [listing(few, few.ours()), listing(many, many.ours())]
        trials[0].name, trials[1].name = "floor: coatcheck, without the others", few.ours().name
        timings = alternate(trials, 10_000, Effort(bench.effort(0.4).rounds, float("inf")), few.server, many.server)
        without = [one.name for one in bench.writers()[1:] if one is not bench.ours()]
        yield Row(name, title, timings, "0.9 to 1.1", 1.1, without=without, as_batch=True)


@row("delete-run")
def delete_by_run(bench: Bench) -> Row:
    trials = [deleting_floor(bench), *(deleting(bench, one) for one in bench.writers() if one.delete_run)]
    about = {"goal": "≤ 3.0", "limit": 3.0, "as_batch": True}
    return bench.compare(
        "delete-run", "delete_by_run of 10,000", trials, 10_000, bench.effort(0.4, 2.5 if bench.quick else 5.0), **about
    )


@row("server-memory")
def server_memory(bench: Bench) -> Row:
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
    title = "server memory of 1 KiB, besides the content"
    without = [one.name for one in bench.writers() if one.name not in sizes]
    return Row("server-memory", title, goal="≤ 600 B", limit=600, sizes=sizes, without=without)


def populate(store: Coatcheck, bench: Bench, count: int) -> None:
    """Store small artifacts of many runs."""
    for _ in range(0, count, PER_RUN):
        store.store_many(bench.batch(64, PER_RUN))
