"""What is there: what a run leases, all artifacts by time, runs, figures. Each asks all partitions at once and merges.

Exact whatever others do meanwhile (P12). An index is read by SCAN, which returns what is there all the time, or in the
order of stores, in which whatever is stored again comes last.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from ...model import ArtifactMetadata, StoreStats
from ...plan import Plan
from ..base import Listing
from .batching import PAGE, ROUND, ask_about
from .chunks import server_time
from .layout import records
from .layout.keys import Keys, listed, unquoted
from .layout.manifest import Manifest
from .scripts import calls
from .scripts.script import Command
from .session import Session, heard
from .walking import START, Cursor, Steps

_SCANNED: Final = 500  # members that one round trip asks for: a millisecond of a large index

_RESTARTS: Final = 1000  # where connections are made all the time, that is the reason why servers seem to change

_Place = tuple[Keys, bytes]
"""An artifact and where it lies."""


class Lists:
    """The operations that list.

    Args:
        session: The namespace.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def list_by_run(self, run_id: str) -> Plan[list[ArtifactMetadata]]:
        """See `Backend.list_by_run`."""
        members = yield from self._members(lambda keys: keys.run(run_id))
        places = [(keys, listed(name)) for keys, names in members for name in names]
        field = records.lease_field(run_id)
        views = yield from ask_about(
            self._session, places, lambda keys, ids, budget: calls.run_views(keys, ids, run_id, budget)
        )
        return [
            records.decode_view(name.decode(), view[0], field, view[1])
            for (_, name), view in zip(places, views, strict=True)
            if view is not None
        ]

    def list_runs(self) -> Plan[list[str]]:
        """See `Backend.list_runs`."""
        members = yield from self._members(lambda keys: keys.runs)
        now = (yield from self._session.read(server_time(self._session.partitions.all[0]))) / 1000
        live: set[bytes] = set()
        ending: list[tuple[Keys, bytes]] = []
        for keys, runs in members:
            for run, ends in runs.items():
                if ends > now + 100:
                    live.add(run)
                elif ends > now:  # indexes end up to a tenth of a second late: whether its last lease is live it says
                    ending.append((keys, run))
        lasts = yield from self._session.read_each(
            [
                Command(keys.slot, (b"ZRANGE", keys.run_of(run), b"-1", b"-1", b"WITHSCORES"), _last_score)
                for keys, run in ending
            ]
        )
        live |= {run for (_, run), last in zip(ending, lasts, strict=True) if last > now}
        return list(map(unquoted, live))

    def listing(self, *, newest_first: bool) -> Listing:
        """See `Backend.listing`."""
        return _ByTime(self._session, newest_first=newest_first)

    def stats(self) -> Plan[StoreStats]:
        """See `Backend.stats`."""
        members = yield from self._members(lambda keys: keys.created)
        places = [(keys, listed(name)) for keys, names in members for name in names]
        figures = yield from ask_about(self._session, places, lambda keys, ids, _: calls.figures(keys, ids))
        contents: dict[bytes, tuple[Keys, int, int, bool]] = {}
        artifacts = leases = artifact_bytes = 0
        for (keys, name), one in zip(places, figures, strict=True):
            if one is None:
                continue
            header = records.decode_header(one.header, name.decode())
            artifacts += 1
            leases += one.leases
            artifact_bytes += header.size * one.leases
            contents[header.digest] = (keys, header.size, one.stored, one.chunked)
        chunked = [(digest, keys) for digest, (keys, _, _, is_chunked) in contents.items() if is_chunked]
        manifests = yield from self._session.read_each(
            [
                Command(keys.slot, (b"GET", keys.content(records.content_id_of(digest))), _same)
                for digest, keys in chunked
            ]
        )
        stored_in_chunks = sum(
            chunk.length
            for (digest, _), sealed in zip(chunked, manifests, strict=True)
            if sealed is not None
            for chunk in Manifest.unseal(sealed, digest).chunks
        )
        return StoreStats(
            artifacts=artifacts,
            leases=leases,
            runs=len((yield from self.list_runs())),
            contents=len(contents),
            artifact_bytes=artifact_bytes,
            content_bytes=sum(size for _, size, _, _ in contents.values()),
            stored_bytes=sum(stored for _, _, stored, _ in contents.values()) + stored_in_chunks,
        )

    def _members(self, index: Callable[[Keys], bytes]) -> Plan[list[tuple[Keys, dict[bytes, float]]]]:
        """All members, with their scores, of an index of every partition.

        A SCAN returns what is there all the time, if it is one server that answers: where another one took over, or a
        slot was moved, that partition is begun anew.
        """
        session = self._session
        found: dict[Keys, dict[bytes, float]] = {keys: {} for keys in session.partitions.all}
        waiting = [(keys, Cursor(), object()) for keys in session.partitions.all]
        restarts = 0
        while waiting:
            count = b"%d" % max(100, _SCANNED // len(waiting))
            replies = yield from session.read_each(
                [
                    Command(keys.slot, (b"ZSCAN", index(keys), cursor.at, b"COUNT", count), _same)
                    for keys, cursor, _ in waiting
                ]
            )
            following = []
            for (keys, cursor, answered), (next_cursor, members) in zip(waiting, replies, strict=True):
                found[keys].update(records.scored(members))
                who = session.transport.incarnation(keys.slot)
                if cursor.at != START and who != answered and restarts < _RESTARTS:
                    restarts += 1
                    following.append((keys, Cursor(), who))
                    continue
                cursor.move(next_cursor)
                if not cursor.ended:
                    following.append((keys, cursor, who))
            waiting = following
        return list(found.items())


class _ByTime(Listing):
    """All artifacts by the time of their latest store, merged from all partitions.

    Times of store are unique in a partition, and grow with every store whatever the clock does. So what is stored again
    while this goes on has a time beyond all that were there at its beginning, and `late` finds it. Only giving up a
    lease lets the time of an artifact go back; listing oldest first therefore looks again at what it has passed.
    """

    def __init__(self, session: Session, *, newest_first: bool) -> None:
        self._session = session
        self._newest_first = newest_first
        self._walks = [_Walk(keys, newest_first) for keys in session.partitions.all]

    def next(self, count: int) -> Plan[list[ArtifactMetadata] | None]:
        return heard(self._next(count))

    def late(self) -> Plan[list[ArtifactMetadata]]:
        return heard(self._late())

    def _next(self, count: int) -> Plan[list[ArtifactMetadata] | None]:
        count = min(count, ROUND)
        size = count if len(self._walks) == 1 else max(10, 2 * count // len(self._walks))
        places: list[_Place] = []
        while len(places) < count:
            walks = [walk for walk in self._walks if not (walk.ahead or walk.ended)]
            if walks:
                walks = [walk for walk in self._walks if len(walk.ahead) < size and not walk.ended]
                pages = yield from self._session.read_each([walk.page(size) for walk in walks])
                for walk, page in zip(walks, pages, strict=True):
                    walk.add(page, ended=len(page) < size)
            heads = [walk for walk in self._walks if walk.ahead]
            if not heads:
                break
            walk = (max if self._newest_first else min)(heads, key=lambda walk: walk.ahead[0])
            places.append((walk.keys, walk.ahead.popleft()[1]))
        return (yield from self._views(places)) if places else None

    def _late(self) -> Plan[list[ArtifactMetadata]]:
        walks = [walk for walk in self._walks if walk.fetched > 1]
        places = yield from (self._stored_since(walks) if self._newest_first else self._passed(walks))
        return (yield from self._views(places)) if places else []

    def _stored_since(self, walks: Sequence[_Walk]) -> Plan[list[_Place]]:
        found = yield from self._beyond([(walk, walk.first) for walk in walks])
        return [(walk.keys, name) for walk, name in found]

    def _passed(self, walks: Sequence[_Walk]) -> Plan[list[_Place]]:
        """What has come back behind the place where the walk is now."""
        places: list[_Place] = []
        while walks:
            found = yield from self._beyond([(walk, None) for walk in walks])
            fresh = [(walk, name) for walk, name in found if name not in walk.seen]
            for walk, name in fresh:
                walk.seen.add(name)
                places.append((walk.keys, name))
            walks = list(dict.fromkeys(walk for walk, _ in fresh))
        return places

    def _beyond(self, waiting: list[tuple[_Walk, float | None]]) -> Plan[list[tuple[_Walk, bytes]]]:
        """What was stored after a time; oldest first only as far as the walk is now."""
        found: list[tuple[_Walk, bytes]] = []
        while waiting:
            size = min(PAGE, max(100, ROUND // len(waiting)))
            pages = yield from self._session.read_each(
                [_by_score(walk.keys, start, size, newest_first=False) for walk, start in waiting]
            )
            following: list[tuple[_Walk, float | None]] = []
            for (walk, start), page in zip(waiting, pages, strict=True):
                end = math.inf if self._newest_first else walk.last
                found += [(walk, name) for score, name in page if score <= end]
                if len(page) == size and page[-1][0] <= end:
                    if page[-1][0] == start:
                        raise ValueError("a list without end")
                    following.append((walk, page[-1][0]))
            waiting = following
        return found

    def _views(self, places: Sequence[_Place]) -> Plan[list[ArtifactMetadata]]:
        views = yield from ask_about(self._session, places, calls.metadata)
        return [
            records.decode_view(name.decode(), *view)
            for (_, name), view in zip(places, views, strict=True)
            if view is not None
        ]


class _Walk:
    """The way through one partition's catalog: what was read ahead, and how far."""

    def __init__(self, keys: Keys, newest_first: bool) -> None:
        self.keys = keys
        self.ahead: deque[tuple[float, bytes]] = deque()
        self.seen: set[bytes] = set()
        self.ended = False
        self.fetched = 0
        self.first = float("-inf")  # time of the newest that was there at the beginning
        self.last = float("inf" if newest_first else "-inf")
        self._newest_first = newest_first
        self._steps = Steps()

    def page(self, size: int) -> Command[list[tuple[float, bytes]]]:
        """Asks for more."""
        return _by_score(self.keys, self.last if self.fetched else None, size, newest_first=self._newest_first)

    def add(self, page: list[tuple[float, bytes]], *, ended: bool) -> None:
        """Take what came."""
        if page:
            if self.fetched == 0:
                self.first = page[0][0]
            self.last = page[-1][0]
            if self._steps.in_circles(self.last):
                raise ValueError("a list without end")
        self.ended = ended
        self.fetched += 1
        for score, name in page:
            if name not in self.seen:
                self.seen.add(name)
                self.ahead.append((score, name))


def _by_score(keys: Keys, start: float | None, size: int, *, newest_first: bool) -> Command[list[tuple[float, bytes]]]:
    """Times and ids beyond a time of store."""
    first, *to = (b"+inf", b"-inf", b"BYSCORE", b"REV") if newest_first else (b"-inf", b"+inf", b"BYSCORE")
    if start is not None:
        first = b"(%.17g" % start  # exact whatever it is: a damaged score must not hold up who goes on behind it
    arguments = (b"ZRANGE", keys.created, first, *to, b"LIMIT", b"0", b"%d" % size)

    def decode(reply: Any) -> list[tuple[float, bytes]]:
        return [(score, listed(name)) for name, score in records.scored(reply)]

    return Command(keys.slot, (*arguments, b"WITHSCORES"), decode)


def _last_score(reply: Any) -> float:
    return records.scored(reply)[0][1] if reply else 0.0


def _same(reply: Any) -> Any:
    return reply
