"""Alternating measurement: A B C, B C A, … so that whatever the machine does meanwhile happens to all of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass
class Trial:
    """What one candidate does in one row.

    Attributes:
        name: The candidate.
        prepare: Untimed; takes a number of operations and returns what `run` takes.
        run: Timed; does that many operations.
        clean: Untimed; undoes both.
        check: Untimed; raises when what `run` returned is wrong. Asked once.
        once: Prepared once for all rounds: for rows that only read.
    """

    name: str
    prepare: Callable[[int], Any]
    run: Callable[[Any], Any]
    clean: Callable[[Any], object] = lambda _: None
    check: Callable[[Any, Any], object] = lambda *_: None
    once: bool = False


@dataclass
class Timing:
    """What was measured of one trial: seconds per operation, one figure a round."""

    name: str
    ops: int
    seconds: list[float] = field(default_factory=list)

    @property
    def microseconds(self) -> float:
        """Median per operation."""
        return median(self.seconds) * 1e6

    def ratios(self, floor: Timing) -> tuple[float, float, float]:
        """Minimum, median and maximum of this over the floor, each round against itself."""
        ratios = [own / other for own, other in zip(self.seconds, floor.seconds, strict=True)]
        return min(ratios), median(ratios), max(ratios)


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    Attributes:
        rounds: Rounds, after one that warms up.
        seconds: What one candidate may take for one round, with preparation; slow ones do fewer operations.
    """

    rounds: int
    seconds: float


def alternate(trials: Sequence[Trial], ops: int, effort: Effort, settle: Callable[[], None]) -> list[Timing]:
    """Measure trials side by side; the first one is the floor and always does all `ops`."""
    timings, prepared = [], {}
    for i, trial in enumerate(trials):
        own = ops if i == 0 else _affordable(trial, ops, effort)
        timings.append(Timing(trial.name, own))
        if trial.once:
            prepared[trial.name] = trial.prepare(own)
    settle()
    gc.collect()
    gc.freeze()  # what imports left behind is not scanned again in somebody's timed block
    try:
        for number in range(-1, effort.rounds):
            for step in range(len(trials)):
                i = (number + step) % len(trials)
                seconds = _block(trials[i], timings[i].ops, prepared, settle)
                if number >= 0:
                    timings[i].seconds.append(seconds / timings[i].ops)
    finally:
        gc.unfreeze()
    for trial in trials:
        if trial.once:
            trial.clean(prepared[trial.name])
    return timings


def _block(trial: Trial, ops: int, prepared: dict[str, Any], settle: Callable[[], None]) -> float:
    state = prepared[trial.name] if trial.once else trial.prepare(ops)
    begin = time.perf_counter()
    trial.run(state)
    seconds = time.perf_counter() - begin
    if not trial.once:
        trial.clean(state)
        settle()
    return seconds


def _affordable(trial: Trial, ops: int, effort: Effort) -> int:
    """How many operations fit the effort; tries a few, and checks that they do what they should."""
    few = min(ops, max(20, ops // 20))
    state = trial.prepare(few)
    trial.run(state)
    trial.clean(state)  # the first time connects and fills caches
    begin = time.perf_counter()
    state = trial.prepare(few)
    prepared = time.perf_counter()
    trial.check(state, trial.run(state))
    done = time.perf_counter()
    trial.clean(state)
    cost = (done - prepared) / few
    preparing = (prepared - begin) / few
    cost += preparing / effort.rounds if trial.once else preparing
    return max(1, min(ops, int(effort.seconds / cost)))
