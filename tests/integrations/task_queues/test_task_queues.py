"""The guide to Celery and RQ, with a real worker of Celery."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coatcheck.testing import Server

from ...conftest import binary_of
from ...snippets import DOCS, ROOT, snippets

GUIDE = DOCS / "guides" / "task-queues.md"
READ = """
import pathlib, sys
from tests.snippets import run_snippets
run_snippets(pathlib.Path(sys.argv[1]), place=pathlib.Path())
"""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of their own: brokers leave keys behind."""
    server = Server(binary_of("valkey"), tcp=True)
    yield server
    server.stop()


def test_the_guide(server: Server, tmp_path: Path) -> None:
    guide = tmp_path / "guide.md"
    guide.write_text(GUIDE.read_text().replace("redis://localhost:6379/0", server.tcp_url))
    for title, source in snippets(guide):
        if title is not None:
            (tmp_path / title).write_text(source)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}:{ROOT / 'src'}"}
    worker = ["-m", "celery", "-A", "celery_tasks", "worker", "--concurrency", "2", "--loglevel", "warning"]
    with subprocess.Popen([sys.executable, *worker], cwd=tmp_path, env=environment) as running:
        done = subprocess.run(
            [sys.executable, "-c", READ, guide], cwd=tmp_path, env=environment, check=False, timeout=120
        )
        running.terminate()
    assert done.returncode == 0
