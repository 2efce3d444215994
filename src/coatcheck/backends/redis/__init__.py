"""Artifacts on a Redis or Valkey server."""

from .options import RedisKeywords, RedisOptions
from .transport.connect import AsyncTarget, Target

__all__ = ["AsyncTarget", "RedisKeywords", "RedisOptions", "Target"]
