"""`gc`, `check`: what crashes and evictions left behind, what does not fit together. `reindex`: indexes by label."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Annotated, Any, Final

import typer

from coatcheck import CheckReport, InvalidArtifactError, Problem
from coatcheck.humane import size

from .failures import CommandError
from .output import write_json
from .settings import Settings
from .table import Cell, Column, write_table
from .transfer import counting
from .values import parse_duration

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Grace = Annotated[
    str, typer.Option(metavar="TIME", help="Never remove what was used within this time: 90s, 15m, 2h, 7d.")
]

_PROBLEMS: Final = (
    Column("PROBLEM"),
    Column("FOUND", right=True),
    Column("REPAIRED", right=True),
    Column("CONTENT", rank=1, right=True),
    Column("SUCH AS", rank=2, least=8),
)


def gc(
    ctx: typer.Context,
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Remove what is found; without it, only report.")] = False,
    grace: Grace = "1h",
    as_json: AsJson = False,
) -> None:
    """Find what crashes and evictions left behind.

    Safe under full traffic.

    Exit code 1 if anything is left at the end.
    """
    with Settings.of(ctx).open() as store, key_count() as tell:
        report = store.gc(dry_run=not delete, grace=parse_duration(grace), progress=tell)
    _print(report, as_json=as_json)


def check(
    ctx: typer.Context,
    *,
    read_data: Annotated[bool, typer.Option("--read-data", help="Also read and verify every content.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what is certain.")] = False,
    grace: Grace = "1h",
    as_json: AsJson = False,
) -> None:
    """Find what does not fit together.

    It looks at artifacts, contents, indexes and expiries, and is safe under full traffic.

    Exit code 1 if anything is wrong at the end.
    """
    with Settings.of(ctx).open() as store, key_count() as tell:
        report = store.check(read_data=read_data, repair=repair, grace=parse_duration(grace), progress=tell)
    _print(report, as_json=as_json)


def reindex(
    ctx: typer.Context,
    *,
    tag: Annotated[list[str], typer.Option("--tag", metavar="NAME", help="Index the values of this tag.")] = [],  # noqa: B006
    has_tag: Annotated[
        list[str], typer.Option("--has-tag", metavar="NAME", help="Index which artifacts have this tag at all.")
    ] = [],  # noqa: B006
    content_type: Annotated[bool, typer.Option("--type", help="Index content types.")] = False,
    none: Annotated[bool, typer.Option("--none", help="Give up all indexes by label.")] = False,
) -> None:
    """Say what lists and counts find by an index.

    What is named is indexed afterwards, for artifacts that are there already too, and nothing else is.
    Workers go on meanwhile. It can be interrupted and repeated.
    """
    if none == bool(tag or has_tag or content_type):
        raise InvalidArtifactError("say what to index: --tag NAME, --has-tag NAME or --type; or --none")
    options: dict[str, Any] = {"index_tags": tag, "index_presence": has_tag, "index_content_type": content_type}
    with Settings.of(ctx).open(**options) as store, counting("artifacts looked at") as tell:
        typer.echo(f"artifacts looked at: {store.reindex(progress=tell):,}")


def _row(problem: Problem) -> tuple[Cell, ...]:
    left = problem.count - problem.repaired
    return (
        Cell(problem.kind, style="yellow" if left else "green"),
        Cell(str(problem.count), f"{problem.count:,}"),
        Cell(str(problem.repaired), f"{problem.repaired:,}"),
        Cell(str(problem.bytes), size(problem.bytes)),
        Cell(" ".join(problem.examples)),
    )


def key_count() -> AbstractContextManager[Callable[[int], None]]:
    """A running count of keys on the terminal, if stderr is one."""
    return counting("keys looked at")


def _print(report: CheckReport, *, as_json: bool) -> None:
    if as_json:
        write_json({**report.model_dump(), "ok": report.ok})
    elif not report.problems:
        typer.echo(f"nothing found in {report.looked_at:,} keys")
    else:
        write_table(_PROBLEMS, map(_row, report.problems))
    if not report.ok:
        raise CommandError("not everything is in order; docs/operations.md explains each problem")
