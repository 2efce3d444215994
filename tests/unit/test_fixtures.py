"""Fixtures for applications: an empty store on a real server for each test, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from coatcheck.testing import Blocking, Clock, amemory_store, memory_store

CONFTEST = 'pytest_plugins = ["coatcheck.testing.fixtures"]\n'
APPLICATION = """
import pytest
from coatcheck import open_store

@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_gets_an_empty_store(coatcheck_store, turn):
    assert coatcheck_store.list_all() == []
    coatcheck_store.store(b"x")

def test_what_opens_a_store_without_a_url_gets_it(coatcheck_store):
    stored = coatcheck_store.store(b"x")
    with open_store() as other:
        assert other.load(stored, required=True).content == b"x"

def test_with_a_ttl_it_goes_by_itself(coatcheck_store, nothing_left_behind):
    coatcheck_store.store(b"x", run_id="a", ttl=60)

def test_deleted_it_is_gone(coatcheck_store, nothing_left_behind):
    coatcheck_store.store(b"x", run_id="a")
    coatcheck_store.delete_by_run("a")

def test_left_behind(coatcheck_store, nothing_left_behind):
    coatcheck_store.store(b"x", run_id="a", artifact_id="report")
"""


def test_an_application_tests_on_a_real_server(tmp_path: Path, server_of) -> None:
    server_of("valkey")  # there is one
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_application.py").write_text(APPLICATION)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:valkey", tmp_path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert "6 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "these would stay for ever: coatcheck:artifact:report, coatcheck:run:a\n" in done.stdout


@pytest.mark.parametrize("make", [memory_store, lambda clock: Blocking(lambda: amemory_store(clock))])
def test_leases_end_by_the_clock_that_is_turned(make) -> None:
    clock = Clock()
    store = make(clock)
    stored = store.store(b"x", ttl=timedelta(hours=1))

    clock.turn(3599)
    assert store.exists(stored)
    clock.turn(timedelta(seconds=1))

    assert not store.exists(stored)
    store.close()
