"""Tickets: the small JSON values that travel in state instead of the content."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, overload

from .errors import ArtifactConflictError, ArtifactNotFoundError, InvalidArtifactError
from .ids import REF_KEY, check_artifact_id
from .model import ArtifactMetadata

if TYPE_CHECKING:
    from .aio import AsyncArtifactStore
    from .model import Artifact
    from .store import ArtifactStore

Ticket = Mapping[str, Any]
"""`{"$artifact": id}`; what else lies in it is the caller's."""

IdLike = str | Ticket | ArtifactMetadata
"""What stands for an artifact wherever an id is taken."""


def artifact_ref(artifact_id: IdLike) -> dict[str, str]:
    """The ticket for an artifact: `{"$artifact": id}`. `ArtifactMetadata.ref` is the same.

    Raises:
        InvalidArtifactError: Not an id, nor metadata.
    """
    return {REF_KEY: id_of(artifact_id)}


def is_artifact_ref(value: object) -> TypeGuard[Ticket]:
    """Whether a value is a ticket."""
    return isinstance(value, Mapping) and isinstance(value.get(REF_KEY), str)


def get_artifact_id(ref: Ticket) -> str:
    """The id in a ticket.

    Raises:
        InvalidArtifactError: It is not a ticket, or the id in it is none.
    """
    if not is_artifact_ref(ref):
        raise InvalidArtifactError(f'{ref!r:.100} is not a ticket: a ticket is {{"$artifact": "<id>"}}')
    return check_artifact_id(ref[REF_KEY])


def id_of(artifact: object) -> str:
    """The id that an id, a ticket or metadata stand for, checked, as a plain `str`.

    Raises:
        InvalidArtifactError: None of these.
    """
    if isinstance(artifact, str):
        return check_artifact_id(artifact)
    if isinstance(artifact, ArtifactMetadata):
        return check_artifact_id(artifact.artifact_id)
    if is_artifact_ref(artifact):
        return check_artifact_id(artifact[REF_KEY])
    raise InvalidArtifactError(
        f'artifact_id must be an id, a ticket ({{"$artifact": "<id>"}}) or ArtifactMetadata, '
        f"not {type(artifact).__name__}"
    )


def not_found(artifact_id: IdLike, run_id: str | None = None) -> ArtifactNotFoundError:
    """The error for an artifact that is required and absent."""
    whose = "" if run_id is None else f" that run {run_id!r} leases"
    return ArtifactNotFoundError(f"there is no artifact {id_of(artifact_id)}{whose}: deleted, expired or never stored")


def conflict(artifact_id: str, winner: ArtifactMetadata | None) -> ArtifactConflictError:
    """The error for a store whose condition is not met; `winner`: what is there."""
    if winner is None:
        return ArtifactConflictError(f"there is no artifact {artifact_id} that a store with if_digest could replace")
    return ArtifactConflictError(
        f"artifact {artifact_id} is there, stored by run {winner.run_id!r:.100} at {winner.created_at} with the "
        f"SHA-256 {winner.digest}: look at it and decide again",
        winner,
    )


@overload
def resolve_artifact(ref: Ticket | ArtifactMetadata, store: ArtifactStore, *, required: Literal[True]) -> Artifact: ...
@overload
def resolve_artifact(
    ref: Ticket | ArtifactMetadata, store: ArtifactStore, *, required: bool = False
) -> Artifact | None: ...
def resolve_artifact(
    ref: Ticket | ArtifactMetadata, store: ArtifactStore, *, required: bool = False
) -> Artifact | None:
    """The artifact that a ticket stands for, or `None` where it is absent.

    Args:
        ref: A ticket, or metadata.
        store: Where to look.
        required: Raise where it is absent.

    Raises:
        InvalidArtifactError: Neither a ticket nor metadata.
        ArtifactNotFoundError: It is absent and `required`.
    """
    artifact_id = _resolvable(ref)
    loaded: Any = store.load(artifact_id)
    if inspect.iscoroutine(loaded):
        loaded.close()
        raise InvalidArtifactError("an AsyncArtifactStore has to be awaited: use aresolve_artifact()")
    artifact: Artifact | None = loaded
    if artifact is None and required:
        raise not_found(ref)
    return artifact


@overload
async def aresolve_artifact(
    ref: Ticket | ArtifactMetadata, store: AsyncArtifactStore, *, required: Literal[True]
) -> Artifact: ...
@overload
async def aresolve_artifact(
    ref: Ticket | ArtifactMetadata, store: AsyncArtifactStore, *, required: bool = False
) -> Artifact | None: ...
async def aresolve_artifact(
    ref: Ticket | ArtifactMetadata, store: AsyncArtifactStore, *, required: bool = False
) -> Artifact | None:
    """`resolve_artifact` for an `AsyncArtifactStore`."""
    artifact_id = _resolvable(ref)
    loading: Any = store.load(artifact_id)
    if not inspect.isawaitable(loading):
        raise InvalidArtifactError("a store that blocks is not awaited: use resolve_artifact()")
    artifact: Artifact | None = await loading
    if artifact is None and required:
        raise not_found(ref)
    return artifact


def _resolvable(ref: Ticket | ArtifactMetadata) -> str:
    return id_of(ref) if isinstance(ref, ArtifactMetadata) else get_artifact_id(ref)
