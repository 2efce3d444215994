"""Artifacts on a Redis or Valkey server."""

from .connect import AsyncTarget, Target
from .durability import Durability
from .options import DEFAULT_CACHE_DIR_SIZE, DEFAULT_RETRY_FOR, RedisOptions

__all__ = ["DEFAULT_CACHE_DIR_SIZE", "DEFAULT_RETRY_FOR", "AsyncTarget", "Durability", "RedisOptions", "Target"]
