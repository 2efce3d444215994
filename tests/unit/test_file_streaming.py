"""Large content in a directory: what is under way, what is opened, what damage does."""

from __future__ import annotations

import errno
import hashlib
import io
import os

import pytest

from coatcheck import (
    ArtifactLostError,
    CorruptArtifactError,
    FileArtifactStore,
    StoreFullError,
    StoreUnavailableError,
    compute_artifact_id,
)
from coatcheck.sources import Chunking

from ..harnesses import chunk

CONTENT = os.urandom(55_000)


@pytest.fixture
def store(tmp_path):
    with chunk(FileArtifactStore(tmp_path), Chunking(size=10_000, threshold=20_000, window=2)) as store:
        yield store


def parts(tmp_path):
    return sorted((tmp_path / "artifacts" / "blobs").glob(".*.part"))


def blob(tmp_path, content=CONTENT):
    return tmp_path / "artifacts" / "blobs" / f"{hashlib.sha256(content).hexdigest()}.bin"


def test_others_work_while_a_large_file_is_stored_and_gc_leaves_it_alone(store, tmp_path) -> None:
    other = FileArtifactStore(tmp_path)
    seen = []

    def meanwhile(done, total) -> None:
        if total is not None and done < total:
            seen.extend(parts(tmp_path))
            other.store(b"other", run_id="b")
            assert other.gc(dry_run=False, grace=0).problems == []

    store.store_file(io.BytesIO(CONTENT), progress=meanwhile)
    assert seen
    assert parts(tmp_path) == []
    assert blob(tmp_path).read_bytes() == CONTENT


def test_what_is_opened_is_only_read(store) -> None:
    with (
        store.open(store.store(CONTENT), required=True) as reader,
        pytest.raises(io.UnsupportedOperation, match="only read"),
    ):
        reader.write(b"more")


def test_a_part_that_nobody_writes_is_a_leftover(store, tmp_path) -> None:
    left = tmp_path / "artifacts" / "blobs" / f".{'0' * 32}.part"
    left.write_bytes(b"x" * 100)
    assert store.gc(grace=0).problems == []
    os.utime(left, (1, 1))
    report = store.gc(dry_run=False, grace=0)
    assert [(problem.kind, problem.bytes) for problem in report.problems] == [("orphan-content", 100)]
    assert parts(tmp_path) == []


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, StoreFullError), (errno.EIO, StoreUnavailableError)])
def test_a_disk_that_refuses_is_told_and_nothing_stays(store, tmp_path, monkeypatch, number, kind) -> None:
    def refuse(_fd) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(kind):
        store.store_file(io.BytesIO(CONTENT))
    monkeypatch.undo()
    assert not [path for name in ("refs", "blobs") for path in (tmp_path / "artifacts" / name).iterdir()]


def test_an_error_of_the_source_is_not_one_of_the_store(store, tmp_path) -> None:
    class Broken(io.BytesIO):
        reading = 0

        def readinto(self, buffer) -> int:
            self.reading += 1
            if self.reading > 5:
                raise OSError(errno.EIO, "the source is broken")
            return super().readinto(buffer)

    with pytest.raises(OSError, match="the source is broken"):
        store.store_file(Broken(CONTENT))
    assert parts(tmp_path) == []


@pytest.mark.parametrize("damaged", [CONTENT[:-1], CONTENT[:-1] + b"?", CONTENT + b"?", b""])
def test_a_damaged_file_is_not_opened(store, tmp_path, damaged) -> None:
    stored = store.store(CONTENT)
    blob(tmp_path).write_bytes(damaged)
    for act in (store.open, store.load_range):
        with pytest.raises(CorruptArtifactError, match=stored.artifact_id):
            act(stored.artifact_id)


def test_a_file_that_is_cut_under_a_reader_is_damage(store, tmp_path) -> None:
    large = os.urandom(3_000_000)
    stored = store.store(large)
    with store.open(stored.artifact_id) as reader:
        assert reader.read(10) == large[:10]
        os.truncate(blob(tmp_path, large), 1_500_000)
        with pytest.raises(CorruptArtifactError):
            reader.read()


def test_a_lost_file_is_told(store, tmp_path) -> None:
    stored = store.store(CONTENT)
    blob(tmp_path).unlink()
    with pytest.raises(ArtifactLostError):
        store.open(stored.artifact_id)
    store.store_file(io.BytesIO(CONTENT))
    assert store.load_range(compute_artifact_id(CONTENT)) == CONTENT


def test_readers_close_their_files(store, tmp_path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    stored = store.store(CONTENT)
    before = descriptors()
    with store.open(stored.artifact_id) as reader:
        reader.read(1)
        assert descriptors() == before + 1
    assert descriptors() == before
    store.load_range(stored.artifact_id, 1, 2)
    assert descriptors() == before
