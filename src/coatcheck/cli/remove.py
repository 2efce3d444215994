"""`rm` and `touch`: ending leases, now or later."""

import sys
from typing import Annotated

import typer

from coatcheck import ArtifactStore

from .failures import CommandError
from .output import printable
from .settings import Settings
from .values import parse_id, parse_ids, parse_ttl


def rm(
    ctx: typer.Context,
    *,
    tickets: Annotated[
        list[str] | None, typer.Argument(metavar="ID|TICKET", show_default=False, help="What to remove.")
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Only what this run holds.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask; only a terminal is asked.")] = False,
) -> None:
    """Remove artifacts, or a run's leases.

    With ids: remove these artifacts for every run.

    With ids and --run: give up that run's leases on them; what other runs lease stays.

    With --run alone: give up everything that the run leases; what other runs lease stays.
    """
    ids = parse_ids(tickets or ())
    if not ids and run is None:
        raise typer.BadParameter("name artifacts, a run, or both", param_hint="ID|TICKET")
    with Settings.of(ctx).open() as store:
        if not ids:
            _ask(f"Give up everything that run {run} holds?", yes=yes)
            count = store.delete_by_run(run or "")  # "" is for the store to refuse
            if not count:
                raise CommandError(f"run {run} holds nothing")
            typer.echo(f"{count} given up")
            return
        what = "1 artifact" if len(ids) == 1 else f"{len(ids)} artifacts"
        _ask(f"Remove {what} for {'every run' if run is None else f'run {run}'}?", yes=yes)
        missing = [artifact_id for artifact_id in ids if not _remove(store, artifact_id, run)]
    if len(missing) < len(ids):
        typer.echo(f"{len(ids) - len(missing)} {'removed' if run is None else 'given up'}")
    if missing:
        holder = "no artifact" if run is None else f"run {run} holds no"
        raise CommandError(f"{holder} {', '.join(missing)}")


def _remove(store: ArtifactStore, artifact_id: str, run: str | None) -> bool:
    return store.delete(artifact_id) if run is None else store.release(artifact_id, run)


def _ask(question: str, *, yes: bool) -> None:
    if not yes and sys.stdin.isatty():
        typer.confirm(printable(question), abort=True, err=True)


def touch(
    ctx: typer.Context,
    *,
    ticket: Annotated[str, typer.Argument(metavar="ID|TICKET", help="The artifact.")],
    ttl: Annotated[str, typer.Option(metavar="TTL", help="From now on: 90, 90s, 15m, 2h, 7d or never.")],
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Whose lease; left out: the anonymous one.")] = None,
) -> None:
    """Let a lease end later, or earlier, than it would."""
    artifact_id, seconds = parse_id(ticket), parse_ttl(ttl)
    with Settings.of(ctx).open() as store:
        if not store.touch(artifact_id, seconds, run):
            holder = "there is no anonymous lease" if run is None else f"run {run} holds no lease"
            raise CommandError(f"{holder} on {artifact_id}")
