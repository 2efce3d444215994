"""The contract suite over every backend, engine and twin."""

from __future__ import annotations

import fakeredis
import pytest

from coatcheck.testing import ArtifactStoreContract, StoreHarness

from ..harnesses import ENGINE_NAMES, FileHarness, MemoryHarness, RedisHarness, SplitHarness

BACKENDS = ["memory", "file", "fakeredis", *ENGINE_NAMES, "split"]


class TestContract(ArtifactStoreContract):
    @pytest.fixture(params=["sync", "async"])
    def twin(self, request) -> str:
        return request.param

    @pytest.fixture(params=BACKENDS)
    def harness(self, request, twin, tmp_path, server_of, namespace) -> StoreHarness:
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
        if request.param == "split":
            server = request.getfixturevalue("cluster_node")
            return SplitHarness(lambda: server.url, lambda: server.url, server.client(), namespace, twin=twin)
        server = server_of(request.param)
        return RedisHarness(lambda: server.url, lambda: server.url, server.client(), namespace, twin=twin)
