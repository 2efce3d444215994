"""Every backend as a `StoreHarness`."""

from __future__ import annotations

from pathlib import Path

import fakeredis
from coatcheck import (
    ArtifactStore,
    AsyncFileArtifactStore,
    AsyncRedisArtifactStore,
    BackendStore,
    FileArtifactStore,
    RedisArtifactStore,
)
from coatcheck.aio import AsyncArtifactStore
from coatcheck.backends.memory import MemoryBackend
from coatcheck.sources import Chunking
from coatcheck.testing import ENGINES, Blocking, afake_store, fake_store

ENGINE_NAMES = [engine.name for engine in ENGINES]


TINY = Chunking(size=10_000, threshold=25_000)


class Harness:
    """Opens stores of one twin, or of both in turn, remembers them, closes them."""

    chunking: Chunking | None = None  # for all stores that are opened; None: as it comes

    def __init__(self, *, twin: str) -> None:
        self.twin = twin
        self.opened: list[ArtifactStore] = []

    def open(self, **options) -> ArtifactStore:
        twin = ("sync", "async")[len(self.opened) % 2] if self.twin == "both" else self.twin
        store = self.sync(**options) if twin == "sync" else Blocking(lambda: self.asynchronous(**options))
        if self.chunking is not None:
            chunk(store, self.chunking)
        self.opened.append(store)
        return store

    def close(self) -> None:
        for store in self.opened:
            store.close()


def chunk(store, chunking: Chunking):
    """Let a store cut content earlier, so that tests stay small."""
    inner = store._store if isinstance(store, Blocking) else store
    inner._operations.backend.chunking = chunking
    return store


class MemoryHarness(Harness):
    def __init__(self, *, twin: str) -> None:
        super().__init__(twin=twin)
        self.backend = MemoryBackend()

    def sync(self, **options):
        return BackendStore(self.backend, **options)

    def asynchronous(self, **options):
        return AsyncArtifactStore(self.backend, **options)

    def leftovers(self) -> list[str]:
        return [*self.backend._artifacts, *(digest.hex() for digest in self.backend._contents)]


class FileHarness(Harness):
    def __init__(self, directory: Path, *, twin: str) -> None:
        super().__init__(twin=twin)
        self.directory = directory

    def sync(self, **options):
        return FileArtifactStore(self.directory, **options)

    def asynchronous(self, **options):
        return AsyncFileArtifactStore(self.directory, **options)

    def leftovers(self) -> list[str]:
        return [str(p) for p in self.directory.rglob("*") if p.is_file() and p.name != ".lock"]


class RedisHarness(Harness):
    def __init__(self, connect, aconnect, client, namespace: str, *, twin: str, **options) -> None:
        super().__init__(twin=twin)
        self.options = options
        self.connect, self.aconnect, self.client, self.namespace = connect, aconnect, client, namespace

    def sync(self, **options):
        return RedisArtifactStore(self.connect(), namespace=self.namespace, **self.options, **options)

    def asynchronous(self, **options):
        return AsyncRedisArtifactStore(self.aconnect(), namespace=self.namespace, **self.options, **options)

    def leftovers(self) -> list[str]:
        return sorted(key.decode() for key in self.client.scan_iter(match=f"{self.namespace}:*", count=1000))

    def close(self) -> None:
        super().close()
        self.client.close()


class FakeHarness(RedisHarness):
    def __init__(self, namespace: str, *, twin: str) -> None:
        self.server = fakeredis.FakeServer()
        super().__init__(None, None, fakeredis.FakeRedis(server=self.server), namespace, twin=twin)

    def sync(self, **options):
        return fake_store(self.server, namespace=self.namespace, **options)

    def asynchronous(self, **options):
        return afake_store(self.server, namespace=self.namespace, **options)
