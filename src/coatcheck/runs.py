"""One run's view of a store: what it stores, lists and counts, and how long its leases last."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from .arguments import DEFAULT, Payload, TtlOrDefault, check_run_id, check_ttl
from .errors import ArtifactError, InvalidArtifactError
from .explained import explained_by

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .aio import AsyncArtifactStore
    from .arguments import Ttl
    from .model import Artifact, ArtifactMetadata, Page, RunStats
    from .refs import IdLike
    from .search import By, Order, ViewFilters
    from .sources import AsyncSourceLike, SourceLike
    from .store import ArtifactStore

_logger: Final = logging.getLogger(__name__)

_BEATS: Final = 3  # how often leases are renewed in the time that they last: two may fail


class _Lasting:
    """How long the leases of a run last.

    Attributes:
        run_id: Which run.
    """

    _store: object

    def __init__(self, run_id: str, ttl: TtlOrDefault, keep: TtlOrDefault) -> None:
        self.run_id = check_run_id(run_id)
        ttl_ms = None if ttl is DEFAULT else check_ttl(ttl)
        if keep is not DEFAULT:
            check_ttl(keep, "keep")
        self._ttl = ttl
        self._keep = keep
        self._pause = None if ttl_ms is None else ttl_ms / 1000 / _BEATS

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.run_id!r})"

    def __reduce__(self) -> Any:
        """A copy, here or in another process, is a view of its own: whose block this is goes on renewing alone."""
        return type(self), (self._store, self.run_id, self._ttl, self._keep)

    def _own(self, details: dict[str, Any]) -> dict[str, Any]:
        """What is said of an artifact: the run's own `ttl` unless another is named."""
        if "run_id" in details:
            raise InvalidArtifactError(f"run_id is {self.run_id!r} here: store for other runs by the store itself")
        if self._ttl is DEFAULT:
            return {**details, "run_id": self.run_id}
        return {"ttl": self._ttl, **details, "run_id": self.run_id}

    def _not_entered(self) -> InvalidArtifactError:
        return InvalidArtifactError(f"the block of run {self.run_id!r} is left, and was never entered")

    def _failed(self, error: ArtifactError) -> None:
        _logger.warning("the leases of run %r could not be renewed; trying again", self.run_id, exc_info=error)

    def _left(self, error: ArtifactError) -> None:
        """The block ended with an error of its own, which its caller has to see."""
        _logger.warning("the leases of run %r end when they would have: keep failed", self.run_id, exc_info=error)


class _Beating(_Lasting):
    """Renews them from a thread, as long as a `with` block lasts."""

    _thread: threading.Thread | None = None
    _process: int

    def touch(self, ttl: Ttl) -> int:
        raise NotImplementedError

    def expire(self, ttl: Ttl) -> int:
        raise NotImplementedError

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise InvalidArtifactError(f"run {self.run_id!r} is being renewed already: ask the store for another view")
        self._process = os.getpid()
        self._ended = threading.Event()
        run = copy_context().run  # the caller's trace, as a task has it
        self._thread = threading.Thread(target=run, args=(self._beat,), name="coatcheck-run", daemon=True)
        try:
            self._thread.start()
        except BaseException:  # interrupted: it may have been started, and no block would end it
            self._ended.set()
            self._thread = None
            raise
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._thread is None:
            raise self._not_entered()
        self._ended.set()
        thread, self._thread = self._thread, None
        thread.join()
        if self._keep is not DEFAULT and self._process == os.getpid():  # in a fork's child it is the parent's block
            try:
                self.expire(self._keep)
            except ArtifactError as failure:
                if error is None:
                    raise
                self._left(failure)

    def _beat(self) -> None:
        while self._pause is not None and not self._ended.wait(self._pause):
            assert self._ttl is not DEFAULT
            try:
                self.touch(self._ttl)
            except ArtifactError as error:
                self._failed(error)


