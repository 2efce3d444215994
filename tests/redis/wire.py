"""What a store sends over its transport, seen from below everything that decides about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coatcheck import RedisArtifactStore
from coatcheck.backends.redis.transport.base import Part


class Wire:
    """Records every pipeline of a blocking store, and passes it on.

    Args:
        store: The store.
    """

    def __init__(self, store: RedisArtifactStore) -> None:
        session = store._operations.backend.session
        self.transport, session.transport = session.transport, self
        self.parts: list[Part] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def send(self, parts: Sequence[Part]) -> Any:
        self.parts += parts
        return self.transport.send(parts)

    def begin(self, parts: Sequence[Part]) -> Any:
        self.parts += parts
        return self.transport.begin(parts)

    @property
    def trips(self) -> int:
        """How often a server was asked; there is only one."""
        return len(self.parts)

    @property
    def sent(self) -> list[int]:
        """Bytes of each trip."""
        return [sum(map(len, part.buffers)) for part in self.parts]

    @property
    def received(self) -> list[int]:
        """Replies of each trip."""
        return [part.replies for part in self.parts]

    def reset(self) -> None:
        """Forget what went over it."""
        self.parts = []
