"""What commands print: JSON lines for programs, tables for a terminal, tab-separated lines for a pipe."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console

_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What Unicode calls letters, marks or symbols, and nobody sees: fillers, variation selectors, the blank of Braille."""

_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


def is_printable(text: str) -> bool:
    """Whether all of it is seen on a terminal: no control, format, direction or invisible characters."""
    return text.isprintable() and (text.isascii() or _INVISIBLE.search(text) is None)


def printable(text: str) -> str:
    """Text that a terminal does not obey, and that hides nothing: what isn't printable is shown as Python escapes."""
    return text if is_printable(text) else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that is no text, as Python reads it
        return f"\\x{ord(character) & 0xFF:02x}"
    return character if is_printable(character) else character.encode("unicode_escape").decode()


def has_colour(stream: IO[str]) -> bool:
    """Whether to colour what is written there: on terminals, unless NO_COLOR or FORCE_COLOR say otherwise."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


def styled(text: str, style: str, stream: IO[str]) -> str:
    """Text in one of a few styles, where the stream has colours."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style and has_colour(stream) else text


def console() -> Console:
    """The console on stderr: a terminal only if it is one, whatever FORCE_COLOR says, so that logs get no bars."""
    from rich.console import Console  # noqa: PLC0415  # only where there is something to show

    return Console(stderr=True, force_terminal=sys.stderr.isatty())


def write_line(text: str) -> None:
    """One line on stdout; `text` may come from anywhere."""
    sys.stdout.write(printable(text) + "\n")


def write_json(value: Any) -> None:
    """One line of JSON on stdout, in ASCII: whatever is in it reaches a terminal as escapes."""
    sys.stdout.write(json.dumps(value) + "\n")
