"""How much memory a client takes: in a process of its own, as memory that others have freed before would hide it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")


def in_process(function: Callable[..., T], *arguments: object) -> T:
    """What a function returns in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


class Peak:
    """The most memory, in bytes, that a block of code takes over what was resident before it (Linux)."""

    def __enter__(self) -> Self:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
        self._idle = _memory("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = _memory("VmHWM") - self._idle


def _memory(figure: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(figure)) * 1024
