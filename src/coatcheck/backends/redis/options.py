"""What a Redis store can be told, checked."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ...cache import ContentCache
from ...compression import Compression, Zstd
from ...disk_cache import DiskCache
from ...envelope import Verify
from ...errors import InvalidArtifactError
from .backend import RedisBackend
from .transport.base import Transport
from .transport.durability import LEVELS, Durability

DEFAULT_RETRY_FOR: Final = 3.0
"""Seconds: longer than a failover on a healthy Sentinel or Cluster takes, shorter than a caller's patience."""

DEFAULT_CACHE_DIR_SIZE: Final = 1024**3


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
    cache_size: int
    cache_dir: str | os.PathLike[str] | None
    cache_dir_size: int

    def __post_init__(self) -> None:
        if self.compression not in ("zstd", None):
            raise InvalidArtifactError(f"compression must be 'zstd' or None, not {self.compression!r}")
        self._zstd()
        _check_bytes("cache_size", self.cache_size, least=0)
        _check_bytes("cache_dir_size", self.cache_dir_size, least=1)
        directory: object = self.cache_dir
        if directory is not None and (not isinstance(directory, str | os.PathLike) or not os.fspath(directory)):
            raise InvalidArtifactError(f"cache_dir must be a directory or None, not {directory!r}")
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
        return {**asdict(self), "cache_dir": None if self.cache_dir is None else str(Path(self.cache_dir).absolute())}

    def backend(self, link: Transport) -> RedisBackend:
        """A backend with these options."""
        return RedisBackend(
            link,
            namespace=self.namespace,
            retry_for=self.retry_for,
            compression=self._zstd(),
            verify=self.verify,
            max_size=self.max_size,
            durability=self.durability,
            cache=self._cache(),
        )

    def _cache(self) -> ContentCache | None:
        if self.cache_dir is not None:
            disk = DiskCache(Path(self.cache_dir).absolute(), self.cache_dir_size, self.verify)
            return ContentCache(self.cache_size, disk)
        return ContentCache(self.cache_size) if self.cache_size else None

    def _zstd(self) -> Zstd | None:
        settings = Zstd(self.compression_level, self.compression_threshold)  # checked even where it is not used
        return None if self.compression is None else settings


def _check_bytes(name: str, value: object, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidArtifactError(f"{name} must be bytes, {least} or more, not {value!r}")
