"""redis-py by itself: the floor, other ways to set it up, and what people write by hand."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import redis
from redis.connection import Encoder, PythonRespSerializer

from .candidates import TAGS, TTL, TYPE, Batch, Candidate, Sink
from .server import Endpoint

LONGEST = 256 * 1024 * 1024  # bytes in one value; Redis takes twice that


def connection_pool(module: Any, endpoint: Endpoint, **options: Any) -> Any:
    """A connection pool of `redis` or `redis.asyncio`; RESP2 spares a handshake and has the shorter replies."""
    where = dict(endpoint.connection)
    connection = module.Connection
    if "unix_socket_path" in where:
        connection = module.UnixDomainSocketConnection
        where["path"] = where.pop("unix_socket_path")
    return module.ConnectionPool(connection_class=connection, protocol=2, **where, **options)


class Floor(Candidate):
    """SET and GET of the bytes and one SHA-256 of them, by redis-py as fast as its options make it."""

    name = "floor: redis-py SET/GET + SHA-256"

    def __init__(self, endpoint: Endpoint) -> None:
        self.client = self._client(endpoint)

    def _client(self, endpoint: Endpoint) -> redis.Redis:
        # hiredis parses replies fastest, but packs large commands slowly.
        packer = PythonRespSerializer(6000, Encoder("utf-8", "strict", decode_responses=False).encode)
        return redis.Redis(connection_pool=connection_pool(redis.connection, endpoint, command_packer=packer))

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

    def store_file(self, path: Path, batch: Batch) -> None:
        if path.stat().st_size <= LONGEST:
            super().store_file(path, batch)
            return
        with path.open("rb") as file:
            while piece := file.read(LONGEST):
                self.store(Batch([piece], batch.run, batch.keys))

    def load_file(self, batch: Batch, sink: Sink) -> None:
        for key in batch.keys:
            for content in self.load(Batch([], batch.run, [key])):
                sink(content)

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

    def _client(self, endpoint: Endpoint) -> redis.Redis:
        return redis.Redis(**endpoint.connection, protocol=2, single_connection_client=True)


class Defaults(Floor):
    """redis-py as it comes."""

    name = "redis-py, defaults"
    has_layout = False

    def _client(self, endpoint: Endpoint) -> redis.Redis:
        return redis.Redis(**endpoint.connection)


class ByHand(Candidate):
    """What people write themselves: content, metadata, an index of the run, and expiries, in one pipeline."""

    name = "redis-py pipeline by hand"

    def __init__(self, endpoint: Endpoint) -> None:
        self.client = redis.Redis(**endpoint.connection)

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
