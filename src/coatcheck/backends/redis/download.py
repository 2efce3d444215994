"""Chunked content on its way from the server: only the chunks that are wanted, each verified before it is used."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import xxhash

from ...envelope import Verify, unpack
from ...errors import ArtifactLostError, CorruptArtifactError
from ...model import ArtifactMetadata
from ...plan import Plan, Work
from ..opened import Block, OpenedArtifact
from .layout import records
from .layout.manifest import Manifest
from .scripts.script import Command

if TYPE_CHECKING:
    from .core import Core

Renew = Callable[[], Plan[Manifest | None]]
"""The manifest that the artifact has now; `None` where it is gone or not chunked."""


class ChunkedArtifact(OpenedArtifact):
    """A content whose chunks are fetched when they are needed.

    What is fetched in order, from the first byte to the last, is also compared with the SHA-256.

    Args:
        backend: Where from.
        metadata: The artifact.
        manifest: Its chunks.
        verify: As for `envelope.unseal`.
        renew: Asks for the manifest again when chunks are gone.
    """

    def __init__(
        self,
        backend: Core,
        metadata: ArtifactMetadata,
        manifest: Manifest,
        verify: Verify,
        renew: Renew,
    ) -> None:
        super().__init__(metadata)
        if manifest.size != metadata.size_bytes:
            raise CorruptArtifactError(
                f"artifact {metadata.artifact_id}: content of {manifest.size} bytes, "
                f"metadata says {metadata.size_bytes}"
            )
        self._backend = backend
        self._manifest = manifest
        self._renew = renew
        self._hash = hashlib.sha256() if verify == "full" else None
        self._hashed = 0  # bytes, from the start
        self._hashing = threading.Lock()  # an awaited read that was cancelled may still be in its thread

    def blocks(self, start: int, stop: int) -> Plan[list[Block]]:
        while True:
            found = yield from self.fetch(start, stop)
            if found is not None:
                return found
            manifest = yield from self._renew()
            if manifest is None or manifest.digest != self._manifest.digest:
                raise ArtifactLostError(
                    f"artifact {self.metadata.artifact_id} was deleted or replaced while it was read: open it again"
                )
            if manifest.token == self._manifest.token:
                raise lost(self.metadata.artifact_id)
            self._manifest = manifest  # the same content, uploaded again

    def fetch(self, start: int, stop: int) -> Plan[list[Block] | None]:
        """As `blocks`, about a window at a time; `None` where a chunk is gone."""
        manifest, width = self._manifest, self._manifest.chunk_size
        first = start // width
        numbers = range(first, min(-(-stop // width), first + self._backend.chunking.window))
        tag = records.tag_of(manifest.digest)
        payloads = yield from self._backend.read(
            *(Command(b"GET", self._backend.keys.chunk(tag, manifest.token, n)) for n in numbers)
        )
        if None in payloads:
            return None
        blocks: list[Block] = yield Work(lambda: self._verified(numbers, payloads))
        return blocks

    def load(self) -> Plan[bytes | None]:
        """The whole content; `None` where a chunk is gone."""
        content = BytesIO()
        while content.tell() < self.size:
            blocks = yield from self.fetch(content.tell(), self.size)
            if blocks is None:
                return None
            for block in blocks:
                content.write(block.data)
            del blocks
        return content.getvalue()  # not a copy

    def verify(self) -> Plan[bool]:
        """Read everything and keep nothing; whether it was all there."""
        done = 0
        while done < self.size:
            blocks = yield from self.fetch(done, self.size)
            if blocks is None:
                return False
            done = blocks[-1].stop
        return True

    def _verified(self, numbers: Sequence[int], payloads: list[Any]) -> list[Block]:
        with self._hashing:
            return [self._block(n, payload) for n, payload in zip(numbers, payloads, strict=True)]

    def _block(self, n: int, payload: bytes) -> Block:
        codec, length, checksum = self._manifest.chunks[n]
        artifact = f"artifact {self.metadata.artifact_id}"
        where = f"{artifact}, chunk {n}"
        if len(payload) != length or xxhash.xxh3_64_intdigest(payload) != checksum:
            raise CorruptArtifactError(f"{where}: stored content is damaged: its checksum does not match")
        try:
            data = unpack(codec, payload, self._manifest.plain_length(n))
        except CorruptArtifactError as error:
            raise CorruptArtifactError(f"{where}: {error}") from None
        block = Block(n * self._manifest.chunk_size, data)
        if self._hash is not None and block.start == self._hashed:
            self._hash.update(data)
            self._hashed = block.stop
            if self._hashed == self.size and self._hash.digest() != self._manifest.digest:
                raise CorruptArtifactError(f"{artifact}: stored content does not have the SHA-256 it was stored under")
        return block


def lost(artifact_id: str) -> ArtifactLostError:
    """The error for metadata without content."""
    return ArtifactLostError(
        f"the content of artifact {artifact_id} is gone, most likely evicted: store it again, "
        "and set maxmemory-policy noeviction on the server"
    )
