"""Chunked content on its way from the server: only the chunks that are wanted, each verified before it is used."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, Final

import xxhash

from ...envelope import Verify, unpack
from ...errors import ArtifactLostError, CorruptArtifactError, StoreUnavailableError
from ...model import ArtifactMetadata
from ...plan import Plan, Work
from ..opened import Block, OpenedArtifact
from .layout.keys import Keys
from .layout.manifest import Manifest
from .layout.records import content_id_of
from .scripts.script import Command
from .session import Session

Renew = Callable[[], Plan[Manifest | None]]
"""The manifest that the artifact has now; `None` where it is gone or not chunked."""

_TRIES: Final = 8  # how often a read goes on with chunks that were uploaded anew


class ChunkedArtifact(OpenedArtifact):
    """A content whose chunks are fetched when they are needed.

    What is fetched in order, from the first byte to the last, is also compared with the SHA-256.

    Args:
        session: The namespace.
        keys: The partition.
        metadata: The artifact.
        manifest: Its chunks.
        verify: As for `envelope.unseal`.
        window: How many chunks to fetch at a time.
        renew: Asks for the manifest again when chunks are gone.
    """

    def __init__(
        self,
        session: Session,
        keys: Keys,
        metadata: ArtifactMetadata,
        manifest: Manifest,
        verify: Verify,
        window: int,
        renew: Renew,
    ) -> None:
        super().__init__(metadata)
        self._session = session
        self._keys = keys
        self._window = window
        self._manifest = self._fitting(manifest)
        self._renew = renew
        self._hash = hashlib.sha256() if verify == "full" else None
        self._hashed = 0  # bytes, from the start
        self._hashing = threading.Lock()  # an awaited read that was cancelled may still be in its thread

    def blocks(self, start: int, stop: int) -> Plan[list[Block]]:
        for _ in range(_TRIES):
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
            self._manifest = self._fitting(manifest)  # the same content, uploaded again
        raise StoreUnavailableError(
            f"artifact {self.metadata.artifact_id} was uploaded {_TRIES} times while it was read; try again"
        )

    def _fitting(self, manifest: Manifest) -> Manifest:
        if manifest.size != self.size:
            raise CorruptArtifactError(
                f"artifact {self.metadata.artifact_id}: content of {manifest.size} bytes, metadata says {self.size}"
            )
        return manifest

    def fetch(self, start: int, stop: int) -> Plan[list[Block] | None]:
        """As `blocks`, about a window at a time; `None` where a chunk is gone."""
        manifest, width = self._manifest, self._manifest.chunk_size
        first = start // width
        numbers = range(first, min(-(-stop // width), first + self._window))
        content_id, keys = content_id_of(manifest.digest), self._keys
        payloads = yield from self._session.read_each(
            [
                Command(keys.slot, (b"GET", keys.chunk(content_id, manifest.token, n)), lambda payload: payload)
                for n in numbers
            ]
        )
        if None in payloads:
            return None
        blocks: list[Block] = yield Work(lambda: self._verified(manifest, numbers, payloads))
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

    def _verified(self, manifest: Manifest, numbers: Sequence[int], payloads: list[Any]) -> list[Block]:
        with self._hashing:
            return [self._block(manifest, n, payload) for n, payload in zip(numbers, payloads, strict=True)]

    def _block(self, manifest: Manifest, n: int, payload: bytes) -> Block:
        codec, length, checksum = manifest.chunks[n]
        artifact = f"artifact {self.metadata.artifact_id}"
        where = f"{artifact}, chunk {n}"
        if len(payload) != length or xxhash.xxh3_64_intdigest(payload) != checksum:
            raise CorruptArtifactError(f"{where}: stored content is damaged: its checksum does not match")
        try:
            data = unpack(codec, payload, manifest.plain_length(n))
        except CorruptArtifactError as error:
            raise CorruptArtifactError(f"{where}: {error}") from None
        block = Block(n * manifest.chunk_size, data)
        if self._hash is not None:
            if block.start <= self._hashed < block.stop:  # another upload may be cut otherwise
                self._hash.update(data[self._hashed - block.start :])
                self._hashed = block.stop
            if self._hashed == self.size and self._hash.digest() != manifest.digest:
                raise CorruptArtifactError(f"{artifact}: stored content does not have the SHA-256 it was stored under")
        return block


def lost(artifact_id: str) -> ArtifactLostError:
    """The error for metadata without content."""
    return ArtifactLostError(
        f"the content of artifact {artifact_id} is gone, most likely evicted: store it again, "
        "and set maxmemory-policy noeviction on the server"
    )
