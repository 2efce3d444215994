"""The stores for blocking callers: each a backend behind the contract, its plans run in the caller's thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

import redis

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
from .backends.redis import Target
from .errors import StoreClosedError
from .events import OnEvent
from .face import Face, RedisFace, reopen
from .folders import check_path
from .labels import Change, ExtraOrChange, TagsOrChange
from .plan import Plan, run
from .reader import ArtifactReader
from .refs import IdLike, id_of
from .runs import Run
from .search import By, Filters, Order, Query, ViewFilters
from .sources import SourceLike, TransferProgress
from .store import ArtifactStore
from .walk import Walk, artifacts, runs

if TYPE_CHECKING:
    from datetime import timedelta

    from typing_extensions import Buffer

    from .model import Artifact, ArtifactMetadata, CheckReport, Lease, Page, Removal, RunStats, StoreStats

T = TypeVar("T")


class BackendStore(Face, ArtifactStore):
    """A store over a `Backend`: the way to bring one's own."""

    def _run(self, plan: Plan[T]) -> T:
        if self._closed:
            plan.close()
            raise StoreClosedError("this store was closed: open another one")
        return run(plan)

    @spelled_out(check_details)
    def store(
        self, content: Buffer, *, content_type: str = "application/octet-stream", **details: Unpack[StoreKeywords]
    ) -> ArtifactMetadata:
        return self._run(self._operations.store(content, content_type, details))

    @overload
    def load(self, artifact_id: IdLike, *, run_id: str | None = None, required: Literal[True]) -> Artifact: ...
    @overload
    def load(self, artifact_id: IdLike, *, run_id: str | None = None, required: bool = False) -> Artifact | None: ...
    def load(self, artifact_id: IdLike, *, run_id: str | None = None, required: bool = False) -> Artifact | None:
        return self._run(self._operations.load(artifact_id, run_id, required=required))

    @overload
    def get_metadata(
        self, artifact_id: IdLike, *, run_id: str | None = None, required: Literal[True]
    ) -> ArtifactMetadata: ...
    @overload
    def get_metadata(
        self, artifact_id: IdLike, *, run_id: str | None = None, required: bool = False
    ) -> ArtifactMetadata | None: ...
    def get_metadata(
        self, artifact_id: IdLike, *, run_id: str | None = None, required: bool = False
    ) -> ArtifactMetadata | None:
        return self._run(self._operations.get_metadata(artifact_id, run_id, required=required))

    def exists(self, artifact_id: IdLike) -> bool:
        return self._run(self._operations.exists(artifact_id))

    def delete(self, artifact_id: IdLike) -> bool:
        return self._run(self._operations.delete(artifact_id))

    def list_by_run(self, run_id: str) -> list[ArtifactMetadata]:
        return self._run(self._operations.list_by_run(run_id))

    def list_all(self, *, limit: int = 1000) -> list[ArtifactMetadata]:
        return self._run(self._operations.list_all(limit))

    def delete_by_run(self, run_id: str) -> int:
        return self._run(self._operations.delete_by_run(run_id))

    @spelled_out(Query.of)
    def search(
        self, *, limit: int = 1000, offset: int = 0, by: By = "time", order: Order = "desc", **filters: Unpack[Filters]
    ) -> list[ArtifactMetadata]:
        return self._run(self._operations.search(Query.of(**filters).ordered(by, order), offset, limit))

    @spelled_out(Query.of)
    def page(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        by: By = "time",
        order: Order = "desc",
        **filters: Unpack[Filters],
    ) -> Page[ArtifactMetadata]:
        return self._run(self._operations.page(Query.of(**filters).ordered(by, order), limit, after))

    def page_runs(self, *, prefix: str | None = None, limit: int = 100, after: str | None = None) -> Page[str]:
        return self._run(self._operations.page_runs(prefix, limit, after))

    @spelled_out(Query.of)
    def iter_artifacts(self, **filters: Unpack[Filters]) -> Iterator[ArtifactMetadata]:
        return self._each(self._operations.iter_artifacts, artifacts(self._operations.backend, Query.of(**filters)))

    @spelled_out(Query.of)
    def iter_run(self, run_id: str, **filters: Unpack[ViewFilters]) -> Iterator[ArtifactMetadata]:
        query = Query.of(run_id=check_run_id(run_id), **filters)
        return self._each(self._operations.iter_run, artifacts(self._operations.backend, query))

    def iter_runs(self, prefix: str | None = None) -> Iterator[str]:
        return self._each(self._operations.iter_runs, runs(self._operations.backend, prefix))

    def _each(self, more: Callable[[Walk[T]], Plan[list[T]]], walk: Walk[T]) -> Iterator[T]:
        while batch := self._run(more(walk)):
            for one in batch:  # noqa: UP028  # the awaited twin cannot
                yield one

    def store_many(
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
        details: StoreKeywords = {
            "run_id": run_id,
            "tags": tags,
            "ttl": ttl,
            "extra": extra,
            "exact_ttl": exact_ttl,
        }
        return self._run(self._operations.store_many(items, content_type, details))

    def load_many(self, ids: Iterable[IdLike]) -> list[Artifact | None]:
        return self._run(self._operations.load_many(ids))

    def metadata_many(self, ids: Iterable[IdLike]) -> list[ArtifactMetadata | None]:
        return self._run(self._operations.metadata_many(ids))

    def find_missing(
        self, ids: Iterable[IdLike], *, ttl: TtlOrDefault = DEFAULT, run_id: str | None = None
    ) -> list[str]:
        return self._run(self._operations.find_missing(ids, ttl, run_id))

    def delete_many(self, ids: Iterable[IdLike]) -> list[bool]:
        return self._run(self._operations.delete_many(ids))

    @spelled_out(check_details)
    def store_file(
        self,
        source: SourceLike,
        *,
        content_type: str = "application/octet-stream",
        progress: TransferProgress | None = None,
        **details: Unpack[StoreKeywords],
    ) -> ArtifactMetadata:
        return self._run(self._operations.store_file(source, content_type, details, progress))

    @spelled_out(check_details)
    def link(
        self,
        source: IdLike,
        artifact_id: IdLike,
        *,
        content_type: str | None = None,
        **details: Unpack[LinkKeywords],
    ) -> ArtifactMetadata:
        return self._run(self._operations.link(source, artifact_id, content_type, details))

    @overload
    def open(self, artifact_id: IdLike, *, required: Literal[True]) -> ArtifactReader: ...
    @overload
    def open(self, artifact_id: IdLike, *, required: bool = False) -> ArtifactReader | None: ...
    def open(self, artifact_id: IdLike, *, required: bool = False) -> ArtifactReader | None:
        opened = self._run(self._operations.open(artifact_id, required=required))
        return None if opened is None else ArtifactReader(opened, self._run)

    def load_range(self, artifact_id: IdLike, start: int | None = None, stop: int | None = None) -> bytes | None:
        return self._run(self._operations.load_range(artifact_id, start, stop))

    def touch(self, artifact_id: IdLike, ttl: Ttl, run_id: str | None = None) -> bool:
        return self._run(self._operations.touch(artifact_id, ttl, run_id))

    def update_metadata(
        self,
        artifact_id: IdLike,
        *,
        run_id: str | None = None,
        content_type: str | None = None,
        tags: TagsOrChange | None = None,
        extra: ExtraOrChange | None = None,
        replace: bool = False,
    ) -> ArtifactMetadata | None:
        change = Change(content_type, tags, extra, replace=replace)
        return self._run(self._operations.update_metadata(artifact_id, run_id, change))

    def update_many(
        self,
        ids: Iterable[IdLike],
        *,
        run_id: str | None = None,
        content_type: str | None = None,
        tags: TagsOrChange | None = None,
        extra: ExtraOrChange | None = None,
        replace: bool = False,
    ) -> list[ArtifactMetadata | None]:
        change = Change(content_type, tags, extra, replace=replace)
        return self._run(self._operations.update_many(ids, run_id, change))

    def release(self, artifact_id: IdLike, run_id: str | None) -> bool:
        return self._run(self._operations.release(artifact_id, run_id))

    def leases(self, artifact_id: IdLike) -> list[Lease]:
        return self._run(self._operations.leases(artifact_id))

    def leases_many(self, ids: Iterable[IdLike]) -> list[list[Lease]]:
        return self._run(self._operations.leases_many(ids))

    def list_runs(self) -> list[str]:
        return self._run(self._operations.list_runs())

    @spelled_out(Query.of)
    def count(self, **filters: Unpack[Filters]) -> int:
        return self._run(self._operations.count(Query.of(**filters)))

    @spelled_out(Query.of)
    def facets(self, field: str, **filters: Unpack[Filters]) -> dict[str | None, int]:
        return self._run(self._operations.facets(field, Query.of(**filters)))

    @spelled_out(Query.of)
    def stats(self, **filters: Unpack[Filters]) -> StoreStats:
        return self._run(self._operations.stats(Query.of(**filters)))

    def run(self, run_id: str, *, ttl: TtlOrDefault = DEFAULT, keep: TtlOrDefault = DEFAULT) -> Run:
        return Run(self, run_id, ttl, keep)

    def run_stats(self, run_id: str) -> RunStats:
        return self._run(self._operations.run_stats(run_id))

    def run_stats_many(self, run_ids: Iterable[str]) -> list[RunStats]:
        return self._run(self._operations.run_stats_many(run_ids))

    def touch_run(self, run_id: str | Anonymous, ttl: Ttl) -> int:
        return self._run(self._operations.touch_run(run_id, ttl))

    def expire_run(self, run_id: str | Anonymous, ttl: Ttl) -> int:
        return self._run(self._operations.expire_run(run_id, ttl))

    @spelled_out(Query.of)
    def delete_where(
        self, *, dry_run: bool = True, progress: Callable[[int], None] | None = None, **filters: Unpack[Filters]
    ) -> Removal:
        plan = self._operations.delete_where(Query.of(**filters), dry_run=dry_run, progress=progress)
        return self._run(plan)

    def gc(
        self, *, dry_run: bool = True, grace: float | timedelta = 3600, progress: Callable[[int], None] | None = None
    ) -> CheckReport:
        return self._run(self._operations.gc(dry_run=dry_run, grace=grace, progress=progress))

    def reindex(self, *, progress: Callable[[int], None] | None = None) -> int:
        return self._run(self._operations.reindex(progress))

    def check(
        self,
        *,
        read_data: bool = False,
        repair: bool = False,
        grace: float | timedelta = 3600,
        progress: Callable[[int], None] | None = None,
    ) -> CheckReport:
        plan = self._operations.check(read_data=read_data, repair=repair, grace=grace, progress=progress)
        return self._run(plan)

    def close(self) -> None:
        if not self._closed:
            self._run(self._operations.close())
            self._closed = True


class InMemoryArtifactStore(BackendStore):
    """Artifacts in this process's memory: for tests, and for one process.

    Args:
        default_ttl: For `store` calls that name none: seconds, a `timedelta`, or `None` for ever.
        on_event: Told of each operation at its end, see `Event`; left out: nobody is, and nothing is measured.
    """

    def __init__(self, *, default_ttl: Ttl = None, on_event: OnEvent | None = None) -> None:
        super().__init__(MemoryBackend(), default_ttl=default_ttl, on_event=on_event)

    def __reduce__(self) -> Any:
        raise TypeError(
            "a store in memory lives in one process and cannot be sent to another: "
            "use a FileArtifactStore or a RedisArtifactStore"
        )


class FileArtifactStore(BackendStore):
    """Artifacts in a directory, shared by the processes of one machine.

    Args:
        base_dir: `artifacts/` is made below it. A directory that AbstractRuntime wrote is opened as it is.
        default_ttl: For `store` calls that name none: seconds, a `timedelta`, or `None` for ever.
        on_event: Told of each operation at its end, see `Event`; left out: nobody is, and nothing is measured.
        mode: Permissions of directories, and of files but for the right to execute: `0o755` lets other users read,
            `0o2770` is for a group. Left out: those of an `artifacts/` that is there; a new one is for this user only
            (`0o700`), or for a group if `base_dir` is (setgid, and its group may write). Given, it also says that the
            owner of the directory is trusted, whoever that is: else another user's directory is only read.

    Raises:
        InvalidArtifactError: An argument makes no sense.
        StoreFullError: There is no room for the directory.
        StoreUnavailableError: The directory cannot be used, or other users could tamper with it.
    """

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

    def content_path(self, artifact_id: IdLike) -> Path | None:
        """The file that holds an artifact's content, or `None` where there is no such artifact.

        For programs that want a path. Writing to it damages every artifact of that content; it goes with the last one.

        Raises:
            ArtifactLostError: The file is gone.
        """
        return self._run(self._file.content_path(id_of(artifact_id)))

    def __reduce__(self) -> Any:
        return reopen, (type(self), *self._arguments)


class RedisArtifactStore(RedisFace[redis.Redis | redis.RedisCluster], BackendStore):
    """Artifacts on a Redis or Valkey server or cluster, shared by workers on many machines.

    Survives `fork`, and can be pickled to a worker, where it connects anew.

    Args:
        url_or_client: `redis://`, `rediss://`, `unix://`, `embedded://`, `redis+cluster://host:port,host:port`,
            `redis+sentinel://host:port,host:port/service/database`, the latter two with `rediss+` for TLS, all with
            `valkey` for `redis`; or your own client, whose connections are used and left open. Left out:
            `$COATCHECK_URL`, else the embedded engine.
        namespace: Prefix of every key; stores of different namespaces never meet.
        default_ttl: For `store` calls that name none: seconds, a `timedelta`, or `None` for ever.
        on_event: Told of each operation at its end, see `Event`; left out: nobody is, and nothing is measured.
        **options: See `RedisOptions`.

    Raises:
        InvalidArtifactError: An argument makes no sense, or the server cannot keep the `durability`.
        StoreUnavailableError: The embedded engine cannot be started. A server is first contacted by the first call.
    """

    _target_class = Target

    def _begin(self) -> None:
        self._run(self._redis.probe())
