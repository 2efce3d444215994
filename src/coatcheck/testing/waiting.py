"""Waiting for something to become true."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: It did not within that many seconds.
    """
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "the condition did not come true in time"
        time.sleep(0.01)
