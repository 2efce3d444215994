"""`CoatcheckSaver`: the two faces of a checkpointer."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from coatcheck import ArtifactStore

from ..faces import Faces
from .reading import Reading
from .threads import page_length, pages
from .upkeep import Upkeep
from .writing import Writing


class CoatcheckSaver(BaseCheckpointSaver[str]):
    """Checkpoints of threads. Each thread is a run of the store: `delete_by_run(thread_id)` deletes it.

    Values of channels are artifacts of their own, which all checkpoints since the channel changed share. Making it
    touches nothing; the store is opened by the first checkpoint. Every method has its asyncio twin.

    Args:
        url: Of the store, or an open `ArtifactStore`; `None`: `$COATCHECK_URL`.
        ttl: Seconds or a `timedelta` that a thread's latest checkpoint outlives its last step; `None`: for ever.
        serde: How values become bytes; LangGraph's own, without pickle, if left out.
        **options: Of the store, such as `namespace`, the prefix of its keys; see `open_store`.

    Raises:
        InvalidArtifactError: An argument makes no sense.
    """

    def __init__(
        self,
        url: str | ArtifactStore | None = None,
        *,
        ttl: float | timedelta | None = None,
        serde: SerializerProtocol | None = None,
        **options: Any,
    ) -> None:
        super().__init__(serde=serde)
        self._ttl = ttl
        self._faces = Faces(url, options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._faces!r})"

    def get_next_version(self, current: str | float | None, channel: None = None) -> str:  # noqa: ARG002
        """A version after `current`, and another one in each branch of a thread."""
        number = 0 if current is None else int(str(current).partition(".")[0])
        return f"{number + 1:032}.{secrets.token_hex(8)}"

    # These are made each time, because `with_allowlist` changes the serializer of a copy.

    @property
    def _reading(self) -> Reading:
        return Reading(self.serde)

    @property
    def _writing(self) -> Writing:
        return Writing(self.serde, self._ttl)

    @property
    def _upkeep(self) -> Upkeep:
        return Upkeep(self._reading, self._ttl)

    # The blocking face -------------------------------------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """A checkpoint with its values and pending writes: the one that is named, or the thread's latest."""
        return self._faces.run(self._reading.get_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints of a thread, or of all threads, newest first."""
        found = self._faces.run(self._reading.candidates(config, before))
        left = len(found) if limit is None else limit
        for part in pages(found, page_length(filter, limit)):
            if left <= 0:
                return
            tuples = self._faces.run(self._reading.page(part, filter))[:left]
            left -= len(tuples)
            yield from tuples

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keep a checkpoint. The values that it shares with earlier ones are not sent again, and last as long."""
        return self._faces.run(self._writing.put(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keep what a task wrote before the next checkpoint is made."""
        self._faces.run(self._writing.put_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """Delete all of a thread."""
        self._faces.run(self._upkeep.delete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that these runs of LangGraph's made, in all threads. Looks at the whole store."""
        self._faces.run(self._upkeep.delete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread; its contents are kept once."""
        self._faces.run(self._upkeep.copy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete all but the latest checkpoint of each namespace, and what that is made from; or all (`"delete"`)."""
        self._faces.run(self._upkeep.prune(thread_ids, strategy))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What delta channels are made from: their last snapshots, and what was written since."""
        return self._faces.run(self._reading.history(config, channels))

    def close(self) -> None:
        """Give back connections. Whoever goes on opens new ones."""
        self._faces.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # The awaited face --------------------------------------------------------------------------------------------

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See `get_tuple`."""
        return await self._faces.arun(self._reading.get_tuple(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """See `list`."""
        found = await self._faces.arun(self._reading.candidates(config, before))
        left = len(found) if limit is None else limit
        for part in pages(found, page_length(filter, limit)):
            if left <= 0:
                return
            tuples = (await self._faces.arun(self._reading.page(part, filter)))[:left]
            left -= len(tuples)
            for one in tuples:
                yield one

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """See `put`."""
        return await self._faces.arun(self._writing.put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """See `put_writes`."""
        await self._faces.arun(self._writing.put_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        """See `delete_thread`."""
        await self._faces.arun(self._upkeep.delete_thread(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """See `delete_for_runs`."""
        await self._faces.arun(self._upkeep.delete_for_runs(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """See `copy_thread`."""
        await self._faces.arun(self._upkeep.copy_thread(source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """See `prune`."""
        await self._faces.arun(self._upkeep.prune(thread_ids, strategy))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """See `get_delta_channel_history`."""
        return await self._faces.arun(self._reading.history(config, channels))

    async def aclose(self) -> None:
        """See `close`."""
        await self._faces.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()
