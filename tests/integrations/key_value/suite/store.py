"""py-key-value's tests of stores, told that ours is one; run by test_key_value.py in a process of their own."""

from __future__ import annotations

import os
import uuid

import pytest
from tests.stores.base import BaseStoreTests, ContextManagerStoreTestMixin

from coatcheck import aopen_store
from coatcheck.integrations.key_value import CoatcheckStore


class TestCoatcheckStore(ContextManagerStoreTestMixin, BaseStoreTests):
    @pytest.fixture
    async def store(self):
        url, namespace = os.environ["SUITE_URL"], f"{os.environ['SUITE_NAMESPACE']}-{uuid.uuid4().hex}"
        store = CoatcheckStore(url, namespace=namespace)
        yield store
        await store.close()
        async with await aopen_store(url, namespace=namespace) as below:
            await below.delete_many(await below.list_all(limit=0))
