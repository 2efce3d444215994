"""A store to work on, and a home for the embedded engine, where its server is installed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coatcheck import ArtifactStore, StoreUnavailableError, open_store
from coatcheck.cli.app import app
from coatcheck.embedded import locate_server

from ..users import commons  # noqa: F401  # a fixture
from .running import Coatcheck, Outcome


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COATCHECK_URL", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store"


@pytest.fixture
def store(url: str) -> Iterator[ArtifactStore]:
    with open_store(url) as store:
        yield store


@pytest.fixture
def coatcheck(url: str) -> Coatcheck:
    """Run a command in this process. It says nothing on stderr, or why it failed in one line behind any warnings."""

    def run(*arguments: str, url: str = url, stdin: bytes | None = None) -> Outcome:
        result = CliRunner().invoke(app, ["--url", url, *arguments], input=stdin, prog_name="coatcheck")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        outcome = Outcome(result.exit_code, result.stdout_bytes, result.stderr)
        said = outcome.stderr.splitlines()
        assert bool(said) == bool(outcome.code), outcome.stderr
        assert [line.partition(": ")[0] for line in said[:-1]] == ["warning"] * len(said[:-1])
        assert not said or said[-1].startswith(("error: ", "warning: "))
        return outcome

    return run


@pytest.fixture
def engine_home() -> Iterator[Path]:
    """An empty directory with a short name; whatever worked in it must end by itself."""
    try:
        locate_server()
    except StoreUnavailableError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    home = Path(tempfile.mkdtemp(prefix="cc-cli-")).resolve()
    try:
        yield home
        deadline = time.monotonic() + 20
        while processes(home):
            assert time.monotonic() < deadline, f"still there: {processes(home)}"
            time.sleep(0.02)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def processes(home: Path) -> list[str]:
    """Command lines of the processes that stand in a directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(home):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found