class _AwaitedBeating(_Lasting):
    """Renews them from a task, as long as an `async with` block lasts."""

    _task: asyncio.Task[None] | None = None

    async def touch(self, ttl: Ttl) -> int:
        raise NotImplementedError

    async def expire(self, ttl: Ttl) -> int:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise InvalidArtifactError(f"run {self.run_id!r} is being renewed already: ask the store for another view")
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        if self._task is None:
            raise self._not_entered()
        task, self._task = self._task, None
        task.cancel()
        await asyncio.wait([task])  # awaited itself, its cancellation could not be told from ours
        if self._keep is not DEFAULT:
            try:
                await self.expire(self._keep)
            except ArtifactError as failure:
                if error is None:
                    raise
                self._left(failure)

    async def _beat(self) -> None:
        while self._pause is not None:
            await asyncio.sleep(self._pause)
            assert self._ttl is not DEFAULT
            try:
                await self.touch(self._ttl)
            except ArtifactError as error:
                self._failed(error)


class Run(_Beating):
    """A run's view of a store, from `ArtifactStore.run`: its methods are those of the store, for this run.

    As a context manager it keeps the run's leases alive while the block lasts:

        with store.run("run-17", ttl=3600, keep=86400) as run:
            run.store_json({"step": 1})  # for an hour, and renewed every twenty minutes
        # now all that the run leases is kept for another day

    Renewing looks at every lease of the run. Whatever ends the block, `keep` is what holds then; a process that dies
    leaves leases that end by `ttl`.
    """

    def __init__(self, store: ArtifactStore, run_id: str, ttl: TtlOrDefault, keep: TtlOrDefault) -> None:
        super().__init__(run_id, ttl, keep)
        self._store: ArtifactStore = store

    def store(self, content: Buffer, **details: Any) -> ArtifactMetadata:
        """Store a content for this run, with its own TTL unless `ttl` is named.

        Takes and raises what `ArtifactStore.store` does, `run_id` aside.
        """
        return self._store.store(content, **self._own(details))

    def store_text(self, text: str, **details: Any) -> ArtifactMetadata:
        """Store text for this run, with its own TTL unless `ttl` is named.

        Takes and raises what `ArtifactStore.store_text` does, `run_id` aside.
        """
        return self._store.store_text(text, **self._own(details))

    def store_json(self, data: Any, **details: Any) -> ArtifactMetadata:
        """Store JSON for this run, with its own TTL unless `ttl` is named.

        Takes and raises what `ArtifactStore.store_json` does, `run_id` aside.
        """
        return self._store.store_json(data, **self._own(details))

    def store_many(self, items: Iterable[Buffer | Payload], **details: Any) -> list[ArtifactMetadata]:
        """Store several contents for this run, with its own TTL unless `ttl` is named.

        Takes and raises what `ArtifactStore.store_many` does, `run_id` aside.
        """
        return self._store.store_many(items, **self._own(details))

    def store_file(self, source: SourceLike, **details: Any) -> ArtifactMetadata:
        """Store a file or a stream for this run, with its own TTL unless `ttl` is named.

        Takes and raises what `ArtifactStore.store_file` does, `run_id` aside.
        """
        return self._store.store_file(source, **self._own(details))

    def load(self, artifact_id: IdLike) -> Artifact | None:
        """Load an artifact as this run sees it, with its own type and tags; `None` where it has no live lease.

        Raises what `ArtifactStore.load` does.
        """
        return self._store.load(artifact_id, run_id=self.run_id)

    def list(self) -> list[ArtifactMetadata]:
        """All that this run leases, newest first, with its own types and tags.

        Raises what `ArtifactStore.list_by_run` does.
        """
        return self._store.list_by_run(self.run_id)

    def page(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        by: By = "time",
        order: Order = "desc",
        **filters: Unpack[ViewFilters],
    ) -> Page[ArtifactMetadata]:
        """A part of what this run leases, in an order.

        Takes and raises what `ArtifactStore.page` does, `run_id` aside.
        """
        return self._store.page(limit=limit, after=after, by=by, order=order, run_id=self.run_id, **filters)

    def iter_artifacts(self, **filters: Unpack[ViewFilters]) -> Iterator[ArtifactMetadata]:
        """All that this run leases, in no order and in bounded memory.

        Takes and raises what `ArtifactStore.iter_run` does, `run_id` aside.
        """
        return self._store.iter_run(self.run_id, **filters)

    def count(self, **filters: Unpack[ViewFilters]) -> int:
        """How many artifacts this run leases, of those that pass the filters.

        Takes and raises what `ArtifactStore.count` does, `run_id` aside.
        """
        return self._store.count(run_id=self.run_id, **filters)

    def stats(self) -> RunStats:
        """What this run's artifacts come to: number, bytes, times.

        Raises what `ArtifactStore.run_stats` does.
        """
        return self._store.run_stats(self.run_id)

    def touch(self, ttl: Ttl) -> int:
        """Let every live lease of this run last `ttl` seconds from now, or longer where it does; how many there were.

        Raises what `ArtifactStore.touch_run` does.
        """
        return self._store.touch_run(self.run_id, ttl)

    def expire(self, ttl: Ttl) -> int:
        """Let every live lease of this run end `ttl` seconds from now; how many there were.

        Raises what `ArtifactStore.expire_run` does.
        """
        return self._store.expire_run(self.run_id, ttl)

    def release(self, artifact_id: IdLike) -> bool:
        """Give up this run's lease on an artifact; whether there was one.

        Raises what `ArtifactStore.release` does.
        """
        return self._store.release(artifact_id, self.run_id)

    def delete(self) -> int:
        """Give up all leases of this run; how many there were.

        Raises what `ArtifactStore.delete_by_run` does.
        """
        return self._store.delete_by_run(self.run_id)


