"""What the pages ask of a store, in pages.

The one place that knows how lists are cut.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from anyio import to_thread
from starlette.concurrency import run_in_threadpool

from coatcheck import AsyncArtifactReader, AsyncRedisArtifactStore, RedisArtifactStore
from coatcheck.doctor import aask, ask

from .words import moment

if TYPE_CHECKING:
    from coatcheck import (
        ArtifactMetadata,
        ArtifactReader,
        ArtifactStore,
        AsyncArtifactStore,
        Lease,
        RunStats,
        StoreStats,
    )
    from coatcheck.search import Tags

T = TypeVar("T")

PAGE: Final = 50
"""Artifacts on a page."""

HEAD: Final = 64 * 1024
"""Bytes of a content that a preview may look at."""

_RUNS: Final = 25  # runs on a page
_SAMPLE: Final = 1000  # newest artifacts that the overview looks at
_PIECE: Final = 1024 * 1024  # bytes of a content that are sent at a time
_PATIENCE: Final = 2.0  # seconds for figures that a page can do without
_ENDING: Final = 8  # artifacts that the overview shows as the next to end
_SERVERS: Final = 8  # servers of a cluster that it shows


@dataclass(frozen=True)
class Figures:
    """What a number of artifacts come to.

    Attributes:
        artifacts: How many.
        size: Their bytes, sharing and compression aside.
        newest: When the last of them was stored.
        next_expiry: When the first of them ends; `None`: none ever does.
    """

    artifacts: int
    size: int
    newest: str
    next_expiry: str | None

    @classmethod
    def of(cls, stats: RunStats) -> Figures | None:
        """The figures of a run, if it leases anything."""
        if stats.newest is None:
            return None
        return cls(stats.artifacts, stats.size_bytes, stats.newest, stats.next_expiry)


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of a list.

    Attributes:
        items: What is on it.
        after: What to give for the page behind it; `None`: it is the last.
        figures: Figures of the whole list, where it is that of a run and they came in time.
        total: How long the whole list is, where that was asked and came in time.
    """

    items: list[T]
    after: str | None
    figures: Figures | None = None
    total: int | None = None


@dataclass(frozen=True)
class Memory:
    """The memory of one server.

    Attributes:
        server: Its name.
        used: Bytes that are in use.
        limit: Its `maxmemory`; 0: it has none.
    """

    server: str
    used: int
    limit: int


@dataclass(frozen=True)
class Overview:
    """The store at a glance.

    Attributes:
        stats: Figures about everything; `None`: they are still being counted.
        counted: When that was.
        newest: The artifacts that were stored last, newest first.
        ending: Those that end first.
        everything: Whether there are no others.
        memory: Of each server, the fullest first; empty where there is none, or none tells.
        now: When this was.
    """

    stats: StoreStats | None
    counted: datetime | None
    newest: list[ArtifactMetadata]
    ending: list[ArtifactMetadata]
    everything: bool
    memory: list[Memory]
    now: datetime

    def types(self, count: int) -> list[tuple[str, int]]:
        """The content types that most of the newest have, and how many."""
        return Counter(view.content_type for view in self.newest).most_common(count)

    def rate(self) -> float:
        """Artifacts stored a minute, of late: over ten minutes, or as long as the newest reach back."""
        ages = [(self.now - moment(view.created_at)).total_seconds() for view in self.newest]
        lately = sum(age <= 600 for age in ages)
        reach = 600.0 if self.everything or lately < len(ages) else max(*ages, 1.0)
        return 60 * lately / reach


