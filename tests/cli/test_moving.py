"""`copy`, `export` and `import`, as people and scripts type them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from coatcheck import FileArtifactStore, open_store

from .running import on_terminal


@pytest.fixture
def other(tmp_path) -> str:
    return f"file://{tmp_path}/other"


@pytest.fixture
def filled(store):
    store.store(b"one", run_id="a", ttl=3600, tags={"k": "v"})
    store.store(b"two", run_id="b", artifact_id="name")
    return store


def test_a_store_is_copied_to_another(coatcheck, filled, url, other) -> None:
    done = coatcheck("copy", url, other, "--verify")
    assert done.code == 0
    assert done.stdout.splitlines() == ["2 artifacts with 2 leases, 6 B sent", "2 were read back"]
    with open_store(other) as copied:
        assert copied.load("name").content == b"two"
        assert copied.list_runs() == ["a", "b"]
    assert coatcheck("copy", url, other).stdout.splitlines()[1] == "2 were there already"


def test_one_run_is_copied_into_a_namespace(coatcheck, filled, url) -> None:
    told = coatcheck("copy", url, url, "--run", "a", "--to-namespace", "mine", "--json").json
    assert (told["artifacts"], told["ok"]) == (1, True)
    with open_store(url, namespace="mine") as copied:
        assert copied.list_runs() == ["a"]


def test_a_store_is_not_copied_onto_itself(coatcheck, filled, url) -> None:
    assert coatcheck("copy", url, url).code == 2


def test_what_was_left_is_told(coatcheck, filled, url, other) -> None:
    with open_store(other) as copied:
        copied.store(b"theirs", artifact_id="name")
    left = coatcheck("copy", url, other)
    assert left.code == 1
    assert "1 ids stand for other content there and were left, such as name" in left.stderr
    assert coatcheck("copy", url, other, "--replace").code == 0


def test_what_cannot_be_read_is_told(coatcheck, filled, url, other, tmp_path) -> None:
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file() and path.read_bytes() == b"one":
            path.write_bytes(b"0ne")
    left = coatcheck("copy", url, other)
    assert left.code == 4
    assert "1 artifacts could not be read in the source" in left.stderr


def test_a_run_goes_through_a_file(coatcheck, filled, tmp_path, other) -> None:
    assert coatcheck("export", "a", f"{tmp_path}/a.tar").stdout == "1 artifacts, 3 B\n"
    assert coatcheck("export", "a", f"{tmp_path}/a.tar").code == 1
    assert coatcheck("export", "nobody", f"{tmp_path}/b.tar").code == 1
    assert coatcheck("import", f"{tmp_path}/a.tar", url=other).code == 0
    assert coatcheck("import", f"{tmp_path}/a.tar", "--run", "c", "--ttl", "1h", url=other).code == 0
    with open_store(other) as copied:
        assert copied.list_runs() == ["a", "c"]
        assert copied.list_by_run("c")[0].tags == {"k": "v"}


def test_what_is_no_archive_is_refused(coatcheck, tmp_path, other) -> None:
    (tmp_path / "a.tar").write_bytes(b"x" * 2000)
    refused = coatcheck("import", f"{tmp_path}/a.tar", url=other)
    assert refused.code == 2
    assert "not an archive of a run" in refused.stderr
    assert coatcheck("import", f"{tmp_path}/absent.tar", url=other).code == 1


def test_archives_go_through_pipes(filled, url, other) -> None:
    command = [sys.executable, "-m", "coatcheck"]
    with subprocess.Popen([*command, "--url", url, "export", "a", "-"], stdout=subprocess.PIPE, env=os.environ) as one:
        done = subprocess.run([*command, "--url", other, "import", "-"], stdin=one.stdout, env=os.environ, check=True)
    assert (one.returncode, done.returncode) == (0, 0)
    with open_store(other) as copied:
        assert len(copied.list_all()) == 1


def test_a_terminal_is_shown_what_was_done(filled, url, tmp_path) -> None:
    code, shown = on_terminal("copy", url, f"file://{tmp_path}/third", term="xterm-256color")
    assert code == 0
    assert b"2 artifacts with 2 leases, 6 B sent" in shown
    with FileArtifactStore(tmp_path / "third") as copied:
        assert len(copied.list_all()) == 2
