"""From store to store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..arguments import check_optional_run_id
from ..asking import Ask, Store
from ..errors import ArtifactLostError, CorruptArtifactError
from ..model import ArtifactMetadata, Lease
from ..plan import Plan
from .placing import PAGE, Placing, Wanted, close
from .report import Counts, MoveReport, OnMove


def copying(
    source: Store, target: Store, run_id: str | None, replace: bool, verify: bool, progress: OnMove | None
) -> Plan[MoveReport]:
    """See `copy`."""
    run_id = check_optional_run_id(run_id)
    counts = Counts(progress)
    placing = Placing(target, _Contents(source), counts, replace=replace, verify=verify)
    views: list[ArtifactMetadata] = yield Ask(source, lambda s: s.search(run_id=run_id, order="asc", limit=0))
    for page in _pages(views):
        wanted = []
        for view in page:
            leases = yield from _leases(source, view.artifact_id, run_id)
            if leases:  # it may be gone by now
                wanted.append(Wanted(view.artifact_id, view.digest, view.size_bytes, leases))
        yield from placing.place(wanted)
    return counts.report()


def _leases(source: Store, artifact_id: str, run_id: str | None) -> Plan[list[Lease]]:
    leases: list[Lease] = yield Ask(source, lambda s: s.leases(artifact_id))
    return [lease for lease in leases if run_id in (None, lease.run_id)]


class _Contents:
    """Contents of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def whole(self, wanted: Sequence[Wanted]) -> Plan[list[bytes | None]]:
        ids = [item.artifact_id for item in wanted]
        try:
            found = yield Ask(self._store, lambda s: s.load_many(ids))
        except (ArtifactLostError, CorruptArtifactError):  # of one of them: each by itself
            found = []
            for artifact_id in ids:
                artifact = yield from self._one(artifact_id)
                found.append(artifact)
        return [
            None if artifact is None or (item.digest or artifact.metadata.digest) != artifact.metadata.digest
            else artifact.content
            for item, artifact in zip(wanted, found, strict=True)
        ]  # fmt: skip

    def _one(self, artifact_id: str) -> Plan[Any]:
        try:
            return (yield Ask(self._store, lambda s: s.load(artifact_id)))
        except (ArtifactLostError, CorruptArtifactError):
            return None

    def stream(self, wanted: Wanted) -> Plan[Any]:
        try:
            return (yield Ask(self._store, lambda s: s.open(wanted.artifact_id)))
        except (ArtifactLostError, CorruptArtifactError):
            return None

    def close(self, stream: Any) -> Plan[None]:
        yield Ask(self._store, lambda _: close(stream))


def _pages(views: Sequence[ArtifactMetadata]) -> Iterator[Sequence[ArtifactMetadata]]:
    return (views[start : start + PAGE] for start in range(0, len(views), PAGE))
