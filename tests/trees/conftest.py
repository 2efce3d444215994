"""Stores of both faces, and a tree with one of everything that can be kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coatcheck import (
    ArtifactStore,
    InMemoryArtifactStore,
)

from .faces import Awaited, Blocking


@pytest.fixture(params=[Blocking, Awaited])
def face(request: pytest.FixtureRequest) -> Blocking:
    return request.param()


@pytest.fixture
def store() -> Iterator[ArtifactStore]:
    with InMemoryArtifactStore() as store:
        yield store


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One of everything that can be kept."""
    tree = tmp_path / "tree"
    (tree / "sub" / "deep").mkdir(parents=True)
    (tree / "empty").mkdir()
    (tree / "a.txt").write_text("a")
    (tree / "none").touch()
    (tree / "sub" / "b.json").write_text("{}")
    (tree / "sub" / "deep" / "same.txt").write_text("a")
    (tree / "new\nline \u202e [red]").write_text("odd")
    (tree / "large").write_bytes(bytes(9 << 20))
    (tree / "sub" / "large").write_bytes(bytes(9 << 20))
    (tree / "up").symlink_to("sub/deep/../b.json")
    (tree / "sub" / "top").symlink_to("..")
    (tree / "nowhere").symlink_to("absent")
    (tree / "run.sh").write_text("#!/bin/sh")
    (tree / "run.sh").chmod(0o755)
    (tree / "secret").write_text("s")
    (tree / "secret").chmod(0o400)
    (tree / "sub" / "deep").chmod(0o500)
    tree.chmod(0o750)
    return tree