class Lookup:
    """A store as the pages see it.

    Args:
        store: Either face.
    """

    def __init__(self, store: ArtifactStore | AsyncArtifactStore) -> None:
        self._store = store
        self._stats: _Recent[StoreStats] = _Recent(lambda: _ask(store.stats))
        self._runs: _Recent[list[str]] = _Recent(lambda: _ask(store.list_runs))
        self._memory: _Recent[list[Memory]] = _Recent(lambda: _memory_of(store))

    async def overview(self) -> Overview:
        """The store at a glance."""
        newest, first = await asyncio.gather(
            _ask(self._store.search, limit=_SAMPLE + 1),
            _ask(self._store.page, by="expiry", order="asc", limit=_ENDING),
        )
        _, memory = await asyncio.gather(_in_time(self._stats.get()), _in_time(self._memory.get()))
        stats, counted = self._stats.last or (None, None)
        return Overview(
            stats,
            counted,
            newest[:_SAMPLE],
            ending=[view for view in first.items if view.expires_at is not None],
            everything=len(newest) <= _SAMPLE,
            memory=(memory or [])[:_SERVERS],
            now=datetime.now(UTC),
        )

    async def runs(self, containing: str, after: str) -> Page[tuple[str, Figures | None]]:
        """Runs by name, with figures as far as these come in time.

        Args:
            containing: Text in the names that are wanted, upper and lower case alike.
            after: The name after which the page begins.
        """
        wanted = containing.casefold()
        names = [name for name in await self._runs.get() if wanted in name.casefold()]
        first = bisect_right(names, after)
        shown = names[first : first + _RUNS]
        figures = await self._figures_of(shown)
        more = first + _RUNS < len(names)
        return Page(list(zip(shown, figures, strict=True)), shown[-1] if more else None, total=len(names))

    async def beginning_with(self, text: str) -> ArtifactMetadata | None:
        """The one artifact whose id begins with a text, if it is found in time."""
        found = await _in_time(_ask(self._store.search, id_prefix=text, limit=2))
        return found[0] if found is not None and len(found) == 1 else None

    async def has_run(self, run: str) -> bool:
        """Whether a run leases anything."""
        return run in await self._runs.get()

    async def artifacts(
        self, run: str | None, content_type: str | None, tags: Tags | None, after: str
    ) -> Page[ArtifactMetadata]:
        """Artifacts, newest first: of a run its own views, else the latest ones.

        Args:
            run: What this run leases; `None`: everything.
            content_type: Only of this type; `text/*`: of all that begin so.
            tags: Only with these tags; `ANY`: whatever their value.
            after: Where the page begins, as the page before said.

        Raises:
            InvalidArtifactError: `after` is nothing that a page said.
        """
        filters = {"run_id": run, "content_type": content_type, "tags": tags}
        whole_run = None if content_type or tags else run
        shown, figures, total = await asyncio.gather(
            _ask(self._store.page, **filters, limit=PAGE, after=after or None),
            _in_time(self._figures(whole_run)) if whole_run is not None else _nothing(),
            _nothing() if whole_run is not None or after else _in_time(_ask(self._store.count, **filters)),
        )
        return Page(shown.items, shown.next, figures, total)

    async def artifact(self, artifact_id: str) -> ArtifactMetadata | None:
        """The latest view of an artifact."""
        found: ArtifactMetadata | None = await _ask(self._store.get_metadata, artifact_id)
        return found

    async def leases(self, artifact_id: str) -> list[Lease]:
        """Who leases an artifact."""
        found: list[Lease] = await _ask(self._store.leases, artifact_id)
        return found

    async def head(self, artifact_id: str) -> bytes | None:
        """The first bytes of a content."""
        found: bytes | None = await _ask(self._store.load_range, artifact_id, 0, HEAD)
        return found

    async def open(self, artifact_id: str) -> Opened | None:
        """A content to be read a piece at a time."""
        reader = await _ask(self._store.open, artifact_id)
        return None if reader is None else Opened(reader)

    async def delete(self, artifact_id: str) -> bool:
        """Delete an artifact for every run."""
        return await self._change(_ask(self._store.delete, artifact_id))

    async def release(self, artifact_id: str, run: str | None) -> bool:
        """Give up a run's lease on an artifact."""
        return await self._change(_ask(self._store.release, artifact_id, run))

    async def release_run(self, run: str) -> int:
        """Give up all leases of a run; how many."""
        return await self._change(_ask(self._store.delete_by_run, run))

    async def _change(self, change: Awaitable[T]) -> T:
        result = await change
        self._stats.forget()
        self._runs.forget()
        return result

    async def _figures_of(self, runs: list[str]) -> list[Figures | None]:
        """Of all in one question; where a large run keeps the others waiting, of each that comes in time."""
        at_once = await _in_time(_ask(self._store.run_stats_many, runs))
        if at_once is not None:
            return list(map(Figures.of, at_once))
        return await asyncio.gather(*map(_in_time, map(self._figures, runs)))

    async def _figures(self, run: str) -> Figures | None:
        return Figures.of(await _ask(self._store.run_stats, run))


