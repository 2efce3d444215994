"""Where a thread spends its time, by looking at it a thousand times a second.

A timer signal interrupts system calls too, so waiting is seen as well as computing; unlike a tracing profiler it does
not make calls look dearer than they are. A sample belongs to the innermost frame of a package that was asked about:
what such a function calls in the standard library or in C is its own time.
"""

from __future__ import annotations

import importlib
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple

INTERVAL = 0.001  # seconds


class Place(NamedTuple):
    """A function, by its module (from the package on) and its name."""

    module: str
    function: str


class Sampler:
    """Counts samples by place, between `with` and its end, in the main thread.

    Args:
        packages: Names of packages whose frames are told apart.
    """

    def __init__(self, *packages: str) -> None:
        files = (importlib.import_module(name).__file__ for name in packages)
        self._roots = [Path(file).parent for file in files if file is not None]
        self._modules: dict[str, str | None] = {}
        self.counts: Counter[Place] = Counter()

    def __enter__(self) -> Counter[Place]:
        signal.signal(signal.SIGALRM, self._sample)
        signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)
        return self.counts

    def __exit__(self, *exc: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        while frame is not None:
            module = self._module(frame.f_code.co_filename)
            if module is not None:
                self.counts[Place(module, frame.f_code.co_name)] += 1
                return
            frame = frame.f_back
        self.counts[Place("elsewhere", "")] += 1

    def _module(self, file: str) -> str | None:
        if file not in self._modules:
            path = Path(file)
            root = next((root for root in self._roots if path.is_relative_to(root)), None)
            parts = path.with_suffix("").relative_to(root.parent).parts if root else ()
            self._modules[file] = ".".join(parts) or None
        return self._modules[file]


def per_call(counts: Counter[Place], calls: int, seconds: float) -> dict[Place, float]:
    """Samples as microseconds per call, the largest first."""
    total = sum(counts.values())
    return {place: count / total * seconds / calls * 1e6 for place, count in counts.most_common()}


def repeat(call: Callable[[int], object], seconds: float) -> tuple[int, float]:
    """Call with 0, 1, 2, … until so many seconds are over; how many calls that were, and the seconds they took."""
    begin, calls = time.perf_counter(), 0
    while (spent := time.perf_counter() - begin) < seconds:
        call(calls)
        calls += 1
    return calls, spent


def group(times: dict[Place, float], layers: Sequence[tuple[str, Sequence[str]]]) -> dict[str, float]:
    """Microseconds by layer: the first that lists `module:function`, the module, or the package as `package.`.

    What no layer lists stands under the name of its module.
    """
    grouped: dict[str, float] = {}
    for place, microseconds in times.items():
        names = {f"{place.module}:{place.function}", place.module}
        names.update(place.module[: i + 1] for i, letter in enumerate(place.module) if letter == ".")
        layer = next((title for title, known in layers if not names.isdisjoint(known)), place.module)
        grouped[layer] = grouped.get(layer, 0) + microseconds
    return dict(sorted(grouped.items(), key=lambda item: -item[1]))
