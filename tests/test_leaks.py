"""The leak checker: each kind of leak, made on purpose, is found; what ends by itself is waited for."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from coatcheck import AsyncRedisArtifactStore, RedisArtifactStore
from coatcheck.testing import Server

from .leaks import Leaks

ROOT = Path(__file__).parent.parent


@pytest.fixture
def checker(valkey: Server, tmp_path: Path):
    """A second checker of the same server, in the middle of a test, with its own directory and little patience."""
    checker = Leaks(tmp_path, patience=0.05)
    with checker.lasting():
        checker.watch("valkey", valkey)
    checker.begin()
    checker.own("mine")
    yield checker
    checker.close()


def only(left: list[str], pattern: str) -> None:
    assert len(left) == 1, left
    assert re.search(pattern, left[0]), left


def test_a_test_that_uses_a_store_and_closes_it_leaves_nothing(checker, valkey) -> None:
    with RedisArtifactStore(valkey.url, namespace="mine") as store:
        store.store(b"for ever", run_id="a", artifact_id="name")
        store.store(b"for ever", run_id="b")
        store.store(b"for a while", run_id="a", ttl=60)
    assert checker.end() == []


def test_so_does_an_asynchronous_one(checker, valkey) -> None:
    async def main() -> None:
        async with AsyncRedisArtifactStore(valkey.url, namespace="mine") as store:
            await asyncio.gather(*(store.store(b"%d" % n * 300_000, run_id="a") for n in range(5)))

    asyncio.run(main())
    assert checker.end() == []


def test_what_ends_soon_is_waited_for(valkey, tmp_path) -> None:
    patient = Leaks(tmp_path)
    patient.begin()
    told = threading.Event()
    thread = threading.Thread(target=told.wait)
    thread.start()
    timer = threading.Timer(0.05, told.set)
    timer.start()
    assert patient.end() == []


def test_a_connection_is_found(checker, valkey) -> None:
    with RedisArtifactStore(valkey.url, namespace="mine") as store:
        store.exists("x")
        left = checker.end()
    assert len(left) == 2
    assert left[0].startswith("connection to valkey, last command")
    assert re.search(r"file descriptor \d+ of socket", left[1])


def test_a_file_descriptor_is_found(checker) -> None:
    with Path(os.devnull).open():
        only(checker.end(), "file descriptor .* of /dev/null")


def test_a_thread_is_found(checker) -> None:
    told = threading.Event()
    thread = threading.Thread(target=told.wait, name="forgotten")
    thread.start()
    only(checker.end(), "thread forgotten")
    told.set()
    thread.join()


@pytest.mark.parametrize("waited_for", [True, False])
def test_a_child_process_is_found_running_or_ended(checker, waited_for) -> None:
    child = subprocess.Popen(["sleep", "60"])
    if waited_for:
        only(checker.end(), f"child process {child.pid}: sleep 60")
        child.kill()
    else:
        child.kill()
        only(checker.end(), f"child process {child.pid}")
    child.wait()


def test_a_temporary_file_is_found_however_deep(checker, tmp_path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_text("")
    left = checker.end()
    assert len(left) == 2
    assert "deep/file" in left[1]


def test_a_user_is_found(checker, valkey) -> None:
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "someone", "on")
    try:
        only(checker.end(), "user on valkey: user someone")
    finally:
        with valkey.client() as client:
            client.acl_deluser("someone")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("mine:staging:{00}:0123456789abcdef", "immortal-staging|without TTL"),
        ("mine:something", "without TTL"),
        ("mine:content:{" + "0" * 32 + "}", "orphan-content|without TTL"),
        ("others:something", "outside"),
        ("minex", "outside"),
    ],
)
def test_a_key_that_no_artifact_needs_is_found(checker, valkey, key, message) -> None:
    with valkey.client() as client:
        client.set(key, "x")
    left = checker.end()
    assert left
    assert all(re.search(message, one) for one in left), left
    with valkey.client() as client:
        assert client.dbsize() == 0  # the next test begins with an empty server


def test_a_key_outside_is_found_although_it_has_a_ttl(checker, valkey) -> None:
    with valkey.client() as client:
        client.set("others:something", "x", ex=100)
    only(checker.end(damaged=True), "outside")


def test_a_key_of_another_database_is_found(checker, valkey) -> None:
    with RedisArtifactStore(f"{valkey.url}?db=3", namespace="mine") as store:
        store.store(b"x")
    only(checker.end(), "db3")


@pytest.mark.parametrize(
    "damage",
    [
        lambda client, tag: client.persist("mine:run:a"),
        lambda client, tag: client.persist(f"mine:content:{tag}"),
        lambda client, tag: client.delete(f"mine:content:{tag}"),
        lambda client, tag: client.delete("mine:catalog:created", "mine:catalog:deadlines"),
        lambda client, tag: client.hset(f"mine:artifact:{tag}", "h", "x"),
    ],
)
def test_artifacts_that_make_no_sense_are_found_unless_the_test_said_so(checker, valkey, damage) -> None:
    for damaged in (False, True):
        with RedisArtifactStore(valkey.url, namespace="mine") as store, valkey.client() as client:
            tag = store.store(b"content", run_id="a", ttl=60).artifact_id
            damage(client, tag)
        assert (checker.end(damaged=damaged) == []) is damaged


TESTS = """
import os, subprocess, threading, tempfile
import pytest

@pytest.fixture
def client(valkey):
    with valkey.client() as client:
        yield client

KEPT = []

def test_key(client): client.set("somewhere", 1)
def test_immortal(client, namespace): client.set(f"{namespace}:runs", 1)
def test_connection(valkey): KEPT.append(valkey.client()); KEPT[-1].ping()
def test_descriptor(): KEPT.append(open(os.devnull))
def test_thread(): threading.Thread(target=threading.Event().wait, daemon=True).start()
def test_child(): KEPT.append(subprocess.Popen(["sleep", "30"]))
def test_file(): tempfile.mkdtemp()

@pytest.mark.leaves_keys("on purpose")
def test_declared(client, namespace): client.set(f"{namespace}:runs", 1)
def test_clean(client, namespace, tmp_path): (tmp_path / "x").write_text("pytest's own"); client.ping()
def test_fails_anyway(client): KEPT.append(open(os.devnull)); assert False

@pytest.fixture(scope="session", autouse=True)
def tidy_up(leaks):
    yield
    for kept in KEPT:
        if isinstance(kept, subprocess.Popen):
            kept.kill()
            kept.wait()
        else:
            kept.close()
"""


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one process", "xdist"])
def test_a_leak_fails_the_test_that_made_it_and_no_other(options) -> None:
    with tempfile.TemporaryDirectory(prefix="cc-") as directory:
        (Path(directory) / "conftest.py").write_text(
            "from tests.conftest import *\n"
            "from tests.leaks import Leaks\n"
            "Leaks.__init__.__defaults__ = (0.2,)  # leaks are certain here\n"
        )
        (Path(directory) / "test_leaky.py").write_text(TESTS)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
        run = subprocess.run(
            [*command, "--rootdir", directory, "--basetemp", f"{directory}/tmp", *options, directory],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    found = {line.split("::")[1].split(" ")[0] for line in run.stdout.splitlines() if line.startswith("ERROR ")}
    wanted = {"key", "immortal", "connection", "descriptor", "thread", "child", "file"}
    assert found == {f"test_{kind}" for kind in wanted}, run.stdout
    assert "1 failed, 9 passed, 7 errors" in run.stdout
