"""Ways to keep artifacts on a server: redis-py by itself, what people write by hand, and coatcheck.

Each does all it can of what a row asks for; an operation that it doesn't have is `None`. A batch belongs to one run.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import redis
from redis.connection import Encoder, PythonRespSerializer

from coatcheck import Artifact, Payload, RedisArtifactStore

from .server import Server

TTL = 3600
TAGS = {"step": "extract", "kind": "document"}
TYPE = "application/pdf"


@dataclass
class Batch:
    """Some contents of one run, and the keys that a candidate gave them."""

    contents: list[bytes]
    run: str
    keys: list[Any] = field(default_factory=list)


class Candidate:
    """One way to keep artifacts.

    Attributes:
        name: As the table shows it.
        writes: Whether rows that write show it; not where that is just what another one does.
        has_layout: Whether it has keys of its own on the server, so that they have a size worth showing.
    """

    name: str
    writes: ClassVar[bool] = True
    has_layout: ClassVar[bool] = True

    def store(self, batch: Batch) -> None:
        """Store the contents one by one and set `batch.keys`."""
        raise NotImplementedError

    def load(self, batch: Batch) -> Iterable[bytes]:
        """Load the contents one by one."""
        raise NotImplementedError

    def forget(self, batch: Batch) -> None:
        """Remove everything again."""
        raise NotImplementedError

    # What not everybody has: all contents at once, a run's metadata, the removal of a run.
    store_many: Callable[[Batch], None] | None = None
    load_many: Callable[[Batch], Iterable[bytes]] | None = None
    list_run: Callable[[Batch], Sequence[Any]] | None = None
    delete_run: Callable[[Batch], object] | None = None

    def fill(self, batch: Batch) -> None:
        """Store the contents in the fastest way."""
        (self.store_many or self.store)(batch)

    def close(self) -> None:
        """Give up connections."""


def connection_pool(module: Any, server: Server, **options: Any) -> Any:
    """A connection pool of `redis` or `redis.asyncio`; RESP2 spares a handshake and has the shorter replies."""
    where = dict(server.connection)
    connection = module.Connection
    if "unix_socket_path" in where:
        connection = module.UnixDomainSocketConnection
        where["path"] = where.pop("unix_socket_path")
    return module.ConnectionPool(connection_class=connection, protocol=2, **where, **options)


class Floor(Candidate):
    """SET and GET of the bytes and one SHA-256 of them, by redis-py as fast as its options make it."""

    name = "floor: redis-py SET/GET + SHA-256"

    def __init__(self, server: Server) -> None:
        self.client = self._client(server)

    def _client(self, server: Server) -> redis.Redis:
        # hiredis parses replies fastest, but packs large commands slowly.
        packer = PythonRespSerializer(6000, Encoder("utf-8", "strict", decode_responses=False).encode)
        return redis.Redis(connection_pool=connection_pool(redis.connection, server, command_packer=packer))

    def store(self, batch: Batch) -> None:
        put = self.client.set
        for content in batch.contents:
            key = hashlib.sha256(content).hexdigest()
            put(key, content)
            batch.keys.append(key)

    def load(self, batch: Batch) -> Iterable[bytes]:
        get, contents = self.client.get, []
        for key in batch.keys:
            content = get(key)
            hashlib.sha256(content).digest()
            contents.append(content)
        return contents

    def store_many(self, batch: Batch) -> None:
        pipeline = self.client.pipeline(transaction=False)
        for content in batch.contents:
            key = hashlib.sha256(content).hexdigest()
            pipeline.set(key, content)
            batch.keys.append(key)
        pipeline.execute()

    def load_many(self, batch: Batch) -> Iterable[bytes]:
        pipeline = self.client.pipeline(transaction=False)
        for key in batch.keys:
            pipeline.get(key)
        contents = pipeline.execute()
        for content in contents:
            hashlib.sha256(content).digest()
        return contents

    def forget(self, batch: Batch) -> None:
        self.client.delete("", *batch.keys)  # a batch may be empty, DEL may not
        batch.keys.clear()

    def close(self) -> None:
        self.client.close()


class OneConnection(Floor):
    """The floor without a pool: what a program that shares nothing between threads can do."""

    name = "redis-py, one connection, no pool"
    has_layout = False

    def _client(self, server: Server) -> redis.Redis:
        return redis.Redis(**server.connection, protocol=2, single_connection_client=True)


class Defaults(Floor):
    """redis-py as it comes."""

    name = "redis-py, defaults"
    has_layout = False

    def _client(self, server: Server) -> redis.Redis:
        return redis.Redis(**server.connection)


class ByHand(Candidate):
    """What people write themselves: content, metadata, an index of the run, and expiries, in one pipeline."""

    name = "redis-py pipeline by hand"

    def __init__(self, server: Server) -> None:
        self.client = redis.Redis(**server.connection)

    def _add(self, pipeline: Any, content: bytes, run: str) -> str:
        digest = hashlib.sha256(content).hexdigest()
        pipeline.set(f"content:{digest}", content, ex=TTL)
        pipeline.hset(
            f"meta:{digest}",
            mapping={
                "artifact_id": digest,
                "content_type": TYPE,
                "size_bytes": len(content),
                "created_at": time.time(),
                "run_id": run,
                "tags": json.dumps(TAGS),
            },
        )
        pipeline.expire(f"meta:{digest}", TTL)
        pipeline.sadd(f"run:{run}", digest)
        pipeline.expire(f"run:{run}", TTL)
        return digest

    def store(self, batch: Batch) -> None:
        for content in batch.contents:
            pipeline = self.client.pipeline()
            batch.keys.append(self._add(pipeline, content, batch.run))
            pipeline.execute()

    def load(self, batch: Batch) -> Iterable[bytes]:
        contents = []
        for key in batch.keys:
            pipeline = self.client.pipeline()
            pipeline.hgetall(f"meta:{key}")
            pipeline.get(f"content:{key}")
            contents.append(pipeline.execute()[1])
        return contents

    def store_many(self, batch: Batch) -> None:
        pipeline = self.client.pipeline()
        batch.keys += [self._add(pipeline, content, batch.run) for content in batch.contents]
        pipeline.execute()

    def load_many(self, batch: Batch) -> Iterable[bytes]:
        pipeline = self.client.pipeline()
        for key in batch.keys:
            pipeline.hgetall(f"meta:{key}")
            pipeline.get(f"content:{key}")
        return pipeline.execute()[1::2]

    def list_run(self, batch: Batch) -> Sequence[Any]:
        pipeline = self.client.pipeline(transaction=False)
        for digest in self.client.smembers(f"run:{batch.run}"):
            pipeline.hgetall(b"meta:" + digest)
        return pipeline.execute()

    def delete_run(self, batch: Batch) -> object:
        pipeline = self.client.pipeline(transaction=False)
        for digest in self.client.smembers(f"run:{batch.run}"):
            pipeline.unlink(b"meta:" + digest, b"content:" + digest)
        pipeline.unlink(f"run:{batch.run}")
        return pipeline.execute()

    def forget(self, batch: Batch) -> None:
        self.delete_run(batch)
        batch.keys.clear()

    def close(self) -> None:
        self.client.close()


class Coatcheck(Candidate):
    """This project."""

    name = "coatcheck"
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, server: Server) -> None:
        self.open_store = RedisArtifactStore(server.url, **self.options)

    def store(self, batch: Batch) -> None:
        put, run = self.open_store.store, batch.run
        for content in batch.contents:
            batch.keys.append(put(content, content_type=TYPE, run_id=run, tags=TAGS, ttl=TTL).artifact_id)

    def load(self, batch: Batch) -> Iterable[bytes]:
        return [content_of(self.open_store.load(key)) for key in batch.keys]

    def store_many(self, batch: Batch) -> None:
        payloads = [Payload(content) for content in batch.contents]
        views = self.open_store.store_many(payloads, content_type=TYPE, run_id=batch.run, tags=TAGS, ttl=TTL)
        batch.keys += [view.artifact_id for view in views]

    def load_many(self, batch: Batch) -> Iterable[bytes]:
        return [content_of(artifact) for artifact in self.open_store.load_many(batch.keys)]

    def list_run(self, batch: Batch) -> Sequence[Any]:
        return self.open_store.list_by_run(batch.run)

    def delete_run(self, batch: Batch) -> object:
        return self.open_store.delete_by_run(batch.run)

    def forget(self, batch: Batch) -> None:
        self.open_store.delete_by_run(batch.run)
        batch.keys.clear()

    def close(self) -> None:
        self.open_store.close()


class CoatcheckByChecksum(Coatcheck):
    """This project, with reads that trust the checksum of the stored bytes: the others don't hash what they read."""

    name = "coatcheck, verify='checksum'"
    options: ClassVar[dict[str, Any]] = {"verify": "checksum"}
    writes = False
    has_layout = False
    list_run = None


def content_of(artifact: Artifact | None) -> bytes:
    if artifact is None:
        raise LookupError("an artifact vanished during the benchmark")
    return artifact.content
