"""Engines for all tests: real servers, started once per test process, each test in a namespace of its own."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from coatcheck.testing import ENGINES, Engine, Server
from coatcheck.testing.waiting import eventually


# A shell that starts a job in the background makes it ignore SIGINT, and so would every program the tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def require(engine: Engine) -> str:
    binary = engine.find()
    if binary is None:
        message = f"no {engine.name} server on this machine: {engine.install}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return binary


@pytest.fixture(scope="session")
def server_of() -> Iterator[Callable[[str], Server]]:
    """The shared server of an engine, started when a test first asks for it."""
    running: dict[str, Server] = {}

    def get(name: str) -> Server:
        if name not in running:
            [engine] = [engine for engine in ENGINES if engine.name == name]
            running[name] = Server(require(engine), tcp=True)
        return running[name]

    yield get
    for server in running.values():
        server.stop()


@pytest.fixture(scope="session")
def cluster_node() -> Iterator[Server]:
    """A Valkey in cluster mode that owns every slot: it refuses commands whose keys lie in several."""
    with one_node_cluster() as server:
        yield server


@contextmanager
def one_node_cluster() -> Iterator[Server]:
    [engine] = [engine for engine in ENGINES if engine.name == "valkey"]
    with socket.socket() as probe:  # the default is the server's own port + 10,000, which may be too much
        probe.bind(("127.0.0.1", 0))
        bus = str(probe.getsockname()[1])
    with Server(require(engine), "--cluster-enabled", "yes", "--cluster-port", bus, tcp=True) as server:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            eventually(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
        yield server


@pytest.fixture(params=[engine.name for engine in ENGINES])
def server(request: pytest.FixtureRequest, server_of: Callable[[str], Server]) -> Server:
    """Each real engine in turn; shared, so a test keeps to its own namespace."""
    return server_of(request.param)


@pytest.fixture
def valkey(server_of: Callable[[str], Server]) -> Server:
    """The shared Valkey, for what need not run on every engine."""
    return server_of("valkey")


_counter = iter(range(10**9))


@pytest.fixture
def namespace() -> str:
    """A namespace no other test uses."""
    return f"test{next(_counter)}"
