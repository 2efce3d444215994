"""The asyncio stores: the contract of `store.py`, awaited. The same plans run on the event loop, without threads."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, overload

import redis.asyncio

from .arguments import (
    DEFAULT,
    Anonymous,
    LinkKeywords,
    Payload,
    StoreKeywords,
    Ttl,
    TtlOrDefault,
    check_details,
    check_run_id,
    spelled_out,
)
from .backends.file import FileBackend
from .backends.memory import MemoryBackend
from .backends.redis import AsyncTarget
from .encoding import encode_json, encode_text
from .errors import StoreClosedError
from .events import OnEvent
from .explained import explained_by
from .face import Face, RedisFace, reopen
from .folders import check_path
from .labels import Change, ExtraOrChange, TagsOrChange
from .plan import Plan, arun
from .reader import AsyncArtifactReader
from .refs import IdLike, id_of
from .runs import AsyncRun
from .search import By, Filters, Order, Query, ViewFilters
from .sources import AsyncSourceLike, TransferProgress
from .store import ArtifactStore
from .walk import Walk, artifacts, runs

if TYPE_CHECKING:
    from datetime import timedelta

    from typing_extensions import Buffer

    from .model import Artifact, ArtifactMetadata, CheckReport, Lease, Page, Removal, RunStats, StoreStats

T = TypeVar("T")


@explained_by(ArtifactStore)
class AsyncArtifactStore(Face):
    """`ArtifactStore`, awaited: the same names, arguments, results and errors.

    Tasks may share it, and so may event loops, one after another or in threads at the same time: connections belong to
    one loop each, and end with it. (A caller's own client of redis-py belongs to one loop.)
    """

    async def _run(self, plan: Plan[T]) -> T:
        if self._closed:
            plan.close()
            raise StoreClosedError("this store was closed: open another one")
        return await arun(plan)

    @spelled_out(check_details)
    async def store(
        self, content: Buffer, *, content_type: str = "application/octet-stream", **details: Unpack[StoreKeywords]
    ) -> ArtifactMetadata:
        """See `ArtifactStore.store`."""
        return await self._run(self._operations.store(content, content_type, details))

    @overload
    async def load(self, artifact_id: IdLike, *, run_id: str | None = None, required: Literal[True]) -> Artifact: ...
    @overload
    async def load(
        self, artifact_id: IdLike, *, run_id: str | None = None, required: bool = False
    ) -> Artifact | None: ...
    async def load(self, artifact_id: IdLike, *, run_id: str | None = None, required: bool = False) -> Artifact | None:
        """See `ArtifactStore.load`."""
        return await self._run(self._operations.load(artifact_id, run_id, required=required))

    @overload
    async def get_metadata(
        self, artifact_id: IdLike, *, run_id: str | None = None, required: Literal[True]
    ) -> ArtifactMetadata: ...
    @overload
    async def get_metadata(
        self, artifact_id: IdLike, *, run_id: str | None = None, required: bool = False
    ) -> ArtifactMetadata | None: ...
    async def get_metadata(
        self, artifact_id: IdLike, *, run_id: str | None = None, required: bool = False
    ) -> ArtifactMetadata | None:
        """See `ArtifactStore.get_metadata`."""
        return await self._run(self._operations.get_metadata(artifact_id, run_id, required=required))

    async def exists(self, artifact_id: IdLike) -> bool:
        """See `ArtifactStore.exists`."""
        return await self._run(self._operations.exists(artifact_id))

    async def delete(self, artifact_id: IdLike) -> bool:
        """See `ArtifactStore.delete`."""
        return await self._run(self._operations.delete(artifact_id))

    async def list_by_run(self, run_id: str) -> list[ArtifactMetadata]:
        """See `ArtifactStore.list_by_run`."""
        return await self._run(self._operations.list_by_run(run_id))

    async def list_all(self, *, limit: int = 1000) -> list[ArtifactMetadata]:
        """See `ArtifactStore.list_all`."""
        return await self._run(self._operations.list_all(limit))

    async def delete_by_run(self, run_id: str) -> int:
        """See `ArtifactStore.delete_by_run`."""
        return await self._run(self._operations.delete_by_run(run_id))

    @spelled_out(Query.of)
    async def search(
        self, *, limit: int = 1000, offset: int = 0, by: By = "time", order: Order = "desc", **filters: Unpack[Filters]
    ) -> list[ArtifactMetadata]:
        """See `ArtifactStore.search`."""
        return await self._run(self._operations.search(Query.of(**filters).ordered(by, order), offset, limit))

    @spelled_out(Query.of)
    async def page(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        by: By = "time",
        order: Order = "desc",
        **filters: Unpack[Filters],
    ) -> Page[ArtifactMetadata]:
        """See `ArtifactStore.page`."""
        return await self._run(self._operations.page(Query.of(**filters).ordered(by, order), limit, after))

    async def page_runs(self, *, prefix: str | None = None, limit: int = 100, after: str | None = None) -> Page[str]:
        """See `ArtifactStore.page_runs`."""
        return await self._run(self._operations.page_runs(prefix, limit, after))

    @spelled_out(Query.of)
    def iter_artifacts(self, **filters: Unpack[Filters]) -> AsyncIterator[ArtifactMetadata]:
        """See `ArtifactStore.iter_artifacts`."""
        return self._each(self._operations.iter_artifacts, artifacts(self._operations.backend, Query.of(**filters)))

    @spelled_out(Query.of)
    def iter_run(self, run_id: str, **filters: Unpack[ViewFilters]) -> AsyncIterator[ArtifactMetadata]:
        """See `ArtifactStore.iter_run`."""
        query = Query.of(run_id=check_run_id(run_id), **filters)
        return self._each(self._operations.iter_run, artifacts(self._operations.backend, query))

    def iter_runs(self, prefix: str | None = None) -> AsyncIterator[str]:
        """See `ArtifactStore.iter_runs`."""
        return self._each(self._operations.iter_runs, runs(self._operations.backend, prefix))

    async def _each(self, more: Callable[[Walk[T]], Plan[list[T]]], walk: Walk[T]) -> AsyncIterator[T]:
        while batch := await self._run(more(walk)):
            for one in batch:
                yield one

    @spelled_out(check_details)
    async def store_text(
        self,
        text: str,
        *,
        content_type: str = "text/plain",
        encoding: str = "utf-8",
        **details: Unpack[StoreKeywords],
    ) -> ArtifactMetadata:
        """See `ArtifactStore.store_text`."""
        return await self.store(encode_text(text, encoding), content_type=content_type, **details)

    @spelled_out(check_details)
    async def store_json(self, data: Any, **details: Unpack[StoreKeywords]) -> ArtifactMetadata:
        """See `ArtifactStore.store_json`."""
        return await self.store(encode_json(data), content_type="application/json", **details)

    async def load_text(self, artifact_id: IdLike, encoding: str = "utf-8") -> str | None:
        """See `ArtifactStore.load_text`."""
        artifact = await self.load(artifact_id)
        return None if artifact is None else artifact.as_text(encoding)

    async def load_json(self, artifact_id: IdLike) -> Any | None:
        """See `ArtifactStore.load_json`."""
        artifact = await self.load(artifact_id)
        return None if artifact is None else artifact.as_json()

    async def store_many(
        self,
        items: Iterable[Buffer | Payload],
        *,
        content_type: str = "application/octet-stream",
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        ttl: TtlOrDefault = DEFAULT,
        extra: Mapping[str, Any] | None = None,
        exact_ttl: bool = False,
    ) -> list[ArtifactMetadata]:
        """See `ArtifactStore.store_many`."""
        details: StoreKeywords = {
            "run_id": run_id,
            "tags": tags,
            "ttl": ttl,
            "extra": extra,
            "exact_ttl": exact_ttl,
        }
        return await self._run(self._operations.store_many(items, content_type, details))

    async def load_many(self, ids: Iterable[IdLike]) -> list[Artifact | None]:
        """See `ArtifactStore.load_many`."""
        return await self._run(self._operations.load_many(ids))

    async def metadata_many(self, ids: Iterable[IdLike]) -> list[ArtifactMetadata | None]:
        """See `ArtifactStore.metadata_many`."""
        return await self._run(self._operations.metadata_many(ids))

    async def find_missing(
        self, ids: Iterable[IdLike], *, ttl: TtlOrDefault = DEFAULT, run_id: str | None = None
    ) -> list[str]:
        """See `ArtifactStore.find_missing`."""
        return await self._run(self._operations.find_missing(ids, ttl, run_id))

    async def delete_many(self, ids: Iterable[IdLike]) -> list[bool]:
        """See `ArtifactStore.delete_many`."""
        return await self._run(self._operations.delete_many(ids))

    @spelled_out(check_details)
    async def store_file(
        self,
        source: AsyncSourceLike,
        *,
        content_type: str = "application/octet-stream",
        progress: TransferProgress | None = None,
        **details: Unpack[StoreKeywords],
    ) -> ArtifactMetadata:
        """See `ArtifactStore.store_file`. Threads read the source; one may still do so after a cancellation.

        The source may also be an async iterable of bytes, such as the body of a request. It is awaited to its end, and
        copied to a temporary file where it is long.
        """
        return await self._run(self._operations.store_file(source, content_type, details, progress))

    @spelled_out(check_details)
    async def link(
        self,
        source: IdLike,
        artifact_id: IdLike,
        *,
        content_type: str | None = None,
        **details: Unpack[LinkKeywords],
    ) -> ArtifactMetadata:
        """See `ArtifactStore.link`."""
        return await self._run(self._operations.link(source, artifact_id, content_type, details))

    @overload
    async def open(self, artifact_id: IdLike, *, required: Literal[True]) -> AsyncArtifactReader: ...
    @overload
    async def open(self, artifact_id: IdLike, *, required: bool = False) -> AsyncArtifactReader | None: ...
    async def open(self, artifact_id: IdLike, *, required: bool = False) -> AsyncArtifactReader | None:
        """See `ArtifactStore.open`."""
        opened = await self._run(self._operations.open(artifact_id, required=required))
        return None if opened is None else AsyncArtifactReader(opened, self._run)

    async def load_range(self, artifact_id: IdLike, start: int | None = None, stop: int | None = None) -> bytes | None:
        """See `ArtifactStore.load_range`."""
        return await self._run(self._operations.load_range(artifact_id, start, stop))

    async def touch(self, artifact_id: IdLike, ttl: Ttl, run_id: str | None = None) -> bool:
        """See `ArtifactStore.touch`."""
        return await self._run(self._operations.touch(artifact_id, ttl, run_id))

    async def update_metadata(
        self,
        artifact_id: IdLike,
        *,
        run_id: str | None = None,
        content_type: str | None = None,
        tags: TagsOrChange | None = None,
        extra: ExtraOrChange | None = None,
        replace: bool = False,
    ) -> ArtifactMetadata | None:
        """See `ArtifactStore.update_metadata`."""
        change = Change(content_type, tags, extra, replace=replace)
        return await self._run(self._operations.update_metadata(artifact_id, run_id, change))

    async def update_many(
        self,
        ids: Iterable[IdLike],
        *,
        run_id: str | None = None,
        content_type: str | None = None,
        tags: TagsOrChange | None = None,
        extra: ExtraOrChange | None = None,
        replace: bool = False,
    ) -> list[ArtifactMetadata | None]:
        """See `ArtifactStore.update_many`."""
        change = Change(content_type, tags, extra, replace=replace)
        return await self._run(self._operations.update_many(ids, run_id, change))

    async def release(self, artifact_id: IdLike, run_id: str | None) -> bool:
        """See `ArtifactStore.release`."""
        return await self._run(self._operations.release(artifact_id, run_id))

    async def leases(self, artifact_id: IdLike) -> list[Lease]:
        """See `ArtifactStore.leases`."""
        return await self._run(self._operations.leases(artifact_id))

    async def leases_many(self, ids: Iterable[IdLike]) -> list[list[Lease]]:
        """See `ArtifactStore.leases_many`."""
        return await self._run(self._operations.leases_many(ids))

    async def list_runs(self) -> list[str]:
        """See `ArtifactStore.list_runs`."""
        return await self._run(self._operations.list_runs())

    @spelled_out(Query.of)
    async def count(self, **filters: Unpack[Filters]) -> int:
        """See `ArtifactStore.count`."""
        return await self._run(self._operations.count(Query.of(**filters)))

    @spelled_out(Query.of)
    async def facets(self, field: str, **filters: Unpack[Filters]) -> dict[str | None, int]:
        """See `ArtifactStore.facets`."""
        return await self._run(self._operations.facets(field, Query.of(**filters)))

    @spelled_out(Query.of)
    async def stats(self, **filters: Unpack[Filters]) -> StoreStats:
        """See `ArtifactStore.stats`."""
        return await self._run(self._operations.stats(Query.of(**filters)))

    def run(self, run_id: str, *, ttl: TtlOrDefault = DEFAULT, keep: TtlOrDefault = DEFAULT) -> AsyncRun:
        """See `ArtifactStore.run`."""
        return AsyncRun(self, run_id, ttl, keep)

    async def run_stats(self, run_id: str) -> RunStats:
        """See `ArtifactStore.run_stats`."""
        return await self._run(self._operations.run_stats(run_id))

    async def run_stats_many(self, run_ids: Iterable[str]) -> list[RunStats]:
        """See `ArtifactStore.run_stats_many`."""
        return await self._run(self._operations.run_stats_many(run_ids))

    async def touch_run(self, run_id: str | Anonymous, ttl: Ttl) -> int:
        """See `ArtifactStore.touch_run`."""
        return await self._run(self._operations.touch_run(run_id, ttl))

    async def expire_run(self, run_id: str | Anonymous, ttl: Ttl) -> int:
        """See `ArtifactStore.expire_run`."""
        return await self._run(self._operations.expire_run(run_id, ttl))

    @spelled_out(Query.of)
    async def delete_where(
        self, *, dry_run: bool = True, progress: Callable[[int], None] | None = None, **filters: Unpack[Filters]
    ) -> Removal:
        """See `ArtifactStore.delete_where`."""
        plan = self._operations.delete_where(Query.of(**filters), dry_run=dry_run, progress=progress)
        return await self._run(plan)

    async def gc(
        self, *, dry_run: bool = True, grace: float | timedelta = 3600, progress: Callable[[int], None] | None = None
    ) -> CheckReport:
        """See `ArtifactStore.gc`."""
        return await self._run(self._operations.gc(dry_run=dry_run, grace=grace, progress=progress))

    async def reindex(self, *, progress: Callable[[int], None] | None = None) -> int:
        """See `ArtifactStore.reindex`."""
        return await self._run(self._operations.reindex(progress))

    async def check(
        self,
        *,
        read_data: bool = False,
        repair: bool = False,
        grace: float | timedelta = 3600,
        progress: Callable[[int], None] | None = None,
    ) -> CheckReport:
        """See `ArtifactStore.check`."""
        plan = self._operations.check(read_data=read_data, repair=repair, grace=grace, progress=progress)
        return await self._run(plan)

    async def close(self) -> None:
        """See `ArtifactStore.close`."""
        if not self._closed:
            await self._run(self._operations.close())
            self._closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class AsyncInMemoryArtifactStore(AsyncArtifactStore):
    """`InMemoryArtifactStore`, awaited."""

    def __init__(self, *, default_ttl: Ttl = None, on_event: OnEvent | None = None) -> None:
        super().__init__(MemoryBackend(), default_ttl=default_ttl, on_event=on_event)

    def __reduce__(self) -> Any:
        raise TypeError(
            "a store in memory lives in one process and cannot be sent to another: "
            "use a FileArtifactStore or a RedisArtifactStore"
        )


class AsyncFileArtifactStore(AsyncArtifactStore):
    """`FileArtifactStore`, awaited. Disk access runs in threads: there is no other way to await it."""

    def __init__(
        self,
        base_dir: str | os.PathLike[str],
        *,
        default_ttl: Ttl = None,
        mode: int | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        options = {"default_ttl": default_ttl, "mode": mode, "on_event": on_event}
        base = check_path(base_dir, "base_dir")
        self._arguments = (base.absolute(), options)
        self._shown = repr(str(self._arguments[0]))
        self._file = FileBackend(base, mode=mode)
        super().__init__(self._file, default_ttl=default_ttl, on_event=on_event)

    async def content_path(self, artifact_id: IdLike) -> Path | None:
        """`FileArtifactStore.content_path`, awaited."""
        return await self._run(self._file.content_path(id_of(artifact_id)))

    def __reduce__(self) -> Any:
        return reopen, (type(self), *self._arguments)


class AsyncRedisArtifactStore(RedisFace[redis.asyncio.Redis | redis.asyncio.RedisCluster], AsyncArtifactStore):
    """`RedisArtifactStore`, awaited; takes a client of `redis.asyncio`."""

    _target_class = AsyncTarget
