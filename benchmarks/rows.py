"""The rows of the table: one small function each, in the order in which they are shown."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .awaited import AsyncCandidate
from .candidates import Batch, Candidate, Floor
from .measure import Effort, Timing, Trial, alternate
from .server import Server

KIB = 1024
MIB = 1024 * KIB
PER_RUN = 100

_ROWS: list[tuple[str, Callable[[Bench], Outcome]]] = []


@dataclass
class Bench:
    """What rows need.

    Attributes:
        server: The server that all candidates share.
        floor: redis-py alone.
        candidates: All others.
        awaited: The floor of the awaited rows, and the candidates that are compared with it.
        rounds: How many rounds a row takes at most.
        seconds: What one candidate may take for one round, about.
    """

    server: Server
    floor: Floor
    candidates: Sequence[Candidate]
    awaited: Sequence[AsyncCandidate]
    rounds: int
    seconds: float

    def __post_init__(self) -> None:
        self._runs = itertools.count()
        self._contents = functools.partial(_fresh_contents, itertools.count())

    def writers(self) -> list[Candidate]:
        """The floor, and who is shown in rows that write."""
        return [self.floor, *(candidate for candidate in self.candidates if candidate.writes)]

    def readers(self) -> list[Candidate]:
        """The floor, and who is shown in rows that read."""
        return [self.floor, *self.candidates]

    def batch(self, size: int, count: int) -> Batch:
        """Contents that nobody has stored yet, of a run that doesn't exist yet."""
        return Batch(self._contents(size, count), f"run-{next(self._runs)}")

    def effort(self, share: float = 1.0, seconds: float | None = None) -> Effort:
        """How much to measure; `share` of the rounds for rows that take long."""
        return Effort(max(3, round(self.rounds * share)), self.seconds if seconds is None else seconds)

    def compare(
        self, title: str, goal: str, trials: Sequence[Trial], ops: int, effort: Effort, *, as_batch: bool = False
    ) -> Outcome:
        """Measure trials, the floor first."""
        names = {trial.name for trial in trials}
        awaited = trials[0].name == self.awaited[0].name
        without = [one.name for one in self.writers()[1:] if one.name not in names and not awaited]
        return Outcome(title, goal, alternate(trials, ops, effort, self.server.settle), without, as_batch=as_batch)


@dataclass
class Outcome:
    """What a row found: timings with the floor first, or bytes. `as_batch`: its operations are parts of one call."""

    title: str
    goal: str
    timings: Sequence[Timing] = ()
    without: Sequence[str] = ()
    sizes: dict[str, float] | None = None
    as_batch: bool = False


def row(name: str) -> Callable[[Callable[[Bench], Outcome]], Callable[[Bench], Outcome]]:
    """Add a function to the table; `name` is what `--only` looks at."""

    def add(function: Callable[[Bench], Outcome]) -> Callable[[Bench], Outcome]:
        _ROWS.append((name, function))
        return function

    return add


def run_rows(bench: Bench, only: Sequence[str]) -> Iterator[Outcome]:
    """Run the rows whose name contains one of `only`, or all."""
    for name, function in _ROWS:
        if not only or any(part in name for part in only):
            yield function(bench)


def _fresh_contents(numbers: Iterator[int], size: int, count: int) -> list[bytes]:
    noise = random.Random(next(numbers)).randbytes(size)
    return [(os.urandom(16) + noise)[:size] for _ in range(count)]


# Kinds of trial ------------------------------------------------------------------------------------------------------


def _storing(bench: Bench, candidate: Candidate, size: int, store: Callable[[Batch], Any]) -> Trial:
    return Trial(
        candidate.name,
        prepare=lambda ops: bench.batch(size, ops),
        run=store,
        clean=candidate.forget,
        check=lambda batch, _: _same(candidate.load(batch), batch.contents),
    )


def _loading(bench: Bench, candidate: Candidate, size: int, load: Callable[[Batch], Iterable[bytes]]) -> Trial:
    def prepare(ops: int) -> Batch:
        batch = bench.batch(size, ops)
        candidate.fill(batch)
        return batch

    return Trial(
        candidate.name,
        prepare=prepare,
        run=load,
        clean=candidate.forget,
        check=lambda batch, contents: _same(contents, batch.contents),
        once=True,
    )


def _same(found: Iterable[bytes], expected: Sequence[bytes]) -> None:
    if list(found) != list(expected):
        raise AssertionError("a candidate returned other bytes than it was given: the row would mean nothing")


def _holding(size: int, expected: int) -> None:
    if size != expected:
        raise AssertionError(f"a candidate answered for {size} artifacts of {expected}: the row would mean nothing")


# Single operations ---------------------------------------------------------------------------------------------------


def _store_row(bench: Bench, title: str, goal: str, size: int, ops: int) -> Outcome:
    trials = [_storing(bench, one, size, one.store) for one in bench.writers()]
    return bench.compare(f"store {title}", goal, trials, ops, bench.effort())


def _load_row(bench: Bench, title: str, goal: str, size: int, ops: int) -> Outcome:
    trials = [_loading(bench, one, size, one.load) for one in bench.readers()]
    return bench.compare(f"load {title}", goal, trials, ops, bench.effort())


@row("store-1k")
def store_1_kib(bench: Bench) -> Outcome:
    return _store_row(bench, "1 KiB with run, tags and TTL", "<= 1.0", KIB, PER_RUN)


@row("load-1k")
def load_1_kib(bench: Bench) -> Outcome:
    return _load_row(bench, "1 KiB with its metadata", "<= 1.0", KIB, PER_RUN)


@row("store-100k")
def store_100_kib(bench: Bench) -> Outcome:
    return _store_row(bench, "100 KiB", "<= 1.1", 100 * KIB, 40)


