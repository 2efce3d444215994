"""`touch`: ending leases later, or earlier."""

from typing import Annotated

import typer

from .failures import CommandError
from .found import find_id
from .settings import Settings
from .values import parse_ttl


def touch(
    ctx: typer.Context,
    *,
    ticket: Annotated[
        str, typer.Argument(metavar="ID|TICKET", help='An id, the beginning of one, or {"$artifact": "<id>"}.')
    ],
    ttl: Annotated[str, typer.Option(metavar="TTL", help="From now on: 90, 90s, 15m, 2h, 7d, 1w, 1d12h or never.")],
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Whose lease; left out: the one without a run.")
    ] = None,
) -> None:
    """Let a lease end later, or earlier, than it would."""
    seconds = parse_ttl(ttl)
    with Settings.of(ctx).open() as store:
        artifact_id = find_id(store, ticket)
        if not store.touch(artifact_id, seconds, run):
            holder = "there is no lease without a run" if run is None else f"run {run} holds no lease"
            raise CommandError(f"{holder} on {artifact_id}")
