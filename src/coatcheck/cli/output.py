"""What commands print: JSON for programs, tables for a terminal, tab-separated lines for a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text


def printable(text: str) -> str:
    """Text that a terminal does not obey: control and format characters are shown as Python escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def human_size(count: int) -> str:
    """A number of bytes for people."""
    return str(decimal(count))


def human_time(moment: str | None) -> str:
    """An ISO 8601 time in UTC without its fraction and zone; `None` is no end."""
    return "never" if moment is None else moment[:19].replace("T", " ")


def human_tags(tags: Mapping[str, str]) -> str:
    """Tags in one line."""
    return " ".join(f"{name}={value}" for name, value in tags.items())


def write_line(text: str) -> None:
    """One line on stdout; `text` may come from anywhere."""
    sys.stdout.write(printable(text) + "\n")


def write_json(value: Any) -> None:
    """JSON on stdout, in ASCII: whatever is in it reaches a terminal as escapes."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def write_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows as a table on a terminal; elsewhere as lines of tab-separated fields, without a heading."""
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join(map(printable, row)) + "\n")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name == "SIZE" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(field)) for field in row))
    Console().print(table)
