"""Attaching to the server of a directory, and starting it where there is none."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pkgutil
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Self

from coatcheck.embedded import keeper
from coatcheck.embedded.places import ELSEWHERE, default_directory, locate_server, reach
from coatcheck.errors import StoreUnavailableError
from coatcheck.folders import check_path, check_private

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = 30.0  # seconds of silence before giving up; a server that is loading its data is not silent
_ANSWER_WITHIN = 1.0  # seconds for one PING
_POLL = 0.005  # seconds
_LAUNCHES = 3  # one may be killed while it starts; one that cannot start fails within milliseconds
_LOG_TAIL = 2048  # bytes
# All that the keeper is told: what a Python interpreter and a server need to start, and no secret of the opener's.
_ENVIRONMENT = frozenset(
    {"DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "MALLOC_MMAP_THRESHOLD_", "PATH", "PYTHONHOME", "TZ"}
)

# A fork while server.lock is ours would copy it into a child that never lets it go.
_forking = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forking.acquire, after_in_parent=_forking.release, after_in_child=_forking.release)


def start_engine(directory: str | os.PathLike[str] | None = None) -> EmbeddedEngine:
    """Attach to the server of `directory`, starting it if it is not running.

    Args:
        directory: Where the data lies, on a local disk; made if missing. `default_directory()` if not given.
            All spellings of one directory lead to one server.

    Returns:
        The engine, whose server answers. Keep it as long as you use the server: dropping it closes it.

    Raises:
        StoreUnavailableError: No server for this platform, an unusable directory, or it did not come up.
    """
    if importlib.util.find_spec("fcntl") is None:
        raise StoreUnavailableError(f"the embedded engine needs Linux or macOS: {ELSEWHERE}")
    home = default_directory() if directory is None else check_path(directory, "directory")
    with _usable(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home = home.resolve()
        check_private(home)
        path, _ = reach(home)
        engine = EmbeddedEngine(home, path, _join(home))
    try:
        engine.ensure()
    except BaseException:
        engine.close()
        raise
    return engine


class EmbeddedEngine:
    """One user of the server of a directory; made by `start_engine()`. Thread-safe.

    A forked child is a user of its own, until it closes its copy or ends.

    Attributes:
        directory: The data directory, resolved.
        socket: The unix socket on which the server listens; the same after a restart.
    """

    directory: Path
    socket: Path

    def __init__(self, directory: Path, path: Path, users: int) -> None:
        self.directory = directory
        self.socket = path
        # Closing drops the lock with the last copy of the descriptor; unlocking would drop it for forks too.
        self._detach = weakref.finalize(self, os.close, users)
        self._detach.atexit = False  # other exit handlers may still write; the kernel closes it after them

    def ensure(self) -> None:
        """Return when the server answers, after starting it if it is gone. Cheap if it is there: one PING.

        Raises:
            StoreUnavailableError: It did not come up, or this engine is closed.
        """
        if not self._detach.alive:
            raise StoreUnavailableError(f"the embedded engine on {self.directory} is closed: start another")
        launches = 0
        deadline = time.monotonic() + _PATIENCE
        while True:
            path, link = reach(self.directory)  # again each time: a keeper that ends removes the link
            answer = _ask(path)
            if answer.startswith(b"-LOADING"):
                deadline = time.monotonic() + _PATIENCE
            elif answer:  # any other word, -BUSY for one, comes from a server that works
                return
            else:
                with _usable(self.directory), _vacancy(self.directory) as lock:
                    if lock is not None:
                        if launches == _LAUNCHES:
                            raise self._failed("did not come up")
                        _launch(self.directory, lock, link)
                        launches += 1
            if time.monotonic() > deadline:
                raise self._failed(f"has not answered for {_PATIENCE:.0f} s")
            time.sleep(_POLL)

    def close(self) -> None:
        """Detach; the server stops when its last user has. Closing again does nothing."""
        self._detach()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _failed(self, what: str) -> StoreUnavailableError:
        log = self.directory / keeper.LOG
        lines: list[str] = []
        with contextlib.suppress(OSError), os.fdopen(keeper.open_own(log, os.O_RDONLY), "rb") as file:
            lines = file.read()[-_LOG_TAIL:].decode(errors="replace").splitlines()
        tail = " | ".join(line.strip() for line in lines[-3:] if line.strip())
        return StoreUnavailableError(f"the embedded server {what}; {log} ends with: {tail or '(nothing)'}")


@contextlib.contextmanager
def _usable(directory: Path) -> Iterator[None]:
    """Turn what the operating system says of `directory` into one line with the cure."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(
            f"cannot keep data in {directory}: {error}; choose a local directory of your own"
        ) from None


def _join(directory: Path) -> int:
    """Become a user of `directory`, after waiting out a server that is being stopped."""
    deadline = time.monotonic() + _PATIENCE
    while (fd := _try_lock(directory / keeper.USERS_LOCK, exclusive=False)) is None:
        if time.monotonic() > deadline:
            raise StoreUnavailableError(f"the server in {directory} takes too long to stop: try again")
        time.sleep(_POLL)
    return fd


@contextlib.contextmanager
def _vacancy(directory: Path) -> Iterator[int | None]:
    """Hold server.lock; None if a keeper or a server, be it starting or dying, has it."""
    with _forking:
        fd = _try_lock(directory / keeper.SERVER_LOCK, exclusive=True)
        try:
            yield fd
        finally:
            if fd is not None:
                os.close(fd)


def _try_lock(path: Path, *, exclusive: bool) -> int | None:
    """Open and lock `path`: its descriptor, or None if others hold it."""
    fd = keeper.open_lock(path)
    try:
        if keeper.try_lock(fd, exclusive=exclusive):
            return fd
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _ask(path: Path) -> bytes:
    """What the server says to a PING; nothing if nobody answers."""
    with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
        connection.settimeout(_ANSWER_WITHIN)
        connection.connect(os.fspath(path))
        connection.sendall(b"PING\r\n")
        return connection.recv(64)
    return b""


def _launch(directory: Path, lock: int, link: Path | None) -> None:
    """Start a keeper, which inherits `lock` and nothing else of this process; return when it has detached."""
    server = locate_server()
    program = pkgutil.get_data("coatcheck.embedded", "keeper.py")
    if not sys.executable or getattr(sys, "frozen", False):
        raise StoreUnavailableError(f"the embedded engine needs a Python interpreter to run: {ELSEWHERE}")
    environment = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT}
    # Without it glibc keeps what deletes free: 1.1 GiB instead of 0.1 after 90 % of 0.9 GiB were deleted.
    environment.setdefault("MALLOC_MMAP_THRESHOLD_", "131072")
    with os.fdopen(keeper.open_own(directory / keeper.LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as log:
        subprocess.run(  # noqa: S603  # our own program; the outcome shows in the lock and in the log
            [sys.executable, "-sSP", "-", "coatcheck-keeper", directory, server, link or ""],
            input=program,
            stdout=log,
            stderr=log,
            cwd=directory,
            env=environment,
            umask=0o077,
            pass_fds=(lock,),
            start_new_session=True,
            check=False,
        )
