"""The demonstration really happens, says what was wrong, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from coatcheck import Artifact, ArtifactMetadata, artifact_ref, compute_artifact_id
from coatcheck.cli.app import app
from coatcheck.cli.files import regular_files
from coatcheck.demo.checks import DemoError, check_delivery, check_file, one_summary_each, same, sha256, summarize
from coatcheck.demo.files import choose, deal
from coatcheck.demo.tickets import Message, Tickets
from coatcheck.embedded import start_engine

CONTENT = b"line\nline\n"


def artifact(content: bytes, **fields: Any) -> Artifact:
    """An artifact as a store without any checks of its own might return it."""
    metadata = ArtifactMetadata(
        artifact_id=compute_artifact_id(CONTENT), content_type="x/y", size_bytes=len(content), created_at="", **fields
    )
    return Artifact(metadata=metadata, content=content)


def flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


# The checks see what is wrong -----------------------------------------------------------------------------------

MESSAGE = Message(artifact_ref(compute_artifact_id(CONTENT)), "a/file", len(CONTENT), sha256(CONTENT))


def test_a_delivery_of_the_right_bytes_is_accepted() -> None:
    assert check_delivery(MESSAGE, artifact(CONTENT)) == CONTENT


@pytest.mark.parametrize(
    "wrong",
    [artifact(flipped(CONTENT, i)) for i in range(len(CONTENT))] + [artifact(b""), artifact(CONTENT + b"x"), None],
)
def test_a_delivery_of_wrong_bytes_is_not(wrong: Artifact | None) -> None:
    with pytest.raises(DemoError, match="a/file"):
        check_delivery(MESSAGE, wrong)


def test_a_file_that_agrees_with_the_disk_is_accepted() -> None:
    check_file("a/file", CONTENT, summarize("a/file", CONTENT), artifact(CONTENT))


@pytest.mark.parametrize("wrong", [artifact(flipped(CONTENT, 3)), artifact(b""), None])
def test_a_file_with_a_wrong_artifact_is_not(wrong: Artifact | None) -> None:
    with pytest.raises(DemoError, match="a/file"):
        check_file("a/file", CONTENT, summarize("a/file", CONTENT), wrong)


@pytest.mark.parametrize("key", ["path", "artifact", "sha256", "size", "lines"])
def test_a_file_with_a_wrong_summary_is_not(key: str) -> None:
    with pytest.raises(DemoError, match=key):
        check_file("a/file", CONTENT, {**summarize("a/file", CONTENT), key: "wrong"}, artifact(CONTENT))


@pytest.mark.parametrize("summary", [None, [], {}])
def test_a_file_without_a_summary_is_not(summary: Any) -> None:
    with pytest.raises(DemoError):
        check_file("a/file", CONTENT, summary, artifact(CONTENT))


def test_every_file_has_one_summary() -> None:
    def summary(path: str, artifact_id: str) -> ArtifactMetadata:
        return ArtifactMetadata(
            artifact_id=artifact_id, content_type="", size_bytes=1, created_at="", tags={"path": path}
        )

    both = [summary("a", "1"), summary("b", "2")]
    assert one_summary_each(["a", "b"], [*both, summary("b", "2")]) == {"a": "1", "b": "2"}
    for names, views in ((["a", "b", "c"], both), (["a"], both), (["a", "b"], [*both, summary("b", "3")])):
        with pytest.raises(DemoError):
            one_summary_each(names, views)


def test_sets_and_counts_are_compared() -> None:
    same("things", 1, 1)
    same("things", ["a", "b"], {"b", "a"})
    for expected, found in ((1, 2), (["a"], []), ([], ["a"]), (["a"], ["b"])):
        with pytest.raises(DemoError, match="things"):
            same("things", expected, found)


# Files and tickets ----------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """160 files, among them empty ones and many copies."""
    for i in range(160):
        path = tmp_path / "tree" / f"folder{i % 7}" / f"file{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if i % 20 == 0 else b"text %d\n" % (i % 100) * (i % 13 * 100 + 1))
    (tmp_path / "tree" / "big").write_bytes(os.urandom(300_000))
    return tmp_path / "tree"


def test_files_are_chosen_by_seed(tree: Path) -> None:
    chosen = choose(tree, modules_only=False, count=20, seed=1)

    assert len(set(chosen)) == 20
    assert chosen == choose(tree, modules_only=False, count=20, seed=1)
    assert chosen != choose(tree, modules_only=False, count=20, seed=2)
    assert set(choose(tree, modules_only=False, count=10_000, seed=1)) == set(regular_files(tree))
    assert choose(tree, modules_only=True, count=10_000, seed=1) == []


def test_producers_overlap_and_leave_nothing_out(tree: Path) -> None:
    files = list(regular_files(tree))

    parts = deal(files, 3)

    assert set().union(*parts) == set(files)
    for part in parts:
        assert len(part) == len(set(part))
    assert all(set(parts[i]) & set(parts[i - 1]) for i in range(3))


@pytest.fixture
def tickets(engine_home: Path) -> Iterator[Tickets]:
    with start_engine(engine_home) as engine:
        queue = Tickets(f"unix://{engine.socket}", "token", claim=2)
        yield queue
        queue.remove(["one", "two"])
        assert queue.client.dbsize() == 0
        queue.close()


def messages(count: int) -> list[Message]:
    return [Message(artifact_ref("x"), str(i), i, "") for i in range(count)]


def test_a_dead_consumers_tickets_are_first_in_the_queue_again(tickets: Tickets) -> None:
    tickets.put(messages(5))
    assert tickets.claim("one") == messages(5)[:2]

    assert tickets.take_back("one") == 2

    assert [message for _ in range(3) for message in tickets.claim("two") or ()] == messages(5)
    tickets.done("two", messages(5))
    assert tickets.take_back("two") == 0
    assert tickets.counts() == {"ready": 0, "produced": 5, "resolved": 5, "bytes": 10}


def test_the_end_is_told_after_the_last_ticket(tickets: Tickets) -> None:
    tickets.put(messages(1))
    tickets.end(["one", "two"])

    assert tickets.claim("one") == messages(1)
    tickets.done("one", messages(1))
    assert tickets.claim("one") is None
    assert tickets.claim("two") is None
    assert tickets.claim("two") == []


# The whole thing ------------------------------------------------------------------------------------------------


def command(*words: str, warnings: str = "error") -> list[str]:
    return [sys.executable, "-W", warnings, "-m", "coatcheck", *words]


@pytest.fixture
def surroundings(engine_home: Path) -> Iterator[dict[str, str]]:
    """An environment whose temporary directory must be empty in the end."""
    temporary, home = engine_home / "t", engine_home / "h"
    temporary.mkdir()
    yield {
        **os.environ,
        "TMPDIR": str(temporary),
        "HOME": str(home),
        "XDG_DATA_HOME": str(home),
        "COATCHECK_URL": "redis://nobody.invalid",  # must not matter
    }
    assert not list(temporary.iterdir())
    assert not home.exists()


def test_the_demonstration(tree: Path, surroundings: dict[str, str]) -> None:
    done = subprocess.run(
        command("demo", "--input", str(tree)),
        capture_output=True,
        text=True,
        timeout=120,
        env=surroundings,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    size = sum(file.size for file in regular_files(tree))
    verdict = done.stdout.splitlines()[-1]
    assert re.fullmatch(rf"Every byte was verified: .*, and all {size:,} of 161 files again with the disk\.", verdict)
    assert re.search(r"Half-way consumer-1 \(process \d+\) was killed with [1-9]\d* tickets? in hand", done.stdout)
    assert re.search(
        r"producer-1 was deleted: [1-9][\d,]* artifacts .* still load, [1-9][\d,]* that only it", done.stdout
    )
    assert "the keyspace is empty" in done.stdout
    for row in ("artifacts", "runs", "leases", "bytes in", "sharing saved", "zstd saved", "at peak", "files/s", "MB/s"):
        assert row in done.stdout


def test_on_the_users_server_only_its_own_keys_are_touched(
    tree: Path, surroundings: dict[str, str], engine_home: Path
) -> None:
    with start_engine(engine_home / "mine") as engine, redis.Redis(unix_socket_path=str(engine.socket)) as client:
        client.set("mine", 1)
        words = ("--url", f"unix://{engine.socket}", "demo", "--input", str(tree), "--files", "60", "--consumers", "2")

        done = subprocess.run(
            command(*words), capture_output=True, text=True, timeout=120, env=surroundings, check=False
        )

        assert (done.returncode, done.stderr) == (0, "")
        assert "Every byte was verified" in done.stdout
        assert client.keys() == [b"mine"]


def test_when_a_byte_is_wrong_the_demonstration_fails(
    tree: Path, engine_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_other_bytes(name: str, on_disk: bytes, summary: Any, found: Artifact | None) -> None:
        if name == "big":
            on_disk = flipped(on_disk, 1000)
        check_file(name, on_disk, summary, found)

    monkeypatch.setattr("coatcheck.demo.acts.check_file", check_other_bytes)
    monkeypatch.setattr("tempfile.tempdir", str(engine_home))

    done = CliRunner().invoke(app, ["demo", "--input", str(tree)], prog_name="coatcheck")

    assert done.exit_code == 1
    assert done.stderr.startswith("error: big: ")
    assert "verified" not in done.stdout
    assert not list(engine_home.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_demonstration_leaves_nothing_behind(
    tree: Path, surroundings: dict[str, str], number: signal.Signals
) -> None:
    with subprocess.Popen(
        # Without warnings: redis-py warns of its socket if it is interrupted while it connects.
        command("demo", "--input", str(tree), warnings="ignore"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=surroundings,
        start_new_session=True,
    ) as running:
        assert b"161 files" in running.stdout.readline()  # the engine is up, the processes are about to start
        os.killpg(running.pid, number) if number == signal.SIGINT else running.send_signal(number)
        assert running.wait(60) == 128 + number
        assert running.stderr.read() == b""
    with pytest.raises(ProcessLookupError):  # no child is left in its session
        while True:
            os.killpg(running.pid, 0)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--url", "memory://", "demo"], 2),
        (["--url", "file:///tmp/x", "demo"], 2),
        (["--url", "unix:///no/such/socket", "demo"], 1),
        (["demo", "--input", "/no/such/directory"], 1),
        (["demo", "--consumers", "1"], 2),
        (["demo", "--files", "1"], 1),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_a_code(words: list[str], code: int) -> None:
    done = CliRunner().invoke(app, words, prog_name="coatcheck")

    assert done.exit_code == code
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
