"""What all operations of the Redis backend share: the way to the server, and the names of the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from ...cache import CacheInfo, ContentCache
from ...compression import Zstd
from ...envelope import Verify
from ...errors import StoreUnavailableError
from ...plan import Plan
from ..base import Backend
from .batching import ROUND, flat, pages
from .eviction import Exchanges
from .layout.keys import Keys
from .transport.base import Close, Sendable, Transport
from .transport.durability import Durability, confirmation, refused
from .transport.retry import deliver

INLINE: Final = 64 * 1024
"""Content that travels as a script argument; Lua copies arguments, so larger content is set beside the script."""

LONG_WORK: Final = 256 * 1024
"""From this many bytes on, hashing and compression leave the event loop."""

TRIES: Final = 5  # how often a plan starts over because others changed what it had just read


class Core(Backend):
    """One namespace on one server.

    Args:
        link: The way to the server.
        namespace: Prefix of every key.
        retry_for: Seconds during which failed exchanges are repeated.
        compression: How to compress where it pays; `None`: not at all.
        verify: See `envelope.unseal`.
        max_size: Largest content in bytes; `None`: as much as the server's memory takes.
        durability: How safe a write is before it is acknowledged.
        cache: Contents that need not be fetched; `None`: always fetch them.
    """

    def __init__(
        self,
        link: Transport,
        *,
        namespace: str,
        retry_for: float,
        compression: Zstd | None,
        verify: Verify,
        max_size: int | None,
        durability: Durability,
        cache: ContentCache | None = None,
    ) -> None:
        self._link = link
        self._keys = Keys(namespace)
        self._exchange = Exchanges(self._keys.runs, warn=link.engine is None)
        self._retry_for = retry_for
        self._compression = compression
        self._verify = verify
        self._durability = durability
        self._confirmation = confirmation(durability)
        self.max_size = max_size
        self._cache = cache

    @property
    def keys(self) -> Keys:
        """The names of its keys."""
        return self._keys

    def cache_info(self) -> CacheInfo:
        """Figures about the content cache."""
        return CacheInfo() if self._cache is None else self._cache.info()

    def read(self, *commands: Sendable) -> Plan[list[Any]]:
        """Send commands that change nothing; their replies."""
        return self._exchange(self._link, commands, self._retry_for, writes=False)

    def write(self, *commands: Sendable) -> Plan[list[Any]]:
        """Send commands that may change something, and wait until they are as safe as promised; their replies."""
        return self._exchange(self._link, commands, self._retry_for, writes=True, behind=self._confirmation)

    def prepare(self, *commands: Sendable, retry_for: float | None = None) -> Plan[list[Any]]:
        """Send commands that concern no artifact yet: if their outcome is unknown, nothing is in doubt."""
        patience = self._retry_for if retry_for is None else retry_for
        return deliver(self._link, commands, patience, writes=False)

    def probe(self) -> Plan[None]:
        """Ask whether the server can keep what `durability` promises.

        Raises:
            InvalidArtifactError: It cannot.
        """
        if self._confirmation is None:
            return
        try:
            yield from deliver(self._link, [self._confirmation], self._retry_for, writes=False)
        except StoreUnavailableError as error:
            if isinstance(error.__cause__, ResponseError):
                raise refused(self._durability, error.__cause__) from None
            raise

    def _paged(
        self, ids: Sequence[str], send: Callable[..., Plan[list[Any]]], ask: Callable[[Sequence[str]], Sendable]
    ) -> Plan[list[Any]]:
        """Ask one script about artifacts, page by page, many pages in one round trip; an answer for each id."""
        answers: list[Any] = []
        for part in pages(ids, ROUND):
            answers += flat((yield from send(*(ask(page) for page in pages(part)))))
        return answers

    def _artifact_keys(self, ids: Iterable[str]) -> list[bytes]:
        return [self._keys.artifact(name) for name in names(ids)]

    def close(self) -> Plan[None]:
        if self._cache is not None:
            self._cache.clear()
        yield Close(self._link)


def names(ids: Iterable[str]) -> list[bytes]:
    """Ids as scripts take them."""
    return [artifact_id.encode() for artifact_id in ids]


def run_argument(run_id: str | None) -> bytes:
    """A run as scripts take it."""
    return b"" if run_id is None else run_id.encode()


def ttl_argument(ttl_ms: int | None) -> bytes:
    """A TTL as scripts take it."""
    return b"" if ttl_ms is None else b"%d" % ttl_ms
