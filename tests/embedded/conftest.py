"""Directories, workers and watching of processes, for tests with real servers."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import coatcheck.embedded

from ..users import commons  # noqa: F401  # a fixture

SOURCE = Path(coatcheck.embedded.__file__).parents[2]


def wait_until(condition: Callable[[], object], within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def processes(directory: Path) -> dict[int, str]:
    """Keepers and servers, which stand in `directory` or below: pid -> command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                cwd = (entry / "cwd").readlink()
                if cwd.is_relative_to(directory):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
    return found


def keepers(directory: Path) -> list[int]:
    return [pid for pid, command in processes(directory).items() if "coatcheck-keeper" in command]


def servers(directory: Path) -> list[int]:
    return [pid for pid, command in processes(directory).items() if "coatcheck-keeper" not in command]


def gone(directory: Path) -> Callable[[], bool]:
    return lambda: not processes(directory)


class Worker(subprocess.Popen):
    """A Python process that prints lines, and ends when its stdin does."""

    def line(self) -> str:
        ready, _, _ = select.select([self.stdout], [], [], 60)
        assert ready, "the worker says nothing"
        return self.stdout.readline().decode().strip()

    def finish(self) -> str:
        """Let it end; what it still had to say."""
        rest, _ = self.communicate(timeout=60)
        assert self.returncode == 0, rest
        return (rest or b"").decode().strip()


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory of the test's own, with a short name, in which nothing may be left."""
    base = Path(tempfile.mkdtemp(prefix="cc-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    monkeypatch.delenv("COATCHECK_SERVER", raising=False)
    yield base
    left = [path for path in base.rglob("*") if path != base / "coatcheck"]
    shutil.rmtree(base)
    assert not left


@pytest.fixture
def home(runtime: Path, tmp_path: Path) -> Iterator[Path]:
    """A data directory that need not exist yet; all its processes must be gone in the end."""
    yield tmp_path / "data"
    try:
        wait_until(gone(tmp_path))
    finally:
        for pid in processes(tmp_path):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def spawn(home: Path) -> Iterator[Callable[..., Worker]]:
    """Start a worker that runs a program with the data directory as its first argument."""
    workers: list[Worker] = []

    def start(program: str, *arguments: object, path: Path = SOURCE, **options: object) -> Worker:
        options.setdefault("stdout", subprocess.PIPE)
        environment = os.environ | {"PYTHONPATH": str(path)} | options.pop("env", {})
        command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments or (home,))]
        worker = Worker(command, stdin=subprocess.PIPE, env=environment, bufsize=0, **options)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.kill()
        worker.communicate()
