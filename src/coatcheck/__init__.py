"""coatcheck: a content-addressed artifact store on Redis. Hand in the payload, pass the ticket."""

# What is named here is imported when it is asked for: who only needs errors, ids or the version should not wait for
# redis-py and pydantic. Each name stands in three places; tests/unit/test_package.py compares them.

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aio import (
        AsyncArtifactStore,
        AsyncFileArtifactStore,
        AsyncInMemoryArtifactStore,
        AsyncRedisArtifactStore,
    )
    from .arguments import ANONYMOUS, DEFAULT, Payload
    from .backends.redis import RedisOptions
    from .cache import CacheInfo
    from .errors import (
        AmbiguousWriteError,
        ArtifactConflictError,
        ArtifactDecodeError,
        ArtifactError,
        ArtifactLostError,
        ArtifactNotFoundError,
        ArtifactTooLargeError,
        CorruptArtifactError,
        EvictingServerWarning,
        InvalidArtifactError,
        MissingExtraError,
        StoreAccessError,
        StoreClosedError,
        StoreFullError,
        StoreUnavailableError,
        WrongServerError,
    )
    from .events import Event
    from .ids import compute_artifact_id, foreign_id, validate_artifact_id
    from .model import Artifact, ArtifactMetadata, CheckReport, Lease, Page, Problem, Removal, RunStats, StoreStats
    from .reader import ArtifactReader, AsyncArtifactReader
    from .refs import aresolve_artifact, artifact_ref, get_artifact_id, is_artifact_ref, resolve_artifact
    from .runs import AsyncRun, Run
    from .search import ANY
    from .store import ArtifactStore
    from .sync import BackendStore, FileArtifactStore, InMemoryArtifactStore, RedisArtifactStore
    from .urls import aopen_store, open_store

__version__ = "0.1.0"

__all__ = [
    "ANONYMOUS",
    "ANY",
    "DEFAULT",
    "AmbiguousWriteError",
    "Artifact",
    "ArtifactConflictError",
    "ArtifactDecodeError",
    "ArtifactError",
    "ArtifactLostError",
    "ArtifactMetadata",
    "ArtifactNotFoundError",
    "ArtifactReader",
    "ArtifactStore",
    "ArtifactTooLargeError",
    "AsyncArtifactReader",
    "AsyncArtifactStore",
    "AsyncFileArtifactStore",
    "AsyncInMemoryArtifactStore",
    "AsyncRedisArtifactStore",
    "AsyncRun",
    "BackendStore",
    "CacheInfo",
    "CheckReport",
    "CorruptArtifactError",
    "Event",
    "EvictingServerWarning",
    "FileArtifactStore",
    "InMemoryArtifactStore",
    "InvalidArtifactError",
    "Lease",
    "MissingExtraError",
    "Page",
    "Payload",
    "Problem",
    "RedisArtifactStore",
    "RedisOptions",
    "Removal",
    "Run",
    "RunStats",
    "StoreAccessError",
    "StoreClosedError",
    "StoreFullError",
    "StoreStats",
    "StoreUnavailableError",
    "WrongServerError",
    "aopen_store",
    "aresolve_artifact",
    "artifact_ref",
    "compute_artifact_id",
    "foreign_id",
    "get_artifact_id",
    "is_artifact_ref",
    "open_store",
    "resolve_artifact",
    "validate_artifact_id",
]

_HOMES = {
    "aio": ("AsyncArtifactStore", "AsyncFileArtifactStore", "AsyncInMemoryArtifactStore", "AsyncRedisArtifactStore"),
    "arguments": ("ANONYMOUS", "DEFAULT", "Payload"),
    "backends.redis": ("RedisOptions",),
    "cache": ("CacheInfo",),
    "errors": (
        "AmbiguousWriteError",
        "ArtifactConflictError",
        "ArtifactDecodeError",
        "ArtifactError",
        "ArtifactLostError",
        "ArtifactNotFoundError",
        "ArtifactTooLargeError",
        "CorruptArtifactError",
        "EvictingServerWarning",
        "InvalidArtifactError",
        "MissingExtraError",
        "StoreAccessError",
        "StoreClosedError",
        "StoreFullError",
        "StoreUnavailableError",
        "WrongServerError",
    ),
    "events": ("Event",),
    "ids": ("compute_artifact_id", "foreign_id", "validate_artifact_id"),
    "model": (
        "Artifact",
        "ArtifactMetadata",
        "CheckReport",
        "Lease",
        "Page",
        "Problem",
        "Removal",
        "RunStats",
        "StoreStats",
    ),
    "reader": ("ArtifactReader", "AsyncArtifactReader"),
    "refs": ("aresolve_artifact", "artifact_ref", "get_artifact_id", "is_artifact_ref", "resolve_artifact"),
    "runs": ("AsyncRun", "Run"),
    "search": ("ANY",),
    "store": ("ArtifactStore",),
    "sync": ("BackendStore", "FileArtifactStore", "InMemoryArtifactStore", "RedisArtifactStore"),
    "urls": ("aopen_store", "open_store"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

if not TYPE_CHECKING:  # type checkers know the names above, and no others

    def __getattr__(name: str) -> Any:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415

        found = globals()[name] = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