class Opened:
    """A content that is being read.

    Attributes:
        metadata: What it is.
        size: Its length in bytes.
        close: Lets go of it; awaited.
    """

    _read: Callable[[int], Awaitable[bytes]]
    close: Callable[[], Awaitable[None]]

    def __init__(self, reader: ArtifactReader | AsyncArtifactReader) -> None:
        self._reader = reader
        if isinstance(reader, AsyncArtifactReader):
            self._read, self.close = reader.read, reader.aclose
        else:  # to its end, even if nobody waits any more: a reader is for one thread at a time
            self._read, self.close = partial(run_in_threadpool, reader.read), partial(run_in_threadpool, reader.close)
        self.metadata = reader.metadata
        self.size = reader.size

    async def pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from one position to another, in pieces."""
        self._reader.seek(start)
        while start < stop:
            piece = await self._read(min(_PIECE, stop - start))
            start += len(piece)
            yield piece


class _Recent(Generic[T]):
    """An answer that is dear: kept for two seconds, or for ten times as long as it took.

    Attributes:
        last: The last answer, and when it came; `None` before the first, and after a change.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._good_until = 0.0
        self._asking: asyncio.Task[T] | None = None
        self.last: tuple[T, datetime] | None = None

    async def get(self) -> T:
        """The answer. Who cannot wait for it leaves it to those who ask later."""
        if self.last is not None and time.monotonic() < self._good_until:
            return self.last[0]
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_anew())
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())  # whether awaited or not
        return await asyncio.shield(self._asking)

    async def _ask_anew(self) -> T:
        began = time.monotonic()
        answer = await self._ask()
        ended = time.monotonic()
        if asyncio.current_task() is self._asking:  # else it was forgotten meanwhile
            self.last = answer, datetime.now(UTC)
            self._good_until = ended + max(2.0, 10 * (ended - began))
        return answer

    def forget(self) -> None:
        """It is no longer true."""
        self.last = self._asking = None


async def _ask(method: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a method of either face: one that blocks, in a thread that nobody has to wait for."""
    if iscoroutinefunction(method):
        return await method(*args, **options)
    return await to_thread.run_sync(partial(method, *args, **options), abandon_on_cancel=True)


async def _memory_of(store: ArtifactStore | AsyncArtifactStore) -> list[Memory]:
    """What the servers of a store say of their memory."""
    if isinstance(store, AsyncRedisArtifactStore):
        facts = await aask(store, thorough=False)
    elif isinstance(store, RedisArtifactStore):
        facts = await _ask(ask, store, thorough=False)
    else:
        return []
    told = [
        Memory(server.name, *(int(server.info.get(name, 0)) for name in ("used_memory", "maxmemory")))
        for server in facts.servers
    ]
    return sorted((one for one in told if one.used), key=lambda one: one.used / (one.limit or 1 << 60), reverse=True)


async def _nothing() -> None:
    """No figures."""


async def _in_time(question: Awaitable[T]) -> T | None:
    """The answer, unless it is longer in coming than a page should wait."""
    try:
        return await asyncio.wait_for(question, _PATIENCE)
    except TimeoutError:
        return None
