"""What was moved, and what was not."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict

from ..arguments import check_callback

_EXAMPLES = 5


class MoveReport(BaseModel):
    """What was moved so far.

    Attributes:
        artifacts: Artifacts that lie in the target now, or in the file, because of this call.
        leases: Leases on them.
        bytes: Bytes of content that were read for it.
        present: Artifacts that were there already, with all these leases.
        expired: Leases that had ended.
        conflicts: Explicit ids that stand for other content in the target, and were left.
        unreadable: Artifacts whose content is lost or corrupt in the source.
        verified: Artifacts that were read back.
        examples: Ids of the first few conflicts and unreadable artifacts.
    """

    model_config = ConfigDict(frozen=True)

    artifacts: int = 0
    leases: int = 0
    bytes: int = 0
    present: int = 0
    expired: int = 0
    conflicts: int = 0
    unreadable: int = 0
    verified: int = 0
    examples: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether everything that could be there is there."""
        return not self.conflicts and not self.unreadable


OnMove = Callable[[MoveReport], object]
"""Told of what was done so far."""


class Counts:
    """Counts towards a report.

    Args:
        progress: Told of it by `tell`.
    """

    def __init__(self, progress: OnMove | None) -> None:
        self._progress = check_callback(progress)
        self.artifacts = self.leases = self.bytes = self.present = self.expired = 0
        self.conflicts = self.unreadable = self.verified = 0
        self._examples: list[str] = []

    def note(self, artifact_id: str) -> None:
        """An artifact that could not be moved."""
        if len(self._examples) < _EXAMPLES:
            self._examples.append(artifact_id)

    def report(self) -> MoveReport:
        """The report so far."""
        counts = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return MoveReport(**counts, examples=list(self._examples))

    def tell(self) -> None:
        """Tell whoever wants to know."""
        if self._progress is not None:
            self._progress(self.report())
