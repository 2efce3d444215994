"""Tickets: the small JSON values that travel in state instead of the content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aio import AsyncArtifactStore
    from .model import Artifact
    from .store import ArtifactStore

_KEY = "$artifact"


def artifact_ref(artifact_id: str) -> dict[str, str]:
    """The ticket for an artifact: `{"$artifact": id}`."""
    return {_KEY: artifact_id}


def is_artifact_ref(value: Any) -> bool:
    """Whether a value is a ticket."""
    return isinstance(value, dict) and _KEY in value


def get_artifact_id(ref: dict[str, str]) -> str:
    """The id in a ticket.

    Raises:
        KeyError: It is not a ticket.
    """
    return ref[_KEY]


def resolve_artifact(ref: dict[str, str], store: ArtifactStore) -> Artifact | None:
    """The artifact that a ticket stands for; `None` when it is absent or the value is not a ticket."""
    return store.load(get_artifact_id(ref)) if is_artifact_ref(ref) else None


async def aresolve_artifact(ref: dict[str, str], store: AsyncArtifactStore) -> Artifact | None:
    """`resolve_artifact` for an `AsyncArtifactStore`."""
    return await store.load(get_artifact_id(ref)) if is_artifact_ref(ref) else None
