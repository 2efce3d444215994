"""One server process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ...backends.redis.transport.connect import UNNAMED

_START_SECONDS: Final = 20.0

_PORTS: Final = range(15_000, 32_000)
"""Below the ports that systems give to outgoing connections: a killed server finds its port free again."""
_chance: Final = random.SystemRandom()  # no seed: test processes that start together try different ports


class Server:
    """One server process, dropped with everything it wrote.

    A thread that starts one has to outlive it: on Linux the server dies with the thread.

    Args:
        binary: The server program.
        options: More of its command line, such as `"--maxmemory", "64mb"`.
        tcp: Listen on a free loopback port as well.
        persistent: Append-only file, synced on every write; `restart` keeps the data then.
        config: A configuration file, for what the command line doesn't take.
    """

    def __init__(
        self, binary: Path, *options: str, tcp: bool = False, persistent: bool = False, config: str = ""
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="cc-", ignore_cleanup_errors=True)
        self.directory = Path(self._directory.name)
        self.socket = self.directory / "s.sock"
        self.port = free_port() if tcp else 0
        (self.directory / "conf").write_text(config)
        self._command = [
            *(str(binary), str(self.directory / "conf")),
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
        return f"redis://{self.address}/0"

    @property
    def address(self) -> str:
        """Host and port, as they stand in URLs."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and not killed since; a paused server runs."""
        return self._process is not None

    def client(self) -> redis.Redis:
        """A plain client, for tests that look behind the store; close it."""
        return redis.Redis(unix_socket_path=str(self.socket), protocol=2, **UNNAMED)

    def ask(self, *command: Any) -> Any:
        """The reply to one command, on a connection of its own; strings are decoded."""
        options = {**UNNAMED, "protocol": 2, "decode_responses": True, "retry": Retry(NoBackoff(), 0)}
        with redis.Redis(unix_socket_path=str(self.socket), **options) as client:
            return client.execute_command(*command)

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
                self.ask("PING")
            except redis.RedisError:
                if self._process.poll() is not None or time.monotonic() > give_up_at:
                    log_text = (self.directory / "log").read_text(errors="replace")
                    self.stop()
                    raise RuntimeError(f"{self._command[0]} did not start: {log_text[-2000:]}") from None
                time.sleep(0.01)
            else:
                return

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


def free_port() -> int:
    """A loopback port on which nobody listens."""
    while True:
        port = _chance.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no orphan when the test run is killed
