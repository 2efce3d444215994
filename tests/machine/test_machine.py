"""The state machine over every backend. `make soak` runs a hundred rounds; COATCHECK_EXAMPLES says how much."""

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

from ..harnesses import ENGINE_NAMES, TINY, FileHarness, MemoryHarness, RedisHarness

# Shrinking on a real server takes minutes: what failed is printed as it is, with its seed.
PHASES = [phase for phase in Phase if phase is not Phase.shrink]
EXAMPLES = int(os.environ.get("COATCHECK_EXAMPLES", "200"))

SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,  # says how to repeat a failure
    phases=PHASES,
)


VARIANTS = {"valkey in chunks": 4, "valkey in 64 partitions": 8, "valkey cluster": 16}
"""Which part of the examples they get that backends get; `make soak` has the rest."""


@pytest.mark.parametrize("backend", ["memory", "file", *ENGINE_NAMES, *VARIANTS])
def test_random_operations_agree_with_a_model(backend, monkeypatch, request) -> None:
    wanted = settings(SETTINGS, max_examples=max(1, EXAMPLES // VARIANTS.get(backend, 1)))
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
