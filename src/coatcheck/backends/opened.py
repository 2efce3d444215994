"""An artifact opened for reading: what a backend gives to the readers in `coatcheck.reader`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from ..model import Artifact, ArtifactMetadata
from ..plan import Plan


class Block(NamedTuple):
    """Some verified bytes of a content and where they begin in it."""

    start: int
    data: bytes | memoryview

    @property
    def stop(self) -> int:
        """Where they end."""
        return self.start + len(self.data)


class OpenedArtifact(ABC):
    """One content as it was when it was opened; never a mix of two.

    Attributes:
        metadata: The view of the artifact that `load` would have given.
        size: Length of the content in bytes.
    """

    def __init__(self, metadata: ArtifactMetadata) -> None:
        self.metadata = metadata
        self.size = metadata.size_bytes

    @abstractmethod
    def blocks(self, start: int, stop: int) -> Plan[list[Block]]:
        """Consecutive verified blocks, the first of which contains `start`; they may end before `stop`.

        `0 <= start < stop <= size`.

        Raises:
            CorruptArtifactError: What lies there is not what was stored.
            ArtifactLostError: The artifact was deleted or replaced since it was opened.
        """

    def close(self) -> None:  # noqa: B027  # nothing to give back is a fine default
        """Give back what was opened. Idempotent."""


class WholeArtifact(OpenedArtifact):
    """A content that is in memory."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact.metadata)
        self._content = artifact.content
        self.size = len(artifact.content)

    def blocks(self, start: int, stop: int) -> Plan[list[Block]]:  # noqa: ARG002  # all there is
        yield from ()
        return [Block(0, self._content)]
