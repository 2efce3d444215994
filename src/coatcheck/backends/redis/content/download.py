"""Chunked content on its way from the server: only the chunks that are wanted, each verified before it is used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from io import SEEK_END, BytesIO
from typing import Any, Final

from ....buffers import unfilled
from ....cached import Filling
from ....envelope import InOrder, Verify
from ....errors import ArtifactLostError, CorruptArtifactError, StoreUnavailableError
from ....manifest import Manifest
from ....model import ArtifactMetadata
from ....plan import Plan, Work
from ...opened import Block, OpenedArtifact
from ..layout.keys import Keys
from ..layout.records import content_id_of
from ..scripts.script import Apart
from ..session import Session
from .arriving import Arrived, ArrivingChunks

Renew = Callable[[], Plan[Manifest | None]]
"""The manifest that the artifact has now; `None` where it is gone or not chunked."""

Fill = Callable[[Manifest], Filling | None]
"""Begins to keep a content in a cache."""

_TRIES: Final = 8  # how often a read goes on with chunks that were uploaded anew
_LINE_END: Final = 2  # bytes behind what comes
_AT_ONCE: Final = 64 * 1024 * 1024  # bytes that room is made for before they have come


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
        fill: Where the content is kept once all of it was read in order; `None`: nowhere.

    Attributes:
        order: Hashes what is read in order; `None`: nothing is hashed.
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
        fill: Fill | None = None,
    ) -> None:
        super().__init__(metadata)
        self._session = session
        self._keys = keys
        self._window = window
        self._manifest = self._kept = self._fitting(manifest)
        self._renew = renew
        # What enters a cache is hashed.
        self.order = InOrder(manifest.digest, manifest.size) if verify == "full" or fill is not None else None
        self._fill = fill
        self._filling: Filling | None = None
        self._verifying = threading.Lock()  # an awaited read that was cancelled may still be in its thread

    def blocks(self, start: int, stop: int) -> Plan[list[Block]]:
        for _ in range(_TRIES):
            found = yield from self._blocks(start, stop)
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

    def _blocks(self, start: int, stop: int) -> Plan[list[Block] | None]:
        """About a window from `start` on; `None` where a chunk is gone."""
        width = self._manifest.chunk_size
        first = start // width
        numbers = range(first, min(-(-stop // width), first + self._window))
        begin, end = first * width, min(numbers.stop * width, self.size)
        buffer = memoryview(bytearray(end - begin + _LINE_END))
        if not (yield from self._fetch(numbers, buffer)):
            return None
        return [Block(n * width, buffer[n * width - begin : min((n + 1) * width, end) - begin]) for n in numbers]

    def load(self) -> Plan[bytes | None]:
        """The whole content; `None` where a chunk is gone."""
        content = unfilled(min(self.size, _AT_ONCE) + _LINE_END)
        for numbers, start, stop in self._windows(2 * self._window):
            _make_room(content, stop + _LINE_END)
            with content.getbuffer() as whole, whole[start : stop + _LINE_END] as buffer:
                if not (yield from self._fetch(numbers, buffer, checked=False)):
                    return None
        content.truncate(self.size)
        return content.getvalue()  # not a copy

    def verify(self) -> Plan[bool]:
        """Read everything and keep nothing; whether it was all there."""
        buffer = memoryview(bytearray(self._window * self._manifest.chunk_size + _LINE_END))
        for numbers, start, stop in self._windows(self._window):
            if not (yield from self._fetch(numbers, buffer[: stop - start + _LINE_END], checked=False)):
                return False
        return True

    def _windows(self, window: int) -> Sequence[tuple[range, int, int]]:
        """So many chunks after the other: their numbers, and where they begin and end."""
        count, width = len(self._manifest.chunks), self._manifest.chunk_size
        numbers = [range(first, min(first + window, count)) for first in range(0, count, window)]
        return [(some, some.start * width, min(some.stop * width, self.size)) for some in numbers]

    def _fetch(self, numbers: range, buffer: memoryview, *, checked: bool = True) -> Plan[bool]:
        """Get chunks into a buffer; whether they are all there.

        `checked`: each by its own checksum, for it is given out before the SHA-256 of all can be compared.
        """
        manifest, keys, content_id = self._manifest, self._keys, content_id_of(self._manifest.digest)
        gets = [(b"GET", keys.chunk(content_id, manifest.token, n)) for n in numbers]
        begin = numbers.start * manifest.chunk_size
        with self._verifying:
            sha256 = None if self.order is None else self.order.fork(begin)
        lengths = [manifest.chunks[n].length for n in numbers]
        checked = checked or sha256 is None
        arriving = ArrivingChunks(buffer, lengths, sha256, checked=checked) if manifest.are_raw(numbers) else None
        try:
            replies = yield from self._session.read(
                Apart(keys.slot, gets, list, None if arriving is None else arriving.make)
            )
            if None in replies:
                return False
            check = partial(self._check, manifest, numbers, replies, buffer, sha256)
            if (
                all(type(reply) is Arrived for reply in replies)
                and (self.order is None or sha256 is not None)
                and self._fill is None
            ):
                check()  # nothing is left to be hashed
            else:
                yield Work(check)
        finally:
            if arriving is not None:
                arriving.let_go()
        return True

    def _check(
        self, manifest: Manifest, numbers: range, replies: Sequence[Any], buffer: memoryview, sha256: Any
    ) -> None:
        """Verify what came, and bring it where it belongs. A hash that went along has hashed what arrived there."""
        width, begin = manifest.chunk_size, numbers.start * manifest.chunk_size
        try:
            for n, reply in zip(numbers, replies, strict=True):
                if isinstance(reply, Arrived):
                    if reply.checksum is not None:
                        manifest.compare(n, reply.checksum)
                else:
                    buffer[n * width - begin :][: manifest.plain_length(n)] = manifest.unpack(n, reply)
            if self.order is None:
                return
            arrived = sum(isinstance(reply, Arrived) for reply in replies)  # the first ones: only the last is short
            with self._verifying:
                joined = sha256 is not None and arrived > 0
                if joined:
                    hashed = numbers[arrived - 1]
                    self.order.join(sha256, hashed * width + manifest.plain_length(hashed))
                for n in numbers[arrived:] if joined else numbers:
                    self.order.take(n * width, buffer[n * width - begin :][: manifest.plain_length(n)])
                self._keep(manifest, numbers, replies, buffer)
        except CorruptArtifactError as error:
            self.close()
            raise CorruptArtifactError(f"artifact {self.metadata.artifact_id}: {error}") from None

    def _keep(self, manifest: Manifest, numbers: range, replies: Sequence[Any], buffer: memoryview) -> None:
        """Write verified chunks to the cache, as they were stored; the whole stays once it was compared."""
        if self._fill is None:
            return
        if numbers.start == 0 and self._filling is None:
            self._filling = self._fill(manifest)
            self._kept = manifest
        if self._filling is None or manifest is not self._kept:  # uploaded anew: cut otherwise, perhaps
            return
        for place, (n, reply) in enumerate(zip(numbers, replies, strict=True)):
            start = place * manifest.chunk_size
            self._filling.add(n, buffer[start : start + manifest.plain_length(n)] if type(reply) is Arrived else reply)
        if self.order is not None and self.order.complete:
            self._filling.finish()

    def close(self) -> None:
        """Leave nothing half kept."""
        self._fill = None
        if self._filling is not None:
            self._filling.close()


def _make_room(content: BytesIO, size: int) -> None:
    if content.seek(0, SEEK_END) < size:
        content.seek(size - 1)
        content.write(b"\0")


def lost(artifact_id: str) -> ArtifactLostError:
    """The error for metadata without content."""
    return ArtifactLostError(
        f"the content of artifact {artifact_id} is gone, most likely evicted: store it again, "
        "and set maxmemory-policy noeviction on the server"
    )
