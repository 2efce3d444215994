"""What the processes do: producers store files and pass their tickets, consumers resolve and summarize them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import redis

from coatcheck import ArtifactStore, Payload, artifact_ref, get_artifact_id, open_store
from coatcheck.cli.files import batches, guess_type

from .checks import DemoError, check_delivery, sha256, summarize
from .tickets import Message, Tickets


@dataclass(frozen=True, slots=True)
class Post:
    """Where a process works; its name is its run id.

    Attributes:
        name: Of the process.
        url: The server.
        namespace: Of the store.
        token: Of the queue.
        claim: Tickets that a consumer takes at a time.
        parent: Process id of the demonstration.
    """

    name: str
    url: str
    namespace: str
    token: str
    claim: int
    parent: int

    @contextmanager
    def open(self) -> Iterator[tuple[ArtifactStore, Tickets]]:
        """The store and the queue; an error is reported before the process ends with code 1."""
        tickets = Tickets(self.url, self.token, self.claim)
        try:
            with open_store(self.url, namespace=self.namespace) as store:
                tickets.ready()
                yield store, tickets
        except Exception as error:  # noqa: BLE001  # the parent says what it was
            kind = "" if isinstance(error, DemoError) else f"{type(error).__name__}: "
            with suppress(redis.RedisError):  # the parent sees the exit code, at least
                tickets.report(f"{self.name}: {kind}{error}")
            sys.exit(1)
        finally:
            tickets.close()

    def has_parent(self) -> bool:
        """Whether the demonstration is still there; without it there is nobody to stop this process."""
        return os.getppid() == self.parent


def produce(post: Post) -> None:
    """Store files in batches and queue their tickets."""
    with post.open() as (store, tickets):
        for batch in batches(tickets.part(post.name)):
            if not post.has_parent():
                return
            contents = [file.path.read_bytes() for file in batch]
            views = store.store_many(
                [
                    Payload(content, guess_type(file.path), {"path": file.name})
                    for file, content in zip(batch, contents, strict=True)
                ],
                run_id=post.name,
            )
            tickets.put(
                [
                    Message(artifact_ref(view.artifact_id), file.name, len(content), sha256(content))
                    for file, content, view in zip(batch, contents, views, strict=True)
                ]
            )


def consume(post: Post) -> None:
    """Resolve tickets, check what they lead to, and store a summary of each file, until there are no more."""
    with post.open() as (store, tickets):
        while post.has_parent() and (messages := tickets.claim(post.name)) is not None:
            if messages:
                _summarize(post.name, store, messages)
                tickets.pass_gate(post.name, len(messages), post.has_parent)
                tickets.done(post.name, messages)


def _summarize(run: str, store: ArtifactStore, messages: list[Message]) -> None:
    artifacts = store.load_many(get_artifact_id(message.ticket) for message in messages)
    store.store_many(
        [
            Payload(
                json.dumps(summarize(message.name, check_delivery(message, artifact))).encode(),
                tags={"path": message.name},
            )
            for message, artifact in zip(messages, artifacts, strict=True)
        ],
        content_type="application/json",
        run_id=run,
    )
