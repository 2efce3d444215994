"""Artifacts on a Redis or Valkey server."""

from .backend import RedisBackend
from .options import RedisKeywords, RedisOptions
from .transport.connect import AsyncTarget, Target, told

__all__ = ["AsyncTarget", "RedisBackend", "RedisKeywords", "RedisOptions", "Target", "told"]
