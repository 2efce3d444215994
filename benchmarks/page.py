"""The results as lines of text, as tables of a Markdown page, and the part of a page that a program writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from .measure import Spread
from .results import Left, Load, Point, Results, Row

ABSENT = "\N{EN DASH}"

TIME = (
    "Time as a multiple of the floor's: median (min to max) of the rounds; lower is better. "
    f"{ABSENT}: the store has no such operation, or it was left out."
)
CPU = "The same in CPU time of client and server together, medians; it is the steadier figure:"
THROUGHPUT = (
    "Many clients at once: coatcheck's throughput over that of redis-py's own client at the same concurrency, "
    "median (min to max), and coatcheck's operations per second; higher is better. "
    "Processes have a client each, threads and tasks share one."
)


def replace_part(path: Path, part: str, text: str) -> None:
    """Write the part of a page between `<!-- part: begin -->` and `<!-- part: end -->`; the rest stays.

    Raises:
        ValueError: The page has no such part, or several.
    """
    page = path.read_text(encoding="utf-8")
    begin, end = (f"<!-- {part}: {mark} -->" for mark in ("begin", "end"))
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f"{path} needs one line {begin!r} and, below it, one line {end!r}")
    before, _, rest = page.partition(begin)
    after = rest.partition(end)[2]
    path.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")


def table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first line is its head."""
    head, *rest = lines
    return "\n".join(f"| {' | '.join(line)} |" if line else "" for line in [head, ["---"] * len(head), *rest])


def as_markdown(results: Results, plots: Sequence[str] = ()) -> str:
    """Everything that one run found; `plots`: paths of pictures, relative to the page."""
    rows, loads = results.of(Row), results.of(Load)
    timed, sized = [row for row in rows if row.timings], [row for row in rows if row.sizes]
    facts = [f"- {row.title}: {row.fact}." for row in rows if row.fact]
    parts = [_origin(results)]
    if timed:
        parts += [TIME, _rows(timed, _wall), CPU, _rows(timed, _cpu)]
    if sized:
        parts += ["Memory:", _rows(sized, _size)]
    if facts:
        parts.append("\n".join(facts))
    if loads:
        parts += [THROUGHPUT, _loads(loads)]
    parts += [f"![{Path(plot).stem}]({plot})" for plot in plots]
    if left := results.of(Left):
        parts.append("\n".join(["Not measured:", "", *dict.fromkeys(f"- {one.title}" for one in left)]))
    return "\n\n".join(parts)


def _origin(results: Results) -> str:
    about = results.about
    runs = {
        origin: [part for part in results.origins if results.origins[part] == origin]
        for origin in results.origins.values()
    }
    return (
        f"{about['server']}, {about['transport']} where nothing else is said; Python {about['python']}, "
        f"redis-py {about['redis-py']}; {about['cores']} cores, {about['cpu']}."
        + "".join(f" {origin}: {', '.join(parts)}." for origin, parts in runs.items())
    )


def as_text(found: Row | Load | Point | Left) -> str:
    """One result as a few lines, while they come in; times are of one operation."""
    lines = [f"\n{found.title}"]
    for timing in getattr(found, "timings", ()):
        floor = found.timings[0]
        cpu = "" if isinstance(found, Load) else f"; CPU x {number(timing.cpu_ratios(floor).median)}"
        lines.append(f"  {timing.name:44}{timing.microseconds:>14,.1f} us  x {spread(timing.ratios(floor))}{cpu}")
    lines += [f"  {name:44}{as_bytes(size):>14}" for name, size in getattr(found, "sizes", {}).items()]
    lines += [f"  {as_bytes(found.size)}"] if getattr(found, "size", None) is not None else []
    lines += [f"  {found.fact}"] if getattr(found, "fact", "") else []
    return "\n".join(lines)


def as_bytes(size: float) -> str:
    """A size for people."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(size) >= scale and (size % scale == 0 or scale > 2**10):
            return f"{size / scale:,.{0 if size % scale == 0 else 1}f} {unit}"
    return f"{size:,.0f} B"


Cell = Callable[[Row, str], str | None]


def _rows(rows: Sequence[Row], cell: Cell) -> str:
    names = columns(rows)
    lines = [["work", "goal", *names]]
    lines += [[row.title, row.goal or ABSENT, *(cell(row, name) or ABSENT for name in names)] for row in rows]
    return table(lines)


def columns(rows: Sequence[Row]) -> list[str]:
    """The candidates of some rows, coatcheck first; floors are not among them, unless they have sizes."""
    names = dict.fromkeys(timing.name for row in rows for timing in row.timings[1:])
    names |= dict.fromkeys(name for row in rows for name in row.sizes)
    return sorted(names, key=lambda name: (not name.startswith("coatcheck"), list(names).index(name)))


def _wall(row: Row, name: str) -> str | None:
    return next((spread(one.ratios(row.timings[0])) for one in row.timings[1:] if one.name == name), None)


def _cpu(row: Row, name: str) -> str | None:
    floor = row.timings[0]
    return next((number(one.cpu_ratios(floor).median) for one in row.timings[1:] if one.name == name), None)


def _size(row: Row, name: str) -> str | None:
    return as_bytes(row.sizes[name]) if name in row.sizes else None


def _loads(loads: Sequence[Load]) -> str:
    counts = sorted({load.clients for load in loads})
    lines = [["work", "transport", "clients are", *(f"{n} at once" for n in counts)]]
    cells = {
        (load.work, load.transport, load.how, load.clients): f"{spread(load.throughput_ratio())}, "
        f"{load.per_second(load.timings[1]):,.0f}/s"
        for load in loads
    }
    kinds = dict.fromkeys(key[:3] for key in cells)
    lines += [[*kind, *(cells.get((*kind, n), ABSENT) for n in counts)] for kind in kinds]
    return table(lines)


def spread(figures: Spread) -> str:
    """Median (min to max)."""
    return f"{number(figures.median)} ({number(figures.low)} to {number(figures.high)})"


def number(figure: float) -> str:
    """Two or three digits that mean something."""
    return f"{figure:,.0f}" if figure >= 20 else f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"
