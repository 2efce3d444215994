"""Kinds of trial that several rows share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from .bench import KIB, Bench
from .candidates import Batch, Candidate
from .measure import Trial


def storing(bench: Bench, candidate: Candidate, size: int, store: Callable[[Batch], Any]) -> Trial:
    """Store contents of one size that are new to the server."""
    return Trial(
        candidate.name,
        prepare=lambda ops: bench.batch(size, ops),
        run=store,
        clean=candidate.forget,
        check=lambda batch, _: same(candidate.load(batch), batch.contents),
    )


def loading(bench: Bench, candidate: Candidate, size: int, load: Callable[[Batch], Iterable[bytes]]) -> Trial:
    """Load contents of one size."""
    return Trial(
        candidate.name,
        prepare=functools.partial(filled, bench, candidate, size),
        run=load,
        clean=candidate.forget,
        check=lambda batch, contents: same(contents, batch.contents),
        once=True,
    )


def filled(bench: Bench, candidate: Candidate, size: int, ops: int) -> Batch:
    """New contents that the candidate has stored."""
    batch = bench.batch(size, ops)
    candidate.fill(batch)
    return batch


def same(found: Iterable[bytes], expected: Sequence[bytes]) -> None:
    """Check what was loaded."""
    if list(found) != list(expected):
        raise AssertionError("a candidate returned other bytes than it was given: the row would mean nothing")


def holding(size: int, expected: int) -> None:
    """Check how much was found."""
    if size != expected:
        raise AssertionError(f"a candidate answered for {size} artifacts of {expected}: the row would mean nothing")


def listing_floor(bench: Bench) -> Trial:
    """What a run's listing is compared with."""

    def fill(ops: int) -> list[str]:
        names = [f"floor:{i}" for i in range(ops)]
        record = {"content_type": "application/pdf", "size_bytes": 64, "created_at": "1", "run_id": "r", "tags": "{}"}
        pipeline = bench.floor.client.pipeline(transaction=False)
        for name in names:
            pipeline.hset(name, mapping=record)
        pipeline.execute()
        return names

    def list_all(names: list[str]) -> list[Any]:
        pipeline = bench.floor.client.pipeline(transaction=False)
        for name in names:
            pipeline.hgetall(name)
        return pipeline.execute()

    title = "floor: a pipeline of HGETALL"
    return Trial(title, fill, list_all, lambda names: bench.floor.client.unlink(*names), once=True)


def listing(bench: Bench, candidate: Candidate) -> Trial:
    """List a run's metadata."""
    trial = loading(bench, candidate, 64, candidate.list_run)
    trial.check = lambda batch, views: holding(len(views), len(batch.contents))
    return trial


def deleting_floor(bench: Bench, name: str = "floor: a pipeline of UNLINK") -> Trial:
    """What a run's removal is compared with."""

    def delete(batch: Batch) -> None:
        pipeline = bench.floor.client.pipeline(transaction=False)
        for key in batch.keys:
            pipeline.unlink(key)
        pipeline.execute()

    return Trial(name, functools.partial(filled, bench, bench.floor, KIB), delete)


def deleting(bench: Bench, candidate: Candidate) -> Trial:
    """Remove a run."""
    prepare = functools.partial(filled, bench, candidate, KIB)
    return Trial(candidate.name, prepare, candidate.delete_run, candidate.forget)


def after(first: Trial, run: Callable[[Any], Any]) -> Trial:
    """A trial on what another one has done."""

    def prepare(ops: int) -> Any:
        state = first.prepare(ops)
        first.run(state)
        return state

    return replace(first, prepare=prepare, run=run)
