"""What a checkpointer finds: checkpoints with their values and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    Checkpoint,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from coatcheck import Artifact, ArtifactMetadata, ArtifactNotFoundError, CorruptArtifactError

from ..faces import Plan
from .encoding import decoded
from .threads import (
    CHECKPOINT,
    FORMAT,
    KIND,
    PAGE,
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
)


class Reading:
    """What loads and lists, as plans.

    Args:
        serde: How bytes become values.
    """

    def __init__(self, serde: SerializerProtocol) -> None:
        self._serde = serde

    def get_tuple(self, config: RunnableConfig) -> Plan[CheckpointTuple | None]:
        """The checkpoint that a config names, or the latest."""
        thread, namespace, checkpoint = place_of(config)
        if checkpoint is None:  # ids tell without metadata what need not be looked at
            views = yield from self.search(run_id=thread, id_prefix=prefix_of(CHECKPOINT, thread, namespace))
        else:
            name = checkpoint_name(thread, namespace, checkpoint)
            view = yield lambda store: store.get_metadata(name, run_id=thread)
            views = [] if view is None else [view]
        latest = Thread(thread, views).latest(namespace)
        if latest is None:
            return None
        views += yield from self.search(run_id=thread, id_prefix=prefix_of(WRITE, thread, namespace, latest))
        tuples = yield from self._tuples(Thread(thread, views), [(namespace, latest)])
        return tuples[0] if tuples else None

    def thread(self, thread: str) -> Plan[Thread]:
        """What a thread leases."""
        return Thread(thread, (yield lambda store: store.list_by_run(thread)))

    def _threads(self, config: RunnableConfig | None) -> Plan[list[Thread]]:
        if config is not None:
            return [(yield from self.thread(place_of(config)[0]))]
        threads: dict[str, list[ArtifactMetadata]] = {}
        for kind in (CHECKPOINT, WRITE):
            for view in (yield from self.search(tags={KIND: kind})):
                threads.setdefault(str(view.run_id), []).append(view)
        return [Thread(thread, views) for thread, views in threads.items()]

    def search(self, **filters: Any) -> Plan[list[ArtifactMetadata]]:
        """The metadata of all that match."""
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
        records = yield from self.records(thread, places)

        def is_asked(channel: str) -> bool:
            return channels is None or channel in channels

        values = {
            where: {
                channel: value_name(
                    thread.name, where[0], channel, record["checkpoint"]["channel_versions"].get(channel)
                )
                for channel in filter(is_asked, record["values"])
            }
            for where, record in records.items()
        }
        writes = {
            where: [view for view in thread.writes.get(where, []) if is_asked(view.tags["channel"])]
            for where in records
        }
        contents = yield from self._load(
            [
                *(name for names in values.values() for name in names.values()),
                *(view.artifact_id for views in writes.values() for view in views),
            ]
        )
        lost = {
            where: channel for where, names in values.items() for channel, name in names.items() if name not in contents
        }
        if lost:  # with their checkpoints, or alone?
            for where in (yield from self.records(thread, list(lost))):
                raise ArtifactNotFoundError(
                    f"checkpoint {where[1]} of thread {thread.name!r} lacks channel {lost[where]!r}: its value "
                    "expired or was deleted, and the checkpoint was not"
                )
        return [
            self._tuple(thread, where, records[where], values[where], writes[where], contents)
            for where in places
            if where in records and where not in lost
        ]

    def _load(self, names: list[str]) -> Plan[dict[str, Artifact]]:
        """Those that are there."""
        if not names:
            return {}
        loaded = yield lambda store: store.load_many(names)
        return {name: artifact for name, artifact in zip(names, loaded, strict=True) if artifact is not None}

    def _tuple(
        self,
        thread: Thread,
        where: Where,
        record: Any,
        values: Mapping[str, str],
        writes: Sequence[ArtifactMetadata],
        contents: Mapping[str, Artifact],
    ) -> CheckpointTuple:
        """A checkpoint of its record, its large values by channel, and what was written behind it and is there."""
        large = {channel: self._decoded(contents[name]) for channel, name in values.items()}
        pending = [
            (view.tags["task"], view.tags["channel"], self._decoded(contents[view.artifact_id]))
            for view in writes
            if view.artifact_id in contents
        ]
        parent = thread.checkpoints[where].tags.get("parent")
        checkpoint = record["checkpoint"]
        return CheckpointTuple(
            config_of(thread.name, *where),
            cast("Checkpoint", {**checkpoint, "channel_values": {**checkpoint["channel_values"], **large}}),
            record["metadata"],
            None if parent is None else config_of(thread.name, where[0], parent),
            pending,
        )

    def records(self, thread: Thread, places: Sequence[Where]) -> Plan[dict[Where, Any]]:
        """Checkpoints as they were stored: without large values and without writes; those that are there."""
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
        thread = yield from self.thread(name)
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
