"""What memory and file write down: an artifact, and who leases it, as plain records."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..errors import ArtifactLostError, CorruptArtifactError
from ..ids import ID_LENGTH
from ..model import ArtifactMetadata, format_time


@dataclass(slots=True)
class LeaseRecord:
    """One lease. Times are Unix time: `created` in microseconds, `deadline` in milliseconds (`None`: for ever)."""

    run_id: str | None
    created: int
    deadline: int | None
    content_type: str
    tags: dict[str, str]
    extra: str = ""  # JSON

    def is_live(self, now: int) -> bool:
        """Whether it still holds at `now`, in microseconds."""
        return self.deadline is None or self.deadline * 1000 > now

    def later_of(self, other: int | None) -> int | None:
        """The later of two deadlines."""
        return None if self.deadline is None or other is None else max(self.deadline, other)


@dataclass(slots=True)
class Record:
    """One artifact: what it is, and who leases it.

    `digest` is empty where other software did not note it. `foreign`: other software chose the id, which says nothing
    of the content then, whatever it looks like.
    """

    artifact_id: str
    digest: bytes
    size: int
    leases: dict[str | None, LeaseRecord] = field(default_factory=dict)
    foreign: bool = False

    @property
    def is_named(self) -> bool:
        """Whether the id is the default id of the content."""
        return self.digest.hex()[:ID_LENGTH] == self.artifact_id

    def prune(self, now: int) -> bool:
        """Forget leases that have ended; whether any is left."""
        self.leases = {run: lease for run, lease in self.leases.items() if lease.is_live(now)}
        return bool(self.leases)

    def copy(self) -> Record:
        """A record that can be changed without changing this one. Leases themselves are replaced, never changed."""
        return replace(self, leases=dict(self.leases))

    def latest(self) -> LeaseRecord:
        """The lease that was stored last."""
        return max(self.leases.values(), key=lambda lease: lease.created)

    def seen_by(self, run_id: str | None) -> ArtifactMetadata | None:
        """The artifact as a run sees it; `None`: as the latest store left it."""
        lease = self.latest() if run_id is None else self.leases.get(run_id)
        return None if lease is None else self.view(lease)

    def view(self, lease: LeaseRecord) -> ArtifactMetadata:
        """The artifact as one lease sees it."""
        return ArtifactMetadata(
            artifact_id=self.artifact_id,
            content_type=lease.content_type,
            size_bytes=self.size,
            created_at=format_time(lease.created),
            run_id=lease.run_id,
            tags=dict(lease.tags),
            digest=self.digest.hex() or None,
            expires_at=None if lease.deadline is None else format_time(lease.deadline * 1000),
            extra=json.loads(lease.extra) if lease.extra else {},
        )


class Orphan(NamedTuple):
    """What belongs to no record: the kind of problem, a name, and bytes."""

    kind: str
    name: str
    size: int


def lost(artifact_id: str) -> ArtifactLostError:
    """The error for metadata without content."""
    return ArtifactLostError(f"the content of artifact {artifact_id} is gone: store it again")


def damaged(artifact_id: str) -> CorruptArtifactError:
    """The error for content that does not match its metadata."""
    return CorruptArtifactError(
        f"artifact {artifact_id}: the stored content is not what was stored; delete it and store it again"
    )
