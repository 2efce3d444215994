"""The directory layout: inherited, crash-safe, shared by processes."""

from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import importlib.util
import io
import json
import multiprocessing
import os
import stat
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest

from coatcheck import (
    ArtifactLostError,
    AsyncFileArtifactStore,
    BackendStore,
    CorruptArtifactError,
    FileArtifactStore,
    InMemoryArtifactStore,
    InvalidArtifactError,
    Payload,
    StoreFullError,
    StoreUnavailableError,
    artifact_ref,
    open_store,
)
from coatcheck.backends.file import FileBackend
from coatcheck.folders import Folder
from coatcheck.testing import Clock
from coatcheck.testing.waiting import eventually

from ..users import ALICE, GROUP, MALLORY, as_user, commons  # noqa: F401  # commons is a fixture


@pytest.fixture
def store(tmp_path):
    with FileArtifactStore(tmp_path) as store:
        yield store


def meta_of(directory, name):
    return directory / "artifacts" / "refs" / f"{name}.meta"


def contents(directory):
    return [path.read_bytes() for path in (directory / "artifacts" / "blobs").iterdir()]


def kinds_of(report):
    return {problem.kind: problem.count for problem in report.problems}


def blob_of(directory, content):
    return directory / "artifacts" / "blobs" / f"{hashlib.sha256(content).hexdigest()}.bin"


