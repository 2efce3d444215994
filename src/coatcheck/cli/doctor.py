"""`doctor`: what is wrong with the server of a store, or may go wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from coatcheck import InvalidArtifactError, RedisArtifactStore

from .failures import CommandError
from .maintain import AsJson, key_count
from .output import write_json, write_line
from .settings import Settings


def doctor(
    ctx: typer.Context,
    *,
    server: Annotated[
        str | None, typer.Argument(metavar="URL", show_default=False, help="The store, if it is not that of --url.")
    ] = None,
    thorough: Annotated[
        bool | None,
        typer.Option(
            "--thorough/--quick",
            help="Look at every key, or at none. Left out: at every one where artifacts are 20,000 at most.",
        ),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Also show what is as it should be.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with the server, and the cure.

    It changes nothing.

    Exit code 1 if there is something to do.
    """
    from coatcheck.doctor import examine  # noqa: PLC0415  # who types something else need not wait for it

    settings = Settings.of(ctx)
    if server is not None:
        settings = replace(settings, url=server)
    with settings.open() as store, key_count() as tell:
        if not isinstance(store, RedisArtifactStore):
            raise InvalidArtifactError("only stores on a server can be examined; `coatcheck check` looks at any store")
        diagnosis = examine(store, thorough=thorough, progress=tell)
    if as_json:
        write_json({**diagnosis.model_dump(), "ok": diagnosis.ok})
    else:
        for finding in diagnosis.findings:
            if finding.level != "good" or show_all:
                where = f" ({finding.server})" if finding.server else ""
                write_line(f"{finding.level:<8}  {finding.name}{where}: {finding.text}")
                if finding.cure:
                    write_line(f"{'':10}-> {finding.cure}")
        good = sum(finding.level == "good" for finding in diagnosis.findings)
        write_line(f"{good} of {len(diagnosis.findings)} findings are good")
    if not diagnosis.ok:
        raise CommandError("there is something to do; docs/operations.md explains each finding")
