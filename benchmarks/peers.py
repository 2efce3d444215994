"""Other people's stores, as their documentation uses them. One that is not installed is named, not dropped."""

from __future__ import annotations

import importlib
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any, ClassVar

import redis
import redis.asyncio

from .awaited import AsyncCandidate
from .candidates import TAGS, TTL, TYPE, Batch, Candidate
from .server import Endpoint


class ProxyStore(Candidate):
    """ProxyStore's `Store` on its Redis connector. It knows neither runs nor tags nor TTLs on the server."""

    title = "ProxyStore"
    package = "proxystore"
    needs = ("proxystore.store", "proxystore.connectors.redis")

    def __init__(self, endpoint: Endpoint) -> None:
        store, connectors = (importlib.import_module(name) for name in self.needs)
        connector = connectors.RedisConnector("127.0.0.1", 0)
        # The connector takes host and port only; it gets everybody's transport, so that this is not what is measured.
        connector._redis_client = redis.Redis(**endpoint.connection)  # noqa: SLF001
        # Without its cache: a load that asks no server is another row.
        self._store = store.Store("coatcheck-bench", connector, cache_size=0, register=False)

    def store(self, batch: Batch) -> None:
        batch.keys += [self._store.put(content) for content in batch.contents]

    def load(self, batch: Batch) -> Iterable[bytes]:
        return [self._store.get(key) for key in batch.keys]

    def store_many(self, batch: Batch) -> None:
        batch.keys += self._store.put_batch(batch.contents)

    def forget(self, batch: Batch) -> None:
        for key in batch.keys:
            self._store.evict(key)
        batch.keys.clear()

    def close(self) -> None:
        self._store.close()


class PyKeyValue(AsyncCandidate):
    """py-key-value's `RedisStore`. Values are JSON, so bytes travel as base64; run and tags are part of the value."""

    title = "py-key-value"
    package = "py-key-value-aio"
    needs = ("key_value.aio.stores.redis",)

    async def open(self, endpoint: Endpoint) -> None:
        stores = importlib.import_module(self.needs[0])
        client = redis.asyncio.Redis(**endpoint.connection, decode_responses=True)
        self._client = client
        self._store = stores.RedisStore(client=client)
        await self._store.setup()

    def _value(self, content: bytes, run: str) -> dict[str, Any]:
        return {"content": b64encode(content).decode(), "content_type": TYPE, "run_id": run, "tags": TAGS}

    def _name(self, batch: Batch) -> None:
        batch.keys += [f"{batch.run}-{i}" for i in range(len(batch.contents))]

    async def astore(self, batch: Batch) -> None:
        self._name(batch)
        for key, content in zip(batch.keys, batch.contents, strict=True):
            await self._store.put(key, self._value(content, batch.run), collection="bench", ttl=TTL)

    async def aload(self, batch: Batch) -> Iterable[bytes]:
        values = [await self._store.get(key, collection="bench") for key in batch.keys]
        return [b64decode(value["content"]) for value in values]

    def store_many(self, batch: Batch) -> None:
        self._name(batch)
        values = [self._value(content, batch.run) for content in batch.contents]
        self.await_(self._store.put_many(batch.keys, values, collection="bench", ttl=TTL))

    def load_many(self, batch: Batch) -> Iterable[bytes]:
        values = self.await_(self._store.get_many(batch.keys, collection="bench"))
        return [b64decode(value["content"]) for value in values]

    async def aforget(self, batch: Batch) -> None:
        await self._store.delete_many(batch.keys, collection="bench")

    async def aclose(self) -> None:
        await self._store.close()
        await self._client.aclose()


class AbstractRuntimeFiles(Candidate):
    """AbstractRuntime's `FileArtifactStore`: the interface that coatcheck inherits, on a local disk, without TTL."""

    title = "AbstractRuntime files"
    package = "abstractruntime"
    needs = ("abstractruntime.storage.artifacts",)
    has_layout: ClassVar[bool] = False

    def __init__(self, _endpoint: Endpoint) -> None:
        artifacts = importlib.import_module(self.needs[0])
        self._directory = tempfile.TemporaryDirectory(prefix="coatcheck-bench-")
        self._store = artifacts.FileArtifactStore(self._directory.name)

    def store(self, batch: Batch) -> None:
        put, run = self._store.store, batch.run
        for content in batch.contents:
            batch.keys.append(put(content, content_type=TYPE, run_id=run, tags=TAGS).artifact_id)

    def load(self, batch: Batch) -> Iterable[bytes]:
        return [self._store.load(key).content for key in batch.keys]

    def list_run(self, batch: Batch) -> Sequence[Any]:
        return self._store.list_by_run(batch.run)

    def delete_run(self, batch: Batch) -> object:
        return self._store.delete_by_run(batch.run)

    def forget(self, batch: Batch) -> None:
        for key in batch.keys:
            self._store.delete(key)
        self._store.gc(dry_run=False)  # delete() leaves the content behind
        batch.keys.clear()

    def close(self) -> None:
        self._directory.cleanup()


PEERS = (ProxyStore, PyKeyValue, AbstractRuntimeFiles)


def open_peers(endpoint: Endpoint) -> tuple[list[Candidate], dict[str, str]]:
    """The peers that are installed, and why each of the others is missing."""
    found: list[Candidate] = []
    missing: dict[str, str] = {}
    for peer in PEERS:
        try:
            for module in peer.needs:
                importlib.import_module(module)
            candidate = peer(endpoint)
        except ImportError as error:
            missing[peer.title] = f"not installed ({error})"
        except Exception as error:
            missing[peer.title] = f"does not start here: {type(error).__name__}: {error}"
        else:
            candidate.name = f"{peer.title} {version(peer.package)}"
            found.append(candidate)
    return found, missing
