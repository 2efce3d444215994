"""`runs`: who leases how much, and until when."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
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
    names: Annotated[bool, typer.Option("--names", help="Names only: asks nothing of each run.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the runs that lease anything, with how much."""
    with Settings.of(ctx).open() as store:
        found = sorted(store.iter_runs(prefix), reverse=reverse and sort is Sort.RUN)
        if sort is not Sort.RUN:
            figures = sorted((store.run(run).stats() for run in found), key=_ORDER[sort], reverse=not reverse)
            found = [run.run_id for run in figures]
        shown = found[: limit or None]
        if names:
            write_table(_RUNS[:1], ((Cell(run),) for run in shown))
        else:
            _write(store, shown, as_json=as_json)
    if sys.stdout.isatty() and 0 < limit < len(found):
        say(f"{limit:,} of {len(found):,} runs: --limit 0 lists all")


def _write(store: ArtifactStore, shown: list[str], *, as_json: bool) -> None:
    """Figures of each run, when it is its turn: of none that has ended meanwhile."""
    figures = (figures for figures in (store.run(run).stats() for run in shown) if figures.artifacts)
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
