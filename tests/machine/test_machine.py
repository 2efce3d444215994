"""The state machine over every backend. More of it in `make soak`."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from coatcheck.testing.machine import machine_for

from ..harnesses import TINY, FileHarness, MemoryHarness, RedisHarness
from ..sizes import EXAMPLES

# Shrinking on a real server takes minutes: what failed is printed as it is, with its seed.
PHASES = [phase for phase in Phase if phase is not Phase.shrink]

SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=50,
    suppress_health_check=list(HealthCheck),
    print_blob=True,  # says how to repeat a failure
    phases=PHASES,
)


SHARES = {
    "memory": 2,
    "file": 4,
    "valkey": 2,
    "redis7": 8,
    "redis8": 8,
    "valkey in chunks": 8,
    "valkey in 64 partitions": 12,
    "valkey cluster": 50,
}
"""Which part of the examples each place gets: what takes longer gets less."""


@pytest.mark.parametrize("backend", SHARES)
def test_random_operations_agree_with_a_model(backend, monkeypatch, request) -> None:
    wanted = settings(SETTINGS, max_examples=max(1, EXAMPLES // SHARES[backend]))
    counter = itertools.count()
    directories = []
    if backend == "file":
        monkeypatch.setattr(os, "fsync", lambda fd: None)  # thousands of them; crashes are tested elsewhere

    def harness():
        if backend == "memory":
            return MemoryHarness(twin="both")
        if backend == "file":
            directories.append(tempfile.mkdtemp())
            return FileHarness(Path(directories[-1]), twin="both")
        place = backend.removesuffix(" in chunks")
        made = RedisHarness(place, request.getfixturevalue, f"machine{next(counter)}", twin="both")
        made.chunking = TINY if place != backend else None
        return made

    try:
        run_state_machine_as_test(machine_for(harness), settings=wanted)
    finally:
        for directory in directories:
            shutil.rmtree(directory)
