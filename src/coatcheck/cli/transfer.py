"""Large content on its way: a bar with rate and remaining time, on a terminal only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from coatcheck import ArtifactReader

from .output import terminal

_PIECE: Final = 4 * 1024 * 1024


@contextmanager
def transfer_bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr, if that is a terminal.

    Args:
        what: What is shown while the size is known; before that, it says `reading`.

    Yields:
        The function that moves it: bytes done, bytes in all or `None`.
    """
    console = terminal()
    if not console.is_terminal:
        yield lambda _done, _total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)

        def move(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total, description="reading" if total is None else what)

        yield move


def copy(reader: ArtifactReader, target: BinaryIO, move: Callable[[int, int | None], None]) -> None:
    """Write what is left in a reader to a file, piece by piece."""
    while piece := reader.read(_PIECE):
        target.write(piece)
        move(reader.tell(), reader.size)
