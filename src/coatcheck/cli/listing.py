"""`ls`: artifacts, or what a tree has."""

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Final

import typer

from coatcheck import ArtifactMetadata, ArtifactStore
from coatcheck.ids import TREE_TYPE
from coatcheck.search import By, Filters, Order
from coatcheck.trees import TreeEntry, open_tree

from . import complete
from .failures import CommandError, say
from .found import find_id, split_path
from .look import AsJson
from .output import write_json
from .settings import Settings
from .table import Cell, Column, write_table
from .values import parse_moment, parse_wanted_tags
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
_PAGE: Final = 1000  # artifacts that are asked for at a time
_ENTRIES: Final = (Column("MODE", rank=1), Column("SIZE", right=True), Column("PATH"))


class Sort(StrEnum):
    """What `ls` lists by."""

    STORED = "stored"
    SIZE = "size"
    EXPIRES = "expires"


_BY: Final[dict[Sort, By]] = {Sort.STORED: "time", Sort.SIZE: "size", Sort.EXPIRES: "expiry"}


def ls(
    ctx: typer.Context,
    *,
    ticket: Annotated[
        str | None,
        complete.part_argument("A tree, to list what it has; ID:PATH is a directory of it."),
    ] = None,
    run: Annotated[str | None, complete.run_option("What this run leases.")] = None,
    content_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Of this content type; text/* for all that begin so.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="K[=V]", help="With this tag, or any of that name; may be repeated.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stored then or later: 1h for an hour ago, or ISO 8601, UTC.")
    ] = None,
    before: Annotated[str | None, typer.Option(metavar="TIME", help="Stored then or earlier.")] = None,
    sort: Annotated[
        Sort, typer.Option(metavar="ORDER", help="stored, size or expires: newest, largest or last to end first.")
    ] = Sort.STORED,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    offset: Annotated[int, typer.Option(metavar="N", min=0, help="Leave out the first so many.")] = 0,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", show_default=False, help="Go on where the list before said.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="At most so many; 0: all.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List artifacts, or what a tree has.

    A terminal is shown the beginnings of ids, which are taken wherever an id is; a pipe gets whole ids, sizes in bytes
    and times in UTC, with tabs in between.
    """
    if after is not None and offset:
        raise typer.BadParameter("either a cursor or a number to leave out", param_hint="--after")
    filters: Filters = {
        "run_id": run,
        "content_type": content_type,
        "tags": parse_wanted_tags(tag or ()),
        "created_after": parse_moment(since),
        "created_before": parse_moment(before),
    }
    with Settings.of(ctx).open() as store:
        if ticket is not None:
            _list_tree(store, ticket, as_json=as_json)
            return
        listing = _Listing(store, filters, _BY[sort], "asc" if reverse else "desc")
        if after is None and (sort is Sort.SIZE or run is not None):
            views = listing.at_once(offset, limit)
        else:
            views = listing.by_pages(after, offset, limit)
        _write(views, as_json=as_json)
    if sys.stdout.isatty() and listing.more:
        say(f"{limit:,} artifacts, and there are more: {listing.more} goes on, --limit 0 lists all")


class _Listing:
    """Artifacts as they come.

    Attributes:
        more: The option that goes on where the list has ended; empty: it has ended.
    """

    def __init__(self, store: ArtifactStore, filters: Filters, by: By, order: Order) -> None:
        self._store = store
        self._filters = filters
        self._by = by
        self._order: Order = order
        self.more = ""

    def at_once(self, offset: int, limit: int) -> Iterator[ArtifactMetadata]:
        """For orders in which each page would look at all there is."""
        count = limit + 1 if limit else 0
        views = self._store.search(limit=count, offset=offset, by=self._by, order=self._order, **self._filters)
        if limit and len(views) > limit:
            self.more = f"--offset {offset + limit}"
        yield from views[:limit] if limit else views

    def by_pages(self, after: str | None, offset: int, limit: int) -> Iterator[ArtifactMetadata]:
        """In memory that does not grow."""
        left, skip = limit, offset
        while True:
            count = min(_PAGE, skip + left) if limit else _PAGE
            page = self._store.page(limit=count, after=after, by=self._by, order=self._order, **self._filters)
            yield from page.items[skip:]
            left -= len(page.items[skip:])
            skip = max(0, skip - len(page.items))
            after = page.next
            if after is None:
                return
            if limit and not left:
                self.more = f"--after {after}"
                return


def _write(views: Iterable[ArtifactMetadata], *, as_json: bool) -> None:
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


def _list_tree(store: ArtifactStore, text: str, *, as_json: bool) -> None:
    ticket, path = split_path(text)
    artifact_id = find_id(store, ticket)
    view = store.get_metadata(artifact_id)
    if view is None:
        raise CommandError(f"no artifact {artifact_id}")
    if view.content_type != TREE_TYPE and path is None:
        _write([view], as_json=as_json)
        return
    tree = open_tree(artifact_id, store)
    entries = (tree if path is None else tree.part(path.removesuffix("/"))).entries
    if as_json:
        for entry in entries:
            write_json(_plain(entry))
    else:
        write_table(_ENTRIES, map(_entry_row, entries))


def _entry_row(entry: TreeEntry) -> tuple[Cell, ...]:
    kind = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "link": stat.S_IFLNK}[entry.kind]
    path = entry.path
    shown = f"{path}/" if entry.kind == "directory" else f"{path} -> {entry.target}" if entry.target else path
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
