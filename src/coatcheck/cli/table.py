"""Tables that fit the terminal. In a pipe each row is a line of tab-separated fields, whole and without a heading."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from .failures import say
from .output import printable, styled

_GAP: Final = 2


class Cell(NamedTuple):
    """A field.

    Attributes:
        plain: As programs read it.
        shown: As people do; empty: the same.
        style: How it is shown.
    """

    plain: str
    shown: str = ""
    style: str = ""


class Column(NamedTuple):
    """A column.

    Attributes:
        name: Its heading.
        rank: Where the terminal is too narrow, columns of the highest rank go first; those of rank 0 stay.
        least: Where the terminal is too narrow, fields are cut to no less than this; 0: never.
        right: Whether it is set to the right, as numbers are.
    """

    name: str
    rank: int = 0
    least: int = 0
    right: bool = False


def write_table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> None:
    """Print rows; what a terminal has no room for is said on stderr."""
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join(printable(cell.plain) for cell in row) + "\n")
        return
    table = list(rows)
    if not table:
        say("nothing there")
        return
    width = shutil.get_terminal_size().columns
    lines, hidden = lines_of(columns, table, width)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    if hidden:
        sys.stdout.flush()
        say(f"left out, as the terminal has {width} columns: {', '.join(hidden)}")


def lines_of(columns: Sequence[Column], table: Sequence[Sequence[Cell]], width: int) -> tuple[list[str], list[str]]:
    """The lines of a table, with its heading, and the headings of columns that were left out."""
    table = [[cell._replace(shown=printable(cell.shown or cell.plain)) for cell in row] for row in table]
    widths = fit(columns, table, width)
    headings = [Cell(column.name, column.name, "bold") for column in columns]
    lines = [
        (" " * _GAP)
        .join(
            styled(_filled(cell.shown, wide, right=column.right), cell.style, sys.stdout)
            for column, cell, wide in zip(columns, row, widths, strict=True)
            if wide
        )
        .rstrip()
        for row in (headings, *table)
    ]
    return lines, [column.name for column, wide in zip(columns, widths, strict=True) if not wide]


def write_pairs(pairs: Iterable[tuple[str, Cell]]) -> None:
    """Print names with their values, one a line."""
    if not sys.stdout.isatty():
        for name, cell in pairs:
            sys.stdout.write(f"{name}\t{printable(cell.plain)}\n")
        return
    lines = [(name, printable(cell.shown or cell.plain), cell.style) for name, cell in pairs]
    widest = max(len(name) for name, _, _ in lines)
    for name, value, style in lines:
        sys.stdout.write(f"{styled(name.ljust(widest), 'bold', sys.stdout)}  {styled(value, style, sys.stdout)}\n")


def fit(columns: Sequence[Column], table: Sequence[Sequence[Cell]], width: int) -> list[int]:
    """How wide each column becomes; 0: it is left out."""
    natural = [max(_length(column.name), *(_length(row[i].shown) for row in table)) for i, column in enumerate(columns)]
    left = list(range(len(columns)))
    while True:
        widths = {i: natural[i] for i in left}
        excess = sum(widths.values()) + _GAP * (len(left) - 1) - width
        while excess > 0:
            wide = [i for i in left if 0 < columns[i].least < widths[i]]
            if not wide:
                break
            widths[max(wide, key=widths.__getitem__)] -= 1
            excess -= 1
        if excess <= 0 or all(columns[i].rank == 0 for i in left):
            return [widths.get(i, 0) for i in range(len(columns))]
        left.remove(max(left, key=lambda i: (columns[i].rank, i)))


def _filled(text: str, width: int, *, right: bool) -> str:
    """Text in exactly that many columns of a terminal, cut if it has to be."""
    length = _length(text)
    if length > width:
        while length > width - 1:
            length -= _length(text[-1])
            text = text[:-1]
        text, length = text + "…", length + 1
    space = " " * (width - length)
    return space + text if right else text + space


def _length(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415  # only where letters may be wide

    return cell_len(text)
