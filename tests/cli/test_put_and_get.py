"""What is put comes back: files, standard input, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from coatcheck import ArtifactStore
from coatcheck.cli.get import is_plain_text

from ..users import MALLORY
from .running import ABSENT, Coatcheck, process, ticket_of


def test_what_is_put_can_be_got_by_id_and_by_ticket(coatcheck: Coatcheck, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x00\xff\r\n")

    put = coatcheck("put", str(tmp_path / "a.bin"))

    assert coatcheck("get", put.stdout.strip()).raw == b"\x00\xff\r\n"
    assert coatcheck("get", ticket_of(put.stdout)).raw == b"\x00\xff\r\n"


def test_standard_input_goes_in_and_standard_output_out(coatcheck: Coatcheck) -> None:
    put = coatcheck("put", "-", stdin=b"from a pipe")

    assert coatcheck("get", ticket_of(put.stdout), "-o", "-").raw == b"from a pipe"


def test_put_takes_run_ttl_type_tags_and_id(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    words = ["--run", "r", "--ttl", "1h", "--type", "text/x", "--tag", "k=v", "--tag", "empty=", "--id", "mine"]

    stored = coatcheck("put", "-", *words, "--json", stdin=b"x").json

    [view] = store.list_by_run("r")
    assert stored == view.to_dict()
    assert view.artifact_id == "mine"
    assert view.content_type == "text/x"
    assert view.tags == {"k": "v", "empty": ""}
    assert view.expires_at is not None


def test_put_and_link_take_conditions_and_extra(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    name = ["--id", "name"]

    first = coatcheck(
        "put", "-", *name, "--if-absent", "--extra", "n=3", "--extra", 'k="=ü"', "--json", stdin=b"1"
    ).json
    assert (store.get_metadata("name").extra, first["extra"]) == ({"n": 3, "k": "=ü"}, {"n": 3, "k": "=ü"})
    late = coatcheck("put", "-", *name, "--if-absent", stdin=b"2")
    assert (late.code, late.stdout) == (1, "")
    assert "name" in late.stderr
    assert coatcheck("put", "-", *name, "--if-digest", first["digest"], stdin=b"2").code == 0
    assert coatcheck("put", "-", *name, "--if-digest", first["digest"], stdin=b"3").code == 1
    assert store.load("name").content == b"2"
    assert [coatcheck("put", "-", "--if-absent", stdin=b"4").code for _ in range(2)] == [0, 1]
    for wrong in ("n", "=1", "n=", "n=x"):
        assert coatcheck("put", "-", "--extra", wrong, stdin=b"4").code == 2
    assert len(store.list_all()) == 2

    assert coatcheck("link", "name", "other", "--run", "r", "--tag", "k=v", "--if-absent").json == {
        "$artifact": "other"
    }
    assert (store.load("other").content, store.list_by_run("r")[0].tags) == (b"2", {"k": "v"})
    assert coatcheck("link", "name", "other", "--if-absent").code == 1
    assert coatcheck("link", ABSENT, "third").code == 1


def test_get_writes_a_whole_file_or_nothing(coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path) -> None:
    view = store.store(b"content")
    out = tmp_path / "out"
    out.mkdir()

    assert coatcheck("get", ABSENT, "-o", str(out / "f")).code == 1
    assert not any(out.iterdir())

    assert coatcheck("get", view.artifact_id, "-o", str(out / "f")).code == 0
    assert (out / "f").read_bytes() == b"content"
    assert [path.name for path in out.iterdir()] == ["f"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are text")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_a_name_that_is_no_text_is_shown_by_its_bytes(url: str, tmp_path: Path, encoding: str) -> None:
    names = [b"b\xfcro", b"\xff\xfe", "北".encode(), b"missing\xff"]
    for name in names[:3]:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(name)

    environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"}
    words = ["--url", url, "put", *map(os.fsdecode, names)]
    with process(*words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        out, error = running.communicate()
    shown = "北" if encoding == "utf-8" else r"\u5317"
    assert [line.split("\t")[1] for line in out.decode(encoding).splitlines()] == [r"b\xfcro", r"\xff\xfe", shown]
    assert error.decode(encoding).startswith(r"error: missing\xff: ")
    assert running.returncode == 1


def status_of(process_id: int) -> str:
    """What Linux tells of a process; of one that is gone nothing."""
    try:
        return Path(f"/proc/{process_id}/status").read_text()
    except OSError:
        return ""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_content_passes_through_in_little_memory(url: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    size = 300 << 20
    with source.open("wb") as file:
        file.truncate(size)

    def run(*arguments: str, **options: Any) -> bytes:
        with process("--url", url, *arguments, stdout=subprocess.PIPE, **options) as running:
            peak = 0
            while running.poll() is None:
                peak = max(peak, *map(int, re.findall(r"VmHWM:\s+(\d+) kB", status_of(running.pid))), 0)
            shown = running.stdout.read()
        assert running.returncode == 0
        assert 1 << 10 < peak < 200 << 10  # KiB, the interpreter and its modules included
        return shown

    ticket = run("put", str(source)).decode()
    with source.open("rb") as file:
        assert run("put", "-", stdin=file).decode() == ticket
    run("get", ticket_of(ticket), "-o", str(target))
    assert target.stat().st_size == size
    with target.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest()[:32] == ticket_of(ticket)


def test_a_damaged_artifact_leaves_the_old_file(coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path) -> None:
    view = store.store(b"content")
    target = tmp_path / "f"
    target.write_bytes(b"old")
    next((tmp_path / "store").rglob(f"{view.digest}.bin")).write_bytes(b"CONTENT")

    assert coatcheck("get", view.artifact_id, "-o", str(target), "--force").code == 4
    assert target.read_bytes() == b"old"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".coatcheck")]


def test_get_overwrites_only_when_forced(coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path) -> None:
    view = store.store(b"new")
    target = tmp_path / "f"
    target.write_bytes(b"old")

    assert "--force" in coatcheck("get", view.artifact_id, "-o", str(target)).stderr
    assert target.read_bytes() == b"old"

    assert coatcheck("get", view.artifact_id, "-o", str(target), "--force").code == 0
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("has_links", [True, False])
@pytest.mark.parametrize("appear", [Path.touch, os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path.parent / "x")])
def test_get_replaces_nothing_that_appeared_meanwhile(
    coatcheck: Coatcheck,
    store: ArtifactStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    appear: Callable[[Path], None],
    has_links: bool,
) -> None:
    view = store.store(b"new")
    target = tmp_path / "f"
    monkeypatch.setattr("coatcheck.cli.get.find_id", lambda _, text: appear(target) or text)
    if not has_links:  # as on FAT
        monkeypatch.setattr(Path, "hardlink_to", lambda *_: os.link(tmp_path, tmp_path / "no links to directories"))

    assert "--force" in coatcheck("get", view.artifact_id, "-o", str(target)).stderr
    assert not target.is_file() or target.read_bytes() == b""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "store"]


def test_get_names_a_file_where_there_are_no_links(
    coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = store.store(b"new")
    monkeypatch.setattr(Path, "hardlink_to", lambda *_: os.link(tmp_path, tmp_path / "no links to directories"))

    assert coatcheck("get", view.artifact_id, "-o", str(tmp_path / "f")).code == 0
    assert (tmp_path / "f").read_bytes() == b"new"


@pytest.mark.parametrize("mode", [0o600, 0o444, 0o666])
def test_a_file_that_is_overwritten_keeps_its_mode(
    coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path, mode: int
) -> None:
    view = store.store(b"new")
    (tmp_path / "f").touch()
    (tmp_path / "f").chmod(mode)

    assert coatcheck("get", view.artifact_id, "-o", str(tmp_path / "f"), "--force").code == 0
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode


def test_get_writes_through_no_link_of_another_user(
    coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path, commons: Path
) -> None:
    view = store.store(b"new")
    (tmp_path / "precious").write_text("precious")
    (commons / "f").symlink_to(tmp_path / "precious")
    os.lchown(commons / "f", MALLORY, MALLORY)

    assert "another user's link" in coatcheck("get", view.artifact_id, "-o", str(commons / "f"), "--force").stderr
    assert (tmp_path / "precious").read_text() == "precious"


def test_get_refuses_a_directory_and_writes_through_a_link(
    coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path
) -> None:
    view = store.store(b"new")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert coatcheck("get", view.artifact_id, "-o", str(tmp_path), "--force").code == 1
    assert coatcheck("get", view.artifact_id, "-o", str(tmp_path / "link"), "--force").code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_get_does_not_replace_a_device(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    view = store.store(b"new")

    assert coatcheck("get", view.artifact_id, "-o", os.devnull, "--force").code == 0
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("text", ["grüße\n\tyou\r\n", "北京\u3000\xa0[red]", "x" * (1 << 20) + "\r\n", ""])
def test_plain_text(text: str) -> None:
    assert is_plain_text(BytesIO(text.encode()))


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J", "\x00", "\x9b2J", "\x7f", "\x0c", "a\rb", "a\r", "\u2028", *"\u202e\u2066\u200b\ufeff\u3164\ufe0f\xad"],
)
def test_no_plain_text(text: str) -> None:
    assert not is_plain_text(BytesIO(text.encode()))
    assert not is_plain_text(BytesIO(("x" * (1 << 20) + text).encode()))
