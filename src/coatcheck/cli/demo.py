"""`demo`: the whole store at work."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .settings import Settings


def demo(
    ctx: typer.Context,
    *,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--input", metavar="DIR", help="Files to pass on; left out: the modules of Python's standard library."
        ),
    ] = None,
    producers: Annotated[int, typer.Option(min=2, max=64, metavar="N", help="Processes that store.")] = 2,
    consumers: Annotated[int, typer.Option(min=2, max=64, metavar="N", help="Processes that load.")] = 3,
    files: Annotated[int, typer.Option(min=1, metavar="N", help="How many files at most.")] = 4000,
    seed: Annotated[int, typer.Option(metavar="N", help="Chooses the files, if there are more.")] = 0,
) -> None:
    """Pass real files between processes, kill one, delete a run, let everything expire; check every byte.

    Runs on an embedded engine in a temporary directory. With --url (not by COATCHECK_URL) it runs on that server, under
    a namespace of its own which it removes in the end.
    """
    from coatcheck.demo.acts import Cast, play  # noqa: PLC0415  # heavy, and nothing to the other commands

    play(Settings.of(ctx).url, Cast(directory, producers, consumers, files, seed), Console())
