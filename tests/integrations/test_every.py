"""What holds for every integration: opened by its first use at `$COATCHECK_URL`, in threads, loops and children.

Those whose framework is not installed are left out here; `make integrations` runs each where it is.
"""

from __future__ import annotations

import asyncio
import importlib.util
import multiprocessing
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from coatcheck import open_store


class Plugged(NamedTuple):
    """An integration, made of a URL and options, and one use of it that stores something, blocking or awaited."""

    framework: str
    module: str
    make: Callable[..., Any]
    use: Callable[[Any], Any]


def adk(service: Any) -> Any:
    from google.genai import types

    part = types.Part(text="x")
    return service.save_artifact(app_name="a", user_id="u", session_id="s", filename="f", artifact=part)


def saver(saver: Any) -> Any:
    from langgraph.checkpoint.base import empty_checkpoint

    config = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    return saver.put(config, {**empty_checkpoint(), "channel_values": {"a": "x" * 5000}}, {}, {"a": 1})


def temporal(driver: Any) -> Any:
    from temporalio.api.common.v1 import Payload
    from temporalio.converter import StorageDriverStoreContext, StorageDriverWorkflowInfo

    info = StorageDriverWorkflowInfo(namespace="default", id="order-1", type="Order")
    return driver.store(StorageDriverStoreContext(info), [Payload(data=b"x")])


async def fastmcp(middleware: Any) -> None:
    from fastmcp import Client, FastMCP

    server = FastMCP("test", middleware=[middleware])
    server.tool(lambda: "x" * 1000, name="long")
    async with Client(server) as client:
        await client.call_tool("long")


def celery(module: Any, url: Any, **options: Any) -> Any:
    from coatcheck.integrations.opening import LazyStore

    made = module.Serializer(LazyStore(url, **options), threshold=1, ttl=60, run_id="celery")
    made.close = made._store.close
    return made


def zarr(store: Any) -> Any:
    from zarr.core.buffer.cpu import Buffer

    return store.set(f"c/{id(store)}", Buffer.from_bytes(b"x"))


EVERY = [
    Plugged(
        "abstractruntime",
        "abstractruntime",
        lambda m, url, **o: m.RuntimeArtifactStore(url, **o),
        lambda s: s.store(b"x", run_id="r"),
    ),
    Plugged("google.adk", "adk", lambda m, url, **o: m.CoatcheckArtifactService(url, **o), adk),
    Plugged("celery", "celery", celery, lambda s: s.encode(["x"])),
    Plugged(
        "deepagents",
        "deepagents",
        lambda m, url, **o: m.CoatcheckBackend(url, collection="c", **o),
        lambda b: b.upload_files([("/f", b"x")]),
    ),
    Plugged("fastmcp", "fastmcp", lambda m, url, **o: m.CoatcheckMiddleware(url, threshold=10, **o), fastmcp),
    Plugged(
        "fsspec",
        "fsspec",
        lambda m, url, **o: m.CoatcheckFileSystem(url, skip_instance_cache=True, **o),
        lambda fs: fs.pipe_file("f", b"x"),
    ),
    Plugged("key_value", "key_value", lambda m, url, **o: m.CoatcheckStore(url, **o), lambda s: s.put("k", {"x": 1})),
    Plugged("langgraph", "langgraph", lambda m, url, **o: m.CoatcheckSaver(url, **o), saver),
    Plugged(
        "langgraph",
        "langgraph",
        lambda m, url, **o: m.CoatcheckCache(url, **o),
        lambda c: c.aset({(("n",), "k"): ({"x": 1}, None)}),
    ),
    Plugged(
        "langgraph",
        "langgraph",
        lambda m, url, **o: m.CoatcheckSerializer(url, threshold=0, **o),
        lambda s: s.dumps_typed("x" * 1000),
    ),
    Plugged("proxystore", "proxystore", lambda m, url, **o: m.CoatcheckConnector(url, **o), lambda c: c.put(b"x")),
    Plugged(
        "pydantic_ai_harness",
        "pydantic_ai",
        lambda m, url, **o: m.CoatcheckMediaStore(url, **o),
        lambda s: s.put(b"x"),
    ),
    Plugged("temporalio", "temporal", lambda m, url, **o: m.CoatcheckStorageDriver(url, **o), temporal),
    Plugged("zarr", "zarr", lambda m, url, **o: m.CoatcheckStore(url, collection="c", **o), zarr),
]


class Used:
    """One of them, whichever face it has."""

    def __init__(self, plugged: Plugged, url: str | None, **options: Any) -> None:
        module = importlib.import_module(f"coatcheck.integrations.{plugged.module}")
        self.plugged, self.made = plugged, plugged.make(module, url, **options)

    def use(self, *, close: bool = False) -> None:
        """Once, in an event loop of its own where it is awaited."""

        async def once() -> None:
            answer = self.plugged.use(self.made)
            if asyncio.iscoroutine(answer):
                await answer
            if close:
                closed = getattr(self.made, "aclose", self.made.close)()
                if asyncio.iscoroutine(closed):
                    await closed

        asyncio.run(once())


def is_here(framework: str) -> bool:
    try:
        return importlib.util.find_spec(framework) is not None
    except ModuleNotFoundError:  # not even the package above it
        return False


HERE = [plugged for plugged in EVERY if is_here(plugged.framework)]


@pytest.fixture(params=HERE, ids=[f"{plugged.module}{EVERY.index(plugged)}" for plugged in HERE])
def plugged(request: pytest.FixtureRequest) -> Plugged:
    return request.param


@pytest.fixture
def no_leaks() -> None:
    """In the place of the check for leaks: frameworks keep threads and descriptors of their own."""


def test_nothing_is_opened_before_its_first_use(plugged: Plugged, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv("COATCHECK_URL", raising=False)
    used = Used(plugged, None)
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}/later")
    repr(used.made)
    assert not (tmp_path / "later").exists()
    used.use()
    used.use(close=True)
    with open_store() as store:
        assert store.stats().artifacts


def test_neither_it_nor_its_errors_show_a_password(plugged: Plugged) -> None:
    used = Used(plugged, "redis://user:hunter2@127.0.0.1:1/0", retry_for=0)
    assert "hunter2" not in f"{used.made!r} {used.made}"
    with pytest.raises(Exception) as failed:  # each framework's own
        used.use()
    assert "hunter2" not in "".join(traceback.format_exception(failed.value))
    assert "hunter2" not in repr(used.made)


def test_threads_event_loops_and_a_forked_child_use_it(plugged: Plugged, valkey, namespace: str) -> None:
    used = Used(plugged, valkey.url, namespace=namespace)
    used.use()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: used.use(), range(8)))
    child = multiprocessing.get_context("fork").Process(target=used.use)
    child.start()
    child.join(60)
    code = child.exitcode
    child.kill()
    child.join()
    assert code == 0
    used.use(close=True)
    with open_store(valkey.url, namespace=namespace) as store:
        assert any(store.delete_many(store.list_all(limit=0)))
