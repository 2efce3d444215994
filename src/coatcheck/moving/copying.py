"""From store to store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ..arguments import check_optional_run_id
from ..asking import Ask, Store
from ..errors import ArtifactLostError, CorruptArtifactError
from ..model import ArtifactMetadata, Lease, Page
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
    after: str | None = None
    views: Sequence[ArtifactMetadata] = ()
    if run_id is not None:  # pages of a run by time would each look at all of it
        views = yield Ask(source, lambda s: s.search(run_id=run_id, order="asc", limit=0))
    while True:
        if run_id is None:
            page: Page[ArtifactMetadata] = yield Ask(source, partial(_next, after))
            after, views = page.next, page.items
        for start in range(0, len(views), PAGE):
            some = views[start : start + PAGE]
            yield from placing.place((yield from _wanted(source, some)) if run_id is None else _own(some))
        if after is None:
            break
    return counts.report()


def _next(after: str | None, source: Any) -> Any:
    """The next page, oldest first: what is stored again meanwhile comes again, at the end."""
    return source.page(order="asc", limit=PAGE, after=after)


def _wanted(source: Store, views: Sequence[ArtifactMetadata]) -> Plan[list[Wanted]]:
    """Artifacts with all of their leases."""
    ids = [view.artifact_id for view in views]
    held: list[list[Lease]] = yield Ask(source, lambda s: s.leases_many(ids))
    return [
        Wanted(view.artifact_id, view.digest, view.size_bytes, leases)
        for view, leases in zip(views, held, strict=True)
        if leases  # it may be gone by now
    ]


def _own(views: Sequence[ArtifactMetadata]) -> list[Wanted]:
    """Artifacts with the leases of the run whose views these are."""
    fields = set(Lease.model_fields)
    return [
        Wanted(view.artifact_id, view.digest, view.size_bytes, [Lease(**view.model_dump(include=fields))])
        for view in views
    ]


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
