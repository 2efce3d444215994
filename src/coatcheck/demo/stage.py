"""Where the demonstration takes place: an engine of its own, or a corner of the user's server."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

from coatcheck import ArtifactStore, InvalidArtifactError, open_store
from coatcheck.embedded import start_engine

from .tickets import Tickets

if TYPE_CHECKING:
    from coatcheck.embedded import EmbeddedEngine

_SCHEMES: Final = {"redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis", "valkeys": "rediss"}
_STOP_WITHIN: Final = 10.0  # seconds


@dataclass(frozen=True)
class Stage:
    """A server with a store and a queue.

    Attributes:
        url: The server, as redis-py and coatcheck both spell it.
        name: For people.
        namespace: Of the store; nobody else uses it.
        token: Of the queue.
        claim: Tickets that a consumer takes at a time.
        store: The parent's.
        tickets: The parent's.
        owns_server: Whether the whole server is ours.
    """

    url: str
    name: str
    namespace: str
    token: str
    claim: int
    store: ArtifactStore
    tickets: Tickets
    owns_server: bool

    def used_memory(self) -> int:
        """What the server uses now, in bytes, everything counted."""
        return int(self.tickets.client.info("memory")["used_memory"])

    def keys_left(self) -> int:
        """How many keys are left: on the whole server if it is ours, else in the namespace."""
        if self.owns_server:
            return int(self.tickets.client.dbsize())
        return sum(1 for _ in self.tickets.client.scan_iter(f"{self.namespace}:*", count=1000))


@contextmanager
def set_up(url: str | None, claim: int) -> Iterator[Stage]:
    """A stage, cleared away in the end whatever happens.

    Args:
        url: The user's server; `None`: an engine of its own in a temporary directory.
        claim: Tickets that a consumer takes at a time.

    Raises:
        InvalidArtifactError: The URL is not that of a server.
        StoreUnavailableError: The server cannot be used.
    """
    if url is None:
        with (
            tempfile.TemporaryDirectory(prefix="coatcheck-demo-") as directory,
            _engine(Path(directory)) as engine,
            _furnished(_socket_url(engine), "an embedded engine of its own", claim, owns_server=True) as stage,
        ):
            yield stage
        return
    parts = urlsplit(url)
    if parts.scheme == "embedded":
        with start_engine(Path(unquote(parts.path)) if parts.path else None) as engine:
            name = f"the embedded engine in {engine.directory}"
            with _furnished(_socket_url(engine), name, claim, owns_server=False) as stage:
                yield stage
    elif parts.scheme in _SCHEMES:
        url = f"{_SCHEMES[parts.scheme]}{url.removeprefix(parts.scheme)}"
        with _furnished(url, parts.hostname or parts.path, claim, owns_server=False) as stage:
            yield stage
    else:
        raise InvalidArtifactError("the demo needs a Redis or Valkey server, or no --url for an engine of its own")


@contextmanager
def _engine(directory: Path) -> Iterator[EmbeddedEngine]:
    """An engine that has stopped when the block has been left, so that its directory can go."""
    engine = start_engine(directory)
    try:
        yield engine
    finally:
        engine.close()
        deadline = time.monotonic() + _STOP_WITHIN
        while engine.socket.exists() and time.monotonic() < deadline:
            time.sleep(0.01)


def _socket_url(engine: EmbeddedEngine) -> str:
    return f"unix://{quote(str(engine.socket))}"


@contextmanager
def _furnished(url: str, name: str, claim: int, *, owns_server: bool) -> Iterator[Stage]:
    token = secrets.token_hex(4)
    namespace = f"coatcheck-demo-{token}"
    tickets = Tickets(url, token, claim)
    try:
        with open_store(url, namespace=namespace) as store:
            store.list_runs()  # a server that cannot be used is best reported by the store
            try:
                yield Stage(url, name, namespace, token, claim, store, tickets, owns_server)
            finally:
                if not owns_server:
                    _sweep(tickets, namespace)
    finally:
        tickets.close()


def _sweep(tickets: Tickets, namespace: str) -> None:
    """Delete whatever a failed demonstration left on the user's server."""
    for prefix in (f"{namespace}:", tickets.prefix):
        for key in tickets.client.scan_iter(f"{prefix}*", count=1000):
            tickets.client.unlink(key)
