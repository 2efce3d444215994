"""How a transport finds out which servers to speak to: it asks the nodes of a cluster, or Sentinels, one after another.

Each question has a wire of its own, so nothing is held in between. A caller's own cluster client asks by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

from redis.exceptions import AuthenticationError, RedisError

from ....plan import Plan
from .base import BrokenError, Node, NotSentError, Part, Pipelines, RefusedError, Result, Transport
from .errors import not_sent, unexpected
from .resp import pack
from .topology import SLOTS, Address, Owners
from .url import Place, spell

_NO_CLUSTER: Final = "cluster support disabled"
_NO_SERVICE: Final = "No such master"
_DOWN: Final = frozenset({"s_down", "o_down", "disconnected"})


class Asking(ABC):
    """Asks servers until one of them knows, for no longer than one exchange may take.

    Args:
        place: What the URL says.
        node: Makes a node that answers one question.
    """

    def __init__(self, place: Place, node: Callable[[str, int], Node]) -> None:
        self._place = place
        self._node = node
        self._known = place.addresses

    def __call__(self, transport: Transport) -> Plan[Owners]:
        give_up_at = monotonic() + self._place.timeout
        found: Owners = ()
        failures: list[NotSentError] = []
        for address in self._known:
            node = self._node(*address)
            try:
                [result] = yield Pipelines(transport, (Part(node, pack(self._question), 1),))
            finally:
                node.forget_idle()
            try:
                found = max(found, self._read(address, _answer(result)), key=_served)
            except Exception as error:  # noqa: BLE001  # whatever it answers: others may know better
                failures.append(_failure(error, node))
            if self._suffices(found) or monotonic() >= give_up_at:
                break
        if not found:
            raise self._why(next((one for one in failures if isinstance(one, RefusedError)), failures[-1]))
        return found

    @property
    def _asked(self) -> str:
        return ",".join(map(spell, self._place.addresses))

    @property
    @abstractmethod
    def _question(self) -> Sequence[bytes]: ...

    @abstractmethod
    def _read(self, asked: Address, answer: Any) -> Owners:
        """What an answer says; anything may be raised."""

    @abstractmethod
    def _suffices(self, found: Owners) -> bool:
        """Whether nobody else has to be asked."""

    def _why(self, failure: NotSentError) -> NotSentError:
        """What to say of a failure."""
        return failure


class FindCluster(Asking):
    """Asks the nodes of a cluster, those in the URL and those found before, for the primary of each slot."""

    _question = (b"CLUSTER", b"SLOTS")

    def _read(self, asked: Address, answer: Any) -> Owners:
        owners: list[tuple[range, Address]] = []
        for first, last, (host, port, *_), *_ in answer:
            if not 0 <= first <= last < SLOTS:
                raise ValueError(f"slots {first} to {last}")
            address = (host.decode() if host else asked[0]), _port(port)
            owners.append((range(first, last + 1), address))
        self._known = list(dict.fromkeys([*self._place.addresses, *(address for _, address in owners)]))
        return owners

    def _suffices(self, found: Owners) -> bool:
        return _served(found) == SLOTS

    def _why(self, failure: NotSentError) -> NotSentError:
        return no_cluster(failure, self._asked)


class FindPrimary(Asking):
    """Asks Sentinels for the primary of a service."""

    @property
    def _question(self) -> Sequence[bytes]:
        return b"SENTINEL", b"MASTER", self._place.service.encode()

    def _read(self, asked: Address, answer: Any) -> Owners:  # noqa: ARG002  # a Sentinel says all of it
        texts = [text.decode() for text in answer]
        known = dict(zip(texts[::2], texts[1::2], strict=True))
        flags = frozenset(known["flags"].split(","))
        if "master" not in flags or flags & _DOWN:
            raise NotSentError(f"it is {known['flags']}")
        return [(range(1), (known["ip"], _port(int(known["port"]))))]

    def _suffices(self, found: Owners) -> bool:
        return bool(found)

    def _why(self, failure: NotSentError) -> NotSentError:
        if isinstance(failure.__cause__, AuthenticationError):
            return RefusedError(
                f"a Sentinel of {self._asked} refused the login: "
                "name its own with ?sentinel_username=…&sentinel_password=…"
            )
        if isinstance(failure, RefusedError) and _NO_SERVICE not in str(failure):
            return failure
        return NotSentError(
            f"no Sentinel of {self._asked} names a primary for the service {self._place.service!r}: "
            "none can be reached, or none watches a service of that name"
        )


def no_cluster(failure: NotSentError, name: str) -> NotSentError:
    """Why nobody could say how the slots of a cluster are spread."""
    if _NO_CLUSTER in str(failure):
        return RefusedError(f"{name} is no cluster: open the store with redis://{name} (rediss:// with TLS)")
    return failure


def _served(owners: Owners) -> int:
    """How many slots somebody serves."""
    return sum(len(slots) for slots, _ in owners)


def _answer(result: Result) -> Any:
    """The reply to one question; raises what kept it away."""
    if not isinstance(result, list):
        raise result
    [reply] = result
    if isinstance(reply, Exception):
        raise reply
    return reply


def _failure(error: Exception, node: Node) -> NotSentError:
    if isinstance(error, NotSentError):
        return error
    if isinstance(error, BrokenError | RedisError):
        return not_sent(error, node)
    return RefusedError(unexpected(error, node.name))


def _port(port: int) -> int:
    if not 0 < port < 2**16:
        raise ValueError(f"port {port}")
    return port
