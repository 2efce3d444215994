"""How a command fails: one line on stderr, an exit code, never a traceback.

What a line says may come from anywhere: from a server, a file's name, or a URL that was typed in a wrong place.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
from collections.abc import Iterable
from typing import Any, Final, NoReturn, Protocol, runtime_checkable

import typer
from typer.core import TyperGroup

from coatcheck import (
    ArtifactConflictError,
    ArtifactDecodeError,
    ArtifactError,
    ArtifactLostError,
    ArtifactNotFoundError,
    CorruptArtifactError,
    InvalidArtifactError,
    MissingExtraError,
)

from .output import printable, styled

NOT_DONE: Final = 1
USAGE: Final = 2
UNAVAILABLE: Final = 3
CORRUPT: Final = 4

_SECRETS: Final = (
    (re.compile(r":/+.*@", re.DOTALL), "://***@"),
    (re.compile(r"(:/+[^\s'\"?]*)\?[^\s'\"]*"), r"\1?…"),
    (re.compile(r":/+[^\s'\"/@\[]*:(?![0-9]{1,5}(?:[\s'\"/?,:]|$))[^\s'\"]*"), "://…"),
)
"""Where in a URL, or what a path makes of it, a password may be: before the host, in options, or instead of a port."""

_TYPED: Final = tuple(
    (re.compile(name), typed)
    for name, typed in (
        (r"\brun_id\b", "--run"),
        (r"\bcontent_type\b", "--type"),
        (r"\bartifact_id\b", "id"),
        (r"\bcreated_after\b", "--since"),
        (r"\bcreated_before\b", "--before"),
        (r"\bmust be ISO 8601", "must be an age, as 1h or 2d, or ISO 8601"),
        (r"use None for ever", "write never for ever"),
        (r"delete\(\) to remove", "rm to remove"),
        (r"use None where the anonymous lease is meant", "leave it out for the anonymous lease"),
        (r"has no option 'index_.*", "has no indexes: only stores on servers do"),
        (r"\bttl of\b|\bttl(?= must)", "--ttl"),
    )
)
"""What the library calls a thing, and what it is called here."""

_PARSED: Final = tuple(
    (re.compile(name), typed)
    for name, typed in (
        (r"\bInput should be\b", "it has to be"),
        (r", unable to parse string as an? \w+", ""),
        (r"\bValue error, ", ""),
        (r"\.$", ""),
    )
)
"""What the parser says of a wrong value, and how people say it."""

_WIDEST_HELP: Final = 100  # columns: longer lines are harder to read
_LONGEST: Final = 2000  # characters of a line


class CommandError(Exception):
    """A command found nothing, or declines to do what was asked."""


@runtime_checkable
class _UsageError(Protocol):
    """What the parser raises; of that family typer exports the leaf `BadParameter` only."""

    exit_code: int

    def format_message(self) -> str: ...


class OneLineErrors(TyperGroup):
    """The commands, with errors as `error: …` on stderr and an exit code that says whose they are."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run a command and end the process."""
        options["standalone_mode"] = False
        options["terminal_width"] = min(shutil.get_terminal_size().columns, _WIDEST_HELP)
        try:
            code = super().main(*args, **options)
            sys.stdout.flush()
        except ArtifactError as error:
            code = fail(*_told(error))
        except CommandError as error:
            code = fail(str(error), NOT_DONE)
        except BrokenPipeError:
            code = NOT_DONE
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
            code = fail(what, NOT_DONE)
        except typer.Abort:
            code = fail("nothing was done", NOT_DONE)
        except Exception as error:  # noqa: BLE001  # a traceback helps nobody who types
            if isinstance(error, _UsageError):
                code = fail(_reworded(error.format_message(), _PARSED) + _hint(error), error.exit_code)
            else:
                code = fail(f"unexpected {type(error).__name__}: {error}", UNAVAILABLE)
        sys.exit(code)


def fail(message: str, code: int) -> int:
    """Print an error; returns the exit code."""
    say(message, "error")
    return code


def say(message: str, kind: str = "") -> None:
    """One line on stderr, fit for any terminal and any log: printable, and without passwords.

    Args:
        message: What to say; may come from anywhere.
        kind: `error` or `warning`, said before it.
    """
    for secret, shown in _SECRETS:
        message = secret.sub(shown, message)
    line = printable(" ".join(message.split()))[:_LONGEST]
    if kind:
        line = f"{styled(f'{kind}:', 'red' if kind == 'error' else 'yellow', sys.stderr)} {line}"
    with contextlib.suppress(OSError):  # nobody listens
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def _told(error: ArtifactError) -> tuple[str, int]:
    """What is said of an error of the library, and whose fault it is."""
    if isinstance(error, InvalidArtifactError | MissingExtraError):
        return _reworded(str(error), _TYPED), USAGE
    if isinstance(error, ArtifactNotFoundError | ArtifactConflictError):
        return str(error), NOT_DONE
    if isinstance(error, CorruptArtifactError | ArtifactLostError | ArtifactDecodeError):
        return str(error), CORRUPT
    return str(error), UNAVAILABLE


def _reworded(message: str, words: Iterable[tuple[re.Pattern[str], str]]) -> str:
    for word, said in words:
        message = word.sub(said, message)
    return message


def _hint(error: object) -> str:
    context = getattr(error, "ctx", None)
    return f" (see {context.command_path} --help)" if context is not None else ""
