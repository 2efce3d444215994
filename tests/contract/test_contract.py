"""The contract suite over every backend, engine and twin."""

from __future__ import annotations

import os

import pytest

from coatcheck.testing import ArtifactStoreContract, StoreHarness

from ..harnesses import TINY, FakeHarness, FileHarness, MemoryHarness, RedisHarness

EACH_TWIN = ["memory", "file", "valkey", "redis7", "valkey in 64 partitions", "valkey cluster"]
TWINS_IN_TURN = ["fakeredis", "redis8", "cached", "redis7 cluster", "sentinels", "tls"]
"""Here the stores of a test are of one twin and the other in turn, unless COATCHECK_TWINS=each (as in `make soak`)."""


def places(each_twin: list[str], in_turn: list[str]) -> list:
    if os.environ.get("COATCHECK_TWINS") == "each":
        each_twin, in_turn = each_twin + in_turn, []
    found = [(place, twin) for place in each_twin for twin in ("sync", "async")]
    found += [(place, "both") for place in in_turn]
    return [pytest.param(place, id="-".join(place)) for place in found]


class Contract(ArtifactStoreContract):
    def make(self, request, tmp_path, namespace) -> StoreHarness:
        place, twin = request.param
        if place == "memory":
            return MemoryHarness(twin=twin)
        if place == "file":
            return FileHarness(tmp_path, twin=twin)
        if place == "fakeredis":
            return FakeHarness(namespace, twin=twin)
        if place == "cached":  # a memory tier that is always full, above a disk tier
            cache = {"cache_size": 100_000, "cache_dir": tmp_path}
            return RedisHarness("valkey", request.getfixturevalue, namespace, twin=twin, **cache)
        return RedisHarness(place, request.getfixturevalue, namespace, twin=twin)


class TestContract(Contract):
    @pytest.fixture(params=places(EACH_TWIN, TWINS_IN_TURN))
    def harness(self, request, tmp_path, namespace) -> StoreHarness:
        return self.make(request, tmp_path, namespace)


class TestContractInTinyChunks(Contract):
    """The same, with content of some kilobytes treated as content of many megabytes is."""

    @pytest.fixture(params=places(["file", "valkey"], ["redis7", "cached", "valkey cluster"]))
    def harness(self, request, tmp_path, namespace) -> StoreHarness:
        harness = self.make(request, tmp_path, namespace)
        harness.chunking = TINY
        return harness
