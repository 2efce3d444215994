"""`acl`: the command that makes a user of the server who may do no more than a store does."""

from typing import Annotated

import typer

from coatcheck.backends.redis.permissions import COMMANDS, EXTRAS, command

from .settings import Settings


def acl(
    ctx: typer.Context,
    *,
    role: Annotated[str, typer.Option(metavar="ROLE", help=f"What they may do: {', '.join(COMMANDS)}.")] = "worker",
    user: Annotated[str, typer.Option(metavar="NAME", help="Their name.")] = "coatcheck",
    extra: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help=f"What else they need: {', '.join(EXTRAS)}. May be given several times."),
    ] = None,
) -> None:
    """Print the command that makes a user of the server.

    It is ACL SETUSER, for this namespace; put a password in its place. No server is asked.
    """
    namespace = Settings.of(ctx).namespace or "coatcheck"
    typer.echo(command(role, namespace, user, extra or ()))  # type: ignore[arg-type]  # checked there
