"""`CoatcheckStore` for zarr, by zarr's own tests of stores and by what it promises beyond them."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.buffer.cpu import Buffer

from coatcheck import InMemoryArtifactStore, InvalidArtifactError, open_store
from coatcheck.integrations.zarr import CoatcheckStore

from ...snippets import DOCS, run_snippets
from ..suites import check, run_suite

HERE = Path(__file__).parent


@pytest.fixture(params=["valkey", "valkey_cluster", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/store"
    return request.getfixturevalue(request.param).url


@pytest.fixture
def store(url: str, namespace: str) -> Iterator[CoatcheckStore]:
    store = CoatcheckStore(url, namespace=namespace, collection="arrays")
    yield store
    store.close()


def test_their_own_tests(url: str, namespace: str, tmp_path: Path) -> None:
    outcome = run_suite(
        HERE / "suite",
        ["store.py"],
        tmp_path=tmp_path,
        environment={"SUITE_URL": url, "SUITE_NAMESPACE": namespace},
        arguments=["--noconftest", "-o", "asyncio_mode=auto", "-W", "ignore::DeprecationWarning"],
    )
    check(outcome, at_least=73)


def test_an_array_comes_back_and_equal_chunks_are_one(store: CoatcheckStore, url: str, namespace: str) -> None:
    values = numpy.arange(10_000.0).reshape(100, 100)
    group = zarr.create_group(store)
    array = group.create_array("a", shape=(100, 100), chunks=(10, 100), dtype="f8")
    array[:] = values
    again = group.create_array("b", shape=(100, 100), chunks=(10, 100), dtype="f8", fill_value=1)
    again[:] = 7
    opened = zarr.open_group(pickle.loads(pickle.dumps(store)), mode="r")
    assert numpy.array_equal(opened["a"][:], values)
    assert numpy.array_equal(opened["b"][50:], numpy.full((50, 100), 7.0))
    opened.store.close()
    with open_store(url, namespace=namespace) as below:
        there = below.list_by_run("arrays")
        chunks = {view.digest for view in there if view.extra["key"].startswith("b/c/")}
        assert len(chunks) == 1
        assert below.delete_by_run("arrays") == len(there)
    assert asyncio.run(store.is_empty(""))


def test_one_of_many_creates_a_key(store: CoatcheckStore) -> None:
    async def create(i: int) -> None:
        await store.set_if_not_exists("k", Buffer.from_bytes(b"%d" % i))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: asyncio.run(create(i)), range(8)))
    first = store.get_sync("k")
    assert first is not None
    asyncio.run(create(9))
    assert store.get_sync("k") == first


def test_what_makes_no_sense_is_told() -> None:
    with InMemoryArtifactStore() as below:
        store = CoatcheckStore(below, collection="c")
        with pytest.raises(TypeError, match="Buffer"):
            store.set_sync("k", b"bytes")
        with pytest.raises(InvalidArtifactError, match="collection cannot be empty"):
            CoatcheckStore(below, collection="").get_sync("k")
        with pytest.raises(ValueError, match="byte_range"):
            store.set_sync("k", Buffer.from_bytes(b"x"))
            store.get_sync("k", prototype=default_buffer_prototype(), byte_range=(0, 1))
        assert store == CoatcheckStore(below, collection="c") != CoatcheckStore(below, collection="d")
        store.close()
        assert below.list_by_run("c")  # whose store is open still


def test_the_guide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}")
    run_snippets(DOCS / "integrations" / "zarr.md")
