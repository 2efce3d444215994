"""Stores with conditions, links and updates beside others, stepped in every order; see `test_interleavings.py`."""

from __future__ import annotations

import hashlib

import pytest

from coatcheck import ArtifactConflictError, ArtifactNotFoundError

from .test_interleavings import (  # noqa: F401  # the fixture
    CHUNKED,
    LARGE,
    OTHER,
    SMALL,
    Effect,
    Leases,
    Outcome,
    deletes,
    examine,
    releases,
    world,
)

OTHER_CHUNKED = CHUNKED[1:]
SIZES = pytest.mark.parametrize(
    ("one", "other"), [(SMALL, b"other"), (LARGE, OTHER), (CHUNKED, OTHER_CHUNKED)], ids=["small", "large", "chunked"]
)


def attempt(plan):
    """Whether a store won."""
    try:
        yield from plan
    except ArtifactConflictError:
        return False
    return True


def storing(world, content: bytes, run: str, **condition):
    details = {"run_id": run, "artifact_id": "name", "ttl": None, **condition}
    return attempt(world.plan("store", content, "text/plain", details))


def stores_if(content: bytes, run: str, before: bytes | None) -> Effect:
    def effect(leases: Leases) -> bool:
        if (next(iter(leases.values())) if leases else None) != before:
            return False
        if content != before:
            leases.clear()
        leases.pop(run, None)
        leases[run] = content
        return True

    return effect


@SIZES
def test_two_who_find_nothing_and_a_deletion(world, one, other, record_property) -> None:  # noqa: F811
    def prepare():
        world.fresh()
        return {
            "A": storing(world, one, "A", if_absent=True),
            "B": storing(world, other, "B", if_absent=True),
            "delete": world.plan("delete", "name"),
        }

    def judge(outcome: Outcome) -> None:
        effects = {"A": stores_if(one, "A", None), "B": stores_if(other, "B", None), "delete": deletes}
        assert outcome.is_explained({}, effects, world.leases("name"), "A", "B", "delete")

    examine(world, prepare, judge, record_property)


@SIZES
def test_two_who_replace_the_same_and_a_release(world, one, other, record_property) -> None:  # noqa: F811
    digest = hashlib.sha256(one).hexdigest()

    def prepare():
        world.fresh()
        world.store.store(one, artifact_id="name", run_id="C")
        return {
            "A": storing(world, other, "A", if_digest=digest),
            "B": storing(world, one, "B", if_digest=digest, exact_ttl=True),
            "release": world.plan("release", "name", "C"),
        }

    def judge(outcome: Outcome) -> None:
        effects = {"A": stores_if(other, "A", one), "B": stores_if(one, "B", one), "release": releases("C")}
        assert outcome.is_explained({"C": one}, effects, world.leases("name"), "A", "B", "release")

    examine(world, prepare, judge, record_property)


@SIZES
def test_a_link_while_its_source_is_deleted(world, one, other, record_property) -> None:  # noqa: F811
    def linking():
        try:
            yield from world.plan("link", "source", "name", None, {"run_id": "B"})
        except ArtifactNotFoundError:
            return False
        return True

    def prepare():
        world.fresh()
        world.store.store(one, artifact_id="source", run_id="A")
        world.store.store(other, artifact_id="name", run_id="A")
        return {"link": linking(), "delete": world.plan("delete", "source")}

    def judge(outcome: Outcome) -> None:
        after = world.leases("name")
        linked = outcome.results.get("link", after == {"B": one})
        assert after == ({"B": one} if linked else {"A": other})
        assert (world.leases("source") == {}) is outcome.results.get("delete", world.leases("source") == {})

    examine(world, prepare, judge, record_property)
