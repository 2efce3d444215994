"""Folders whose ecosystem is not installed are left out; `make integrations` installs it."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def lacks(folder: Path) -> str | None:
    """The first distribution of the folder's requirements that is not installed."""
    for name in re.findall(r"^[\w.-]+", "\n".join(file.read_text() for file in folder.glob("*.txt")), re.MULTILINE):
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return name
    return None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    if collection_path.parent != HERE or not (collection_path / "requirements.txt").is_file():
        return None
    return True if lacks(collection_path) else None


@pytest.fixture(params=["valkey", "valkey_cluster"])
def url(request: pytest.FixtureRequest) -> str:
    """A server and a cluster, in turn."""
    if request.param == "valkey":
        return request.getfixturevalue("valkey").url
    return request.getfixturevalue("valkey_cluster").url
