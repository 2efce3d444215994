"""What a suite of others does that does not end, or ends before it has told what became of its tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from coatcheck.testing.waiting import eventually

from .suites import Outcome, run_suite

STANDS_STILL = """
import os, pathlib, subprocess, sys, time

def test_that_ends():
    pass

def test_that_waits_for_ever():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    pathlib.Path("child").write_text(str(child.pid))
    time.sleep(1000)  # here
"""


def run(suite: str, tmp_path: Path, timeout: float) -> Outcome:
    (tmp_path / "test_theirs.py").write_text(suite)
    return run_suite(tmp_path, ["test_theirs.py"], tmp_path=tmp_path, environment={}, timeout=timeout)


def has_ended(pid: str) -> bool:
    try:
        return not Path("/proc", pid, "cmdline").read_bytes()  # there is one until its parent has asked how it ended
    except OSError:
        return True


def test_a_suite_that_stands_still_tells_where_and_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception) as caught:
        run(STANDS_STILL, tmp_path, timeout=10)
    line = 1 + STANDS_STILL.splitlines().index("    time.sleep(1000)  # here")
    told = str(caught.value)
    assert "stood still for the rest of 10 seconds" in told
    assert "test_that_ends PASSED" in told
    assert f'test_theirs.py", line {line} in test_that_waits_for_ever' in told
    eventually(lambda: has_ended((tmp_path / "child").read_text()))


def test_a_suite_that_is_killed_tells_how_far_it_was(tmp_path: Path) -> None:
    killed = "import os, signal\n\ndef test_that_is_killed():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    with pytest.raises(pytest.fail.Exception, match=r"ended with -9:(?s:.)*::test_that_is_killed"):
        run(killed, tmp_path, timeout=60)


def test_a_suite_that_ends_says_what_became_of_its_tests(tmp_path: Path) -> None:
    theirs = "import pytest\n\ndef test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pytest.skip()\n"
    outcome = run(theirs, tmp_path, timeout=60)
    assert (outcome.passed, [*outcome.failed], outcome.skipped) == (
        {"test_theirs.py::test_a"},
        ["test_theirs.py::test_b"],
        {"test_theirs.py::test_c"},
    )
