"""Directories under one ticket: they come back as they were, and nothing is ever written outside of them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coatcheck import (
    ArtifactDecodeError,
    ArtifactMetadata,
    ArtifactNotFoundError,
    ArtifactStore,
    AsyncInMemoryArtifactStore,
    CorruptArtifactError,
    InMemoryArtifactStore,
    InvalidArtifactError,
    compute_artifact_id,
)
from coatcheck.trees import TREE_TYPE, aopen_run, aopen_tree, astore_tree, open_run, open_tree, store_tree
from coatcheck.trees.finding import Found, batches, find, guess_type, open_regular


class Blocking:
    """The functions, on the blocking face."""

    def __init__(self) -> None:
        self.store: Any = InMemoryArtifactStore()

    def put(self, directory: Path, **options: Any) -> ArtifactMetadata:
        return store_tree(directory, self.store, **options)

    def restore(self, ref: Any, directory: Path, **options: Any) -> None:
        open_tree(ref, self.store).restore(directory, **options)

    def restore_run(self, run_id: str, directory: Path) -> None:
        open_run(run_id, self.store).restore(directory)

    def entries(self, ref: Any) -> list:
        return list(open_tree(ref, self.store).entries)

    def read(self, ref: Any, path: str) -> bytes:
        with open_tree(ref, self.store).open(path) as reader:
            return reader.read()

    def ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        return getattr(self.store, name)(*arguments, **options)


class Awaited(Blocking):
    """The same, awaited."""

    def __init__(self) -> None:
        self.store = AsyncInMemoryArtifactStore()

    def put(self, directory: Path, **options: Any) -> ArtifactMetadata:
        return asyncio.run(astore_tree(directory, self.store, **options))

    def restore(self, ref: Any, directory: Path, **options: Any) -> None:
        async def restore() -> None:
            await (await aopen_tree(ref, self.store)).restore(directory, **options)

        asyncio.run(restore())

    def restore_run(self, run_id: str, directory: Path) -> None:
        async def restore() -> None:
            await (await aopen_run(run_id, self.store)).restore(directory)

        asyncio.run(restore())

    def entries(self, ref: Any) -> list:
        return list(asyncio.run(aopen_tree(ref, self.store)).entries)

    def read(self, ref: Any, path: str) -> bytes:
        async def read() -> bytes:
            async with await (await aopen_tree(ref, self.store)).open(path) as reader:
                return await reader.read()

        return asyncio.run(read())

    def ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        return asyncio.run(getattr(self.store, name)(*arguments, **options))


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


def look(directory: Path) -> dict[str, tuple]:
    """Everything that is to come back."""
    found = {".": (stat.S_IMODE(directory.stat().st_mode),)}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = (os.readlink(path),)
        else:
            content = path.read_bytes() if path.is_file() else None
            found[name] = (stat.S_IMODE(path.stat().st_mode), content)
    return found


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
