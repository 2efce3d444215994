"""How cost grows: with the artifacts in a store, with those in a run, with content, and with the runs that share it.

Each curve has a server of its own. `--quick` ends early; what this machine has no room for is named, not dropped.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence

from .batches import BYTES_EACH, populate
from .bench import KIB, MIB, PER_RUN, Bench, Found, lacks, measurement, noise_file
from .candidates import Batch
from .large import loading_file, storing_file
from .measure import Effort, Trial, alternate
from .results import Left, Point
from .trials import deleting, deleting_floor, listing, listing_floor, loading, same, storing

ARTIFACTS = tuple(10**n for n in range(3, 7))
IN_RUN = tuple(10**n for n in range(6))
SIZES = tuple(KIB * 4**n for n in range(11))
SHARERS = tuple(10**n for n in range(5))
ENOUGH = 1_000  # of something, that its memory stands out from that of the server itself
IN_MEMORY = 64 * MIB  # larger contents are stored from files only


class Curve:
    """One curve: which of its points can be measured here, and how a point is measured."""

    def __init__(self, bench: Bench, name: str, title: str, axis: str) -> None:
        self.bench, self.name = bench, name
        self._about = (name, title, axis)

    def steps(self, steps: Sequence[int], quick: int, needs: Callable[[int], tuple[int, int]]) -> Found | Iterator[int]:
        """The steps that can be done, up to `quick` in quick runs; `needs`: bytes of memory and disk for a step."""
        for x in steps:
            if self.bench.quick and x > quick:
                yield Left(self.name, f"--quick ends at {quick:,}, {x:,} is left out")
            elif reason := lacks(*needs(x)):
                yield Left(self.name, f"{x:,} {reason}")
            else:
                yield x

    def cost(self, x: int, work: str, trials: Sequence[Trial], ops: int, effort: Effort | None = None) -> Point:
        """A point about time."""
        effort = effort or self.bench.effort(0.6)
        return Point(*self._about, x, work, alternate(trials, ops, effort, self.bench.server))

    def size(self, x: int, work: str, size: float) -> Point:
        """A point about bytes."""
        return Point(*self._about, x, work, size=size)


@measurement("growth-artifacts")
def growth_by_artifacts(parent: Bench) -> Found:
    """Small calls while the store fills up."""
    with parent.alone() as bench:
        curve = Curve(bench, "growth-artifacts", "artifacts in the store", "artifacts in the store")
        pair, empty, stored = (bench.floor, bench.ours()), _empty(bench), 0
        for x in curve.steps(ARTIFACTS, 10_000, lambda n: (n * BYTES_EACH, 0)):
            if isinstance(x, Left):
                yield x
                continue
            populate(bench.ours(), bench, x - stored)
            stored = x
            yield curve.size(x, "server memory for each artifact of 64 B", (bench.server.used_memory() - empty) / x)
            yield curve.cost(x, "store 1 KiB", [storing(bench, one, KIB, one.store) for one in pair], PER_RUN)
            yield curve.cost(x, "load 1 KiB", [loading(bench, one, KIB, one.load) for one in pair], PER_RUN)
            lists = [listing_floor(bench), listing(bench, bench.ours())]
            yield curve.cost(x, "list_by_run of 100, per artifact", lists, PER_RUN)


@measurement("growth-run")
def growth_by_run(parent: Bench) -> Found:
    """Calls about a run while it grows."""
    with parent.alone() as bench:
        curve = Curve(bench, "growth-run", "artifacts in a run", "artifacts in the run")
        ours = bench.ours()
        for x in curve.steps(IN_RUN, 10_000, lambda n: (4 * n * BYTES_EACH, 0)):
            if isinstance(x, Left):
                yield x
                continue
            effort = Effort(3 if x >= 10_000 else bench.effort(0.6).rounds, float("inf"))
            yield curve.cost(x, "list_by_run, per artifact", [listing_floor(bench), listing(bench, ours)], x, effort)
            yield curve.cost(
                x, "delete_by_run, per artifact", [deleting_floor(bench), deleting(bench, ours)], x, effort
            )
            run = bench.batch(64, x)
            for begin in range(0, x, PER_RUN):
                ours.store_many(Batch(run.contents[begin : begin + PER_RUN], run.run))
            yield curve.cost(x, "store one more, 1 KiB", [_storing_bare(bench), _storing_into(bench, run.run)], 10)
            ours.forget(run)


@measurement("growth-size")
def growth_by_size(parent: Bench) -> Found:
    """One content while it grows."""
    with parent.alone() as bench, tempfile.TemporaryDirectory(prefix="coatcheck-bench-") as folder:
        curve = Curve(bench, "growth-size", "size of the content", "bytes of content")
        pair = (bench.floor, bench.ours())
        for x in curve.steps(SIZES, 64 * MIB, lambda n: (5 * n, n)):
            if isinstance(x, Left):
                yield x
                continue
            ops = max(1, min(PER_RUN, 4 * MIB // x))
            effort = Effort(3 if x >= IN_MEMORY else bench.effort().rounds, float("inf"))
            if x <= IN_MEMORY:
                yield curve.cost(x, "store", [storing(bench, one, x, one.store) for one in pair], ops, effort)
                yield curve.cost(x, "load", [loading(bench, one, x, one.load) for one in pair], ops, effort)
            path = noise_file(folder, x)
            yield curve.cost(x, "store_file", [storing_file(bench, one, path) for one in pair], 1, effort)
            yield curve.cost(x, "open and read", [loading_file(bench, one, path) for one in pair], 1, effort)
            path.unlink()


@measurement("growth-sharing")
def growth_by_sharing(parent: Bench) -> Found:
    """One content while more and more runs lease it."""
    with parent.alone() as bench:
        curve = Curve(bench, "growth-sharing", "runs that share one content", "runs that lease it")
        ours, content = bench.ours(), bench.batch(KIB, 1).contents
        empty, shared = _empty(bench), []
        for x in curve.steps(SHARERS, 1_000, lambda n: (n * BYTES_EACH, 0)):
            if isinstance(x, Left):
                yield x
                continue
            while len(shared) < x:
                shared.append(Batch(content, bench.run_id()))
                ours.store(shared[-1])
            if x >= ENOUGH:
                yield curve.size(x, "server memory for each run", (bench.server.used_memory() - empty) / x)
            loads = [loading(bench, bench.floor, KIB, bench.floor.load), _loading_shared(bench, shared[0])]
            yield curve.cost(x, "load 1 KiB", loads, PER_RUN)
            effort = Effort(bench.effort().rounds, float("inf"))
            yield curve.cost(
                x, "store it for one more run", [_storing_bare(bench), _sharing(bench, content)], 1, effort
            )
            leaves = [_deleting_bare(bench), _leaving(bench, content)]
            yield curve.cost(x, "delete_by_run of one of them", leaves, 1, effort)


# Trials that only curves have ----------------------------------------------------------------------------------------


def _empty(bench: Bench) -> int:
    """Bytes that the server uses when it knows the scripts and the clients, and keeps nothing."""
    ours, batch = bench.ours(), bench.batch(KIB, PER_RUN)
    ours.store_many(batch)
    ours.store(bench.batch(KIB, 1))
    bench.server.clear()
    return bench.server.used_memory()


def _storing_bare(bench: Bench) -> Trial:
    return storing(bench, bench.floor, KIB, bench.floor.store)


def _storing_into(bench: Bench, run: str) -> Trial:
    ours = bench.ours()

    def forget(batch: Batch) -> None:
        for key in batch.keys:
            ours.open_store.delete(key)

    return Trial(ours.name, lambda ops: Batch(bench.batch(KIB, ops).contents, run), ours.store, forget)


def _deleting_bare(bench: Bench) -> Trial:
    trial = deleting_floor(bench)
    trial.name = "floor: UNLINK"
    return trial


def _sharing(bench: Bench, content: list[bytes]) -> Trial:
    ours = bench.ours()
    return Trial(ours.name, lambda _: Batch(content, bench.run_id()), ours.store, ours.forget)


def _leaving(bench: Bench, content: list[bytes]) -> Trial:
    ours = bench.ours()

    def prepare(_: int) -> Batch:
        batch = Batch(content, bench.run_id())
        ours.store(batch)
        return batch

    return Trial(ours.name, prepare, ours.delete_run)


def _loading_shared(bench: Bench, batch: Batch) -> Trial:
    ours = bench.ours()
    return Trial(
        ours.name,
        lambda ops: Batch(batch.contents * ops, batch.run, batch.keys * ops),
        ours.load,
        check=lambda batch, found: same(found, batch.contents),
        once=True,
    )
