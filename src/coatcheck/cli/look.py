"""`show`, `ls`, `runs`, `stats`: looking without touching."""

import sys
from typing import Annotated

import typer

from coatcheck import ArtifactMetadata, Lease

from .failures import CommandError
from .output import human_size, human_tags, human_time, write_json, write_line, write_table
from .settings import Settings
from .values import parse_id, parse_tags

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def show(
    ctx: typer.Context,
    *,
    ticket: Annotated[str, typer.Argument(metavar="ID|TICKET", help='An id, or {"$artifact": "<id>"}.')],
    as_json: AsJson = False,
) -> None:
    """Print an artifact's metadata and who leases it."""
    artifact_id = parse_id(ticket)
    with Settings.of(ctx).open() as store:
        view = store.get_metadata(artifact_id)
        leases = store.leases(artifact_id)
    if view is None:
        raise CommandError(f"no artifact {artifact_id}")
    if as_json:
        write_json({**view.to_dict(), "leases": [lease.model_dump() for lease in leases]})
        return
    write_table(
        ("", ""),
        [
            ("id", view.artifact_id),
            ("digest", view.digest or "unknown"),
            ("size", f"{view.size_bytes} bytes"),
            ("type", view.content_type),
        ],
    )
    write_table(("LEASED BY", "STORED", "EXPIRES", "TYPE", "TAGS"), map(_lease_row, leases))


def _lease_row(lease: Lease) -> tuple[str, ...]:
    return (
        "-" if lease.run_id is None else lease.run_id,
        human_time(lease.created_at),
        human_time(lease.expires_at),
        lease.content_type,
        human_tags(lease.tags),
    )


def ls(
    ctx: typer.Context,
    *,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="What this run leases.")] = None,
    content_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Of this content type.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="K=V", help="With this tag; may be repeated.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Stored then or later; ISO 8601, UTC.")] = None,
    before: Annotated[str | None, typer.Option(metavar="TIME", help="Stored then or earlier.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many; 0: all.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List artifacts, newest first."""
    with Settings.of(ctx).open() as store:
        views = store.search(
            run_id=run,
            content_type=content_type,
            tags=parse_tags(tag or ()),
            created_after=since,
            created_before=before,
            limit=limit,
        )
    if as_json:
        write_json([view.to_dict() for view in views])
        return
    write_table(("ID", "SIZE", "TYPE", "RUN", "STORED", "EXPIRES", "TAGS"), map(_row, views))
    if sys.stdout.isatty() and len(views) == limit:
        typer.echo(f"the newest {limit}; there may be more: --limit 0 lists all", err=True)


def _row(view: ArtifactMetadata) -> tuple[str, ...]:
    return (
        view.artifact_id,
        human_size(view.size_bytes),
        view.content_type,
        "-" if view.run_id is None else view.run_id,
        human_time(view.created_at),
        human_time(view.expires_at),
        human_tags(view.tags),
    )


def runs(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """List the runs that lease anything."""
    with Settings.of(ctx).open() as store:
        found = store.list_runs()
    if as_json:
        write_json(found)
    else:
        for run in found:
            write_line(run)


def stats(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Print figures about the store; reads all metadata."""
    with Settings.of(ctx).open() as store:
        figures = store.stats()
    if as_json:
        write_json(figures.model_dump())
        return
    write_table(
        ("", ""),
        [
            ("artifacts", f"{figures.artifacts:,}"),
            ("leases", f"{figures.leases:,}"),
            ("runs", f"{figures.runs:,}"),
            ("contents", f"{figures.contents:,}"),
            ("bytes as leased", human_size(figures.artifact_bytes)),
            ("bytes after sharing", human_size(figures.content_bytes)),
            ("bytes as stored", human_size(figures.stored_bytes)),
        ],
    )
