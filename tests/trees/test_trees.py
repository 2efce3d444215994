"""Directories under one ticket: they come back as they were, and nothing is ever written outside of them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from coatcheck import (
    ArtifactConflictError,
    ArtifactNotFoundError,
    ArtifactStore,
    InvalidArtifactError,
    compute_artifact_id,
)
from coatcheck.trees import (
    TREE_TYPE,
    open_tree,
    store_tree,
)
from coatcheck.trees.finding import Found, batches, find, guess_type, open_regular

from .faces import Blocking, look


def test_a_tree_comes_back_as_it_was(face: Blocking, tree: Path, tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tree) + b"/\xff\xfe")).write_bytes(b"not UTF-8")
        Path(os.fsdecode(os.fsencode(tree) + b"/link")).symlink_to(os.fsdecode(b"\xff\xfe"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    said: list[tuple[int, int | None]] = []

    view = face.put(tree, run_id="r", tags={"k": "v"}, progress=lambda *count: said.append(count))
    face.restore(view.ref, tmp_path / "back", progress=lambda *count: said.append(count))

    assert look(tmp_path / "back") == look(tree)
    total = sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    assert said.count((total, total)) == 2
    assert view.content_type == TREE_TYPE
    assert {view.tags["k"] for view in face.ask("list_by_run", "r")} == {"v"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".coatcheck")]


def test_what_nobody_can_call_is_told_nothing(face: Blocking, tree: Path, tmp_path: Path) -> None:
    view = face.put(tree)
    with pytest.raises(InvalidArtifactError, match="skip must be a function"):
        face.put(tree, skip="links")
    with pytest.raises(InvalidArtifactError, match="progress must be a function"):
        face.put(tree, progress=True)
    with pytest.raises(InvalidArtifactError, match="progress must be a function"):
        face.restore(view, tmp_path / "back", progress=True)
    assert not (tmp_path / "back").exists()


def test_a_tree_is_lazy(face: Blocking, tree: Path) -> None:
    view = face.put(tree, content_type="text/x")

    kinds = {entry.path: entry.kind for entry in face.entries(view)}
    assert kinds["empty"] == kinds["sub"] == "directory"
    assert kinds["up"] == "link"
    assert face.read(view, "sub/b.json") == b"{}"
    assert face.ask("get_metadata", compute_artifact_id(b"{}")).content_type == "text/x"
    face.ask("delete", compute_artifact_id(b"{}"))
    assert len(face.entries(view)) == len(kinds)
    assert face.read(view, "sub/deep/same.txt") == b"a"
    for path in ("absent", "sub", "up", "sub/b.json"):
        with pytest.raises(ArtifactNotFoundError):
            face.read(view, path)


def test_a_part_of_a_tree_is_one_of_its_own(face: Blocking, tree: Path, tmp_path: Path) -> None:
    (tree / "sub" / "deep").chmod(0o700)
    (tree / "sub" / "deep" / "here").symlink_to("same.txt")
    (tree / "sub" / "deep-not").mkdir()
    view = face.put(tree)

    face.restore_part(view, "sub/deep", tmp_path / "back")

    assert look(tmp_path / "back") == look(tree / "sub" / "deep")
    with pytest.raises(InvalidArtifactError, match=r"alone: its link 'top' leads out of it"):
        face.restore_part(view, "sub", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for path in ("absent", "a.txt", "up", "sub/", ""):
        with pytest.raises(ArtifactNotFoundError, match="is no directory of artifact"):
            face.restore_part(view, path, tmp_path / "none")
    with pytest.raises(InvalidArtifactError):
        face.restore_part(view, b"sub", tmp_path / "none")  # type: ignore[arg-type]


def test_a_tree_shows_itself_in_a_line(store: ArtifactStore, tree: Path) -> None:
    stored = store_tree(tree, store)
    opened = open_tree(stored, store)
    assert repr(opened) == f"<Tree of artifact {stored.artifact_id}: {len(opened.entries)} entries>"


def test_equal_trees_are_one_artifact(store: ArtifactStore, tmp_path: Path) -> None:
    for name, names in (("one", "ab"), ("two", "ba")):
        (tmp_path / name).mkdir(mode=0o755)
        for file in names:
            (tmp_path / name / file).write_text("x")

    one, two = (store_tree(tmp_path / name, store).artifact_id for name in ("one", "two"))

    assert one == two
    assert len(store.list_all()) == 2
    assert store.load_text(one).startswith('{"$tree":1,"mode":"755","entries":[{"path":"a","kind":"file","mode":"')


def test_an_empty_directory_is_a_tree(face: Blocking, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()

    face.restore(face.put(tmp_path / "tree", ttl=60), tmp_path / "back")

    assert look(tmp_path / "back") == look(tmp_path / "tree")


def test_the_files_last_as_long_as_their_tree(face: Blocking, tree: Path) -> None:
    view = face.put(tree, run_id="r", ttl=3600, artifact_id="my-tree")

    assert view.artifact_id == "my-tree"
    others = [other for other in face.ask("list_by_run", "r") if other.artifact_id != "my-tree"]
    assert len(others) == len({entry.artifact_id for entry in face.entries(view) if entry.kind == "file"})
    assert all(other.expires >= view.expires for other in others)


def test_what_is_deleted_while_a_tree_is_stored_is_an_error(
    store: ArtifactStore, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "find_missing", lambda ids, **_: list(ids)[:1])

    with pytest.raises(ArtifactNotFoundError, match="have gone again"):
        store_tree(tree, store)


# What cannot be stored ------------------------------------------------------------------------------------------


def odd_ones(tree: Path) -> dict[str, str]:
    """Put what cannot be stored into a tree; what is said of each."""
    os.mkfifo(tree / "pipe")
    (tree / "out").symlink_to("../elsewhere")
    (tree / "absolute").symlink_to("/etc/passwd")
    (tree / "sub" / "deep").chmod(0o700)
    (tree / "sub" / "deep" / "sly").symlink_to("../top/../x")  # top is the tree itself
    (tree / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        try:
            os.chdir(tree)  # paths of sockets are short
            bound.bind("socket")
        finally:
            os.chdir(here)
    out = "is a link that leads out of the tree"
    links = dict.fromkeys(["out", "absolute", "sub/deep/sly", "loop"], out)
    return {"pipe": "is a FIFO", "socket": "is a socket", **links}


def test_what_cannot_be_stored_is_an_error_before_anything_is_sent(face: Blocking, tree: Path) -> None:
    odd_ones(tree)

    with pytest.raises(InvalidArtifactError, match="cannot be stored"):
        face.put(tree)
    assert face.ask("list_all") == []


def test_what_cannot_be_stored_is_told_to_who_wants_to_know(face: Blocking, tree: Path, tmp_path: Path) -> None:
    expected = look(tree)
    odd = odd_ones(tree)
    expected["sub/deep"] = (0o700, None)
    said: dict[str, str] = {}

    face.restore(face.put(tree, skip=said.__setitem__), tmp_path / "back")

    assert said == odd
    assert look(tmp_path / "back") == expected


def test_a_link_may_be_the_directory_itself(store: ArtifactStore, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)

    assert store_tree(tmp_path / "link", store).artifact_id == store_tree(str(tree), store).artifact_id


@pytest.mark.parametrize("what", ["absent", "file"])
def test_what_is_no_directory_is_an_error_of_the_system(store: ArtifactStore, tmp_path: Path, what: str) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OSError):
        store_tree(tmp_path / what, store)
    assert store.list_all() == []


def test_what_took_a_files_place_is_not_read(tmp_path: Path) -> None:
    tree, secret = tmp_path / "tree", tmp_path / "secrets"
    for directory in (tree / "folder", tree / "way", secret):
        directory.mkdir(parents=True)
    (secret / "file").write_text("secret")
    for name in ("file", "pipe", "folder/file", "way/file"):
        (tree / name).write_text("public")
    found = [entry.path for entry in find(tree) if entry.kind == "file"]
    for name in found:
        (tree / name).unlink()
    (tree / "file").symlink_to(secret / "file")
    os.mkfifo(tree / "pipe")
    (tree / "folder/file").mkdir()
    (tree / "way").rmdir()
    (tree / "way").symlink_to(secret)

    assert found == ["file", "folder/file", "pipe", "way/file"]
    for name in found:
        with pytest.raises(InvalidArtifactError, match="no regular file any more"):
            open_regular(tree, name)


def test_a_small_file_that_has_grown_is_refused(
    store: ArtifactStore, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coatcheck.trees.storing.find", lambda _: [Found("large", "file", 0o644, 1)])

    with pytest.raises(InvalidArtifactError, match="has grown"):
        store_tree(tree, store)


def test_batches_are_bounded_by_bytes_and_number() -> None:
    files = [Found("x", "file", 0, size) for size in (5 << 20, 5 << 20, 20 << 20, *[0] * 250)]

    assert [len(batch) for batch in batches(files)] == [1, 1, 1, 200, 50]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.json", "application/json"),
        ("sub/a.html", "text/html"),
        ("a.tar.gz", "application/gzip"),
        ("a.tar.bz2", "application/x-bzip2"),
        ("noextension", "application/octet-stream"),
    ],
)
def test_the_type_is_guessed_by_name(name: str, kind: str) -> None:
    assert guess_type(name) == kind


# All of a run ---------------------------------------------------------------------------------------------------


def test_all_of_a_run_is_a_tree(face: Blocking, tree: Path, tmp_path: Path) -> None:
    face.put(tree, run_id="r")
    names = {
        b"1": "docs/one.txt",
        b"2": "../out",
        b"3": "/etc/x",
        b"4": "docs",
        b"5": "docs/one.txt",
        b"6": "",
        b"8": "x" * 300,
    }
    ids = {}
    for content, path in names.items():
        ids[content] = face.ask("store", content, run_id="r", tags={"path": path}).artifact_id
    ids[b"7"] = face.ask("store", b"7", run_id="r", artifact_id="seven").artifact_id
    face.ask("store", b"9", run_id="r", tags={"path": "seven/nine"}, artifact_id="nine")
    face.ask("store", b"other", run_id="other")

    face.restore_run("r", tmp_path / "back")

    back = tmp_path / "back"
    assert look(back / "tree") == look(tree)
    # The latest store has the name; what cannot have its own, or has none, has its id.
    expected = {ids[content]: content for content in (b"1", b"2", b"3", b"4", b"6", b"8")}
    expected |= {"docs/one.txt": b"5", "seven": b"7", "nine": b"9"}
    found = {str(path.relative_to(back)): path.read_bytes() for path in back.rglob("*") if path.is_file()}
    assert {path: content for path, content in found.items() if not path.startswith("tree/")} == expected


def test_a_run_that_leases_nothing_is_not_found(face: Blocking, tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFoundError, match="leases nothing"):
        face.restore_run("nobody", tmp_path / "back")


def test_a_condition_is_about_the_manifest(face: Blocking, tree: Path) -> None:
    first = face.put(tree, artifact_id="tree", run_id="a", if_absent=True)
    with pytest.raises(ArtifactConflictError):
        face.put(tree, artifact_id="tree", run_id="b", if_absent=True)
    (tree / "a.txt").write_text("new")
    second = face.put(tree, artifact_id="tree", run_id="c", if_digest=first.digest)
    assert second.digest != first.digest


@pytest.mark.parametrize(
    "details",
    [
        {"artifact_id": "a/b"},
        {"run_id": ""},
        {"tags": {f"t{n}": "" for n in range(256)}},
        {"if_digest": "0"},
        {"ttl": -1},
        {"extra": "text"},
        {"content_type": "text/\n"},
    ],
    ids=str,
)
def test_what_is_wrong_is_said_before_any_file_is_stored(face: Blocking, tree: Path, details: dict) -> None:
    with pytest.raises(InvalidArtifactError):
        face.put(tree, **details)
    assert face.ask("list_all") == []
