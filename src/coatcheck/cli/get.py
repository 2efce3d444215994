"""`get`: the content behind a ticket."""

import os
import re
import secrets
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from .failures import CommandError
from .settings import Settings
from .values import parse_id

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Control characters other than tab and line ends: a terminal would obey them."""


def get(
    ctx: typer.Context,
    *,
    ticket: Annotated[str, typer.Argument(metavar="ID|TICKET", help='An id, or {"$artifact": "<id>"}.')],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write; - is standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
) -> None:
    """Write the content to standard output or to a file.

    A terminal is given plain UTF-8 text only, without control characters; with -o - it is given anything.
    """
    target = None if output in (None, "-") else Path(output or "")
    if target is not None:
        _check_target(target, force=force)
    artifact_id = parse_id(ticket)
    with Settings.of(ctx).open() as store:
        artifact = store.load(artifact_id)
    if artifact is None:
        raise CommandError(f"no artifact {artifact_id}")
    if target is not None:
        _write_file(target, artifact.content)
        return
    if output is None and sys.stdout.isatty() and not _is_plain_text(artifact.content):
        raise CommandError(
            f"artifact {artifact_id} is not plain text: write it to a file with -o FILE, or to the terminal with -o -"
        )
    sys.stdout.buffer.write(artifact.content)
    sys.stdout.buffer.flush()


def _is_plain_text(content: bytes) -> bool:
    try:
        return _CONTROL.search(content.decode()) is None
    except UnicodeDecodeError:
        return False


def _check_target(path: Path, *, force: bool) -> None:
    if path.is_dir():
        raise CommandError(f"{path} is a directory: name a file in it")
    if os.path.lexists(path) and not force:
        raise CommandError(f"{path} is there already: overwrite it with --force")


def _write_file(path: Path, content: bytes) -> None:
    """Write a whole file or nothing."""
    if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
        path.write_bytes(content)
        return
    path = path.resolve()
    temporary = path.with_name(f".coatcheck-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
