"""An opened artifact whose content lies in the disk cache; what is wrong there comes from the server instead."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ....cached import CachedFile
from ....envelope import InOrder, Verify
from ....errors import ArtifactLostError, CorruptArtifactError
from ....model import ArtifactMetadata
from ....plan import Plan, Work
from ...opened import Block, OpenedArtifact
from .download import ChunkedArtifact

Elsewhere = Callable[[], Plan[OpenedArtifact | None]]
"""Opens the artifact at the server; `None` where it is gone."""


class CachedArtifact(OpenedArtifact):
    """A content in chunks in a file.

    What is read in order, from the first byte to the last, is also compared with the SHA-256.

    Args:
        metadata: The artifact, as the server has just described it.
        file: Its content; closed with this.
        verify: As for `envelope.unseal`.
        elsewhere: Asked once, where the file turns out to be damaged.
    """

    def __init__(self, metadata: ArtifactMetadata, file: CachedFile, verify: Verify, elsewhere: Elsewhere) -> None:
        super().__init__(metadata)
        self._file = file
        self._order = InOrder(bytes.fromhex(metadata.digest or ""), self.size) if verify == "full" else None
        self._elsewhere = elsewhere
        self._instead: OpenedArtifact | None = None
        self._verifying = threading.Lock()  # an awaited read that was cancelled may still be in its thread

    def blocks(self, start: int, stop: int) -> Plan[list[Block]]:
        if self._instead is None:
            blocks: list[Block] | None = yield Work(lambda: self._read(start, stop))
            if blocks is not None:
                return blocks
            self._instead = yield from self._reopened()
        return (yield from self._instead.blocks(start, stop))

    def _read(self, start: int, stop: int) -> list[Block] | None:
        """From the file; `None` where that is wrong, and gone now."""
        try:
            blocks = [Block(*chunk) for chunk in self._file.read(start, stop)]
            if self._order is not None:
                with self._verifying:
                    for block in blocks:
                        self._order.take(*block)
        except (CorruptArtifactError, OSError):
            self._file.drop()
            return None
        return blocks

    def _reopened(self) -> Plan[OpenedArtifact]:
        opened = yield from self._elsewhere()
        if opened is None or opened.metadata.digest != self.metadata.digest:
            if opened is not None:
                opened.close()
            raise ArtifactLostError(
                f"artifact {self.metadata.artifact_id} was deleted or replaced while it was read: open it again"
            )
        if isinstance(opened, ChunkedArtifact) and self._order is not None:
            opened.order = self._order  # of what was given out already
        return opened

    def close(self) -> None:
        self._file.close()
        if self._instead is not None:
            self._instead.close()
