"""`link`: another id for what is there."""

import json
import sys
from typing import Annotated

import typer

from coatcheck import DEFAULT

from . import complete
from .found import find_id
from .output import write_json
from .settings import Settings
from .values import parse_tags, parse_ttl


def link(
    ctx: typer.Context,
    *,
    ticket: Annotated[str, complete.id_argument()],
    artifact_id: Annotated[str, typer.Argument(metavar="NEW_ID", help="An id of your own.")],
    run: Annotated[str | None, complete.run_option("Who stores: a run, session or job.")] = None,
    ttl: Annotated[
        str | None, typer.Option(metavar="TTL", help="How long it is kept: 90, 90s, 15m, 2h, 7d, 1w, 1d12h or never.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="K=V", help="A tag; may be repeated.")] = None,
    if_absent: Annotated[bool, typer.Option("--if-absent", help="Only if NEW_ID stands for nothing.")] = False,
    if_digest: Annotated[
        str | None, typer.Option(metavar="SHA256", help="Only if NEW_ID stands for that content.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print metadata.")] = False,
) -> None:
    """Let another id stand for what is there.

    Prints the new ticket; nothing is sent. What NEW_ID stood for is replaced for everybody, unless a condition says
    otherwise. Exit code 1 if it did not hold.
    """
    with Settings.of(ctx).open() as store:
        view = store.link(
            find_id(store, ticket),
            artifact_id,
            run_id=run,
            tags=parse_tags(tag) if tag else None,
            ttl=DEFAULT if ttl is None else parse_ttl(ttl),
            if_absent=if_absent,
            if_digest=if_digest,
        )
    if as_json:
        write_json(view.to_dict())
    else:
        sys.stdout.write(f"{json.dumps(view.ref)}\n")
