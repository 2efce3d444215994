"""Runs: all of them in no order, or a page of them, the last to end first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....plan import Plan
from ....search import Place
from ...base import Listing
from ..batching import BATCH_BYTES, PAGE, batches
from ..layout import records
from ..layout.keys import Keys, quoted, unquoted
from ..scripts import calls
from ..scripts.plain import server_time
from ..scripts.script import Command
from ..session import Session, heard
from .scanning import MemberScan

_ROUNDED = 100  # ms that an index may end late, see `index_end` in Lua


Page = tuple[list[str], Place | None]
"""Runs, and a place behind which are more."""


class RunScan(Listing[str]):
    """Runs that hold a live lease; one comes for each partition that knows it.

    Args:
        session: The namespace.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._members = MemberScan(session, lambda keys: keys.runs)

    def next(self) -> Plan[Sequence[str] | None]:
        return heard(self._next())

    def _next(self) -> Plan[Sequence[str] | None]:
        found = yield from self._members.next()
        if found is None:
            return None
        now = (yield from self._session.read(server_time(self._session.partitions.all[0]))) / 1000
        live = yield from _live(self._session, [(keys, run, ends, now) for keys, run, ends in found])
        return [unquoted(run) for _, run, _ in live]


def runs_page(session: Session, prefix: str | None, start: Place | None, count: int) -> Plan[Page]:
    """See `Backend.runs_page`.

    A run stands where its last lease ends. Each partition knows its own; one round trip tells them all, so that a page
    is of one moment.
    """
    everywhere = session.partitions.all
    budget = BATCH_BYTES // len(everywhere)
    replies = yield from session.read_each(
        [calls.runs(keys, start, prefix, look=2 * PAGE + 1, most=count + 1, budget=budget) for keys in everywhere]
    )
    cut = max((one.place for one in replies if one.place is not None), default=None)
    known = [
        (keys, run, ends, one.now) for keys, one in zip(everywhere, replies, strict=True) for run, ends in one.found
    ]
    places: dict[bytes, float] = {}
    for _, run, ends in (yield from _live(session, known)):
        if cut is None or (ends, run) >= cut:
            places[run] = max(ends, places.get(run, ends))
    found = sorted(((ends, run) for run, ends in places.items()), reverse=True)
    end = found[count - 1] if len(found) > count else cut
    found = found[:count]
    if start is not None and len(everywhere) > 1:
        before = yield from _before(session, [run for _, run in found], start)
        found = [one for one in found if one[1] not in before]
    return [unquoted(run) for _, run in found], end


def knowing(session: Session, runs: Sequence[str]) -> Plan[list[tuple[Keys, str]]]:
    """Which partitions know which of these runs."""
    everywhere = session.partitions.all
    if len(everywhere) == 1:
        return [(everywhere[0], run) for run in runs]
    scores = yield from _scores(session, [quoted(run) for run in runs])
    return [(keys, run) for run, ends in zip(runs, scores, strict=True) for keys in ends]


def _before(session: Session, runs: Sequence[bytes], start: Place) -> Plan[set[bytes]]:
    """Those that stand before a place, or at it: in some partition they have leases that end later."""
    scores = yield from _scores(session, runs)
    return {run for run, ends in zip(runs, scores, strict=True) if any((end, run) >= start for end in ends.values())}


def _scores(session: Session, runs: Sequence[bytes]) -> Plan[list[dict[Keys, float]]]:
    """Where each of these runs is known, and when its index ends there."""
    found: list[dict[Keys, float]] = []
    everywhere = session.partitions.all
    for some in batches(runs, PAGE, lambda run: len(run) * len(everywhere)):
        replies = yield from session.read_each(
            [Command(keys.slot, (b"ZMSCORE", keys.runs, *some), list[Any]) for keys in everywhere]
        )
        found += [
            {keys: float(score) for keys, score in zip(everywhere, scores, strict=True) if score is not None}
            for scores in zip(*replies, strict=True)
        ]
    return found


def _live(session: Session, known: Sequence[tuple[Keys, bytes, float, float]]) -> Plan[list[tuple[Keys, bytes, float]]]:
    """Of partitions, runs, when their indexes end, and the time, those that hold a live lease there.

    Indexes end up to a tenth of a second late: whether the last lease of a run is live it says.
    """
    live = [(keys, run, ends) for keys, run, ends, now in known if ends > now + _ROUNDED]
    ending = [one for one in known if one[3] < one[2] <= one[3] + _ROUNDED]
    lasts = yield from session.read_each(
        [
            Command(keys.slot, (b"ZRANGE", keys.run_of(run), b"-1", b"-1", b"WITHSCORES"), _last_score)
            for keys, run, *_ in ending
        ]
    )
    live += [(keys, run, ends) for (keys, run, ends, now), last in zip(ending, lasts, strict=True) if last > now]
    return live


def _last_score(reply: Any) -> float:
    return records.scored(reply)[0][1] if reply else 0.0
