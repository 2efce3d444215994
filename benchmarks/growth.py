"""How cost grows: with the artifacts in a store, with those in a run, with content, and with the runs that share it.

Each curve has a server of its own. `--quick` ends early; what this machine has no room for is named, not dropped.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence

from .batches import BYTES_EACH, populate
from .bench import KIB, MIB, PER_RUN, Bench, lacks, measurement, noise_file
from .candidates import Batch
from .large import loading_file, storing_file
from .measure import Effort, Trial, alternate
from .results import Left, Point
from .trials import after, deleting, deleting_floor, listing, listing_floor, loading, same, storing

ARTIFACTS = tuple(10**n for n in range(3, 7))
IN_RUN = tuple(10**n for n in range(6))
SIZES = tuple(KIB * 4**n for n in range(11))
SHARERS = tuple(10**n for n in range(5))
ENOUGH = 1_000  # of something, that its memory stands out from that of the server itself
IN_MEMORY = 256 * MIB  # larger contents are stored from files only
LONG = 64 * MIB  # measured a few times only


def _steps(
    bench: Bench, steps: Sequence[int], quick: int, left: list[Left], memory: int, disk: int = 0
) -> Iterator[int]:
    """The steps that can be done, in quick runs up to `quick`; each takes that many bytes times the step."""
    for x in steps:
        if bench.quick and x > quick:
            left.append(Left(f"--quick ends at {quick:,}, {x:,} is left out"))
        elif reason := lacks(x * memory, x * disk):
            left.append(Left(f"{x:,} {reason}"))
        else:
            yield x


def _cost(bench: Bench, axis: str) -> Callable[..., Point]:
    """Makes points about time."""

    def point(x: int, work: str, trials: Sequence[Trial], ops: int, effort: Effort | None = None) -> Point:
        return Point(axis, x, work, alternate(trials, ops, effort or bench.effort(0.6), bench.server))

    return point


@measurement("growth-artifacts")
def growth_by_artifacts(parent: Bench) -> Iterator[Point | Left]:
    """Small calls while the store fills up."""
    axis, left = "artifacts in the store", []
    with parent.alone() as bench:
        cost, pair, empty, stored = _cost(bench, axis), (bench.floor, bench.ours()), _empty(bench), 0
        for x in _steps(bench, ARTIFACTS, 10_000, left, BYTES_EACH):
            populate(bench.ours(), bench, x - stored)
            stored = x
            used = (bench.server.used_memory() - empty) / x
            yield Point(axis, x, "server memory for each artifact of 64 B", size=used)
            yield cost(x, "store 1 KiB", [storing(bench, one, KIB, one.store) for one in pair], PER_RUN)
            yield cost(x, "load 1 KiB", [loading(bench, one, KIB, one.load) for one in pair], PER_RUN)
            lists = [listing_floor(bench), listing(bench, bench.ours())]
            yield cost(x, "list_by_run of 100, per artifact", lists, PER_RUN)
    yield from left


@measurement("growth-run")
def growth_by_run(parent: Bench) -> Iterator[Point | Left]:
    """Calls about a run while it grows."""
    left: list[Left] = []
    with parent.alone() as bench:
        cost, ours = _cost(bench, "artifacts in the run"), bench.ours()
        for x in _steps(bench, IN_RUN, 10_000, left, 4 * BYTES_EACH):
            effort = Effort(3 if x >= 10_000 else bench.effort(0.6).rounds, float("inf"))
            yield cost(x, "list_by_run, per artifact", [listing_floor(bench), listing(bench, ours)], x, effort)
            yield cost(x, "delete_by_run, per artifact", [deleting_floor(bench), deleting(bench, ours)], x, effort)
            run = bench.batch(64, x)
            ours.store_many(run)
            yield cost(x, "store one more, 1 KiB", [_storing_bare(bench), _storing_into(bench, run.run)], 10)
            ours.forget(run)
    yield from left


@measurement("growth-size")
def growth_by_size(parent: Bench) -> Iterator[Point | Left]:
    """One content while it grows."""
    left: list[Left] = []
    with parent.alone() as bench, tempfile.TemporaryDirectory(prefix="coatcheck-bench-") as folder:
        cost, pair = _cost(bench, "bytes of content"), (bench.floor, bench.ours())
        for x in _steps(bench, SIZES, 64 * MIB, left, memory=5, disk=1):
            ops = max(1, min(PER_RUN, 4 * MIB // x))
            effort = Effort(3 if x >= LONG else bench.effort().rounds, float("inf"))
            if x <= IN_MEMORY:
                yield cost(x, "store", [storing(bench, one, x, one.store) for one in pair], ops, effort)
                yield cost(x, "load", [loading(bench, one, x, one.load) for one in pair], ops, effort)
            path = noise_file(folder, x)
            yield cost(x, "store_file", [storing_file(bench, one, path) for one in pair], 1, effort)
            yield cost(x, "open and read", [loading_file(bench, one, path) for one in pair], 1, effort)
            path.unlink()
    yield from left


@measurement("growth-sharing")
def growth_by_sharing(parent: Bench) -> Iterator[Point | Left]:
    """One content while more and more runs lease it."""
    axis, left = "runs that lease one content", []
    with parent.alone() as bench:
        cost, ours, content = _cost(bench, axis), bench.ours(), bench.batch(KIB, 1).contents
        empty, shared = _empty(bench), []
        for x in _steps(bench, SHARERS, 1_000, left, BYTES_EACH):
            while len(shared) < x:
                shared.append(Batch(content, bench.run_id()))
                ours.store(shared[-1])
            if x >= ENOUGH:
                yield Point(axis, x, "server memory for each run", size=(bench.server.used_memory() - empty) / x)
            loads = [loading(bench, bench.floor, KIB, bench.floor.load), _loading_shared(bench, shared[0])]
            yield cost(x, "load 1 KiB", loads, PER_RUN)
            effort = Effort(bench.effort().rounds, float("inf"))
            yield cost(x, "store it for one more run", [_storing_bare(bench), _sharing(bench, content)], 1, effort)
            leaves = [deleting_floor(bench, "floor: UNLINK"), after(_sharing(bench, content), ours.delete_run)]
            yield cost(x, "delete_by_run of one of them", leaves, 1, effort)
    yield from left


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


def _sharing(bench: Bench, content: list[bytes]) -> Trial:
    ours = bench.ours()
    return Trial(ours.name, lambda _: Batch(content, bench.run_id()), ours.store, ours.forget)


def _loading_shared(bench: Bench, batch: Batch) -> Trial:
    ours = bench.ours()
    return Trial(
        ours.name,
        lambda ops: Batch(batch.contents * ops, batch.run, batch.keys * ops),
        ours.load,
        check=lambda batch, found: same(found, batch.contents),
        once=True,
    )
