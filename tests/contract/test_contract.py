"""The contract suite over every backend, engine and twin."""

from __future__ import annotations

import fakeredis
import pytest

from coatcheck.testing import ArtifactStoreContract, StoreHarness

from ..harnesses import ENGINE_NAMES, TINY, FileHarness, MemoryHarness, RedisHarness

BACKENDS = ["memory", "file", "fakeredis", *ENGINE_NAMES]


class Contract(ArtifactStoreContract):
    @pytest.fixture(params=["sync", "async"])
    def twin(self, request) -> str:
        return request.param

    @pytest.fixture(params=BACKENDS)
    def harness(self, request, twin, tmp_path, server_of, namespace) -> StoreHarness:
        harness = self.make(request, twin, tmp_path, server_of, namespace)
        harness.chunking = self.chunking
        return harness

    def make(self, request, twin, tmp_path, server_of, namespace) -> StoreHarness:
        if request.param == "memory":
            return MemoryHarness(twin=twin)
        if request.param == "file":
            return FileHarness(tmp_path, twin=twin)
        if request.param == "fakeredis":
            fake = fakeredis.FakeServer()
            return RedisHarness(
                lambda: fakeredis.FakeRedis(server=fake),
                lambda: fakeredis.FakeAsyncRedis(server=fake),
                fakeredis.FakeRedis(server=fake),
                namespace,
                twin=twin,
            )
        server = server_of(request.param)
        return RedisHarness(lambda: server.url, lambda: server.url, server.client(), namespace, twin=twin)


class TestContract(Contract):
    chunking = None


class TestContractInTinyChunks(Contract):
    """The same, with content of some kilobytes treated as content of many megabytes is."""

    chunking = TINY
