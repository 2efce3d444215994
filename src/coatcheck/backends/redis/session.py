"""One namespace on its server or cluster: what every operation sends goes through here.

The policies are layers in one visible order, from `Session._send` on: mending, an opening question, durability, and
below them, in `transport/retry.py`, retries and routing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

from ...errors import ArtifactError, CorruptArtifactError, StoreUnavailableError
from ...plan import Plan
from .everywhere import Everywhere, found_in
from .eviction import Question, warn
from .layout.keys import Keys
from .layout.partitions import Partitions
from .mending import mend, unindexed
from .scripts.script import Call, Command, Unit
from .transport.base import Node, Transport
from .transport.durability import Durability, confirmation, refused
from .transport.errors import unexpected
from .transport.retry import Tried, answered, deliver, find_primaries, first_try

T = TypeVar("T")

_PING = Command(0, (b"PING",), bytes)

# What Python raises where a reply is not of the type that its command has on every server.
_UNREADABLE = (TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError, RecursionError)

_CLEANING = 0.5  # seconds

_MENDED = 3  # how often a call is repeated because indexes were in disorder


class Session:
    """Sends units to the partitions of one namespace and reads what they mean.

    Args:
        transport: The way to the server or cluster.
        partitions: Of the namespace.
        retry_for: Seconds during which what failed is repeated.
        durability: How safe a write is before it is acknowledged.
        wish: What stores index by label where a partition is empty.

    Attributes:
        of, places: See `Partitions`.
    """

    def __init__(
        self,
        transport: Transport,
        partitions: Partitions,
        *,
        retry_for: float,
        durability: Durability,
        wish: bytes = b"",
    ) -> None:
        self.transport = transport
        self.partitions = partitions
        self.of, self.places = partitions.of, partitions.places
        self.retry_for = retry_for
        self.durability: Durability = durability
        self.wish = wish
        self._behind = confirmation(durability)
        self._everywhere: dict[tuple[bytes, ...], Everywhere] = {}
        # The embedded engine is known not to evict.
        self._question = Question(partitions, is_cluster=transport.is_cluster) if transport.engine is None else None

    def read(self, unit: Unit[T]) -> Plan[T]:
        """Send something that changes nothing; what it returns."""
        return self._one(unit, writes=False)

    def write(self, unit: Unit[T]) -> Plan[T]:
        """Send something that may change the store, wait until it is as safe as promised; what it returns."""
        return self._one(unit, writes=True)

    def read_each(self, units: Sequence[Unit[T]]) -> Plan[list[T]]:
        """The same for many, at once: one pipeline for each node."""
        return _read(units, (yield from self._send(units, writes=False))) if units else []

    def write_each(self, units: Sequence[Unit[T]]) -> Plan[list[T]]:
        """The same for many, at once: one pipeline for each node."""
        return _read(units, (yield from self._send(units, writes=True))) if units else []

    def read_of_run(self, run_id: str, *words: bytes) -> Plan[list[tuple[Keys, Any]]]:
        """Ask all partitions about their indexes of a run; those that say something, and what.

        `words`: a plain command; behind the first word comes the key.
        """
        partitions, tried = self.partitions.all, None
        question = self._everywhere.get(words) or self._everywhere.setdefault(words, Everywhere(partitions, words))
        attempt = None if self._question is not None else question.first_try(self.transport, run_id)
        if attempt is not None:
            pipelines, routes = attempt
            results = yield pipelines
            found = found_in(routes, results)
            if found is not None:
                return [(partitions[i], reply) for i, reply in found]
            tried = [(route.node, route.numbers, result) for route, result in zip(routes, results, strict=True)]
        replies = yield from self._send(question.units(run_id), writes=False, tried=tried)
        return [one for one in zip(partitions, replies, strict=True) if one[1]]

    def prepare(self, units: Sequence[Unit[T]]) -> Plan[list[T]]:
        """Send what concerns no artifact yet: if its outcome is unknown, nothing is in doubt."""
        return _read(units, (yield from deliver(self.transport, units, self.retry_for, writes=False)))

    def clean_up(self, units: Iterable[Unit[Any]]) -> Plan[None]:
        """Send what nothing depends on, one by one, for half a second: whoever cancelled a call waits for that."""
        give_up_at = monotonic() + _CLEANING
        with suppress(ArtifactError):
            for unit in units:
                if (left := give_up_at - monotonic()) <= 0:
                    break
                yield from deliver(self.transport, [unit], 0, writes=False, within=left)

    def ask_node(self, node: Node, unit: Unit[T]) -> Plan[T]:
        """Ask one node, whatever the slots say."""
        return _read_one(unit, (yield from deliver(self.transport, [unit], self.retry_for, writes=False, node=node)))

    def primaries(self) -> Plan[Sequence[Node]]:
        """The nodes that hold the partitions."""
        return find_primaries(self.transport, self.retry_for)

    def probe(self) -> Plan[None]:
        """Ask every node whether it can keep what `durability` promises.

        Raises:
            InvalidArtifactError: One cannot.
        """
        if self._behind is None:
            return
        try:
            for node in (yield from self.primaries()):
                yield from deliver(
                    self.transport, [_PING], self.retry_for, writes=False, behind=self._behind, node=node
                )
        except StoreUnavailableError as error:
            raise refused(self.durability, error) from None

    # The layers, from the outside in -----------------------------------------------------------------------------

    def _one(self, unit: Unit[T], *, writes: bool) -> Plan[T]:
        """One unit, past the layers that have nothing to do: most calls are that. It is `heard` by itself."""
        try:
            tried: Tried = None
            if self._question is None and not (writes and self._behind):
                attempt = first_try(self.transport, unit)
                if attempt is not None:
                    [result] = yield attempt
                    if answered(result):
                        return unit.read(result)
                    tried = [(attempt.parts[0].node, (0,), result)]
            return unit.read((yield from self._send((unit,), writes=writes, tried=tried)))
        except ArtifactError:
            raise
        except _UNREADABLE as error:
            raise StoreUnavailableError(unexpected(error)) from error

    def _send(self, units: Sequence[Unit[Any]], *, writes: bool, tried: Tried = None) -> Plan[list[Any]]:
        """Mend what a script found in disorder, and ask again."""
        for _ in range(_MENDED):
            try:
                return (yield from self._asked(units, writes=writes, tried=tried))
            except CorruptArtifactError as error:
                yield from self._mended(error)
            tried = None
        return (yield from self._asked(units, writes=writes))

    def _mended(self, error: CorruptArtifactError) -> Plan[None]:
        """Bring in line what a script gave up for; raises the error if that was something else."""
        key = unindexed(error)
        keys = None if key is None else self.partitions.holding(key)
        if not isinstance(keys, Keys) or key is None:
            raise error
        yield from mend(self._mending, keys, key.removeprefix(keys.artifact(b"")))

    def _mending(self, call: Call[T]) -> Plan[T]:
        return call.read((yield from self._asked((call,), writes=True)))

    def _asked(self, units: Sequence[Unit[Any]], *, writes: bool, tried: Tried = None) -> Plan[list[Any]]:
        """The first time: ask what the server evicts, in the same trip."""
        question, self._question = self._question, None  # calls that run at the same time don't ask as well
        if question is None:
            return (yield from self._delivered(units, writes=writes, tried=tried))
        try:
            policy, *replies = yield from self._delivered((question.unit(), *units), writes=writes)
        except BaseException:
            self._question = question
            raise
        warn(policy)
        return replies

    def _delivered(self, units: Sequence[Unit[Any]], *, writes: bool, tried: Tried = None) -> Plan[list[Any]]:
        """Writes are followed by what waits until they are safe."""
        behind = self._behind if writes else None
        return deliver(self.transport, units, self.retry_for, writes=writes, behind=behind, tried=tried)


def heard(plan: Plan[T]) -> Plan[T]:
    """The same plan; what it cannot do with a reply is an error that says so, and not one of Python's.

    Only for plans that run nothing of the caller's.
    """
    try:
        return (yield from plan)
    except ArtifactError:
        raise
    except _UNREADABLE as error:
        raise StoreUnavailableError(unexpected(error)) from error


def _read_one(unit: Unit[T], replies: Sequence[Any]) -> T:
    try:
        return unit.read(replies)
    except ArtifactError:
        raise
    except _UNREADABLE as error:
        raise StoreUnavailableError(unexpected(error)) from error


def _read(units: Sequence[Unit[T]], replies: list[Any]) -> list[T]:
    results, start = [], 0
    for unit in units:
        stop = start + unit.replies
        results.append(_read_one(unit, replies[start:stop]))
        start = stop
    return results
