"""coatcheck: a content-addressed artifact store on Redis. Hand in the payload, pass the ticket."""

from .aio import (
    AsyncArtifactStore,
    AsyncFileArtifactStore,
    AsyncInMemoryArtifactStore,
    AsyncRedisArtifactStore,
)
from .arguments import DEFAULT, Payload
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
from .ids import compute_artifact_id, validate_artifact_id
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
    "get_artifact_id",
    "is_artifact_ref",
    "open_store",
    "resolve_artifact",
    "validate_artifact_id",
]