@explained_by(Run)
class AsyncRun(_AwaitedBeating):
    """`Run`, awaited: the same names, arguments and results; an asynchronous context manager."""

    def __init__(self, store: AsyncArtifactStore, run_id: str, ttl: TtlOrDefault, keep: TtlOrDefault) -> None:
        super().__init__(run_id, ttl, keep)
        self._store: AsyncArtifactStore = store

    async def store(self, content: Buffer, **details: Any) -> ArtifactMetadata:
        """See `Run.store`."""
        return await self._store.store(content, **self._own(details))

    async def store_text(self, text: str, **details: Any) -> ArtifactMetadata:
        """See `Run.store_text`."""
        return await self._store.store_text(text, **self._own(details))

    async def store_json(self, data: Any, **details: Any) -> ArtifactMetadata:
        """See `Run.store_json`."""
        return await self._store.store_json(data, **self._own(details))

    async def store_many(self, items: Iterable[Buffer | Payload], **details: Any) -> list[ArtifactMetadata]:
        """See `Run.store_many`."""
        return await self._store.store_many(items, **self._own(details))

    async def store_file(self, source: AsyncSourceLike, **details: Any) -> ArtifactMetadata:
        """See `Run.store_file`."""
        return await self._store.store_file(source, **self._own(details))

    async def load(self, artifact_id: IdLike) -> Artifact | None:
        """See `Run.load`."""
        return await self._store.load(artifact_id, run_id=self.run_id)

    async def list(self) -> list[ArtifactMetadata]:
        """See `Run.list`."""
        return await self._store.list_by_run(self.run_id)

    async def page(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        by: By = "time",
        order: Order = "desc",
        **filters: Unpack[ViewFilters],
    ) -> Page[ArtifactMetadata]:
        """See `Run.page`."""
        return await self._store.page(limit=limit, after=after, by=by, order=order, run_id=self.run_id, **filters)

    def iter_artifacts(self, **filters: Unpack[ViewFilters]) -> AsyncIterator[ArtifactMetadata]:
        """See `Run.iter_artifacts`."""
        return self._store.iter_run(self.run_id, **filters)

    async def count(self, **filters: Unpack[ViewFilters]) -> int:
        """See `Run.count`."""
        return await self._store.count(run_id=self.run_id, **filters)

    async def stats(self) -> RunStats:
        """See `Run.stats`."""
        return await self._store.run_stats(self.run_id)

    async def touch(self, ttl: Ttl) -> int:
        """See `Run.touch`."""
        return await self._store.touch_run(self.run_id, ttl)

    async def expire(self, ttl: Ttl) -> int:
        """See `Run.expire`."""
        return await self._store.expire_run(self.run_id, ttl)

    async def release(self, artifact_id: IdLike) -> bool:
        """See `Run.release`."""
        return await self._store.release(artifact_id, self.run_id)

    async def delete(self) -> int:
        """See `Run.delete`."""
        return await self._store.delete_by_run(self.run_id)
