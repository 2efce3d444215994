"""The stores for blocking callers: each a backend behind the contract, its plans run in the caller's thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .arguments import DEFAULT, Payload, Ttl, TtlOrDefault
from .backends.file import FileBackend
from .backends.memory import MemoryBackend
from .backends.redis import DEFAULT_CACHE_DIR_SIZE, DEFAULT_RETRY_FOR, Durability, RedisOptions, Target
from .cache import CacheInfo
from .compression import DEFAULT_LEVEL, DEFAULT_THRESHOLD
from .errors import StoreUnavailableError
from .operations import Operations
from .plan import Plan, run
from .reader import ArtifactReader
from .search import Filter
from .sources import SourceLike, TransferProgress
from .store import ArtifactStore, Order

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    import redis
    from typing_extensions import Buffer

    from .backends.base import Backend
    from .compression import Compression
    from .envelope import Verify
    from .model import Artifact, ArtifactMetadata, CheckReport, Lease, StoreStats

T = TypeVar("T")


class BackendStore(ArtifactStore):
    """A store over a `Backend`: the way to bring one's own."""

    def __init__(self, backend: Backend, *, default_ttl: Ttl = None) -> None:
        self._operations = Operations(backend, default_ttl)
        self._closed = False

    def _run(self, plan: Plan[T]) -> T:
        if self._closed:
            plan.close()
            raise StoreUnavailableError("this store was closed: open another one")
        return run(plan)

    def store(
        self,
        content: Buffer,
        *,
        content_type: str = "application/octet-stream",
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        artifact_id: str | None = None,
        ttl: TtlOrDefault = DEFAULT,
    ) -> ArtifactMetadata:
        return self._run(self._operations.store(content, content_type, run_id, tags, artifact_id, ttl))

    def load(self, artifact_id: str) -> Artifact | None:
        return self._run(self._operations.load(artifact_id))

    def get_metadata(self, artifact_id: str) -> ArtifactMetadata | None:
        return self._run(self._operations.get_metadata(artifact_id))

    def exists(self, artifact_id: str) -> bool:
        return self._run(self._operations.exists(artifact_id))

    def delete(self, artifact_id: str) -> bool:
        return self._run(self._operations.delete(artifact_id))

    def list_by_run(self, run_id: str) -> list[ArtifactMetadata]:
        return self._run(self._operations.list_by_run(run_id))

    def list_all(self, *, limit: int = 1000) -> list[ArtifactMetadata]:
        return self._run(self._operations.list_all(limit))

    def delete_by_run(self, run_id: str) -> int:
        return self._run(self._operations.delete_by_run(run_id))

    def search(
        self,
        *,
        run_id: str | None = None,
        content_type: str | None = None,
        tags: Mapping[str, str] | None = None,
        limit: int = 1000,
        created_after: str | datetime | None = None,
        created_before: str | datetime | None = None,
        offset: int = 0,
        order: Order = "desc",
    ) -> list[ArtifactMetadata]:
        wanted = Filter(content_type, tags, created_after, created_before)
        return self._run(self._operations.search(run_id, wanted, offset, limit, order))

    def store_many(
        self,
        items: Iterable[Buffer | Payload],
        *,
        content_type: str = "application/octet-stream",
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        ttl: TtlOrDefault = DEFAULT,
    ) -> list[ArtifactMetadata]:
        return self._run(self._operations.store_many(items, content_type, run_id, tags, ttl))

    def load_many(self, ids: Iterable[str]) -> list[Artifact | None]:
        return self._run(self._operations.load_many(ids))

    def metadata_many(self, ids: Iterable[str]) -> list[ArtifactMetadata | None]:
        return self._run(self._operations.metadata_many(ids))

    def find_missing(self, ids: Iterable[str], *, ttl: TtlOrDefault = DEFAULT, run_id: str | None = None) -> list[str]:
        return self._run(self._operations.find_missing(ids, ttl, run_id))

    def delete_many(self, ids: Iterable[str]) -> list[bool]:
        return self._run(self._operations.delete_many(ids))

    def store_file(
        self,
        source: SourceLike,
        *,
        content_type: str = "application/octet-stream",
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        artifact_id: str | None = None,
        ttl: TtlOrDefault = DEFAULT,
        progress: TransferProgress | None = None,
    ) -> ArtifactMetadata:
        plan = self._operations.store_file(source, content_type, run_id, tags, artifact_id, ttl, progress)
        return self._run(plan)

    def open(self, artifact_id: str) -> ArtifactReader | None:
        opened = self._run(self._operations.open(artifact_id))
        return None if opened is None else ArtifactReader(opened, self._run)

    def load_range(self, artifact_id: str, start: int | None = None, stop: int | None = None) -> bytes | None:
        return self._run(self._operations.load_range(artifact_id, start, stop))

    def touch(self, artifact_id: str, ttl: Ttl, run_id: str | None = None) -> bool:
        return self._run(self._operations.touch(artifact_id, ttl, run_id))

    def release(self, artifact_id: str, run_id: str | None) -> bool:
        return self._run(self._operations.release(artifact_id, run_id))

    def leases(self, artifact_id: str) -> list[Lease]:
        return self._run(self._operations.leases(artifact_id))

    def list_runs(self) -> list[str]:
        return self._run(self._operations.list_runs())

    def stats(self) -> StoreStats:
        return self._run(self._operations.stats())

    def gc(
        self, *, dry_run: bool = True, grace: float | timedelta = 3600, progress: Callable[[int], None] | None = None
    ) -> CheckReport:
        return self._run(self._operations.gc(dry_run=dry_run, grace=grace, progress=progress))

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
    """

    def __init__(self, *, default_ttl: Ttl = None) -> None:
        super().__init__(MemoryBackend(), default_ttl=default_ttl)

    def __reduce__(self) -> Any:
        raise TypeError(
            "an InMemoryArtifactStore lives in one process and cannot be sent to another: "
            "use a FileArtifactStore or a RedisArtifactStore"
        )


class FileArtifactStore(BackendStore):
    """Artifacts in a directory, shared by the processes of one machine.

    Args:
        base_dir: `artifacts/` is made below it. A directory that AbstractRuntime wrote is opened as it is.
        default_ttl: For `store` calls that name none: seconds, a `timedelta`, or `None` for ever.

    Raises:
        StoreUnavailableError: The directory cannot be used.
    """

    def __init__(self, base_dir: str | os.PathLike[str], *, default_ttl: Ttl = None) -> None:
        self._arguments = (Path(base_dir).absolute(), default_ttl)
        super().__init__(FileBackend(Path(base_dir)), default_ttl=default_ttl)

    def __reduce__(self) -> Any:
        base_dir, default_ttl = self._arguments
        return _reopen, (type(self), base_dir, {"default_ttl": default_ttl})


class RedisArtifactStore(BackendStore):
    """Artifacts on a Redis or Valkey server, shared by workers on many machines.

    Survives `fork`, and can be pickled to a worker, where it connects anew.

    Args:
        url_or_client: `redis://`, `rediss://`, `unix://`, `valkey://`, `valkeys://` or `embedded://`, or your own
            `redis.Redis` (its pool is used and left open). Left out: `$COATCHECK_URL`, else the embedded engine.
        namespace: Prefix of every key; stores of different namespaces never meet.
        default_ttl: For `store` calls that name none: seconds, a `timedelta`, or `None` for ever.
        compression: `"zstd"` where it pays, or `None`.
        verify: `"full"` hashes what was read; `"checksum"` trusts the checksum of the stored bytes, for speed.
        retry_for: Seconds during which a call is repeated while the server cannot be reached.
        max_size: Largest content in bytes; left out: as much as the server's memory takes.
        durability: What has to hold before a write is acknowledged. `"memory"`: the server has it, and persists it as
            it is configured to; `"fsync"`: it is on the server's disk; `"replica"`: a replica has it;
            `"replica+fsync"`: on both disks. A write that is not confirmed within 5 seconds raises
            `AmbiguousWriteError`. (The asyncio store finds out with its first write whether the server can.)
        compression_level: -7 (fast) to 22 (small; from 20 on it takes hundreds of MiB for large contents).
        compression_threshold: Contents of fewer bytes are not compressed.
        cache_size: Bytes of contents to keep in this process, so that loading them again sends none; 0: no cache.
            Whether an artifact is there, and what it stands for, is asked of the server every time.
        cache_dir: A local directory for a second tier that processes of this user share; contents lie there as they
            lie on the server, for this user only.
        cache_dir_size: Bytes that it holds, about.

    Raises:
        InvalidArtifactError: An argument makes no sense, or the server cannot keep the `durability`.
        StoreUnavailableError: The embedded engine cannot be started. A server is first contacted by the first call.
    """

    def __init__(
        self,
        url_or_client: str | redis.Redis | None = None,
        *,
        namespace: str = "coatcheck",
        default_ttl: Ttl = None,
        compression: Compression | None = "zstd",
        verify: Verify = "full",
        retry_for: float = DEFAULT_RETRY_FOR,
        max_size: int | None = None,
        durability: Durability = "memory",
        compression_level: int = DEFAULT_LEVEL,
        compression_threshold: int = DEFAULT_THRESHOLD,
        cache_size: int = 0,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_dir_size: int = DEFAULT_CACHE_DIR_SIZE,
    ) -> None:
        options = RedisOptions(
            namespace=namespace,
            compression=compression,
            verify=verify,
            retry_for=retry_for,
            max_size=max_size,
            durability=durability,
            compression_level=compression_level,
            compression_threshold=compression_threshold,
            cache_size=cache_size,
            cache_dir=cache_dir,
            cache_dir_size=cache_dir_size,
        )
        self._target = Target.of(url_or_client)
        self._reduce_options = {**options.as_dict(), "default_ttl": default_ttl}
        self._redis = backend = options.backend(self._target.transport())
        super().__init__(backend, default_ttl=default_ttl)
        if durability != "memory":
            self._run(backend.probe())

    def cache_info(self) -> CacheInfo:
        """Hits, misses and bytes of this store's content cache."""
        return self._redis.cache_info()

    def __reduce__(self) -> Any:
        return _reopen, (type(self), self._target.picklable(), self._reduce_options)


def _reopen(store: type[BackendStore], target: Any, options: dict[str, Any]) -> BackendStore:
    return store(target() if callable(target) else target, **options)
