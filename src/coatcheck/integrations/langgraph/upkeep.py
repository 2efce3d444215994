"""Threads deleted, pruned and copied."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from langgraph.checkpoint.base import ChannelVersions

from coatcheck import ArtifactMetadata, InvalidArtifactError

from ..faces import Plan
from .reading import Reading
from .threads import (
    CHECKPOINT,
    KIND,
    PAGE,
    VALUE,
    Thread,
    Where,
    checkpoint_name,
    lifetime_of,
    pages,
    value_name,
    write_name,
)


class Upkeep:
    """What concerns a whole thread, as plans.

    Args:
        reading: Finds what is there.
        ttl: How long the checkpoints of a copy last.
    """

    def __init__(self, reading: Reading, ttl: float | timedelta | None) -> None:
        self._reading = reading
        self._ttl = ttl

    def delete_thread(self, thread: str) -> Plan[None]:
        """Delete all that a thread leases."""
        yield lambda store: store.delete_by_run(str(thread))

    def delete_for_runs(self, run_ids: Sequence[str]) -> Plan[None]:
        """Delete what runs of LangGraph's made."""
        threads: set[str] = set()
        for run in run_ids:
            for view in (yield from self._reading.search(tags={KIND: CHECKPOINT, "run": run})):
                threads.add(str(view.run_id))
        for name in threads:
            thread = yield from self._reading.thread(name)
            yield from self._drop(
                thread, [where for where, view in thread.checkpoints.items() if view.tags.get("run") in run_ids]
            )

    def prune(self, thread_ids: Sequence[str], strategy: str) -> Plan[None]:
        """Delete what the latest checkpoints do not need, or all."""
        if strategy not in ("keep_latest", "delete"):
            raise InvalidArtifactError(f'strategy must be "keep_latest" or "delete", not {strategy!r}')
        for name in thread_ids:
            if strategy == "delete":
                yield from self.delete_thread(name)
                continue
            thread = yield from self._reading.thread(str(name))
            kept: set[Where] = set()
            for namespace in {namespace for namespace, _ in thread.checkpoints}:
                kept |= yield from self._needed(thread, (namespace, str(thread.latest(namespace))))
            yield from self._drop(thread, [where for where in thread.checkpoints if where not in kept])

    def _needed(self, thread: Thread, where: Where) -> Plan[set[Where]]:
        """A checkpoint and those before it that its delta channels are made from: back to their last snapshots."""
        needed = {where}
        records = yield from self._reading.records(thread, [where])
        remaining = set((records[where]["metadata"].get("counters_since_delta_snapshot") or {}) if records else ())
        remaining -= _present(records.get(where))
        for page in pages(thread.ancestors(where), PAGE):
            if not remaining:
                break
            records = yield from self._reading.records(thread, page)
            for ancestor in page:
                if remaining:
                    needed.add(ancestor)
                    remaining -= _present(records.get(ancestor))
        return needed

    def _drop(self, thread: Thread, places: Sequence[Where]) -> Plan[None]:
        """Delete checkpoints, their writes, and the values that no other checkpoint of the thread has."""
        if not places:
            return
        values: dict[bool, set[str]] = {True: set(), False: set()}
        for page in pages(list(thread.checkpoints), PAGE):
            for where, record in (yield from self._reading.records(thread, page)).items():
                versions = _versions(record)
                values[where in places].update(
                    value_name(thread.name, where[0], channel, versions.get(channel)) for channel in record["values"]
                )
        # Checkpoints first, so that none is ever there without its values.
        yield lambda store: store.delete_many([thread.checkpoints[where].artifact_id for where in places])
        rest = [view.artifact_id for where in places for view in thread.writes.get(where, [])]
        rest += values[True] - values[False]
        if rest:
            yield lambda store: store.delete_many(rest)

    def copy_thread(self, source: str, target: str) -> Plan[None]:
        """Give another thread the same contents, checkpoints last."""
        thread = yield from self._reading.thread(str(source))
        target = str(target)
        for view in [*thread.values, *(view for views in thread.writes.values() for view in views)]:
            yield from self._link(view, target)
        for view in thread.checkpoints.values():
            yield from self._link(view, target)

    def _link(self, view: ArtifactMetadata, target: str) -> Plan[None]:
        tags = view.tags
        if tags[KIND] == CHECKPOINT:
            name = checkpoint_name(target, tags["ns"], tags["checkpoint"])
        elif tags[KIND] == VALUE:
            name = value_name(target, tags["ns"], tags["channel"], json.loads(tags["version"]))
        else:
            name = write_name(target, tags["ns"], tags["checkpoint"], tags["task"], int(tags["number"]))
        ttl = lifetime_of(tags[KIND], self._ttl)
        yield lambda store: store.link(view, name, run_id=target, ttl=ttl)


def _versions(record: Any) -> ChannelVersions:
    versions: ChannelVersions = record["checkpoint"]["channel_versions"]
    return versions


def _present(record: Any) -> set[str]:
    """The channels of which a checkpoint has a value."""
    return set() if record is None else {*record["values"], *record["checkpoint"]["channel_values"]}
