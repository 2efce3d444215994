"""What is built on the public interface asks stores, and says so where it is given something else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from coatcheck import AsyncInMemoryArtifactStore, InMemoryArtifactStore, InvalidArtifactError
from coatcheck.keyed import AsyncKeyed, Keyed
from coatcheck.moving import copy
from coatcheck.offloading import aresolve, offload, resolve
from coatcheck.trees import store_tree
from coatcheck.values import astore_value, load_value, store_value


@pytest.mark.parametrize("other", [None, "redis://localhost", {"a": 1}])
def test_what_is_no_store_is_named(other: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    with InMemoryArtifactStore() as store:
        calls: list[Any] = [
            lambda: offload(["x" * 100_000], other),
            lambda: resolve({"$artifact": "a"}, other),
            lambda: asyncio.run(aresolve({"$artifact": "a"}, other)),
            lambda: store_value(other, "value"),
            lambda: load_value(other, "a"),
            lambda: store_tree(tmp_path, other),
            lambda: copy(other, store),
            lambda: Keyed(other, "pages").get("key"),
            lambda: asyncio.run(AsyncKeyed(other, "pages").get("key")),
        ]
        for call in calls:
            with pytest.raises(InvalidArtifactError, match=f"must be a store, .* not {type(other).__name__}"):
                call()


def test_a_store_of_the_other_face_is_told_or_asked_in_a_thread() -> None:
    awaited: Any = AsyncInMemoryArtifactStore()
    blocking: Any = InMemoryArtifactStore()
    for call in (lambda: offload(["x" * 100_000], awaited), lambda: load_value(awaited, "a")):
        with pytest.raises(InvalidArtifactError, match="has to be awaited"):
            call()
    stored = asyncio.run(astore_value(blocking, (1, 2)))
    assert load_value(blocking, stored) == (1, 2)
