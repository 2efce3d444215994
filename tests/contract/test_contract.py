"""The contract suite over every backend, engine and twin."""

from __future__ import annotations

import pytest

from coatcheck.testing import ArtifactStoreContract, StoreHarness

from ..harnesses import REDIS_PLACES, TINY, FakeHarness, FileHarness, MemoryHarness, RedisHarness


class Contract(ArtifactStoreContract):
    @pytest.fixture(params=["sync", "async"])
    def twin(self, request) -> str:
        return request.param

    def make(self, request, twin, tmp_path, namespace) -> StoreHarness:
        if request.param == "memory":
            return MemoryHarness(twin=twin)
        if request.param == "file":
            return FileHarness(tmp_path, twin=twin)
        if request.param == "fakeredis":
            return FakeHarness(namespace, twin=twin)
        if request.param == "cached":  # a memory tier that is always full, above a disk tier
            cache = {"cache_size": 100_000, "cache_dir": tmp_path}
            return RedisHarness("valkey", request.getfixturevalue, namespace, twin=twin, **cache)
        return RedisHarness(request.param, request.getfixturevalue, namespace, twin=twin)


class TestContract(Contract):
    @pytest.fixture(params=["memory", "file", "fakeredis", *REDIS_PLACES, "cached"])
    def harness(self, request, twin, tmp_path, namespace) -> StoreHarness:
        return self.make(request, twin, tmp_path, namespace)


class TestContractInTinyChunks(Contract):
    """The same, with content of some kilobytes treated as content of many megabytes is."""

    @pytest.fixture(params=["file", "redis7", "valkey", "valkey cluster", "cached"])
    def harness(self, request, twin, tmp_path, namespace) -> StoreHarness:
        harness = self.make(request, twin, tmp_path, namespace)
        harness.chunking = TINY
        return harness
