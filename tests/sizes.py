"""How much is tried of what is random or endless: little in `make test`, which has minutes; more in `make soak`."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

EXAMPLES: Final = int(os.environ.get("COATCHECK_EXAMPLES", "60"))
"""What Hypothesis makes up for one test."""

CYCLES: Final = int(os.environ.get("COATCHECK_KILLS", "4"))
"""How often a server is killed under its writers."""

SECONDS: Final = float(os.environ.get("COATCHECK_FAILURES", "0"))
"""For how long a failure goes on; once it happens at least."""

EVERY: Final = os.environ.get("COATCHECK_EVERY") == "1"
"""Whether every combination is tried, where one in turn stands for the others."""

FUZZ: Final = int(os.environ.get("COATCHECK_FUZZ", "1"))
"""How much the fuzzers try: so many times what `make test` has time for."""

STORM: Final = int(os.environ.get("COATCHECK_STORM", "900"))
"""Artifacts that end at once."""

SEED: Final = int(os.environ.get("COATCHECK_SEED") or random.randrange(2**32))
"""Of the fuzzers; they print it."""

SOAK: Final = {
    "COATCHECK_EXAMPLES": "1000",
    "COATCHECK_KILLS": "8",
    "COATCHECK_FAILURES": "30",
    "COATCHECK_EVERY": "1",
    "COATCHECK_FUZZ": "20",
    "COATCHECK_STORM": "20000",
}
"""The sizes of one round of `make soak`."""


def in_turn(things: Sequence[T], number: int) -> Sequence[T]:
    """One of them, or all if `EVERY` combination is to be tried."""
    return things if EVERY else [things[number % len(things)]]


def each_in_turn(things: Iterable[T], others: Sequence[str]) -> list[tuple[T, str]]:
    """Each of the first with one of the second in turn, or with all."""
    return [(thing, other) for number, thing in enumerate(things) for other in in_turn(others, number)]
