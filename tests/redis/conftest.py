from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis
from coatcheck import RedisArtifactStore
from coatcheck.testing import Server


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    """A plain client that looks behind the store."""
    with server.client() as client:
        yield client


@pytest.fixture
def store(server: Server, namespace: str) -> Iterator[RedisArtifactStore]:
    with RedisArtifactStore(server.url, namespace=namespace) as store:
        yield store


@pytest.fixture
def keys_of(client: redis.Redis, namespace: str) -> Callable[[], list[str]]:
    """The keys that lie under the test's namespace."""

    def keys() -> list[str]:
        return sorted(key.decode() for key in client.scan_iter(match=f"{namespace}:*", count=1000))

    return keys
