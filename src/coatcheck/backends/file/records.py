"""Metadata files: a record as JSON that AbstractRuntime reads too."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ...errors import CorruptArtifactError, InvalidArtifactError
from ...ids import is_default_id, validate_artifact_id
from ...model import ArtifactMetadata, format_time
from ..local_records import LeaseRecord, Record

VERSION: Final = 1
_KNOWN: Final = {*ArtifactMetadata.model_fields, "blob_id", "coatcheck"} - {"extra"}  # which lies in `coatcheck`
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_DEVICES: Final = frozenset({"con", "prn", "aux", "nul"}) | {f"{d}{n}" for d in ("com", "lpt") for n in range(10)}


@dataclass(slots=True)
class Stored(Record):
    """A record as it lies in its file.

    Attributes:
        blob: The content's name in `blobs/`; empty if it lies beside the metadata.
        rest: Fields that other software wrote; they stay as they are.
        noted: Runs that the file names, so that their indexes may.
        entered: Those of them whose indexes do: listings remove entries of leases that have ended.
        old: Whether it lies in the older layout.
    """

    blob: str = ""
    rest: dict[str, Any] = field(default_factory=dict)
    noted: frozenset[str | None] = frozenset()
    entered: frozenset[str | None] = frozenset()
    old: bool = False

    def prune(self, now: int) -> bool:
        """Forget leases that have ended; whether any is left."""
        live = Record.prune(self, now)
        self.entered &= self.leases.keys()
        return live


def file_name(artifact_id: str) -> str:
    """Of an artifact's metadata; the only place where an id becomes a name.

    Raises:
        InvalidArtifactError: The id cannot be part of one.
    """
    validate_artifact_id(artifact_id)
    if artifact_id.lower() in _DEVICES:
        raise InvalidArtifactError(
            f"artifact_id {artifact_id!r} is the name of a device on Windows; the file store refuses it everywhere"
        )
    return f"{artifact_id}.meta"


def is_id(name: str) -> bool:
    """Whether a file of that name can be ours."""
    try:
        file_name(name)
    except InvalidArtifactError:
        return False
    return True


def is_digest(name: str) -> bool:
    """Whether it is a SHA-256 in hex."""
    return _DIGEST.fullmatch(name) is not None


def encode(record: Stored) -> bytes:
    """The file of a record."""
    shown = record.view(record.latest()).to_dict()
    del shown["extra"]
    leases = [
        {
            "run_id": lease.run_id,
            "created": lease.created,
            "deadline": lease.deadline,
            "content_type": lease.content_type,
            "tags": lease.tags,
            **({"extra": json.loads(lease.extra)} if lease.extra else {}),
        }
        for lease in sorted(record.leases.values(), key=lambda lease: lease.created)
    ]
    ours = {"version": VERSION, "leases": leases, **({"foreign": True} if record.foreign else {})}
    return json.dumps({**record.rest, **shown, "blob_id": record.blob or None, "coatcheck": ours}).encode()


def decode(raw: bytes, name: str) -> Stored:
    """The record in a file.

    Args:
        raw: What the file holds.
        name: Its name.

    Raises:
        CorruptArtifactError: It is damaged, or of a later version.
    """
    try:
        data: dict[str, Any] = json.loads(raw)
        shown = ArtifactMetadata.from_dict({name: value for name, value in data.items() if name in _KNOWN})
        validate_artifact_id(shown.artifact_id)
        if shown.size_bytes < 0:
            raise ValueError(f"size {shown.size_bytes}")
        blob = str(data.get("blob_id") or "")
        if blob:
            validate_artifact_id(blob)
        digest = shown.digest or ""
        if digest and not is_digest(digest):
            if digest != blob:
                raise ValueError(f"digest {digest!r}")
            digest = ""  # AbstractRuntime takes any name for a blob
        ours = data.get("coatcheck")
        if ours is not None and ours["version"] != VERSION:
            raise CorruptArtifactError(
                f"{name} has format version {ours['version']}; this coatcheck reads version {VERSION}: upgrade it"
            )
        leases = [_inherited_lease(shown)] if ours is None else [_lease(lease) for lease in ours["leases"]]
        foreign = ours is None or bool(ours.get("foreign"))
        if not foreign and is_default_id(shown.artifact_id) and not digest.startswith(shown.artifact_id):
            raise ValueError("they are of other content")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorruptArtifactError(f"metadata file {name} is damaged ({reason}); remove it and store again") from None
    noted = frozenset() if ours is None else frozenset(lease.run_id for lease in leases)
    return Stored(
        shown.artifact_id,
        bytes.fromhex(digest),
        shown.size_bytes,
        {lease.run_id: lease for lease in leases},
        foreign,
        blob,
        {name: value for name, value in data.items() if name not in _KNOWN},
        noted=noted,
        entered=noted,
    )


def _lease(data: dict[str, Any]) -> LeaseRecord:
    created, deadline = data["created"], data["deadline"]
    if not isinstance(created, int) or not isinstance(deadline, int | None):
        raise TypeError("times that are not numbers")
    shown = ArtifactMetadata(
        artifact_id="-",
        content_type=data["content_type"],
        size_bytes=0,
        created_at=format_time(created),
        run_id=data["run_id"],
        tags=data["tags"],
        expires_at=format_time((deadline or 0) * 1000),
        extra=data.get("extra", {}),
    )
    return LeaseRecord(
        shown.run_id, created, deadline, shown.content_type, shown.tags, json.dumps(shown.extra) if shown.extra else ""
    )


def _inherited_lease(shown: ArtifactMetadata) -> LeaseRecord:
    created = datetime.fromisoformat(shown.created_at)
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    return LeaseRecord(shown.run_id, int(created.timestamp() * 1_000_000), None, shown.content_type, shown.tags)
