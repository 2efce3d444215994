"""How a command fails: one line on stderr, an exit code, never a traceback."""

from __future__ import annotations

import sys
from typing import Any, NoReturn, Protocol, runtime_checkable

import typer
from typer.core import TyperGroup

from coatcheck import ArtifactError, InvalidArtifactError

from .output import printable


class CommandError(Exception):
    """A command found nothing, or declines to do what was asked: exit code 1."""


@runtime_checkable
class _UsageError(Protocol):
    """What the parser raises; of that family typer exports the leaf `BadParameter` only."""

    exit_code: int

    def format_message(self) -> str: ...


class OneLineErrors(TyperGroup):
    """The commands, with errors as `error: …` on stderr and exit codes 1 and 2."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run a command and end the process."""
        options["standalone_mode"] = False
        try:
            code = super().main(*args, **options)
            sys.stdout.flush()
        except InvalidArtifactError as error:
            code = fail(str(error), 2)
        except (ArtifactError, CommandError) as error:
            code = fail(str(error), 1)
        except BrokenPipeError:
            code = 1
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
            code = fail(what, 1)
        except typer.Abort:
            code = fail("nothing was done", 1)
        except Exception as error:
            if not isinstance(error, _UsageError):
                raise
            code = fail(error.format_message() + _hint(error), error.exit_code)
        sys.exit(code)


def fail(message: str, code: int) -> int:
    """Print an error; returns the exit code."""
    typer.echo(f"error: {printable(' '.join(message.split()))}", err=True)
    return code


def _hint(error: object) -> str:
    context = getattr(error, "ctx", None)
    return f" (see {context.command_path} --help)" if context is not None else ""
