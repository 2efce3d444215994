"""Copies between stores, and archives of runs: nothing is lost, changed, or taken for something else on its way."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import io
import os
import subprocess
import tarfile
from datetime import datetime

import pytest

from coatcheck import (
    ArtifactLostError,
    ArtifactNotFoundError,
    AsyncFileArtifactStore,
    AsyncInMemoryArtifactStore,
    FileArtifactStore,
    InMemoryArtifactStore,
    InvalidArtifactError,
    RedisArtifactStore,
    StoreUnavailableError,
)
from coatcheck.moving import MoveReport, acopy, aexport_run, aimport_run, copy, export_run, import_run
from coatcheck.moving.placing import LARGE
from coatcheck.testing.faults import inject

BIG = hashlib.shake_128(b"big").digest(LARGE + 1000)
CHUNKED = hashlib.shake_128(b"chunked").digest(17 * 2**20)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch) -> None:
    for module in ("copying", "importing"):
        monkeypatch.setattr(importlib.import_module(f"coatcheck.moving.{module}"), "PAGE", 20)


def fill(store) -> None:
    store.store_many([b"%d" % n for n in range(45)], run_id="many", ttl=3600, tags={"k": "many"})
    store.store(b"shared", run_id="a", ttl=100, tags={"of": "a"}, content_type="text/a")
    store.store(b"shared", run_id="b", ttl=None, tags={"of": "b"}, content_type="text/b", extra={"x": [1, None]})
    store.store(b"shared", ttl=5000)
    store.store(b"named", run_id="a", artifact_id="name", ttl=200)
    store.store(BIG, run_id="a", ttl=300)
    store.store(BIG, run_id="b", ttl=400, tags={"second": "lease"})
    store.store(b"", run_id="a", artifact_id="empty", ttl=100)


def state(store) -> dict:
    """Everything but times of store; deadlines to the second or so."""
    found = {}
    for view in store.search(order="asc", limit=0):
        with store.open(view.artifact_id) as reader:
            digest = hashlib.sha256(reader.read()).hexdigest()
        assert digest == view.digest
        found[view.artifact_id] = (
            digest,
            view.run_id,
            [
                (one.run_id, one.content_type, one.tags, one.extra, None if one.expires is None else one.expires)
                for one in store.leases(view.artifact_id)
            ],
        )
    return found


def same(one: dict, other: dict, *, ordered: bool = True) -> bool:
    assert list(one) == list(other) if ordered else one.keys() == other.keys()
    for artifact_id, (digest, run_id, leases) in one.items():
        assert other[artifact_id][:2] == (digest, run_id)
        for lease, copied in zip(leases, other[artifact_id][2], strict=True):
            assert lease[:4] == copied[:4]
            assert (lease[4] is None) is (copied[4] is None)
            assert lease[4] is None or abs((lease[4] - copied[4]).total_seconds()) <= 1.5
    return True


@pytest.fixture
def make(tmp_path, namespace, request, leaks):
    """Makes a store of each kind."""
    stores = []

    def make_(kind: str, n: int):
        if kind == "memory":
            store = InMemoryArtifactStore()
        elif kind == "file":
            store = FileArtifactStore(tmp_path / f"store{n}")
        else:
            place = request.getfixturevalue("valkey_cluster" if kind == "cluster" else "valkey")
            own = namespace if n == 0 else leaks.own(f"{namespace}copy{n}")
            store = RedisArtifactStore(place.url, namespace=own)
        stores.append(store)
        return store

    yield make_
    for store in stores:
        store.close()


PAIRS = [("memory", "file"), ("file", "redis"), ("redis", "cluster"), ("cluster", "memory"), ("redis", "redis")]


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_copy_is_what_was_there(make, pair) -> None:
    source, target = (make(kind, n) for n, kind in enumerate(pair))
    fill(source)
    told: list[MoveReport] = []
    report = copy(source, target, verify=True, progress=told.append)
    assert same(state(source), state(target), ordered=pair[1] != "cluster")
    assert (report.artifacts, report.leases, report.verified) == (49, 52, 49)
    assert report.bytes == sum(view.size_bytes for view in source.search(limit=0))
    assert report.ok
    assert len(told) > 1
    assert told[-1] == report
    assert target.check(read_data=True).ok
    again = copy(source, target)
    assert (again.artifacts, again.present, again.bytes) == (0, 49, 0)


def test_arguments_are_looked_at_before_anything_is_moved(make) -> None:
    source, target = make("memory", 0), make("memory", 1)
    source.store(b"x", run_id="a")
    for wrong in ({"replace": "no"}, {"verify": None}, {"progress": 1}):
        [name] = wrong
        with pytest.raises(InvalidArtifactError, match=name):
            copy(source, target, **wrong)
    assert target.list_all() == []


def test_what_is_large_enough_for_chunks_is_copied(make) -> None:
    source, target = make("redis", 0), make("cluster", 1)
    stored = source.store(CHUNKED, run_id="a", ttl=60)
    copy(source, target)
    assert target.load(stored).content == CHUNKED
    target.delete(stored)


def test_one_run_is_copied_alone(make) -> None:
    source, target = make("memory", 0), make("redis", 1)
    fill(source)
    assert copy(source, target, run_id="b").leases == 2
    assert target.list_runs() == ["b"]
    assert len(target.list_all()) == 2


def test_a_copy_goes_on_where_it_was_interrupted(make) -> None:
    source, target = make("memory", 0), make("redis", 1)
    fill(source)
    with inject(target, seed=3, lost_replies=0.1, unavailable=0.1):
        for tries in range(1, 500):
            try:
                copy(source, target)
            except StoreUnavailableError:
                continue
            break
        else:
            pytest.fail("it never came to an end")
    assert tries > 3
    assert same(state(source), state(target), ordered=False)


def test_what_changed_is_copied_again_and_nothing_else(make) -> None:
    source, target = make("memory", 0), make("redis", 1)
    fill(source)
    copy(source, target)
    source.touch("name", 900, "a")
    source.store(b"new", run_id="c", ttl=60)
    source.store(b"shared", run_id="c", ttl=60)
    report = copy(source, target)
    assert (report.artifacts, report.present) == (3, 47)
    assert report.bytes == 3
    assert abs((target.leases("name")[0].expires - source.leases("name")[0].expires).total_seconds()) <= 1.5
    assert same({"x": (1, 2, leases(source))}, {"x": (1, 2, leases(target))})


def leases(store) -> list:
    shared = next(view for view in store.list_all(limit=0) if view.size_bytes == 6)
    return [(one.run_id, one.content_type, one.tags, one.extra, one.expires) for one in store.leases(shared)]


@pytest.mark.parametrize("off", [-3600.0, 3600.0])
def test_deadlines_are_kept_whatever_our_clock_says(make, off, monkeypatch) -> None:
    """They are points in time, for servers whose clocks agree; ours may be wrong."""
    source, target = make("redis", 0), make("redis", 1)
    fill(source)
    real = __import__("time").time
    monkeypatch.setattr("coatcheck.moving.placing.time.time", lambda: real() + off)
    assert copy(source, target).expired == 0
    monkeypatch.undo()
    assert same(state(source), state(target))


def test_other_content_under_the_same_name_is_left_unless_asked_for(make) -> None:
    source, target = make("memory", 0), make("file", 1)
    source.store(b"ours", artifact_id="name", run_id="a")
    target.store(b"theirs", artifact_id="name", run_id="a")
    for verify in (False, True):
        report = copy(source, target, verify=verify)
        assert (report.conflicts, report.examples, report.ok, report.verified) == (1, ["name"], False, 0)
        assert target.load("name").content == b"theirs"
    assert copy(source, target, replace=True).ok
    assert target.load("name").content == b"ours"


def test_what_is_lost_or_corrupt_is_counted_and_the_rest_is_copied(make, tmp_path) -> None:
    source, target = make("file", 0), make("memory", 1)
    fill(source)
    for digest in (hashlib.sha256(b"shared").hexdigest(), hashlib.sha256(BIG).hexdigest()):
        [path] = [path for path in tmp_path.rglob("*") if path.is_file() and digest in path.name]
        path.write_bytes(b"wrong") if len(path.read_bytes()) < 100 else path.unlink()
    report = copy(source, target)
    assert (report.unreadable, report.artifacts, report.ok) == (2, 47, False)
    assert len(report.examples) == 2


def test_leases_that_have_ended_are_left_out(make, tmp_path) -> None:
    source = make("memory", 0)
    source.store(b"x", run_id="a", ttl=0.2)
    export_run(source, "a", tmp_path / "a.tar")
    target = make("redis", 1)
    import time

    time.sleep(0.3)
    report = import_run(target, tmp_path / "a.tar")
    assert (report.expired, report.artifacts) == (1, 0)
    assert target.list_all() == []
    assert import_run(target, tmp_path / "a.tar", ttl=60, run_id="b").artifacts == 1
    assert target.list_runs() == ["b"]


@pytest.mark.parametrize("kind", ["memory", "file", "redis", "cluster"])
def test_a_run_goes_through_a_file(make, kind, tmp_path) -> None:
    source, target = make("memory", 0), make(kind, 1)
    fill(source)
    told: list[MoveReport] = []
    report = export_run(source, "a", tmp_path / "a.tar", progress=told.append)
    assert (report.artifacts, report.bytes, len(told)) == (4, 11 + len(BIG), 4)
    assert told[-1] == report
    assert import_run(target, tmp_path / "a.tar").artifacts == 4
    wanted = {i: (d, "a", [lease for lease in found if lease[0] == "a"]) for i, (d, _, found) in state(source).items()}
    assert same({i: one for i, one in wanted.items() if one[2]}, state(target), ordered=kind != "cluster")
    assert import_run(target, tmp_path / "a.tar").present == 4


def test_an_archive_is_read_by_what_everybody_has(make, tmp_path) -> None:
    source = make("memory", 0)
    fill(source)
    export_run(source, "a", tmp_path / "a.tar")
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "xf", "../a.tar"], cwd=tmp_path / "out", check=True)
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "out", check=True)
    shared = hashlib.sha256(b"shared").hexdigest()
    assert (tmp_path / "out" / "contents" / shared).read_bytes() == b"shared"
    assert not os.access(tmp_path / "out" / "contents" / shared, os.X_OK)


def test_archives_go_through_pipes(make) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

        tell = seek

    source, target = make("memory", 0), make("memory", 1)
    source.store(b"x", run_id="a")
    written = Pipe()
    export_run(source, "a", written)
    assert import_run(target, Pipe(written.getvalue())).artifacts == 1


def test_an_export_that_fails_leaves_no_file(make, tmp_path) -> None:
    source = make("memory", 0)
    source.store(b"x", run_id="a")
    with inject(source, lost_content=1), pytest.raises(ArtifactLostError):
        export_run(source, "a", tmp_path / "a.tar")
    with pytest.raises(ArtifactNotFoundError, match="leases nothing"):
        export_run(source, "nobody", tmp_path / "a.tar")
    assert not list(tmp_path.glob("*.tar"))
    export_run(source, "a", tmp_path / "a.tar")
    with pytest.raises(FileExistsError):
        export_run(source, "a", tmp_path / "a.tar")
    assert tarfile.is_tarfile(tmp_path / "a.tar")


def test_awaited_stores_do_the_same(tmp_path) -> None:
    async def move() -> None:
        source, target, third = (
            AsyncInMemoryArtifactStore(),
            AsyncFileArtifactStore(tmp_path),
            AsyncInMemoryArtifactStore(),
        )
        await source.store(b"x", run_id="a", ttl=60)
        big = await source.store(BIG, run_id="a", artifact_id="big", ttl=60)
        assert (await acopy(source, target, verify=True)).verified == 2
        assert (await target.load("big", required=True)).content == BIG
        await aexport_run(target, "a", tmp_path / "a.tar")
        assert (await aimport_run(third, tmp_path / "a.tar")).artifacts == 2
        assert (await third.get_metadata("big", required=True)).digest == big.digest
        assert datetime.fromisoformat((await third.leases("big"))[0].expires_at)
        with pytest.raises(InvalidArtifactError, match="acopy"):
            copy(source, target)
        with InMemoryArtifactStore() as blocking, pytest.raises(InvalidArtifactError, match="is not awaited"):
            await acopy(source, blocking)
        for store in (source, target, third):
            await store.close()

    asyncio.run(move())
