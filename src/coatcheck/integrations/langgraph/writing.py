"""What a checkpointer keeps: checkpoints and what tasks wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from coatcheck import Payload

from ..faces import Plan
from .encoding import encoded
from .threads import (
    CHECKPOINT,
    FORMAT,
    KIND,
    VALUE,
    WRITE,
    checkpoint_name,
    config_of,
    lifetime_of,
    place_of,
    value_name,
    write_name,
)

_SMALL: Final = 256  # characters of a text that lies in the checkpoint itself


class Writing:
    """What stores, as plans.

    Args:
        serde: How values become bytes.
        ttl: How long checkpoints last.
    """

    def __init__(self, serde: SerializerProtocol, ttl: float | timedelta | None) -> None:
        self._serde = serde
        self._ttl = ttl

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
        missing: list[str] = yield lambda store: store.find_missing(
            names, ttl=lifetime_of(VALUE, self._ttl), run_id=thread
        )
        return missing

    def _store(self, thread: str, payloads: Iterable[Payload]) -> Plan[None]:
        if items := list(payloads):
            yield lambda store: store.store_many(items, run_id=thread)

    def _payload(self, name: str, value: Any, kind: str, **tags: str) -> Payload:
        return encoded(self._serde, value, name, {KIND: kind, **tags}, ttl=lifetime_of(kind, self._ttl))


def _is_small(value: Any) -> bool:
    """Whether a value lies in the checkpoint itself: told without serializing it."""
    if isinstance(value, str):
        return type(value) is str and len(value) <= _SMALL
    return value is None or type(value) in (bool, float) or (type(value) is int and value.bit_length() <= _SMALL)
