"""The contract suite over every backend, engine and twin."""

from __future__ import annotations

import pytest

from coatcheck.testing import ArtifactStoreContract, StoreHarness

from ..harnesses import ENGINE_NAMES, TINY, FakeHarness, FileHarness, MemoryHarness, RedisHarness


class Contract(ArtifactStoreContract):
    @pytest.fixture(params=["sync", "async"])
    def twin(self, request) -> str:
        return request.param

    def make(self, request, twin, tmp_path, server_of, namespace) -> StoreHarness:
        if request.param == "memory":
            return MemoryHarness(twin=twin)
        if request.param == "file":
            return FileHarness(tmp_path, twin=twin)
        if request.param == "fakeredis":
            return FakeHarness(namespace, twin=twin)
        if request.param == "cached":  # a memory tier that is always full, above a disk tier
            server, cache = server_of("valkey"), {"cache_size": 100_000, "cache_dir": tmp_path}
        else:
            server, cache = server_of(request.param), {}
        return RedisHarness(lambda: server.url, lambda: server.url, server.client(), namespace, twin=twin, **cache)


class TestContract(Contract):
    @pytest.fixture(params=["memory", "file", "fakeredis", *ENGINE_NAMES, "cached"])
    def harness(self, request, twin, tmp_path, server_of, namespace) -> StoreHarness:
        return self.make(request, twin, tmp_path, server_of, namespace)


class TestContractInTinyChunks(Contract):
    """The same, with content of some kilobytes treated as content of many megabytes is."""

    @pytest.fixture(params=["file", "redis7", "valkey", "cached"])
    def harness(self, request, twin, tmp_path, server_of, namespace) -> StoreHarness:
        harness = self.make(request, twin, tmp_path, server_of, namespace)
        harness.chunking = TINY
        return harness
