"""The Redis backend: each operation as a plan over script calls. One server: one round trip, atomic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import CorruptArtifactError
from ...model import ArtifactMetadata, CheckReport, Lease, StoreStats
from ...plan import Plan
from ..base import Progress
from .batching import PAGE, flat, pages
from .core import names, run_argument, ttl_argument
from .layout import records
from .loading import Loading
from .maintenance import LEFTOVERS, Inspection
from .scripts import script as scripts
from .storing import Storing
from .transport.base import Sendable


class RedisBackend(Storing, Loading):
    """One namespace on one server; see `Core` for the arguments."""

    def exists(self, ids: Sequence[str]) -> Plan[list[bool]]:
        def ask(page: Sequence[str]) -> Sendable:
            return scripts.EXISTS.call(self._artifact_keys(page), [self._keys.prefix, *names(page)])

        return [found == 1 for found in (yield from self._paged(ids, self.read, ask))]

    def leases(self, artifact_id: str) -> Plan[list[Lease]]:
        [[head, *pairs]] = yield from self.read(scripts.LEASES.call([self._keys.artifact(artifact_id.encode())], ()))
        if pairs:
            records.decode_head(head, artifact_id)
        live = [
            records.decode_lease(artifact_id, field, value)
            for field, value in zip(pairs[::2], pairs[1::2], strict=True)
        ]
        return sorted(live, key=lambda lease: lease.created_at)

    # Changing leases -------------------------------------------------------------------------------------------

    def claim(self, ids: Sequence[str], run_id: str | None, ttl_ms: int | None) -> Plan[list[bool]]:
        keys = self._keys
        run_keys = () if run_id is None else (keys.run(run_id),)

        def ask(page: Sequence[str]) -> Sendable:
            return scripts.CLAIM.call(
                [keys.created, keys.deadlines, keys.runs, *self._artifact_keys(page), *run_keys],
                [keys.prefix, run_argument(run_id), ttl_argument(ttl_ms), *names(page)],
            )

        return [found == 1 for found in (yield from self._paged(ids, self.write, ask))]

    def delete(self, ids: Sequence[str]) -> Plan[list[bool]]:
        keys = self._keys

        def ask(page: Sequence[str]) -> Sendable:
            return scripts.DELETE.call(
                [keys.created, keys.deadlines, keys.runs, *self._artifact_keys(page)], [keys.prefix, *names(page)]
            )

        return [deleted == 1 for deleted in (yield from self._paged(ids, self.write, ask))]

    def touch(self, artifact_id: str, run_id: str | None, ttl_ms: int | None) -> Plan[bool]:
        run_keys = () if run_id is None else (self._keys.run(run_id),)
        return self._change(scripts.TOUCH, artifact_id, run_keys, (run_argument(run_id), ttl_argument(ttl_ms)))

    def release(self, artifact_id: str, run_id: str | None) -> Plan[bool]:
        return self._change(scripts.RELEASE, artifact_id, (), (run_argument(run_id),))

    def _change(
        self, script: scripts.Script, artifact_id: str, keys: Sequence[bytes], arguments: Sequence[bytes]
    ) -> Plan[bool]:
        name, shared = artifact_id.encode(), self._keys
        [done] = yield from self.write(
            script.call(
                [shared.artifact(name), shared.created, shared.deadlines, shared.runs, *keys],
                [shared.prefix, name, *arguments],
            )
        )
        return bool(done == 1)

    # Runs ------------------------------------------------------------------------------------------------------

    def list_by_run(self, run_id: str) -> Plan[list[ArtifactMetadata]]:
        field = records.lease_field(run_id)
        [[views, rest]] = yield from self.read(
            scripts.LIST_BY_RUN.call([self._keys.run(run_id)], [self._keys.prefix, field, b"%d" % PAGE])
        )
        if rest:
            replies = yield from self.read(
                *(
                    scripts.RUN_VIEWS.call([self._keys.artifact(i) for i in page], [field, *page])
                    for page in pages(rest)
                )
            )
            views = [*views, *flat(replies)]
        return [_view(artifact_id, head, field, value) for artifact_id, head, value in views]

    def delete_by_run(self, run_id: str) -> Plan[int]:
        keys = self._keys
        given_up: int = 0
        while True:
            [[count, left]] = yield from self.write(
                scripts.DELETE_BY_RUN.call(
                    [keys.run(run_id), keys.created, keys.deadlines, keys.runs],
                    [keys.prefix, run_argument(run_id), b"%d" % PAGE],
                )
            )
            given_up += count
            if left == 0:
                return given_up

    def list_runs(self) -> Plan[list[str]]:
        [runs] = yield from self.read(scripts.LIST_RUNS.call([self._keys.runs], (self._keys.prefix,)))
        return [_text(run, "a run id") for run in runs]

    # Everything ------------------------------------------------------------------------------------------------

    def list_page(
        self, limit: int, cursor: object | None, *, newest_first: bool
    ) -> Plan[tuple[list[ArtifactMetadata], object | None]]:
        page = max(1, min(limit, PAGE))
        start = cursor if isinstance(cursor, bytes) else b""
        views, following = yield from self._page(start, page, newest_first=newest_first, figures=False)
        return [_view(*view) for view in views], following

    def _page(
        self, start: bytes, size: int, *, newest_first: bool, figures: bool
    ) -> Plan[tuple[list[list[Any]], bytes | None]]:
        """Views from a score on (inclusive: ids seen before may come again), and the score to go on from."""
        if start:
            size += 1
        [[scanned, last, views]] = yield from self.read(
            scripts.LIST_PAGE.call(
                [self._keys.created],
                [
                    self._keys.prefix,
                    b"%d" % size,
                    start,
                    b"desc" if newest_first else b"asc",
                    b"1" if figures else b"",
                ],
            )
        )
        more = scanned == size and last != start
        return views, (last if more else None)

    def stats(self) -> Plan[StoreStats]:
        seen: set[bytes] = set()
        contents: set[bytes] = set()
        leases = artifact_bytes = content_bytes = stored_bytes = 0
        start: bytes | None = b""
        while start is not None:
            views, start = yield from self._page(start, PAGE, newest_first=True, figures=True)
            for name, raw_head, _, _, count, stored in views:
                if name in seen:
                    continue
                seen.add(name)
                head = records.decode_head(raw_head, _text(name, "an artifact id"))
                leases += count
                artifact_bytes += head.size * count
                if head.digest not in contents:
                    contents.add(head.digest)
                    content_bytes += head.size
                    stored_bytes += stored
        return StoreStats(
            artifacts=len(seen),
            leases=leases,
            runs=len((yield from self.list_runs())),
            contents=len(contents),
            artifact_bytes=artifact_bytes,
            content_bytes=content_bytes,
            stored_bytes=stored_bytes,
        )

    def gc(self, *, dry_run: bool, grace_ms: int, progress: Progress) -> Plan[CheckReport]:
        inspection = Inspection(
            self,
            repair=lambda problem: not dry_run and problem in LEFTOVERS,
            read_data=False,
            grace_ms=grace_ms,
            progress=progress,
        )
        return (yield from inspection.run()).only(LEFTOVERS)

    def check(self, *, read_data: bool, repair: bool, grace_ms: int, progress: Progress) -> Plan[CheckReport]:
        inspection = Inspection(
            self, repair=lambda _: repair, read_data=read_data, grace_ms=grace_ms, progress=progress
        )
        return (yield from inspection.run())


def _view(name: bytes, head: Any, field: bytes, value: Any) -> ArtifactMetadata:
    return records.decode_view(_text(name, "an artifact id"), head, field, value)


def _text(name: bytes, what: str) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise CorruptArtifactError(f"{what} in an index is not UTF-8: {name!r}") from None
