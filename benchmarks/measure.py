"""Alternating measurement: A B C, B C A, … so that whatever the machine does meanwhile happens to all of them.

Beside wall time stands CPU time of client and servers together: it hardly notices what else the machine does.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple, Protocol


class Server(Protocol):
    """Who works for a trial, beside its client."""

    def cpu_seconds(self) -> float:
        """CPU time that it has taken so far."""

    def settle(self) -> None:
        """Wait until what was removed is freed."""


class Spent(NamedTuple):
    """Seconds that one block of operations took: by the clock, and of CPU time."""

    wall: float
    cpu: float


class Spread(NamedTuple):
    """Figures of several rounds."""

    low: float
    median: float
    high: float


@dataclass
class Trial:
    """What one candidate does in one row.

    Attributes:
        name: The candidate.
        prepare: Untimed; takes a number of operations and returns what `run` takes.
        run: Timed; does that many operations. May return the `Spent` of clients that are processes of their own.
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
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def microseconds(self) -> float:
        """Median per operation, by the clock."""
        return median(self.wall) * 1e6

    @property
    def cpu_microseconds(self) -> float:
        """Median per operation, CPU time of clients and servers."""
        return median(self.cpu) * 1e6

    def ratios(self, floor: Timing) -> Spread:
        """This over the floor by the clock, each round against itself."""
        return _spread(self.wall, floor.wall)

    def cpu_ratios(self, floor: Timing) -> Spread:
        """Likewise for CPU time."""
        return _spread(self.cpu, floor.cpu)


def _spread(own: Sequence[float], floor: Sequence[float]) -> Spread:
    ratios = [mine / other for mine, other in zip(own, floor, strict=True)]
    return Spread(min(ratios), median(ratios), max(ratios))


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    Attributes:
        rounds: Rounds, after one that warms up.
        seconds: What one candidate may take for one round, with preparation; slow ones do fewer operations.
    """

    rounds: int
    seconds: float


def alternate(trials: Sequence[Trial], ops: int, effort: Effort, *servers: Server) -> list[Timing]:
    """Measure trials side by side; the first one is the floor and always does all `ops`."""
    timings, prepared = [], {}
    for i, trial in enumerate(trials):
        own = ops if i == 0 else _affordable(trial, ops, effort)
        timings.append(Timing(trial.name, own))
        if trial.once:
            prepared[trial.name] = trial.prepare(own)
    _settle(servers)
    gc.collect()
    gc.freeze()  # what imports left behind is not scanned again in somebody's timed block
    try:
        for number in range(-1, effort.rounds):
            for step in range(len(trials)):
                i = (number + step) % len(trials)
                spent = _block(trials[i], timings[i].ops, prepared, servers)
                if number >= 0:
                    timings[i].wall.append(spent.wall / timings[i].ops)
                    timings[i].cpu.append(spent.cpu / timings[i].ops)
    finally:
        gc.unfreeze()
    for trial in trials:
        if trial.once:
            trial.clean(prepared[trial.name])
    return timings


def _block(trial: Trial, ops: int, prepared: dict[str, Any], servers: Sequence[Server]) -> Spent:
    state = prepared[trial.name] if trial.once else trial.prepare(ops)
    served = sum(server.cpu_seconds() for server in servers)
    computed, begin = time.process_time(), time.perf_counter()
    result = trial.run(state)
    wall, computed = time.perf_counter() - begin, time.process_time() - computed
    served = sum(server.cpu_seconds() for server in servers) - served
    if isinstance(result, Spent):
        wall, computed = result
    if not trial.once:
        trial.clean(state)
        _settle(servers)
    return Spent(wall, computed + served)


def _settle(servers: Sequence[Server]) -> None:
    for server in servers:
        server.settle()


def _affordable(trial: Trial, ops: int, effort: Effort) -> int:
    """How many operations fit the effort; tries a few, and checks that they do what they should."""
    few = min(ops, max(20, ops // 50))
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
    return max(1, int(min(ops, effort.seconds / cost)))
