"""What can go wrong: one small tree under `ArtifactError`.

Absent artifacts are not errors (`None` or `False`). Messages name the artifact and the cure, never a password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import ArtifactMetadata


class ArtifactError(Exception):
    """The root of every error that coatcheck raises on purpose.

    Attributes:
        transient: Whether the same call may succeed later although nobody changed anything: worth a retry.
    """

    transient = False


class InvalidArtifactError(ArtifactError, ValueError):
    """The caller handed in something that cannot be stored or looked up; nothing was written."""


class ArtifactTooLargeError(InvalidArtifactError):
    """The content is larger than this store takes or gives out (`max_size`); nothing was written, nothing fetched."""


class ArtifactNotFoundError(ArtifactError, LookupError):
    """An artifact that has to be there is not: it was deleted, it expired, or nobody stored it."""


class ArtifactConflictError(ArtifactError):
    """A condition of a store is not met (`if_absent`, `if_digest`): somebody else was first. Nothing was written.

    Attributes:
        metadata: What is there instead, as the latest store left it; `None`: nothing is.
    """

    def __init__(self, message: str, metadata: ArtifactMetadata | None = None) -> None:
        super().__init__(message)
        self.metadata = metadata


class ArtifactDecodeError(ArtifactError, ValueError):
    """The content is what was stored, and not what its content type, or the caller, says."""


class MissingExtraError(ArtifactError, ImportError):
    """A value needs a package that is not installed."""


class CorruptArtifactError(ArtifactError):
    """What lies in the store is not what was stored: wrong bytes, wrong type, or an unknown format version."""


class ArtifactLostError(ArtifactError):
    """The metadata is there and the content is gone, as after an eviction. Storing the content again heals it."""


class StoreFullError(ArtifactError):
    """The server refuses writes because it reached `maxmemory`. Nothing was written; reads and deletes work."""

    transient = True  # TTLs make room


class StoreUnavailableError(ArtifactError):
    """The store cannot be used now: no server, or one that cannot serve us, as a read-only replica."""

    transient = True


class StoreAccessError(StoreUnavailableError):
    """The server lets us not in, or not do that: wrong password, missing permission, certificate not accepted."""

    transient = False


class WrongServerError(StoreUnavailableError):
    """The server is not of the kind that the store was opened for, as a node of a cluster under `redis://`."""

    transient = False


class StoreClosedError(StoreUnavailableError):
    """The store was closed by `close()`, or at the end of its `with`: open another one."""

    transient = False


class AmbiguousWriteError(StoreUnavailableError):
    """A write was sent and its outcome is unknown. Every operation is safe to repeat."""


class EvictingServerWarning(UserWarning):
    """The server's `maxmemory-policy` lets it evict artifacts before their TTL. Given once per store."""
