"""What a Redis store can be told, checked."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

from ...compression import Compression, Zstd
from ...envelope import Verify
from ...errors import InvalidArtifactError
from .backend import RedisBackend
from .durability import LEVELS, Durability
from .link import Link

DEFAULT_RETRY_FOR: Final = 3.0
"""Seconds: longer than a failover on a healthy Sentinel or Cluster takes, shorter than a caller's patience."""


@dataclass(frozen=True)
class RedisOptions:
    """The options of `RedisArtifactStore` that its backend takes.

    Raises:
        InvalidArtifactError: One of them makes no sense.
    """

    namespace: str
    compression: Compression | None
    verify: Verify
    retry_for: float
    max_size: int | None
    durability: Durability
    compression_level: int
    compression_threshold: int

    def __post_init__(self) -> None:
        if self.compression not in ("zstd", None):
            raise InvalidArtifactError(f"compression must be 'zstd' or None, not {self.compression!r}")
        self._zstd()
        if self.verify not in ("full", "checksum"):
            raise InvalidArtifactError(f"verify must be 'full' or 'checksum', not {self.verify!r}")
        if self.durability not in LEVELS:
            raise InvalidArtifactError(f"durability must be one of {', '.join(LEVELS)}, not {self.durability!r}")
        if not isinstance(self.retry_for, int | float) or not 0 <= self.retry_for < math.inf:  # type: ignore[redundant-expr]
            raise InvalidArtifactError(f"retry_for must be seconds, 0 or more, not {self.retry_for!r}")
        size = self.max_size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):  # type: ignore[redundant-expr]
            raise InvalidArtifactError(f"max_size must be bytes, 1 or more, or None, not {size!r}")

    def as_dict(self) -> dict[str, Any]:
        """The options as keywords."""
        return asdict(self)

    def backend(self, link: Link) -> RedisBackend:
        """A backend with these options."""
        return RedisBackend(
            link,
            namespace=self.namespace,
            retry_for=self.retry_for,
            compression=self._zstd(),
            verify=self.verify,
            max_size=self.max_size,
            durability=self.durability,
        )

    def _zstd(self) -> Zstd | None:
        settings = Zstd(self.compression_level, self.compression_threshold)  # checked even where it is not used
        return None if self.compression is None else settings
