"""The results, for people and for programs."""

from __future__ import annotations

from typing import Any

from .rows import Outcome

_NAME, _TIME = 42, 14


def heading() -> str:
    """The names of the columns."""
    return f"{'':{_NAME}}{'median':>{_TIME}}    {'x floor: min - median - max':>26}"


def as_text(outcome: Outcome) -> str:
    """One row as a few lines. Times are of one operation, or of the whole batch where the row is about batches."""
    goal = f"   (goal {outcome.goal})" if outcome.goal else ""
    lines = ["", f"{outcome.title}{goal}"]
    if outcome.sizes is not None:
        lines += [f"  {name:{_NAME - 2}}{size:>{_TIME - 2},.0f} B" for name, size in outcome.sizes.items()]
    most = max((timing.ops for timing in outcome.timings), default=0)
    for timing in outcome.timings:
        low, middle, high = timing.ratios(outcome.timings[0])
        time = _duration(timing.microseconds * (most if outcome.as_batch else 1))
        fewer = f"   (measured with {timing.ops:,})" if outcome.as_batch and timing.ops < most else ""
        ratios = f"{low:>8.2f} - {middle:>6.2f} - {high:>6.2f}"
        lines.append(f"  {timing.name:{_NAME - 2}}{time:>{_TIME}}    {ratios}{fewer}")
    if outcome.without:
        lines.append(f"  not offered by: {', '.join(outcome.without)}")
    return "\n".join(lines)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """One row as JSON: times in microseconds per operation, ratios to the floor, sizes in bytes."""
    result: dict[str, Any] = {"title": outcome.title, "goal": outcome.goal, "not_offered_by": list(outcome.without)}
    if outcome.sizes is not None:
        result["overhead_bytes"] = outcome.sizes
    if outcome.timings:
        result["rounds"] = len(outcome.timings[0].seconds)
        result["candidates"] = [
            {
                "name": timing.name,
                "operations": timing.ops,
                "microseconds": timing.microseconds,
                **dict(zip(("min", "median", "max"), timing.ratios(outcome.timings[0]), strict=True)),
            }
            for timing in outcome.timings
        ]
    return result


def _duration(microseconds: float) -> str:
    if microseconds >= 1000:
        return f"{microseconds / 1000:,.2f} ms"
    return f"{microseconds:,.1f} us"
