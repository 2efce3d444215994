"""The command line as people and scripts meet it. Invocations share nothing but a directory."""

from __future__ import annotations

import contextlib
import hashlib
import re
import json
import logging
import os
import pty
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import redis
from typer.testing import CliRunner

from coatcheck import ArtifactStore, FileArtifactStore, InvalidArtifactError, StoreStats, open_store
from coatcheck.cli.app import _OneLine, _show_warning, app
from coatcheck.cli.failures import CommandError
from coatcheck.cli.files import LocalFile, batches, guess_type, open_regular, regular_files
from coatcheck.cli.get import _is_plain_text
from coatcheck.cli.output import printable
from coatcheck.cli.values import parse_id, parse_tags, parse_ttl

from ..users import MALLORY

EVIL = "[red]\x1b]0;title\x07\nline\x9b2J\u202e\u200b\u3164\ufe0f\U000e0041"
ABSENT = "0" * 32


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COATCHECK_URL", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store"


@pytest.fixture
def store(url: str) -> Iterator[ArtifactStore]:
    with open_store(url) as store:
        yield store


class Outcome:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, stdout: bytes, stderr: str) -> None:
        self.code = code
        self.raw = stdout
        self.stderr = stderr

    @property
    def stdout(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


Coatcheck = Callable[..., Outcome]


@pytest.fixture
def coatcheck(url: str) -> Coatcheck:
    """Run a command in this process."""

    def run(*arguments: str, url: str = url, stdin: bytes | None = None) -> Outcome:
        result = CliRunner().invoke(app, ["--url", url, *arguments], input=stdin, prog_name="coatcheck")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        outcome = Outcome(result.exit_code, result.stdout_bytes, result.stderr)
        assert len(outcome.stderr.splitlines()) == (1 if outcome.code else 0), outcome.stderr
        assert not outcome.code or outcome.stderr.startswith("error: ")
        return outcome

    return run


def process(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Run a command in a process of its own, with warnings as errors."""
    return subprocess.Popen([sys.executable, "-W", "error", "-m", "coatcheck", *arguments], **options)


def on_terminal(*arguments: str, answer: bytes = b"", term: str = "dumb") -> tuple[int, bytes]:
    """Run a command on a terminal: its exit code and everything shown."""
    mine, its = pty.openpty()
    environment = {**os.environ, "TERM": term, "COLUMNS": "200"}
    with process(*arguments, stdin=its, stdout=its, stderr=its, env=environment) as running:
        os.close(its)
        try:
            os.write(mine, answer)
            shown = b""
            with contextlib.suppress(OSError):  # how Linux says that nobody has the terminal open any more
                while select.select([mine], [], [], 60)[0] and (chunk := os.read(mine, 65536)):
                    shown += chunk
        finally:
            os.close(mine)
    return running.returncode, shown


def ticket_of(line: str) -> str:
    return json.loads(line.split("\t")[0])["$artifact"]


# put and get ----------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.json", "application/json"),
        ("a.html", "text/html"),
        ("a.tar.gz", "application/gzip"),
        ("a.tar.bz2", "application/x-bzip2"),
        ("noextension", "application/octet-stream"),
    ],
)
def test_the_type_is_guessed_by_name(name: str, kind: str) -> None:
    assert guess_type(Path(name)) == kind


def test_a_directory_is_put_file_by_file(coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub" / "deep").mkdir(parents=True)
    (tree / "a.txt").write_text("a")
    (tree / "sub" / "b.json").write_text("{}")
    (tree / "sub" / "deep" / "same.txt").write_text("a")
    (tree / "link").symlink_to(tree / "a.txt")
    (tree / "folder-link").symlink_to(tmp_path)
    os.mkfifo(tree / "pipe")

    put = coatcheck("put", str(tree), "--run", "r", "--tag", "k=v")

    paths = [line.split("\t")[1] for line in put.stdout.splitlines()]
    assert paths == ["a.txt", "sub/b.json", "sub/deep/same.txt"]
    views = {view.tags["path"]: view for view in store.list_by_run("r")}
    assert views["sub/b.json"].content_type == "application/json"
    assert views["sub/b.json"].tags["k"] == "v"
    assert store.load_text(ticket_of(put.stdout.splitlines()[0])) == "a"


def test_a_directory_in_json_is_a_list(coatcheck: Coatcheck, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_bytes(b"1")

    [view] = coatcheck("put", str(tmp_path / "tree"), "--json").json

    assert view["tags"] == {"path": "a"}


@pytest.mark.parametrize("size", [0, 9 << 20], ids=["small", "large"])
def test_equal_files_of_a_directory_keep_their_names(
    coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path, size: int
) -> None:
    for name in ("a", "b/a", "c"):
        (tmp_path / "tree" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "tree" / name).write_bytes(bytes(size))

    for _ in range(2):
        put = coatcheck("put", str(tmp_path / "tree"), "--run", "r").stdout.splitlines()
        assert sorted(view.tags["path"] for view in store.list_by_run("r")) == ["a", "b/a", "c"]
        assert {store.load(ticket_of(line)).content for line in put} == {bytes(size)}


def test_what_took_a_files_place_is_not_read(tmp_path: Path) -> None:
    tree, secret = tmp_path / "tree", tmp_path / "secrets"
    for directory in (tree / "folder", tree / "way", secret):
        directory.mkdir(parents=True)
    (secret / "file").write_text("secret")
    for name in ("file", "pipe", "folder/file", "way/file"):
        (tree / name).write_text("public")
    found = {file.name: file for file in regular_files(tree)}
    for name in found:
        (tree / name).unlink()
    (tree / "file").symlink_to(secret / "file")
    os.mkfifo(tree / "pipe")
    (tree / "folder/file").mkdir()
    (tree / "way").rmdir()
    (tree / "way").symlink_to(secret)

    for file in found.values():
        with pytest.raises(CommandError, match="no regular file any more"):
            open_regular(tree, file)


def test_an_empty_directory_is_nothing_done(coatcheck: Coatcheck, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()

    assert coatcheck("put", str(tmp_path / "tree")).code == 1


def test_what_was_stored_is_said_when_a_later_file_fails(
    coatcheck: Coatcheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / "tree" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "tree" / name).write_text(name)
    monkeypatch.setattr("coatcheck.cli.files.BATCH_FILES", 1)

    def failing(directory: Path, file: LocalFile) -> BufferedReader:
        if file.name == "b":
            raise PermissionError(13, "Permission denied", str(file.path))
        return open_regular(directory, file)

    monkeypatch.setattr("coatcheck.cli.put.open_regular", failing)

    put = coatcheck("put", str(tmp_path / "tree"))

    assert put.code == 1
    assert put.stdout.endswith("\ta\n")
    assert "Permission denied" in put.stderr


def test_names_that_are_not_utf8_become_readable_tags(tmp_path: Path) -> None:
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    try:
        Path(strange).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")

    [file] = regular_files(tmp_path)

    assert file.name == "\\xff"
    assert file.path.read_bytes() == b"x"


def test_batches_are_bounded_by_bytes_and_number() -> None:
    files = [LocalFile(Path("x"), "x", size) for size in (5 << 20, 5 << 20, 20 << 20, *[0] * 250)]

    assert [len(batch) for batch in batches(files)] == [1, 1, 1, 200, 50]


def test_get_writes_a_whole_file_or_nothing(coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path) -> None:
    view = store.store(b"content")
    out = tmp_path / "out"
    out.mkdir()

    assert coatcheck("get", ABSENT, "-o", str(out / "f")).code == 1
    assert not any(out.iterdir())

    assert coatcheck("get", view.artifact_id, "-o", str(out / "f")).code == 0
    assert (out / "f").read_bytes() == b"content"
    assert [path.name for path in out.iterdir()] == ["f"]


def test_large_content_passes_through_in_little_memory(url: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    size = 300 << 20
    with source.open("wb") as file:
        file.truncate(size)

    def run(*arguments: str, **options: Any) -> bytes:
        with process("--url", url, *arguments, stdout=subprocess.PIPE, **options) as running:
            shown = running.stdout.read()
            _, status, used = os.wait4(running.pid, 0)
            running.returncode = os.waitstatus_to_exitcode(status)
        assert running.returncode == 0
        assert used.ru_maxrss < 200 << 10  # KiB, the interpreter and its modules included
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


def test_a_large_file_of_a_directory_is_stored_too(coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.txt").write_bytes(b"a")
    (tmp_path / "tree" / "b.txt").write_bytes(bytes(20 << 20))

    put = coatcheck("put", str(tmp_path / "tree"), "--tag", "k=v", "--run", "r", "--json").json

    assert [view["size_bytes"] for view in put] == [1, 20 << 20]
    assert [view["content_type"] for view in put] == ["text/plain"] * 2
    assert [view["tags"] for view in put] == [{"k": "v", "path": "a.txt"}, {"k": "v", "path": "b.txt"}]
    assert len(store.list_by_run("r")) == 2


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
    monkeypatch.setattr("coatcheck.cli.get.parse_id", lambda text: appear(target) or text)
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


# Looking --------------------------------------------------------------------------------------------------------


def test_show_tells_metadata_and_leases(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    store.store(b"x", run_id="one", ttl=60)
    view = store.store(b"x", run_id="two", tags={"k": "v"})

    shown = coatcheck("show", view.artifact_id, "--json").json

    assert shown.pop("leases") == [lease.model_dump() for lease in store.leases(view.artifact_id)]
    assert shown == view.to_dict()
    text = coatcheck("show", view.artifact_id).stdout
    for expected in ("one", "two", "k=v", view.digest, "1 bytes"):
        assert str(expected) in text


def test_ls_filters(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    old = store.store(b"1", run_id="one", tags={"k": "v"}, content_type="text/plain")
    while True:
        new = store.store(b"2", run_id="two", content_type="text/html")
        if new.created_at > old.created_at:
            break

    def ids(*words: str) -> list[str]:
        listed = coatcheck("ls", "--json", *words).json
        assert [view["artifact_id"] for view in listed] == [
            line.split("\t")[0] for line in coatcheck("ls", *words).stdout.splitlines()
        ]
        return [view["artifact_id"] for view in listed]

    assert ids() == [new.artifact_id, old.artifact_id]
    assert ids("--limit", "1") == [new.artifact_id]
    assert ids("--run", "one") == [old.artifact_id]
    assert ids("--type", "text/html") == [new.artifact_id]
    assert ids("--tag", "k=v") == [old.artifact_id]
    assert ids("--since", new.created_at) == [new.artifact_id]
    assert ids("--before", old.created_at) == [old.artifact_id]
    assert ids("--run", "nobody") == []


def test_runs_and_stats(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    store.store(b"x", run_id="two")
    store.store(b"x", run_id="one")

    assert coatcheck("runs").stdout == "one\ntwo\n"
    assert coatcheck("runs", "--json").json == ["one", "two"]
    assert StoreStats(**coatcheck("stats", "--json").json) == store.stats()
    assert "leases\t2" in coatcheck("stats").stdout


def test_what_others_wrote_is_not_obeyed(coatcheck: Coatcheck, store: ArtifactStore, url: str) -> None:
    view = store.store(b"x", run_id=EVIL, tags={EVIL: EVIL})  # content types hold no control characters

    pages = [coatcheck(*words).raw for words in (["ls"], ["runs"], ["show", view.artifact_id], ["ls", "--json"])]
    pages += [on_terminal("--url", url, *words)[1] for words in (["ls"], ["runs"], ["show", view.artifact_id])]

    for page in pages:
        assert b"[red]" in page
        assert b"title" in page
        assert b"\x1b" not in page
        assert b"\x07" not in page
        assert "\x9b".encode() not in page
        assert not set(page.decode()) & set("\u202e\u200b\u3164\ufe0f\U000e0041")
    assert coatcheck("runs").stdout == printable(EVIL) + "\n"


def test_nobody_elses_words_hide_in_warnings_and_logs(capsys: pytest.CaptureFixture[str]) -> None:
    _show_warning(f"the server says {EVIL}")
    _OneLine().emit(logging.LogRecord("n", logging.WARNING, "", 0, "the server says %s", (EVIL,), None))

    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(line.isprintable() and "title" in line and "\u3164" not in line for line in said)


@pytest.mark.parametrize("text", ["grüße\n\tyou\r\n", "北京\u3000\xa0[red]", "x" * (1 << 20) + "\r\n", ""])
def test_plain_text(text: str) -> None:
    assert _is_plain_text(BytesIO(text.encode()))


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J", "\x00", "\x9b2J", "\x7f", "\x0c", "a\rb", "a\r", "\u2028", *"\u202e\u2066\u200b\ufeff\u3164\ufe0f\xad"],
)
def test_no_plain_text(text: str) -> None:
    assert not _is_plain_text(BytesIO(text.encode()))
    assert not _is_plain_text(BytesIO(("x" * (1 << 20) + text).encode()))


def test_logs_get_no_bars(coatcheck: Coatcheck, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    (tmp_path / "f").write_bytes(bytes(20 << 20))

    for words in (["put", str(tmp_path / "f")], ["put", "."], ["check"]):
        assert coatcheck(*words).stderr == ""


def test_printable_leaves_letters_of_all_scripts_alone() -> None:
    assert printable("grüße 北京 [red] \\") == "grüße 北京 [red] \\"
    assert printable("a\tb\nc\x1b\ud800") == "a\\tb\\nc\\x1b\\ud800"


# Removing -------------------------------------------------------------------------------------------------------


def test_rm_removes_for_every_run(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    one, two = store.store(b"1", run_id="r"), store.store(b"2")

    assert coatcheck("rm", one.artifact_id, f'{{"$artifact": "{two.artifact_id}"}}').stdout == "2 removed\n"
    assert store.list_all() == []


def test_rm_says_what_was_missing_and_removes_the_rest(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    view = store.store(b"1")

    removed = coatcheck("rm", ABSENT, view.artifact_id)

    assert removed.code == 1
    assert ABSENT in removed.stderr
    assert store.list_all() == []


def test_rm_of_a_run_keeps_what_others_lease(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    store.store(b"mine", run_id="one")
    shared = store.store(b"shared", run_id="one")
    store.store(b"shared", run_id="two")

    assert coatcheck("rm", "--run", "one").stdout == "2 given up\n"
    assert [view.artifact_id for view in store.list_all()] == [shared.artifact_id]
    assert coatcheck("rm", "--run", "one").code == 1


def test_rm_of_one_lease(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    view = store.store(b"shared", run_id="one")
    store.store(b"shared", run_id="two")

    assert coatcheck("rm", view.artifact_id, "--run", "one").stdout == "1 given up\n"
    assert [lease.run_id for lease in store.leases(view.artifact_id)] == ["two"]
    assert coatcheck("rm", view.artifact_id, "--run", "one").code == 1


@pytest.mark.parametrize("words", [["rm"], ["rm", "--run", ""]])
def test_rm_of_everything_is_refused(coatcheck: Coatcheck, store: ArtifactStore, words: list[str]) -> None:
    store.store(b"x", run_id="r")

    assert coatcheck(*words).code == 2
    assert len(store.list_all()) == 1


@pytest.mark.parametrize(
    ("words", "answer", "code", "left"),
    [([], b"n\n", 1, 1), ([], b"\n", 1, 1), ([], b"y\n", 0, 0), (["--yes"], b"", 0, 0)],
)
def test_a_terminal_is_asked_before_removal(
    store: ArtifactStore, url: str, words: list[str], answer: bytes, code: int, left: int
) -> None:
    view = store.store(b"x")

    assert on_terminal("--url", url, "rm", view.artifact_id, *words, answer=answer)[0] == code
    assert len(store.list_all()) == left


def test_touch_moves_the_end_of_a_lease(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    view = store.store(b"x", run_id="r")

    assert coatcheck("touch", view.artifact_id, "--ttl", "1h", "--run", "r").code == 0
    [lease] = store.leases(view.artifact_id)
    assert lease.expires_at is not None
    assert coatcheck("touch", view.artifact_id, "--ttl", "never", "--run", "r").code == 0
    [lease] = store.leases(view.artifact_id)
    assert lease.expires_at is None
    assert coatcheck("touch", view.artifact_id, "--ttl", "1h").code == 1


# What people type -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5s", 1.5), ("15m", 900), ("2h", 7200), ("7d", 604800), ("never", None)],
)
def test_ttl(text: str, seconds: float | None) -> None:
    assert parse_ttl(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1w", "1h30m", "1e3", "nan", "inf", "٣", "1 h", "90\n"])
def test_no_ttl(text: str) -> None:
    with pytest.raises(InvalidArtifactError):
        parse_ttl(text)


def test_tags() -> None:
    assert parse_tags(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for text in ("a", "", "=1"):
        with pytest.raises(InvalidArtifactError):
            parse_tags([text])


@pytest.mark.parametrize("text", ["{", "{}", '{"$artifact": 1}', '{"$artifact": null}', '{"artifact": "a"}'])
def test_no_ticket(text: str) -> None:
    with pytest.raises(InvalidArtifactError):
        parse_id(text)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["get", ABSENT], 1),
        (["show", ABSENT], 1),
        (["rm", ABSENT], 1),
        (["rm", "--run", "nobody"], 1),
        (["touch", ABSENT, "--ttl", "1"], 1),
        (["put", "/no/such/file"], 1),
        (["get", "a/b"], 2),
        (["get", "x" * 201], 2),
        (["show", "{}"], 2),
        (["put", "-", "--ttl", "0"], 2),
        (["put", "-", "--ttl", "9" * 400], 2),
        (["put", "-", "--ttl", "soon"], 2),
        (["put", "-", "--tag", "x"], 2),
        (["put", "-", "--run", ""], 2),
        (["put", ".", "--id", "x"], 2),
        (["ls", "--since", "yesterday"], 2),
        (["ls", "--limit", "x"], 2),
        (["touch", ABSENT], 2),
        (["nonsense"], 2),
        (["ls", "--nonsense"], 2),
        (["put"], 2),
        (["put", "\x1b]0;x\x07/\n"], 1),
    ],
)
def test_failures_are_one_line_and_a_code(coatcheck: Coatcheck, words: list[str], code: int) -> None:
    failed = coatcheck(*words, stdin=b"")

    assert failed.code == code
    assert failed.raw == b""
    assert failed.stderr.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    ("url", "code"),
    [("nonsense", 2), ("nonsense://x", 2), ("", 2), ("file://relative", 2), ("unix:///no/such/socket", 3)],
)
def test_a_bad_store_is_one_line_and_a_code(coatcheck: Coatcheck, url: str, code: int) -> None:
    assert coatcheck("ls", url=url).code == code


def test_the_code_says_whose_fault_it_is(coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path) -> None:
    view = store.store(b"content")
    [content] = [path for path in (tmp_path / "store").rglob("*.bin")]

    content.write_bytes(b"damaged")
    assert coatcheck("get", view.artifact_id).code == 4
    content.unlink()
    assert coatcheck("get", view.artifact_id).code == 4
    assert coatcheck("runs", url=f"file://{tmp_path}/store/artifacts/.indexed").code == 3


def test_no_exception_is_a_traceback(coatcheck: Coatcheck, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (KeyError(EVIL), RecursionError(), UnicodeDecodeError("utf-8", b"x", 0, 1, EVIL), AssertionError()):
        monkeypatch.setattr(FileArtifactStore, "list_runs", Mock(side_effect=error))

        failed = coatcheck("runs")

        assert failed.code == 3
        assert type(error).__name__ in failed.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["redis://user:hunter2@host", "ls"],
        ["ls", "redis://user:hunter2@host/0"],
        ["ls", "redis://host?password=hunter2"],
        ["put", "redis://:hunter2"],
        ["put", "redis://:hun@ter2@host"],
        ["get", ABSENT, "-o", "redis://u:hunter2@host/0/x"],
        ["--url", "redis://:hunter2", "ls"],
        ["--url", "redis://:hun ter2@localhost:1", "ls"],
        ["--ulr=redis://:hunter2@host", "ls"],
    ],
)
def test_no_part_of_a_password_is_shown_wherever_it_was_typed(coatcheck: Coatcheck, words: list[str]) -> None:
    failed = coatcheck(*words)

    assert failed.code in (1, 2, 3)
    assert "hun" not in failed.stderr
    assert "ter2" not in failed.stderr


def test_namespaces_do_not_meet(coatcheck: Coatcheck) -> None:
    put = coatcheck("--namespace", "one", "put", "-", stdin=b"x")

    assert coatcheck("--namespace", "one", "get", ticket_of(put.stdout)).raw == b"x"
    assert coatcheck("--namespace", "two", "get", ticket_of(put.stdout)).code == 1


def test_no_command_shows_the_help(url: str) -> None:
    shown = CliRunner().invoke(app, [], prog_name="coatcheck")

    assert shown.exit_code == 2
    assert "Usage: coatcheck" in shown.stdout


@pytest.mark.parametrize("command", ["put", "get", "show", "ls", "runs", "rm", "touch", "stats", "serve"])
def test_every_command_has_help(command: str) -> None:
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


# Real processes -------------------------------------------------------------------------------------------------


def test_the_url_comes_from_the_environment(store: ArtifactStore, url: str) -> None:
    view = store.store(b"content")
    environment = {**os.environ, "COATCHECK_URL": url}

    with process("get", view.artifact_id, stdout=subprocess.PIPE, env=environment) as running:
        assert running.communicate(timeout=60)[0] == b"content"
    assert running.returncode == 0


@pytest.mark.parametrize("command", ["ls", "get", "runs"])
def test_a_reader_that_left_is_no_traceback(store: ArtifactStore, url: str, command: str) -> None:
    view = store.store(b"content" * 100_000, run_id="r")
    read, write = os.pipe()
    os.close(read)

    words = [command, view.artifact_id] if command == "get" else [command]
    with process("--url", url, *words, stdout=write, stderr=subprocess.PIPE) as running:
        os.close(write)
        assert running.communicate(timeout=60)[1] == b""
    assert running.returncode == 1


@pytest.mark.parametrize(
    ("words", "redirection", "said"),
    [
        ("ls", "0<&- 1>&-", b"Bad file descriptor"),
        ("put -", "0<&-", b"Bad file descriptor"),
        ("runs", "2>&-", b""),
        ("nonsense", "0<&- 1>&- 2>&-", b""),
        ("stats", ">/dev/full", b"No space left on device"),
    ],
)
def test_closed_and_full_streams_are_no_traceback(
    store: ArtifactStore, url: str, words: str, redirection: str, said: bytes
) -> None:
    store.store(b"x", run_id="r")
    command = f'exec "$0" -W error -m coatcheck --url "$1" {words} {redirection}'

    done = subprocess.run(["sh", "-c", command, sys.executable, url], capture_output=True, timeout=60, check=False)

    assert done.stderr == (b"error: " + said + b"\n" if said else b"")
    assert done.returncode == (1 if said else {"runs": 0, "nonsense": 2}[words])
    assert len(store.list_all()) == 1


def test_ls_into_head(store: ArtifactStore, url: str) -> None:
    for i in range(3):
        store.store(b"%d" % i)

    with process("--url", url, "ls", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
        head = subprocess.run(["head", "-n", "1"], stdin=listing.stdout, capture_output=True, check=True)
        assert listing.stderr.read() == b""
    assert head.stdout.count(b"\n") == 1


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x1b[2J", b"text\x00", "\x9b2J".encode()])
def test_a_terminal_is_not_given_what_is_not_plain_text(store: ArtifactStore, url: str, content: bytes) -> None:
    view = store.store(content)

    code, shown = on_terminal("--url", url, "get", view.artifact_id)

    assert code == 1
    assert shown.startswith(b"error: ")
    assert content not in shown
    assert on_terminal("--url", url, "get", view.artifact_id, "-o", "-") == (0, content)


def test_a_terminal_is_given_plain_text(store: ArtifactStore, url: str) -> None:
    view = store.store("grüße\n\tyou".encode())

    assert on_terminal("--url", url, "get", view.artifact_id) == (0, "grüße\r\n\tyou".encode())


def test_a_terminal_is_given_tables_and_a_bar(url: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_bytes(b"1")

    code, shown = on_terminal("--url", url, "put", str(tmp_path / "tree"))
    assert code == 0
    assert b'{"$artifact": ' in shown

    for command, expected in (("ls", b"TYPE"), ("stats", b"as stored")):
        code, shown = on_terminal("--url", url, command)
        assert code == 0
        assert expected in shown


def test_a_terminal_is_shown_how_far_large_content_has_come(url: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(40 << 20))

    code, shown = on_terminal("--url", url, "put", str(tmp_path / "large"), term="xterm")
    assert code == 0
    assert b"storing" in shown
    ticket = re.search(rb'{"\$artifact": "[0-9a-f]+"}', shown)[0].decode()

    code, shown = on_terminal("--url", url, "get", ticket, "-o", str(tmp_path / "copy"), term="xterm")
    assert code == 0
    assert b"getting" in shown
    assert b"MB" in shown
    assert (tmp_path / "copy").stat().st_size == 40 << 20


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_one_line_says_what_to_install(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from coatcheck.__main__ import main; main()"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)

    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert b"pip install 'coatcheck[cli]'" in done.stderr


def test_ctrl_c_is_130_and_no_traceback(url: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with process("--url", url, "put", str(tmp_path / "pipe"), stderr=subprocess.PIPE) as running:
        with (tmp_path / "pipe").open("wb", buffering=0) as pipe:
            pipe.write(b"x" * (1 << 20))  # more than a pipe holds: the command is reading
            running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
        assert running.stderr.read() == b""


def test_serve_keeps_the_engine_up_until_it_is_told_to_end(engine_home: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with process(
            "--url", f"embedded://{engine_home}", "serve", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as serving:
            socket_url = serving.stdout.readline().decode().strip()
            store_url = serving.stdout.readline().decode().strip()
            with contextlib.closing(redis.Redis.from_url(socket_url)) as client:
                assert client.ping()
            with open_store(store_url) as store:
                assert store.store(b"x").size_bytes == 1
            serving.send_signal(number)
            assert serving.wait(60) == 0
            assert serving.stderr.read() == b""


def test_serve_is_about_the_embedded_engine(coatcheck: Coatcheck) -> None:
    assert coatcheck("serve", url="redis://localhost").code == 2


def test_gc_and_check_report_what_they_find(coatcheck, store, tmp_path) -> None:
    stored = store.store(b"content", run_id="a")
    assert coatcheck("check", "--read-data").code == 0
    folder = tmp_path / "store" / "artifacts" / "blobs"
    (folder / f"{stored.digest}.bin").write_bytes(b"damaged")
    (folder / "orphan.bin").write_bytes(b"left behind")
    checked = coatcheck("check", "--read-data", "--grace", "0", "--json")
    assert checked.code == 1
    assert {p["kind"]: p["count"] for p in checked.json["problems"]} == {"damaged-content": 1, "orphan-content": 1}
    assert checked.json["ok"] is False
    assert coatcheck("gc").code == 0  # too young to be a leftover
    assert coatcheck("gc", "--grace", "0").code == 1
    assert (folder / "orphan.bin").exists()
    assert coatcheck("gc", "--grace", "0", "--delete").code == 0
    assert not (folder / "orphan.bin").exists()
    assert coatcheck("gc", "--grace", "never").code == 2
