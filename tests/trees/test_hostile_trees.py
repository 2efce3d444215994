"""Trees from anybody: what names something outside is refused, and restoring is all or nothing."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coatcheck import (
    ArtifactDecodeError,
    ArtifactNotFoundError,
    ArtifactStore,
    AsyncInMemoryArtifactStore,
    CorruptArtifactError,
    InvalidArtifactError,
    compute_artifact_id,
)
from coatcheck.trees import (
    TREE_TYPE,
    open_tree,
    store_tree,
)

from .faces import Awaited, Blocking

# Hostile manifests ----------------------------------------------------------------------------------------------

FILE = {"kind": "file", "mode": "644", "$artifact": compute_artifact_id(b"x"), "size": 1, "type": "text/plain"}
FOLDER = {"kind": "directory", "mode": "755"}


def manifest(*entries: Any, **other: Any) -> bytes:
    return json.dumps({"$tree": 1, "mode": "755", "entries": entries, **other}).encode()


def b64(raw: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(raw).decode()}


OUTSIDE = {
    "absolute": [{"path": "/tmp/x", **FILE}],
    "parent": [{"path": "../x", **FILE}],
    "parent within": [{"path": "a", **FOLDER}, {"path": "a/../../x", **FILE}],
    "dot": [{"path": ".", **FOLDER}],
    "empty": [{"path": "", **FILE}],
    "empty part": [{"path": "a", **FOLDER}, {"path": "a//x", **FILE}],
    "trailing": [{"path": "a/", **FOLDER}],
    "nul": [{"path": "a\0", **FILE}],
    "hidden parent": [{"path": b64(b"../\xff"), **FILE}],
    "twice": [{"path": "a", **FILE}, {"path": "a", **FILE}],
    "link and directory": [{"path": "a", "kind": "link", "target": "."}, {"path": "a", **FOLDER}],
    "below a link": [{"path": "a", "kind": "link", "target": "."}, {"path": "a/x", **FILE}],
    "below a file": [{"path": "a", **FILE}, {"path": "a/x", **FILE}],
    "below nothing": [{"path": "a/x", **FILE}],
    "directory too late": [{"path": "a/x", **FILE}, {"path": "a", **FOLDER}],
    "link out": [{"path": "a", "kind": "link", "target": "../x"}],
    "link to the root": [{"path": "a", "kind": "link", "target": "/"}],
    "link deep out": [{"path": "d", **FOLDER}, {"path": "d/a", "kind": "link", "target": "x/../../../y"}],
    "link through a link": [
        {"path": "s", **FOLDER},
        {"path": "s/l", "kind": "link", "target": ".."},
        {"path": "s/t", **FOLDER},
        {"path": "s/t/m", "kind": "link", "target": "../l/../x"},
    ],
    "link through a link of other case": [
        {"path": "s", **FOLDER},
        {"path": "s/Ä", "kind": "link", "target": ".."},
        {"path": "s/m", "kind": "link", "target": "a\u0308/../x"},
    ],
    "loop": [{"path": "a", "kind": "link", "target": "b"}, {"path": "b", "kind": "link", "target": "a"}],
    "link to nothing": [{"path": "a", "kind": "link", "target": ""}],
    "link nul": [{"path": "a", "kind": "link", "target": "x\0"}],
}


@pytest.mark.parametrize("entries", OUTSIDE.values(), ids=OUTSIDE)
def test_a_tree_that_names_something_outside_is_refused_when_it_is_opened(store: ArtifactStore, entries: list) -> None:
    store.store(b"x")
    view = store.store(manifest(*entries))

    with pytest.raises(ArtifactDecodeError, match="is refused"):
        open_tree(view, store)


NO_TREES = {
    "bytes": b"\xff",
    "text": b"text",
    "other JSON": b'{"a": 1}',
    "list": b"[]",
    "deep": b"[" * 100_000,
    "large number": b'{"$tree": 1, "mode": ' + b"1" * 5000 + b"}",
    "no mode": b'{"$tree": 1, "entries": []}',
    "no entries": b'{"$tree": 1, "mode": "755"}',
    "entries": manifest(1, "x", None),
    "a dict of entries": b'{"$tree": 1, "mode": "755", "entries": {"a": 1}}',
    "mode": manifest(mode="4755"),
    "mode of a file": manifest({"path": "a", **FILE, "mode": "7777"}),
    "mode as a number": manifest({"path": "a", **FILE, "mode": 420}),
    "kind": manifest({"path": "a", **FILE, "kind": "device"}),
    "kind as a list": manifest({"path": "a", **FILE, "kind": []}),
    "no kind": manifest({"path": "a"}),
    "id": manifest({"path": "a", **FILE, "$artifact": "../x"}),
    "size": manifest({"path": "a", **FILE, "size": -1}),
    "size as a truth": manifest({"path": "a", **FILE, "size": True}),
    "type": manifest({"path": "a", **FILE, "type": None}),
    "path": manifest({"path": 1, **FILE}),
    "surrogate": b'{"$tree": 1, "mode": "755", "entries": [{"path": "\\udcff", "kind": "directory", "mode": "755"}]}',
    "base64": manifest({"path": {"base64": "?"}, **FILE}),
    "no base64": manifest({"path": {"base64": 1}, **FILE}),
}


@pytest.mark.parametrize("content", NO_TREES.values(), ids=NO_TREES)
def test_what_is_no_manifest_is_no_tree(face: Blocking, content: bytes) -> None:
    view = face.ask("store", content, content_type=TREE_TYPE)

    with pytest.raises(ArtifactDecodeError, match="is no tree"):
        face.entries(view)


def test_a_large_artifact_is_no_tree_and_not_loaded(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coatcheck.trees.runs.MAX_MANIFEST", 10)
    monkeypatch.setattr(store, "load", None)

    with pytest.raises(ArtifactDecodeError, match="is no tree"):
        open_tree(store.store(b"x" * 11), store)


def test_a_tree_too_large_to_be_opened_is_not_stored(
    store: ArtifactStore, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coatcheck.trees.manifest.MAX_MANIFEST", 10)

    with pytest.raises(InvalidArtifactError, match="too many for one tree"):
        store_tree(tree, store)


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_an_unknown_version_says_to_upgrade(store: ArtifactStore, version: Any) -> None:
    view = store.store(json.dumps({"$tree": version}).encode())

    with pytest.raises(CorruptArtifactError, match="upgrade coatcheck"):
        open_tree(view, store)


def test_what_is_not_there_is_not_found(face: Blocking) -> None:
    with pytest.raises(ArtifactNotFoundError):
        face.entries("0" * 32)


def test_unknown_fields_are_ignored(store: ArtifactStore) -> None:
    view = store.store(manifest({"path": "a", **FILE, "owner": "x"}, made_by="y"))

    assert [entry.path for entry in open_tree(view, store).entries] == ["a"]


# Restoring: whole, or nothing -----------------------------------------------------------------------------------


def nothing_left(tmp_path: Path) -> bool:
    return not [path for path in tmp_path.iterdir() if path.name == "back" or path.name.startswith(".coatcheck")]


@pytest.mark.parametrize("content", [b"a", bytes(9 << 20)], ids=["small", "large"])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_where_a_content_has_gone_nothing_is_written(
    face: Blocking, tree: Path, tmp_path: Path, content: bytes, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = face.put(tree)
    views = face.ask("metadata_many", [entry.artifact_id for entry in face.entries(view) if entry.kind == "file"])
    face.ask("delete", compute_artifact_id(content))
    if when == "meanwhile":
        known = {view.artifact_id: view for view in views}

        async def later(ids: list[str]) -> list:
            return now(ids)

        def now(ids: list[str]) -> list:
            return [known[artifact_id] for artifact_id in ids]

        monkeypatch.setattr(face.store, "metadata_many", later if isinstance(face, Awaited) else now)

    with pytest.raises(ArtifactNotFoundError, match="has gone"):
        face.restore(view, tmp_path / "back")
    assert nothing_left(tmp_path)


def test_where_a_content_is_not_what_the_tree_says_nothing_is_written(face: Blocking, tmp_path: Path) -> None:
    face.ask("store", b"other", artifact_id="named")
    view = face.ask("store", manifest({"path": "a", **FILE, "$artifact": "named"}))

    with pytest.raises(ArtifactDecodeError, match="has 5 bytes, and 1 as the tree says"):
        face.restore(view, tmp_path / "back")
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("absent")])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_nothing_is_restored_over_what_is_there(
    face: Blocking, tree: Path, tmp_path: Path, make: Callable[[Path], None], when: str
) -> None:
    view, target = face.put(tree), tmp_path / "back"
    if when == "before":
        make(target)
    made = [when == "before"]

    def appear(*_: int) -> None:
        if not made.pop():
            make(target)
        made.append(True)

    with pytest.raises(FileExistsError, match="name another directory|name a directory"):
        face.restore(view, target, progress=appear)
    assert not any(target.iterdir()) if target.is_dir() else not target.exists() or target.stat().st_size == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".coatcheck")]


def test_a_place_in_no_directory_is_named_as_it_was_given(face: Blocking, tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "absent" / "back"
    with pytest.raises(FileNotFoundError, match="make that first") as caught:
        face.restore(face.put(tree), target)
    assert caught.value.filename == str(target)
    assert not target.parent.exists()


def test_an_error_in_the_end_leaves_nothing(
    face: Blocking, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = face.put(tree)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)

    with pytest.raises(PermissionError):
        face.restore(view, tmp_path / "back")
    assert nothing_left(tmp_path)


def test_names_that_are_one_for_the_file_system_are_refused(
    face: Blocking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    face.ask("store", b"x")
    for names in (("A", "a"), ("straße", "STRASSE"), ("\u00e4", "a\u0308")):
        view = face.ask("store", manifest(*({"path": name, **FILE} for name in names)))
        face.restore(view, tmp_path / "both")  # a file system that tells them apart keeps both
        assert len(list((tmp_path / "both").iterdir())) == 2
        for path in (tmp_path / "both").iterdir():
            path.unlink()
        (tmp_path / "both").rmdir()
        with monkeypatch.context() as patch:
            exists = Path.exists
            patch.setattr(Path, "exists", lambda path: path.name == "A" or exists(path))
            with pytest.raises(ArtifactDecodeError, match="are one name for this file system"):
                face.restore(view, tmp_path / "back")
        assert nothing_left(tmp_path)


def test_permissions_are_kept_whatever_umask_says_and_nothing_more_than_permissions(
    face: Blocking, tmp_path: Path
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "f").touch()
    (tmp_path / "tree" / "f").chmod(0o4777)
    before = os.umask(0o077)
    try:
        face.restore(face.put(tmp_path / "tree"), tmp_path / "back")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "back" / "f").stat().st_mode) == 0o777


def test_an_awaited_store_is_not_taken_for_a_blocking_one(tree: Path) -> None:
    with pytest.raises(InvalidArtifactError, match="has to be awaited"):
        store_tree(tree, AsyncInMemoryArtifactStore())
