"""Stores that are opened by their first use."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coatcheck import AsyncInMemoryArtifactStore, InMemoryArtifactStore, InvalidArtifactError
from coatcheck.integrations.opening import LazyAsyncStore, LazyStore


def test_threads_that_come_at_once_share_a_store(tmp_path: Path) -> None:
    lazy = LazyStore(f"file://{tmp_path}")
    with ThreadPoolExecutor(8) as pool:
        stores = set(pool.map(lambda _: id(lazy.get()), range(100)))
    assert len(stores) == 1
    lazy.close()


def test_tasks_that_come_at_once_share_a_store(tmp_path: Path) -> None:
    async def use() -> int:
        lazy = LazyAsyncStore(f"file://{tmp_path}")
        stores = await asyncio.gather(*(lazy.get() for _ in range(20)))
        await lazy.close()
        return len({id(store) for store in stores})

    assert asyncio.run(use()) == 1


def test_a_pickle_opens_its_own(tmp_path: Path) -> None:
    lazy = LazyStore(f"file://{tmp_path}", default_ttl=60)
    metadata = lazy.get().store(b"x")
    copy = pickle.loads(pickle.dumps(lazy))
    assert copy.get() is not lazy.get()
    assert copy.get().load(metadata.artifact_id).content == b"x"
    assert copy.get().store(b"y").expires_at is not None
    copy.close()
    lazy.close()


@pytest.mark.parametrize("opened", [False, True])
def test_a_forked_child_uses_it_too(opened: bool, valkey, namespace: str) -> None:
    lazy = LazyStore(valkey.url, namespace=namespace)
    if opened:
        lazy.get().store(b"of the parent")

    def child() -> None:
        lazy.get().store(b"of the child", artifact_id="child")
        lazy.close()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    process.close()
    assert lazy.get().load("child").content == b"of the child"
    lazy.close()


def test_a_store_that_was_given_stays_open() -> None:
    with InMemoryArtifactStore() as store:
        lazy = LazyStore(store)
        assert lazy.get() is store
        lazy.close()
        store.store(b"still open")
        with pytest.raises(InvalidArtifactError, match="give a URL"):
            lazy.url
        with pytest.raises(InvalidArtifactError, match="options are for"):
            LazyStore(store, default_ttl=3)


def test_what_is_no_store_of_this_face_is_refused() -> None:
    with pytest.raises(InvalidArtifactError, match="expected a URL"):
        LazyStore(AsyncInMemoryArtifactStore())
    with pytest.raises(InvalidArtifactError, match="expected a URL"):
        LazyAsyncStore(InMemoryArtifactStore())
    with pytest.raises(TypeError, match="nonsense"):
        LazyStore("memory://", nonsense=1)


def test_it_shows_no_password() -> None:
    lazy = LazyStore("redis://:hunter2@127.0.0.1:1")
    assert repr(lazy) == "redis://…"
    lazy.get()
    assert "hunter2" not in repr(lazy)
    lazy.close()
    assert repr(LazyStore()) == "$COATCHECK_URL"


def test_a_framework_that_is_missing_is_named_with_its_extra() -> None:
    packages = {
        "adk": "google.adk",
        "celery": "kombu",
        "deepagents": "deepagents",
        "fastmcp": "fastmcp",
        "fsspec": "fsspec",
        "key_value": "key_value",
        "langgraph": "langgraph",
        "pydantic_ai": "pydantic_ai_harness",
        "temporal": "temporalio",
        "zarr": "zarr",
    }
    script = f"""if 1:
        import importlib, sys
        sys.modules |= dict.fromkeys({[*packages.values()]})
        for extra in {[*packages]}:
            try:
                importlib.import_module("coatcheck.integrations." + extra)
            except ImportError as error:
                print(str(error).endswith(f" is not installed: pip install 'coatcheck[{{extra}}]'"), extra)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"True {extra}" for extra in packages]


def test_importing_coatcheck_imports_no_framework() -> None:
    script = (
        "import coatcheck, coatcheck.integrations, coatcheck.integrations.opening, sys;"
        "print({'abstractruntime', 'celery', 'fsspec', 'proxystore', 'pydantic_ai'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "set()\n"
    )


@pytest.mark.parametrize("url", ["memory://", "file:///nowhere", "redis://127.0.0.1:1"])
def test_only_a_store_of_redis_is_told_what_only_that_takes(url: str, tmp_path: Path, monkeypatch) -> None:
    url = url.replace("/nowhere", str(tmp_path))
    indexed = {"index_tags": ("kind",)}
    store = LazyStore(url, indexed).get()
    assert url.startswith("redis") is bool(getattr(store._operations.backend, "fields", []))
    store.close()
    monkeypatch.setenv("COATCHECK_URL", url)
    lazy = LazyStore(None, indexed)
    lazy.get()
    lazy.close()
