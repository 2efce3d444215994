"""`top`: a live view of the store."""

from __future__ import annotations

import heapq
import itertools
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coatcheck import InvalidArtifactError, RedisArtifactStore
from coatcheck.humane import size

from .output import printable
from .runs import figures_of
from .settings import Settings
from .table import Cell, Column, lines_of
from .values import parse_duration
from .words import count_cell, id_cell, run_cell, size_cell, time_cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coatcheck import ArtifactStore

_HOME: Final = "\x1b[H\x1b[J"
_HIDE_CURSOR: Final = "\x1b[?25l"
_SHOW_CURSOR: Final = "\x1b[?25h"

_WIDEST: Final = 200  # columns where there is no terminal
_LISTED: Final = 5  # runs, and artifacts that end next
_REST: Final = 10  # times as long as a look took is waited until the next one: figures read all metadata

_RUNS: Final = (Column("LARGEST RUNS", least=12), Column("SIZE", right=True), Column("ARTIFACTS", right=True))
_ENDING: Final = (
    Column("NEXT TO END", least=12),
    Column("SIZE", right=True),
    Column("EXPIRES"),
    Column("RUN", rank=1, least=8),
    Column("TYPE", rank=2, least=8),
)


def top(
    ctx: typer.Context,
    *,
    every: Annotated[
        str, typer.Option(metavar="TIME", help="How often to look; less often where looking takes long.")
    ] = "2s",
    count: Annotated[
        int, typer.Option("-n", "--count", metavar="N", min=0, help="Look so many times; 0: until Ctrl-C.")
    ] = 0,
) -> None:
    """Watch the store, until Ctrl-C.

    Shows how much is stored and how fast, what sharing saves, the memory of servers, the largest runs, and what ends
    next. Reads all metadata at each look. Where the output is no terminal, it looks once.
    """
    pause = parse_duration(every)
    if not pause:
        raise InvalidArtifactError("--every must be more than 0")
    terminal = sys.stdout.isatty()
    live = terminal and count != 1
    looks = range(count) if count else itertools.count() if live else range(1)
    with Settings.of(ctx).open() as store, _screen(live=live), suppress(KeyboardInterrupt):
        view, took = _View(store), 0.0
        for number in looks:
            if number:
                time.sleep(max(pause, _REST * took))
            began = time.monotonic()
            width, height = shutil.get_terminal_size()
            lines = view.lines(width if terminal else _WIDEST)
            took = time.monotonic() - began
            sys.stdout.write((_HOME if live else "") + "\n".join(lines[: height - 1] if live else lines) + "\n")
            sys.stdout.flush()


@contextmanager
def _screen(*, live: bool) -> Iterator[None]:
    """No cursor while it is painted."""
    if live:
        sys.stdout.write(_HIDE_CURSOR)
    try:
        yield
    finally:
        if live:
            sys.stdout.write(_SHOW_CURSOR)
            sys.stdout.flush()


class _View:
    """What is shown, and what has to be remembered from one look to the next."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._newest: str | None = None
        self._looked = 0.0

    def lines(self, width: int) -> list[str]:
        """What there is to see, in lines of that width."""
        stats = self._store.stats()
        pairs = [
            ("artifacts", ", ".join([f"{stats.artifacts:,}", _many(stats.leases, "lease"), _many(stats.runs, "run")])),
            *self._rate(),
            ("handed in", size(stats.artifact_bytes)),
            ("different", size(stats.content_bytes)),
            ("as stored", size(stats.stored_bytes)),
            ("ending", f"{stats.ends_within_hour:,} in an hour, {stats.ends_within_day:,} in a day"),
            *self._memory(),
        ]
        lines = [f"{name:<10} {value}"[:width] for name, value in pairs]
        for columns, table in ((_RUNS, self._largest()), (_ENDING, self._ending())):
            if table:
                lines += ["", *lines_of(columns, table, width)[0]]
        return lines

    def _rate(self) -> Iterator[tuple[str, str]]:
        """How many were stored since the last look."""
        newest = next((view.created_at for view in self._store.page(limit=1).items), None)
        now = time.monotonic()
        if self._looked:
            stored = self._store.count(created_after=self._newest) - (self._newest is not None)
            yield "stored", f"{max(0, stored) / (now - self._looked):,.1f} a second"
        self._newest, self._looked = newest, now

    def _memory(self) -> Iterator[tuple[str, str]]:
        """Of each server how much memory it uses, as far as it tells."""
        if not isinstance(self._store, RedisArtifactStore):
            return
        from coatcheck.doctor import ask  # noqa: PLC0415  # only servers are asked

        for server in ask(self._store, thorough=False).servers:
            used, limit = (int(server.info.get(name, 0)) for name in ("used_memory", "maxmemory"))
            if used:
                most = f"of {size(limit)} used" if limit else "used, no maxmemory"
                yield "memory", f"{size(used)} {most}, {printable(server.name)}"

    def _largest(self) -> list[tuple[Cell, ...]]:
        runs = figures_of(self._store, self._store.iter_runs())
        largest = heapq.nlargest(_LISTED, runs, key=lambda run: (run.size_bytes, run.artifacts))
        return [(run_cell(run.run_id), size_cell(run.size_bytes), count_cell(run.artifacts)) for run in largest]

    def _ending(self) -> list[tuple[Cell, ...]]:
        return [
            (
                id_cell(view.artifact_id),
                size_cell(view.size_bytes),
                time_cell(view.expires_at),
                run_cell(view.run_id),
                Cell(view.content_type),
            )
            for view in self._store.page(by="expiry", order="asc", limit=_LISTED).items
            if view.expires_at is not None
        ]


def _many(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
