"""Large content on its way to the server: chunk by chunk under names that only this upload uses, then one commit.

Connections break and come back, so each command here may also reach the server late, even after the commit, and must
do no harm then: chunks are set only where they are not there (`NX`), their TTL is only ever moved later (`GT`), and
what is discarded is compared with what was published.

The upload's staging key is there from its first chunk on. While it lasts nobody takes the chunks for leftovers, so they
get the deadline of their content before the commit makes them part of it. Where it was lost, chunks may be too, and the
upload starts over.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

import xxhash

from ....ahead import Ahead
from ....compression import Zstd
from ....envelope import RAW, pack
from ....errors import StoreUnavailableError
from ....manifest import Entry, Manifest
from ....plan import Plan
from ....request import Request
from ....sources import Chunking, Source, TransferProgress
from ..layout.keys import Keys
from ..layout.records import FOREVER
from ..scripts import calls
from ..scripts.calls import Chunks, Outcome
from ..scripts.plain import server_time
from ..scripts.script import Command, same
from ..session import Session
from .chunks import new_token, number_pages, tidy

STAGING_MS: Final = 60_000
_REFRESH_SECONDS: Final = 20.0
_TRIES: Final = 5  # how often an upload starts over because its chunks vanished


_Packed = tuple[Entry, Command[Any]]


class Upload:
    """One content that is sent in chunks.

    Args:
        session: The namespace.
        keys: The partition.
        request: The artifact.
        source: Its content.
        chunking: How it is cut.
        compression: As for `envelope.seal`.
        progress: Told what was sent.
    """

    def __init__(
        self,
        session: Session,
        keys: Keys,
        request: Request,
        source: Source,
        chunking: Chunking,
        compression: Zstd | None,
        progress: TransferProgress | None,
    ) -> None:
        self._session = session
        self._keys = keys
        self._request = request
        self._source = source
        self._chunking = chunking
        self._compression = compression
        self._progress = progress
        self._content_id = request.default_id.encode()
        self._token = b""
        self._entries: list[Entry] = []
        self._refreshed = 0.0

    def run(self, replacing: bytes, buried: bytes) -> Plan[Outcome]:
        """Send everything and publish it; what became of it: `ok`, `other` or `taken`.

        Args:
            replacing: The content that an explicit id is known to stand for.
            buried: A key for leases that end with it.

        Raises:
            InvalidArtifactError: The source changed while it was read.
            StoreUnavailableError: The server lost chunks again and again.
        """
        for _ in range(_TRIES):
            self._token = new_token()
            self._entries = []
            self._refreshed = time.monotonic()
            try:
                sent = yield from self._send()
                outcome = yield from self._commit(sent, replacing, buried)
            except GeneratorExit:  # nobody runs this plan any more
                raise
            except BaseException:
                yield from self._discard()
                raise
            if outcome.kind == "ok":
                yield from tidy(self._session, self._keys, self._chunks)  # another upload may have been first
                return outcome
            yield from self._discard()
            if outcome.kind not in ("need", "chunked"):
                return outcome
        raise StoreUnavailableError(
            f"upload of artifact {self._request.artifact_id} vanished from the server {_TRIES} times: "
            "is it evicting keys?"
        )

    def _send(self) -> Plan[int]:
        """Send all chunks; the server's time then, in us."""
        microseconds: int = 0
        total = self._chunking.count(self._source.size)
        width = self._chunking.window * (2 if self._source.held else 1)
        units = [self._command(b"SET", self._staging, b"", b"PX", b"%d" % STAGING_MS)]
        with Ahead(apart=self._source.apart) as ahead:
            upcoming = ahead.begin(partial(self._window, 0, width))
            for first in range(0, total, width):
                window: list[_Packed] = yield upcoming
                if first + width < total:
                    upcoming = ahead.begin(partial(self._window, first + width, width))
                self._entries += [entry for entry, _ in window]
                units += [command for _, command in window]
                *_, microseconds = yield from self._session.prepare([*units, server_time(self._keys)])
                units = []
                if time.monotonic() - self._refreshed >= _REFRESH_SECONDS:
                    yield from self._refresh()
                if self._progress is not None and len(self._entries) < total:
                    self._progress(len(self._entries) * self._chunking.size, self._source.size)
        return microseconds

    def _window(self, first: int, count: int) -> list[_Packed]:
        """The next chunks, read, verified, packed."""
        window = []
        for n, (data, checksum) in enumerate(self._source.chunks(first, count), first):
            codec, payload = pack(data, self._request.content_type, self._compression)
            if codec != RAW:
                checksum = xxhash.xxh3_64_intdigest(payload)  # noqa: PLW2901  # of the bytes that are stored
            command = self._command(b"SET", self._chunk(n), (payload,), b"NX", b"PX", b"%d" % STAGING_MS)
            window.append((Entry(codec, len(payload), checksum), command))
        return window

    def _refresh(self) -> Plan[None]:
        """Let what was sent live on."""
        for numbers in number_pages(len(self._entries)):
            names = [self._staging, *map(self._chunk, numbers)]
            yield from self._session.prepare(
                [self._command(b"PEXPIRE", key, b"%d" % STAGING_MS, b"GT") for key in names]
            )
        self._refreshed = time.monotonic()

    def _commit(self, microseconds: int, replacing: bytes, buried: bytes) -> Plan[Outcome]:
        """Give the chunks their deadline, counted from that time, and publish them."""
        ttl = self._request.ttl_ms
        deadline = FOREVER if ttl is None else microseconds // 1000 + ttl
        lasting = deadline
        source, keys = self._source, self._keys
        manifest = Manifest(source.digest, source.size, self._chunking.size, self._token, self._entries)
        staged = (b"SET", self._staging, manifest.seal(), b"XX", b"PX", b"%d" % STAGING_MS)
        for _ in range(_TRIES):
            if not (yield from self._extend(lasting)):
                return Outcome("need")
            [outcome] = yield from self._session.write(
                calls.store(
                    keys,
                    [self._request],
                    [None],
                    "staged",
                    first=staged,
                    staging=self._staging,
                    deadline=deadline,
                    note=b"%d" % lasting,
                    replacing=replacing,
                    buried=buried,
                    wish=self._session.wish,
                )
            )
            if outcome.kind != "short":
                return outcome
            lasting = outcome.deadline  # others lease that content for longer
        return Outcome("need")

    def _extend(self, deadline: int) -> Plan[bool]:
        """Let the chunks last until a deadline; whether all are there."""
        for numbers in number_pages(len(self._entries)):
            names = list(map(self._chunk, numbers))
            last = (b"PERSIST",) if deadline >= FOREVER else (b"PEXPIREAT", b"%d" % deadline, b"GT")
            commands = [self._command(last[0], key, *last[1:]) for key in names]
            *_, present = yield from self._session.prepare([*commands, self._command(b"EXISTS", *names)])
            if present < len(names):
                return False
        return True

    def _discard(self) -> Plan[None]:
        """Remove what was sent, unless it was published; what cannot be removed now ends by its TTL, or with gc."""
        chunks = self._chunks
        return self._session.clean_up(
            calls.discard(self._keys, chunks, numbers) for numbers in number_pages(chunks.total)
        )

    @property
    def _chunks(self) -> Chunks:
        return Chunks(self._content_id, self._token, len(self._entries))

    @property
    def _staging(self) -> bytes:
        return self._keys.staging(self._content_id, self._token)

    def _chunk(self, n: int) -> bytes:
        return self._keys.chunk(self._content_id, self._token, n)

    def _command(self, *arguments: Any) -> Command[Any]:
        return Command(self._keys.slot, arguments, same)
