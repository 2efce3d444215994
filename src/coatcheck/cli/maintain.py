"""`gc`, `check`: what crashes and evictions left behind, and what does not fit together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from coatcheck import CheckReport

from .failures import CommandError
from .output import human_size, printable, terminal, write_json, write_table
from .settings import Settings
from .values import parse_grace

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Grace = Annotated[
    str, typer.Option(metavar="TIME", help="Never remove what was used within this time: 90s, 15m, 2h, 7d.")
]


def gc(
    ctx: typer.Context,
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Remove what is found; without it, only report.")] = False,
    grace: Grace = "1h",
    as_json: AsJson = False,
) -> None:
    """Find what crashed writers and evictions left behind. Safe under full traffic.

    Exit code 1 if anything is left at the end.
    """
    with Settings.of(ctx).open() as store, key_count() as tell:
        report = store.gc(dry_run=not delete, grace=parse_grace(grace), progress=tell)
    _print(report, as_json=as_json)


def check(
    ctx: typer.Context,
    *,
    read_data: Annotated[bool, typer.Option("--read-data", help="Also read and verify every content.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what is certain.")] = False,
    grace: Grace = "1h",
    as_json: AsJson = False,
) -> None:
    """Find what does not fit together: artifacts, contents, indexes, expiries. Safe under full traffic.

    Exit code 1 if anything is wrong at the end.
    """
    with Settings.of(ctx).open() as store, key_count() as tell:
        report = store.check(read_data=read_data, repair=repair, grace=parse_grace(grace), progress=tell)
    _print(report, as_json=as_json)


@contextmanager
def key_count() -> Iterator[Callable[[int], None]]:
    """A running count on the terminal, if stderr is one."""
    console = terminal()
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} keys looked at"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda count: bar.update(task, completed=count)


def _print(report: CheckReport, *, as_json: bool) -> None:
    if as_json:
        write_json({**report.model_dump(), "ok": report.ok})
    elif not report.problems:
        typer.echo(f"nothing found in {report.looked_at:,} keys")
    else:
        rows = [
            (
                problem.kind,
                f"{problem.count:,}",
                f"{problem.repaired:,}",
                human_size(problem.bytes),
                printable(" ".join(problem.examples)),
            )
            for problem in report.problems
        ]
        write_table(("PROBLEM", "FOUND", "REPAIRED", "CONTENT", "SUCH AS"), rows)
    if not report.ok:
        raise CommandError("not everything is in order; docs/operations.md explains each problem")
