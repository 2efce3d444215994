"""The results as pictures. matplotlib is needed only here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .page import as_bytes, columns
from .results import Load, Point, Results, Row

WIDTH = 9.0  # inches
DPI = 100
FLOOR = "0.45"  # grey


def draw(results: Results, folder: Path) -> list[Path]:
    """Write every picture that the results have figures for.

    Raises:
        ImportError: There is no matplotlib.
    """
    import matplotlib as mpl  # noqa: PLC0415  # everything else works without it

    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "axes.axisbelow": True})
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    rows = [row for row in results.of(Row) if row.timings]
    if rows:
        drawn.append(_save(_ratios(rows), folder / "ratios.png"))
    if loads := results.of(Load):
        drawn.append(_save(_loads(loads), folder / "concurrency.png"))
    for curve in dict.fromkeys(point.part for point in results.of(Point)):
        points = [point for point in results.of(Point) if point.part == curve]
        drawn.append(_save(_curve(points), folder / f"{curve}.png"))
    return drawn


def _save(figure: Any, path: Path) -> Path:
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure.savefig(path, dpi=DPI)
    plt.close(figure)
    return path


def _figure(*size: float, **grid: Any) -> tuple[Any, Any]:
    import matplotlib.pyplot as plt  # noqa: PLC0415

    return plt.subplots(figsize=size, layout="constrained", **grid)


def _plain(axis: Any) -> None:
    """Numbers as people write them, at 1, 2 and 5 times each power of ten."""
    from matplotlib import ticker  # noqa: PLC0415

    axis.set_major_locator(ticker.LogLocator(base=10, subs=(1, 2, 5)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def _ratios(rows: Sequence[Row]) -> Any:
    """A line for each row: every candidate's median with its range, the floor, and the goal."""
    figure, axes = _figure(WIDTH, 1.2 + 0.42 * len(rows))
    names = columns(rows)
    for place, name in enumerate(names):
        found = [(y, row, timing) for y, row in enumerate(rows) for timing in row.timings[1:] if timing.name == name]
        spreads = [timing.ratios(row.timings[0]) for _, row, timing in found]
        medians = [spread.median for spread in spreads]
        reach = [[one.median - one.low for one in spreads], [one.high - one.median for one in spreads]]
        shift = 0.6 * ((place + 0.5) / len(names) - 0.5)
        ours = name.startswith("coatcheck")
        style = {"marker": "o" if ours else "x", "markersize": 6 if ours else 4, "linestyle": "none", "elinewidth": 0.8}
        axes.errorbar(medians, [y + shift for y, _, _ in found], xerr=reach, label=name, **style)
    goals = [(y, row.limit) for y, row in enumerate(rows) if row.limit is not None]
    axes.plot(
        [x for _, x in goals], [y for y, _ in goals], "|", color="black", ms=18, mew=1.5, label="goal: left of this"
    )
    axes.axvline(1, color=FLOOR, linewidth=1, label="floor")
    axes.set_yticks(range(len(rows)), [row.title for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("log")
    _plain(axes.xaxis)
    axes.set_xlabel("time, multiple of the floor (log scale; median, min to max)")
    axes.set_title("Next to redis-py and to other stores")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _loads(loads: Sequence[Load]) -> Any:
    """A panel for each work and transport: throughput by number of clients."""
    works = list(dict.fromkeys(load.work for load in loads))
    transports = list(dict.fromkeys(load.transport for load in loads))
    figure, panels = _figure(WIDTH, 3.0 * len(works), nrows=len(works), ncols=len(transports), squeeze=False)
    kinds = list(dict.fromkeys(load.how for load in loads))
    for line, work in zip(panels, works, strict=True):
        for axes, transport in zip(line, transports, strict=True):
            for color, how in enumerate(kinds):
                found = [one for one in loads if (one.work, one.transport, one.how) == (work, transport, how)]
                clients = [load.clients for load in found]
                for i, (name, style) in enumerate((("redis-py", "--"), ("coatcheck", "-"))):
                    rates = [load.per_second(load.timings[i]) for load in found]
                    axes.plot(clients, rates, style, marker="o", ms=4, color=f"C{color}", label=f"{name}, {how}")
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(sorted({load.clients for load in loads}), sorted({load.clients for load in loads}))
            _plain(axes.yaxis)
            axes.set_title(f"{work}, {transport} (log scale)")
            axes.set_xlabel("clients at once")
            axes.set_ylabel("operations per second")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _curve(points: Sequence[Point]) -> Any:
    """Time per operation, its multiple of the floor, and bytes where there are some."""
    timed = [point for point in points if point.timings]
    sized = [point for point in points if point.size is not None]
    figure, panels = _figure(WIDTH, 4.0, ncols=3 if sized else 2)
    for color, work in enumerate(dict.fromkeys(point.work for point in timed)):
        found = [point for point in timed if point.work == work]
        counts = [point.x for point in found]
        own, floor = ([point.timings[i].microseconds for point in found] for i in (1, 0))
        spreads = [point.timings[1].ratios(point.timings[0]) for point in found]
        panels[0].plot(counts, own, "-o", ms=3, color=f"C{color}", label=work)
        panels[0].plot(counts, floor, "--", color=f"C{color}", linewidth=0.8)
        panels[1].plot(counts, [one.median for one in spreads], "-o", ms=3, color=f"C{color}")
        panels[1].fill_between(
            counts, [one.low for one in spreads], [one.high for one in spreads], color=f"C{color}", alpha=0.12, lw=0
        )
    panels[0].plot([], [], "--", color="black", linewidth=0.8, label="the floor of each")
    panels[0].set_yscale("log")
    panels[0].set_ylabel("microseconds per operation")
    panels[1].axhline(1, color=FLOOR, linewidth=1)
    panels[1].set_yscale("log")
    panels[1].set_ylabel("multiple of the floor (median, min to max)")
    for work in dict.fromkeys(point.work for point in sized):
        found = [point for point in sized if point.work == work]
        panels[2].plot([point.x for point in found], [point.size for point in found], "-o", ms=3, color="black")
        panels[2].set_title(work, fontsize=9)
        panels[2].set_ylabel("bytes")
        panels[2].set_ylim(0, 1.2 * max(point.size for point in sized))
    panels[0].set_title("time (log scale)", fontsize=9)
    panels[1].set_title("next to the floor (log scale)", fontsize=9)
    for axes in panels[:2]:
        _plain(axes.yaxis)
    for axes in panels:
        axes.set_xscale("log", base=4 if "bytes" in points[0].axis else 10)
        axes.set_xlabel(points[0].axis)
        counts = sorted({point.x for point in points})
        if "bytes" in points[0].axis:
            axes.set_xticks(counts[::2], [as_bytes(x) for x in counts[::2]])
        else:
            axes.set_xticks(counts, [f"{x:,}" for x in counts])
        axes.minorticks_off()
    figure.suptitle(f"How cost grows with the {points[0].axis}")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure
