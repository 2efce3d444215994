"""py-key-value's tests of stores, told that ours is one; run by test_key_value.py in a process of their own."""

from __future__ import annotations

import os
import uuid

import pytest
from tests.stores.base import BaseStoreTests, ContextManagerStoreTestMixin

from coatcheck.integrations.key_value import CoatcheckStore


class TestCoatcheckStore(ContextManagerStoreTestMixin, BaseStoreTests):
    @pytest.fixture
    async def store(self):
        store = CoatcheckStore(os.environ["SUITE_URL"], namespace=f"{os.environ['SUITE_NAMESPACE']}-{uuid.uuid4().hex}")
        yield store
        await store.close()
