"""What views come to: counts, bytes, times, and how often each value occurs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .arguments import check_run_id, check_text
from .errors import InvalidArtifactError
from .model import RunStats, format_time, parse_time

if TYPE_CHECKING:
    from .model import ArtifactMetadata

_TAG = "tag:"


@dataclass(slots=True)
class Tally:
    """Sums over views. Times of store in microseconds, deadlines in milliseconds.

    Attributes:
        views: How many.
        size: Their bytes.
        oldest: The earliest time of store.
        newest: The latest one.
        first: The first deadline; `None`: there is none.
        last: The last one; `None` where one lasts for ever.
        values: How often each value occurs, of what they are counted by.
    """

    views: int = 0
    size: int = 0
    oldest: int = 0
    newest: int = 0
    first: int | None = None
    last: int | None = 0
    values: Counter[str | None] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Take others into account."""
        if other.views:
            self.oldest = min(self.oldest, other.oldest) if self.views else other.oldest
            self.newest = max(self.newest, other.newest)
            firsts = [first for first in (self.first, other.first) if first is not None]
            self.first = min(firsts, default=None)
            self.last = None if self.last is None or other.last is None else max(self.last, other.last)
            self.views += other.views
            self.size += other.size
            self.values.update(other.values)

    @classmethod
    def of(cls, view: ArtifactMetadata, by: str | None) -> Tally:
        """One view. `by`: see `check_field`."""
        created = parse_time(view.created_at)
        ends = None if view.expires_at is None else parse_time(view.expires_at) // 1000
        values: Counter[str | None] = Counter()
        if by == "content_type":
            values[view.content_type] = 1
        elif by == "run_id":
            values[view.run_id] = 1
        elif by is not None and by.removeprefix(_TAG) in view.tags:
            values[view.tags[by.removeprefix(_TAG)]] = 1
        return cls(1, view.size_bytes, created, created, ends, ends, values)

    def of_run(self, run_id: str) -> RunStats:
        """What a run's views come to."""
        return RunStats(
            run_id=check_run_id(run_id),
            artifacts=self.views,
            size_bytes=self.size,
            oldest=format_time(self.oldest) if self.views else None,
            newest=format_time(self.newest) if self.views else None,
            next_expiry=None if self.first is None else format_time(self.first * 1000),
            last_expiry=None if not self.last else format_time(self.last * 1000),
        )


def tag_of(by: str) -> str | None:
    """The name of the tag that is counted by, if it is one."""
    return by.removeprefix(_TAG) if by.startswith(_TAG) else None


def check_field(value: Any) -> str:
    """What views are counted by: `content_type`, `run_id`, or `tag:` and a name."""
    if value in ("content_type", "run_id"):
        return str(value)
    if isinstance(value, str) and value.startswith(_TAG):
        return _TAG + check_text(value.removeprefix(_TAG), "tag name")
    raise InvalidArtifactError(f"field must be 'content_type', 'run_id' or 'tag:' and a name, not {value!r}")
