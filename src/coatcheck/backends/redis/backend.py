"""The Redis backend: each operation as a plan over script calls. One server: one round trip, atomic."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

from redis.exceptions import ResponseError

from ...arguments import StoreRequest
from ...envelope import Compression, Verify, seal, unseal
from ...errors import ArtifactLostError, CorruptArtifactError, InvalidArtifactError, StoreUnavailableError
from ...ids import ID_LENGTH
from ...model import Artifact, ArtifactMetadata, CheckReport, Lease, StoreStats
from ...plan import Plan, Work
from ..base import Backend, Progress
from . import records, scripts
from .batching import PAGE, batches, flat, pages, without_rivals
from .durability import Durability, check_confirmed, confirmation, refused
from .keys import Keys
from .link import CloseLink, Link
from .maintenance import LEFTOVERS, Inspection
from .retry import exchange
from .scripts import Call, Command

T = TypeVar("T")

INLINE: Final = 64 * 1024
"""Sealed bytes that travel as a script argument; Lua copies arguments, so larger contents are staged first."""

LONG_WORK: Final = 256 * 1024
"""From this many bytes on, hashing and compression leave the event loop."""

MAX_SIZE: Final = 64 * 1024 * 1024
STAGING_MS: Final = 60_000
TRIES: Final = 5  # how often a plan starts over because others changed what it had just read


class RedisBackend(Backend):
    """One namespace on one server.

    Args:
        link: The way to the server.
        namespace: Prefix of every key.
        retry_for: Seconds during which failed exchanges are repeated.
        compression: `"zstd"` where it pays, or `None`.
        verify: See `envelope.unseal`.
        max_size: Largest content in bytes.
        durability: How safe a write is before it is acknowledged.
    """

    def __init__(
        self,
        link: Link,
        *,
        namespace: str,
        retry_for: float,
        compression: Compression | None,
        verify: Verify,
        max_size: int | None,
        durability: Durability,
    ) -> None:
        self._link = link
        self._keys = Keys(namespace)
        self._retry_for = retry_for
        self._compression = compression
        self._verify = verify
        self._durability = durability
        self._confirmation = confirmation(durability)
        self.max_size = MAX_SIZE if max_size is None else max_size

    @property
    def keys(self) -> Keys:
        """The names of its keys."""
        return self._keys

    def read(self, *commands: Call | Command) -> Plan[list[Any]]:
        """Send commands that change nothing; their replies."""
        return exchange(self._link, commands, self._retry_for, writes=False)

    def write(self, *commands: Call | Command) -> Plan[list[Any]]:
        """Send commands that may change something, and wait until they are as safe as promised; their replies."""
        if self._confirmation is None:
            return (yield from exchange(self._link, commands, self._retry_for, writes=True))
        *replies, confirmed = yield from exchange(
            self._link, [*commands, self._confirmation], self._retry_for, writes=True
        )
        check_confirmed(self._durability, confirmed)
        return replies

    def probe(self) -> Plan[None]:
        """Ask whether the server can keep what `durability` promises.

        Raises:
            InvalidArtifactError: It cannot.
        """
        if self._confirmation is None:
            return
        try:
            yield from exchange(self._link, [self._confirmation], self._retry_for, writes=False)
        except StoreUnavailableError as error:
            if isinstance(error.__cause__, ResponseError):
                raise refused(self._durability, error.__cause__) from None
            raise

    # Storing ---------------------------------------------------------------------------------------------------

    def store(self, requests: Sequence[StoreRequest]) -> Plan[list[ArtifactMetadata]]:
        results: list[ArtifactMetadata] = []
        for batch in batches(requests, PAGE, lambda request: len(request.content)):
            for part in without_rivals(batch):
                results += yield from self._store_batch(part)
        return results

    def _store_batch(self, requests: Sequence[StoreRequest]) -> Plan[list[ArtifactMetadata]]:
        commands: list[Call] = []
        for request in requests:
            if len(request.content) <= INLINE:
                sealed = seal(request.content, request.digest, request.content_type, self._compression)
                commands.append(self._store_call(request, b"c", sealed))
            else:
                commands.append(self._store_call(request, b"k"))
        replies = yield from self.write(*commands)
        results = []
        for request, reply in zip(requests, replies, strict=True):
            if reply[0] == b"need":
                reply = yield from self._upload(request)  # noqa: PLW2901  # the same question, asked with the content
            results.append(_stored(request, reply))
        return results

    def _upload(self, request: StoreRequest) -> Plan[Any]:
        sealed: tuple[bytes, bytes]
        if len(request.content) >= LONG_WORK:
            sealed = yield Work(lambda: seal(request.content, request.digest, request.content_type, self._compression))
        else:
            sealed = seal(request.content, request.digest, request.content_type, self._compression)
        for _ in range(TRIES):
            staging = self._keys.staging(records.tag_of(request.digest), os.urandom(8).hex().encode())
            _, reply = yield from self.write(
                Command(b"SET", staging, sealed, b"PX", b"%d" % STAGING_MS),
                self._store_call(request, b"s", staging=staging),
            )
            if reply[0] != b"need":
                return reply
        raise StoreUnavailableError(
            f"upload of artifact {request.artifact_id} vanished from the server {TRIES} times: is it evicting keys?"
        )

    def _store_call(
        self,
        request: StoreRequest,
        where: bytes,
        sealed: tuple[bytes, bytes] = (b"", b""),
        staging: bytes | None = None,
    ) -> Call:
        keys, artifact_id = self._keys, request.artifact_id.encode()
        tag = records.tag_of(request.digest)
        names = [
            keys.artifact(artifact_id),
            keys.content(tag),
            keys.leases(tag),
            keys.created,
            keys.deadlines,
            keys.runs,
        ]
        if request.run_id is not None:
            names.append(keys.run(request.run_id))
        if staging is not None:
            names.append(staging)
        return scripts.STORE.call(
            names,
            (
                keys.prefix,
                artifact_id,
                records.encode_head(request),
                b"" if request.run_id is None else request.run_id.encode(),
                records.encode_view(request),
                _ttl(request.ttl_ms),
                where,
                sealed,
            ),
        )

    # Reading ---------------------------------------------------------------------------------------------------

    def load(self, ids: Sequence[str]) -> Plan[list[Artifact | None]]:
        if len(ids) == 1:
            return [(yield from self._load_one(ids[0]))]
        views = yield from self._views(ids)
        results: list[Artifact | None] = [None] * len(ids)
        present = [(i, view) for i, view in enumerate(views) if view is not None]
        for batch in batches(present, PAGE, lambda item: item[1].size_bytes):
            contents = yield from self.read(*(self._get(_digest(view)) for _, view in batch))
            for (i, view), sealed in zip(batch, contents, strict=True):
                if sealed is None:  # deleted meanwhile, or lost: look again
                    results[i] = yield from self._load_one(ids[i])
                else:
                    results[i] = yield from self._artifact(view, sealed)
        return results

    def _get(self, digest: bytes) -> Command:
        return Command(b"GET", self._keys.content(records.tag_of(digest)))

    def _load_one(self, artifact_id: str) -> Plan[Artifact | None]:
        name = artifact_id.encode()
        key = self._keys.artifact(name)
        view: ArtifactMetadata | None
        if len(artifact_id) == ID_LENGTH:  # most likely a default id: the id tells where the content is
            [[reply], sealed] = yield from self.read(
                scripts.METADATA.call([key], ()), Command(b"GET", self._keys.content(name))
            )
            if reply is None:
                return None
            view = records.decode_view(artifact_id, *reply)
            if sealed is not None and _digest(view).hex()[:ID_LENGTH] == artifact_id:
                return (yield from self._artifact(view, sealed))
        for _ in range(TRIES):
            [found] = yield from self.read(
                scripts.LOAD.call([key], (self._keys.prefix, name, b"%d" % INLINE)),
            )
            if found is None:
                return None
            *parts, sealed, length = found
            view = records.decode_view(artifact_id, *parts)
            if length == 0:
                raise ArtifactLostError(
                    f"the content of artifact {artifact_id} is gone, most likely evicted: store it again, "
                    "and set maxmemory-policy noeviction on the server"
                )
            if not sealed:
                [sealed] = yield from self.read(self._get(_digest(view)))
            if sealed:
                return (yield from self._artifact(view, sealed))
        raise StoreUnavailableError(f"artifact {artifact_id} changed {TRIES} times while it was read; try again")

    def _artifact(self, view: ArtifactMetadata, sealed: bytes) -> Plan[Artifact]:
        digest = _digest(view)
        try:
            if len(sealed) >= LONG_WORK or view.size_bytes >= LONG_WORK:
                content = yield Work(lambda: unseal(sealed, digest, self._verify))
            else:
                content = unseal(sealed, digest, self._verify)
        except CorruptArtifactError as error:
            raise CorruptArtifactError(f"artifact {view.artifact_id}: {error}") from None
        if len(content) != view.size_bytes:
            raise CorruptArtifactError(
                f"artifact {view.artifact_id}: content of {len(content)} bytes, metadata says {view.size_bytes}"
            )
        return Artifact(metadata=view, content=content)

    def metadata(self, ids: Sequence[str]) -> Plan[list[ArtifactMetadata | None]]:
        return self._views(ids)

    def _views(self, ids: Sequence[str]) -> Plan[list[ArtifactMetadata | None]]:
        calls = [scripts.METADATA.call(self._artifact_keys(page), ()) for page in pages(ids)]
        replies = (yield from self.read(*calls)) if calls else []
        return [
            None if view is None else records.decode_view(artifact_id, *view)
            for artifact_id, view in zip(ids, flat(replies), strict=True)
        ]

    def _artifact_keys(self, ids: Iterable[str]) -> list[bytes]:
        return [self._keys.artifact(artifact_id.encode()) for artifact_id in ids]

    def exists(self, ids: Sequence[str]) -> Plan[list[bool]]:
        calls = [
            scripts.EXISTS.call(self._artifact_keys(page), [self._keys.prefix, *(i.encode() for i in page)])
            for page in pages(ids)
        ]
        replies = (yield from self.read(*calls)) if calls else []
        return [found == 1 for found in flat(replies)]

    def leases(self, artifact_id: str) -> Plan[list[Lease]]:
        [[head, *pairs]] = yield from self.read(scripts.LEASES.call([self._keys.artifact(artifact_id.encode())], ()))
        if pairs:
            records.decode_head(head, artifact_id)
        live = [
            records.decode_lease(artifact_id, field, value)
            for field, value in zip(pairs[::2], pairs[1::2], strict=True)
        ]
        return sorted(live, key=lambda lease: lease.created_at)

    # Changing leases -------------------------------------------------------------------------------------------

    def delete(self, artifact_id: str) -> Plan[bool]:
        return self._change(scripts.DELETE, artifact_id, (), ())

    def touch(self, artifact_id: str, run_id: str | None, ttl_ms: int | None) -> Plan[bool]:
        run_keys = () if run_id is None else (self._keys.run(run_id),)
        return self._change(scripts.TOUCH, artifact_id, run_keys, (_run(run_id), _ttl(ttl_ms)))

    def release(self, artifact_id: str, run_id: str | None) -> Plan[bool]:
        return self._change(scripts.RELEASE, artifact_id, (), (_run(run_id),))

    def _change(
        self, script: scripts.Script, artifact_id: str, keys: Sequence[bytes], arguments: Sequence[bytes]
    ) -> Plan[bool]:
        name, shared = artifact_id.encode(), self._keys
        [done] = yield from self.write(
            script.call(
                [shared.artifact(name), shared.created, shared.deadlines, shared.runs, *keys],
                [shared.prefix, name, *arguments],
            )
        )
        return bool(done == 1)

    # Runs ------------------------------------------------------------------------------------------------------

    def list_by_run(self, run_id: str) -> Plan[list[ArtifactMetadata]]:
        field = records.lease_field(run_id)
        [[views, rest]] = yield from self.read(
            scripts.LIST_BY_RUN.call([self._keys.run(run_id)], [self._keys.prefix, field, b"%d" % PAGE])
        )
        if rest:
            replies = yield from self.read(
                *(
                    scripts.RUN_VIEWS.call([self._keys.artifact(i) for i in page], [field, *page])
                    for page in pages(rest)
                )
            )
            views = [*views, *flat(replies)]
        return [_view(artifact_id, head, field, value) for artifact_id, head, value in views]

    def delete_by_run(self, run_id: str) -> Plan[int]:
        keys = self._keys
        given_up: int = 0
        while True:
            [[count, left]] = yield from self.write(
                scripts.DELETE_BY_RUN.call(
                    [keys.run(run_id), keys.created, keys.deadlines, keys.runs],
                    [keys.prefix, _run(run_id), b"%d" % PAGE],
                )
            )
            given_up += count
            if left == 0:
                return given_up

    def list_runs(self) -> Plan[list[str]]:
        [runs] = yield from self.read(scripts.LIST_RUNS.call([self._keys.runs], ()))
        return [_text(run, "a run id") for run in runs]

    # Everything ------------------------------------------------------------------------------------------------

    def list_page(
        self, limit: int, cursor: object | None, *, newest_first: bool
    ) -> Plan[tuple[list[ArtifactMetadata], object | None]]:
        page = max(1, min(limit, PAGE))
        start = cursor if isinstance(cursor, bytes) else b""
        views, following = yield from self._page(start, page, newest_first=newest_first, figures=False)
        return [_view(*view) for view in views], following

    def _page(
        self, start: bytes, size: int, *, newest_first: bool, figures: bool
    ) -> Plan[tuple[list[list[Any]], bytes | None]]:
        """Views from a score on (inclusive: ids seen before may come again), and the score to go on from."""
        if start:
            size += 1
        [[scanned, last, views]] = yield from self.read(
            scripts.LIST_PAGE.call(
                [self._keys.created],
                [
                    self._keys.prefix,
                    b"%d" % size,
                    start,
                    b"desc" if newest_first else b"asc",
                    b"1" if figures else b"",
                ],
            )
        )
        more = scanned == size and last != start
        return views, (last if more else None)

    def stats(self) -> Plan[StoreStats]:
        seen: set[bytes] = set()
        contents: set[bytes] = set()
        leases = artifact_bytes = content_bytes = stored_bytes = 0
        start: bytes | None = b""
        while start is not None:
            views, start = yield from self._page(start, PAGE, newest_first=True, figures=True)
            for name, raw_head, _, _, count, stored in views:
                if name in seen:
                    continue
                seen.add(name)
                head = records.decode_head(raw_head, _text(name, "an artifact id"))
                leases += count
                artifact_bytes += head.size * count
                if head.digest not in contents:
                    contents.add(head.digest)
                    content_bytes += head.size
                    stored_bytes += stored
        return StoreStats(
            artifacts=len(seen),
            leases=leases,
            runs=len((yield from self.list_runs())),
            contents=len(contents),
            artifact_bytes=artifact_bytes,
            content_bytes=content_bytes,
            stored_bytes=stored_bytes,
        )

    def gc(self, *, dry_run: bool, grace_ms: int, progress: Progress) -> Plan[CheckReport]:
        inspection = Inspection(
            self,
            repair=lambda problem: not dry_run and problem in LEFTOVERS,
            read_data=False,
            grace_ms=grace_ms,
            progress=progress,
        )
        return (yield from inspection.run()).only(LEFTOVERS)

    def check(self, *, read_data: bool, repair: bool, grace_ms: int, progress: Progress) -> Plan[CheckReport]:
        inspection = Inspection(
            self, repair=lambda _: repair, read_data=read_data, grace_ms=grace_ms, progress=progress
        )
        return (yield from inspection.run())

    def close(self) -> Plan[None]:
        yield CloseLink(self._link)


def _stored(request: StoreRequest, reply: Any) -> ArtifactMetadata:
    if reply[0] == b"taken":
        raise InvalidArtifactError(
            f"artifact id {request.artifact_id} already is the name of other content: "
            "a content-addressed id cannot be replaced, choose another artifact_id"
        )
    _, created, deadline = reply
    return records.stored_view(request, created, deadline)


def _view(name: bytes, head: Any, field: bytes, value: Any) -> ArtifactMetadata:
    return records.decode_view(_text(name, "an artifact id"), head, field, value)


def _text(name: bytes, what: str) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise CorruptArtifactError(f"{what} in an index is not UTF-8: {name!r}") from None


def _digest(view: ArtifactMetadata) -> bytes:
    return bytes.fromhex(view.digest or "")


def _run(run_id: str | None) -> bytes:
    return b"" if run_id is None else run_id.encode()


def _ttl(ttl_ms: int | None) -> bytes:
    return b"" if ttl_ms is None else b"%d" % ttl_ms
