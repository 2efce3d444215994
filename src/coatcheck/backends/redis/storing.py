"""How artifacts are stored: many by one script call, large content beside it, long content in chunks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from ...arguments import Request, SourceRequest, StoreRequest
from ...envelope import seal
from ...errors import InvalidArtifactError, StoreUnavailableError
from ...model import ArtifactMetadata
from ...plan import Plan, Work
from ...sources import BytesSource, Source, TransferProgress
from .batching import PAGE, batches, flat, together, without_rivals
from .core import INLINE, LONG_WORK, TRIES, Core, run_argument, ttl_argument
from .layout import records
from .scripts import script as scripts
from .scripts.script import Command, Prepared, PreparedCall
from .transport.base import Sendable
from .upload import STAGING_MS, Upload

UNASKED: Final = 256 * 1024
"""Content that is sent without asking whether it is there: sending it costs less than the round trip."""


_NOTHING: Final = (b"",)  # in place of a content


class Storing(Core):
    """The operations that store artifacts."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._store_calls: dict[tuple[int, int], Prepared] = {}  # by number of keys and of artifacts

    def store(self, requests: Sequence[StoreRequest]) -> Plan[list[ArtifactMetadata]]:
        return self._store_batch(requests) if len(requests) == 1 else self._store_batches(requests)

    def _store_batches(self, requests: Sequence[StoreRequest]) -> Plan[list[ArtifactMetadata]]:
        results: list[ArtifactMetadata] = []
        for batch in batches(requests, PAGE, lambda request: len(request.content)):
            for part in without_rivals(batch):
                results += yield from self._store_batch(part)
        return results

    def _store_batch(self, requests: Sequence[StoreRequest]) -> Plan[list[ArtifactMetadata]]:
        inline = min(INLINE, self.chunking.threshold - 1)
        sealed = yield from self._sealed(requests, min(UNASKED, self.chunking.threshold - 1))
        commands: list[Sendable] = []
        beside = 0
        for part in together(requests, inline):
            group, contents = requests[part], sealed[part]
            content = contents[0]
            if content is None:
                commands.append(self._store_call(group, b"k", _NOTHING))
            elif group[0].size <= inline:
                commands.append(self._store_call(group, b"c", [header + payload for header, payload in contents]))
            else:
                beside += 1
                key = self._keys.content(group[0].default_id.encode())
                commands.append(Command(b"SET", key, content, b"NX", b"PX", b"%d" % STAGING_MS))
                commands.append(self._store_call(group, b"p", _NOTHING))
        replies = yield from self.write(*commands)
        if beside:
            replies = [reply for sent, reply in zip(commands, replies, strict=True) if isinstance(sent, PreparedCall)]
        results = []
        for request, reply in zip(requests, flat(replies), strict=True):
            if reply[0] == b"need":
                reply = yield from self._upload(request)  # noqa: PLW2901  # the same question, asked with the content
            results.append(_stored(request, reply))
            if self._cache is not None:
                self._cache.remember(request.digest, request.content)
        return results

    def _sealed(self, requests: Sequence[StoreRequest], unasked: int) -> Plan[list[Any]]:
        """Header and payload of each content that is sent unasked, `None` for larger ones."""
        compression = self._compression

        def seal_all() -> list[Any]:
            return [
                seal(request.content, request.digest, request.content_type, compression)
                if request.size <= unasked
                else None
                for request in requests
            ]

        if sum([request.size for request in requests if request.size <= unasked]) < LONG_WORK:
            return seal_all()
        sealed: list[Any] = yield Work(seal_all)
        return sealed

    def store_source(self, request: SourceRequest, progress: TransferProgress | None) -> Plan[ArtifactMetadata]:
        [[reply]] = yield from self.write(self._store_call([request], b"k", _NOTHING))
        if reply[0] == b"need":
            reply = yield from self._upload_chunks(request, request.source, progress)
        if progress is not None:
            progress(request.size, request.size)
        return _stored(request, reply)

    def _upload(self, request: StoreRequest) -> Plan[Any]:
        if request.size >= self.chunking.threshold:
            source = BytesSource(request.content, request.digest, self.chunking.size)
            return (yield from self._upload_chunks(request, source, None))
        [sealed] = yield from self._sealed([request], request.size)
        for _ in range(TRIES):
            token = os.urandom(8).hex().encode()
            reply = yield from self._publish(request, token, sealed)
            if reply[0] != b"need":
                return reply
        raise StoreUnavailableError(
            f"upload of artifact {request.artifact_id} vanished from the server {TRIES} times: is it evicting keys?"
        )

    def _upload_chunks(self, request: Request, source: Source, progress: TransferProgress | None) -> Plan[Any]:
        upload = Upload(self, request, source, self.chunking, self._compression, progress)
        return upload.run(lambda manifest: self._publish(request, manifest.token, manifest.seal()))

    def _publish(self, request: Request, token: bytes, sealed: tuple[bytes, bytes]) -> Plan[Any]:
        """Send a sealed content or manifest, and store it, in one exchange."""
        staging = self._keys.staging(records.tag_of(request.digest), token)
        _, [reply] = yield from self.write(
            Command(b"SET", staging, sealed, b"PX", b"%d" % STAGING_MS),
            self._store_call([request], b"s", _NOTHING, staging),
        )
        return reply

    def _store_call(
        self, requests: Sequence[Request], where: bytes, sealed: Sequence[bytes], staging: bytes | None = None
    ) -> PreparedCall:
        """One call for artifacts of one run and TTL."""
        keys, first = self._keys, requests[0]
        values: list[bytes] = []
        for request in requests:
            tag = request.default_id.encode()
            values += (keys.artifact(request.artifact_id.encode()), keys.content(tag), keys.leases(tag))
        if first.run_id is not None:
            values.append(keys.run(first.run_id))
        if staging is not None:
            values.append(staging)
        shape = len(values), len(requests)
        prepared = self._store_calls.get(shape)
        if prepared is None:
            prepared = self._store_calls[shape] = scripts.STORE.prepare(
                (keys.created, keys.deadlines, keys.runs, *(None,) * len(values)),
                (keys.prefix, *(None,) * (3 + 4 * len(requests))),
            )
        values += (run_argument(first.run_id), ttl_argument(first.ttl_ms), where)
        for request, content in zip(requests, sealed, strict=True):
            values += (
                request.artifact_id.encode(),
                records.encode_head(request),
                records.encode_view(request),
                content,
            )
        return prepared.call(*values)


def _stored(request: Request, reply: Any) -> ArtifactMetadata:
    if reply[0] == b"taken":
        raise InvalidArtifactError(
            f"artifact id {request.artifact_id} already is the name of other content: "
            "a content-addressed id cannot be replaced, choose another artifact_id"
        )
    _, created, deadline = reply
    return records.stored_view(request, created, deadline)
