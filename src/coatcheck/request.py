"""What backends are asked to store: checked by `arguments.py`, hashed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .errors import InvalidArtifactError
from .ids import ID_LENGTH, compute_digest, is_default_id

if TYPE_CHECKING:
    from .sources import Source


class Condition(NamedTuple):
    """What has to be so for a store to take place.

    Attributes:
        digest: What is under the id has this SHA-256; `None`: nothing is under it.
        token: The call's own. Once it has stored something, sending it again is no conflict.
    """

    digest: bytes | None
    token: bytes


class Details(NamedTuple):
    """What is known of an item before its content was read. `extra` is JSON, empty where there is none."""

    artifact_id: str | None
    content_type: str
    run_id: str | None
    tags: dict[str, str]
    ttl_ms: int | None
    extra: str = ""
    exact_ttl: bool = False
    condition: Condition | None = None


class Request:
    """One item to store, checked and hashed. Backends take nothing else. `default_id`: the content's own."""

    __slots__ = (
        "artifact_id",
        "condition",
        "content_type",
        "default_id",
        "digest",
        "exact_ttl",
        "extra",
        "run_id",
        "size",
        "tags",
        "ttl_ms",
    )

    def __init__(self, digest: bytes, size: int, details: Details) -> None:
        self.digest = digest
        self.size = size
        self.default_id = digest.hex()[:ID_LENGTH]
        (
            artifact_id,
            self.content_type,
            self.run_id,
            self.tags,
            self.ttl_ms,
            self.extra,
            self.exact_ttl,
            self.condition,
        ) = details
        if artifact_id is None:
            artifact_id = self.default_id
        elif artifact_id != self.default_id and is_default_id(artifact_id):
            raise InvalidArtifactError(
                f"artifact_id {artifact_id} looks like the hash of other content, which it would mean for ever: "
                "choose another artifact_id, or leave it out"
            )
        self.artifact_id = artifact_id

    @property
    def is_plain(self) -> bool:
        """Whether it is stored whatever is there, and shortens nothing."""
        return self.condition is None and not self.exact_ttl


class StoreRequest(Request):
    """An item whose content is in memory."""

    __slots__ = ("content",)

    def __init__(self, content: bytes, details: Details) -> None:
        super().__init__(compute_digest(content), len(content), details)
        self.content = content


class SourceRequest(Request):
    """An item whose content is read piece by piece."""

    __slots__ = ("source",)

    def __init__(self, source: Source, details: Details) -> None:
        super().__init__(source.digest, source.size, details)
        self.source = source
