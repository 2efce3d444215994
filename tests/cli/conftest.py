"""A home for the embedded engine, where its server is installed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coatcheck import StoreUnavailableError
from coatcheck.embedded import locate_server

from ..users import commons  # noqa: F401  # a fixture


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
