"""What a store returns: artifacts, their metadata, leases, and figures about the store."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def format_time(microseconds: int) -> str:
    """Unix time in microseconds as ISO 8601 in UTC. All results have one length, so they sort as text."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")


class ArtifactMetadata(BaseModel):
    """One lease's view of an artifact.

    `store` and `list_by_run` return the view of the run that was named; `get_metadata` and `load` return the view
    of the latest store that still holds.

    Attributes:
        artifact_id: The id that the ticket carries.
        content_type: MIME type or semantic type, as the storing run gave it.
        size_bytes: Length of the content in bytes, before compression.
        created_at: When this lease was last stored: ISO 8601, UTC, microseconds, by the server's clock.
        run_id: Who stored it; `None` for the anonymous lease.
        tags: The storing run's own tags.
        digest: Full SHA-256 of the content, 64 hex digits. `None` only for records written by other software.
        expires_at: When this lease ends (ISO 8601, UTC); `None`: never. Other leases may keep the content longer.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    artifact_id: str
    content_type: str
    size_bytes: int
    created_at: str
    run_id: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    digest: str | None = None
    expires_at: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_inherited_names(cls, data: Any) -> Any:
        """AbstractRuntime calls the full digest `blob_id`."""
        if isinstance(data, dict) and data.get("digest") is None and data.get("blob_id"):
            return {**data, "digest": data["blob_id"]}
        return data

    def to_dict(self) -> dict[str, Any]:
        """A JSON-serialisable dict; `from_dict` reads it back."""
        return self.model_dump()

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote, or AbstractRuntime's metadata. Unknown keys are ignored.

        Raises:
            ValueError: A field is missing or has the wrong type (pydantic's `ValidationError`).
        """
        return cls.model_validate(data)


class Artifact(BaseModel):
    """An artifact: metadata and content."""

    model_config = ConfigDict(frozen=True)

    metadata: ArtifactMetadata
    content: bytes

    @property
    def artifact_id(self) -> str:
        """The id that the ticket carries."""
        return self.metadata.artifact_id

    @property
    def content_type(self) -> str:
        """MIME type or semantic type of the content."""
        return self.metadata.content_type

    def as_text(self, encoding: str = "utf-8") -> str:
        """The content decoded as text.

        Raises:
            UnicodeDecodeError: The content is not text in that encoding.
        """
        return self.content.decode(encoding)

    def as_json(self) -> Any:
        """The content parsed as JSON in UTF-8.

        Raises:
            ValueError: The content is not JSON (`json.JSONDecodeError`), or not UTF-8.
        """
        return json.loads(self.content.decode("utf-8"))


class Lease(BaseModel):
    """One run's claim on one artifact.

    Attributes:
        run_id: Who holds it; `None` for the anonymous lease.
        created_at: When that run last stored the artifact (ISO 8601, UTC).
        expires_at: When the lease ends (ISO 8601, UTC); `None`: never.
        content_type: The content type that run gave.
        tags: The tags that run gave.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str | None
    created_at: str
    expires_at: str | None
    content_type: str
    tags: dict[str, str]


class StoreStats(BaseModel):
    """Figures about one store (one namespace).

    Attributes:
        artifacts: Live artifacts.
        leases: Live leases on them.
        runs: Runs that hold at least one lease.
        contents: Distinct contents.
        artifact_bytes: Sum of the sizes of all artifacts as their runs see them: what would be kept
            without sharing, counted once for each lease.
        content_bytes: Sum of the sizes of the distinct contents, before compression.
        stored_bytes: What these contents take as stored: after sharing and compression, in bytes.
    """

    model_config = ConfigDict(frozen=True)

    artifacts: int = 0
    leases: int = 0
    runs: int = 0
    contents: int = 0
    artifact_bytes: int = 0
    content_bytes: int = 0
    stored_bytes: int = 0
