"""Readers of either face: what they refuse whatever they read."""

from __future__ import annotations

import asyncio
import copy
import pickle

import pytest

from coatcheck import AsyncInMemoryArtifactStore, InMemoryArtifactStore


@pytest.mark.parametrize("hand_on", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_reader_stays_where_it_was_opened(hand_on) -> None:
    with InMemoryArtifactStore() as store, store.open(store.store(b"content"), required=True) as reader:
        with pytest.raises(TypeError, match="hand on the ticket"):
            hand_on(reader)
        assert reader.read() == b"content"

    async def main() -> None:
        async with AsyncInMemoryArtifactStore() as store:
            async with await store.open(await store.store(b"content"), required=True) as reader:
                with pytest.raises(TypeError, match="hand on the ticket"):
                    hand_on(reader)
                assert await reader.read() == b"content"

    asyncio.run(main())
