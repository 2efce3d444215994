"""`prune`: what is old, or of a kind, goes by policy."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

import coatcheck
from coatcheck import Removal
from coatcheck.humane import size

from . import complete
from .look import AsJson
from .output import write_json
from .remove import ask, counted
from .settings import Settings
from .table import Cell, Column, write_table
from .transfer import counting
from .values import parse_ago, parse_wanted_tags
from .words import count_cell, run_cell, size_cell, time_cell

if TYPE_CHECKING:
    from coatcheck import ArtifactMetadata, ArtifactStore
    from coatcheck.search import Filters

_PAGE: Final = 1000  # artifacts that are asked for at a time
_GROUPS: Final = (
    Column("RUN", least=8),
    Column("ARTIFACTS", right=True),
    Column("SIZE", right=True),
    Column("OLDEST", rank=2),
    Column("NEWEST", rank=1),
)


def prune(
    ctx: typer.Context,
    *,
    older_than: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not stored again for so long: 90s, 15m, 2h, 7d, 1w.")
    ] = None,
    keep_last: Annotated[
        int, typer.Option(metavar="N", min=0, help="The newest so many stay, of those that the other options name.")
    ] = 0,
    run: Annotated[
        str | None,
        complete.run_option("Only give up this run's leases; left out: for everyone."),
    ] = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Only give up leases that were taken without a run.")
    ] = False,
    content_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Of this content type; text/* for all that begin so.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="K[=V]", help="With this tag, or any of that name; may be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask; only a terminal is asked.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what is old, or of a kind, by policy.

    Shows what would go, by run, and asks. What is stored again meanwhile stays. Can be interrupted and repeated.
    """
    whose = coatcheck.ANONYMOUS if anonymous else run
    if older_than is None and not keep_last and whose is None and content_type is None and not tag:
        options = "--older-than, --keep-last, --run, --anonymous, --type or --tag"
        raise typer.BadParameter("say what may go", param_hint=options)
    if anonymous and run is not None:
        raise typer.BadParameter("either one run or none", param_hint="--anonymous")
    filters: Filters = {"run_id": whose, "content_type": content_type, "tags": parse_wanted_tags(tag or ())}
    bounds = [] if older_than is None else [parse_ago(older_than)]
    with Settings.of(ctx).open() as store:
        if keep_last:
            bounds.append(_before_the_last(store, keep_last, filters))
        if bounds:
            filters["created_before"] = min(bounds)
        groups = _Groups(store.iter_artifacts(**filters))
        if sys.stdout.isatty() and not as_json:
            write_table(_GROUPS, groups.rows())
        if not groups.artifacts or dry_run:
            removal = Removal(artifacts=groups.artifacts, size_bytes=groups.size, dry_run=dry_run)
        else:
            holder = "for those without a run" if anonymous else "for everyone" if run is None else f"for run {run}"
            frees = size(store.stats(**filters).stored_bytes)
            ask(f"Remove {counted(groups.artifacts)}, {size(groups.size)}, {frees} as stored, {holder}?", yes=yes)
            with counting("artifacts looked at") as tell:
                removal = store.delete_where(dry_run=False, progress=tell, **filters)
    if as_json:
        write_json(removal.model_dump())
    else:
        went = "would go" if removal.dry_run else "removed"
        typer.echo(f"{removal.artifacts} {went}, {size(removal.size_bytes)}")


def _before_the_last(store: ArtifactStore, count: int, filters: Filters) -> datetime:
    """A time before which nothing of the newest so many was stored."""
    after, left = None, count
    while True:
        page = store.page(limit=min(_PAGE, left), after=after, **filters)
        left -= len(page.items)
        if not left:
            return page.items[-1].created - timedelta(microseconds=1)
        after = page.next
        if after is None:  # there are not so many
            return datetime.min.replace(tzinfo=UTC)


class _Groups:
    """What would go, by run: in memory that grows with the number of runs only.

    Attributes:
        artifacts: How many.
        size: Their bytes, sharing and compression aside.
    """

    def __init__(self, views: Iterable[ArtifactMetadata]) -> None:
        self.artifacts = self.size = 0
        self._runs: dict[str | None, tuple[int, int, str, str]] = {}
        for view in views:
            count, bytes_, oldest, newest = self._runs.get(view.run_id, (0, 0, view.created_at, view.created_at))
            times = (min(oldest, view.created_at), max(newest, view.created_at))
            self._runs[view.run_id] = (count + 1, bytes_ + view.size_bytes, *times)
            self.artifacts += 1
            self.size += view.size_bytes

    def rows(self) -> Iterator[tuple[Cell, ...]]:
        """The largest first."""
        for run, (count, bytes_, oldest, newest) in sorted(
            self._runs.items(), key=lambda group: (-group[1][1], group[0] or "")
        ):
            yield run_cell(run), count_cell(count), size_cell(bytes_), time_cell(oldest), time_cell(newest)
