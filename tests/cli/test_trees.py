"""Directories on the command line: one ticket, whole and nowhere else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from coatcheck import ArtifactStore, compute_artifact_id
from coatcheck.embedded import start_engine

from .running import Coatcheck, ticket_of


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "a.txt").write_text("a")
    (tree / "a.txt").chmod(0o640)
    (tree / "sub" / "same.txt").write_text("a")
    (tree / "sub" / "large").write_bytes(bytes(9 << 20))
    (tree / "link").symlink_to("sub/large")
    return tree


def test_a_directory_is_one_ticket_and_comes_back(
    coatcheck: Coatcheck, store: ArtifactStore, tree: Path, tmp_path: Path
) -> None:
    put = coatcheck("put", str(tree), "--run", "r", "--tag", "k=v", "--ttl", "1h", "--id", "mine")

    assert put.stdout == '{"$artifact": "mine"}\n'
    assert {view.tags["k"] for view in store.list_by_run("r")} == {"v"}
    assert store.get_metadata("mine").tags == {"k": "v", "path": "tree"}
    assert coatcheck("get", put.stdout.strip(), "-o", str(tmp_path / "back")).code == 0
    assert (tmp_path / "back" / "sub" / "same.txt").read_text() == "a"
    assert (tmp_path / "back" / "link").readlink() == Path("sub/large")
    assert stat.S_IMODE((tmp_path / "back" / "a.txt").stat().st_mode) == 0o640
    for options in ([], ["--force"]):  # neither merged nor replaced
        assert coatcheck("get", "mine", "-o", str(tmp_path / "back"), *options).code == 1
    assert coatcheck("get", "mine").code == 1
    assert coatcheck("get", "mine", "-o", "-").raw == store.load("mine").content


def test_a_tree_is_listed(coatcheck: Coatcheck, tree: Path) -> None:
    (tree / "sub").chmod(0o755)
    ticket = coatcheck("put", str(tree)).stdout.strip()

    assert coatcheck("ls", ticket).stdout.splitlines() == [
        "-rw-r-----\t1\ta.txt",
        "lrwxrwxrwx\t-\tlink -> sub/large",
        "drwxr-xr-x\t-\tsub/",
        f"-rw-r--r--\t{9 << 20}\tsub/large",
        "-rw-r--r--\t1\tsub/same.txt",
    ]
    [first, *_] = coatcheck("ls", ticket, "--json").lines
    assert first == {
        "path": "a.txt",
        "kind": "file",
        "mode": "640",
        "artifact_id": compute_artifact_id(b"a"),
        "size_bytes": 1,
        "content_type": "text/plain",
    }


def test_one_file_of_a_tree_is_written(coatcheck: Coatcheck, tree: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(b"sub/\xff:x")
    (tree / odd).write_text("odd")
    ticket = coatcheck("put", str(tree)).stdout.strip()
    artifact_id = ticket_of(ticket)

    assert coatcheck("get", f"{ticket}:sub/same.txt").stdout == "a"
    assert coatcheck("get", f"{artifact_id[:12]}:{odd}").stdout == "odd"
    coatcheck("get", f"{artifact_id}:sub/large", "-o", str(tmp_path / "large"))
    assert (tmp_path / "large").read_bytes() == bytes(9 << 20)
    for path in ("link", "../a.txt", ""):
        refused = coatcheck("get", f"{artifact_id}:{path}")
        assert (refused.code, refused.stderr) == (1, f"error: {path!r} is no file of artifact {artifact_id}\n")
    assert coatcheck("get", f"{compute_artifact_id(b'a')}:a.txt").code == 4


def test_a_directory_of_a_tree_is_written_and_listed(coatcheck: Coatcheck, tree: Path, tmp_path: Path) -> None:
    (tree / "sub" / "up").symlink_to("../a.txt")
    (tree / "sub" / "deep").mkdir()
    (tree / "sub" / "deep" / "x").write_text("x")
    ticket = coatcheck("put", str(tree)).stdout.strip()

    assert coatcheck("get", f"{ticket}:sub/deep/", "-o", str(tmp_path / "back")).code == 0
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["x"]
    refused = coatcheck("get", f"{ticket}:sub", "-o", str(tmp_path / "out"))
    assert refused.code == 2
    assert "its link 'up' leads out of it" in refused.stderr
    assert coatcheck("get", f"{ticket}:sub").stderr == "error: sub is a directory: name a new one by -o\n"
    assert [line["path"] for line in coatcheck("ls", f"{ticket}:sub", "--json").lines] == [
        "deep",
        "deep/x",
        "large",
        "same.txt",
        "up",
    ]
    assert coatcheck("ls", f"{ticket}:sub/").stdout == coatcheck("ls", f"{ticket}:sub").stdout
    assert coatcheck("ls", f"{ticket}:a.txt").code == 1


def test_what_cannot_be_stored_is_said_and_counts(coatcheck: Coatcheck, tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    (tree / "out").symlink_to("/etc/passwd")

    put = coatcheck("put", str(tree))

    assert put.code == 1
    assert put.stderr.splitlines() == [
        f"warning: {tree}/pipe is a FIFO: not stored",
        f"warning: {tree}/out is a link that leads out of the tree: not stored",
    ]
    assert len(coatcheck("ls", put.stdout.strip()).stdout.splitlines()) == 5


def test_several_paths_globs_and_standard_input_go_in_together(
    coatcheck: Coatcheck, store: ArtifactStore, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    put = coatcheck("put", "tree", "tree/sub/s*", "-", "tree/*.txt", "--run", "r", stdin=b"in")

    assert [line.split("\t")[1] for line in put.stdout.splitlines()] == ["tree", "tree/sub/same.txt", "-", "tree/a.txt"]
    assert store.load_text(ticket_of(put.stdout.splitlines()[2])) == "in"
    assert store.get_metadata(compute_artifact_id(b"a")).tags == {"path": "a.txt"}
    lines = coatcheck("put", "tree/a.txt", "tree", "--json", "--tag", "path=b").lines
    assert [view["tags"] for view in lines] == [{"path": "b"}, {"path": "b"}]


def test_what_cannot_be_read_does_not_keep_the_rest_out(coatcheck: Coatcheck, store: ArtifactStore, tree: Path) -> None:
    put = coatcheck("put", str(tree / "a.txt"), str(tree / "absent"), str(tree / "sub" / "same.txt"), "-", stdin=b"z")

    assert put.code == 1
    assert "absent: No such file or directory" in put.stderr
    assert len(put.stdout.splitlines()) == 3


def test_a_damaged_file_leaves_nothing_of_a_tree(
    coatcheck: Coatcheck, store: ArtifactStore, tree: Path, tmp_path: Path
) -> None:
    ticket = coatcheck("put", str(tree)).stdout.strip()
    digest = store.get_metadata(compute_artifact_id(b"a")).digest
    next((tmp_path / "store").rglob(f"{digest}.bin")).write_bytes(b"A")

    assert coatcheck("get", ticket, "-o", str(tmp_path / "back")).code == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "tree"]


@pytest.mark.parametrize("content", [b"{", b'{"$tree": 1, "mode": "755", "entries": [{"path": "../x"}]}'])
def test_what_says_that_it_is_a_tree_and_is_none_is_corrupt(
    coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path, content: bytes
) -> None:
    store.store(content, artifact_id="bad", content_type="application/vnd.coatcheck.tree+json")

    assert coatcheck("ls", "bad").code == 4
    assert coatcheck("get", "bad", "-o", str(tmp_path / "back")).code == 4
    assert not (tmp_path / "back").exists()


def test_all_of_a_run_comes_back(coatcheck: Coatcheck, store: ArtifactStore, tree: Path, tmp_path: Path) -> None:
    coatcheck("put", str(tree), str(tree / "sub" / "same.txt"), "--run", "r")
    unnamed = store.store(b"unnamed", run_id="r").artifact_id

    assert coatcheck("get", "--run", "r", "-o", str(tmp_path / "back")).code == 0
    back = tmp_path / "back"
    assert sorted(str(path.relative_to(back)) for path in back.rglob("*")) == sorted(
        ["same.txt", "tree", "tree/a.txt", "tree/link", "tree/sub", "tree/sub/large", "tree/sub/same.txt", unnamed]
    )
    assert coatcheck("get", "--run", "r", "-o", str(back)).code == 1


def test_a_tree_with_large_files_goes_through_a_server(coatcheck: Coatcheck, engine_home: Path, tmp_path: Path) -> None:
    url = f"embedded://{engine_home}"
    (tmp_path / "tree").mkdir()
    contents = {"large": os.urandom(1 << 20) * 17, "again": bytes(17 << 20), "same": bytes(17 << 20), "small": b"x"}
    for name, content in contents.items():
        (tmp_path / "tree" / name).write_bytes(content)

    with start_engine(engine_home):
        ticket = coatcheck("put", str(tmp_path / "tree"), "--run", "r", "--ttl", "1h", url=url).stdout.strip()
        assert coatcheck("get", ticket, "-o", str(tmp_path / "back"), url=url).code == 0
        assert coatcheck("get", "--run", "r", "-o", str(tmp_path / "run"), url=url).code == 0
        assert coatcheck("check", url=url).code == 0
    for back in (tmp_path / "back", tmp_path / "run" / "tree"):
        assert {path.name: path.read_bytes() for path in back.iterdir()} == contents