@row("load-100k")
def load_100_kib(bench: Bench) -> Outcome:
    return _load_row(bench, "100 KiB", "<= 1.1", 100 * KIB, 40)


@row("store-10m")
def store_10_mib(bench: Bench) -> Outcome:
    return _store_row(bench, "10 MiB", "<= 1.1", 10 * MIB, 3)


@row("load-10m")
def load_10_mib(bench: Bench) -> Outcome:
    return _load_row(bench, "10 MiB", "<= 1.1", 10 * MIB, 3)


@row("store-10m-again")
def store_10_mib_again(bench: Bench) -> Outcome:
    """Another run stores what is there: nothing but the hash and the lease should remain to do."""

    def floor_run(batch: Batch) -> None:
        for content in batch.contents:
            key = hashlib.sha256(content).hexdigest()
            bench.floor.client.exists(key)
            bench.floor.client.exists(key)

    def storing_again(candidate: Candidate) -> Trial:
        def prepare(ops: int) -> tuple[Batch, Batch]:
            first = bench.batch(10 * MIB, ops)
            candidate.fill(first)
            return first, Batch(first.contents, bench.batch(0, 0).run)

        def clean(batches: tuple[Batch, Batch]) -> None:
            for batch in batches:
                if batch.keys:
                    candidate.forget(batch)

        return Trial(candidate.name, prepare, lambda batches: candidate.store(batches[1]), clean)

    floor = Trial("floor: SHA-256 + two small round trips", lambda ops: bench.batch(10 * MIB, ops), floor_run)
    trials = [floor, *(storing_again(one) for one in bench.writers()[1:])]
    return bench.compare("store 10 MiB that another run has stored", "<= 1.0", trials, 3, bench.effort())


# Awaited -------------------------------------------------------------------------------------------------------------


@row("async-store-1k")
def async_store_1_kib(bench: Bench) -> Outcome:
    trials = [_storing(bench, one, KIB, one.store) for one in bench.awaited]
    return bench.compare("await store 1 KiB", "", trials, PER_RUN, bench.effort())


@row("async-load-1k")
def async_load_1_kib(bench: Bench) -> Outcome:
    trials = [_loading(bench, one, KIB, one.load) for one in bench.awaited]
    return bench.compare("await load 1 KiB", "", trials, PER_RUN, bench.effort())


# Batches and runs ----------------------------------------------------------------------------------------------------


@row("store-many")
def store_many(bench: Bench) -> Outcome:
    trials = [_storing(bench, one, KIB, one.store_many) for one in bench.writers() if one.store_many]
    effort = bench.effort(0.6, 1.5)
    return bench.compare("store_many 1,000 x 1 KiB", "<= 2.0: half the speed", trials, 1000, effort, as_batch=True)


@row("load-many")
def load_many(bench: Bench) -> Outcome:
    trials = [_loading(bench, one, KIB, one.load_many) for one in bench.readers() if one.load_many]
    effort = bench.effort(0.6, 1.5)
    return bench.compare("load_many 1,000 x 1 KiB", "<= 1.43: 0.7 x the speed", trials, 1000, effort, as_batch=True)


@row("list-run")
def list_by_run(bench: Bench) -> Outcome:
    def fill_floor(ops: int) -> list[str]:
        names = [f"floor:{i}" for i in range(ops)]
        record = {"content_type": "application/pdf", "size_bytes": 64, "created_at": "1", "run_id": "r", "tags": "{}"}
        pipeline = bench.floor.client.pipeline(transaction=False)
        for name in names:
            pipeline.hset(name, mapping=record)
        pipeline.execute()
        return names

    def list_floor(names: list[str]) -> list[Any]:
        pipeline = bench.floor.client.pipeline(transaction=False)
        for name in names:
            pipeline.hgetall(name)
        return pipeline.execute()

    def listing(candidate: Candidate) -> Trial:
        trial = _loading(bench, candidate, 64, candidate.list_run)
        trial.check = lambda batch, views: _holding(len(views), len(batch.contents))
        return trial

    floor = Trial(
        "floor: a pipeline of HGETALL",
        fill_floor,
        list_floor,
        lambda names: bench.floor.client.unlink(*names),
        once=True,
    )
    trials = [floor, *(listing(one) for one in bench.readers() if one.list_run)]
    effort = bench.effort(0.4, 5.0)
    return bench.compare("list_by_run of 10,000", "<= 1.5", trials, 10_000, effort, as_batch=True)


@row("delete-run")
def delete_by_run(bench: Bench) -> Outcome:
    def fill(candidate: Candidate, ops: int) -> Batch:
        batch = bench.batch(KIB, ops)
        candidate.fill(batch)
        return batch

    def delete_floor(batch: Batch) -> None:
        pipeline = bench.floor.client.pipeline(transaction=False)
        for key in batch.keys:
            pipeline.unlink(key)
        pipeline.execute()

    def deleting(candidate: Candidate) -> Trial:
        return Trial(candidate.name, functools.partial(fill, candidate), candidate.delete_run, candidate.forget)

    floor = Trial("floor: a pipeline of UNLINK", functools.partial(fill, bench.floor), delete_floor)
    trials = [floor, *(deleting(one) for one in bench.writers() if one.delete_run)]
    effort = bench.effort(0.4, 5.0)
    return bench.compare("delete_by_run of 10,000", "<= 3.0", trials, 10_000, effort, as_batch=True)


# Memory --------------------------------------------------------------------------------------------------------------


@row("memory")
def memory(bench: Bench) -> Outcome:
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
    return Outcome("server memory of 1 KiB, besides the content", "<= 600 B", sizes=sizes)
