"""The keeper: parent of the server, which it stops when the last user is gone.

It is a program of its own, fed to `python -` in the data directory with stdout and stderr on the log. It
imports only the standard library: it is up in milliseconds, and this package need not be importable there.
It inherits the locked `server.lock` and never touches it: keeper and server hold it as long as they live.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import sys
import time

try:
    import fcntl
except ImportError:  # Windows can import this module, and nothing more
    fcntl = None  # type: ignore[assignment]

USERS_LOCK = "users.lock"
SERVER_LOCK = "server.lock"
SOCKET = "server.sock"
LOG = "server.log"

_LOG_LIMIT = 1 << 20  # bytes
_POLL = 0.05  # seconds between two looks at the users; the server's own timer ticks every 0.1 s
_LISTENS_WITHIN = 4.0  # seconds from its start to its socket; data are loaded after that
_STOP_WITHIN = 10.0  # seconds for a graceful stop, which is one flush of the append-only file
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def open_own(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file of the data directory, for this user only, beyond descriptor 2.

    A daemon may have closed its stdio, and children put theirs there.

    Raises:
        OSError: Nothing there may be opened, or it is a link or another user's: what is written would go elsewhere.
    """
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or status.st_uid != os.geteuid():
            raise OSError(errno.EPERM, "it is not a file of this user's alone", os.fspath(path))
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def open_lock(path: str | os.PathLike[str]) -> int:
    """Open a lock file, made where it is missing."""
    return open_own(path, os.O_RDWR | os.O_CREAT)


def try_lock(fd: int, *, exclusive: bool) -> bool:
    """Take the flock on `fd` if it is free now."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main(directory: str, server: str, link: str) -> None:
    """Run the server in `directory`, the working directory, until it dies or nobody uses it.

    Args:
        directory: The data directory, absolute.
        server: The server's executable.
        link: The short link to the directory that goes when the server goes, or "".
    """
    if os.fork():
        os._exit(0)  # the opener reaps this half; the keeper belongs to init and leaves no zombie behind
    _reset_signals()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    users = open_lock(USERS_LOCK)
    _unlink(SOCKET)  # left by a crash: whoever holds server.lock knows that nobody listens
    pid = _spawn(server, directory)
    listens_by = time.monotonic() + _LISTENS_WITHIN
    try:
        while not try_lock(users, exclusive=True):
            if os.waitpid(pid, os.WNOHANG)[0]:
                return  # it crashed: the next opener starts another
            # A cleaner of /tmp may have removed the socket: nobody new could connect.
            if time.monotonic() > listens_by and not os.path.exists(SOCKET):  # noqa: PTH110  # as in _unlink()
                _stop(pid)
                pid = _spawn(server, directory)
                listens_by = time.monotonic() + _LISTENS_WITHIN
            if os.fstat(1).st_size > _LOG_LIMIT:
                os.ftruncate(1, 0)
            time.sleep(_POLL)
    finally:
        _stop(pid)
        _unlink(SOCKET)
        _unlink(link)


def _reset_signals() -> None:
    """Undo what the opener ignored or blocked: it passes through exec, and the server must hear SIGTERM."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _spawn(server: str, directory: str) -> int:
    """Start the server as a child that dies with the keeper where the kernel offers it."""
    # The socket is relative, so that the address fits (and is unlinked) whatever the length of the directory.
    options = (
        "--port 0 --unixsocketperm 700 --daemonize no --appendonly yes --appendfsync everysec "
        f"--maxmemory-policy noeviction --unixsocket {SOCKET}"
    ).split()
    keeper = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if sys.platform == "linux":
            with contextlib.suppress(ImportError):  # some Pythons are built without; slow, so imported here
                import ctypes  # noqa: PLC0415

                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == keeper:
            os.execv(server, [server, *options, "--save", "", "--dir", directory])  # noqa: S606  # no shell wanted
    except OSError as error:
        sys.stderr.write(f"cannot run {server}: {error.strerror}\n")
        sys.stderr.flush()
    finally:
        os._exit(127)


def _stop(pid: int) -> None:
    """Stop the server gracefully, so that the append-only file is flushed."""
    with contextlib.suppress(ChildProcessError):  # waited for already: the pid may be somebody else's by now
        deadline = time.monotonic() + _STOP_WITHIN
        if os.waitpid(pid, os.WNOHANG)[0]:
            return
        os.kill(pid, signal.SIGTERM)
        while not os.waitpid(pid, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108  # pathlib would double the keeper's start-up


if __name__ == "__main__":
    main(*sys.argv[2:])
