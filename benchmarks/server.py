"""The server of a benchmark run, in a temporary directory and reached by nobody else, and the machine it runs on."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import redis

from coatcheck.testing import ENGINES, Server

NAMES = tuple(engine.name for engine in ENGINES)


class NoServerError(Exception):
    """There is no such engine on this machine."""


class Endpoint(NamedTuple):
    """One way to a server: what tables call it, keywords for `redis.Redis`, and the URL for coatcheck."""

    transport: str
    connection: dict[str, Any]
    url: str


class BenchServer(Server):
    """A running server without persistence, on a unix socket and on TCP loopback, that tells what it spends."""

    def __init__(self, name: str) -> None:
        [engine] = [engine for engine in ENGINES if engine.name == name]
        binary = engine.find()
        if binary is None:
            raise NoServerError(f"no {name} here: {engine.install}, or choose another --engine of {', '.join(NAMES)}")
        super().__init__(binary, tcp=True)
        self.unix = Endpoint("unix socket", {"unix_socket_path": str(self.socket)}, self.url)
        self.tcp = Endpoint("TCP loopback", {"host": "127.0.0.1", "port": self.port}, self.tcp_url)
        self.control = self.client()
        info = self.control.info("server")
        valkey = info.get("valkey_version")
        self.version = f"Valkey {valkey}" if valkey else f"Redis {info['redis_version']}"

    def settle(self) -> None:
        """Wait until memory that was unlinked is freed: the server does that beside the next measurement."""
        while self.control.info("memory")["lazyfree_pending_objects"]:
            time.sleep(0.001)

    def used_memory(self) -> int:
        """Bytes in use, once tables that were growing have settled."""
        self.settle()
        used = self.control.info("memory")["used_memory"]
        for _ in range(50):
            time.sleep(0.1)
            before, used = used, self.control.info("memory")["used_memory"]
            if abs(used - before) < 1024:
                break
        return int(used)

    def cpu_seconds(self) -> float:
        """CPU time that the server has taken so far."""
        info = self.control.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def bytes_of(self, direction: str, call: Callable[[], object]) -> int:
        """How many bytes of "input" or "output" the server has while `call` runs."""

        def count() -> int:
            return int(self.control.info("stats")[f"total_net_{direction}_bytes"])

        first, second = count(), count()  # what asking alone adds
        call()
        return count() - second - (second - first)

    def clear(self) -> None:
        """Drop every key; this server is ours alone."""
        self.control.flushall()
        self.settle()

    def stop(self) -> None:
        """Stop it and remove its directory. Idempotent."""
        if hasattr(self, "control"):
            self.control.close()
        super().stop()


def machine() -> dict[str, Any]:
    """What a reader of the figures needs to know about where they come from."""
    return {
        "cpu": _first("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": sys.version.split()[0],
        "redis-py": redis.__version__,
    }


def available_memory() -> int | None:
    """Bytes that can be used without swapping, where the system says so."""
    found = _first("/proc/meminfo", "MemAvailable")
    return int(found.split()[0]) * 1024 if found else None


def _first(path: str, name: str) -> str | None:
    """The first value of that name in a file of Linux, where there is one."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)
