"""What is light runs with all other tests; that it does not silently stop to is asserted here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import lacks


@pytest.mark.skipif("CI" not in os.environ, reason="without it, what is not installed is left out")
@pytest.mark.parametrize("name", ["abstractruntime", "proxystore"])
def test_in_ci_the_light_ones_are_installed(name: str) -> None:
    assert lacks(Path(__file__).with_name(name)) is None
