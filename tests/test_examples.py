"""The demonstration really happens, says what was wrong, and leaves nothing behind."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from coatcheck import StoreUnavailableError
from coatcheck.embedded import locate_server
from coatcheck.embedded.places import SOCKET
from coatcheck.testing.waiting import eventually

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """160 files, among them empty ones and copies."""
    for i in range(160):
        path = tmp_path / "files" / f"folder{i % 7}" / f"file{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if i % 20 == 0 else b"text %d\n" % (i % 100) * (i % 13 * 100 + 1))
    return tmp_path / "files"


@pytest.fixture
def surroundings(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose temporary directory must be empty in the end, and nobody at work in it."""
    try:
        locate_server()
    except StoreUnavailableError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    temporary = tmp_path / "t"
    temporary.mkdir()
    yield {**os.environ, "TMPDIR": str(temporary), "COATCHECK_URL": "redis://nobody.invalid"}  # which must not matter
    assert not list(temporary.iterdir())


def run(*words: str | Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=EXAMPLES,
        env=environment,
        check=False,
    )


def test_the_demonstration(files: Path, surroundings: dict[str, str]) -> None:
    done = run("demo.py", "--input", files, environment=surroundings)

    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"consumer-1 was killed with [1-8] tickets in hand", done.stdout)
    assert re.search(r"producer-1 was deleted: [1-9]\d* artifacts went, [1-9]\d* that others lease", done.stdout)
    assert re.search(r"with a TTL of 2 s have expired: none of their [2-9]\d\d keys is left\.", done.stdout)
    assert "files      160, " in done.stdout
    assert done.stdout.endswith(" stored\nAll is well.\n")
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_what_is_left_of_the_demonstration_can_be_looked_at(files: Path, surroundings: dict[str, str]) -> None:
    kept = Path(tempfile.mkdtemp(prefix="cc-demo-")) / "kept"
    try:
        done = run("demo.py", "--input", files, "--keep", kept, environment=surroundings)
        assert (done.returncode, done.stderr) == (0, "")
        *_, export, listing, page = done.stdout.splitlines()
        assert export == f"  export COATCHECK_URL=embedded://{kept}"
        assert page.endswith("coatcheck ui")
        environment = {**surroundings, "COATCHECK_URL": f"embedded://{kept}"}
        listed = run("-m", "coatcheck", *listing.split()[1:], "--json", environment=environment)
        assert [json.loads(line)["run_id"] for line in listed.stdout.splitlines()] == ["producer-2"] * 5
        again = run("demo.py", "--input", files, "--keep", kept, environment=surroundings)
        assert (again.returncode, again.stderr) == (
            1,
            f"error: {kept} is there already: remove it, as by `make demo-clean`\n",
        )
    finally:
        eventually(lambda: not (kept / SOCKET).exists(), 30)  # the engine ends when nobody uses it any more
        shutil.rmtree(kept.parent)


def test_where_the_bytes_are_not_those_on_disk_it_fails(files: Path, surroundings: dict[str, str]) -> None:
    tampered = "import demo; demo.sha256 = lambda content, once=iter('ab'): next(once); demo.main()"

    done = run("-c", tampered, "--input", files, environment=surroundings)

    assert done.returncode == 1
    assert re.fullmatch(r"error: .*file\d+\.txt is not stored as it is on disk\n", done.stderr)
    assert "well" not in done.stdout


@pytest.mark.parametrize("words", [["--input", "/no/such/directory"], ["--files", "8"], ["--consumers", "1"]])
def test_what_cannot_be_shown_is_one_line_and_a_code(words: list[str], surroundings: dict[str, str]) -> None:
    done = run("demo.py", *words, environment=surroundings)

    assert done.returncode == 1
    assert re.fullmatch("error: .*\n", done.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_it_leaves_nothing_behind(
    files: Path, surroundings: dict[str, str], number: signal.Signals
) -> None:
    with subprocess.Popen(
        # Without warnings: redis-py warns of its socket if it is interrupted while it connects.
        [sys.executable, "-W", "ignore", EXAMPLES / "demo.py", "--input", files],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=surroundings,
        start_new_session=True,
    ) as running:
        assert b"tickets go" in running.stdout.readline()  # the engine is up, the processes are about to start
        os.killpg(running.pid, number) if number == signal.SIGINT else running.send_signal(number)
        assert running.wait(60) == 128 + number
        assert running.stderr.read() == b""
    with pytest.raises(ProcessLookupError):  # no child is left in its session
        while True:
            os.killpg(running.pid, 0)


def test_the_agent_that_offloads(surroundings: dict[str, str]) -> None:
    done = run("agent.py", environment=surroundings)

    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^9 calls, state of \d,\d{3} bytes\n1 calls", done.stdout)
    assert "{'Page 0': 10092," in done.stdout
    assert done.stdout.endswith("9 artifacts given up\n")


def test_the_workflow_that_another_process_finishes(surroundings: dict[str, str]) -> None:
    done = run("workflow.py", environment=surroundings)

    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"one process died; the state on disk has \d{3} bytes", done.stdout)
    assert done.stdout.endswith("completed: {'lines': 10000}\n1 artifact given up\n")


def test_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    content = os.urandom(100_000)

    def asked(client: TestClient, place: str, **headers: str) -> tuple[int, bytes, str | None]:
        answer = client.get(place, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return answer.status_code, answer.content, answer.headers.get("content-range")

    with TestClient(importlib.import_module("service").app) as client:
        parts = (content[i : i + 1000] for i in range(0, len(content), 1000))
        stored = client.put("/files", content=parts, headers={"content-type": "image/png", "x-run": "trip"})
        place = stored.headers["location"]
        assert (stored.status_code, stored.json()["size"]) == (201, len(content))
        whole = client.get(place)
        assert (whole.content, whole.headers["content-type"]) == (content, "image/png")
        tag = whole.headers["etag"]
        assert client.head(place).headers["content-length"] == "100000"
        assert asked(client, place, range="bytes=10-19") == (206, content[10:20], "bytes 10-19/100000")
        assert asked(client, place, range="bytes=99990-") == (206, content[-10:], "bytes 99990-99999/100000")
        assert asked(client, place, range="bytes=-5") == (206, content[-5:], "bytes 99995-99999/100000")
        assert asked(client, place, range="bytes=0-999999") == (206, content, "bytes 0-99999/100000")
        assert asked(client, place, range="bytes=100000-") == (416, b"", "bytes */100000")
        assert asked(client, place, range="bytes=1-2", if_range='"other"') == (200, content, None)
        assert asked(client, place, range="bytes=1-2", if_range=tag)[0] == 206
        assert asked(client, place, range="bytes=1-2,4-5") == (200, content, None)
        assert asked(client, place, if_none_match=tag) == (304, b"", None)
        assert client.get("/files/none").status_code == 404
        assert client.get("/files/no%20id").status_code == 400
        client.app.state.store._operations.backend.max_size = 10
        assert client.post("/files", content=b"x" * 11).status_code == 413
