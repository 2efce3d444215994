"""`touch`, `expire`: ending leases later, or earlier."""

from typing import Annotated

import typer

import coatcheck

from . import complete
from .failures import CommandError
from .found import find_id
from .settings import Settings
from .values import parse_ttl


def touch(
    ctx: typer.Context,
    *,
    ticket: Annotated[
        str,
        complete.id_argument(),
    ],
    ttl: Annotated[str, typer.Option(metavar="TTL", help="From now on: 90, 90s, 15m, 2h, 7d, 1w, 1d12h or never.")],
    run: Annotated[
        str | None,
        complete.run_option("Whose lease; left out: the one without a run."),
    ] = None,
) -> None:
    """Let a lease end later, or earlier, than it would."""
    seconds = parse_ttl(ttl)
    with Settings.of(ctx).open() as store:
        artifact_id = find_id(store, ticket)
        if not store.touch(artifact_id, seconds, run):
            holder = "there is no lease without a run" if run is None else f"run {run} holds no lease"
            raise CommandError(f"{holder} on {artifact_id}")


def expire(
    ctx: typer.Context,
    *,
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", autocompletion=complete.runs, help="The run.", show_default=False)
    ] = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Instead of a run: leases that were taken without one.")
    ] = False,
    ttl: Annotated[
        str, typer.Option("--in", metavar="TTL", help="From now on: 90, 90s, 15m, 2h, 7d, 1w, 1d12h or never.")
    ],
) -> None:
    """Let all that a run leases end, later or earlier.

    What it stores from then on lasts as long as it says. What other runs lease stays.
    """
    if anonymous is (run is not None):
        raise typer.BadParameter("name a run, or say --anonymous", param_hint="RUN")
    seconds = parse_ttl(ttl)
    with Settings.of(ctx).open() as store:
        count = store.expire_run(coatcheck.ANONYMOUS if run is None else run, seconds)
    if not count:
        raise CommandError("there are no leases without a run" if run is None else f"run {run} leases nothing")
    typer.echo(f"{count} {'lease ends' if count == 1 else 'leases end'} {'never' if ttl == 'never' else f'in {ttl}'}")
