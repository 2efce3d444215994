"""The same for asyncio: redis.asyncio by itself, and coatcheck."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from typing import Any

import redis.asyncio

from coatcheck import AsyncRedisArtifactStore

from .bare import connection_pool
from .candidates import TAGS, TTL, TYPE, Batch, Candidate, present
from .server import Endpoint


class AsyncCandidate(Candidate):
    """One that is awaited: a batch is one coroutine, so that starting and stopping the loop is not what is measured."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._runner = asyncio.Runner()
        self.await_(self.open(endpoint))

    async def open(self, endpoint: Endpoint) -> None:
        raise NotImplementedError

    async def astore(self, batch: Batch) -> None:
        raise NotImplementedError

    async def aload(self, batch: Batch) -> Iterable[bytes]:
        raise NotImplementedError

    async def aforget(self, batch: Batch) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError

    def store(self, batch: Batch) -> None:
        self.await_(self.astore(batch))

    def load(self, batch: Batch) -> Iterable[bytes]:
        contents: Iterable[bytes] = self.await_(self.aload(batch))
        return contents

    def forget(self, batch: Batch) -> None:
        self.await_(self.aforget(batch))
        batch.keys.clear()

    def await_(self, awaitable: Any) -> Any:
        """Run something on the candidate's loop. `Runner.run` would make a repr of its result: 200 ms for 10 MiB."""
        return self._runner.get_loop().run_until_complete(awaitable)

    def close(self) -> None:
        self.await_(self.aclose())
        self._runner.close()


class AsyncFloor(AsyncCandidate):
    """The floor, awaited."""

    name = "floor: redis.asyncio SET/GET + SHA-256"

    async def open(self, endpoint: Endpoint) -> None:
        self.client = redis.asyncio.Redis(connection_pool=connection_pool(redis.asyncio.connection, endpoint))

    async def astore(self, batch: Batch) -> None:
        for content in batch.contents:
            key = hashlib.sha256(content).hexdigest()
            await self.client.set(key, content)
            batch.keys.append(key)

    async def aload(self, batch: Batch) -> Iterable[bytes]:
        contents = []
        for key in batch.keys:
            content = await self.client.get(key)
            hashlib.sha256(content).digest()
            contents.append(content)
        return contents

    async def aforget(self, batch: Batch) -> None:
        await self.client.delete("", *batch.keys)

    async def aclose(self) -> None:
        await self.client.aclose()


class AsyncDefaults(AsyncFloor):
    """redis.asyncio as it comes."""

    name = "redis-py, defaults"

    async def open(self, endpoint: Endpoint) -> None:
        self.client = redis.asyncio.Redis(**endpoint.connection)


class AsyncCoatcheck(AsyncCandidate):
    """This project, awaited."""

    name = "coatcheck"

    async def open(self, endpoint: Endpoint) -> None:
        self.open_store = AsyncRedisArtifactStore(endpoint.url)

    async def astore(self, batch: Batch) -> None:
        put, run = self.open_store.store, batch.run
        for content in batch.contents:
            view = await put(content, content_type=TYPE, run_id=run, tags=TAGS, ttl=TTL)
            batch.keys.append(view.artifact_id)

    async def aload(self, batch: Batch) -> Iterable[bytes]:
        return [present(await self.open_store.load(key)).content for key in batch.keys]

    async def aforget(self, batch: Batch) -> None:
        await self.open_store.delete_by_run(batch.run)

    async def aclose(self) -> None:
        await self.open_store.close()
