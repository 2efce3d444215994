"""Temporal's runtime has threads and descriptors that stay as long as the process."""

from __future__ import annotations

import pytest
from temporalio.runtime import Runtime

from ...leaks import Leaks


@pytest.fixture(scope="session", autouse=True)
def runtime(leaks: Leaks) -> None:
    with leaks.lasting():
        Runtime.default()
