"""Rows about one large file, and how much memory it takes in the client."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from .bare import Floor
from .bench import MIB, Bench, lacks, measurement, noise_file
from .candidates import Batch, Candidate
from .measure import Effort, Trial
from .memory import Peak, in_process
from .ours import Coatcheck
from .results import Left, Row
from .server import Endpoint
from .trials import after

SIZE = 256 * MIB
BUSY = 8 * SIZE  # bytes of memory while peers hold it as bytes, JSON and base64


@measurement("file-256m")
def file_256_mib(bench: Bench) -> Iterator[Row | Left]:
    """A file in, and its content out: streamed, where a candidate can; else read, and stored as bytes."""
    if reason := lacks(BUSY, SIZE):
        yield Left(reason)
        return
    candidates = bench.writers()
    if bench.quick:
        peers = [one for one in candidates[1:] if one is not bench.ours()]
        candidates = [bench.floor, bench.ours()]
        yield Left(f"--quick leaves out {', '.join(one.name for one in peers)}: some take a minute each")
    effort = Effort(3 if bench.quick else 5, float("inf"))
    with tempfile.TemporaryDirectory(prefix="coatcheck-bench-") as folder:
        path = noise_file(folder, SIZE)
        for one in candidates[2:]:
            if reason := _refusal(bench, one, path):
                yield Left(f"{one.name}: {reason}")
                candidates.remove(one)
        trials = [storing_file(bench, one, path) for one in candidates]
        yield from bench.compare("store a file of 256 MiB", trials, 1, effort, goal="≤ 0.9", limit=0.9)
        trials = [loading_file(bench, one, path) for one in candidates]
        yield from bench.compare("load 256 MiB, in pieces", trials, 1, effort, goal="≤ 0.6", limit=0.6)


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
    return Trial(
        candidate.name,
        prepare=lambda _: Batch([], bench.run_id()),
        run=lambda batch: candidate.store_file(path, batch),
        clean=candidate.forget,
        check=lambda batch, _: _check_file(candidate, path, batch),
    )


def loading_file(bench: Bench, candidate: Candidate, path: Path) -> Trial:
    """Load what was stored from a file, piece by piece, as far as the candidate has pieces."""
    return after(storing_file(bench, candidate, path), lambda batch: candidate.load_file(batch, lambda _: None))


def _check_file(candidate: Candidate, path: Path, batch: Batch) -> None:
    found = hashlib.sha256()
    candidate.load_file(batch, found.update)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").digest() != found.digest():
            raise AssertionError("a candidate returned other bytes than it was given: the row would mean nothing")


@measurement("client-memory")
def client_memory(bench: Bench) -> Iterator[Row | Left]:
    """The most memory that a client takes over idle."""
    if reason := lacks(4 * SIZE, SIZE) if sys.platform == "linux" else "peaks are read from Linux's /proc":
        yield Left(reason)
        return
    stored, loaded = {}, {}
    with tempfile.TemporaryDirectory(prefix="coatcheck-bench-") as folder:
        path = noise_file(folder, SIZE)
        for kind in (Floor, Coatcheck):
            stored[kind.name], batch = in_process(_peak, kind, bench.endpoint, path, Batch([], bench.run_id()))
            loaded[kind.name], batch = in_process(_peak, kind, bench.endpoint, None, batch)
            next(one for one in bench.writers() if one.name == kind.name).forget(batch)
            bench.server.settle()
    about = {"goal": "≤ 24 MiB", "limit": 24 * MIB}
    yield Row("client memory over idle, storing a file of 256 MiB", sizes=stored, **about)
    yield Row("client memory over idle, loading 256 MiB in pieces", sizes=loaded, **about)


def _peak(kind: type[Candidate], endpoint: Endpoint, path: Path | None, batch: Batch) -> tuple[int, Batch]:
    """The most that storing a file takes or, without one, loading it; and what was stored."""
    with closing(kind(endpoint)) as candidate:
        small = Batch([b"small"], f"warm-up of {batch.run}")
        candidate.store(small)
        candidate.load(small)
        candidate.forget(small)
        with Peak() as peak:
            if path is not None:
                candidate.store_file(path, batch)
            else:
                candidate.load_file(batch, lambda _: None)
    return peak.bytes, batch
