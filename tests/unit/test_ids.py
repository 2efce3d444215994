"""Ids and tickets: which ids have the form of default ids, and what neither names nor holds anything."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import pytest

from coatcheck import (
    AsyncInMemoryArtifactStore,
    InMemoryArtifactStore,
    InvalidArtifactError,
    aresolve_artifact,
    compute_artifact_id,
    resolve_artifact,
)
from coatcheck.ids import are_default_ids, is_default_id

FINE = "0123456789abcdef" * 2
OTHERS = [
    *("", "0", FINE[:-1], FINE + "0", FINE.upper(), "g" + FINE[1:], "-" * 32, " " + FINE[1:], FINE[:-2] + "  "),
    *("\u0660" * 32, "\uff11" * 32, FINE[:-1] + "\n"),
]


@pytest.mark.parametrize("other", OTHERS)
def test_several_are_told_as_each_is(other: str) -> None:
    assert not is_default_id(other)
    assert not are_default_ids([FINE, other, FINE])
    assert not are_default_ids([other])


def test_what_is_cut_otherwise_is_no_default_id() -> None:
    assert not are_default_ids([FINE[:-1], FINE + "0"])
    assert not are_default_ids([FINE + FINE])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_default_ids_are_told_together(count: int) -> None:
    assert are_default_ids([FINE] * count)


def test_what_a_store_takes_has_a_default_id() -> None:
    apart = memoryview(b"abcdef")[::2]
    with InMemoryArtifactStore() as store:
        assert compute_artifact_id(apart) == store.store(apart).artifact_id == compute_artifact_id(b"ace")
    for content in ("text", None, 1, ["a"]):
        wrong: Any = content
        with pytest.raises(InvalidArtifactError, match=f"bytes-like, not {type(content).__name__}"):
            compute_artifact_id(wrong)


def test_a_store_of_the_other_face_resolves_nothing() -> None:
    awaited: Any = AsyncInMemoryArtifactStore()
    blocking: Any = InMemoryArtifactStore()
    ticket = blocking.store(b"content").ref
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of what was never awaited
        with pytest.raises(InvalidArtifactError, match="use aresolve_artifact"):
            resolve_artifact(ticket, awaited)
        with pytest.raises(InvalidArtifactError, match="use resolve_artifact"):
            asyncio.run(aresolve_artifact(ticket, blocking))
