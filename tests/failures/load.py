"""Callers that store, look, renew and delete all the time, blocking and awaited, while something happens to the servers."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, Self

from coatcheck import AsyncRedisArtifactStore, RedisArtifactStore, compute_artifact_id
from coatcheck.sources import Chunking
from coatcheck.testing import eventually

from ..harnesses import chunk
from .history import OK, History

CHUNKING = Chunking(size=50_000, threshold=150_000)
SIZES = [200] * 14 + [100 * 1024] * 4 + [300_000] * 2  # small, large, chunked: 14 to 4 to 2
SHARED = 40  # contents that all callers store
KEPT = 20  # artifacts of one's own that a caller keeps before it deletes the oldest
RETRY_FOR = 5.0  # seconds


def content_of(seed: str) -> bytes:
    """A content like no other, always the same for a seed."""
    generator = random.Random(seed)
    return generator.randbytes(generator.choice(SIZES))


def awaitable(store: RedisArtifactStore) -> Any:
    """A blocking store whose methods can be awaited; they block all the same."""

    def method(name: str) -> Callable[..., Awaitable[object]]:
        async def call(*args: object, **kwargs: object) -> object:
            return getattr(store, name)(*args, **kwargs)

        return call

    return SimpleNamespace(**{name: method(name) for name in METHODS})


METHODS = ("store", "load", "touch", "release", "delete", "delete_by_run", "list_by_run")


class Caller:
    """One caller with two runs of its own; what it stores for itself nobody else stores.

    Args:
        name: Unlike all others'.
        store: Its methods are awaited.
        history: Where all is written down.
    """

    def __init__(self, name: str, store: Any, history: History) -> None:
        self.name, self.store, self.history = name, store, history
        self.random = random.Random(name)
        self.runs = (f"{name}a", f"{name}b")
        self.leased: dict[tuple[str, str], None] = {}  # by id and run, in order
        self.own: dict[str, str] = {}  # the run of each artifact that only this caller stores
        self.stored = 0

    async def call(self, op: str, *args: object, run: str | None = None, id: str | None = None, **kwargs: Any) -> bool:
        event = await self.history.record(
            op, partial(getattr(self.store, op), *args, **kwargs), run=run, id=id, content=kwargs.get("content")
        )
        return event.outcome == OK

    async def act(self) -> None:
        """Do one thing."""
        [action] = self.random.choices(list(ACTIONS), list(ACTIONS.values()))
        await action(self)

    async def _store(self, content: bytes, run: str, name: str | None = None) -> None:
        id = name or compute_artifact_id(content)
        ttl = self.random.choice([None, 3600])
        self.leased[id, run] = None
        await self.call("store", content=content, run_id=run, artifact_id=name, ttl=ttl, run=run, id=id)

    async def store_shared(self) -> None:
        await self._store(content_of(f"shared {self.random.randrange(SHARED)}"), self.random.choice(self.runs))

    async def store_own(self) -> None:
        self.stored += 1
        content, run = content_of(f"{self.name} {self.stored}"), self.random.choice(self.runs)
        self.own[compute_artifact_id(content)] = run
        await self._store(content, run)
        if len(self.own) > KEPT:
            await self.delete_own()

    async def replace_named(self) -> None:
        self.stored += 1
        name = f"{self.name}-{self.random.randrange(5)}"
        await self._store(content_of(f"{self.name} {self.stored}"), self.runs[0], name)

    async def delete_own(self) -> None:
        if self.own:
            id = next(iter(self.own))
            self.leased.pop((id, self.own.pop(id)), None)
            await self.call("delete", id, id=id)

    async def touch(self) -> None:
        if self.leased:
            id, run = self.random.choice(list(self.leased))
            await self.call("touch", id, 3600, run, run=run, id=id)

    async def release(self) -> None:
        if self.leased:
            id, run = self.random.choice(list(self.leased))
            del self.leased[id, run]
            await self.call("release", id, run, run=run, id=id)

    async def load(self) -> None:
        mine = [id for id, _ in self.leased][-100:]
        shared = compute_artifact_id(content_of(f"shared {self.random.randrange(SHARED)}"))
        id = self.random.choice([shared, *mine])
        if not await self.call("load", id, id=id):
            await self.call("load", id, id=id)  # whether what is missing is really gone

    async def list_by_run(self) -> None:
        run = self.random.choice(self.runs)
        await self.call("list_by_run", run, run=run)

    async def delete_by_run(self) -> None:
        run = self.random.choice(self.runs)
        self.leased = {(id, other): None for id, other in self.leased if other != run}
        await self.call("delete_by_run", run, run=run)


ACTIONS = {
    Caller.store_shared: 25,
    Caller.store_own: 15,
    Caller.replace_named: 8,
    Caller.delete_own: 4,
    Caller.touch: 6,
    Caller.release: 8,
    Caller.load: 40,
    Caller.list_by_run: 4,
    Caller.delete_by_run: 1,
}


class Load:
    """Two blocking and two awaited callers on each of several stores, from entering to leaving.

    Args:
        url: Of the servers.
        stores: Options by namespace.
    """

    def __init__(self, url: str, **stores: dict[str, Any]) -> None:
        self.url, self.stores = url, stores
        self.histories = {namespace: History() for namespace in stores}
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._guarded, args=(call, namespace, number))
            for namespace in stores
            for call, number in ((self._blocking, 0), (self._blocking, 1), (self._awaited, 2))
        ]

    def open(self, namespace: str) -> RedisArtifactStore:
        """A blocking store."""
        options = {"retry_for": RETRY_FOR, **self.stores[namespace]}
        return chunk(RedisArtifactStore(self.url, namespace=namespace, **options), CHUNKING)

    def _guarded(self, call: Callable[[str, int], None], namespace: str, number: int) -> None:
        try:
            call(namespace, number)
        except BaseException as error:
            self._errors.append(error)

    async def _act(self, name: str, store: Any, history: History) -> None:
        caller = Caller(name, store, history)
        while not self._stop.is_set():
            await caller.act()

    def _blocking(self, namespace: str, number: int) -> None:
        with self.open(namespace) as store:
            asyncio.run(self._act(f"caller{number}", awaitable(store), self.histories[namespace]))

    def _awaited(self, namespace: str, number: int) -> None:
        options = {"retry_for": RETRY_FOR, **self.stores[namespace]}

        async def both() -> None:
            async with AsyncRedisArtifactStore(self.url, namespace=namespace, **options) as store:
                chunk(store, CHUNKING)
                names = (f"caller{number}", f"caller{number + 1}")
                await asyncio.gather(*(self._act(name, store, self.histories[namespace]) for name in names))

        asyncio.run(both())

    def goes_on(self, operations: int = 100) -> None:
        """Wait until every store has been used successfully that many times more."""
        before = {namespace: self._acknowledged(namespace) for namespace in self.stores}
        for namespace in self.stores:
            eventually(
                lambda namespace=namespace: (
                    self._errors or self._acknowledged(namespace) >= before[namespace] + operations
                ),
                60,
            )
        self._raise()

    def _acknowledged(self, namespace: str) -> int:
        return sum(event.outcome == OK for event in self.histories[namespace])

    def _raise(self) -> None:
        for error in self._errors:
            raise error

    def look(self) -> None:
        """Look at everything that was ever stored; called after leaving, when all is well again."""
        for namespace, history in self.histories.items():
            stores = [event for event in history if event.op == "store"]
            with self.open(namespace) as store:
                asyncio.run(self._look(awaitable(store), history, stores))

    async def _look(self, store: Any, history: History, stores: list) -> None:
        for run in sorted({event.run for event in stores}):
            await history.record("list_by_run", partial(store.list_by_run, run), run=run)
        for id in sorted({event.id for event in stores}):
            await history.record("load", partial(store.load, id), id=id)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._raise()
