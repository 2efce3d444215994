"""`rm`: giving up leases, or removing artifacts for everyone."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from coatcheck import ArtifactStore
from coatcheck.humane import size

from . import complete
from .failures import CommandError
from .found import find_ids
from .output import printable
from .settings import Settings


def rm(
    ctx: typer.Context,
    *,
    tickets: Annotated[
        list[str] | None,
        complete.id_argument("What to remove."),
    ] = None,
    run: Annotated[
        str | None,
        complete.run_option("Whose leases; left out: those without a run."),
    ] = None,
    for_everyone: Annotated[
        bool, typer.Option("--for-everyone", help="Remove the artifacts, whoever leases them.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask; only a terminal is asked.")] = False,
) -> None:
    """Give up leases; artifacts go with the last one.

    With ids: the leases of --run on them, or those without a run. What other runs lease stays.

    With --run alone: everything that the run leases.

    With ids and --for-everyone: the artifacts, for every run.
    """
    if for_everyone and run is not None:
        raise typer.BadParameter("either one run or everyone", param_hint="--for-everyone")
    if not tickets and (run is None or for_everyone):
        raise typer.BadParameter("name artifacts, a run by --run, or both", param_hint="ID|TICKET")
    with Settings.of(ctx).open() as store:
        if not tickets:
            _give_up_all(store, run or "", yes=yes)  # "" is for the store to refuse
            return
        ids = find_ids(store, tickets)
        removing = _Removing(store, ids, run, for_everyone=for_everyone)
        ask(removing.question(), yes=yes)
        removing.remove()


def _give_up_all(store: ArtifactStore, run: str, *, yes: bool) -> None:
    if asks(yes=yes):
        views = store.list_by_run(run)
        bytes_ = size(sum(view.size_bytes for view in views))
        if views:
            ask(f"Give up all that run {run} leases: {counted(len(views))}, {bytes_}?", yes=yes)
    count = store.delete_by_run(run)
    if not count:
        raise CommandError(f"run {run} leases nothing")
    typer.echo(f"{count} given up")


class _Removing:
    """Leases, or artifacts, that are to go by id."""

    def __init__(self, store: ArtifactStore, ids: Sequence[str], run: str | None, *, for_everyone: bool) -> None:
        self._store = store
        self._ids = ids
        self._run = run
        self._for_everyone = for_everyone

    def question(self) -> str:
        views = [view for view in self._store.metadata_many(self._ids) if view is not None]
        what = f"{counted(len(views))}, {size(sum(view.size_bytes for view in views))}"
        if len(views) == 1:
            what = f"{views[0].artifact_id}, {size(views[0].size_bytes)}"
        if not self._for_everyone:
            return f"Give up {self._whose()} on {what}?"
        leases = sum(len(self._store.leases(view.artifact_id)) for view in views)
        return f"Remove {what}, for everyone: {leases} {'lease' if leases == 1 else 'leases'}?"

    def remove(self) -> None:
        if self._for_everyone:
            gone = self._store.delete_many(self._ids)
        else:
            gone = [self._store.release(artifact_id, self._run) for artifact_id in self._ids]
        if any(gone):
            typer.echo(f"{sum(gone)} {'removed' if self._for_everyone else 'given up'}")
        missing = [artifact_id for artifact_id, went in zip(self._ids, gone, strict=True) if not went]
        if missing:
            raise CommandError(self._explain(missing))

    def _explain(self, missing: Sequence[str]) -> str:
        holders = [] if self._for_everyone else [lease.run_id or "-" for lease in self._store.leases(missing[0])]
        if not holders:
            return f"no artifact {', '.join(missing)}"
        others = f"run {holders[0]}" + (f" and {len(holders) - 1} more" if len(holders) > 1 else "")
        return (
            f"there is no lease of {'nobody' if self._run is None else f'run {self._run}'} on {', '.join(missing)}; "
            f"{others} has one: name a run by --run, or remove it --for-everyone"
        )

    def _whose(self) -> str:
        return "the lease without a run" if self._run is None else f"the lease of run {self._run}"


def counted(count: int) -> str:
    """A number of artifacts, in words."""
    return f"{count:,} {'artifact' if count == 1 else 'artifacts'}"


def asks(*, yes: bool) -> bool:
    """Whether there is somebody to ask."""
    return not yes and sys.stdin.isatty()


def ask(question: str, *, yes: bool) -> None:
    """Ask whoever is there, and end the command unless the answer is yes."""
    if asks(yes=yes):
        typer.confirm(printable(question), abort=True, err=True)
