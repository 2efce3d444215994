"""`show`, `stats`: looking without touching."""

import sys
from typing import Annotated, Final

import typer

from coatcheck import Lease
from coatcheck.humane import exact

from . import complete
from .failures import CommandError
from .found import find_id
from .output import write_json
from .settings import Settings
from .table import Cell, Column, write_pairs, write_table
from .words import count_cell, extra_cell, run_cell, size_cell, tags_cell, time_cell

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, a line for each.")]

_LEASES: Final = (
    Column("LEASED BY", least=8),
    Column("STORED", rank=1),
    Column("EXPIRES"),
    Column("TYPE", rank=2, least=8),
    Column("TAGS", rank=3, least=8),
    Column("EXTRA", rank=4, least=8),
)


def show(
    ctx: typer.Context,
    *,
    ticket: Annotated[
        str,
        complete.id_argument(),
    ],
    as_json: AsJson = False,
) -> None:
    """Print an artifact's metadata and who leases it."""
    with Settings.of(ctx).open() as store:
        artifact_id = find_id(store, ticket)
        view = store.get_metadata(artifact_id)
        leases = store.leases(artifact_id)
    if view is None:
        raise CommandError(f"no artifact {artifact_id}")
    if as_json:
        write_json({**view.to_dict(), "leases": [lease.model_dump() for lease in leases]})
        return
    stored = time_cell(view.created_at)
    write_pairs(
        [
            ("id", Cell(view.artifact_id)),
            ("digest", Cell(view.digest or "unknown")),
            ("size", size_cell(view.size_bytes)._replace(shown=f"{view.size_bytes:,} bytes")),
            ("type", Cell(view.content_type)),
            ("stored", stored._replace(shown=f"{exact(view.created_at)}, {stored.shown}")),
        ]
    )
    if sys.stdout.isatty():
        sys.stdout.write("\n")
    write_table(_LEASES, map(_lease_row, leases))


def _lease_row(lease: Lease) -> tuple[Cell, ...]:
    return (
        run_cell(lease.run_id),
        time_cell(lease.created_at),
        time_cell(lease.expires_at),
        Cell(lease.content_type),
        tags_cell(lease.tags),
        extra_cell(lease.extra),
    )


def stats(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Print figures about the store; reads all metadata."""
    with Settings.of(ctx).open() as store:
        figures = store.stats()
    if as_json:
        write_json(figures.model_dump())
        return
    write_pairs(
        [
            ("artifacts", count_cell(figures.artifacts)),
            ("leases", count_cell(figures.leases)),
            ("runs", count_cell(figures.runs)),
            ("contents", count_cell(figures.contents)),
            ("bytes as leased", size_cell(figures.artifact_bytes)),
            ("bytes after sharing", size_cell(figures.content_bytes)),
            ("bytes as stored", size_cell(figures.stored_bytes)),
        ]
    )
