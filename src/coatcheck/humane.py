"""Sizes and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_STEPS: Final = ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h"), (float("inf"), 86_400, "d"))


def size(count: int) -> str:
    """Bytes with three digits and a decimal unit: `1.23 MB`."""
    if count < 1000:
        return f"{count} B"
    value, power = float(count), 0
    while value >= 999.5 and power < len(_UNITS) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {_UNITS[power]}"


def moment(text: str) -> datetime:
    """A time as stores write it; without zone it is UTC."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def exact(text: str) -> str:
    """A time to the second, in UTC."""
    return moment(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def relative(text: str, now: datetime) -> str:
    """How far away a time is: `3 min ago`, `in 6 d`, `now`.

    An age is what has passed in full. What is to come is rounded, or a lease of three days would end "in 2 d" a moment
    after it was taken.
    """
    away = (moment(text) - now).total_seconds()
    if abs(away) < 1:
        return "now"
    half = 0.5 if away > 0 else 0.0
    counts = ((int(abs(away) / unit + half), end, unit, name) for end, unit, name in _STEPS)
    said = next(f"{count:,} {name}" for count, end, unit, name in counts if count * unit < end)
    return f"in {said}" if away > 0 else f"{said} ago"
