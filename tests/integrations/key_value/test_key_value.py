"""`CoatcheckStore` for py-key-value, by what it promises; by their own tests where a checkout of them is given."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from key_value.aio.errors import InvalidTTLError, SerializationError
from key_value.aio.protocols.key_value import (
    AsyncDestroyCollectionProtocol,
    AsyncEnumerateKeysProtocol,
    AsyncKeyValue,
)

from coatcheck import open_store
from coatcheck.integrations.key_value import CoatcheckStore

from ...snippets import DOCS, run_snippets
from ..suites import check, run_suite

HERE = Path(__file__).parent
LEFT_OUT = {"test_not_unbounded": "asks that a store forgets; ours keeps what it was given"}


@pytest.fixture(params=["valkey", "valkey_cluster", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/store"
    return request.getfixturevalue(request.param).url


@pytest.mark.skipif(
    "PY_KEY_VALUE" not in os.environ, reason="their sdist has no tests: PY_KEY_VALUE=checkout runs them"
)
def test_their_own_tests(url: str, namespace: str, tmp_path: Path) -> None:
    source = Path(os.environ["PY_KEY_VALUE"]).absolute()
    shutil.copy(HERE / "suite" / "store.py", tmp_path)  # else `tests`, as it names theirs, would be ours
    outcome = run_suite(
        source,
        [str(tmp_path / "store.py")],
        tmp_path=tmp_path,
        environment={"SUITE_URL": url, "SUITE_NAMESPACE": namespace},
        path=[source],
        arguments=["--noconftest", "-o", "asyncio_mode=auto", "-k", f"not {' or '.join(LEFT_OUT)}"],
    )
    check(outcome, at_least=132)


def test_values_keys_and_collections(url: str, namespace: str) -> None:
    async def use() -> None:
        async with CoatcheckStore(url, namespace=namespace) as store:
            assert isinstance(store, AsyncKeyValue)
            assert isinstance(store, AsyncEnumerateKeysProtocol)
            assert isinstance(store, AsyncDestroyCollectionProtocol)
            await store.put("a", {"x": [1, None, "ü"]}, collection="one")
            await store.put_many(["b", "c"], [{"n": 1}, {"n": 2}], collection="one", ttl=100)
            await store.put("a", {"other": True})
            long = "k" * 5000
            await store.put(long, {"long": True}, collection=long)
            assert await store.get("a", collection="one") == {"x": [1, None, "ü"]}
            assert await store.get_many(["c", "none", "b"], collection="one") == [{"n": 2}, None, {"n": 1}]
            value, left = await store.ttl("b", collection="one")
            assert (value, 98 < left <= 101) == ({"n": 1}, True)
            assert await store.ttl("a") == ({"other": True}, None)
            assert await store.get(long, collection=long) == {"long": True}
            assert await store.keys("one") == ["a", "b", "c"]
            assert await store.keys("one", limit=2) == ["a", "b"]
            assert await store.delete_many(["a", "b", "none"], collection="one") == 2
            assert await store.destroy_collection("one")
            assert not await store.destroy_collection("one")
            assert await store.keys("one") == []
            assert await store.get("a") == {"other": True}

    asyncio.run(use())


def test_equal_values_are_kept_once_and_expire(valkey, namespace: str) -> None:
    async def use() -> None:
        async with CoatcheckStore(valkey.url, namespace=namespace) as store:
            await store.put_many([f"k{i}" for i in range(50)], [{"x": "y" * 1000}] * 50, collection="c")
            with open_store(valkey.url, namespace=namespace) as below:
                assert (below.stats().artifacts, below.stats().contents) == (50, 1)
                assert len(below.list_by_run("key_value:c")) == 50
            await store.put("brief", {"a": 1}, ttl=0.05)
            await asyncio.sleep(0.1)
            assert await store.get("brief") is None

    asyncio.run(use())


def test_what_makes_no_sense_is_told(tmp_path: Path) -> None:
    async def use() -> None:
        async with CoatcheckStore(f"file://{tmp_path}/store") as store:
            with pytest.raises(InvalidTTLError):
                await store.put("k", {}, ttl=-1)
            with pytest.raises(SerializationError):
                await store.put("k", {"x": object()})
            with pytest.raises(ValueError, match="different number"):
                await store.put_many(["k"], [])
            assert await store.get("k") is None

    asyncio.run(use())


def test_the_guide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}")
    run_snippets(DOCS / "integrations" / "key_value.md")
