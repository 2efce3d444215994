"""What a suite of others does that does not end, or ends before it has told what became of its tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from coatcheck.testing.waiting import eventually

from . import suites
from .suites import Outcome

STANDS_STILL = """
import os, pathlib, subprocess, sys, time

def test_that_ends():
    pass

def test_that_waits_for_ever():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    pathlib.Path("child").write_text(str(child.pid))
    time.sleep(1000)
"""


def run(suite: str, tmp_path: Path, timeout: float = 300) -> Outcome:
    (tmp_path / "test_theirs.py").write_text(suite)
    return suites.run_suite(tmp_path, ["test_theirs.py"], tmp_path=tmp_path, environment={}, timeout=timeout)


def has_ended(pid: str) -> bool:
    try:
        return not Path("/proc", pid, "cmdline").read_bytes()  # there is one until its parent has asked how it ended
    except OSError:
        return True


def test_a_suite_that_stands_still_tells_where_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child, end_of = tmp_path / "child", suites.end_of

    def end_of_what_stands_still(suite: subprocess.Popen[bytes], timeout: float) -> int | None:
        eventually(lambda: child.exists() and child.read_text(), 300)
        return end_of(suite, timeout)

    monkeypatch.setattr(suites, "end_of", end_of_what_stands_still)
    told = r"stood still for the rest of 1 sec(?s:.)*test_that_ends PASSED(?s:.)*line \d+ in test_that_waits_for_ever"
    with pytest.raises(pytest.fail.Exception, match=told):
        run(STANDS_STILL, tmp_path, timeout=1)
    eventually(lambda: has_ended(child.read_text()))


def test_a_suite_that_is_killed_tells_how_far_it_was(tmp_path: Path) -> None:
    killed = "import os, signal\n\ndef test_that_is_killed():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    with pytest.raises(pytest.fail.Exception, match=r"ended with -9:(?s:.)*::test_that_is_killed"):
        run(killed, tmp_path)


def test_a_suite_that_ends_says_what_became_of_its_tests(tmp_path: Path) -> None:
    theirs = "import pytest\n\ndef test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pytest.skip()\n"
    outcome = run(theirs, tmp_path)
    assert (outcome.passed, [*outcome.failed], outcome.skipped) == (
        {"test_theirs.py::test_a"},
        ["test_theirs.py::test_b"],
        {"test_theirs.py::test_c"},
    )
