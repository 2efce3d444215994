"""The contract suite over every backend, engine and twin.

Memory, files and a server of Valkey run every case. The others stand for each other: of alternatives each case runs in one,
and the stores of a test are of one twin and the other in turn. In `make soak` everything runs everything.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import pytest

from coatcheck.testing import ArtifactStoreContract, StoreHarness

from ..harnesses import TINY, FakeHarness, FileHarness, MemoryHarness, RedisHarness
from ..sizes import EVERY, in_turn

TWINS = ["sync", "async"]


def places(case: str, each_twin: Iterable[str], both: Iterable[str], *alternatives: list[str]) -> list:
    """Where one case runs, and with which twins."""
    number = zlib.crc32(case.encode())
    both = [*both, *(place for some in alternatives for place in in_turn(some, number))]
    found = [(place, twin) for place in each_twin for twin in TWINS]
    found += [(place, twin) for place in both for twin in (TWINS if EVERY else ["both"])]
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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("harness", places(metafunc.function.__name__, *metafunc.cls.places), indirect=True)


class TestContract(Contract):
    places = (
        ["valkey"],
        ["memory", "file"],
        ["redis7", "redis8"],
        ["fakeredis", "valkey in 64 partitions"],
        ["valkey cluster", "indexed cluster"],
        ["cached", "sentinels", "tls"],
    )

    @pytest.fixture
    def harness(self, request, tmp_path, namespace) -> StoreHarness:
        return self.make(request, tmp_path, namespace)


class TestContractInTinyChunks(Contract):
    """The same, with content of some kilobytes treated as content of many megabytes is."""

    places = ([], ["valkey", "file"], ["redis7", "cached", "valkey cluster"])

    @pytest.fixture
    def harness(self, request, tmp_path, namespace) -> StoreHarness:
        harness = self.make(request, tmp_path, namespace)
        harness.chunking = TINY
        return harness
