"""This project, through its public interface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from coatcheck import Payload, RedisArtifactStore

from .candidates import TAGS, TTL, TYPE, Batch, Candidate, Sink, present
from .server import Endpoint

PIECE = 1024 * 1024  # bytes to read from an open artifact at a time


class Coatcheck(Candidate):
    """This project."""

    name = "coatcheck"
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, endpoint: Endpoint, **options: Any) -> None:
        self.open_store = RedisArtifactStore(endpoint.url, **self.options, **options)

    def store(self, batch: Batch) -> None:
        put, run = self.open_store.store, batch.run
        for content in batch.contents:
            batch.keys.append(put(content, content_type=TYPE, run_id=run, tags=TAGS, ttl=TTL).artifact_id)

    def load(self, batch: Batch) -> Iterable[bytes]:
        return [present(self.open_store.load(key)).content for key in batch.keys]

    def store_many(self, batch: Batch) -> None:
        payloads = [Payload(content) for content in batch.contents]
        views = self.open_store.store_many(payloads, content_type=TYPE, run_id=batch.run, tags=TAGS, ttl=TTL)
        batch.keys += [view.artifact_id for view in views]

    def load_many(self, batch: Batch) -> Iterable[bytes]:
        return [present(artifact).content for artifact in self.open_store.load_many(batch.keys)]

    def store_file(self, path: Path, batch: Batch) -> None:
        view = self.open_store.store_file(path, content_type=TYPE, run_id=batch.run, tags=TAGS, ttl=TTL)
        batch.keys.append(view.artifact_id)

    def load_file(self, batch: Batch, sink: Sink) -> None:
        for key in batch.keys:
            with present(self.open_store.open(key)) as reader:
                while piece := reader.read(PIECE):
                    sink(piece)

    def list_run(self, batch: Batch) -> Sequence[Any]:
        return self.open_store.list_by_run(batch.run)

    def count(self, batch: Batch) -> int:  # noqa: ARG002  # nothing else is in the store
        """How many artifacts `stats` tells of."""
        return self.open_store.stats().artifacts

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
