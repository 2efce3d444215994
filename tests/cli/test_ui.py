"""`coatcheck ui`: served where it was told to, refused where everybody could read along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coatcheck import ArtifactStore, open_store
from coatcheck.cli.app import app


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command in a process of its own, and where it says that it serves."""
    command = [sys.executable, "-m", "coatcheck", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_the_page_is_served_until_it_is_interrupted(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    with open_store(url) as store:
        artifact_id = store.store(b"x", run_id="a").artifact_id
    with running("--url", url, "ui", "--port", "0", "--allow-delete") as (address, process):
        assert address.startswith("http://127.0.0.1:")
        assert status(address) == 200
        assert status(f"{address}artifacts/{artifact_id}/delete") == 200
        assert status(address, host="evil.example") == 421
        process.send_signal(signal.SIGINT)
        assert (process.wait(20), process.stderr.read()) == (0, "")


def test_where_others_can_connect_the_page_asks_for_its_token(store: ArtifactStore, url: str) -> None:
    allowed = ("--allow-host", "store.corp:80")
    arguments = ("--url", url, "ui", "--host", "0.0.0.0", "--port", "0", *allowed)
    with running(*arguments, COATCHECK_UI_TOKEN="s3cret") as (address, process):
        local = address.replace("store.corp", "127.0.0.1")
        assert status(local) == 401
        assert status(local, authorization="Bearer s3cret") == 200
        assert status(local, authorization="Bearer s3cret", host="store.corp") == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM


def test_without_its_extra_the_page_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, store: ArtifactStore, url: str
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    ended = CliRunner().invoke(app, ["--url", url, "ui", "--port", "0"])
    assert ended.exit_code == 1
    assert "pip install 'coatcheck[ui]'" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "choose a --token"),
        (["--host", "192.0.2.1"], "choose a --token"),
        (["--host", "::", "--token", "x"], "--allow-host"),
        (["--port", "70000"], "--port"),
        (["--port", "0", "--allow-host", "https://store.corp/"], "'https://store.corp/' cannot be allowed as a host"),
        (["--port", "0", "--token", ""], "an empty token would let everybody in"),
    ],
)
def test_unsafe_or_impossible_places_are_refused(
    arguments: list[str], said: str, store: ArtifactStore, url: str
) -> None:
    ended = CliRunner().invoke(app, ["--url", url, "ui", *arguments])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert said in ended.stderr
