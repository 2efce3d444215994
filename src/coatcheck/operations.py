"""What every operation does above its backend, written once: check arguments, apply defaults, shape results.

Each method is a plan; `sync.py` runs it in the caller's thread, `aio.py` on the event loop.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterable, Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import IO, Any, TypeVar

from .arguments import (
    DEFAULT,
    Anonymous,
    LinkKeywords,
    Payload,
    StoreKeywords,
    Ttl,
    TtlOrDefault,
    check_bound,
    check_callback,
    check_content,
    check_details,
    check_flag,
    check_grace,
    check_holder,
    check_ids,
    check_items,
    check_optional_run_id,
    check_run_id,
    check_run_ids,
    check_ttl,
)
from .backends.base import Backend, Progress
from .backends.opened import OpenedArtifact
from .encoding import encode_extra
from .errors import InvalidArtifactError
from .figures import check_field
from .labels import Change
from .model import Artifact, ArtifactMetadata, CheckReport, Lease, Page, Removal, RunStats, StoreStats
from .plan import Plan, Work
from .reader import Cursor
from .refs import IdLike, id_of, not_found
from .request import Details, Request, SourceRequest, StoreRequest
from .search import Query, check_chosen, check_count, check_limit, check_prefix, cursor_of, place_of, slice_of
from .sources import Chunking, TransferProgress, open_source, read_source, spool
from .walk import Walk, artifacts, runs

T = TypeVar("T")

_LONG: int = 256 * 1024  # bytes to hash that should not hold up an event loop


class Operations:
    """The operations of one store.

    Args:
        backend: Where artifacts lie.
        default_ttl: For `store` calls that name none.
    """

    def __init__(self, backend: Backend, default_ttl: Ttl = None) -> None:
        self.backend = backend
        self._default_ttl_ms = check_ttl(default_ttl, "default_ttl")

    def store(self, content: Any, content_type: str, details: StoreKeywords) -> Plan[ArtifactMetadata]:
        checked = self._checked(content_type, details)
        taken = check_content(content, self.backend.max_size)  # now: a buffer may change as soon as others run
        if len(taken) < _LONG:
            return self.backend.store_one(StoreRequest(taken, checked))
        return self._store_long(taken, checked)

    def _store_long(self, content: bytes, checked: Details) -> Plan[ArtifactMetadata]:
        request: StoreRequest = yield Work(lambda: StoreRequest(content, checked))
        return (yield from self.backend.store_one(request))

    def store_many(
        self, items: Iterable[Any], content_type: str, details: StoreKeywords
    ) -> Plan[list[ArtifactMetadata]]:
        common, most = self._checked(content_type, details), self.backend.max_size

        def take(item: Any) -> tuple[bytes, Details]:
            if not isinstance(item, Payload):
                return check_content(item, most), common
            if item.says_nothing:
                return check_content(item.content, most), common
            kind = content_type if item.content_type is None else item.content_type
            return check_content(item.content, most), self._checked(kind, item.details(details))

        each = check_items(items)
        taken = [take(item) for item in each]  # at once: the next may come in the same buffer
        total = sum(len(content) for content, _ in taken)
        requests = yield from _long(total, lambda: [StoreRequest(*item) for item in taken])
        return (yield from self.backend.store(requests)) if requests else []

    def store_file(
        self, source: Any, content_type: str, details: StoreKeywords, progress: TransferProgress | None
    ) -> Plan[ArtifactMetadata]:
        backend = self.backend
        checked = self._checked(content_type, details)
        check_callback(progress)
        with ExitStack() as closing:
            if isinstance(source, AsyncIterable):
                source = yield from spool(source, backend.chunking, backend.max_size, closing)
            return (yield from self._store_stream(open_source(source, closing), checked, progress, closing))

    def _store_stream(
        self, stream: Any, checked: Details, progress: TransferProgress | None, closing: ExitStack
    ) -> Plan[ArtifactMetadata]:
        backend = self.backend
        content = yield from read_source(stream, backend.chunking, backend.max_size, progress, closing)
        if not isinstance(content, bytes):
            return (yield from backend.store_source(SourceRequest(content, checked), progress))
        request: StoreRequest = yield from _long(len(content), lambda: StoreRequest(content, checked))
        stored = yield from backend.store_one(request)
        if progress is not None:
            progress(len(content), len(content))
        return stored

    def link(
        self, source: IdLike, artifact_id: IdLike, content_type: str | None, details: LinkKeywords
    ) -> Plan[ArtifactMetadata]:
        source_id = id_of(source)
        checked = self._checked(content_type or "", {**details, "artifact_id": id_of(artifact_id)})
        view: Any = yield from self.get_metadata(source_id, None, required=True)
        checked = checked._replace(
            content_type=view.content_type if content_type is None else checked.content_type,
            tags=view.tags if details.get("tags") is None else checked.tags,
            extra=encode_extra(view.extra) if details.get("extra") is None else checked.extra,
        )
        if view.digest is not None:  # None: records of other software
            request = Request(bytes.fromhex(view.digest), view.size_bytes, checked)
            linked = yield from self.backend.link(request)
            if linked is not None:
                return linked
        with ExitStack() as closing:  # the content lies elsewhere: it is copied
            opened: Any = yield from self.open(source_id, required=True)
            stream = yield from _copied(opened, self.backend.chunking, closing)
            return (yield from self._store_stream(stream, checked, None, closing))

    def _checked(self, content_type: str, details: StoreKeywords) -> Details:
        return check_details(content_type, self._default_ttl_ms, **details)

    def open(self, artifact_id: IdLike, *, required: bool = False) -> Plan[OpenedArtifact | None]:
        return _found(self.backend.open(id_of(artifact_id)), artifact_id, required=required)

    def load_range(self, artifact_id: IdLike, start: int | None, stop: int | None) -> Plan[bytes | None]:
        start, stop = check_bound(start, "start"), check_bound(stop, "stop")
        opened = yield from self.open(artifact_id)
        if opened is None:
            return None
        cursor, length = Cursor.over(opened, start, stop)
        try:
            return (yield from cursor.read(length))
        finally:
            cursor.close()

    def load(self, artifact_id: IdLike, run_id: str | None, *, required: bool) -> Plan[Artifact | None]:
        run_id = check_optional_run_id(run_id)
        return _found(self.backend.load_one(id_of(artifact_id), run_id), artifact_id, run_id, required=required)

    def load_many(self, ids: Iterable[IdLike]) -> Plan[list[Artifact | None]]:
        return self._many(self.backend.load, ids)

    def get_metadata(self, artifact_id: IdLike, run_id: str | None, *, required: bool) -> Plan[ArtifactMetadata | None]:
        run_id = check_optional_run_id(run_id)
        return _found(self.backend.view(id_of(artifact_id), run_id), artifact_id, run_id, required=required)

    def metadata_many(self, ids: Iterable[IdLike]) -> Plan[list[ArtifactMetadata | None]]:
        return self._many(self.backend.metadata, ids)

    def exists(self, artifact_id: IdLike) -> Plan[bool]:
        [found] = yield from self.backend.exists([id_of(artifact_id)])
        return found

    def find_missing(self, ids: Iterable[IdLike], ttl: TtlOrDefault, run_id: str | None) -> Plan[list[str]]:
        run_id = check_optional_run_id(run_id)
        ask = self.backend.exists
        if ttl is not DEFAULT:
            ask = partial(self.backend.acquire, run_id=run_id, ttl_ms=check_ttl(ttl))
        elif run_id is not None:
            raise InvalidArtifactError(
                "run_id is for the lease that find_missing takes: say with ttl how long it holds"
            )
        wanted = list(dict.fromkeys(check_ids(ids)))
        found = yield from self._many(ask, wanted)
        return [artifact_id for artifact_id, there in zip(wanted, found, strict=True) if not there]

    def _many(self, ask: Callable[[list[str]], Plan[list[T]]], ids: Iterable[IdLike]) -> Plan[list[T]]:
        """Ask about each id once, answer in the order of the question."""
        wanted = check_ids(ids)
        unique = list(dict.fromkeys(wanted))
        if not unique:
            return []
        answers = dict(zip(unique, (yield from ask(unique)), strict=True))
        return [answers[artifact_id] for artifact_id in wanted]

    def delete(self, artifact_id: IdLike) -> Plan[bool]:
        [deleted] = yield from self.backend.delete([id_of(artifact_id)])
        return deleted

    def delete_many(self, ids: Iterable[IdLike]) -> Plan[list[bool]]:
        return self._many(self.backend.delete, ids)

    def touch(self, artifact_id: IdLike, ttl: Ttl, run_id: str | None) -> Plan[bool]:
        return (yield from self.backend.touch(id_of(artifact_id), check_optional_run_id(run_id), check_ttl(ttl)))

    def update_metadata(self, artifact_id: IdLike, run_id: str | None, change: Change) -> Plan[ArtifactMetadata | None]:
        [view] = yield from self.update_many([artifact_id], run_id, change)
        return view

    def update_many(
        self, ids: Iterable[IdLike], run_id: str | None, change: Change
    ) -> Plan[list[ArtifactMetadata | None]]:
        return self._many(partial(self.backend.update, run_id=check_optional_run_id(run_id), change=change), ids)

    def release(self, artifact_id: IdLike, run_id: str | None) -> Plan[bool]:
        return (yield from self.backend.release(id_of(artifact_id), check_optional_run_id(run_id)))

    def leases(self, artifact_id: IdLike) -> Plan[list[Lease]]:
        [leases] = yield from self.backend.leases([id_of(artifact_id)])
        return leases

    def leases_many(self, ids: Iterable[IdLike]) -> Plan[list[list[Lease]]]:
        return self._many(self.backend.leases, ids)

    def list_by_run(self, run_id: str) -> Plan[list[ArtifactMetadata]]:
        return self.search(Query(run_id=check_run_id(run_id)), 0, 0)

    def list_all(self, limit: int) -> Plan[list[ArtifactMetadata]]:
        return self.search(Query(), 0, limit)

    def list_runs(self) -> Plan[list[str]]:
        return sorted((yield from runs(self.backend).rest()))

    def delete_by_run(self, run_id: str) -> Plan[int]:
        return (yield from self.backend.delete_by_run(check_run_id(run_id)))

    def search(self, query: Query, offset: int, limit: int) -> Plan[list[ArtifactMetadata]]:
        if check_count(limit, "limit") > 0:
            views, _ = yield from self.backend.page(query, None, limit + max(0, check_count(offset, "offset")))
        else:
            views = yield from artifacts(self.backend, query).rest()
        return slice_of(views, query, offset=offset, limit=limit)

    def page(self, query: Query, limit: int, after: str | None) -> Plan[Page[ArtifactMetadata]]:
        count, identity = check_limit(limit), self.backend.identity
        views, end = yield from self.backend.page(query, place_of(after, query, identity), count)
        return Page(views, None if end is None else cursor_of(end, query, identity))

    def page_runs(self, prefix: str | None, limit: int, after: str | None) -> Plan[Page[str]]:
        count, begins = check_limit(limit), check_prefix(prefix)
        query, identity = ("runs", begins), self.backend.identity
        runs, end = yield from self.backend.runs_page(begins, place_of(after, query, identity), count)
        return Page(runs, None if end is None else cursor_of(end, query, identity))

    def iter_artifacts(self, walk: Walk[ArtifactMetadata]) -> Plan[list[ArtifactMetadata]]:
        return walk.next()

    def iter_run(self, walk: Walk[ArtifactMetadata]) -> Plan[list[ArtifactMetadata]]:
        return walk.next()

    def iter_runs(self, walk: Walk[str]) -> Plan[list[str]]:
        return walk.next()

    def count(self, query: Query) -> Plan[int]:
        return (yield from self.backend.count(query))

    def facets(self, field: str, query: Query) -> Plan[dict[str | None, int]]:
        values = yield from self.backend.facets(query, check_field(field))
        return dict(sorted(values.items(), key=lambda one: (-one[1], one[0] or "")))

    def stats(self, query: Query) -> Plan[StoreStats]:
        return (yield from self.backend.stats(query))

    def run_stats(self, run_id: str) -> Plan[RunStats]:
        tally = yield from self.backend.tally(Query(run_id=check_run_id(run_id)), None)
        return tally.of_run(run_id)

    def run_stats_many(self, run_ids: Iterable[str]) -> Plan[list[RunStats]]:
        runs = check_run_ids(run_ids)
        tallies = yield from self.backend.tallies(runs)
        return [tally.of_run(run) for run, tally in zip(runs, tallies, strict=True)]

    def touch_run(self, run_id: str | Anonymous, ttl: Ttl) -> Plan[int]:
        return (yield from self.backend.touch_run(check_holder(run_id), check_ttl(ttl), longer=True))

    def expire_run(self, run_id: str | Anonymous, ttl: Ttl) -> Plan[int]:
        return (yield from self.backend.touch_run(check_holder(run_id), check_ttl(ttl), longer=False))

    def delete_where(self, query: Query, *, dry_run: bool, progress: Progress) -> Plan[Removal]:
        check_chosen(query)
        check_callback(progress)
        if check_flag(dry_run, "dry_run"):
            tally = yield from self.backend.tally(query, None)
            return Removal(artifacts=tally.views, size_bytes=tally.size, dry_run=True)
        artifacts, size = yield from self.backend.delete_where(query, progress)
        return Removal(artifacts=artifacts, size_bytes=size, dry_run=False)

    def gc(self, *, dry_run: bool, grace: Ttl, progress: Progress) -> Plan[CheckReport]:
        return (
            yield from self.backend.gc(
                dry_run=check_flag(dry_run, "dry_run"), grace_ms=check_grace(grace), progress=check_callback(progress)
            )
        )

    def check(self, *, read_data: bool, repair: bool, grace: Ttl, progress: Progress) -> Plan[CheckReport]:
        return (
            yield from self.backend.check(
                read_data=check_flag(read_data, "read_data"),
                repair=check_flag(repair, "repair"),
                grace_ms=check_grace(grace),
                progress=check_callback(progress),
            )
        )

    def reindex(self, progress: Progress) -> Plan[int]:
        return (yield from self.backend.reindex(check_callback(progress)))

    def close(self) -> Plan[None]:
        yield from self.backend.close()


def _found(plan: Plan[T | None], artifact_id: IdLike, run_id: str | None = None, *, required: bool) -> Plan[T | None]:
    """The same plan; where it is `required`, what finds nothing fails."""
    return _required(plan, artifact_id, run_id) if required else plan


def _required(plan: Plan[T | None], artifact_id: IdLike, run_id: str | None) -> Plan[T]:
    result = yield from plan
    if result is None:
        raise not_found(artifact_id, run_id)
    return result


def _copied(opened: OpenedArtifact, chunking: Chunking, closing: ExitStack) -> Plan[IO[bytes]]:
    """An opened artifact as a file: in memory while it is short, else a temporary one."""
    file = closing.enter_context(tempfile.SpooledTemporaryFile(chunking.threshold))  # noqa: SIM115  # it is
    cursor = Cursor(opened)
    closing.callback(cursor.close)
    while left := cursor.available(chunking.size * chunking.window):
        piece = yield from cursor.piece(left)
        yield Work(partial(file.write, piece))
    file.seek(0)
    return file


def _long(length: int, call: Callable[[], T]) -> Plan[T]:
    """Do something with that many bytes; if they are many, away from an event loop."""
    if length < _LONG:
        return call()
    result: T = yield Work(call)
    return result
