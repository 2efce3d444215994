"""A file that is written whole or not at all, through nobody else's link, over nothing that is there unless told."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from coatcheck.folders import give_name

from .failures import CommandError

_EXCLUSIVE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def check_target(path: Path, *, force: bool) -> None:
    """Refuse what could not be written, before anything is asked."""
    if path.is_dir():
        raise CommandError(f"{path} is a directory: name a file in it, or a directory that is not there")
    if os.path.lexists(path):
        if not force:
            raise _there_already(path)
        if path.is_symlink() and os.name == "posix" and path.lstat().st_uid not in (os.geteuid(), 0):
            raise CommandError(f"{path} is another user's link: remove it, or name the file that it leads to")


def _there_already(path: Path) -> CommandError:
    return CommandError(f"{path} is there already: overwrite it with --force")


def write_file(path: Path, write: Callable[[BinaryIO], None], *, force: bool) -> None:
    """Write a whole file or nothing.

    Args:
        path: Its name.
        write: Writes the content.
        force: Whether to replace what is there; its permissions stay.
    """
    mode = None
    if force:
        path = path.resolve()
        if path.exists():
            if not path.is_file():  # a device or a pipe is written to, not replaced
                with path.open("wb") as file:
                    write(file)
                return
            mode = path.stat().st_mode & 0o777
    temporary = path.with_name(f".coatcheck-{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(temporary, _EXCLUSIVE, 0o666 if mode is None else mode), "wb") as file:
            write(file)
        if mode is not None:
            temporary.chmod(mode)  # what umask took away
        if force:
            temporary.replace(path)
        else:
            give_name(temporary, path)
    except FileExistsError:
        raise _there_already(path) from None
    finally:
        temporary.unlink(missing_ok=True)
