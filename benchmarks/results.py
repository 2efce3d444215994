"""What was measured, and how it is kept: a JSON file that tables and plots are made from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from .measure import Spread, Timing

T = TypeVar("T")
_SAME = ("server", "transport", "python", "redis-py", "cores", "cpu")


@dataclass
class Found:
    """What a measurement found; `part`: the measurement's name."""

    part: str = field(default="", kw_only=True)


@dataclass
class Row(Found):
    """One row of the table.

    Attributes:
        title: What is done.
        timings: The floor first.
        goal: As people read it.
        limit: The largest ratio to the floor, or the most bytes, that meet the goal.
        sizes: Bytes by candidate, where the row is about bytes.
        fact: What was found besides.
    """

    title: str
    timings: list[Timing] = field(default_factory=list)
    goal: str = ""
    limit: float | None = None
    sizes: dict[str, float] = field(default_factory=dict)
    fact: str = ""


@dataclass
class Load(Found):
    """Many clients at once: `how` they run, and the floor's and coatcheck's seconds per operation of one client."""

    work: str
    how: str
    transport: str
    clients: int
    timings: list[Timing]

    @property
    def title(self) -> str:
        """What is done, by whom."""
        return f"{self.work}, {self.clients} {self.how}, {self.transport}"

    def per_second(self, timing: Timing) -> float:
        """Operations of all clients together."""
        return self.clients / (timing.microseconds / 1e6)

    def throughput_ratio(self) -> Spread:
        """coatcheck's throughput over redis-py's; higher is better."""
        floor, ours = self.timings
        return floor.ratios(ours)


@dataclass
class Point(Found):
    """One point of the curve `part`: cost where there is `x` of something.

    Attributes:
        axis: What `x` counts, with its unit.
        x: How many.
        work: What is done.
        timings: The floor and coatcheck, per operation; or
        size: bytes on the server, as `work` says.
    """

    axis: str
    x: int
    work: str
    timings: list[Timing] = field(default_factory=list)
    size: float | None = None

    @property
    def title(self) -> str:
        """What is done, where."""
        return f"{self.work}: {self.x:,} {self.axis}"


@dataclass
class Left(Found):
    """What was not measured, and why; `failed` where that is nobody's wish."""

    reason: str
    failed: bool = False

    @property
    def title(self) -> str:
        """Its name and the reason."""
        return f"{self.part}: {self.reason}"


@dataclass
class Results:
    """Everything that was found.

    Attributes:
        about: Where and how.
        found: In the order of the parts.
        origins: What kind of run a part is of, and how busy the machine was.
    """

    about: dict[str, Any]
    found: list[Any] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)

    def of(self, kind: type[T]) -> list[T]:
        """What is of one kind."""
        return [one for one in self.found if isinstance(one, kind)]

    def keep(self, earlier: Results, parts: Sequence[str]) -> None:
        """Take over what an earlier run found, but for what this one has measured; `parts`: all, in order.

        Raises:
            ValueError: That was another server, client or machine.
        """
        other = [key for key in _SAME if self.about.get(key) != earlier.about.get(key)]
        if other:
            raise ValueError(f"the earlier run is not to be mixed with this one: it has another {', '.join(other)}")
        found = [one for one in earlier.found if one.part not in self.origins and one.part in parts] + self.found
        origins = earlier.origins | self.origins
        self.found = sorted(found, key=lambda one: parts.index(one.part))
        self.origins = {part: origins[part] for part in parts if part in origins}

    def save(self, path: Path) -> None:
        """Write JSON, with the seconds of every round."""
        path.parent.mkdir(parents=True, exist_ok=True)
        found = [{"kind": type(one).__name__, **asdict(one)} for one in self.found]
        path.write_text(json.dumps({**vars(self), "found": found}, ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote."""
        results = cls(**json.loads(path.read_text(encoding="utf-8")))
        kinds = {kind.__name__: kind for kind in (Row, Load, Point, Left)}
        for one in results.found:
            if "timings" in one:
                one["timings"] = [Timing(**timing) for timing in one["timings"]]
        results.found = [kinds[one.pop("kind")](**one) for one in results.found]
        return results
