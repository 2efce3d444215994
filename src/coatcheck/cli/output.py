"""What commands print: JSON for programs, tables for a terminal, tab-separated lines for a pipe."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What Unicode calls letters, marks or symbols, and nobody sees: fillers, variation selectors, the blank of Braille."""

_WIDEST: Final = 40  # characters to which fields are filled up; longer ones push the rest of their line aside


def is_printable(text: str) -> bool:
    """Whether all of it is seen on a terminal: no control, format, direction or invisible characters."""
    return text.isprintable() and (text.isascii() or _INVISIBLE.search(text) is None)


def printable(text: str) -> str:
    """Text that a terminal does not obey, and that hides nothing: what isn't printable is shown as Python escapes."""
    if is_printable(text):
        return text
    return "".join(c if is_printable(c) else c.encode("unicode_escape").decode() for c in text)


def terminal() -> Console:
    """The console on stderr: a terminal only if it is one, whatever FORCE_COLOR says, so that logs get no bars."""
    return Console(stderr=True, force_terminal=sys.stderr.isatty())


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
    """Rows in columns on a terminal; elsewhere as lines of tab-separated fields, without a heading.

    A terminal that is too narrow wraps the lines: an id is never cut, and can be copied.
    """
    fields = [[printable(field) for field in row] for row in rows]
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(row) + "\n" for row in fields)
        return
    widths = [min(max(map(cell_len, column)), _WIDEST) for column in zip(columns, *fields, strict=True)]
    console = Console()
    for row, style in [(columns, "bold"), *((row, "") for row in fields)]:
        line = "  ".join(field + " " * (width - cell_len(field)) for field, width in zip(row, widths, strict=True))
        if line.strip():
            console.print(Text(line.rstrip()), style=style, soft_wrap=True)
