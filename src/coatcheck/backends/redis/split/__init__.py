"""The split form of the Redis backend: every command keeps to one hash slot, as Redis Cluster needs it."""

from .backend import SplitBackend

__all__ = ["SplitBackend"]
