"""Large content on its way to the server: chunk by chunk under names that only this upload uses, then one commit.

Until the commit every key that an upload made has a short TTL. Connections break and come back, so each command here
may also reach the server late, even after the commit, and must do no harm then: chunks are set only where they are not
there (`NX`), their TTL is only ever moved later (`GT`), and what is discarded is compared with what was published.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import xxhash

from ...arguments import Request
from ...compression import Zstd
from ...envelope import RAW, pack
from ...errors import ArtifactError, StoreUnavailableError
from ...plan import Plan, Work
from ...sources import Chunking, Source, TransferProgress
from .batching import pages
from .layout import records
from .layout.manifest import Entry, Manifest
from .scripts import script as scripts
from .scripts.script import Command

if TYPE_CHECKING:
    from .core import Core

STAGING_MS: Final = 60_000
_REFRESH_SECONDS: Final = 20.0
_TRIES: Final = 5  # how often an upload starts over because its chunks vanished

Commit = Callable[[Manifest], Plan[Any]]
"""Publishes an upload; the reply is `[b"need"]` where chunks have vanished."""


class Upload:
    """One content that is sent in chunks.

    Args:
        backend: Where to.
        request: The artifact.
        source: Its content.
        chunking: How it is cut.
        compression: As for `envelope.seal`.
        progress: Told what was sent.
    """

    def __init__(
        self,
        backend: Core,
        request: Request,
        source: Source,
        chunking: Chunking,
        compression: Zstd | None,
        progress: TransferProgress | None,
    ) -> None:
        self._backend = backend
        self._request = request
        self._source = source
        self._chunking = chunking
        self._compression = compression
        self._progress = progress
        self._tag = records.tag_of(request.digest)
        self._token = b""
        self._entries: list[Entry] = []
        self._refreshed = 0.0

    def run(self, commit: Commit) -> Plan[Any]:
        """Send everything and publish it; the reply of `commit`.

        Raises:
            InvalidArtifactError: The source changed while it was read.
            StoreUnavailableError: The server lost chunks again and again.
        """
        for _ in range(_TRIES):
            self._token = os.urandom(8).hex().encode()
            self._entries = []
            self._refreshed = time.monotonic()
            try:
                yield from self._send()
                source, chunk_size = self._source, self._chunking.size
                reply = yield from commit(Manifest(source.digest, source.size, chunk_size, self._token, self._entries))
            except GeneratorExit:  # nobody runs this plan any more
                raise
            except BaseException:
                yield from self._discard()
                raise
            if reply[0] == b"ok":
                return reply
            yield from self._discard()
            if reply[0] != b"need":
                return reply
        raise StoreUnavailableError(
            f"upload of artifact {self._request.artifact_id} vanished from the server {_TRIES} times: "
            "is it evicting keys?"
        )

    def _send(self) -> Plan[None]:
        total, width = self._chunking.count(self._source.size), self._chunking.window
        for first in range(0, total, width):
            commands: list[Command] = yield Work(partial(self._window, first, width))
            yield from self._backend.prepare(*commands)
            if time.monotonic() - self._refreshed >= _REFRESH_SECONDS:
                yield from self._refresh()
            if self._progress is not None and len(self._entries) < total:
                self._progress(len(self._entries) * self._chunking.size, self._source.size)

    def _window(self, first: int, count: int) -> list[Command]:
        """The next chunks, read, verified, packed."""
        commands = []
        for n, (data, checksum) in enumerate(self._source.chunks(first, count), first):
            codec, payload = pack(data, self._request.content_type, self._compression)
            if codec != RAW:
                checksum = xxhash.xxh3_64_intdigest(payload)  # noqa: PLW2901  # of the bytes that are stored
            self._entries.append(Entry(codec, len(payload), checksum))
            key = self._backend.keys.chunk(self._tag, self._token, n)
            commands.append(Command(b"SET", key, (payload,), b"NX", b"PX", b"%d" % STAGING_MS))
        return commands

    def _refresh(self) -> Plan[None]:
        """Let what was sent live on."""
        names = [self._backend.keys.chunk(self._tag, self._token, n) for n in range(len(self._entries))]
        for page in pages(names):
            yield from self._backend.prepare(*(Command(b"PEXPIRE", key, b"%d" % STAGING_MS, b"GT") for key in page))
        self._refreshed = time.monotonic()

    def _discard(self) -> Plan[None]:
        """Remove what was sent, unless it was published; what cannot be removed now ends by its TTL."""
        keys = self._backend.keys
        call = scripts.DISCARD.call(
            [keys.content(self._tag), keys.staging(self._tag, self._token)], [self._token, b"%d" % len(self._entries)]
        )
        with suppress(ArtifactError):
            yield from self._backend.prepare(call, retry_for=0)
