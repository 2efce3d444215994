"""The directory layout: inherited, crash-safe, shared by processes."""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import json
import multiprocessing
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import pytest

from coatcheck import (
    ArtifactLostError,
    CorruptArtifactError,
    FileArtifactStore,
    InMemoryArtifactStore,
    InvalidArtifactError,
    StoreUnavailableError,
    artifact_ref,
)


@pytest.fixture
def store(tmp_path):
    return FileArtifactStore(tmp_path)


def test_the_layout_is_the_inherited_one(store, tmp_path) -> None:
    stored = store.store(b"content", content_type="text/plain", run_id="run", tags={"k": "v"})
    assert (tmp_path / "artifacts" / f"{stored.artifact_id}.bin").read_bytes() == b"content"
    meta = json.loads((tmp_path / "artifacts" / f"{stored.artifact_id}.meta").read_text())
    inherited = {k: meta[k] for k in ("artifact_id", "content_type", "size_bytes", "created_at", "run_id", "tags")}
    assert inherited == {
        "artifact_id": stored.artifact_id,
        "content_type": "text/plain",
        "size_bytes": 7,
        "created_at": stored.created_at,
        "run_id": "run",
        "tags": {"k": "v"},
    }


def write_flat(directory, content=b"old content", **more):
    """What AbstractRuntime wrote before it had blobs."""
    folder = directory / "artifacts"
    folder.mkdir(exist_ok=True)
    name = hashlib.sha256(content).hexdigest()[:32]
    meta = {
        "artifact_id": name,
        "content_type": "text/plain",
        "size_bytes": len(content),
        "created_at": "2025-01-02T03:04:05.678901+00:00",
        "run_id": "old run",
        "tags": {"k": "v"},
        **more,
    }
    (folder / f"{name}.bin").write_bytes(content)
    (folder / f"{name}.meta").write_text(json.dumps(meta))
    return name


