"""What every measurement needs: a server, candidates, fresh contents, and how much effort to spend."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from .awaited import AsyncCandidate
from .bare import Floor
from .candidates import Batch, Candidate
from .measure import Effort, Trial, alternate
from .ours import Coatcheck
from .page import as_text
from .results import Left, Load, Point, Results, Row
from .server import BenchServer, Endpoint, available_memory

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
PER_RUN = 100


@dataclass
class Bench:
    """What measurements need.

    Attributes:
        server: The server that all candidates share.
        endpoint: How they reach it.
        floor: redis-py alone.
        candidates: All others.
        awaited: The floor of the awaited rows, and the candidates that are compared with it.
        quick: A few minutes instead of an hour: fewer rounds, nothing that is large.
        engine: What further servers are made of.
    """

    server: BenchServer
    endpoint: Endpoint
    floor: Floor
    candidates: Sequence[Candidate]
    awaited: Sequence[AsyncCandidate]
    quick: bool
    engine: str
    _runs: Iterator[int] = field(default_factory=itertools.count)

    def writers(self) -> list[Candidate]:
        """The floor, and who is shown in rows that write."""
        return [self.floor, *(candidate for candidate in self.candidates if candidate.writes)]

    def readers(self) -> list[Candidate]:
        """The floor, and who is shown in rows that read."""
        return [self.floor, *self.candidates]

    def run_id(self) -> str:
        """A run that doesn't exist yet."""
        return f"run-{next(self._runs)}"

    def batch(self, size: int, count: int) -> Batch:
        """Contents that nobody has stored yet, of a run that doesn't exist yet."""
        noise = random.Random(next(self._runs)).randbytes(size)
        return Batch([(os.urandom(16) + noise)[:size] for _ in range(count)], self.run_id())

    def effort(self, share: float = 1.0, seconds: float | None = None) -> Effort:
        """How much to measure; `share` of the rounds for rows that take long."""
        rounds, usual = (7, 0.03) if self.quick else (25, 0.1)
        return Effort(max(3, round(rounds * share)), usual if seconds is None else seconds)

    def compare(
        self, title: str, trials: Sequence[Trial], ops: int, effort: Effort | None = None, **about: Any
    ) -> Iterator[Row]:
        """Measure the trials of a row, the floor first; `about`: see `Row`."""
        yield Row(title, alternate(trials, ops, effort or self.effort(), self.server), **about)

    def ours(self) -> Coatcheck:
        """coatcheck among the candidates."""
        return next(one for one in self.candidates if isinstance(one, Coatcheck))

    @contextmanager
    def alone(self) -> Iterator[Bench]:
        """The same on a new server, with the floor and coatcheck only."""
        with BenchServer(self.engine) as server:
            floor, ours = Floor(server.unix), Coatcheck(server.unix)
            try:
                yield replace(self, server=server, endpoint=server.unix, floor=floor, candidates=[ours])
            finally:
                floor.close()
                ours.close()


def lacks(memory: int = 0, disk: int = 0) -> str | None:
    """Why something that needs so many bytes cannot be done here; `None`: it can."""
    available, free = available_memory(), shutil.disk_usage(tempfile.gettempdir()).free
    if available is not None and memory > 0.8 * available:
        return f"needs about {memory / GIB:.1f} GiB of memory, {available / GIB:.1f} are available"
    if disk > 0.9 * free:
        return f"needs {disk / GIB:.1f} GiB for temporary files, {free / GIB:.1f} are free"
    return None


def noise_file(folder: str | Path, size: int) -> Path:
    """A file of random bytes, which nothing compresses."""
    path = Path(folder) / f"noise-{size}"
    with path.open("wb") as file:
        for begin in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - begin)))
    return path


Measurement = Callable[[Bench], Iterable[Row | Load | Point | Left]]
_MEASUREMENTS: dict[str, dict[str, Measurement]] = {}  # by module: formatters reorder imports, tables have an order


def measurement(name: str) -> Callable[[Measurement], Measurement]:
    """Add a function to the list; `name` is what `--only` looks at."""

    def add(function: Measurement) -> Measurement:
        _MEASUREMENTS.setdefault(function.__module__, {})[name] = function
        return function

    return add


def listed(modules: Sequence[ModuleType], only: Sequence[str] = ()) -> dict[str, Measurement]:
    """The measurements of some modules, in this order, whose name contains one of `only`, or all."""
    every = {name: found for module in modules for name, found in _MEASUREMENTS[module.__name__].items()}
    return {name: found for name, found in every.items() if not only or any(part in name for part in only)}


def measure_all(bench: Bench, measurements: dict[str, Measurement], results: Results, origin: str) -> None:
    """Take measurements one after the other; one that fails doesn't stop the others."""
    for name, function in measurements.items():
        part: list[Row | Load | Point | Left] = []
        try:
            for found in function(bench):
                part.append(found)
                found.part = name
                print(as_text(found), flush=True)
        except Exception as error:
            part.append(Left(f"{type(error).__name__}: {error}", failed=True, part=name))
            print(as_text(part[-1]), flush=True)
        results.found += part
        results.origins[name] = origin
