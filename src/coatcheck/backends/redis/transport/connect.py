"""How a store gets to its servers: a URL, the embedded engine, or the caller's own client."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Self
from urllib.parse import quote

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.connection
import redis.cluster
import redis.connection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from ....embedded import start_engine
from ....errors import InvalidArtifactError
from ....plan import Plan, Step
from .awaited import AwaitedTransport
from .base import Node, Transport
from .blocking import BlockingTransport
from .borrowed import AsyncBorrowed, AsyncBorrowedNode, Borrowed
from .discovery import FindCluster, FindPrimary, no_cluster
from .errors import no_connection
from .pool import AsyncOwn, Login, Own
from .topology import ClusterTopology, Owners, Topology
from .url import EMBEDDED, SCHEMES, Place, hide_password, kind_of, local_directory, spell, split_options

__all__ = [
    "EMBEDDED",
    "SCHEMES",
    "UNNAMED",
    "URL_VARIABLE",
    "AsyncTarget",
    "Target",
    "hide_password",
    "local_directory",
]

URL_VARIABLE: Final = "COATCHECK_URL"

TIMEOUT: Final = 30.0  # seconds for one exchange: 8 MiB over a slow link take a while

_SECURITY: Final = ("ssl_", "credential_provider", "redis_connect_func")  # what a copy must not lack

_ANSWER_WITHIN: Final = 2.0  # seconds for one server to say who serves what: others know it too

_CALLERS: Final = "the caller's cluster"

_MAX_CONNECTIONS: Final = 64  # of an asyncio store, for each node and event loop; tasks beyond that wait for one

UNNAMED: Final[dict[str, Any]] = (
    {"driver_info": None}
    if "driver_info" in inspect.signature(redis.connection.AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)
"""Nothing is said of the library: that takes a permission, and a refusal would stand in the server's log of them."""

_DEFAULTS: Final[dict[str, Any]] = {
    "socket_connect_timeout": 5.0,
    "protocol": 2,  # one handshake less, and no push messages between replies
    **UNNAMED,
}


def told(url_or_client: object) -> tuple[object, dict[str, Any]]:
    """What a store's first argument says: where it connects to, and options of the store.

    Raises:
        InvalidArtifactError: An option makes no sense.
    """
    if url_or_client is None:
        url_or_client = os.environ.get(URL_VARIABLE) or f"{EMBEDDED}://"
    return split_options(url_or_client) if isinstance(url_or_client, str) else (url_or_client, {})