def test_the_layout_is_the_inherited_one(store, tmp_path) -> None:
    stored = store.store(b"content", content_type="text/plain", run_id="run", tags={"k": "v"})
    assert (tmp_path / "artifacts" / "blobs" / f"{stored.digest}.bin").read_bytes() == b"content"
    meta = json.loads(meta_of(tmp_path, stored.artifact_id).read_text())
    inherited = ("artifact_id", "blob_id", "content_type", "size_bytes", "created_at", "run_id", "tags")
    assert {name: meta[name] for name in inherited} == {
        "artifact_id": stored.artifact_id,
        "blob_id": stored.digest,
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
    try:
        for writer in writers:
            writer.start()
        give_up_at = time.monotonic() + 120
        while not (store.exists("name0") and store.exists("name1")):
            assert time.monotonic() < give_up_at
        for writer in writers:
            for _ in range(10):
                for name in ("name0", "name1"):
                    loaded = store.load(name)
                    assert loaded is not None
                    assert loaded.content == loaded.content[:1] * 20_000
            writer.kill()
            writer.join()
    finally:
        for writer in writers:
            if writer.is_alive():
                writer.kill()
                writer.join()
    for name in ("name0", "name1"):
        loaded = FileArtifactStore(tmp_path).load(name)
        assert loaded is not None
        assert loaded.content == loaded.content[:1] * 20_000


@pytest.mark.parametrize("crash_at", range(1, 17))
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_crash_between_any_two_steps_leaves_old_or_new(tmp_path, monkeypatch, crash_at, before) -> None:
    store = FileArtifactStore(tmp_path)
    if before is not None:
        store.store(before, artifact_id="name", run_id="a")

    class Crash(BaseException):
        pass

    steps = iter(range(1, 100))

    def crashing(step):
        def call(self, *arguments):
            if next(steps) == crash_at:
                raise Crash
            return step(self, *arguments)

        return call

    for step in (Folder.create, Folder.rename, Folder.remove, Folder.sync):
        monkeypatch.setattr(Folder, step.__name__, crashing(step))
    try:
        store.store(b"new", artifact_id="name", run_id="b")
        finished = True
    except Crash:
        finished = False
    monkeypatch.undo()
    after = FileArtifactStore(tmp_path)
    loaded = after.load("name")
    assert (loaded and loaded.content) in ({b"new"} if finished else {before, b"new"})
    assert [view.artifact_id for run in "ab" for view in after.list_by_run(run)] == ["name"] * (loaded is not None)
    assert not set(kinds_of(after.check(read_data=True, grace=0))) - {"orphan-content", "stale-index-member"}
    if loaded:
        assert loaded.metadata.run_id == ("b" if loaded.content == b"new" else "a")
    after.store(b"newest", artifact_id="name", run_id="c")
    assert after.load_text("name") == "newest"
    assert after.delete("name")
    assert after.load("name") is None
    for path in (tmp_path / "artifacts").glob("*/.*"):
        os.utime(path, (1, 1))  # as if nobody had written to it for long
    assert after.gc(dry_run=False, grace=0).ok
    assert contents(tmp_path) == []
    assert not [path for path in (tmp_path / "artifacts" / "runs").rglob("*") if path.is_file()]


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
    content = blob_of(tmp_path, b"content")
    content.unlink()
    content.symlink_to(secret)
    with pytest.raises(CorruptArtifactError, match="symbolic link"):
        store.load("name")
    assert not store.exists("name")
    store.store(b"content", artifact_id="name")
    assert secret.read_bytes() == b"secret"
    assert store.load_text("name") == "content"
    meta = meta_of(tmp_path, stored.artifact_id)
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
    os.mkfifo(meta_of(tmp_path, "name"))
    with pytest.raises(CorruptArtifactError, match="regular file"):
        store.get_metadata("name")


def test_damaged_content_is_noticed(store, tmp_path) -> None:
    store.store(b"content", artifact_id="name")
    path = blob_of(tmp_path, b"content")
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
    store.store(b"neighbour", artifact_id="other", run_id="a")
    store.store(b"damaged soon", artifact_id="name", run_id="a")
    meta_of(tmp_path, "name").write_bytes(meta)
    with pytest.raises(CorruptArtifactError, match=r"name\.meta"):
        store.load("name")
    with pytest.raises(CorruptArtifactError):
        store.delete_by_run("a")  # an error while listing deletes nothing
    assert [view.artifact_id for view in store.list_all()] == ["other"]
    assert store.list_by_run("a") == [store.get_metadata("other")]
    assert store.stats().artifacts == 1
    assert {problem.kind: problem.examples for problem in store.check().problems} == {"damaged-metadata": ["name"]}
    assert store.gc(dry_run=False, grace=0).problems == []  # the damaged one might name any content
    assert store.load_text("other") == "neighbour"


def test_metadata_of_other_content_do_not_pass_under_a_default_id(store, tmp_path) -> None:
    name = store.store(b"content").artifact_id
    meta = meta_of(tmp_path, name)
    digest = hashlib.sha256(b"other").hexdigest()
    forged = {**json.loads(meta.read_bytes()), "digest": digest, "size_bytes": 5}
    meta.write_text(json.dumps(forged))
    blob_of(tmp_path, b"other").write_bytes(b"other")
    for read in (store.load, store.get_metadata, store.exists, store.open):
        with pytest.raises(CorruptArtifactError, match=name):
            read(name)


def test_foreign_files_are_left_alone(store, tmp_path) -> None:
    foreign = [tmp_path / "artifacts" / folder / "not an id!.meta" for folder in (".", "refs", "blobs")]
    for path in foreign:
        path.write_text("not ours")
    store.store(b"x", run_id="a")
    assert len(store.list_all()) == 1
    store.delete_by_run("a")
    assert store.gc(dry_run=False, grace=0).problems == []
    assert [path.read_text() for path in foreign] == ["not ours"] * 3


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
    assert not list((tmp_path / "artifacts").rglob("*.tmp"))
    assert store.check(read_data=True, grace=0).problems == []


def test_content_is_kept_once_and_goes_with_the_last_artifact(store, tmp_path) -> None:
    default = store.store(b"content", run_id="a").artifact_id
    store.store(b"content", artifact_id="one", run_id="a")
    store.store(b"content", artifact_id="two", run_id="b")
    assert contents(tmp_path) == [b"content"]
    assert store.stats().stored_bytes == 7

    store.store(b"other", artifact_id="two", run_id="b")
    assert store.delete(default)
    assert store.load_text("one") == "content"
    assert sorted(contents(tmp_path)) == [b"content", b"other"]
    assert store.delete_by_run("a") == 1
    assert contents(tmp_path) == [b"other"]


def test_fields_of_other_software_stay(store, tmp_path) -> None:
    store.store(b"content", artifact_id="name", run_id="a")
    theirs = {"metadata": {"ü": [1, None]}, "descriptor": {"kind": "x"}, "access": {"load": 3}}
    meta = meta_of(tmp_path, "name")
    meta.write_text(json.dumps({**json.loads(meta.read_text()), **theirs}))

    store.touch("name", 60, "a")
    store.find_missing(["name"], ttl=60, run_id="b")
    store.store(b"content", artifact_id="name", run_id="c")
    store.release("name", "a")
    assert {name: json.loads(meta.read_text())[name] for name in theirs} == theirs


def test_blobs_of_any_name_are_read(store, tmp_path) -> None:
    meta = {"content_type": "t", "size_bytes": 6, "created_at": "2025-01-01T00:00:00Z", "run_id": "a"}
    for name, blob in (("one", "legacy1"), ("two", "abc123")):
        (tmp_path / "artifacts" / "blobs" / f"{blob}.bin").write_bytes(b"theirs")
        meta_of(tmp_path, name).write_text(json.dumps({**meta, "artifact_id": name, "blob_id": blob}))

    assert store.load_text("one") == store.load_text("two") == "theirs"
    assert store.touch("one", 60, "a")
    assert store.load_text("one") == "theirs"
    assert store.check(read_data=True, grace=0).problems == []
    assert store.delete("one")
    assert store.gc(dry_run=False, grace=0).ok
    assert contents(tmp_path) == [b"theirs"]


def test_the_file_of_a_content_can_be_asked_for(store, tmp_path) -> None:
    metadata = store.store(b"content")
    path = store.content_path(metadata)
    assert path.read_bytes() == b"content"
    with FileArtifactStore(tmp_path) as again:
        assert again.content_path(metadata.ref) == path
    assert asyncio.run(AsyncFileArtifactStore(tmp_path).content_path(metadata)) == path
    path.unlink()
    with pytest.raises(ArtifactLostError, match=metadata.artifact_id):
        store.content_path(metadata)
    store.delete(metadata)
    assert store.content_path(metadata) is None
    with pytest.raises(InvalidArtifactError):
        store.content_path("../x")


def test_a_content_that_abstractruntime_may_need_is_left_to_gc(tmp_path) -> None:
    theirs = write_blobs(tmp_path)
    with FileArtifactStore(tmp_path) as store:
        mine = store.store(b"new content", artifact_id="mine").artifact_id
        assert store.delete(mine)
        assert store.load_text(theirs) == "new content"
        assert store.delete(theirs)
        assert kinds_of(store.gc(grace=0)) == {"orphan-content": 1}
        assert store.gc(dry_run=False, grace=0).ok
        assert contents(tmp_path) == []


def test_a_listing_of_a_run_reads_nothing_of_others(store, tmp_path, monkeypatch) -> None:
    for i in range(20):
        store.store(b"%d" % i, run_id=f"run {i % 10}")
    read = Mock(return_value=None)
    get = FileBackend._get
    monkeypatch.setattr(FileBackend, "_get", lambda *arguments: read() or get(*arguments))

    assert {view.tags.get("k") for view in store.list_by_run("run 3")} == {None}
    assert read.call_count == 2
    assert store.delete_by_run("run 3") == 2
    assert store.list_by_run("run 3") == []


def test_a_lease_that_had_ended_is_entered_again(tmp_path) -> None:
    clock = Clock()
    with BackendStore(FileBackend(tmp_path, clock=clock)) as store:
        store.store(b"content", artifact_id="name", run_id="a", ttl=1)
        store.store(b"content", artifact_id="name", run_id="b")  # the file names both
        clock.turn(2)
        assert store.list_by_run("a") == []

        store.store(b"other", artifact_id="name", run_id="a")
        assert len(store.list_by_run("a")) == 1


@pytest.mark.parametrize("damage", ["size", "huge"])
def test_a_content_of_another_size_is_not_read(store, tmp_path, damage) -> None:
    store.store(b"content", artifact_id="name")
    with blob_of(tmp_path, b"content").open("r+b") as file:
        file.truncate(6 if damage == "size" else 1 << 40)
    for read in (store.load, store.open, store.load_range):
        with pytest.raises(CorruptArtifactError, match="name"):
            read("name")
    assert not store.exists("name")
    assert kinds_of(store.check()) == {"damaged-content": 1}
    store.store(b"content", artifact_id="name")
    assert store.load_text("name") == "content"


@pytest.mark.parametrize("namespace", ["", ".", "..", "artifacts", "Artifacts", "a/b", "é", "a:content"])
def test_a_namespace_is_a_directory_of_its_own(tmp_path, namespace) -> None:
    with pytest.raises(InvalidArtifactError, match="namespace"):
        open_store(f"file://{tmp_path}/store", namespace=namespace)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("act", ["store", "store_file", "touch", "acquire", "open"])
def test_a_full_disk_is_told_and_deleting_makes_room(store, tmp_path, monkeypatch, act) -> None:
    store.store(b"old", artifact_id="name", run_id="a")
    act = {
        "store": lambda: store.store(b"new", artifact_id="name", run_id="b"),
        "store_file": lambda: store.store_file(io.BytesIO(bytes(20 << 20))),
        "touch": lambda: store.touch("name", 60, "a"),
        "acquire": lambda: store.find_missing(["name"], ttl=60, run_id="b"),
        "open": lambda: FileArtifactStore(tmp_path / "new"),
    }[act]

    def refuse(*_, **__) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("create", "make"):
        monkeypatch.setattr(Folder, name, refuse)
    with pytest.raises(StoreFullError, match="make room"):
        act()
    assert store.load_text("name") == "old"
    assert store.delete("name")
    assert store.list_all() == []


def test_figures_are_told_beside_deletes(store) -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            for i in range(5):
                store.store(b"%d" % i, artifact_id=f"name{i}", run_id="a", ttl=60)
            store.delete_by_run("a")

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        for _ in range(200):
            assert store.stats().artifacts <= 5
            assert len(store.list_by_run("a")) <= 5
            assert store.load("name1") is None or store.exists("name1") in (True, False)
        stop.set()
        working.result()
    assert store.check(read_data=True, grace=0).problems == []


# Other users ----------------------------------------------------------------------------------------------------


def modes(directory):
    return {stat.S_IMODE(path.lstat().st_mode) for path in directory.rglob("*") if path.is_dir()}, {
        stat.S_IMODE(path.lstat().st_mode) for path in directory.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    ("mode", "folders", "files", "locks"),
    [(None, 0o700, 0o600, 0o600), (0o755, 0o755, 0o644, 0o600), (0o2770, 0o2770, 0o660, 0o660)],
)
def test_files_are_for_whom_the_directory_is(tmp_path, mode, folders, files, locks) -> None:
    for umask in (0, 0o077):
        before = os.umask(umask)
        try:
            with FileArtifactStore(tmp_path / f"{umask}", mode=mode) as store:
                store.store(b"content", artifact_id="name", run_id="a")
                store.store_file(io.BytesIO(bytes(17 << 20)))
        finally:
            os.umask(before)
        assert modes(tmp_path / f"{umask}") == ({folders}, {files, locks})


@pytest.mark.parametrize("mode", [0o777, 0o600, -1, "0o700", True, 1 << 20])
def test_modes_that_make_no_sense_are_refused(tmp_path, mode) -> None:
    with pytest.raises(InvalidArtifactError, match="mode"):
        FileArtifactStore(tmp_path / "store", mode=mode)


def test_a_directory_where_others_could_tamper_is_refused(commons) -> None:
    planted, swappable = commons / "planted", commons / "swappable"
    (planted / "artifacts").mkdir(parents=True)
    (planted / "artifacts").chmod(0o777)
    swappable.mkdir()
    swappable.chmod(0o777)

    for directory in (planted, swappable):
        with pytest.raises(StoreUnavailableError, match="chmod"):
            FileArtifactStore(directory)
    for folder in ("refs", "blobs", "runs", "needs", "locks"):
        home = commons / folder / "artifacts"
        home.mkdir(parents=True)
        (home / folder).symlink_to(commons)
        with pytest.raises(StoreUnavailableError, match="symbolic link"):
            FileArtifactStore(home.parent)


SEVERAL = {
    "acquire": lambda store, ids: store.find_missing(ids, ttl=900, run_id="other"),
    "delete": lambda store, ids: store.delete_many(ids),
    "delete by run": lambda store, ids: store.delete_by_run("run"),  # noqa: ARG005
    "end a run": lambda store, ids: store.expire_run("run", 1),  # noqa: ARG005
    "renew a run": lambda store, ids: store.touch_run("run", None),  # noqa: ARG005
    "store": lambda store, ids: store.store_many([Payload(b"new", artifact_id=name) for name in ids], run_id="run"),
    "update": lambda store, ids: store.update_many(ids, run_id="run", tags={"k": "2"}),
}


@pytest.mark.parametrize("what", SEVERAL)
def test_where_one_of_several_cannot_be_read_none_is_changed(what, store, tmp_path) -> None:
    ids = ["a", "b", "c"]
    store.store_many([Payload(name.encode(), artifact_id=name) for name in ids], run_id="run", ttl=60, tags={"k": "1"})
    whole = meta_of(tmp_path, "b").read_bytes()
    meta_of(tmp_path, "b").write_bytes(b"{")
    before = store.metadata_many(["a", "c"])
    with pytest.raises(CorruptArtifactError, match="b"):
        SEVERAL[what](store, ids)
    assert store.metadata_many(["a", "c"]) == before
    meta_of(tmp_path, "b").write_bytes(whole)
    SEVERAL[what](store, ids)
    assert store.metadata_many(["a", "c"]) != before


def test_another_member_of_a_group_uses_its_store(commons) -> None:
    shared = commons / "shared"
    shared.mkdir()
    os.chown(shared, ALICE, GROUP)
    shared.chmod(0o2775)

    def work(store):
        store.store(b"mine", artifact_id="name", run_id=f"run {os.geteuid()}")
        return sorted(view.artifact_id for view in store.list_all()), store.load_text("name")

    for user in (ALICE, MALLORY):
        assert as_user(user, lambda: work(FileArtifactStore(shared)), groups=(GROUP,), umask=0o077) == str(
            (["name"], "mine")
        )
    with FileArtifactStore(shared) as store:
        assert store.list_runs() == sorted(f"run {user}" for user in (ALICE, MALLORY))


@pytest.mark.parametrize("place", ["blobs", "refs", "locks"])
def test_a_link_that_another_member_of_a_group_planted_is_not_followed(commons, place) -> None:
    shared, precious = commons / "shared", commons / "precious"
    shared.mkdir()
    os.chown(shared, ALICE, GROUP)
    shared.chmod(0o2775)
    as_user(ALICE, lambda: (precious.write_text("precious"), precious.chmod(0o600)))

    def store():
        return FileArtifactStore(shared).store(b"precious", artifact_id="name").artifact_id

    def plant():
        for path in (shared / "artifacts" / place).iterdir():
            path.unlink()
            path.symlink_to(precious)
        return "planted"

    def use():
        with FileArtifactStore(shared) as store:
            found = []
            for call in (
                lambda: store.load_text("name"),
                lambda: store.touch("name", 60),
                lambda: store.delete("name"),
            ):
                try:
                    found.append(call())
                except (CorruptArtifactError, StoreUnavailableError) as error:
                    found.append(type(error).__name__)
            return found

    assert as_user(ALICE, store, groups=(GROUP,)) == "name"
    assert as_user(MALLORY, plant, groups=(GROUP,)) == "planted"
    refused = ["CorruptArtifactError", "StoreUnavailableError"]
    said = as_user(ALICE, use, groups=(GROUP,))
    assert any(error in said for error in refused)
    if place != "locks":  # a reader takes none
        assert "precious" not in said
    assert precious.read_text() == "precious"
    assert precious.stat().st_nlink == 1


def test_one_who_may_only_read_can_do_that_and_block_nobody(commons) -> None:
    directory = commons / "store"
    with FileArtifactStore(directory, mode=0o755) as store:
        for name in ("name", "ended"):
            store.store(b"content", artifact_id=name, run_id="a", ttl=0.01 if name == "ended" else None)

        def read():
            theirs = FileArtifactStore(directory)
            return [theirs.load_text("name"), *(v.artifact_id for v in [*theirs.list_all(), *theirs.list_by_run("a")])]

        eventually(lambda: not store.exists("ended"))
        assert as_user(MALLORY, read) == str(["content", "name", "name"])
        said = as_user(MALLORY, lambda: FileArtifactStore(directory).store(b"x"))
        assert said.startswith("StoreUnavailableError: ")
        locks = directory / "artifacts" / "locks"
        for path in locks.iterdir():
            assert "Permission denied" in as_user(MALLORY, path.open)
        os.chown(directory / "artifacts", ALICE, ALICE)
        with FileArtifactStore(directory) as foreign:  # root may do anything: it is asked to mean it
            assert foreign.load_text("name") == "content"
            with pytest.raises(StoreUnavailableError, match="another user's"):
                foreign.delete("name")
        with FileArtifactStore(directory, mode=0o755) as trusted:
            assert trusted.delete("name")
