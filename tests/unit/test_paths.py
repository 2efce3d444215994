"""Paths that are none: refused with a reason, wherever one is taken, before anything is made or sent."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coatcheck import AsyncFileArtifactStore, FileArtifactStore, InMemoryArtifactStore, InvalidArtifactError, open_store
from coatcheck.moving import export_run, import_run
from coatcheck.trees import astore_tree, open_tree, store_tree

STORE = InMemoryArtifactStore()

TAKE: dict[str, Callable[[Any], Any]] = {
    "store_file": STORE.store_file,
    "store_tree": lambda path: store_tree(path, STORE),
    "astore_tree": lambda path: asyncio.run(astore_tree(path, STORE)),
    "restore": lambda path: open_tree("tree", STORE).restore(path),
    "export_run": lambda path: export_run(STORE, "run", path),
    "import_run": lambda path: import_run(STORE, path),
    "FileArtifactStore": FileArtifactStore,
    "AsyncFileArtifactStore": AsyncFileArtifactStore,
    "embedded": lambda path: open_store(f"embedded:///tmp/{path}"),
}


@pytest.fixture(autouse=True, scope="module")
def furnished(tmp_path_factory) -> None:
    directory = tmp_path_factory.mktemp("tree")
    (directory / "file").write_bytes(b"file")
    store_tree(directory, STORE, artifact_id="tree", run_id="run")


NONE = {"NUL": "a\0b", "surrogate": "a\ud800b", "17": 17, "None": None, "object": object()}


@pytest.mark.parametrize(
    ("taker", "what"),
    [(taker, what) for taker in TAKE for what in NONE if taker != "embedded" or isinstance(NONE[what], str)],
)
def test_what_is_no_path_is_refused(tmp_path: Path, monkeypatch, taker, what) -> None:
    monkeypatch.chdir(tmp_path)
    known = STORE.count()
    with pytest.raises(InvalidArtifactError):
        TAKE[taker](NONE[what])
    assert STORE.count() == known
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", [io.StringIO(), b"bytes", io.BytesIO], ids=["text", "bytes", "class"])
def test_an_archive_is_a_binary_file(file) -> None:
    with pytest.raises(InvalidArtifactError):
        export_run(STORE, "run", file)
    with pytest.raises(InvalidArtifactError):
        import_run(STORE, file)


def test_an_archive_may_be_a_file_that_can_only_be_read() -> None:
    class Pipe:
        def __init__(self, data: bytes) -> None:
            self.read = io.BytesIO(data).read

    archive = io.BytesIO()
    export_run(STORE, "run", archive)
    target = InMemoryArtifactStore()
    assert import_run(target, Pipe(archive.getvalue())).artifacts == STORE.count(run_id="run")
