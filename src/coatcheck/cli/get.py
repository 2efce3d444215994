"""`get`: the content behind a ticket."""

import codecs
import os
import re
import secrets
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer

from coatcheck import ArtifactReader

from .failures import CommandError
from .settings import Settings
from .transfer import copy, transfer_bar
from .values import parse_id

_PIECE: Final = 1024 * 1024
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
        reader = store.open(artifact_id)
        if reader is None:
            raise CommandError(f"no artifact {artifact_id}")
        with reader:
            if target is not None:
                _write_file(target, reader)
                return
            to_terminal = sys.stdout.isatty()
            if output is None and to_terminal and not _is_plain_text(reader):
                raise CommandError(
                    f"artifact {artifact_id} is not plain text: "
                    "write it to a file with -o FILE, or to the terminal with -o -"
                )
            _write_stream(sys.stdout.buffer, reader, quiet=to_terminal)


def _is_plain_text(reader: ArtifactReader) -> bool:
    """Look at everything, and go back to the start."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while piece := reader.read(_PIECE):
            if _CONTROL.search(decoder.decode(piece)):
                return False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    reader.seek(0)
    return True


def _write_stream(stream: BinaryIO, reader: ArtifactReader, *, quiet: bool = False) -> None:
    with nullcontext(_unseen) if quiet else transfer_bar("getting") as move:
        copy(reader, stream, move)
        stream.flush()


def _unseen(_done: int, _total: int | None) -> None:
    pass


def _check_target(path: Path, *, force: bool) -> None:
    if path.is_dir():
        raise CommandError(f"{path} is a directory: name a file in it")
    if os.path.lexists(path) and not force:
        raise CommandError(f"{path} is there already: overwrite it with --force")


def _write_file(path: Path, reader: ArtifactReader) -> None:
    """Write a whole file or nothing."""
    if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
        with path.open("wb") as file:
            _write_stream(file, reader)
        return
    path = path.resolve()
    temporary = path.with_name(f".coatcheck-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            _write_stream(file, reader)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
