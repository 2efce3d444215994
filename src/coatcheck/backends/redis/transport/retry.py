"""What happens when a pipeline fails: what is sent again, where, and for how long.

redis-py would retry ten times without saying so; here a call is repeated only within `retry_for` seconds. Commands
that were surely not executed are simply sent again. After a broken connection they are sent again too: every script
has the same result when it runs twice. If time runs out then, the outcome of a write is honestly unknown.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeGuard

from redis.exceptions import AskError, MovedError, NoScriptError, ReadOnlyError

from ....plan import Pause, Plan, Work
from .base import (
    BrokenError,
    Node,
    NotSentError,
    Part,
    Pipelines,
    Refresh,
    RefusedError,
    Result,
    Sendable,
    Severable,
    Transport,
    UnexpectedError,
)
from .durability import Confirmation
from .errors import gave_up, is_misplaced, misplaced, says_elsewhere, says_later, translate
from .resp import Piece, merge, pack, split

__all__ = ["Backoff", "Tried", "answered", "deliver", "find_primaries", "first_try", "translate"]

Tried = Sequence[tuple[Node, Sequence[int], Result]] | None
"""First tries: where to, the numbers of the units, and what came of it."""

_logger: Final = logging.getLogger("coatcheck.retry")
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.5
_HOPS: Final = 8  # how often commands are sent elsewhere without a pause
_ASKING: Final = pack([b"ASKING"])


def deliver(
    transport: Transport,
    units: Sequence[Sendable],
    retry_for: float,
    *,
    writes: bool,
    behind: Confirmation | None = None,
    node: Node | None = None,
    within: float | None = None,
    tried: Tried = None,
) -> Plan[list[Any]]:
    """Send units together and return the replies of all, in order, none of them an error.

    Args:
        transport: The way to the servers.
        units: What to send.
        retry_for: Seconds, from the first failure on, during which what was not executed is sent again.
        writes: Whether the outcome is in doubt when a connection breaks.
        behind: Sent behind the units on each connection that they use; its reply is checked.
        node: Where to send them, whatever their slots say.
        within: See `Part`.
        tried: First tries of all units.

    Raises:
        ArtifactError: The one of `coatcheck.errors` that fits the first error reply, or the lost connection.
    """
    if tried is None and len(units) == 1 and behind is None and within is None:
        attempt = first_try(transport, units[0], node)
        if attempt is not None:
            [result] = yield attempt
            if answered(result):
                return result
            tried = [(attempt.parts[0].node, (0,), result)]
    return (yield from _Delivery(transport, units, writes, behind, node, within).run(retry_for, tried))


def first_try(transport: Transport, unit: Sendable, node: Node | None = None) -> Pipelines | None:
    """A single unit sent once; `None`: nobody knows where to. Most calls are no more than that.

    Where its result is not `answered`, `deliver` goes on.
    """
    try:
        target = transport.node(unit.slot) if node is None else node
    except NotSentError:
        return None
    return Pipelines(transport, (Part(target, unit.packed(), unit.replies, unit.large),))


def answered(result: Result) -> TypeGuard[list[Any]]:
    """Whether what came are replies, none of them an error."""
    if type(result) is not list:
        return False
    for reply in result:  # noqa: SIM110  # making a generator costs more than looking at two replies
        if isinstance(reply, Exception):
            return False
    return True


def find_primaries(transport: Transport, retry_for: float) -> Plan[Sequence[Node]]:
    """All nodes that serve slots, asked for anew where they may have changed: for what looks at every key.

    Raises:
        StoreUnavailableError: Nobody could tell within `retry_for` seconds.
    """
    backoff = Backoff(retry_for)
    while True:
        try:
            if transport.follows:
                yield Refresh(transport)
            return transport.primaries()
        except RefusedError as error:
            raise translate(error) from error
        except NotSentError as error:
            yield backoff.pause(error, in_doubt=False)


class _Letter:
    """A unit on its way."""

    __slots__ = ("asked", "by_hash", "in_doubt", "replies", "unit")

    def __init__(self, unit: Sendable) -> None:
        self.unit = unit
        self.by_hash = True
        self.asked: Node | None = None  # where it goes this once, because its slot is being moved there
        self.in_doubt = False
        self.replies: list[Any] | None = None  # none of them an error

    def packed(self) -> list[Piece]:
        packed = self.unit.packed(by_hash=self.by_hash)
        if self.asked is None:
            return packed
        return [piece for command in split(packed) for piece in (*_ASKING, command)]

    def expected(self) -> int:
        return self.unit.replies if self.asked is None else 2 * self.unit.replies

    def read(self, replies: list[Any]) -> list[Exception]:
        """Take the replies, if none is an error."""
        if self.asked is not None:
            replies, self.asked = replies[1::2], None
        if not any(issubclass(kind, Exception) for kind in set(map(type, replies))):
            self.replies, self.in_doubt = replies, False
            return []
        return [reply for reply in replies if isinstance(reply, Exception)]


class _Delivery:
    """Units until each has its replies.

    Attributes:
        reason: Why something has to be sent again.
        at_once: Whether that makes sense without a pause.
        stale: Whether other servers may have to be asked by now.
    """

    def __init__(
        self,
        transport: Transport,
        units: Sequence[Sendable],
        writes: bool,
        behind: Confirmation | None,
        node: Node | None,
        within: float | None = None,
    ) -> None:
        self.within = within
        self.transport = transport
        self.letters = [_Letter(unit) for unit in units]
        self.writes = writes
        self.behind = behind
        self.fixed = node
        self.reason: BaseException | None = None
        self.at_once = False
        self.stale = False

    def run(self, retry_for: float, tried: Tried) -> Plan[list[Any]]:
        """Send until all is delivered. `tried`: see `deliver`."""
        backoff = Backoff(retry_for)
        hops = 0
        letters = tuple(self.letters)
        for target, numbers, result in tried or ():
            self._read(target, [letters[i] for i in numbers], result)
        while True:
            waiting = [letter for letter in self.letters if letter.replies is None]
            if not waiting:
                return [reply for letter in self.letters for reply in letter.replies or ()]
            if self.reason is not None:
                if self.at_once and hops < _HOPS:
                    hops += 1
                else:
                    pause = backoff.pause(self.reason, in_doubt=self._in_doubt())
                    if self.transport.engine is not None:
                        yield Work(self.transport.engine.ensure)
                    yield pause
            yield from self._send(waiting)

    def _send(self, waiting: Sequence[_Letter]) -> Plan[None]:
        refresh = self.stale and self.transport.follows
        self.reason, self.at_once, self.stale = None, False, False
        try:
            if refresh:
                yield Refresh(self.transport)
            routes = self._routes(waiting)
            results = yield Pipelines(self.transport, [self._part(*route) for route in routes.items()])
        except RefusedError as error:
            raise translate(error) from error
        except NotSentError as error:  # nobody knows where to; unless that is news, wait
            is_news = not refresh and self.transport.follows and self.within is None
            self._again(error, stale=True, at_once=is_news)
            return
        for (target, letters), result in zip(routes.items(), results, strict=True):
            self._read(target, letters, result)

    def _routes(self, waiting: Iterable[_Letter]) -> Mapping[Node, list[_Letter]]:
        routes: dict[Node, list[_Letter]] = {}
        for letter in waiting:
            target = letter.asked or self.fixed or self.transport.node(letter.unit.slot)
            routes.setdefault(target, []).append(letter)
        # In one order for all: threads that hold a connection of one small pool and wait for another's never circle.
        return dict(sorted(routes.items(), key=lambda route: route[0].name))

    def _part(self, target: Node, letters: Sequence[_Letter]) -> Part:
        expected = sum([letter.expected() for letter in letters])
        behind: list[list[Piece]] = []
        if self.behind is not None:
            behind.append(self.behind.packed())
            expected += self.behind.replies
        buffers = merge(chain((letter.packed() for letter in letters), behind))
        slow = any(letter.unit.slow for letter in letters)
        return Part(target, buffers if slow else list(buffers), expected, within=self.within)

    def _read(self, target: Node, letters: Sequence[_Letter], result: Result) -> None:
        """Give each unit its replies, and see what there is to do about errors among them."""
        if isinstance(result, RefusedError | UnexpectedError):
            raise translate(result) from result
        if isinstance(result, NotSentError | BrokenError):
            for letter in letters:
                letter.asked = None
                letter.in_doubt |= isinstance(result, BrokenError)
            self._again(result, stale=True)
            return
        position = 0
        for letter in letters:
            start, position = position, position + letter.expected()
            errors = letter.read(result[start:position])
            if errors:
                self._react(target, letter, errors)
        if self.behind is not None:
            self._confirm(letters, result[position])

    def _react(self, target: Node, letter: _Letter, errors: Sequence[Exception]) -> None:
        """Send a unit elsewhere, with the sources of its scripts, or later, as the errors say."""
        elsewhere = next((error for error in errors if isinstance(error, AskError)), None)
        if not self.transport.is_cluster:
            for error in filter(is_misplaced, errors):
                raise misplaced(target) from error
        if elsewhere is not None:
            there = self.transport.at(elsewhere.host or target.name.rpartition(":")[0].strip("[]"), elsewhere.port)
            moved = isinstance(elsewhere, MovedError)
            # Where only some commands of a unit are sent after their keys, those of the others are still here: each
            # goes by itself, or all wait.
            all_gone = len(errors) == letter.unit.replies and all(isinstance(error, AskError) for error in errors)
            at_once = True
            if moved:
                self.transport.move(elsewhere.slot_id, there)
            elif all_gone:
                letter.asked = there
            elif isinstance(letter.unit, Severable):
                at = self.letters.index(letter)
                self.letters[at : at + 1] = [_Letter(unit) for unit in letter.unit.singly()]
            else:
                at_once = False
            self._again(elsewhere, stale=False, at_once=at_once)
            return
        if letter.by_hash and any(isinstance(error, NoScriptError) for error in errors):
            letter.by_hash = False
            self._again(errors[0], stale=False, at_once=True)
            return
        self._later(errors)

    def _later(self, errors: Sequence[Exception]) -> None:
        """Something is sent again if an error says so; the first error is raised otherwise."""
        for error in errors:
            if says_later(error) or (self.transport.follows and isinstance(error, ReadOnlyError)):
                self._again(error, stale=says_elsewhere(error))
                return
        raise translate(errors[0]) from errors[0]

    def _confirm(self, letters: Sequence[_Letter], reply: Any) -> None:
        delivered = [letter for letter in letters if letter.replies is not None]
        if not delivered or self.behind is None:  # nothing to confirm; what is sent again is confirmed then
            return
        if isinstance(reply, Exception):
            self._later([reply])
            for letter in delivered:
                letter.replies, letter.in_doubt = None, True
            return
        self.behind.check(reply)

    def _again(self, reason: BaseException, *, stale: bool, at_once: bool = False) -> None:
        if self.reason is None or not at_once:
            self.reason = reason
        self.at_once |= at_once
        self.stale |= stale

    def _in_doubt(self) -> bool:
        changing = (letter for letter in self.letters if not letter.unit.inert)
        return self.writes and any(letter.in_doubt or letter.replies is not None for letter in changing)


class Backoff:
    """Pauses between tries, growing and jittered, until the time is up; the clock starts at the first failure."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._give_up_at: float | None = None
        self._pause = _FIRST_PAUSE

    def pause(self, reason: BaseException, *, in_doubt: bool) -> Pause:
        """The step that waits before the next try.

        Raises:
            StoreUnavailableError: The time is up; `AmbiguousWriteError` if the outcome is `in_doubt`.
        """
        now = time.monotonic()
        first = self._give_up_at is None
        if self._give_up_at is None:
            self._give_up_at = now + self._seconds
        if now + self._pause > self._give_up_at:
            raise gave_up(reason, in_doubt=in_doubt) from reason
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311  # jitter, not a secret
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        _logger.log(logging.INFO if first else logging.DEBUG, "sent again, for %g s at most: %s", self._seconds, reason)
        return Pause(pause)
