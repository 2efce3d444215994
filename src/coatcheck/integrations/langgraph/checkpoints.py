"""What a checkpointer does, once for both faces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from coatcheck import (
    Artifact,
    ArtifactMetadata,
    ArtifactNotFoundError,
    CorruptArtifactError,
    InvalidArtifactError,
    Payload,
)

from ..faces import Plan
from .encoding import decoded, encoded
from .threads import (
    CHECKPOINT,
    KIND,
    PAGE,
    VALUE,
    WRITE,
    Found,
    Thread,
    Where,
    checkpoint_name,
    config_of,
    pages,
    place_of,
    prefix_of,
    value_name,
    write_name,
)

FORMAT: Final = "1"
SMALL: Final = 256  # characters of a text that lies in the checkpoint itself


class Checkpoints:
    """The operations, as plans.

    Args:
        serde: How values become bytes.
        ttl: How long what is stored lasts.
    """

    def __init__(self, serde: SerializerProtocol, ttl: float | timedelta | None) -> None:
        self._serde = serde
        self._ttl = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
        self._longer = None if self._ttl is None else self._ttl + 60  # for values: so that no checkpoint outlives them

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Plan[RunnableConfig]:
        """Keep a checkpoint: its new values, then itself."""
        thread, namespace, parent = place_of(config)
        values, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
        small = {name: value for name, value in values.items() if _is_small(value)}
        large = {name: value_name(thread, namespace, name, versions.get(name)) for name in values.keys() - small.keys()}
        unchanged = {large[name]: name for name in large.keys() - new_versions.keys()}
        missing = yield from self._missing(thread, list(unchanged))
        yield from self._store(
            thread,
            (
                self._payload(
                    large[name],
                    values[name],
                    VALUE,
                    ns=namespace,
                    channel=name,
                    version=json.dumps(versions.get(name)),
                )
                for name in [*(large.keys() & new_versions.keys()), *(unchanged[value] for value in missing)]
            ),
        )
        tags = {"ns": namespace, "checkpoint": checkpoint["id"]}
        if parent is not None:
            tags["parent"] = parent
        described = get_checkpoint_metadata(config, metadata)
        if described.get("run_id"):
            tags["run"] = str(described["run_id"])
        record = {
            "checkpoint": {**checkpoint, "channel_values": small},
            "metadata": described,
            "values": sorted(large),
        }
        name = checkpoint_name(thread, namespace, checkpoint["id"])
        # Last, so that whoever sees a checkpoint finds its values.
        yield from self._store(thread, [self._payload(name, record, CHECKPOINT, format=FORMAT, **tags)])
        return config_of(thread, namespace, checkpoint["id"])

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Plan[None]:
        """Keep what a task wrote."""
        thread, namespace, checkpoint = place_of(config)
        numbered = {WRITES_IDX_MAP.get(channel, i): (channel, value) for i, (channel, value) in enumerate(writes)}
        names = {write_name(thread, namespace, str(checkpoint), task_id, i): i for i in numbered}
        # Of what a task writes the first stays, but for errors, interrupts and the like.
        due = set((yield from self._missing(thread, [name for name, i in names.items() if i >= 0])))
        yield from self._store(
            thread,
            (
                self._payload(
                    name,
                    numbered[i][1],
                    WRITE,
                    ns=namespace,
                    checkpoint=str(checkpoint),
                    task=task_id,
                    path=task_path,
                    number=str(i),
                    channel=numbered[i][0],
                )
                for name, i in names.items()
                if i < 0 or name in due
            ),
        )

    def _missing(self, thread: str, names: list[str]) -> Plan[list[str]]:
        """Those that are not there; the others last as long from now on as if they were stored now."""
        if not names:
            return []
        missing: list[str] = yield lambda store: store.find_missing(names, ttl=self._longer, run_id=thread)
        return missing

    def _store(self, thread: str, payloads: Iterable[Payload]) -> Plan[None]:
        if items := list(payloads):
            yield lambda store: store.store_many(items, run_id=thread)

    def _payload(self, name: str, value: Any, kind: str, **tags: str) -> Payload:
        ttl = self._longer if kind == VALUE else self._ttl
        return encoded(self._serde, value, name, {KIND: kind, **tags}, ttl=ttl)

    def get_tuple(self, config: RunnableConfig) -> Plan[CheckpointTuple | None]:
        """The checkpoint that a config names, or the latest."""
        thread, namespace, checkpoint = place_of(config)
        if checkpoint is None:  # ids tell without metadata what need not be looked at
            views = yield from self._search(run_id=thread, id_prefix=prefix_of(CHECKPOINT, thread, namespace))
        else:
            name = checkpoint_name(thread, namespace, checkpoint)
            view = yield lambda store: store.get_metadata(name, run_id=thread)
            views = [] if view is None else [view]
        latest = Thread(thread, views).latest(namespace)
        if latest is None:
            return None
        views += yield from self._search(run_id=thread, id_prefix=prefix_of(WRITE, thread, namespace, latest))
        tuples = yield from self._tuples(Thread(thread, views), [(namespace, latest)])
        return tuples[0] if tuples else None

    def _thread(self, thread: str) -> Plan[Thread]:
        return Thread(thread, (yield lambda store: store.list_by_run(thread)))

    def _threads(self, config: RunnableConfig | None) -> Plan[list[Thread]]:
        if config is not None:
            return [(yield from self._thread(place_of(config)[0]))]
        threads: dict[str, list[ArtifactMetadata]] = {}
        for kind in (CHECKPOINT, WRITE):
            for view in (yield from self._search(tags={KIND: kind})):
                threads.setdefault(str(view.run_id), []).append(view)
        return [Thread(thread, views) for thread, views in threads.items()]

    def _search(self, **filters: Any) -> Plan[list[ArtifactMetadata]]:
        found: list[ArtifactMetadata] = yield lambda store: store.search(limit=0, **filters)
        return found

    def candidates(self, config: RunnableConfig | None, before: RunnableConfig | None) -> Plan[list[Found]]:
        """What may be listed, newest first, without its content."""
        asked = (config or {}).get("configurable", {})
        earlier = None if before is None else get_checkpoint_id(before)
        found = [
            Found(thread, (namespace, checkpoint))
            for thread in (yield from self._threads(config))
            for namespace, checkpoint in thread.checkpoints
            if asked.get("checkpoint_ns") in (None, namespace)
            and (asked.get("checkpoint_id") or checkpoint) == checkpoint
            and (earlier is None or checkpoint < earlier)
        ]
        return sorted(found, key=lambda one: one.where[1], reverse=True)

    def page(self, found: Sequence[Found], filter: Mapping[str, Any] | None) -> Plan[list[CheckpointTuple]]:  # noqa: A002
        """A page of a listing, as far as the metadata match."""
        by_thread: dict[str, list[Found]] = {}
        for one in found:
            by_thread.setdefault(one.thread.name, []).append(one)
        tuples = []
        for several in by_thread.values():
            tuples += yield from self._tuples(several[0].thread, [one.where for one in several])
        wanted = (filter or {}).items()
        return sorted(
            (one for one in tuples if all(one.metadata.get(key) == value for key, value in wanted)),
            key=lambda one: one.checkpoint["id"],
            reverse=True,
        )

    def _tuples(
        self, thread: Thread, places: Sequence[Where], channels: Sequence[str] | None = None
    ) -> Plan[list[CheckpointTuple]]:
        """Checkpoints with their values and writes, of all channels or of some, in two batches.

        One that was deleted since the thread was listed is left out.
        """
        records = yield from self._records(thread, places)
        wanted = {
            (where, channel): value_name(
                thread.name, where[0], channel, record["checkpoint"]["channel_versions"].get(channel)
            )
            for where, record in records.items()
            for channel in record["values"]
            if channels is None or channel in channels
        }
        writes = {
            where: [one for one in thread.writes.get(where, []) if channels is None or one.tags["channel"] in channels]
            for where in records
        }
        names = [*wanted.values(), *(view.artifact_id for views in writes.values() for view in views)]
        contents: dict[str, Artifact] = {}
        if names:
            loaded = yield lambda store: store.load_many(names)
            contents = {name: artifact for name, artifact in zip(names, loaded, strict=True) if artifact is not None}
        lost = {where: channel for (where, channel), name in wanted.items() if name not in contents}
        if lost:  # with their checkpoints, or alone?
            for where in (yield from self._records(thread, list(lost))):
                raise ArtifactNotFoundError(
                    f"checkpoint {where[1]} of thread {thread.name!r} lacks channel {lost[where]!r}: its value "
                    "expired or was deleted, and the checkpoint was not"
                )
        tuples = []
        for where in places:
            if where not in records or where in lost:
                continue
            record = records[where]
            values = dict(record["checkpoint"]["channel_values"])
            for channel in record["values"]:
                if (name := wanted.get((where, channel))) is not None:
                    values[channel] = self._decoded(contents[name])
            pending = [
                (view.tags["task"], view.tags["channel"], self._decoded(contents[view.artifact_id]))
                for view in writes[where]
                if view.artifact_id in contents
            ]
            parent = thread.checkpoints[where].tags.get("parent")
            tuples.append(
                CheckpointTuple(
                    config_of(thread.name, *where),
                    cast("Checkpoint", {**record["checkpoint"], "channel_values": values}),
                    record["metadata"],
                    None if parent is None else config_of(thread.name, where[0], parent),
                    pending,
                )
            )
        return tuples

    def _records(self, thread: Thread, places: Sequence[Where]) -> Plan[dict[Where, Any]]:
        if not places:
            return {}
        names = [thread.checkpoints[where].artifact_id for where in places]
        loaded = yield lambda store: store.load_many(names)
        records = {}
        for where, artifact in zip(places, loaded, strict=True):
            if artifact is not None:
                found = artifact.metadata.tags.get("format")
                if found != FORMAT:
                    raise CorruptArtifactError(
                        f"checkpoint {where[1]} of thread {thread.name!r} is of format {found}, "
                        f"this version of coatcheck reads {FORMAT}"
                    )
                records[where] = self._decoded(artifact)
        return records

    def _decoded(self, artifact: Artifact) -> Any:
        return decoded(self._serde, artifact)

    def history(self, config: RunnableConfig, channels: Sequence[str]) -> Plan[dict[str, DeltaChannelHistory]]:
        """Writes and seeds of delta channels, back along a checkpoint's ancestors."""
        name, namespace, checkpoint = place_of(config)
        thread = yield from self._thread(name)
        if checkpoint is None:
            checkpoint = thread.latest(namespace)
        histories: dict[str, DeltaChannelHistory] = {channel: {"writes": []} for channel in channels}
        remaining = set(channels)
        ancestors = thread.ancestors((namespace, str(checkpoint)))
        for page in pages(ancestors, PAGE):
            if not remaining:
                break
            for found in (yield from self._tuples(thread, page, sorted(remaining))):
                for write in reversed(found.pending_writes or []):
                    if write[1] in remaining:
                        histories[write[1]]["writes"].insert(0, write)
                for channel in remaining & found.checkpoint["channel_values"].keys():
                    histories[channel]["seed"] = found.checkpoint["channel_values"][channel]
                    remaining.discard(channel)
        return histories

    def delete_thread(self, thread: str) -> Plan[None]:
        """Delete all that a thread leases."""
        yield lambda store: store.delete_by_run(str(thread))

    def delete_for_runs(self, run_ids: Sequence[str]) -> Plan[None]:
        """Delete what runs of LangGraph's made."""
        threads: set[str] = set()
        for run in run_ids:
            for view in (yield from self._search(tags={KIND: CHECKPOINT, "run": run})):
                threads.add(str(view.run_id))
        for name in threads:
            thread = yield from self._thread(name)
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
            thread = yield from self._thread(str(name))
            kept: set[Where] = set()
            for namespace in {namespace for namespace, _ in thread.checkpoints}:
                kept |= yield from self._needed(thread, (namespace, str(thread.latest(namespace))))
            yield from self._drop(thread, [where for where in thread.checkpoints if where not in kept])

    def _needed(self, thread: Thread, where: Where) -> Plan[set[Where]]:
        """A checkpoint and those before it that its delta channels are made from: back to their last snapshots."""
        needed = {where}
        records = yield from self._records(thread, [where])
        remaining = set((records[where]["metadata"].get("counters_since_delta_snapshot") or {}) if records else ())
        remaining -= _present(records.get(where))
        for page in pages(thread.ancestors(where), PAGE):
            if not remaining:
                break
            records = yield from self._records(thread, page)
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
            for where, record in (yield from self._records(thread, page)).items():
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
        thread = yield from self._thread(str(source))
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
        ttl = self._longer if tags[KIND] == VALUE else self._ttl
        yield lambda store: store.link(view, name, run_id=target, ttl=ttl)


def _is_small(value: Any) -> bool:
    """Whether a value lies in the checkpoint itself: told without serializing it."""
    if isinstance(value, str):
        return type(value) is str and len(value) <= SMALL
    return value is None or type(value) in (bool, float) or (type(value) is int and value.bit_length() <= SMALL)


def _versions(record: Any) -> ChannelVersions:
    versions: ChannelVersions = record["checkpoint"]["channel_versions"]
    return versions


def _present(record: Any) -> set[str]:
    """The channels of which a checkpoint has a value."""
    return set() if record is None else {*record["values"], *record["checkpoint"]["channel_values"]}
