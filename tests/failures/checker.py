"""Does a history keep the promises?

Each lease has one caller, who does one thing after another; so between its calls it is known whether the lease is held.
What a call of unknown outcome did is not known, until the next one on that lease is acknowledged.
An artifact has to be there throughout a call if some lease was held throughout, and has to be absent if none could be.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from .history import ABSENT, OK, UNKNOWN, Event, History

WRONG = "wrong"
"""Bytes that nobody stored under that id."""
HALF = "half"
"""Metadata without content, or content that makes no sense."""
ERROR = "error"
"""An error that none of these calls may raise."""
LOST = "lost"
"""An acknowledged store that is not there, by loss or by another run's deletion."""
RISEN = "risen"
"""There again, although its deletion was acknowledged."""
STALE = "stale"
"""As if lost or risen, but a later look found what was acknowledged."""
UNCLEAR = "unclear"
"""As if lost or risen, but stored or deleted again before another look could tell."""

_ERRORS = {"CorruptArtifactError": HALF, "ArtifactLostError": HALF}
_DROPS = ("release", "delete", "delete_by_run")


class Problem(NamedTuple):
    """One broken promise: a kind, and who saw it."""

    kind: str
    seen: Event
    cause: Event | None = None


class Sight(NamedTuple):
    """What a call saw of an artifact, or of one run's lease on it."""

    event: Event
    present: bool
    digest: str | None = None


@dataclass
class Report:
    """What became of a history."""

    operations: int
    unknown: int
    longest: float  # seconds that a caller waited
    problems: list[Problem] = field(default_factory=list)

    def count(self, kind: str) -> int:
        return sum(problem.kind == kind for problem in self.problems)

    def __str__(self) -> str:
        found = ", ".join(f"{self.count(kind)} {kind}" for kind in (WRONG, HALF, ERROR, LOST, RISEN, UNCLEAR, STALE))
        return (
            f"{self.operations} operations, {self.unknown} of unknown outcome, {found}; "
            f"longest wait {self.longest:.1f} s"
        )


def check(history: History) -> Report:
    """Look at a history that ends with a look at everything, when all was well again."""
    events = sorted(history, key=attrgetter("start"))
    report = Report(
        operations=len(events),
        unknown=sum(event.outcome == UNKNOWN for event in events),
        longest=max((event.end - event.start for event in events), default=0.0),
    )
    for event in events:
        if event.outcome not in (OK, ABSENT, UNKNOWN):
            report.problems.append(Problem(_ERRORS.get(event.outcome, ERROR), event))
    report.problems += _Checker(events).problems()
    return report


class _Checker:
    def __init__(self, events: list[Event]) -> None:
        self.effects: dict[tuple[str, str], list[Event]] = defaultdict(list)  # by id and run, in order
        self.runs: dict[str, set[str]] = defaultdict(set)  # that ever stored an id
        self.ids: dict[str, set[str]] = defaultdict(set)  # that a run ever stored
        self.stores: dict[str, list[Event]] = defaultdict(list)  # by id
        self.sights: dict[tuple[str, str | None], list[Sight]] = defaultdict(list)
        for event in events:
            self._effect(event)
        for event in events:
            self._sight(event)

    def _effect(self, event: Event) -> None:
        if event.outcome not in (OK, ABSENT, UNKNOWN):
            return
        if event.op == "store":
            self.runs[event.id].add(event.run)
            self.ids[event.run].add(event.id)
            self.stores[event.id].append(event)
            self.effects[event.id, event.run].append(event)
        elif event.op == "release":
            self.effects[event.id, event.run].append(event)
        elif event.op == "delete":
            for run in self.runs[event.id]:
                self.effects[event.id, run].append(event)
        elif event.op == "delete_by_run":
            for name in self.ids[event.run]:
                self.effects[name, event.run].append(event)

    def _sight(self, event: Event) -> None:
        if event.outcome not in (OK, ABSENT):
            return
        if event.op == "load":
            self.sights[event.id, None].append(Sight(event, event.outcome == OK, event.digest))
        elif event.op == "touch":
            self.sights[event.id, event.run].append(Sight(event, event.outcome == OK))
        elif event.op == "list_by_run":
            for name in self.ids[event.run] | event.listed:
                self.sights[name, event.run].append(Sight(event, name in event.listed))

    def problems(self) -> Iterable[Problem]:
        found: dict[Event | None, Problem] = {}  # each loss once, whoever sees it
        for (name, run), sights in self.sights.items():
            for number, sight in enumerate(sights):
                kind, cause = self._judge(name, run, sight)
                if kind in (LOST, RISEN):
                    kind = self._later(name, sight, sights[number + 1 :]) or kind
                if kind is not None:
                    found.setdefault(cause or sight.event, Problem(kind, sight.event, cause))
        return found.values()

    def _judge(self, name: str, run: str | None, sight: Sight) -> tuple[str | None, Event | None]:
        """What is wrong with a sight, and the call that promised otherwise."""
        runs = self.runs[name] if run is None else {run}
        if not sight.present:
            promises = [store for one in runs if (store := self._held(name, one, sight.event))]
            return (LOST, max(promises, key=attrgetter("start"))) if promises else (None, None)
        stored = [
            one
            for one in self.stores[name]
            if one.start < sight.event.end and one.run in runs and sight.digest in (None, one.digest)
        ]
        if not stored:
            return WRONG, None
        if sight.digest is not None:
            for other in self.stores[name]:
                if other.outcome != UNKNOWN and stored[-1].end <= other.start and other.end <= sight.event.start:
                    return LOST, other  # what it replaced is there instead
        drops = [self._free(name, one, sight.event) for one in runs]
        return (RISEN, drops[0]) if all(drops) else (None, None)

    def _before(self, name: str, run: str, event: Event) -> Iterable[Event]:
        effects = self.effects[name, run]
        return reversed(effects[: bisect_left(effects, event.end, key=attrgetter("start"))])

    def _held(self, name: str, run: str, event: Event) -> Event | None:
        """The acknowledged store by which a lease was held throughout a call."""
        for effect in self._before(name, run, event):
            if effect.op in _DROPS:
                return None
            if effect.outcome != UNKNOWN and effect.end <= event.start:
                return effect
        return None

    def _free(self, name: str, run: str, event: Event) -> Event | None:
        """The acknowledged deletion since which nobody can have had a lease until a call ended."""
        for effect in self._before(name, run, event):
            if effect.op == "store":
                return None
            if effect.outcome != UNKNOWN and effect.end <= event.start:
                return effect
        return None

    def _later(self, name: str, sight: Sight, later: list[Sight]) -> str | None:
        """What the looks after a sight say of it; `None` if they confirm it to the end."""
        for other in later:
            between = [
                effect
                for run in self.runs[name]
                for effect in self.effects[name, run]
                if effect.end > sight.event.start and effect.start < other.event.end
            ]
            if (other.present, other.digest) == (sight.present, sight.digest):
                if any((effect.op in _DROPS) != sight.present for effect in between):
                    return UNCLEAR
            elif any((effect.op in _DROPS) != other.present for effect in between):
                return UNCLEAR
            elif other.event.start >= sight.event.end:
                return STALE
        return None
