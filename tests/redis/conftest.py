from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis
from coatcheck import ArtifactStore, AsyncRedisArtifactStore, RedisArtifactStore
from coatcheck.backends.redis.layout.keys import Keys
from coatcheck.backends.redis.layout.partitions import Partitions
from coatcheck.testing import Blocking, Server


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
def keys(namespace: str) -> Keys:
    """The names of the test's keys, where it has one partition."""
    return Partitions(namespace, 1).all[0]


@pytest.fixture
def keys_of(client: redis.Redis, namespace: str) -> Callable[[], list[str]]:
    """The keys that lie under the test's namespace."""

    def keys() -> list[str]:
        return sorted(key.decode() for key in client.scan_iter(match=f"{namespace}:*", count=1000))

    return keys


@pytest.fixture
def user(server: Server, client: redis.Redis) -> Iterator[Callable[..., str]]:
    """Makes users with the rules given, and removes them; returns the URL with which they log in."""
    names: list[str] = []

    def make(*rules: str) -> str:
        names.append(f"user{len(names)}")
        client.execute_command("ACL", "SETUSER", names[-1], "on", ">secret", *rules)
        return f"redis://{names[-1]}:secret@127.0.0.1:{server.port}/0"

    yield make
    if names:
        client.acl_deluser(*names)


@pytest.fixture(params=["sync", "async"])
def opened(request: pytest.FixtureRequest) -> Iterator[Callable[..., ArtifactStore]]:
    """Opens stores by URL, blocking or awaited, and closes them."""
    stores: list[ArtifactStore] = []

    def open_(url: str, **options) -> ArtifactStore:
        if request.param == "sync":
            stores.append(RedisArtifactStore(url, **options))
        else:
            stores.append(Blocking(lambda: AsyncRedisArtifactStore(url, **options)))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()
