"""Rows about one large file, and how much memory it takes in the client."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .bench import MIB, Bench, Found, lacks, measurement, noise_file
from .candidates import Batch, Candidate
from .measure import Effort, Trial
from .peak import run_of
from .results import Left, Row

SIZE = 256 * MIB
BUSY = 8 * SIZE  # bytes of memory while peers hold it as bytes, JSON and base64


@measurement("file-256m")
def file_256_mib(bench: Bench) -> Found:
    """A file in, and its content out: streamed, where a candidate can; else read, and stored as bytes."""
    if reason := lacks(BUSY, SIZE):
        yield Left("file-256m", reason)
        return
    candidates = bench.writers()
    if bench.quick:
        peers = [one for one in candidates[1:] if one is not bench.ours()]
        candidates = [bench.floor, bench.ours()]
        yield Left("file-256m", f"--quick leaves out {', '.join(one.name for one in peers)}: some take a minute each")
    about = {"goal": "≤ 1.1", "limit": 1.1, "without": []}
    effort = Effort(3 if bench.quick else 5, float("inf"))
    with tempfile.TemporaryDirectory(prefix="coatcheck-bench-") as folder:
        path = noise_file(folder, SIZE)
        for one in candidates[2:]:
            if reason := _refusal(bench, one, path):
                yield Left("file-256m", f"{one.name}: {reason}")
                candidates.remove(one)
        trials = [storing_file(bench, one, path) for one in candidates]
        yield bench.compare("file-256m-store", "store a file of 256 MiB", trials, 1, effort, **about)
        trials = [loading_file(bench, one, path) for one in candidates]
        yield bench.compare("file-256m-load", "load 256 MiB, in pieces", trials, 1, effort, **about)


def _refusal(bench: Bench, candidate: Candidate, path: Path) -> str | None:
    """Why a peer cannot do this at all (timeouts, limits); it should not take the row with it."""
    batch = Batch([], bench.run_id())
    try:
        candidate.store_file(path, batch)
        candidate.load_file(batch, lambda _: None)
        candidate.forget(batch)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def storing_file(bench: Bench, candidate: Candidate, path: Path) -> Trial:
    """Store a file that the server doesn't have."""

    def store(batch: Batch) -> None:
        candidate.store_file(path, batch)

    def check(batch: Batch, _: object) -> None:
        _check_file(candidate, path, batch)

    return Trial(candidate.name, lambda _: Batch([], bench.run_id()), store, candidate.forget, check)


def loading_file(bench: Bench, candidate: Candidate, path: Path) -> Trial:
    """Load what was stored from a file, piece by piece, as far as the candidate has pieces."""

    def prepare(_: int) -> Batch:
        batch = Batch([], bench.run_id())
        candidate.store_file(path, batch)
        return batch

    def load(batch: Batch) -> None:
        candidate.load_file(batch, lambda _: None)

    def check(batch: Batch, _: object) -> None:
        _check_file(candidate, path, batch)

    return Trial(candidate.name, prepare, load, candidate.forget, check)


def _check_file(candidate: Candidate, path: Path, batch: Batch) -> None:
    found = hashlib.sha256()
    candidate.load_file(batch, found.update)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").digest() != found.digest():
            raise AssertionError("a candidate returned other bytes than it was given: the row would mean nothing")


@measurement("client-memory")
def client_memory(bench: Bench) -> Found:
    """The most memory that a client takes over idle, each in a process of its own."""
    if reason := None if sys.platform == "linux" else "peaks are read from Linux's /proc":
        yield Left("client-memory", reason)
        return
    if reason := lacks(4 * SIZE, SIZE):
        yield Left("client-memory", reason)
        return
    stored, loaded = {}, {}
    with tempfile.TemporaryDirectory(prefix="coatcheck-bench-") as folder:
        path = noise_file(folder, SIZE)
        for name, candidate in (("floor", bench.floor), ("coatcheck", bench.ours())):
            found = _peak(bench, name, "store", str(path))
            stored[candidate.name] = found["bytes"]
            loaded[candidate.name] = _peak(bench, name, "load", json.dumps(found["keys"]))["bytes"]
            candidate.forget(Batch([], run_of(name), found["keys"]))
    about = {
        "goal": "≤ 32 MiB",
        "limit": 32 * MIB,
        "without": [one.name for one in bench.writers() if one.name not in stored],
    }
    yield Row("client-memory-store", "client memory over idle, storing a file of 256 MiB", sizes=stored, **about)
    yield Row("client-memory-load", "client memory over idle, loading 256 MiB in pieces", sizes=loaded, **about)


def _peak(bench: Bench, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.peak", json.dumps(bench.endpoint), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent, check=False)
    bench.server.settle()
    if done.returncode:
        raise RuntimeError(f"benchmarks.peak: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)
