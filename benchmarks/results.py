"""What was measured, and how it is kept: a JSON file that tables and plots are made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from .measure import Spread, Timing

T = TypeVar("T")
_SAME = ("server", "transport", "python", "redis-py", "cores", "cpu")


@dataclass
class Row:
    """One row of the table.

    Attributes:
        name: What `--only` looks at.
        title: What is done.
        timings: The floor first.
        goal: As people read it.
        limit: The largest ratio to the floor, or the most bytes, that meet the goal.
        sizes: Bytes by candidate, where the row is about bytes.
        without: The candidates that cannot do it.
        facts: What was found besides.
        as_batch: Its operations are parts of one call.
    """

    name: str
    title: str
    timings: list[Timing] = field(default_factory=list)
    goal: str = ""
    limit: float | None = None
    sizes: dict[str, float] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    as_batch: bool = False


@dataclass
class Load:
    """Many clients at once: `how` they run, and the floor's and coatcheck's seconds per operation of one client."""

    work: str
    how: str
    transport: str
    clients: int
    timings: list[Timing]

    def per_second(self, timing: Timing) -> float:
        """Operations of all clients together."""
        return self.clients / (timing.microseconds / 1e6)

    def throughput_ratio(self) -> Spread:
        """coatcheck's throughput over redis-py's; higher is better."""
        floor, ours = self.timings
        return floor.ratios(ours)


@dataclass
class Point:
    """One point of a curve: cost where there is `x` of something.

    Attributes:
        curve: Its name, for `--only` and for files.
        title: What grows.
        axis: What `x` counts, with its unit.
        work: What is done.
        timings: The floor and coatcheck, per operation; or
        size: bytes on the server, as `work` says.
    """

    curve: str
    title: str
    axis: str
    x: int
    work: str
    timings: list[Timing] = field(default_factory=list)
    size: float | None = None


@dataclass
class Left:
    """What was not measured, and why; `failed` where that is nobody's wish."""

    name: str
    reason: str
    failed: bool = False


@dataclass
class Results:
    """Everything that one run found. `about`: where and how; `complete`: it was not interrupted."""

    about: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    complete: bool = False

    def add(self, found: Row | Load | Point | Left) -> None:
        """Take in one result."""
        for kind, group in ((Row, self.rows), (Load, self.loads), (Point, self.points), (Left, self.left)):
            if isinstance(found, kind):
                group.append(found)  # type: ignore[attr-defined]

    def keep(self, earlier: Results, measured: Collection[str]) -> None:
        """Take over what an earlier run found, but for the parts that this one has measured.

        Raises:
            ValueError: That was another server, client or machine.
        """
        other = [key for key in _SAME if self.about.get(key) != earlier.about.get(key)]
        if other:
            raise ValueError(f"the earlier run is not to be mixed with this one: it has another {', '.join(other)}")
        kept: dict[str, None] = {}

        def others(found: Iterable[T], name: Callable[[T], str]) -> list[T]:
            chosen = [one for one in found if name(one) not in measured]
            kept.update(dict.fromkeys(map(name, chosen)))
            return chosen

        self.rows = others(earlier.rows, lambda row: row.name) + self.rows
        self.loads = others(earlier.loads, lambda _: "concurrency") + self.loads
        self.points = others(earlier.points, lambda point: point.curve) + self.points
        self.left = [one for one in earlier.left if one.name not in measured] + self.left
        older = [
            {**about, "parts": [name for name in about["parts"] if name not in measured]}
            for about in earlier.about.get("kept", [])
        ]
        own = [name for name in kept if not any(name in about["parts"] for about in older)]
        about = {key: value for key, value in earlier.about.items() if key != "kept"}
        self.about["kept"] = [one for one in ({**about, "parts": own}, *older) if one["parts"]]

    def sort(self, parts: Iterable[str]) -> None:
        """Bring the rows into the order of the parts, with whose names theirs begin."""
        order = sorted(enumerate(parts), key=lambda part: -len(part[1]))  # the longest name that fits

        self.rows.sort(key=lambda row: next((i for i, name in order if row.name.startswith(name)), len(order)))

    def save(self, path: Path) -> None:
        """Write JSON: the seconds of every round, and for readers the ratios that follow from them."""
        path.parent.mkdir(parents=True, exist_ok=True)
        document = asdict(self)
        for group, kept in ((self.rows, "rows"), (self.loads, "loads"), (self.points, "points")):
            for found, written in zip(group, document[kept], strict=True):
                for timing, entry in zip(found.timings, written["timings"], strict=True):
                    entry["ratios"] = timing.ratios(found.timings[0])._asdict()
                    entry["cpu_ratios"] = timing.cpu_ratios(found.timings[0])._asdict()
        text = json.dumps(document, default=str, ensure_ascii=False, indent=1)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote."""
        document = json.loads(path.read_text(encoding="utf-8"))
        results = cls(document["about"], left=[Left(**one) for one in document["left"]], complete=document["complete"])
        for kind, key in ((Row, "rows"), (Load, "loads"), (Point, "points")):
            for entry in document[key]:
                timings = [Timing(one["name"], one["ops"], one["wall"], one["cpu"]) for one in entry.pop("timings")]
                results.add(kind(**entry, timings=timings))  # type: ignore[arg-type]
        return results
