"""`runs`: who leases how much, and until when."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from . import complete
from .failures import say
from .look import AsJson
from .output import write_json
from .settings import Settings
from .table import Cell, Column, write_table
from .words import count_cell, size_cell, time_cell

if TYPE_CHECKING:
    from coatcheck import ArtifactStore, RunStats

_RUNS: Final = (
    Column("RUN", least=8),
    Column("ARTIFACTS", right=True),
    Column("SIZE", right=True),
    Column("NEWEST", rank=1),
    Column("OLDEST", rank=3),
    Column("NEXT END", rank=2),
    Column("LAST END", rank=4),
)


class Sort(StrEnum):
    """What `runs` lists by."""

    RUN = "run"
    ARTIFACTS = "artifacts"
    SIZE = "size"
    STORED = "stored"
    EXPIRES = "expires"


_AT_ONCE: Final = 1000  # runs that are asked for their figures
_NEVER: Final = "~"  # after any time
_ORDER: Final[dict[Sort, Callable[[RunStats], Any]]] = {
    Sort.ARTIFACTS: lambda run: run.artifacts,
    Sort.SIZE: lambda run: run.size_bytes,
    Sort.STORED: lambda run: run.newest or "",
    Sort.EXPIRES: lambda run: run.last_expiry or _NEVER,
}


def runs(
    ctx: typer.Context,
    *,
    prefix: Annotated[
        str | None,
        typer.Argument(
            metavar="BEGINNING", show_default=False, autocompletion=complete.runs, help="What their names begin with."
        ),
    ] = None,
    sort: Annotated[
        Sort,
        typer.Option(
            metavar="ORDER",
            help="run: by name; artifacts, size, stored, expires: the most, largest, newest or last to end first, "
            "which looks at all runs.",
        ),
    ] = Sort.RUN,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="At most so many; 0: all.")] = 1000,
    names: Annotated[bool, typer.Option("--names", help="Names only; by name, nothing is asked of each run.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the runs that lease anything, with how much."""
    with Settings.of(ctx).open() as store:
        found = sorted(store.iter_runs(prefix), reverse=reverse)
        most = limit or len(found)
        figures = figures_of(store, found[:most] if sort is Sort.RUN else found)
        if sort is not Sort.RUN:
            choose = heapq.nsmallest if reverse else heapq.nlargest
            figures = iter(choose(most, figures, key=_ORDER[sort]))
        if names:
            shown = found[:most] if sort is Sort.RUN else (run.run_id for run in figures)
            write_table(_RUNS[:1], ((Cell(run),) for run in shown))
        else:
            _write(figures, as_json=as_json)
    if sys.stdout.isatty() and 0 < limit < len(found):
        say(f"{limit:,} of {len(found):,} runs: --limit 0 lists all")


def figures_of(store: ArtifactStore, runs: Iterable[str]) -> Iterator[RunStats]:
    """Of runs, when it is their turn: of none that has ended meanwhile."""
    left = iter(runs)
    while some := list(islice(left, _AT_ONCE)):
        yield from (run for run in store.run_stats_many(some) if run.artifacts)


def _write(figures: Iterator[RunStats], *, as_json: bool) -> None:
    if as_json:
        for run in figures:
            write_json(run.model_dump())
    else:
        write_table(_RUNS, map(_row, figures))


def _row(run: RunStats) -> tuple[Cell, ...]:
    return (
        Cell(run.run_id),
        count_cell(run.artifacts),
        size_cell(run.size_bytes),
        time_cell(run.newest),
        time_cell(run.oldest),
        time_cell(run.next_expiry),
        time_cell(run.last_expiry),
    )
