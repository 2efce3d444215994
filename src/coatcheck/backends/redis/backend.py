"""The Redis backend: each operation as a plan over script calls. One server: one round trip, atomic."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from redis.exceptions import ResponseError

from ...arguments import Request, SourceRequest, StoreRequest
from ...cache import CacheInfo, ContentCache, Fetched
from ...compression import Zstd
from ...envelope import Verify, is_manifest, seal, unseal
from ...errors import CorruptArtifactError, InvalidArtifactError, StoreUnavailableError
from ...ids import ID_LENGTH
from ...model import Artifact, ArtifactMetadata, CheckReport, Lease, StoreStats
from ...plan import Plan, Work
from ...sources import BytesSource, Source, TransferProgress
from ..base import Backend, Progress
from ..opened import OpenedArtifact, WholeArtifact
from . import records, scripts
from .batching import PAGE, ROUND, batches, flat, pages, together, without_rivals
from .download import ChunkedArtifact, lost
from .durability import Durability, check_confirmed, confirmation, refused
from .eviction import Exchanges
from .keys import Keys
from .link import CloseLink, Link
from .maintenance import LEFTOVERS, Inspection
from .manifest import Manifest
from .retry import exchange
from .scripts import Command, Prepared, PreparedCall, Sendable
from .upload import STAGING_MS, Upload

T = TypeVar("T")
Finish = Callable[[ArtifactMetadata, bytes], Plan[T | None]]
"""Makes something of an artifact's metadata and sealed content; `None` where content or chunks are missing."""

INLINE: Final = 64 * 1024
"""Content that travels as a script argument; Lua copies arguments, so larger content is set beside the script."""

UNASKED: Final = 256 * 1024
"""Content that is sent without asking whether it is there: sending it costs less than the round trip."""

LONG_WORK: Final = 256 * 1024
"""From this many bytes on, hashing and compression leave the event loop."""

TRIES: Final = 5  # how often a plan starts over because others changed what it had just read


