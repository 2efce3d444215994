"""What the processes of the demonstration do: producers store files and pass tickets on, consumers resolve them.

Tickets travel through a Redis list, as they would through any task queue. Each process works under its own run id.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from coatcheck import ArtifactError, ArtifactStore, Payload, artifact_ref, get_artifact_id, open_store

CLAIM = 8  # tickets that a consumer takes at a time
PAGE = 50  # files that a producer stores at a time
SHARED = 4  # every so manieth file of a producer is handed in by the next one, too
LARGEST = 4 * 1024 * 1024  # bytes of a file


class Wrong(Exception):
    """Something is not as it must be."""


def check(truth: object, otherwise: str) -> None:
    if not truth:
        raise Wrong(otherwise)


def sha256(content: bytes) -> str:
    """Hash once more what the store has verified already."""
    return hashlib.sha256(content).hexdigest()


def summary_of(path: str, content: bytes) -> dict[str, Any]:
    """What a consumer says of a file: the same whoever does it, and however often."""
    return {"path": path, "sha256": sha256(content), "size": len(content), "lines": content.count(b"\n")}


def type_of(path: Path) -> str:
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


@dataclass(frozen=True)
class Files:
    """The files to pass on: the same for every process that asks."""

    directory: Path
    count: int
    producers: int

    def all(self) -> list[Path]:
        found = (path for path in sorted(self.directory.rglob("*")) if "site-packages" not in path.parts)
        regular = [path for path in found if path.is_file() and path.stat().st_size <= LARGEST]
        return random.Random(0).sample(regular, min(self.count, len(regular)))

    def of(self, producer: int) -> list[Path]:
        """What a producer hands in: its part and a share of the next one's, so that runs have contents in common."""
        files = self.all()
        return files[producer :: self.producers] + files[(producer + 1) % self.producers :: self.producers][::SHARED]


class Queue:
    """A Redis list of messages, and one for each consumer of those it has in hand.

    Whoever finds a consumer dead moves its messages back: each is seen at least once.
    """

    def __init__(self, url: str) -> None:
        # Never repeated: an INCRBY whose reply was lost would count twice.
        self.client: Any = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), decode_responses=True)

    def put(self, messages: Sequence[dict[str, Any]]) -> None:
        self.client.rpush("waiting", *map(json.dumps, messages))

    def claim(self, consumer: str) -> list[dict[str, Any]]:
        """Take up to `CLAIM` messages in hand; none if none came for a moment."""
        taken = [self.client.blmove("waiting", f"held:{consumer}", timeout=0.1)]
        while taken[-1] and len(taken) < CLAIM:
            taken.append(self.client.lmove("waiting", f"held:{consumer}"))
        return [json.loads(raw) for raw in taken if raw]

    def acknowledge(self, consumer: str, count: int) -> None:
        """Put away what a consumer has in hand."""
        with self.client.pipeline() as pipe:
            pipe.delete(f"held:{consumer}").incrby("done", count).execute()

    def done(self) -> int:
        return int(self.client.get("done") or 0)

    def take_back(self, consumer: str) -> int:
        """Queue again, before all others, what a dead consumer had in hand; how many there were."""
        count = 0
        while self.client.lmove(f"held:{consumer}", "waiting", "RIGHT", "LEFT"):
            count += 1
        return count


@contextmanager
def at_work(name: str, url: str) -> Iterator[tuple[ArtifactStore, Queue]]:
    """A worker's store and queue; an error becomes one line and exit code 1."""
    try:
        with open_store(url) as store:
            yield store, Queue(url)
    except (ArtifactError, redis.RedisError, OSError, Wrong) as error:
        sys.exit(f"{name}: {error}")


def produce(name: str, url: str, files: Files, number: int) -> None:
    """Store files and queue their tickets."""
    with at_work(name, url) as (store, queue):
        mine = files.of(number)
        for paths in (mine[i : i + PAGE] for i in range(0, len(mine), PAGE)):
            contents = [path.read_bytes() for path in paths]
            items = [
                Payload(data, type_of(path), {"path": str(path)}) for path, data in zip(paths, contents, strict=True)
            ]
            tickets = [artifact_ref(view.artifact_id) for view in store.store_many(items, run_id=name)]
            found = zip(tickets, paths, contents, strict=True)
            queue.put([{"ticket": ticket, "path": str(path), "sha256": sha256(data)} for ticket, path, data in found])


def consume(name: str, url: str, parent: int, *, freezes: bool) -> None:
    """Resolve tickets and store a summary of each file, until told to stop, or an orphan.

    One that freezes does so in its second round, before it acknowledges: the worst moment to die.
    """
    with at_work(name, url) as (store, queue):
        rounds = 0
        while os.getppid() == parent and not queue.client.exists("over"):
            if messages := queue.claim(name):
                summarize(name, store, messages)
                rounds += 1
                while freezes and rounds == 2 and os.getppid() == parent:
                    queue.client.set("frozen", name)
                    time.sleep(0.1)
                queue.acknowledge(name, len(messages))


def summarize(run: str, store: ArtifactStore, messages: Sequence[dict[str, Any]]) -> None:
    """Check what tickets lead to, and store what it is. Doing it twice changes nothing."""
    artifacts = store.load_many(get_artifact_id(message["ticket"]) for message in messages)
    summaries = []
    for message, artifact in zip(messages, artifacts, strict=True):
        path = message["path"]
        summary = summary_of(path, artifact.content if artifact else b"")
        check(artifact and summary["sha256"] == message["sha256"], f"{path} is not what its producer read from disk")
        summaries.append(Payload(json.dumps(summary).encode(), "application/json", {"path": path}))
    store.store_many(summaries, run_id=run)
