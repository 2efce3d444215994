"""`ls`: artifacts, or what a tree has."""

import os
import stat
import sys
from typing import Annotated, Final

import typer

from coatcheck import ArtifactMetadata, ArtifactStore
from coatcheck.ids import TREE_TYPE
from coatcheck.trees import TreeEntry, open_tree

from .failures import CommandError, say
from .found import find_id
from .look import AsJson
from .output import write_json
from .settings import Settings
from .table import Cell, Column, write_table
from .values import parse_moment, parse_tags
from .words import id_cell, run_cell, size_cell, tags_cell, time_cell

_ARTIFACTS: Final = (
    Column("ID", least=12),
    Column("SIZE", right=True),
    Column("STORED", rank=1),
    Column("EXPIRES", rank=2),
    Column("RUN", rank=3, least=8),
    Column("TYPE", rank=4, least=8),
    Column("TAGS", rank=5, least=8),
)
_ENTRIES: Final = (Column("MODE", rank=1), Column("SIZE", right=True), Column("PATH"))


def ls(
    ctx: typer.Context,
    *,
    ticket: Annotated[
        str | None, typer.Argument(metavar="ID|TICKET", show_default=False, help="A tree, to list what it has.")
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="What this run leases.")] = None,
    content_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Of this content type.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="K=V", help="With this tag; may be repeated.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stored then or later: 1h for an hour ago, or ISO 8601, UTC.")
    ] = None,
    before: Annotated[str | None, typer.Option(metavar="TIME", help="Stored then or earlier.")] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Oldest first.")] = False,
    offset: Annotated[int, typer.Option(metavar="N", min=0, help="Leave out the first so many.")] = 0,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="At most so many; 0: all.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List artifacts, newest first, or what a tree has.

    A terminal is shown the beginnings of ids, which are taken wherever an id is; a pipe gets whole ids, sizes in bytes
    and times in UTC, with tabs in between.
    """
    with Settings.of(ctx).open() as store:
        if ticket is not None:
            _list_tree(store, find_id(store, ticket), as_json=as_json)
            return
        views = store.search(
            run_id=run,
            content_type=content_type,
            tags=parse_tags(tag or ()),
            created_after=parse_moment(since),
            created_before=parse_moment(before),
            offset=offset,
            limit=limit,
            order="asc" if reverse else "desc",
        )
    _write(views, as_json=as_json)
    if sys.stdout.isatty() and len(views) == limit:
        say(f"{limit:,} artifacts; there may be more: --offset {offset + limit} goes on, --limit 0 lists all")


def _write(views: list[ArtifactMetadata], *, as_json: bool) -> None:
    if as_json:
        for view in views:
            write_json(view.to_dict())
    else:
        write_table(_ARTIFACTS, map(_row, views))


def _row(view: ArtifactMetadata) -> tuple[Cell, ...]:
    return (
        id_cell(view.artifact_id),
        size_cell(view.size_bytes),
        time_cell(view.created_at),
        time_cell(view.expires_at),
        run_cell(view.run_id),
        Cell(view.content_type),
        tags_cell(view.tags),
    )


def _list_tree(store: ArtifactStore, artifact_id: str, *, as_json: bool) -> None:
    view = store.get_metadata(artifact_id)
    if view is None:
        raise CommandError(f"no artifact {artifact_id}")
    if view.content_type != TREE_TYPE:
        _write([view], as_json=as_json)
        return
    entries = open_tree(artifact_id, store).entries
    if as_json:
        for entry in entries:
            write_json(_plain(entry))
    else:
        write_table(_ENTRIES, map(_entry_row, entries))


def _entry_row(entry: TreeEntry) -> tuple[Cell, ...]:
    kind = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "link": stat.S_IFLNK}[entry.kind]
    path = _readable(entry.path)
    shown = (
        f"{path}/" if entry.kind == "directory" else f"{path} -> {_readable(entry.target)}" if entry.target else path
    )
    mode = stat.filemode(kind | (0o777 if entry.kind == "link" else entry.mode))
    if entry.kind != "file":
        return Cell(mode), Cell("-", style="dim"), Cell(shown)
    return Cell(mode), size_cell(entry.size), Cell(shown)


def _plain(entry: TreeEntry) -> dict[str, object]:
    plain: dict[str, object] = {"path": _readable(entry.path), "kind": entry.kind}
    if entry.kind == "link":
        return {**plain, "target": _readable(entry.target)}
    plain["mode"] = f"{entry.mode:03o}"
    if entry.kind == "directory":
        return plain
    return {**plain, "artifact_id": entry.artifact_id, "size_bytes": entry.size, "content_type": entry.content_type}


def _readable(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
