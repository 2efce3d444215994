"""How artifacts get into a store as they were in another: contents once, leases in their order, deadlines kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final, NamedTuple, Protocol

from ..arguments import Payload, check_flag
from ..asking import Ask, Store
from ..errors import CorruptArtifactError
from ..ids import is_default_id
from ..model import ArtifactMetadata, Lease
from ..plan import Plan
from .report import Counts

PAGE: Final = 100
"""Artifacts that are looked at together."""

LARGE: Final = 8 * 2**20
"""Bytes from which on contents are streamed, and as many as are held together below that."""

_SAME: Final = 1.0  # seconds that deadlines may differ
_AT_LEAST: Final = 60.0  # seconds for the first lease, until it is known what the target's clock says
_CORRECTIONS: Final = 3
_SHORTEST: Final = 0.001
_PIECE: Final = 4 * 2**20


class Wanted(NamedTuple):
    """An artifact as it shall be.

    Attributes:
        artifact_id: Its id.
        digest: Of its content; `None`: not known yet.
        size: Of its content in bytes.
        leases: On it, oldest store first.
    """

    artifact_id: str
    digest: str | None
    size: int
    leases: Sequence[Lease]


class Contents(Protocol):
    """Where contents come from."""

    def whole(self, wanted: Sequence[Wanted]) -> Plan[list[bytes | None]]:
        """Small verified contents; `None` for what is gone or cannot be read."""

    def stream(self, wanted: Wanted) -> Plan[Any]:
        """What `store_file` takes, seekable on a blocking store; `None` for what is gone or cannot be read."""

    def close(self, stream: Any) -> Plan[None]:
        """Give a stream back."""


class Placing:
    """Puts artifacts into a store.

    Args:
        target: The store.
        contents: Where contents come from.
        counts: What is counted.
        replace: Whether an explicit id that stands for other content is replaced.
        verify: Whether everything is read back.
    """

    def __init__(self, target: Store, contents: Contents, counts: Counts, *, replace: bool, verify: bool) -> None:
        self._target = target
        self._contents = contents
        self._counts = counts
        self._replace = check_flag(replace, "replace")
        self._verify = check_flag(verify, "verify")
        self._left: set[str] = set()  # what was not placed
        self._ahead: float | None = (
            None  # seconds by which the target's clock is ahead of ours, once an answer shows it
        )

    def place(self, page: Sequence[Wanted]) -> Plan[None]:
        """Put these there, in this order, as far as they are not."""
        views: list[ArtifactMetadata | None] = yield self._ask(
            lambda s: s.metadata_many([item.artifact_id for item in page])
        )
        known = {
            item.artifact_id
            for item, view in zip(page, views, strict=True)
            if view is not None and item.digest is not None and view.digest == item.digest
        }
        known -= set((yield self._ask(lambda s: s.find_missing(sorted(known)))))
        batch: list[Wanted] = []
        for item, view in zip(page, views, strict=True):
            if item.artifact_id in known:
                if (yield from self._has(item, view)):
                    self._counts.present += 1
                    continue
                yield from self._send(batch)
                batch = []
                # All leases again, so that their order is kept.
                self._counts.artifacts += bool((yield from self._link(item, item.leases)))
            elif view is not None and view.digest != item.digest and not self._replace:
                self._conflict(item)
            else:
                if sum(one.size for one in batch) + item.size > LARGE:
                    yield from self._send(batch)
                    batch = []
                batch.append(item)
                if len(item.leases) > 1 or self._ahead is None:
                    yield from self._send(batch)
                    batch = []
        yield from self._send(batch)
        if self._verify:
            yield from self._read_back([item for item in page if item.artifact_id not in self._left])
        self._counts.tell()

    def _has(self, item: Wanted, view: ArtifactMetadata | None) -> Plan[bool]:
        if view is not None and len(item.leases) == 1 and _same(view, item.leases[0]):
            return True
        there: list[Lease] = yield self._ask(lambda s: s.leases(item.artifact_id))
        return all(any(_same(one, lease) for one in there) for lease in item.leases)

    def _link(self, item: Wanted, leases: Sequence[Lease]) -> Plan[int]:
        """Take leases on content that is there; how many hold."""
        held = 0
        for lease in leases:
            ttl = self._ttl(lease)
            if ttl is not None and ttl <= 0:
                self._counts.expired += 1
                continue
            sent_at = time.time()
            stored = yield self._ask(partial(_linked, item.artifact_id, lease, ttl))
            held += yield from self._placed(lease, stored, ttl, sent_at, item.artifact_id)
        return held

    def _send(self, batch: Sequence[Wanted]) -> Plan[None]:
        """Contents that are not there, each with its first lease; then the other leases of the last."""
        live = []
        for item in batch:
            leases = [lease for lease in item.leases if (ttl := self._ttl(lease)) is None or ttl > 0]
            self._counts.expired += len(item.leases) - len(leases)
            if leases:
                live.append(item._replace(leases=leases))
        if len(live) == 1 and live[0].size >= LARGE:
            yield from self._send_large(live[0])
            return
        contents = yield from self._contents.whole(live)
        readable = []
        for item, content in zip(live, contents, strict=True):
            if content is None:
                self._unreadable(item)
            else:
                readable.append((item, content))
        for run_id, group in groupby(readable, key=lambda pair: pair[0].leases[0].run_id):
            yield from self._send_small(run_id, list(group))

    def _send_small(self, run_id: str | None, items: Sequence[tuple[Wanted, bytes]]) -> Plan[None]:
        ttls = [self._ttl(item.leases[0]) for item, _ in items]
        payloads = [
            Payload(
                content,
                item.leases[0].content_type,
                item.leases[0].tags,
                _explicit(item),
                None if ttl is None else max(ttl, _SHORTEST),
                item.leases[0].extra,
            )
            for (item, content), ttl in zip(items, ttls, strict=True)
        ]
        sent_at = time.time()
        stored = yield self._ask(lambda s: s.store_many(payloads, run_id=run_id, exact_ttl=True))
        for (item, content), view, ttl in zip(items, stored, ttls, strict=True):
            self._counts.bytes += len(content)
            yield from self._sent(item, view, ttl, sent_at)

    def _send_large(self, item: Wanted) -> Plan[None]:
        stream = yield from self._contents.stream(item)
        if stream is None:
            self._unreadable(item)
            return
        ttl, sent_at = self._ttl(item.leases[0]), time.time()
        try:
            view = yield self._ask(partial(_streamed, stream, item, ttl))
        finally:
            yield from self._contents.close(stream)
        self._counts.bytes += item.size
        yield from self._sent(item, view, ttl, sent_at)

    def _sent(self, item: Wanted, view: ArtifactMetadata, ttl: float | None, sent_at: float) -> Plan[None]:
        if view.artifact_id != item.artifact_id or (item.digest is not None and view.digest != item.digest):
            raise CorruptArtifactError(f"artifact {item.artifact_id} changed on its way: {view.digest} was stored")
        held = yield from self._placed(item.leases[0], view, ttl, sent_at, item.artifact_id)
        others = yield from self._link(item, item.leases[1:])
        self._counts.artifacts += bool(held or others)

    def _placed(
        self, lease: Lease, there: ArtifactMetadata | Lease, ttl: float | None, sent_at: float, artifact_id: str
    ) -> Plan[bool]:
        """See that a lease ends when it should, whatever our clock says; whether it still holds."""
        for _ in range(_CORRECTIONS):
            if ttl is None or there.expires is None or lease.expires is None:
                break
            # How long the call took makes the target's clock look further ahead than it is: the least is nearest.
            ahead = there.expires.timestamp() - ttl - sent_at
            self._ahead = ahead if self._ahead is None else min(self._ahead, ahead)
            if abs((there.expires - lease.expires).total_seconds()) <= _SAME:
                break
            ttl, sent_at = self._ttl(lease), time.time()
            if ttl is None or ttl <= 0:
                yield self._ask(lambda s: s.release(artifact_id, lease.run_id))
                self._counts.expired += 1
                return False
            yield self._ask(partial(_touched, artifact_id, lease, ttl))
            leases: list[Lease] = yield self._ask(lambda s: s.leases(artifact_id))
            there = next((one for one in leases if one.run_id == lease.run_id), lease)
        self._counts.leases += 1
        return True

    def _ttl(self, lease: Lease) -> float | None:
        """Seconds that are left of a lease; as long as the target's clock is not known, some at least."""
        if lease.expires is None:
            return None
        left = lease.expires.timestamp() - time.time() - (self._ahead or 0.0)
        return max(left, _AT_LEAST) if self._ahead is None else left

    def _read_back(self, page: Sequence[Wanted]) -> Plan[None]:
        small = [item.artifact_id for item in page if item.size < LARGE]
        found = yield self._ask(lambda s: s.load_many(small))
        self._counts.verified += sum(artifact is not None for artifact in found)
        for item in page:
            if item.size >= LARGE:
                yield from self._read_through(item.artifact_id)

    def _read_through(self, artifact_id: str) -> Plan[None]:
        reader = yield self._ask(lambda s: s.open(artifact_id))
        if reader is None:
            return
        try:
            while (yield self._ask(lambda _: reader.read(_PIECE))):
                pass
            self._counts.verified += 1
        finally:
            yield self._ask(lambda _: close(reader))

    def _ask(self, call: Any) -> Ask:
        return Ask(self._target, call)

    def _conflict(self, item: Wanted) -> None:
        self._counts.conflicts += 1
        self._not_placed(item)

    def _unreadable(self, item: Wanted) -> None:
        self._counts.unreadable += 1
        self._not_placed(item)

    def _not_placed(self, item: Wanted) -> None:
        self._left.add(item.artifact_id)
        self._counts.note(item.artifact_id)


