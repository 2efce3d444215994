"""An ecosystem's own tests, fetched when tests run and run over a coatcheck store; nothing of them is kept here."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "suites"


def source_of(name: str, version: str) -> Path:
    """The unpacked source distribution of a release, downloaded where it is not there yet."""
    directory = CACHE / f"{name}-{version}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:  # processes of one test run come at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            download = ["pip", "download", "--quiet", "--no-deps", "--no-binary", name, f"{name}=={version}"]
            subprocess.run([sys.executable, "-m", *download, "--dest", CACHE], check=True, timeout=300)
            [archive] = [path for path in CACHE.glob("*.tar.gz") if path.name.lower() == f"{name}-{version}.tar.gz"]
            fresh = CACHE / f"{name}-{version}.fresh"
            with tarfile.open(archive) as opened:
                opened.extractall(fresh, filter="data")
            [inner] = fresh.iterdir()
            inner.rename(directory)
            fresh.rmdir()
            archive.unlink()
    return directory


class Outcome(NamedTuple):
    """What became of a suite's tests, by their ids."""

    passed: set[str]
    failed: dict[str, str]
    skipped: set[str]


def run_suite(
    source: Path,
    tests: Iterable[str],
    *,
    overlay: Path | None = None,
    tmp_path: Path,
    environment: Mapping[str, str],
    left_out: Mapping[str, str] | None = None,
    path: Iterable[Path] = (),
    arguments: Iterable[str] = (),
    timeout: float = 300,
) -> Outcome:
    """Run some of a suite's tests in a process of its own.

    Args:
        source: Where it was unpacked.
        tests: Files or directories of it.
        overlay: A module that puts coatcheck in the place of the ecosystem's own stores: a pytest plugin. `None`: its
            tests are made to be told which store.
        tmp_path: For what the tests write.
        environment: What the overlay needs to know.
        left_out: Tests that cannot hold for any other store (ids, or their beginnings), each with its reason.
        path: Directories to import from, before the overlay's.
        arguments: Of pytest.
        timeout: Seconds for all of it. What stands still then fails, and says in which test and at which line.
    """
    report, log = tmp_path / "report.xml", tmp_path / "suite.log"
    words = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:valkey", "-p", "no:xdist"]
    paths = [*path]
    if overlay is not None:
        words += ["-p", overlay.stem]
        paths.append(overlay.parent)
    words += [
        "--rootdir",
        source,
        "-c",
        os.devnull,
        f"--junit-xml={report}",
        "-o",
        "junit_family=xunit1",
    ]
    words += [f"--basetemp={tmp_path / 'suite'}", *(f"--deselect={test}" for test in left_out or ()), *arguments]
    with open(log, "wb") as output:
        suite = subprocess.Popen(
            [str(word) for word in (*words, *tests)],
            cwd=source,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(map(str, (*paths, ROOT / "src"))),
                "PYTHONDONTWRITEBYTECODE": "1",
                **environment,
            },
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    code = end_of(suite, timeout)
    if code not in (0, 1) or not report.exists():
        how = f"stood still for the rest of {timeout} seconds" if code is None else f"ended with {code}"
        pytest.fail(f"the suite {how}:\n{log.read_text(errors='replace')[-12_000:]}", pytrace=False)
    outcome = Outcome(set(), {}, set())
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('file')}::{case.get('name')}"
        failure = case.find("failure")
        failure = case.find("error") if failure is None else failure
        if failure is not None:
            outcome.failed[name] = (failure.text or "")[-1500:]
        elif case.find("skipped") is not None:
            outcome.skipped.add(name)
        else:
            outcome.passed.add(name)
    return outcome


def end_of(suite: subprocess.Popen[bytes], timeout: float) -> int | None:
    """Its exit code, or `None` after a time that it did not keep. None of its processes is left."""
    try:
        return suite.wait(timeout)
    except subprocess.TimeoutExpired:
        suite.send_signal(signal.SIGABRT)  # pytest's faulthandler writes where each thread stands
        with contextlib.suppress(subprocess.TimeoutExpired):
            suite.wait(10)
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(suite.pid, signal.SIGKILL)
        suite.wait()


def check(outcome: Outcome, *, at_least: int, may_skip: int = 0) -> None:
    """That everything passed, and that it was not little. Prints how much: `make integrations ARGS=-rP` shows it."""
    print(
        f"their own tests: {len(outcome.passed)} passed, {len(outcome.skipped)} skipped, {len(outcome.failed)} failed"
    )
    failures = "\n".join(f"--- {name}\n{text}" for name, text in outcome.failed.items())
    assert not outcome.failed, f"{len(outcome.failed)} failed, {len(outcome.passed)} passed\n{failures}"
    assert len(outcome.skipped) <= may_skip, sorted(outcome.skipped)
    assert len(outcome.passed) >= at_least