class Target:
    """Where a blocking store connects to.

    Attributes:
        is_cluster: Whether it is a cluster; known without asking it.

    Raises:
        InvalidArtifactError: Neither a URL of a known scheme nor a client of redis-py.
    """

    client_class: type = redis.Redis
    cluster_class: type = redis.cluster.RedisCluster

    def __init__(self, url: str | None, client: Any, tls: Mapping[str, object], timeout: float = TIMEOUT) -> None:
        self._url = url
        self._client = client
        self._tls = tls
        self._timeout = timeout
        self.is_cluster = isinstance(client, self.cluster_class) if url is None else kind_of(url) == "cluster"

    @classmethod
    def of(cls, url_or_client: object, *, tls: Mapping[str, object] | None = None, timeout: float = TIMEOUT) -> Self:
        """The target that a store's first argument means.

        Args:
            url_or_client: What the store was given, see `told`.
            tls: redis-py's options for TLS (`ssl_ca_certs`…), where they are not part of the URL.
            timeout: Seconds for one exchange with a server, where the URL says nothing of it. A client has its own.
        """
        if isinstance(url_or_client, str):
            scheme, separator, _ = url_or_client.partition("://")
            if not separator or scheme not in SCHEMES:
                raise InvalidArtifactError(
                    f"{hide_password(url_or_client)!r} is not the URL of a Redis or Valkey server; "
                    f"known schemes: {', '.join(f'{scheme}://' for scheme in SCHEMES)}"
                )
            return cls(url_or_client, None, tls or {}, timeout)
        if isinstance(url_or_client, cls.client_class | cls.cluster_class):
            if tls and any(value is not None for value in tls.values()):
                raise InvalidArtifactError(f"{', '.join(tls)}: only with a URL; a client brings its own")
            return cls(None, url_or_client, {})
        kind = f"{type(url_or_client).__module__}.{type(url_or_client).__qualname__}"
        client, cluster = (
            f"{wanted.__module__.removesuffix('.client')}.{wanted.__qualname__}"
            for wanted in (cls.client_class, cls.cluster_class)
        )
        raise InvalidArtifactError(f"expected a URL, a {client} or a {cluster} client, not {kind}")

    @property
    def shown(self) -> str:
        """What may be seen of it."""
        return f"<{type(self._client).__name__}>" if self._url is None else repr(hide_password(self._url))

    @property
    def encrypted(self) -> bool | None:
        """Whether connections are made with TLS; `None`: the caller's client knows."""
        return None if self._url is None else self._url.startswith(("rediss", "valkeys"))

    def transport(self) -> Transport:
        """The way to it; the embedded engine is started now, a server is contacted when it is needed.

        Raises:
            InvalidArtifactError: The URL makes no sense.
            StoreUnavailableError: The embedded engine cannot be started.
        """
        if self._url is None:
            return self._with_cluster() if self.is_cluster else self._with_client()
        url, engine = self._url, None
        if url.startswith(f"{EMBEDDED}://"):
            engine = start_engine(local_directory(url))
            url = f"unix://{quote(str(engine.socket))}"
        place = self._place(url)
        if place.kind == "cluster":
            return self._opened(
                ClusterTopology(partial(self._node, place)), FindCluster(place, partial(self._asked, place))
            )
        if place.kind == "sentinel":
            return self._opened(Topology(partial(self._node, place)), FindPrimary(place, partial(self._asked, place)))
        return self._opened(Topology(partial(self._node, place), self._node(place, *place.address)), None, engine)

    def picklable(self) -> Any:
        """The URL, or a function that makes a client like the caller's.

        Raises:
            TypeError: The caller's client cannot be described.
        """
        if self._url is not None:
            return self._url
        plain = str | bytes | int | float | bool | None
        if not self.is_cluster:
            pool = self._client.connection_pool
            settings = {name: value for name, value in pool.connection_kwargs.items() if isinstance(value, plain)}
            lost = pool.connection_kwargs.keys() - settings.keys()
            if matters := ", ".join(sorted(name for name in lost if name.startswith(_SECURITY))):
                raise TypeError(f"this store's client cannot be pickled with its {matters}: make the store from a URL")
            if {"host", "path"} & settings.keys():
                return partial(_client_like, self.client_class, type(pool), pool.connection_class, settings)
        raise TypeError("this store's client cannot be pickled: make the store from a URL instead")

    # What is different on asyncio ------------------------------------------------------------------------------

    _opened: Callable[..., Transport] = BlockingTransport

    def _place(self, url: str) -> Place:
        retry = Retry(NoBackoff(), 0)
        return Place(url, self._tls, redis.connection.parse_url, redis.Connection, self._defaults(retry))

    def _node(self, place: Place, *address: Any) -> Node:
        return Own(*self._parts(place, *address))

    def _asked(self, place: Place, *address: Any) -> Node:
        """One that says who serves what: a Sentinel, or any node of a cluster."""
        return self._node(place.asking(_ANSWER_WITHIN), *address)

    def _defaults(self, retry: object) -> dict[str, Any]:
        return {**_DEFAULTS, "socket_timeout": self._timeout, "retry": retry}

    @staticmethod
    def _parts(place: Place, *address: Any, **settings: Any) -> tuple[Any, ...]:
        make = place.connection(*address, redis_connect_func=_not_yet, **settings)
        return place.name(*address), place.trust, make, Login(place.settings), place.timeout

    def _with_client(self) -> Transport:
        pool = self._client.connection_pool
        return self._opened(Topology(_no_other, Borrowed(_name(pool.connection_kwargs), pool)))

    def _with_cluster(self) -> Transport:
        client = self._client

        def node(host: str, port: int) -> Node:
            known = client.get_node(host=host, port=port)
            found = known or redis.cluster.ClusterNode(host, port)
            return Borrowed(found.name, client.get_redis_connection(found).connection_pool, ours=known is None)

        return self._of_cluster(node, client.nodes_manager.initialize)

    def _of_cluster(self, node: Callable[[str, int], Node], ask: Callable[[], Any]) -> Transport:
        """The way to the caller's cluster, whose client knows how to ask it anew."""
        manager = self._client.nodes_manager

        def find(_transport: Transport) -> Plan[Owners]:
            try:
                yield _Call(ask)
            except Exception as error:  # redis-py stumbles in many ways over a cluster that is being formed
                raise no_cluster(no_connection(error, _CALLERS, ""), _CALLERS) from error
            served = manager.slots_cache.items()
            return [(range(slot, slot + 1), (nodes[0].host, nodes[0].port)) for slot, nodes in served]

        return self._opened(ClusterTopology(node, manager.remap_host_port), find)


class AsyncTarget(Target):
    """Where an asyncio store connects to."""

    client_class = redis.asyncio.Redis
    cluster_class = redis.asyncio.cluster.RedisCluster
    _opened = AwaitedTransport

    def _place(self, url: str) -> Place:
        retry = AsyncRetry(NoBackoff(), 0)
        parse = redis.asyncio.connection.parse_url
        return Place(url, self._tls, parse, redis.asyncio.Connection, self._defaults(retry))

    def _node(self, place: Place, *address: Any) -> Node:
        limit = place.max_connections or _MAX_CONNECTIONS
        # The limits are ours: before Python 3.12, those of redis-py sometimes swallow a cancellation.
        parts = self._parts(place, *address, socket_timeout=None, socket_connect_timeout=None)
        return AsyncOwn(*parts, limit=limit)

    def _with_client(self) -> Transport:
        pool = self._client.connection_pool
        return self._opened(Topology(_no_other, AsyncBorrowed(_name(pool.connection_kwargs), pool)))

    def _with_cluster(self) -> Transport:
        client = self._client

        def node(host: str, port: int) -> Node:
            known = client.get_node(host=host, port=port)
            found = known or redis.asyncio.cluster.ClusterNode(host, port, **client.get_connection_kwargs())
            return AsyncBorrowedNode(found, ours=known is None)

        async def ask() -> None:
            await client.initialize()  # otherwise it would not know that it has something to close
            await client.nodes_manager.initialize()

        return self._of_cluster(node, ask)


class _Call(Step):
    """Something that the caller's client does; awaited where it has to be."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    def run(self) -> None:
        self._call()

    async def arun(self) -> None:
        await self._call()


def _name(settings: Mapping[str, Any]) -> str:
    """What the server of a pool is called; with Sentinels the pool looks it up itself."""
    if "path" in settings:
        return str(settings["path"])
    return spell((settings["host"], settings.get("port", 6379))) if "host" in settings else "the primary"


def _not_yet(_connection: Any) -> None:
    """Instead of redis-py's login: ours is said on the wire, see `pool.Login`."""


def _no_other(host: str, port: int) -> Node:
    raise NotImplementedError(f"one server has no {host}:{port}")


def _client_like(client_class: Any, pool_class: Any, connection_class: Any, settings: dict[str, Any]) -> Any:
    return client_class(connection_pool=pool_class(connection_class=connection_class, **settings))