def close(reader: Any) -> Any:
    """Close a reader of either face; what has to be awaited for it."""
    return reader.aclose() if hasattr(reader, "aclose") else reader.close()


def _same(there: Lease | ArtifactMetadata, wanted: Lease) -> bool:
    if (there.run_id, there.content_type, there.tags, there.extra) != (
        *(wanted.run_id, wanted.content_type, wanted.tags, wanted.extra),
    ):
        return False
    if there.expires is None or wanted.expires is None:
        return there.expires is wanted.expires
    return abs((there.expires - wanted.expires).total_seconds()) <= _SAME


def _explicit(item: Wanted) -> str | None:
    return None if is_default_id(item.artifact_id) else item.artifact_id


def _linked(artifact_id: str, lease: Lease, ttl: float | None, store: Any) -> Any:
    return store.link(artifact_id, artifact_id, **_details(lease, ttl))


def _touched(artifact_id: str, lease: Lease, ttl: float, store: Any) -> Any:
    return store.touch(artifact_id, ttl, lease.run_id)


def _streamed(stream: Any, item: Wanted, ttl: float | None, store: Any) -> Any:
    return store.store_file(stream, artifact_id=_explicit(item), **_details(item.leases[0], ttl))


def _details(lease: Lease, ttl: float | None) -> dict[str, Any]:
    return {
        "run_id": lease.run_id,
        "content_type": lease.content_type,
        "tags": lease.tags,
        "extra": lease.extra,
        "ttl": ttl,
        "exact_ttl": True,
    }
