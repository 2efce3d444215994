"""How a store gets to its server: a URL, the embedded engine, or the caller's own client."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, unquote, urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from ....embedded import start_engine
from ....errors import InvalidArtifactError
from .base import AsyncLink, Link, SyncLink
from .pool import AsyncBorrowed, AsyncStack, Borrowed, Connections, Stack

URL_VARIABLE: Final = "COATCHECK_URL"
EMBEDDED: Final = "embedded"
SCHEMES: Final = ("redis", "rediss", "unix", "valkey", "valkeys", EMBEDDED)

_ALIASES: Final = {"valkey": "redis", "valkeys": "rediss"}  # redis-py speaks of redis only
_MAX_CONNECTIONS: Final = 64  # of an asyncio store; tasks beyond that wait for one

_OPTIONS: Final[dict[str, Any]] = {
    "socket_timeout": 30.0,  # seconds for one send or one reply: 16 MiB over a slow link take a while
    "socket_connect_timeout": 5.0,
    "protocol": 2,  # one handshake less, and no push messages between replies
}


_PUBLIC: Final = re.compile(
    r"(?P<scheme>[^@:/?#]*://)(?P<user>[^/?#]*@)?"
    r"(?P<host>(?:[^@:/?#\[\]]*|\[[0-9A-Fa-f:.]*\])(?::[0-9]*)?(?:/[^@?#]*)?)(?P<options>\?[^@#]*)?"
)


def hide_password(url: str) -> str:
    """A URL that may be shown: without user, password and options. One that cannot be told apart is not shown."""
    parts = _PUBLIC.fullmatch(url)
    if parts is None:
        scheme, separator, _ = url.partition("://")
        return "…" if "@" in scheme or ":" in scheme else f"{scheme}{separator and '://…'}"
    user, options = "***@" if parts["user"] else "", "?…" if parts["options"] else ""
    return f"{parts['scheme']}{user}{parts['host']}{options}"


def local_directory(url: str) -> Path | None:
    """The directory that a URL such as `file:///directory` names; `None` if it has no path.

    Raises:
        InvalidArtifactError: It names a host as well, or no directory that can be.
    """
    scheme, _, rest = url.partition("://")
    path = unquote(rest.removeprefix("localhost"))
    if rest and (not path.startswith("/") or "\0" in path or {"?", "#"} & set(rest)):
        raise InvalidArtifactError(
            f"{hide_password(url)!r}: write the directory as {scheme}:///absolute/path, with ? as %3F and # as %23"
        )
    return Path(path) if path else None


class Target:
    """Where a blocking store connects to.

    Raises:
        InvalidArtifactError: Neither a URL of a known scheme nor a `redis.Redis`.
    """

    client_class: type = redis.Redis
    _link_class: type[Link] = SyncLink
    _own: type[Connections] = Stack
    _borrowed: type[Connections] = Borrowed

    def __init__(self, url: str | None, pool: Any) -> None:
        self._url = url
        self._pool = pool

    @classmethod
    def of(cls, url_or_client: object) -> Self:
        """The target that a store's first argument means."""
        if url_or_client is None:
            url_or_client = os.environ.get(URL_VARIABLE) or f"{EMBEDDED}://"
        if isinstance(url_or_client, str):
            scheme, separator, _ = url_or_client.partition("://")
            if not separator or scheme not in SCHEMES:
                raise InvalidArtifactError(
                    f"{hide_password(url_or_client)!r} is not the URL of a Redis or Valkey server; "
                    f"known schemes: {', '.join(f'{scheme}://' for scheme in SCHEMES)}"
                )
            return cls(url_or_client, None)
        if isinstance(url_or_client, cls.client_class):
            return cls(None, url_or_client.connection_pool)  # type: ignore[attr-defined]  # every redis client has one
        kind = f"{type(url_or_client).__module__}.{type(url_or_client).__qualname__}"
        wanted = f"{cls.client_class.__module__.removesuffix('.client')}.{cls.client_class.__qualname__}"
        raise InvalidArtifactError(f"expected a URL or a {wanted} client, not {kind}")

    def link(self) -> Link:
        """Connections to it; the embedded engine is started now, a server is contacted when it is needed.

        Raises:
            InvalidArtifactError: The URL makes no sense.
            StoreUnavailableError: The embedded engine cannot be started.
        """
        if self._url is None:
            return self._link_class(self._borrowed(self._pool))
        url, engine = self._url, None
        scheme, _, rest = url.partition("://")
        if scheme == EMBEDDED:
            engine = start_engine(local_directory(url))
            url = f"unix://{quote(str(engine.socket))}"
        else:
            url = f"{_ALIASES.get(scheme, scheme)}://{rest}"
        try:
            urlsplit(url).port  # noqa: B018  # raises, and what it says may hold a part of the password
        except ValueError:
            raise InvalidArtifactError(
                f"invalid URL {hide_password(self._url)!r}: host and port cannot be read; "
                "special characters in user and password have to be quoted (urllib.parse.quote)"
            ) from None
        try:
            pool = self._make_pool(url)
            pool.connection_class(**pool.connection_kwargs)  # options that redis-py doesn't know are found out now
        except Exception as error:  # noqa: BLE001  # whatever an option makes it do
            # Behind a password that was not quoted its rest may be taken for an option.
            reason = "an option cannot be read" if "@" in url.partition("?")[2] else error
            raise InvalidArtifactError(f"invalid URL {hide_password(self._url)!r}: {reason}") from None
        return self._link_class(self._own(pool), engine)

    def _make_pool(self, url: str) -> Any:
        return redis.ConnectionPool.from_url(url, **_OPTIONS, retry=Retry(NoBackoff(), 0))

    def picklable(self) -> Any:
        """The URL, or a function that makes a client like the caller's.

        Raises:
            TypeError: The caller's client cannot be described.
        """
        if self._url is not None:
            return self._url
        plain = str | bytes | int | float | bool | None
        settings = {name: value for name, value in self._pool.connection_kwargs.items() if isinstance(value, plain)}
        if not {"host", "path"} & settings.keys():
            raise TypeError("this store's client cannot be pickled: make the store from a URL instead")
        return partial(_client_like, self.client_class, type(self._pool), self._pool.connection_class, settings)


class AsyncTarget(Target):
    """Where an asyncio store connects to."""

    client_class = redis.asyncio.Redis
    _link_class = AsyncLink
    _own = AsyncStack
    _borrowed = AsyncBorrowed

    def _make_pool(self, url: str) -> Any:
        return redis.asyncio.ConnectionPool.from_url(
            url, **_OPTIONS, retry=AsyncRetry(NoBackoff(), 0), max_connections=_MAX_CONNECTIONS
        )


def _client_like(client_class: Any, pool_class: Any, connection_class: Any, settings: dict[str, Any]) -> Any:
    return client_class(connection_pool=pool_class(connection_class=connection_class, **settings))
