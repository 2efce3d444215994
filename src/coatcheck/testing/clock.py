"""A clock to turn, and stores in memory that go by it: so that tests of TTLs wait for nothing."""

from __future__ import annotations

from datetime import timedelta

from ..aio import AsyncArtifactStore
from ..arguments import Ttl
from ..backends.memory import MemoryBackend
from ..sync import BackendStore


class Clock:
    """Stands still until it is turned.

    Args:
        now: What it shows: Unix time in seconds.
    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """What it shows."""
        return self.now

    def turn(self, by: float | timedelta) -> None:
        """Turn it on, by seconds or a `timedelta`."""
        self.now += by.total_seconds() if isinstance(by, timedelta) else by


def memory_store(clock: Clock, *, default_ttl: Ttl = None) -> BackendStore:
    """A store in memory whose leases end by a clock of yours.

    Args:
        clock: Says what time it is.
        default_ttl: Seconds, a `timedelta`, or `None` for ever.
    """
    return BackendStore(MemoryBackend(clock=clock), default_ttl=default_ttl)


def amemory_store(clock: Clock, *, default_ttl: Ttl = None) -> AsyncArtifactStore:
    """`memory_store`, awaited."""
    return AsyncArtifactStore(MemoryBackend(clock=clock), default_ttl=default_ttl)
