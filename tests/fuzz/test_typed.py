"""Hostile words typed to every command: one line and an exit code, printable, and nothing is written elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from coatcheck import ArtifactStore, FileArtifactStore
from coatcheck.cli.app import COMMANDS, app
from coatcheck.cli.output import is_printable
from coatcheck.trees import store_tree

from .trying import Fuzzer

COMES_BACK_LATE = {"exporter", "serve", "ui"}
"""They serve until they are told to end."""

GIVES_CONTENT = {"get", "export"}

SECRET = "hunter2"
GLOBAL = {"url", "namespace"}
WORDS = [
    *(
        "kept",
        "name",
        "tree",
        "0" * 32,
        "run",
        "-",
        "--",
        "",
        "a/b",
        "x" * 300,
        '{"$artifact": "kept"}',
        "{",
        "[",
        "k=v",
    ),
    *(
        "=",
        "1",
        "0",
        "-1",
        "1e999",
        "nan",
        "90s",
        "9" * 30,
        "never",
        "now",
        "1w",
        "2020-01-01",
        "size",
        "time",
        "worker",
    ),
    *(
        "file",
        "link",
        "dead",
        "fifo",
        "folder",
        "archive.tar",
        "junk.tar",
        "new",
        "no/such",
        "../beside",
        "./-",
        "*",
        "?",
    ),
    *("[a", "\x1b]0;x\x07", "\u202eevil\n", "\udcff", "\u3164", "[red]x[/red]", "text/*", "application/json", "path=x"),
    *(f"redis://:{SECRET}@127.0.0.1:1", f"redis://u:{SECRET}", "memory://", "file://relative", "nonsense://x"),
]


def furnish(store: ArtifactStore) -> None:
    store.store(b"kept", artifact_id="kept", run_id="run", tags={"k": "v", "\x1b[31m": "\u202e"})
    store.store(b"\x1b[2J\x9b\xff", artifact_id="name", run_id="\x1b]0;\u202e\x07", content_type="text/\u202e")
    store.store(b"text", run_id="run", tags={"path": "../../beside"})


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    """Where the words are typed: a directory with one of everything."""
    here = tmp_path / "here"
    (here / "folder" / "below").mkdir(parents=True)
    (here / "folder" / "below" / "\udcff").write_bytes(b"odd")
    (here / "file").write_bytes(b"file")
    (here / "junk.tar").write_bytes(b"junk" * 300)
    (here / "link").symlink_to("../beside")
    (here / "dead").symlink_to("nowhere")
    monkeypatch.chdir(here)
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}/store")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "beside").write_bytes(b"beside")
    return here


def options_of(command: str) -> list[Any]:
    return typer.main.get_command(app).get_command(None, command).params  # type: ignore[attr-defined, arg-type]


def typed(fuzzer: Fuzzer) -> list[str]:
    """A command and words for it: arguments and options that it has, or not."""
    chance = fuzzer.chance
    command = chance.choice([name for name in COMMANDS if name not in COMES_BACK_LATE])
    words = []

    def any_word() -> str:
        """Any bytes but NUL, as a shell hands them over: never text that no bytes stand for."""
        return os.fsdecode(fuzzer.text().replace("\0", "").encode("utf-8", "surrogatepass"))

    def word() -> str:
        made = chance.choice(WORDS) if chance.random() < 0.85 else any_word()
        return made.encode("utf-8", "ignore").decode() if chance.random() < 0.5 else made

    for option in options_of(command):
        if option.param_type_name == "argument":
            words += [word() for _ in range(chance.choice([1, 1, 1, 2]))]
        elif option.name not in {"help", *GLOBAL} and chance.random() < 0.3:
            name = chance.choice(option.opts)
            words += [name] if getattr(option, "is_flag", False) else [name, word()]
    if chance.random() < 0.1:
        words += [chance.choice(["--url", "--namespace", "--nonsense", "-x"]), word()]
    if command == "top":
        words += ["--count", "1", "--every", "1s"]
    if chance.random() < 0.2:
        chance.shuffle(words)
    return [command, *words]


def seen(tmp_path: Path) -> list[tuple[str, bytes]]:
    """What lies beside the directory and the store."""
    places = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent == tmp_path]
    return sorted((str(path), path.read_bytes()) for path in places)


def test_any_words_are_endured(here: Path, tmp_path: Path) -> None:
    fuzzer = Fuzzer("words", 250)
    wrong = []
    before = seen(tmp_path)
    base = tmp_path / "store"
    while fuzzer.goes_on:
        if fuzzer.tried % 25 == 0:
            with FileArtifactStore(base) as store:
                furnish(store)
                store_tree(here / "folder", store, artifact_id="tree", run_id="run", skip=lambda *_: None)
        words = typed(fuzzer)

        def call(words=words) -> None:
            done = CliRunner().invoke(app, words, input=b"content", prog_name="coatcheck")
            if done.exception is not None and not isinstance(done.exception, SystemExit):
                raise done.exception
            said = done.stderr.splitlines()
            lines = done.stdout_bytes.decode(errors="backslashreplace").split("\n")
            if (
                done.exit_code not in (0, 1, 2, 3, 4)
                or done.stderr.startswith("error: unexpected ")
                or not all(is_printable(line) for line in said)
                or not (words[0] in GIVES_CONTENT or all(is_printable(line.replace("\t", "")) for line in lines))
                or (
                    SECRET in done.stderr + str(done.stdout_bytes) and words[0] != "acl"
                )  # prints what name it was told
            ):
                wrong.append((words, done.exit_code, done.stderr))

        fuzzer.attempt(repr(words), call)
    fuzzer.judge()
    assert not wrong, "\n".join(map(repr, wrong))
    assert seen(tmp_path) == before
