"""What people type, well and badly: one line, an exit code, no password."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from coatcheck import (
    ArtifactStore,
    FileArtifactStore,
    InvalidArtifactError,
    __version__,
)
from coatcheck.cli.app import COMMANDS, app
from coatcheck.cli.values import (
    parse_duration,
    parse_id,
    parse_moment,
    parse_tags,
    parse_ttl,
)

from .running import ABSENT, EVIL, Coatcheck, ticket_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1.5s", 1.5),
        ("15m", 900),
        ("2h", 7200),
        ("7d", 604800),
        ("1w", 604800),
        ("1d12h", 129600),
        ("1w2d3h4m5s", 604800 + 2 * 86400 + 3 * 3600 + 4 * 60 + 5),
        ("1.5h30m", 7200),
        ("never", None),
    ],
)
def test_ttl(text: str, seconds: float | None) -> None:
    assert parse_ttl(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "1y", "30m1h", "1h1h", "1h 30m", "1h30", "1e3", "nan", "٣", "1 h", "90\n"]
)
def test_no_ttl(text: str) -> None:
    with pytest.raises(InvalidArtifactError, match="or never"):
        parse_ttl(text)
    with pytest.raises(InvalidArtifactError):
        parse_duration(text)


def test_moments() -> None:
    before = datetime.now(UTC) - timedelta(hours=1)
    moment = parse_moment("1h")
    assert before <= moment <= before + timedelta(minutes=1)
    assert parse_moment("2026-01-01") == "2026-01-01"
    assert parse_moment(None) is None
    for text in ("9" * 30, "999999w"):
        with pytest.raises(InvalidArtifactError):
            FileArtifactStore("/nowhere").search(created_after=parse_moment(text))


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
        (["put", "a", "b", "--id", "x"], 2),
        (["put", "nothing*like?this"], 1),
        (["get"], 2),
        (["get", ABSENT, "--run", "r"], 2),
        (["get", "--run", "r"], 2),
        (["get", "--run", "r", "-o", "-"], 2),
        (["get", "--run", "nobody", "-o", "/tmp/coatcheck-nowhere"], 1),
        (["ls", ABSENT], 1),
        (["ls", "--offset", "-1"], 2),
        (["ls", "--since", "yesterday"], 2),
        (["ls", "--limit", "x"], 2),
        (["touch", ABSENT], 2),
        (["nonsense"], 2),
        (["ls", "--nonsense"], 2),
        (["put"], 2),
        (["put", "\x1b]0;x\x07/\n"], 1),
    ],
)
def test_failures_are_one_line_and_a_code(
    coatcheck: Coatcheck, store: ArtifactStore, words: list[str], code: int
) -> None:
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


@pytest.mark.parametrize(
    "words",
    [
        ["ls"],
        ["runs"],
        ["stats"],
        ["top"],
        ["show", ABSENT],
        ["get", ABSENT],
        ["rm", ABSENT],
        ["link", ABSENT, "name"],
        ["touch", ABSENT, "--ttl", "1"],
        ["expire", "r", "--in", "1h"],
        ["prune", "--older-than", "1h"],
        ["check"],
        ["gc", "--delete"],
        ["export", "r", "-"],
        ["ui", "--port", "0"],
        ["doctor"],
    ],
)
@pytest.mark.parametrize("scheme", ["file", "embedded"])
def test_only_what_stores_makes_a_store(coatcheck: Coatcheck, tmp_path: Path, scheme: str, words: list[str]) -> None:
    failed = coatcheck(*words, url=f"{scheme}://{tmp_path}/typo")

    assert (failed.code, failed.raw) == (3, b"")
    assert f"there is no store: {tmp_path}/typo" in failed.stderr
    assert not any(tmp_path.iterdir())


def test_looking_makes_neither_a_namespace_nor_the_directory_of_the_user(
    coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert coatcheck("--namespace", "typo", "ls").code == 3
    assert not (tmp_path / "store" / "typo").exists()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    failed = CliRunner().invoke(app, ["ls"])
    assert (failed.exit_code, failed.stdout) == (3, "")
    assert "COATCHECK_URL" in failed.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_copy_makes_a_store_for_what_there_is(coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path) -> None:
    view = store.store(b"x")
    there = f"file://{tmp_path}/there"

    assert coatcheck("copy", f"file://{tmp_path}/typo", there).code == 3
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert coatcheck("copy", f"file://{tmp_path}/store", there).code == 0
    assert coatcheck("get", view.artifact_id, url=there).raw == b"x"


def test_the_code_says_whose_fault_it_is(coatcheck: Coatcheck, store: ArtifactStore, tmp_path: Path) -> None:
    view = store.store(b"content")
    [content] = [path for path in (tmp_path / "store").rglob("*.bin")]

    content.write_bytes(b"damaged")
    assert coatcheck("get", view.artifact_id).code == 4
    content.unlink()
    assert coatcheck("get", view.artifact_id).code == 4
    assert coatcheck("runs", url=f"file://{tmp_path}/store/artifacts/.indexed").code == 3


def test_no_exception_is_a_traceback(
    coatcheck: Coatcheck, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (KeyError(EVIL), RecursionError(), UnicodeDecodeError("utf-8", b"x", 0, 1, EVIL), AssertionError()):
        monkeypatch.setattr(FileArtifactStore, "iter_runs", Mock(side_effect=error))

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
    coatcheck("--namespace", "two", "put", "-", stdin=b"y")

    assert coatcheck("--namespace", "one", "get", ticket_of(put.stdout)).raw == b"x"
    assert coatcheck("--namespace", "two", "get", ticket_of(put.stdout)).code == 1


def test_no_command_shows_the_help(url: str) -> None:
    shown = CliRunner().invoke(app, [], prog_name="coatcheck")

    assert shown.exit_code == 2
    assert "Usage: coatcheck" in shown.stdout


def test_without_the_extra_one_line_says_what_to_install() -> None:
    program = "import sys; sys.modules['typer'] = None; from coatcheck.__main__ import main; main()"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)

    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert b"pip install 'coatcheck[cli]'" in done.stderr


def test_serve_is_about_the_embedded_engine(coatcheck: Coatcheck) -> None:
    assert coatcheck("serve", url="redis://localhost").code == 2


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help_that_names_the_global_options(command: str, option: str) -> None:
    shown = CliRunner().invoke(app, [command, option], prog_name="coatcheck")

    assert shown.exit_code == 0
    assert "--url" in shown.stdout
    assert "--namespace" in shown.stdout
    assert not re.search(r"<(str|int|list|bool)", shown.stdout)  # types of Python


def test_the_help_says_of_each_command_what_it_does() -> None:
    shown = CliRunner().invoke(app, ["-h"], prog_name="coatcheck").stdout

    for command in COMMANDS:
        assert re.search(rf"^  {command} +[A-Z].*\.$", shown, re.MULTILINE), command
    assert "..." not in shown.partition("Commands:")[2]


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version(option: str) -> None:
    assert CliRunner().invoke(app, [option]).stdout == f"coatcheck {__version__}\n"


def test_global_options_may_stand_behind_a_command_and_count_there(tmp_path: Path) -> None:
    one, two = f"file://{tmp_path}/one", f"file://{tmp_path}/two"

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, words, input=b"x", prog_name="coatcheck")
        return f"{done.exit_code} {done.stdout}"

    ticket = run("put", "-", "--url", one, "--namespace", "n").partition(" ")[2].strip()
    assert run("get", ticket, "--namespace=n", f"--url={one}") == "0 x"
    assert run("--url", two, "--namespace", "n", "get", ticket, "--url", one) == "0 x"
    assert run("--url", one, "get", ticket, "--namespace", "n") == "0 x"
    assert run("--url", one, "get", ticket) == "3 "


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("localhost:6379", "a server is redis://localhost:6379"),
        ("redis.corp/0", "a server is redis://redis.corp/0"),
        ("[::1]:6379", "a server is redis://[::1]:6379"),
        ("/var/coats", "a directory is file:///var/coats, a socket unix:///var/coats"),
        ("u:hunter2@host", "it begins with redis://"),
    ],
)
def test_what_is_nearly_a_url_gets_a_hint(coatcheck: Coatcheck, typed: str, hint: str) -> None:
    failed = coatcheck("ls", url=typed)

    assert failed.code == 2
    assert hint in failed.stderr
    assert "hunter2" not in failed.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["put", "-", "--run", ""], "--run cannot be empty; leave it out for the anonymous lease"),
        (["put", "-", "--ttl", "0"], "--ttl must be positive, not 0.0; write never for ever, rm to remove"),
        (["put", "-", "--type", "\n"], "--type '\\n' holds control characters"),
        (["put", "-", "--id", "a/b"], "Invalid id 'a/b'"),
        (["ls", "--since", "yesterday"], "--since must be an age, as 1h or 2d, or ISO 8601"),
        (["ls", "--limit", "x"], "Invalid value for '--limit': it has to be a valid integer (see "),
        (["ls", "--sort", "x"], "Invalid value for '--sort': 'x' is not one of 'stored', 'size', 'expires' (see "),
        (["copy", "here", "memory://"], "not the URL of a store: a server is redis://here"),
        (["ls", "--before", "x"], "--before must be an age, as 1h or 2d, or ISO 8601"),
    ],
)
def test_messages_speak_of_options_not_of_python(
    coatcheck: Coatcheck, store: ArtifactStore, words: list[str], said: str
) -> None:
    assert said in coatcheck(*words, stdin=b"").stderr
