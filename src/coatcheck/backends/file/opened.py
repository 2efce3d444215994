"""A content that is being read from its file."""

from __future__ import annotations

import threading
from io import BufferedReader
from typing import Final

from ...model import ArtifactMetadata
from ...plan import Plan, Work
from ...sources import MIB
from ..local_records import damaged
from ..opened import Block, OpenedArtifact

_LEAST_READ: Final = 64 * 1024


class OpenedFile(OpenedArtifact):
    """A content file that was verified when it was opened. Replacing and deleting leave an open file as it is."""

    def __init__(self, metadata: ArtifactMetadata, file: BufferedReader) -> None:
        super().__init__(metadata)
        self._file = file
        self._lock = threading.Lock()  # an awaited read that was cancelled may still be in its thread

    def blocks(self, start: int, stop: int) -> Plan[list[Block]]:
        block: Block = yield Work(lambda: self._block(start, stop))
        return [block]

    def _block(self, start: int, stop: int) -> Block:
        wanted = min(max(stop - start, _LEAST_READ), MIB, self.size - start)
        with self._lock:
            self._file.seek(start)
            data = self._file.read(wanted)
        if len(data) != wanted:
            raise damaged(self.metadata.artifact_id)
        return Block(start, data)

    def close(self) -> None:
        self._file.close()
