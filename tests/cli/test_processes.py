"""The command line among processes: pipes, terminals, signals."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from coatcheck import ArtifactStore, open_store

from .running import Coatcheck, on_terminal, process


def test_logs_get_no_bars(coatcheck: Coatcheck, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_bytes(bytes(20 << 20))

    for words in (["put", "f"], ["put", "."], ["check"]):
        assert coatcheck(*words).stderr == ""


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
            "--url",
            f"embedded://{engine_home}?index_tags=kind",
            "serve",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
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
