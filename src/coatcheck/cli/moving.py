"""`copy`, `export`, `import`: from store to store, and runs through files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from coatcheck import CorruptArtifactError
from coatcheck.arguments import DEFAULT, TtlOrDefault
from coatcheck.humane import size

from .failures import CommandError
from .maintain import AsJson
from .output import write_json, write_line
from .settings import Settings
from .transfer import counting
from .values import parse_ttl

Replace = Annotated[
    bool, typer.Option("--replace", help="Replace ids that stand for other content there; else they are left.")
]


def copy(
    ctx: typer.Context,
    *,
    source: Annotated[str, typer.Argument(metavar="SRC", help="The URL of the store to copy from.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="The URL of the store to copy to.")],
    run: Annotated[
        str | None, typer.Option(metavar="RUN", show_default=False, help="Only what this run leases.")
    ] = None,
    to_namespace: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="The namespace there; left out: that of --namespace."),
    ] = None,
    replace: Replace = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read everything back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy artifacts from any store to any other.

    Leases keep their runs, types, tags and deadlines.

    Stop it and start it again as you like: what is there already is not sent.

    Exit code 1 if ids were left, 4 if content is lost or corrupt in SRC.
    """
    from coatcheck.moving import copy as copied  # noqa: PLC0415  # who types something else need not wait for it

    settings = Settings.of(ctx)
    here, there = Settings(source, settings.namespace), Settings(target, to_namespace or settings.namespace)
    if here == there:
        raise typer.BadParameter("it is the same store as SRC", param_hint="DST")
    with here.open() as store, there.open(make=True) as other, _progress("copied") as tell:
        report = copied(store, other, run_id=run, replace=replace, verify=verify, progress=tell)
    _print(report, as_json=as_json)


def export(
    ctx: typer.Context,
    *,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file that does not exist yet; -: stdout.")],
) -> None:
    """Write what a run leases into one tar.

    It holds a manifest, the contents, and checksums for sha256sum.
    """
    from coatcheck.moving import export_run  # noqa: PLC0415

    with Settings.of(ctx).open() as store, _progress("written") as tell:
        if file == "-":
            export_run(store, run, sys.stdout.buffer, progress=tell)
        else:
            report = export_run(store, run, Path(file), progress=tell)
            write_line(f"{report.artifacts} artifacts, {size(report.bytes)}")


def import_(
    ctx: typer.Context,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What export wrote; -: stdin.")],
    run: Annotated[
        str | None, typer.Option(metavar="RUN", show_default=False, help="Lease it for this run instead.")
    ] = None,
    ttl: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            show_default=False,
            help="How long leases last: 90s, 15m, 2h, 7d or never; left out: until the deadlines they had.",
        ),
    ] = None,
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Store what export wrote into a tar.

    All of it is verified before anything is stored.

    Exit code 1 if ids were left.
    """
    from coatcheck.moving import import_run  # noqa: PLC0415

    lasting: TtlOrDefault = DEFAULT if ttl is None else parse_ttl(ttl)
    with Settings.of(ctx).open(make=True) as store, _progress("stored") as tell:
        archive = sys.stdin.buffer if file == "-" else Path(file)
        report = import_run(store, archive, run_id=run, ttl=lasting, replace=replace, progress=tell)
    _print(report, as_json=as_json)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[Any], None]]:
    with counting(f"artifacts {what}") as move:
        yield lambda report: move(report.artifacts + report.present)


def _print(report: Any, *, as_json: bool) -> None:
    if as_json:
        write_json({**report.model_dump(), "ok": report.ok})
    else:
        write_line(f"{report.artifacts:,} artifacts with {report.leases:,} leases, {size(report.bytes)} sent")
        for count, what in (
            (report.present, "were there already"),
            (report.verified, "were read back"),
            (report.expired, "leases had ended"),
        ):
            if count:
                write_line(f"{count:,} {what}")
    such = f", such as {' '.join(report.examples)}"
    if report.unreadable:
        raise CorruptArtifactError(f"{report.unreadable:,} artifacts could not be read in the source{such}")
    if report.conflicts:
        raise CommandError(f"{report.conflicts:,} ids stand for other content there and were left{such}: see --replace")
