"""Artifacts on a Redis or Valkey server."""

from .options import DEFAULT_CACHE_DIR_SIZE, DEFAULT_RETRY_FOR, RedisOptions
from .transport.connect import AsyncTarget, Target
from .transport.durability import Durability

__all__ = ["DEFAULT_CACHE_DIR_SIZE", "DEFAULT_RETRY_FOR", "AsyncTarget", "Durability", "RedisOptions", "Target"]
