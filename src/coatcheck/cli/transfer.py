"""Large content on its way: a bar with rate and remaining time, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from .output import console

if TYPE_CHECKING:
    from coatcheck import ArtifactReader

_PIECE: Final = 4 * 1024 * 1024


@contextmanager
def transfer_bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr, if that is a terminal.

    Args:
        what: What is shown while the size is known; before that, it says `reading`.

    Yields:
        The function that moves it: bytes done, bytes in all or `None`.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.progress import (  # noqa: PLC0415  # only where there is somebody to look at it
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def move(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total, description="reading" if total is None else what)

        yield move


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """A running count on stderr, if that is a terminal; yields the function that moves it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import (  # noqa: PLC0415  # only where there is somebody to look at it
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda count: bar.update(task, completed=count)


def copy(reader: ArtifactReader, target: BinaryIO, move: Callable[[int, int | None], None]) -> None:
    """Write what is left in a reader to a file, piece by piece."""
    while piece := reader.read(_PIECE):
        target.write(piece)
        move(reader.tell(), reader.size)
