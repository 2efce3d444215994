"""How a transport finds out which servers to speak to: redis-py's Sentinel and cluster clients ask.

Stores that were opened by URL make such a client anew for each question: it holds no connections in between, knows no
event loop, and nothing of it is shared with a forked child.
"""

from __future__ import annotations

from typing import Any, Final

import redis.asyncio.cluster
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from .base import NotSentError, RefusedError
from .errors import no_connection, trusted
from .topology import Owners
from .url import Place, spell

_ANSWER_WITHIN: Final = {"socket_timeout": 2.0, "socket_connect_timeout": 2.0}
"""Seconds for one server to say what it knows: others know it too."""

_NO_CLUSTER: Final = "cluster support disabled"


class FindCluster:
    """Asks the nodes of a cluster, those in the URL and those found before, for the primary of each slot.

    Args:
        place: What the URL says.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._settings = {**place.settings, **_ANSWER_WITHIN, "connection_class": place.connection_class}
        self._known = place.addresses

    def __call__(self) -> Owners:
        nodes = [redis.cluster.ClusterNode(*address) for address in self._known]
        try:
            manager = redis.cluster.NodesManager(startup_nodes=nodes, from_url=True, **self._settings)
            return self._learn(manager)
        except Exception as error:  # redis-py stumbles in many ways over a cluster that is being formed
            raise self._unknown(error) from error
        finally:
            for node in nodes:  # the manager has asked none but these
                if node.redis_connection is not None:
                    node.redis_connection.close()

    def _learn(self, manager: Any) -> Owners:
        found = [(node.host, node.port) for node in manager.nodes_cache.values()]
        self._known = list(dict.fromkeys([*self._place.addresses, *found]))
        return owners(manager)

    def _unknown(self, error: BaseException) -> NotSentError:
        return no_cluster(error, _asked(self._place), self._place.trust)


class AsyncFindCluster(FindCluster):
    """`FindCluster` for asyncio."""

    async def __call__(self) -> Owners:  # type: ignore[override]  # awaited
        nodes = [redis.asyncio.cluster.ClusterNode(*address, **self._settings) for address in self._known]
        manager = redis.asyncio.cluster.NodesManager(nodes, False, dict(self._settings))
        try:
            await manager.initialize()
            return self._learn(manager)
        except Exception as error:  # see FindCluster
            raise self._unknown(error) from error
        finally:
            await manager.aclose("startup_nodes")
            await manager.aclose()
            for node in nodes:
                await node.disconnect()


def owners(manager: Any) -> Owners:
    """The primary of each slot, as redis-py's manager of nodes knows them."""
    return {slot: (nodes[0].host, nodes[0].port) for slot, nodes in manager.slots_cache.items()}


def no_cluster(error: BaseException, name: str, trust: str) -> NotSentError:
    """Why nobody could say how the slots of a cluster are spread."""
    cause: BaseException | None = error
    while cause is not None:
        if _NO_CLUSTER in str(cause):
            return RefusedError(f"{name} is no cluster: open the store with redis://{name} (rediss:// with TLS)")
        cause = cause.__cause__ or cause.__context__
    return no_connection(error, name, trust)


class FindPrimary:
    """Asks Sentinels for the primary of a service.

    Args:
        place: What the URL says.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._settings = {**place.sentinel_settings, **_ANSWER_WITHIN}

    def __call__(self) -> Owners:
        sentinel = redis.sentinel.Sentinel(
            self._place.addresses, sentinel_kwargs={**self._settings, "retry": Retry(NoBackoff(), 0)}
        )
        try:
            host, port = sentinel.discover_master(self._place.service)
        except (RedisError, OSError) as error:
            raise self._unknown(error) from None  # its text may show how the Sentinels are logged in to
        finally:
            for client in sentinel.sentinels:
                client.close()
        return {0: (host, port)}

    def _unknown(self, error: BaseException) -> NotSentError:
        asked, text = _asked(self._place), str(error)
        if "AuthenticationError" in text:
            return RefusedError(
                f"a Sentinel of {asked} refused the login: name its own with ?sentinel_username=…&sentinel_password=…"
            )
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return RefusedError(
                f"the certificate of a Sentinel of {asked} was not accepted; {trusted(self._place.trust)}"
            )
        return NotSentError(
            f"no Sentinel of {asked} names a primary for the service {self._place.service!r}: "
            "none can be reached, or none watches a service of that name"
        )


class AsyncFindPrimary(FindPrimary):
    """`FindPrimary` for asyncio."""

    async def __call__(self) -> Owners:  # type: ignore[override]  # awaited
        sentinel = redis.asyncio.sentinel.Sentinel(
            self._place.addresses, sentinel_kwargs={**self._settings, "retry": AsyncRetry(NoBackoff(), 0)}
        )
        try:
            host, port = await sentinel.discover_master(self._place.service)
        except (RedisError, OSError) as error:
            raise self._unknown(error) from None
        finally:
            for client in sentinel.sentinels:
                await client.connection_pool.disconnect()
        return {0: (host, port)}


def _asked(place: Place) -> str:
    return ",".join(map(spell, place.addresses))
