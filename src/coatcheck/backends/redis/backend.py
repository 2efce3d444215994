"""The Redis backend, an index: one line for each operation, naming the room that does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...cache import CacheInfo
from ...figures import Tally
from ...labels import Change
from ...model import Artifact, ArtifactMetadata, CheckReport, Lease, StoreStats
from ...plan import Plan
from ...request import Request, SourceRequest, StoreRequest
from ...search import Place, Query
from ...sources import Chunking, TransferProgress
from ..base import Backend, Listing, Progress
from ..opened import OpenedArtifact
from .describing import Describing
from .finding.counting import Counting
from .finding.listing import Lists
from .indexing import reindex
from .layout.labels import new_marker, wish
from .layout.partitions import Partitions
from .leasing import Leasing
from .loading import Loading
from .maintenance import inspecting
from .options import RedisOptions
from .reading import Reading
from .session import Session, heard
from .storing import Storing
from .transport.base import Close, Transport
from .updating import Updating


class RedisBackend(Backend):
    """One namespace on one server or cluster.

    Args:
        transport: The way to it.
        options: What the store was told.
    """

    name = "redis"

    def __init__(self, transport: Transport, options: RedisOptions) -> None:
        partitions = Partitions(options.namespace, options.partition_count(cluster=transport.is_cluster))
        self.session = Session(
            transport,
            partitions,
            retry_for=options.retry_for,
            durability=options.durability,
            wish=wish([new_marker(field) for field in options.fields]),
        )
        self.fields = options.fields
        self.identity = f"redis {options.namespace} {len(partitions.all)}"
        self.max_size = options.max_size
        self.namespace = options.namespace
        self._cache = options.cache()
        self._storing = Storing(self.session, options.zstd(), self._cache)
        self._describing = Describing(self.session)
        self._reading = Reading(self.session, self._describing, options.verify, self._cache, options.max_size)
        self._loading = Loading(self.session, self._describing, self._reading, self._cache)
        self._leasing = Leasing(self.session)
        self._updating = Updating(self.session)
        self._lists = Lists(self.session)
        self._counting = Counting(self.session)

    def store(self, requests: Sequence[StoreRequest]) -> Plan[list[ArtifactMetadata]]:
        return self._storing.store(requests)

    def store_one(self, request: StoreRequest) -> Plan[ArtifactMetadata]:
        return self._storing.store_one(request)

    def store_source(self, request: SourceRequest, progress: TransferProgress | None) -> Plan[ArtifactMetadata]:
        return self._storing.store_source(request, progress)

    def link(self, request: Request) -> Plan[ArtifactMetadata | None]:
        return heard(self._storing.link(request))

    def open(self, artifact_id: str) -> Plan[OpenedArtifact | None]:
        return heard(self._reading.open(artifact_id))

    def load(self, ids: Sequence[str]) -> Plan[list[Artifact | None]]:
        return heard(self._loading.load(ids))

    def load_one(self, artifact_id: str, run_id: str | None) -> Plan[Artifact | None]:
        return self._reading.load_one(artifact_id, run_id)

    def view(self, artifact_id: str, run_id: str | None) -> Plan[ArtifactMetadata | None]:
        return heard(self._describing.view(artifact_id, run_id))

    def metadata(self, ids: Sequence[str]) -> Plan[list[ArtifactMetadata | None]]:
        return heard(self._describing.metadata(ids))

    def exists(self, ids: Sequence[str]) -> Plan[list[bool]]:
        return heard(self._describing.exists(ids))

    def acquire(self, ids: Sequence[str], run_id: str | None, ttl_ms: int | None) -> Plan[list[bool]]:
        return heard(self._leasing.acquire(ids, run_id, ttl_ms))

    def delete(self, ids: Sequence[str]) -> Plan[list[bool]]:
        return heard(self._leasing.delete(ids))

    def touch(self, artifact_id: str, run_id: str | None, ttl_ms: int | None) -> Plan[bool]:
        return heard(self._leasing.touch(artifact_id, run_id, ttl_ms))

    def update(self, ids: Sequence[str], run_id: str | None, change: Change) -> Plan[list[ArtifactMetadata | None]]:
        return self._updating.update(ids, run_id, change)

    def release(self, artifact_id: str, run_id: str | None) -> Plan[bool]:
        return heard(self._leasing.release(artifact_id, run_id))

    def leases(self, ids: Sequence[str]) -> Plan[list[list[Lease]]]:
        return heard(self._leasing.leases(ids))

    def delete_by_run(self, run_id: str) -> Plan[int]:
        return heard(self._leasing.delete_by_run(run_id))

    def listing(self, query: Query) -> Listing[ArtifactMetadata]:
        return self._lists.listing(query)

    def page(self, query: Query, start: Place | None, count: int) -> Plan[tuple[list[ArtifactMetadata], Place | None]]:
        return self._lists.page(query, start, count)

    def runs(self) -> Listing[str]:
        return self._lists.runs()

    def runs_page(self, prefix: str | None, start: Place | None, count: int) -> Plan[tuple[list[str], Place | None]]:
        return self._lists.runs_page(prefix, start, count)

    def count(self, query: Query) -> Plan[int]:
        return self._counting.count(query)

    def tally(self, query: Query, by: str | None) -> Plan[Tally]:
        return self._counting.tally(query, by)

    def tallies(self, runs: Sequence[str]) -> Plan[list[Tally]]:
        return self._counting.tallies(runs)

    def facets(self, query: Query, by: str) -> Plan[Counter[str | None]]:
        return self._counting.facets(query, by)

    def stats(self, query: Query) -> Plan[StoreStats]:
        return self._counting.stats(query)

    def touch_run(self, run_id: str | None, ttl_ms: int | None, *, longer: bool) -> Plan[int]:
        return heard(self._leasing.touch_run(run_id, ttl_ms, longer=longer))

    def delete_where(self, query: Query, progress: Progress) -> Plan[tuple[int, int]]:
        return self._leasing.delete_where(query, progress)

    def gc(self, *, dry_run: bool, grace_ms: int, progress: Progress) -> Plan[CheckReport]:
        return inspecting.gc(self.session, self._reading, dry_run=dry_run, grace_ms=grace_ms, progress=progress)

    def check(self, *, read_data: bool, repair: bool, grace_ms: int, progress: Progress) -> Plan[CheckReport]:
        return inspecting.check(
            self.session,
            self._reading,
            read_data=read_data,
            repair=repair,
            grace_ms=grace_ms,
            progress=progress,
        )

    def reindex(self, progress: Progress) -> Plan[int]:
        return reindex(self.session, self.fields, progress)

    def probe(self) -> Plan[None]:
        """Ask whether the server can keep what `durability` promises."""
        return self.session.probe()

    def cache_info(self) -> CacheInfo:
        """Figures about the content cache."""
        return CacheInfo() if self._cache is None else self._cache.info()

    def close(self) -> Plan[None]:
        if self._cache is not None:
            self._cache.clear()
        yield Close(self.session.transport)

    @property
    def chunking(self) -> Chunking:  # told to the rooms that cut
        """How long content is cut."""
        return self._storing.chunking

    @chunking.setter
    def chunking(self, chunking: Chunking) -> None:
        self._storing.chunking = self._reading.chunking = chunking