class RedisBackend(Backend):
    """One namespace on one server.

    Args:
        link: The way to the server.
        namespace: Prefix of every key.
        retry_for: Seconds during which failed exchanges are repeated.
        compression: How to compress where it pays; `None`: not at all.
        verify: See `envelope.unseal`.
        max_size: Largest content in bytes; `None`: as much as the server's memory takes.
        durability: How safe a write is before it is acknowledged.
        cache: Contents that need not be fetched; `None`: always fetch them.
    """

    _inspection: type[Inspection] = Inspection

    def __init__(
        self,
        link: Link,
        *,
        namespace: str,
        retry_for: float,
        compression: Zstd | None,
        verify: Verify,
        max_size: int | None,
        durability: Durability,
        cache: ContentCache | None = None,
    ) -> None:
        self._link = link
        self._keys = Keys(namespace)
        self._exchange = Exchanges(self._keys.runs, warn=link.engine is None)
        self._retry_for = retry_for
        self._compression = compression
        self._verify = verify
        self._durability = durability
        self._confirmation = confirmation(durability)
        self.max_size = max_size
        self._cache = cache
        self._prepare()

    def _prepare(self) -> None:
        """Pack what frequent commands have in common."""
        self._store_calls: dict[tuple[int, int], Prepared] = {}
        self._get_leases = Prepared(None, (b"HRANDFIELD", None, b"%d" % records.FEW, b"WITHVALUES"))
        self._get_content = Prepared(None, (b"GET", None))

    @property
    def keys(self) -> Keys:
        """The names of its keys."""
        return self._keys

    def cache_info(self) -> CacheInfo:
        """Figures about the content cache."""
        return CacheInfo() if self._cache is None else self._cache.info()

    def read(self, *commands: Sendable) -> Plan[list[Any]]:
        """Send commands that change nothing; their replies."""
        return self._exchange(self._link, commands, self._retry_for, writes=False)

    def write(self, *commands: Sendable) -> Plan[list[Any]]:
        """Send commands that may change something, and wait until they are as safe as promised; their replies."""
        if self._confirmation is None:
            return (yield from self._exchange(self._link, commands, self._retry_for, writes=True))
        *replies, confirmed = yield from self._exchange(
            self._link, [*commands, self._confirmation], self._retry_for, writes=True
        )
        check_confirmed(self._durability, confirmed)
        return replies

    def prepare(self, *commands: Sendable, retry_for: float | None = None) -> Plan[list[Any]]:
        """Send commands that concern no artifact yet: if their outcome is unknown, nothing is in doubt."""
        patience = self._retry_for if retry_for is None else retry_for
        return exchange(self._link, commands, patience, writes=False)

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
        if len(requests) == 1:
            return (yield from self._store_batch(requests))
        results: list[ArtifactMetadata] = []
        for batch in batches(requests, PAGE, lambda request: len(request.content)):
            for part in without_rivals(batch):
                results += yield from self._store_batch(part)
        return results

    def _store_batch(self, requests: Sequence[StoreRequest]) -> Plan[list[ArtifactMetadata]]:
        unasked = [request for request in requests if request.size <= min(UNASKED, self.chunking.threshold - 1)]
        sealed = dict(zip(map(id, unasked), (yield from self._sealed(unasked)), strict=True))
        commands: list[Sendable] = []
        for group in together(requests, min(INLINE, self.chunking.threshold - 1)):
            content = sealed.get(id(group[0]))
            if group[0].size <= INLINE and content is not None:
                commands.append(self._store_call(group, b"c", [b"".join(sealed[id(request)]) for request in group]))
                continue
            if content is None:
                commands.append(self._store_call(group, b"k", [b""]))
            else:
                key = self._keys.content(records.tag_of(group[0].digest))
                commands.append(Command(b"SET", key, content, b"NX", b"PX", b"%d" % STAGING_MS))
                commands.append(self._store_call(group, b"p", [b""]))
        answers = yield from self.write(*commands)
        replies = [reply for sent, reply in zip(commands, answers, strict=True) if isinstance(sent, PreparedCall)]
        results = []
        for request, reply in zip(requests, flat(replies), strict=True):
            if reply[0] == b"need":
                reply = yield from self._upload(request)  # noqa: PLW2901  # the same question, asked with the content
            results.append(_stored(request, reply))
            if self._cache is not None:
                self._cache.remember(request.digest, request.content)
        return results

    def _sealed(self, requests: Sequence[StoreRequest]) -> Plan[list[tuple[bytes, bytes]]]:
        def seal_all() -> list[tuple[bytes, bytes]]:
            return [seal(r.content, r.digest, r.content_type, self._compression) for r in requests]

        if sum([request.size for request in requests]) < LONG_WORK:
            return seal_all()
        sealed: list[tuple[bytes, bytes]] = yield Work(seal_all)
        return sealed

    def store_source(self, request: SourceRequest, progress: TransferProgress | None) -> Plan[ArtifactMetadata]:
        [[reply]] = yield from self.write(self._store_call([request], b"k", [b""]))
        if reply[0] == b"need":
            reply = yield from self._upload_chunks(request, request.source, progress)
        if progress is not None:
            progress(request.size, request.size)
        return _stored(request, reply)

    def _upload(self, request: StoreRequest) -> Plan[Any]:
        if request.size >= self.chunking.threshold:
            source = BytesSource(request.content, request.digest, self.chunking.size)
            return (yield from self._upload_chunks(request, source, None))
        [sealed] = yield from self._sealed([request])
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
            self._store_call([request], b"s", [b""], staging),
        )
        return reply

    def _store_call(
        self, requests: Sequence[Request], where: bytes, sealed: Sequence[bytes], staging: bytes | None = None
    ) -> PreparedCall:
        """One call for artifacts of one run and TTL."""
        keys, first = self._keys, requests[0]
        values: list[bytes] = []
        for request in requests:
            tag = records.tag_of(request.digest)
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
        values += (_run(first.run_id), _ttl(first.ttl_ms), where)
        for request, content in zip(requests, sealed, strict=True):
            values += (
                request.artifact_id.encode(),
                records.encode_head(request),
                records.encode_view(request),
                content,
            )
        return prepared.call(*values)

    # Reading ---------------------------------------------------------------------------------------------------

    def load(self, ids: Sequence[str]) -> Plan[list[Artifact | None]]:
        if len(ids) == 1:
            return [(yield from self._load_through_cache(ids[0]))]
        views = yield from self.metadata(ids)
        results = yield from self._cached(views)
        present = [(i, view) for i, view in enumerate(views) if view is not None and results[i] is None]
        for batch in batches(present, PAGE, lambda item: item[1].size_bytes):
            contents = yield from self._contents([_digest(view) for _, view in batch])
            for (i, view), sealed in zip(batch, contents, strict=True):
                if sealed is not None:
                    results[i] = yield from self._artifact(view, sealed)
                if results[i] is None:  # deleted meanwhile, or lost: look again
                    results[i] = yield from self._load_one(ids[i], self._artifact)
        return results

    def _load_through_cache(self, artifact_id: str) -> Plan[Artifact | None]:
        if self._cache is not None and not self._cache.lacks(artifact_id):
            [view] = yield from self.metadata([artifact_id])
            [cached] = yield from self._cached([view])
            if view is None or cached is not None:
                return cached
        return (yield from self._load_one(artifact_id, self._artifact))

    def _cached(self, views: Sequence[ArtifactMetadata | None]) -> Plan[list[Artifact | None]]:
        """Artifacts that the server has just described and whose contents are in the cache."""
        if self._cache is None:
            return [None] * len(views)
        digests = [b"" if view is None else _digest(view) for view in views]
        contents = yield from self._cache.fetch(list({digest for digest in digests if digest}))
        return [
            _whole(view, contents[digest]) if view is not None and digest in contents else None
            for view, digest in zip(views, digests, strict=True)
        ]

    def _contents(self, digests: Sequence[bytes]) -> Plan[list[Any]]:
        """Sealed contents, `None` where there is none."""
        [contents] = yield from self.read(
            Command(b"MGET", *(self._keys.content(records.tag_of(digest)) for digest in digests))
        )
        found: list[Any] = contents
        return found

    def _get(self, digest: bytes) -> PreparedCall:
        return self._get_content.call(self._keys.content(records.tag_of(digest)))

    def _load_one(self, artifact_id: str, finish: Finish[T]) -> Plan[T | None]:
        incomplete = b""
        for attempt in range(TRIES):
            # Most likely a default id: the id tells where the content is.
            guess = attempt == 0 and len(artifact_id) == ID_LENGTH
            found = yield from (self._guess(artifact_id) if guess else self._look(artifact_id))
            if found is None:
                return None
            view, sealed = found
            if sealed and sealed == incomplete:  # nobody deleted or replaced it
                raise lost(artifact_id)
            finished = yield from finish(view, sealed or b"")
            if finished is not None:
                return finished
            incomplete = sealed or b""
        raise StoreUnavailableError(f"artifact {artifact_id} changed {TRIES} times while it was read; try again")

    def _guess(self, artifact_id: str) -> Plan[tuple[ArtifactMetadata, bytes | None] | None]:
        """Metadata and content, if the content is that of a default id."""
        name = artifact_id.encode()
        fields, sealed = yield from self.read(
            self._get_leases.call(self._keys.artifact(name)), self._get_content.call(self._keys.content(name))
        )
        view = yield from self._latest(artifact_id, fields)
        if view is None:
            return None
        return view, sealed if _digest(view).hex()[:ID_LENGTH] == artifact_id else None

    def _latest(self, artifact_id: str, fields: Any) -> Plan[ArtifactMetadata | None]:
        """Metadata from what `_get_leases` returned; asks again where that does not tell which lease is the latest."""
        if not fields:
            return None
        lease = records.latest_of_few(fields)
        if lease is None:
            [[lease]] = yield from self.read(scripts.METADATA.call(self._artifact_keys([artifact_id]), ()))
        return None if lease is None else records.decode_view(artifact_id, *lease)

    def _look(self, artifact_id: str) -> Plan[tuple[ArtifactMetadata, bytes | None] | None]:
        """Metadata and content; no content where it vanished on the way."""
        name = artifact_id.encode()
        [found] = yield from self.read(
            scripts.LOAD.call([self._keys.artifact(name)], (self._keys.prefix, name, b"%d" % INLINE)),
        )
        if found is None:
            return None
        *parts, sealed, length = found
        view = records.decode_view(artifact_id, *parts)
        if length == 0:
            raise lost(artifact_id)
        if not sealed:
            [sealed] = yield from self.read(self._get(_digest(view)))
        return view, sealed

    def open(self, artifact_id: str) -> Plan[OpenedArtifact | None]:
        return self._load_one(artifact_id, self._opened)

    def _opened(self, view: ArtifactMetadata, sealed: bytes) -> Plan[OpenedArtifact | None]:
        if is_manifest(sealed):
            return self.chunked(view, sealed)
        artifact = yield from self._artifact(view, sealed)
        return None if artifact is None else WholeArtifact(artifact)

    def chunked(self, view: ArtifactMetadata, sealed: bytes) -> ChunkedArtifact:
        """A content by its manifest.

        Raises:
            CorruptArtifactError: The manifest is damaged.
        """

        def current(view: ArtifactMetadata, sealed: bytes) -> Plan[Manifest | None]:
            yield from ()
            return Manifest.unseal(sealed, _digest(view)) if is_manifest(sealed) else None

        with _named(view):
            manifest = Manifest.unseal(sealed, _digest(view))
        return ChunkedArtifact(self, view, manifest, self._verify, lambda: self._load_one(view.artifact_id, current))

    def _artifact(self, view: ArtifactMetadata, sealed: bytes) -> Plan[Artifact | None]:
        digest = _digest(view)
        if not sealed:
            return (yield from self._cached([view]))[0]
        if is_manifest(sealed):
            content = yield from self.chunked(view, sealed).load()
            if content is None:
                return None
            if self._cache is not None:
                self._cache.remember(digest, content)
            return Artifact(metadata=view, content=content)
        with _named(view):
            if len(sealed) >= LONG_WORK or view.size_bytes >= LONG_WORK:
                content = yield Work(lambda: unseal(sealed, digest, self._verify))
            else:
                content = unseal(sealed, digest, self._verify)
        artifact = _whole(view, content)
        if self._cache is not None:
            yield from self._cache.keep([Fetched(digest, content, sealed)])
        return artifact

    def metadata(self, ids: Sequence[str]) -> Plan[list[ArtifactMetadata | None]]:
        if len(ids) == 1:
            [fields] = yield from self.read(self._get_leases.call(*self._artifact_keys(ids)))
            return [(yield from self._latest(ids[0], fields))]
        replies = yield from self._paged(
            ids, self.read, lambda page: scripts.METADATA.call(self._artifact_keys(page), ())
        )
        return [
            None if view is None else records.decode_view(artifact_id, *view)
            for artifact_id, view in zip(ids, replies, strict=True)
        ]

    def _paged(
        self, ids: Sequence[str], send: Callable[..., Plan[list[Any]]], ask: Callable[[Sequence[str]], Sendable]
    ) -> Plan[list[Any]]:
        """Ask one script about artifacts, page by page, many pages in one round trip; an answer for each id."""
        answers: list[Any] = []
        for part in pages(ids, ROUND):
            answers += flat((yield from send(*(ask(page) for page in pages(part)))))
        return answers

    def _artifact_keys(self, ids: Iterable[str]) -> list[bytes]:
        return [self._keys.artifact(name) for name in _names(ids)]

    def exists(self, ids: Sequence[str]) -> Plan[list[bool]]:
        def ask(page: Sequence[str]) -> Sendable:
            return scripts.EXISTS.call(self._artifact_keys(page), [self._keys.prefix, *_names(page)])

        return [found == 1 for found in (yield from self._paged(ids, self.read, ask))]

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

    def claim(self, ids: Sequence[str], run_id: str | None, ttl_ms: int | None) -> Plan[list[bool]]:
        keys = self._keys
        run_keys = () if run_id is None else (keys.run(run_id),)

        def ask(page: Sequence[str]) -> Sendable:
            return scripts.CLAIM.call(
                [keys.created, keys.deadlines, keys.runs, *self._artifact_keys(page), *run_keys],
                [keys.prefix, _run(run_id), _ttl(ttl_ms), *_names(page)],
            )

        return [found == 1 for found in (yield from self._paged(ids, self.write, ask))]

    def delete(self, ids: Sequence[str]) -> Plan[list[bool]]:
        keys = self._keys

        def ask(page: Sequence[str]) -> Sendable:
            return scripts.DELETE.call(
                [keys.created, keys.deadlines, keys.runs, *self._artifact_keys(page)], [keys.prefix, *_names(page)]
            )

        return [deleted == 1 for deleted in (yield from self._paged(ids, self.write, ask))]

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
        [runs] = yield from self.read(scripts.LIST_RUNS.call([self._keys.runs], (self._keys.prefix,)))
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
        inspection = self._inspection(
            self,
            repair=lambda problem: not dry_run and problem in LEFTOVERS,
            read_data=False,
            grace_ms=grace_ms,
            progress=progress,
        )
        return (yield from inspection.run()).only(LEFTOVERS)

    def check(self, *, read_data: bool, repair: bool, grace_ms: int, progress: Progress) -> Plan[CheckReport]:
        inspection = self._inspection(
            self, repair=lambda _: repair, read_data=read_data, grace_ms=grace_ms, progress=progress
        )
        return (yield from inspection.run())

    def close(self) -> Plan[None]:
        if self._cache is not None:
            self._cache.clear()
        yield CloseLink(self._link)


