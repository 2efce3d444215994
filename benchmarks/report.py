"""The results as lines of text, while they come in."""

from __future__ import annotations

from .measure import Timing
from .results import Left, Load, Point, Row

_NAME, _TIME = 46, 12


def heading() -> str:
    """The names of the columns."""
    return f"{'':{_NAME}}{'median':>{_TIME}}    {'x floor: min - median - max':>26}    {'CPU':>{_TIME}}   x floor"


def as_text(found: Row | Load | Point | Left) -> str:
    """One result as a few lines. Times are of one operation, or of the whole call where that handles many."""
    if isinstance(found, Left):
        return f"\n{'FAILED' if found.failed else 'left out'}: {found.name}: {found.reason}"
    if isinstance(found, Load):
        return _load_as_text(found)
    if isinstance(found, Point):
        title = f"{found.work}: {found.x:,} {found.axis}"
        if found.size is not None:
            return f"\n{title}: {found.size:,.0f} B"
        return "\n".join(["", title, *map(_timing_line, found.timings, [found.timings[0]] * len(found.timings))])
    lines = ["", found.title + (f"   (goal {found.goal})" if found.goal else "")]
    lines += [f"  {name:{_NAME - 2}}{as_bytes(size):>{_TIME}}" for name, size in found.sizes.items()]
    most = max((timing.ops for timing in found.timings), default=0)
    for timing in found.timings:
        fewer = f"   (measured with {timing.ops:,})" if found.as_batch and timing.ops < most else ""
        lines.append(_timing_line(timing, found.timings[0], most if found.as_batch else 1) + fewer)
    if found.without:
        lines.append(f"  not offered by: {', '.join(found.without)}")
    lines += [f"  {fact}" for fact in found.facts]
    return "\n".join(lines)


def _timing_line(timing: Timing, floor: Timing, factor: int = 1) -> str:
    low, middle, high = timing.ratios(floor)
    return (
        f"  {timing.name:{_NAME - 2}}{_duration(timing.microseconds * factor):>{_TIME}}"
        f"    {low:>8.2f} - {middle:>6.2f} - {high:>6.2f}"
        f"    {_duration(timing.cpu_microseconds * factor):>{_TIME}}   {timing.cpu_ratios(floor).median:>7.2f}"
    )


def _load_as_text(load: Load) -> str:
    floor, ours = load.timings
    low, middle, high = load.throughput_ratio()
    return (
        f"\n{load.work}, {load.clients} {load.how}, {load.transport}: "
        f"coatcheck {load.per_second(ours):,.0f}/s, redis-py {load.per_second(floor):,.0f}/s; "
        f"throughput x {low:.2f} - {middle:.2f} - {high:.2f}; CPU x {ours.cpu_ratios(floor).median:.2f}"
    )


def _duration(microseconds: float) -> str:
    if microseconds >= 1000:
        return f"{microseconds / 1000:,.2f} ms"
    return f"{microseconds:,.1f} us"


def as_bytes(size: float) -> str:
    """A size for people."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(size) >= scale and (size % scale == 0 or scale > 2**10):
            return f"{size / scale:,.{0 if size % scale == 0 else 1}f} {unit}"
    return f"{size:,.0f} B"