def abstractruntime():
    """AbstractRuntime's own artifact module, without the rest of the package and its many dependencies."""
    spec = importlib.util.find_spec("abstractruntime")
    if spec is None:
        message = "no AbstractRuntime on this machine: pip install --no-deps abstractruntime"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    path = Path(spec.submodule_search_locations[0]) / "storage" / "artifacts.py"
    spec = importlib.util.spec_from_file_location("abstractruntime_artifacts", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_blobs(directory, content=b"new content", run_id="new run"):
    """What AbstractRuntime 0.13 writes: ids of their own per run, contents by digest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its catalog open
        store = abstractruntime().FileArtifactStore(directory)
        stored = store.store(content, content_type="text/plain", run_id=run_id)
        del store
        gc.collect()
    return stored.artifact_id


@pytest.mark.parametrize("write", [write_flat, write_blobs])
def test_directories_of_abstractruntime_open(tmp_path, write) -> None:
    name = write(tmp_path)
    store = FileArtifactStore(tmp_path)
    loaded = store.load(name)
    assert loaded is not None
    assert loaded.content in (b"old content", b"new content")
    run = loaded.metadata.run_id
    assert run in ("old run", "new run")
    assert loaded.metadata.expires_at is None
    assert store.exists(name)
    assert [view.artifact_id for view in store.list_by_run(run)] == [name]
    assert store.find_missing([name], ttl=None, run_id="mine") == []
    assert [lease.run_id for lease in store.leases(name)] == [run, "mine"]
    assert store.get_metadata(name).run_id == "mine"
    assert store.delete_by_run(run) == 1
    assert store.load_text(name) == loaded.content.decode()
    assert store.delete_by_run("mine") == 1
    assert store.load(name) is None


@pytest.mark.parametrize("write", [write_flat, write_blobs])
def test_artifacts_of_abstractruntime_can_be_touched_and_deleted(tmp_path, write) -> None:
    name = write(tmp_path)
    store = FileArtifactStore(tmp_path)
    run = store.list_runs()[0]
    assert store.touch(name, 60, run)
    assert store.leases(name)[0].expires_at is not None
    assert store.load(name) is not None  # its id is a name that they chose
    with pytest.raises(InvalidArtifactError, match="hash of other content"):
        store.store(b"replaced", artifact_id=name, run_id="mine")
    assert store.delete(name)
    assert store.load(name) is None
    assert store.list_all() == []


def test_abstractruntime_reads_what_was_stored(tmp_path) -> None:
    stored = FileArtifactStore(tmp_path).store(b"content", content_type="text/plain", run_id="run", tags={"k": "v"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        theirs = abstractruntime().FileArtifactStore(tmp_path)
        loaded = theirs.load(stored.artifact_id)
        assert loaded.content == b"content"
        assert loaded.metadata.tags == {"k": "v"}
        assert [view.artifact_id for view in theirs.list_by_run("run")] == [stored.artifact_id]
        del theirs
        gc.collect()


def test_ids_and_json_agree_with_abstractruntime(tmp_path) -> None:
    theirs = abstractruntime().InMemoryArtifactStore()
    ours = InMemoryArtifactStore()
    value = {"ü": [1, None, "🎟"], "b": 1.5}
    assert ours.store_json(value).artifact_id == theirs.store_json(value).artifact_id
    assert ours.store_text("grüße").artifact_id == theirs.store_text("grüße").artifact_id
    assert abstractruntime().artifact_ref("x") == artifact_ref("x")


def _store_for_ever(directory, n) -> None:
    store = FileArtifactStore(directory)
    while True:
        for i in range(4):
            store.store(b"%d" % i * 20_000, artifact_id=f"name{i % 2}", run_id=f"run{n}")


def test_killed_writers_leave_whole_artifacts(tmp_path) -> None:
    store = FileArtifactStore(tmp_path)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_store_for_ever, args=(tmp_path, n)) for n in range(3)]
    for writer in writers:
        writer.start()
    give_up_at = time.monotonic() + 30
    while not (store.exists("name0") and store.exists("name1")):
        assert time.monotonic() < give_up_at
    for writer in writers:
        for _ in range(10):
            for name in ("name0", "name1"):
                loaded = store.load(name)
                assert loaded is not None
                assert loaded.content == loaded.content[:1] * 20_000
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    for name in ("name0", "name1"):
        loaded = FileArtifactStore(tmp_path).load(name)
        assert loaded is not None
        assert loaded.content == loaded.content[:1] * 20_000


@pytest.mark.parametrize("crash_at", range(1, 8))
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_crash_between_any_two_renames_leaves_old_or_new(tmp_path, monkeypatch, crash_at, before) -> None:
    store = FileArtifactStore(tmp_path)
    if before is not None:
        store.store(before, artifact_id="name", run_id="a")

    class Crash(BaseException):
        pass

    steps = iter(range(1, 100))
    real = Path.replace

    def replace(self, target):
        if next(steps) == crash_at:
            raise Crash
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    try:
        store.store(b"new", artifact_id="name", run_id="b")
        finished = True
    except Crash:
        finished = False
    monkeypatch.undo()
    after = FileArtifactStore(tmp_path)
    loaded = after.load("name")
    assert (loaded and loaded.content) in ({b"new"} if finished else {before, b"new"})
    if loaded:
        assert loaded.metadata.run_id == ("b" if loaded.content == b"new" else "a")
    after.store(b"newest", artifact_id="name", run_id="c")
    assert after.load_text("name") == "newest"
    assert after.delete("name")
    assert after.load("name") is None


@pytest.mark.parametrize("name", ["con", "NUL", "Aux", "prn", "com1", "LPT9"])
def test_device_names_are_refused(store, name) -> None:
    with pytest.raises(InvalidArtifactError, match="device"):
        store.store(b"x", artifact_id=name)
    with pytest.raises(InvalidArtifactError, match="device"):
        store.load(name)


def test_symbolic_links_are_not_followed(store, tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    stored = store.store(b"content", artifact_id="name")
    content = tmp_path / "artifacts" / "name.bin"
    content.unlink()
    content.symlink_to(secret)
    with pytest.raises(CorruptArtifactError, match="symbolic link"):
        store.load("name")
    assert not store.exists("name")
    store.store(b"content", artifact_id="name")
    assert secret.read_bytes() == b"secret"
    assert store.load_text("name") == "content"
    meta = tmp_path / "artifacts" / f"{stored.artifact_id}.meta"
    meta.unlink()
    meta.symlink_to(secret)
    with pytest.raises(CorruptArtifactError, match="symbolic link"):
        store.get_metadata("name")


def test_a_linked_artifacts_directory_is_refused(tmp_path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "artifacts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailableError, match="symbolic link"):
        FileArtifactStore(tmp_path)


def test_pipes_do_not_hang_a_reader(store, tmp_path) -> None:
    os.mkfifo(tmp_path / "artifacts" / "name.meta")
    with pytest.raises(CorruptArtifactError, match="regular file"):
        store.get_metadata("name")


def test_damaged_content_is_noticed(store, tmp_path) -> None:
    store.store(b"content", artifact_id="name")
    path = tmp_path / "artifacts" / "name.bin"
    for damage in (b"contenu", b"conten", b"", b"content+"):
        path.write_bytes(damage)
        with pytest.raises(CorruptArtifactError, match="name"):
            store.load("name")
    path.unlink()
    with pytest.raises(ArtifactLostError, match="name"):
        store.load("name")
    store.store(b"content", artifact_id="name")
    assert store.load_text("name") == "content"


@pytest.mark.parametrize(
    "meta",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"artifact_id": "name"}',
        b"\xff",
        b"[" * 100_000,
        b'{"artifact_id": "../x", "content_type": "t", "size_bytes": 1, "created_at": "2025-01-01"}',
        b'{"artifact_id": "name", "content_type": "t", "size_bytes": 1, "created_at": "yesterday"}',
        b'{"artifact_id": "name", "content_type": "t", "size_bytes": 1, "created_at": "2025-01-01", "blob_id": "../x"}',
        b'{"artifact_id": "name", "content_type": "t", "size_bytes": 1, "created_at": "2025-01-01", "coatcheck": {"version": 9}}',
        b'{"artifact_id": "name", "content_type": "t", "size_bytes": 1, "created_at": "2025-01-01", "coatcheck": {"version": 1, "leases": [{}]}}',
    ],
)
def test_damaged_metadata_is_a_typed_error(store, tmp_path, meta) -> None:
    store.store(b"neighbour", artifact_id="other")
    (tmp_path / "artifacts" / "name.meta").write_bytes(meta)
    with pytest.raises(CorruptArtifactError, match=r"name\.meta"):
        store.load("name")
    assert store.load_text("other") == "neighbour"
    with pytest.raises(CorruptArtifactError):
        store.delete_by_run("a")  # an error while listing deletes nothing
    assert store.load_text("other") == "neighbour"


def test_metadata_of_other_content_do_not_pass_under_a_default_id(store, tmp_path) -> None:
    name = store.store(b"content").artifact_id
    meta = tmp_path / "artifacts" / f"{name}.meta"
    digest = hashlib.sha256(b"other").hexdigest()
    forged = {**json.loads(meta.read_bytes()), "digest": digest, "size_bytes": 5}
    meta.write_text(json.dumps(forged))
    meta.with_suffix(".bin").write_bytes(b"other")
    for read in (store.load, store.get_metadata, store.exists, store.open):
        with pytest.raises(CorruptArtifactError, match=name):
            read(name)


def test_foreign_files_are_left_alone(store, tmp_path) -> None:
    foreign = tmp_path / "artifacts" / "not an id!.meta"
    foreign.write_text("not ours")
    store.store(b"x", run_id="a")
    assert len(store.list_all()) == 1
    store.delete_by_run("a")
    assert foreign.read_text() == "not ours"


def test_a_directory_that_cannot_be_used_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match="file"):
        FileArtifactStore(tmp_path / "file" / "below")


def _count(directory, n, barrier) -> None:
    store = FileArtifactStore(directory)
    barrier.wait()
    for i in range(30):
        store.store(b"shared %d" % i, run_id=f"run{n}")
    for i in range(0, 30, 2):
        store.release(hashlib.sha256(b"shared %d" % i).hexdigest()[:32], f"run{n}")


def test_processes_share_a_directory(tmp_path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    workers = [context.Process(target=_count, args=(tmp_path, n, barrier)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    store = FileArtifactStore(tmp_path)
    assert len(store.list_all()) == 15
    for view in store.list_all():
        assert {lease.run_id for lease in store.leases(view.artifact_id)} == {"run0", "run1", "run2"}
    assert not list((tmp_path / "artifacts").glob("*.tmp"))
