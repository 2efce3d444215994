"""Every backend as a `StoreHarness`."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import fakeredis
import redis
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
from coatcheck.testing import ENGINES, Blocking, Cluster, afake_store, fake_store
from coatcheck.testing.servers.tls import TlsServer

ENGINE_NAMES = [engine.name for engine in ENGINES]

# Where stores lie on real servers: the engine or fixture, and options.
INDEXED = {"index_tags": ("n", "k", "kind"), "index_presence": ("k", "who"), "index_content_type": True}

REDIS_PLACES = {
    **{name: (name, {}) for name in ENGINE_NAMES},
    "valkey in 64 partitions": ("valkey", {"partitions": 64}),
    "valkey cluster": ("valkey_cluster", {}),
    "redis7 cluster": ("redis7_cluster", {}),
    "indexed cluster": ("redis7_cluster", INDEXED),
    "sentinels": ("sentinels", {}),
    "tls": ("tls_server", {}),
}


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


class Measured(dict):
    """Contents, and how long the longest of them was."""

    longest = 0

    def setdefault(self, digest, content):
        self.longest = max(self.longest, len(content[0]))
        return super().setdefault(digest, content)


class MemoryHarness(Harness):
    def __init__(self, *, twin: str) -> None:
        super().__init__(twin=twin)
        self.backend = MemoryBackend()
        self.backend._contents = self.contents = Measured()

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
        own = self.directory / "artifacts"
        kept = {own / ".indexed", *(own / "locks").iterdir()}
        return [str(p) for p in self.directory.rglob("*") if p.is_file() and p not in kept]


class RedisHarness(Harness):
    """Stores on real servers.

    Args:
        place: Where: a name of `REDIS_PLACES`.
        fixture: Gets fixtures by name: `request.getfixturevalue`.
        namespace: The stores' own.
        twin: See `Harness`.
        options: Of every store.
    """

    def __init__(self, place: str, fixture, namespace: str, *, twin: str, **options) -> None:
        super().__init__(twin=twin)
        self.namespace = namespace
        name, more = REDIS_PLACES[place]
        place = fixture("server_of")(name) if name in ENGINE_NAMES else fixture(name)
        if isinstance(place, TlsServer):
            more = {"ssl_ca_certs": str(place.authority)}
        self.place = place
        self.url, self.options = place.url, {**more, **options}

    def sync(self, **options):
        return RedisArtifactStore(self.url, namespace=self.namespace, **self.options, **options)

    def asynchronous(self, **options):
        return AsyncRedisArtifactStore(self.url, namespace=self.namespace, **self.options, **options)

    def leftovers(self) -> list[str]:
        pattern = f"{self.namespace}:*"
        return sorted(key.decode() for client in self.clients for key in client.scan_iter(match=pattern, count=1000))

    @cached_property
    def clients(self) -> list[redis.Redis]:
        """Few cases look behind the store."""
        place = self.place
        servers = place.primaries() if isinstance(place, Cluster) else [getattr(place, "primary", place)]
        return [server.client() for server in servers]

    def close(self) -> None:
        super().close()
        for client in vars(self).get("clients", []):
            client.close()


class FakeHarness(RedisHarness):
    def __init__(self, namespace: str, *, twin: str) -> None:
        Harness.__init__(self, twin=twin)
        self.namespace, self.server = namespace, fakeredis.FakeServer()
        self.clients = [fakeredis.FakeRedis(server=self.server)]

    def sync(self, **options):
        return fake_store(self.server, namespace=self.namespace, **options)

    def asynchronous(self, **options):
        return afake_store(self.server, namespace=self.namespace, **options)
