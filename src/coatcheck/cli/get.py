"""`get`: the content behind a ticket."""

import codecs
import errno
import os
import secrets
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer

from coatcheck import ArtifactReader

from .failures import CommandError
from .output import is_printable
from .settings import Settings
from .transfer import copy, transfer_bar
from .values import parse_id

_PIECE: Final = 1024 * 1024
_LAYOUT: Final = str.maketrans("", "", "\t\n\xa0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))))
"""Drops tabs, line ends and spaces of all widths, which text may have beside what is printable."""

_EXCLUSIVE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


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

    A terminal is given plain UTF-8 text only, without control or hidden characters; with -o - it is given anything.
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
                _write_file(target, reader, force=force)
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
    text = ""
    try:
        while piece := reader.read(_PIECE):
            text = (text[-1:] if text.endswith("\r") else "") + decoder.decode(piece)
            # A CR within a line hides what was before it.
            if not is_printable(text.replace("\r\n", "\n").removesuffix("\r").translate(_LAYOUT)):
                return False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    reader.seek(0)
    return not text.endswith("\r")


def _write_stream(stream: BinaryIO, reader: ArtifactReader, *, quiet: bool = False) -> None:
    with nullcontext(_unseen) if quiet else transfer_bar("getting") as move:
        copy(reader, stream, move)
        stream.flush()


def _unseen(_done: int, _total: int | None) -> None:
    pass


def _check_target(path: Path, *, force: bool) -> None:
    if path.is_dir():
        raise CommandError(f"{path} is a directory: name a file in it")
    if os.path.lexists(path):
        if not force:
            raise _there_already(path)
        if path.is_symlink() and os.name == "posix" and path.lstat().st_uid not in (os.geteuid(), 0):
            raise CommandError(f"{path} is another user's link: remove it, or name the file that it leads to")


def _there_already(path: Path) -> CommandError:
    return CommandError(f"{path} is there already: overwrite it with --force")


def _write_file(path: Path, reader: ArtifactReader, *, force: bool) -> None:
    """Write a whole file or nothing."""
    mode = None
    if force:
        path = path.resolve()
        if path.exists():
            if not path.is_file():  # a device or a pipe is written to, not replaced
                with path.open("wb") as file:
                    _write_stream(file, reader)
                return
            mode = path.stat().st_mode & 0o777
    temporary = path.with_name(f".coatcheck-{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(temporary, _EXCLUSIVE, 0o666 if mode is None else mode), "wb") as file:
            _write_stream(file, reader)
        if mode is not None:
            temporary.chmod(mode)  # what umask took away
        if force:
            temporary.replace(path)
        else:
            _give_name(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _give_name(temporary: Path, path: Path) -> None:
    """Rename, unless something has appeared under the new name meanwhile."""
    try:
        try:
            path.hardlink_to(temporary)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.close(os.open(path, _EXCLUSIVE, 0o666))
            temporary.replace(path)
    except FileExistsError:
        raise _there_already(path) from None