@contextmanager
def _named(view: ArtifactMetadata) -> Iterator[None]:
    """Say in an error which artifact is damaged."""
    try:
        yield
    except CorruptArtifactError as error:
        raise CorruptArtifactError(f"artifact {view.artifact_id}: {error}") from None


def _stored(request: Request, reply: Any) -> ArtifactMetadata:
    if reply[0] == b"taken":
        raise InvalidArtifactError(
            f"artifact id {request.artifact_id} already is the name of other content: "
            "a content-addressed id cannot be replaced, choose another artifact_id"
        )
    _, created, deadline = reply
    return records.stored_view(request, created, deadline)


def _whole(view: ArtifactMetadata, content: bytes) -> Artifact:
    if len(content) != view.size_bytes:
        raise CorruptArtifactError(
            f"artifact {view.artifact_id}: content of {len(content)} bytes, metadata says {view.size_bytes}"
        )
    return Artifact(metadata=view, content=content)


def _view(name: bytes, head: Any, field: bytes, value: Any) -> ArtifactMetadata:
    return records.decode_view(_text(name, "an artifact id"), head, field, value)


def _text(name: bytes, what: str) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise CorruptArtifactError(f"{what} in an index is not UTF-8: {name!r}") from None


def _names(ids: Iterable[str]) -> list[bytes]:
    return [artifact_id.encode() for artifact_id in ids]


def _digest(view: ArtifactMetadata) -> bytes:
    return bytes.fromhex(view.digest or "")


def _run(run_id: str | None) -> bytes:
    return b"" if run_id is None else run_id.encode()


def _ttl(ttl_ms: int | None) -> bytes:
    return b"" if ttl_ms is None else b"%d" % ttl_ms
