"""What lies under a namespace of one server, to be put back as often as needed: faster than storing it again."""

from __future__ import annotations

from collections.abc import Iterable

import redis

Value = tuple[int, bytes]
"""When a key ends, and what is in it."""


class Snapshot:
    """What lies under a prefix when it is made."""

    def __init__(self, client: redis.Redis, prefix: bytes) -> None:
        self.client = client
        self.prefix = prefix
        self.furniture = self.seen()

    def seen(self) -> dict[bytes, Value]:
        """What lies there now."""
        return self.values(sorted(self._names()))

    def values(self, names: Iterable[bytes]) -> dict[bytes, Value]:
        """What lies under some names."""
        names = list(names)
        with self.client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.pexpiretime(name).dump(name)
            replies = pipeline.execute()
        return dict(zip(names, zip(replies[::2], replies[1::2], strict=True), strict=True))

    def restore(self, names: Iterable[bytes] | None = None) -> None:
        """Put back what was there at first, under some names or under all."""
        with self.client.pipeline(transaction=False) as pipeline:
            for name in {*self._names(), *self.furniture} if names is None else names:
                pipeline.unlink(name)
                if name in self.furniture:
                    ends, value = self.furniture[name]
                    pipeline.restore(name, max(0, ends), value, absttl=True)
            pipeline.execute()

    def _names(self) -> Iterable[bytes]:
        return set(self.client.scan_iter(match=self.prefix + b"*", count=10_000))
