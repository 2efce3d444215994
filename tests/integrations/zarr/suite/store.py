"""zarr's tests of stores, told that ours is one; run by test_zarr.py in a process of their own."""

from __future__ import annotations

import os
import uuid

import pytest
from zarr.core.buffer import cpu
from zarr.testing.store import StoreTests

from coatcheck.integrations.zarr import CoatcheckStore


class TestCoatcheckStore(StoreTests[CoatcheckStore, cpu.Buffer]):
    store_cls = CoatcheckStore
    buffer_cls = cpu.Buffer

    async def set(self, store: CoatcheckStore, key: str, value: cpu.Buffer) -> None:
        store._keyed().set(key, value.to_bytes())
        store._is_open = False  # that it is opened is for the store to do

    async def get(self, store: CoatcheckStore, key: str) -> cpu.Buffer:
        return self.buffer_cls.from_bytes(store._keyed().get(key, required=True).content)

    @pytest.fixture
    def store_kwargs(self):
        return {
            "url": os.environ["SUITE_URL"],
            "namespace": os.environ["SUITE_NAMESPACE"],
            "collection": uuid.uuid4().hex,
        }

    @pytest.fixture(autouse=True)
    def closed(self, monkeypatch):
        """Each store that a test makes is closed after it."""
        made = []
        opened = CoatcheckStore.__init__
        monkeypatch.setattr(
            CoatcheckStore,
            "__init__",
            lambda self, *words, **more: (opened(self, *words, **more), made.append(self))[0],
        )
        yield
        for store in made:
            store.close()

    def test_store_repr(self, store) -> None:
        assert store._collection in str(store) == repr(store)

    def test_store_supports_writes(self, store) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store) -> None:
        assert store.supports_listing
