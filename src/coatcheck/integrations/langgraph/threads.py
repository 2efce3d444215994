"""Threads as they lie in a store, and the configs that name them.

A thread is a run. It leases three kinds of artifacts, told apart by a tag: *checkpoints* with all that is small, the
*values* of channels, named by channel and version, so that all checkpoints since a channel changed share one, and the
*writes* of tasks, which belong to the checkpoint they come after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import get_checkpoint_id, writes_sort_key

from coatcheck import ArtifactMetadata, InvalidArtifactError

from .encoding import hash_of

T = TypeVar("T")
Where = tuple[str, str]
"""A checkpoint of a thread: its checkpoint namespace and its id."""

KIND: Final = "langgraph"  # the tag that says what an artifact is
CHECKPOINT, VALUE, WRITE = "checkpoint", "value", "write"
FORMAT: Final = "1"  # of checkpoints; their tag `format` says it
PAGE: Final = 50  # checkpoints whose contents are loaded at a time


class Thread:
    """What a thread leases, sorted; nothing of its content.

    Attributes:
        name: The thread's id, and its run's.
        checkpoints: By namespace and id.
        writes: Of tasks, by the checkpoint they come after, in the order in which they happened.
        values: Of channels.
    """

    def __init__(self, name: str, views: Iterable[ArtifactMetadata]) -> None:
        self.name = name
        self.checkpoints: dict[Where, ArtifactMetadata] = {}
        self.writes: dict[Where, list[ArtifactMetadata]] = {}
        self.values: list[ArtifactMetadata] = []
        for view in views:
            kind, tags = view.tags.get(KIND), view.tags
            if kind == CHECKPOINT:
                self.checkpoints[tags["ns"], tags["checkpoint"]] = view
            elif kind == WRITE:
                self.writes.setdefault((tags["ns"], tags["checkpoint"]), []).append(view)
            elif kind == VALUE:
                self.values.append(view)
        for several in self.writes.values():
            several.sort(key=lambda one: writes_sort_key(one.tags["path"], one.tags["task"], int(one.tags["number"])))

    def latest(self, namespace: str) -> str | None:
        """The id of a namespace's latest checkpoint: ids grow."""
        return max((checkpoint for ns, checkpoint in self.checkpoints if ns == namespace), default=None)

    def ancestors(self, where: Where) -> list[Where]:
        """The checkpoints that one was made from, as far as they are there, the latest first."""
        chain: list[Where] = []
        while (view := self.checkpoints.get(where)) is not None and (parent := view.tags.get("parent")) is not None:
            where = where[0], parent
            if where not in self.checkpoints or where in chain:
                break
            chain.append(where)
        return chain


class Found(NamedTuple):
    """A checkpoint of a listing that was not loaded yet."""

    thread: Thread
    where: Where


def place_of(config: RunnableConfig) -> tuple[str, str, str | None]:
    """Thread, checkpoint namespace and checkpoint id that a config names.

    Raises:
        InvalidArtifactError: It names no thread.
    """
    named = config.get("configurable", {})
    if named.get("thread_id") in (None, ""):
        raise InvalidArtifactError('the config names no thread: {"configurable": {"thread_id": "…"}}')
    return str(named["thread_id"]), named.get("checkpoint_ns") or "", get_checkpoint_id(config)


def config_of(thread: str, namespace: str, checkpoint: str) -> RunnableConfig:
    """The config that names a checkpoint."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": namespace, "checkpoint_id": checkpoint}}


def pages(things: Sequence[T], length: int) -> list[Sequence[T]]:
    """A sequence in parts."""
    return [things[i : i + length] for i in range(0, len(things), length)]


def prefix_of(kind: str, *parts: Any) -> str:
    """What the ids of artifacts of a kind begin with.

    Args:
        kind: `CHECKPOINT`, `VALUE` or `WRITE`.
        *parts: Thread and checkpoint namespace; of writes also the checkpoint's id.
    """
    return f"lg-{kind[0]}-{hash_of(*parts)}-"


def checkpoint_name(thread: str, namespace: str, checkpoint: str) -> str:
    """The artifact that a checkpoint is."""
    return prefix_of(CHECKPOINT, thread, namespace) + hash_of(checkpoint)


def value_name(thread: str, namespace: str, channel: str, version: str | float | None) -> str:
    """The artifact that a channel's value is: one for all checkpoints that have this version of it."""
    return prefix_of(VALUE, thread, namespace) + hash_of(channel, version)


def write_name(thread: str, namespace: str, checkpoint: str, task: str, number: int) -> str:
    """The artifact that a task's write is."""
    return prefix_of(WRITE, thread, namespace, checkpoint) + hash_of(task, number)


def lifetime_of(kind: str, ttl: float | timedelta | None) -> float | None:
    """Seconds that an artifact of a kind is kept: values longer than the rest, so that no checkpoint outlives them."""
    if ttl is None:
        return None
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    return seconds + 60 if kind == VALUE else seconds


def page_length(filter: Mapping[str, Any] | None, limit: int | None) -> int:  # noqa: A002
    """How many checkpoints of a listing to load at a time: no more than are wanted, where all of them match."""
    return PAGE if filter or limit is None else max(1, min(PAGE, limit))
