"""Everything in order of time, from a catalog that is cut into shards."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Final

from ....model import ArtifactMetadata, StoreStats
from ....plan import Plan
from .. import records
from ..batching import PAGE, pages
from ..scripts import LEASES, METADATA, Command
from .claims import Claim

if TYPE_CHECKING:
    from .backend import SplitBackend

_LEAST: Final = 32  # claims asked of a shard: more than were ever made in one microsecond


def page(
    backend: SplitBackend, limit: int, start: bytes | None, *, newest_first: bool
) -> Plan[tuple[list[ArtifactMetadata], bytes | None]]:
    """About `limit` artifacts by the time of their latest store, and the score to go on from; `None`: the end."""
    shards = backend.names.all_catalogs()
    size = max(_LEAST, 2 * min(limit, PAGE) // len(shards))
    first, last = (b"+inf", b"-inf") if newest_first else (b"-inf", b"+inf")
    order = [b"BYSCORE", b"REV"] if newest_first else [b"BYSCORE"]
    count = [b"LIMIT", b"0", b"%d" % size, b"WITHSCORES"]
    replies = yield from backend.read(
        *(Command(b"ZRANGE", created, start or first, last, *order, *count) for created, _ in shards)
    )
    sign = -1 if newest_first else 1
    rows = [
        [(sign * int(score), name) for name, score in zip(reply[::2], reply[1::2], strict=True)] for reply in replies
    ]
    # Where a shard was cut short, nothing beyond is known; there the next page begins.
    cuts = [row[-1][0] for row in rows if len(row) == size]
    known = [entry for entry in heapq.merge(*rows) if not cuts or entry[0] <= min(cuts)]
    views = yield from _views(backend, [name for _, name in known], newest_first=newest_first)
    if cuts:
        following = b"%d" % abs(min(cuts))
        return views, (b"(" + following if following == start else following)
    if newest_first or not known:
        return views, None
    return views, b"(%d" % known[-1][0]  # what was stored again meanwhile has moved behind the end


def _views(backend: SplitBackend, names: list[bytes], *, newest_first: bool) -> Plan[list[ArtifactMetadata]]:
    """The latest views of artifacts, each in the place of its latest lease's claim."""
    views: dict[bytes, ArtifactMetadata] = {}
    claims = [claim for claim in map(Claim.parse, names) if claim is not None]
    ids = list(dict.fromkeys(claim.artifact_id for claim in claims))
    latest: dict[bytes, Any] = {}
    for part in pages(ids):
        replies = yield from backend.read(*(METADATA.call([backend.names.artifact(name)], ()) for name in part))
        latest.update(zip(part, (view for [view] in replies), strict=True))
    for claim in claims:
        view = latest[claim.artifact_id]
        if view is None or claim.artifact_id in views:
            continue
        created = records.lease_times(view[2])[1]
        # Newest first, an artifact that was stored again meanwhile has moved to before the page: it is shown here.
        if created == claim.token or (newest_first and created > claim.token):
            views[claim.artifact_id] = records.decode_view(claim.artifact_id.decode(), *view)
    return list(views.values())


def stats(backend: SplitBackend) -> Plan[StoreStats]:
    """Figures; reads all metadata."""
    found: dict[str, ArtifactMetadata] = {}
    start: bytes | None = None
    while True:
        views, start = yield from page(backend, PAGE, start, newest_first=True)
        for view in views:
            found.setdefault(view.artifact_id, view)
        if start is None:
            break
    leases = artifact_bytes = stored_bytes = 0
    contents: dict[str, int] = {}
    for part in pages(list(found.values())):
        replies = yield from backend.read(
            *(LEASES.call([backend.names.artifact(view.artifact_id.encode())], ()) for view in part)
        )
        for view, (_, *pairs) in zip(part, replies, strict=True):
            leases += len(pairs) // 2
            artifact_bytes += view.size_bytes * (len(pairs) // 2)
            contents[view.digest or ""] = view.size_bytes
    for digests in pages(list(contents)):
        stored_bytes += sum(
            (
                yield from backend.read(
                    *(
                        Command(b"STRLEN", backend.names.content(records.tag_of(bytes.fromhex(digest))))
                        for digest in digests
                    )
                )
            )
        )
    return StoreStats(
        artifacts=len(found),
        leases=leases,
        runs=len((yield from backend.list_runs())),
        contents=len(contents),
        artifact_bytes=artifact_bytes,
        content_bytes=sum(contents.values()),
        stored_bytes=stored_bytes,
    )
