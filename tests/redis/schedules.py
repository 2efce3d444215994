"""Every order of the single commands of concurrent plans, with a crash after every command, on a real server.

The commands of one exchange go to several nodes in Redis Cluster: each is an action of its own here, and those of
different slots come in any order. A crash abandons a plan between two actions, whether they are of one exchange or not.

Two reductions keep that feasible; both leave out only what has the same end as something that is explored.

- Orders that lead to the same state have the same future: what was explored from a state once is not explored again.
  A state is everything on the server and every reply that each plan has had (plans are functions of their replies).
  Tokens and deadlines count by their order, which is all that scripts look at.
- An action on keys that no other plan ever uses, or that nobody writes, is private: it commutes with everything the
  others do. Where there is one it is taken at once, and the others' actions only after it (a persistent set of one
  action). A plan that is to crash may have done any part of an exchange: only if all its waiting actions are private
  the others wait, and then each of them and the crash are tried. Which keys plans use is learned on the way; where that
  turns out to be more than was assumed, all begins anew. Commands use the keys that they name and no others, see
  `test_split_slots.py`. The catalog is told apart by artifact and run: adding and removing different members of a
  sorted set commutes.

So private actions come as early as they can, and whether X ended before Y began is told by the first action of Y that is
not private: all of X came before it, or could have.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any, NamedTuple, Protocol

from redis.crc import key_slot

from coatcheck import Artifact
from coatcheck.backends.redis.link import Exchange
from coatcheck.backends.redis.scripts import Script
from coatcheck.backends.redis.split import scripts
from coatcheck.backends.redis.split.claims import Claim

READ_ONLY = {b"GET", b"STRLEN", b"EXISTS", b"ZRANGE", b"ZSCAN", b"ZSCORE", b"HGET", b"TYPE", b"PTTL"}
EVERYTHING = b"*"


def split_commands(buffers: list[bytes]) -> list[list[bytes]]:
    """The commands in what a plan sends."""
    data, at, commands = b"".join(buffers), 0, []

    def line() -> int:
        nonlocal at
        end = data.index(b"\r\n", at)
        number = int(data[at + 1 : end])
        at = end + 2
        return number

    while at < len(data):
        arguments = []
        for _ in range(line()):
            length = line()
            arguments.append(data[at : at + length])
            at += length + 2
        commands.append(arguments)
    return commands


def keys_of(command: list[bytes]) -> list[bytes]:
    """The keys that a command names."""
    if command[0] in (b"EVALSHA", b"EVAL"):
        return command[3 : 3 + int(command[2])]
    return [] if command[0] == b"SCAN" else command[1:2]


def is_call(command: list[bytes], *wanted: Script) -> bool:
    return command[0] == b"EVALSHA" and command[1] in {script.head(by_hash=True)[1] for script in wanted}


def resources(command: list[bytes]) -> dict[object, bool]:
    """What a command touches, and whether it may write that."""
    if command[0] == b"SCAN":
        return {EVERYTHING: False}
    if is_call(command, scripts.CLAIM_CATALOG, scripts.UNCLAIM_CATALOG):
        claims = filter(None, map(Claim.parse, command[5:]))
        return {(command[3], claim.artifact_id, claim.field): True for claim in claims}
    reads = command[0] in READ_ONLY or is_call(command, scripts.LOOK)
    touched: dict[object, bool] = {key: not reads for key in keys_of(command)}
    return touched


class Action(NamedTuple):
    """One command of a plan, or (`index` -1) its crash."""

    plan: str
    index: int
    touches: dict[object, bool]


def conflict(mine: dict[object, bool], theirs: dict[object, bool]) -> bool:
    """Whether two actions that touch these may not commute."""
    for thing, writes in mine.items():
        for other, other_writes in theirs.items():
            same = thing == other or EVERYTHING in (thing, other)
            # A whole shard of the catalog, and a claim in it.
            same = same or (isinstance(thing, tuple) and thing[0] == other)
            same = same or (isinstance(other, tuple) and other[0] == thing)
            if same and (writes or other_writes):
                return True
    return False


@dataclass
class Outcome:
    """What happened in one schedule: results by plan, who crashed, and the actions in their order."""

    results: dict[str, Any] = field(default_factory=dict)
    crashed: str | None = None
    actions: list[Action] = field(default_factory=list)
    earlier: dict[str, list[str]] = field(default_factory=dict)
    """Which plans had ended when a plan began."""

    def before(self, first: str, second: str) -> bool:
        """Whether the first plan ended before the second began."""
        return first in self.earlier[second]


class Running:
    """A plan on its way: commands of the exchange it waits for, and all replies so far."""

    current: str = ""  # whose step is being made, for what plans draw at random

    def __init__(self, name: str, plan: Any, outcome: Outcome) -> None:
        self.name, self.plan, self.outcome = name, plan, outcome
        self.waiting: dict[int, list[bytes]] = {}
        self.history: list[Any] = []
        self._advance(None)

    def actions(self) -> list[Action]:
        """The commands that may come next: of each slot the first, since a slot has one node and that one connection."""
        nodes: dict[int, Action] = {}
        for i, command in self.waiting.items():
            slot = min(map(key_slot, keys_of(command)), default=-1)
            nodes.setdefault(slot, Action(self.name, i, resources(command)))
        return list(nodes.values())

    def do(self, index: int, reply: Any = None) -> Any:
        """Send one command, or take its reply from an earlier time."""
        command = self.waiting.pop(index)
        if reply is None:
            [reply] = self.link.exchange([pack(command)], 1)
            assert not isinstance(reply, Exception), reply
            reply = [reply]
        [self.replies[index]] = reply
        if not self.waiting:
            self._advance(self.replies)
        return reply

    def remembered(self) -> list[Any]:
        """The replies that it may still act on. Only what sets a deadline acts on the time at which it read."""
        if self.name.startswith(("store", "replace", "touch")):
            return self.history
        return [
            [reply[1:] if isinstance(reply, list) and len(reply) > 3 and isinstance(reply[0], int) else reply]
            for replies in self.history
            for reply in replies
        ]

    def _advance(self, reply: Any) -> None:
        Running.current = self.name
        try:
            step = self.plan.send(reply)
            while not isinstance(step, Exchange):
                step = self.plan.send(step.run())
        except StopIteration as end:
            self.outcome.results[self.name] = end.value
            return
        self.link = step.link
        self.waiting = dict(enumerate(split_commands(step.buffers)))
        self.replies: list[Any] = [None] * len(self.waiting)
        self.history.append(self.replies)


def pack(command: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in command)


class Usage:
    """Which plans use what, as far as that is known."""

    def __init__(self) -> None:
        self._touched: dict[str, dict[object, bool]] = {}
        self.has_grown = False
        self.states = self.steps = 0  # of the latest exploration

    def note(self, actions: list[Action]) -> None:
        for action in actions:
            known = self._touched.setdefault(action.plan, {})
            for thing, writes in action.touches.items():
                if thing not in known or (writes and not known[thing]):
                    known[thing] = writes
                    self.has_grown = True

    def first(self, actions: list[Action], fragile: str | None) -> list[Action]:
        """What is enough to go on with. A plan that may crash can do so after any part of an exchange."""
        for action in actions:
            if action.plan != fragile and self.is_private(action):
                return [action]
        own = [action for action in actions if action.plan == fragile]
        return own if own and all(map(self.is_private, own)) else actions

    def is_private(self, action: Action) -> bool:
        others = (touched for plan, touched in self._touched.items() if plan != action.plan)
        return not any(conflict(action.touches, touched) for touched in others)


Choice = tuple[str, int]


class Schedule:
    """One way through some plans, from the initial state on."""

    def __init__(self, plans: dict[str, Any], usage: Usage) -> None:
        self.outcome = Outcome()
        self.running = {name: Running(name, plan, self.outcome) for name, plan in plans.items()}
        self.path: list[tuple[Choice, Any]] = []
        self._usage = usage

    def enabled(self) -> list[Action]:
        return [action for plan in self.running.values() for action in plan.actions()]

    def do(self, choice: Choice, reply: Any = None) -> None:
        """Go on by one action; `reply`: what it had when it was done before."""
        name, index = choice
        plan, outcome = self.running[name], self.outcome
        if index < 0:
            outcome.actions.append(Action(name, index, {}))
            outcome.crashed = name
            self.running.pop(name).plan.close()
            self.path.append((choice, None))
            return
        action = Action(name, index, resources(plan.waiting[index]))
        if name not in outcome.earlier and not self._usage.is_private(action):
            outcome.earlier[name] = sorted(outcome.results)
        outcome.actions.append(action)
        self.path.append((choice, plan.do(index, reply)))

    def may_crash(self, victim: str | None) -> str | None:
        """The victim, if it has not crashed yet."""
        return victim if self.outcome.crashed is None else None

    def has_begun(self, name: str) -> bool:
        return any(action.plan == name for action in self.outcome.actions)

    def state(self, everything: Any) -> bytes:
        """Everything that the future and its judgement depend on, times by their order only."""
        outcome = self.outcome
        histories = [[name, plan.remembered()] for name, plan in self.running.items() if plan.waiting]
        results = [[name, told(result)] for name, result in sorted(outcome.results.items())]
        known = [sorted(everything), histories, results, outcome.crashed, sorted(outcome.earlier.items())]
        return hashlib.sha256(canonical(known)).digest()


def told(result: Any) -> Any:
    """What a judge may look at."""
    if isinstance(result, Artifact):
        return [result.content, result.metadata.run_id]
    return result if result is None or isinstance(result, int) else type(result).__name__


def canonical(value: Any) -> bytes:
    """A nested value as bytes, with times replaced by their rank in every form that they are written in."""
    pieces: list[bytes] = []

    def collect(part: Any) -> None:
        if isinstance(part, list | tuple):
            pieces.append(b"[")
            for element in part:
                collect(element)
            pieces.append(b"]")
        else:
            pieces.append(part if isinstance(part, bytes) else str(part).encode())

    collect(value)
    raw = b"|".join(pieces)
    tokens = {int(found) for found in re.findall(rb"(?<![0-9])1[0-9]{15}(?![0-9])", raw)}
    tokens |= {int(found, 16) for found in re.findall(rb":([0-9a-f]{14}):", raw)}
    # In a lease the token comes behind the deadline, which is for ever or in this era.
    found = re.findall(rb"(?:\xff{6}|\x01.{5})(\x06.{6})", raw, re.DOTALL)
    tokens |= {int.from_bytes(token) for token in found}
    for rank, token in enumerate(sorted(tokens)):
        for written in (b"%d" % token, b"%014x" % token, token.to_bytes(7)):
            raw = raw.replace(written, b"<token %d>" % rank)
    deadlines = {int(found) for found in re.findall(rb"(?<![0-9])1[0-9]{12}(?![0-9])", raw)}
    for rank, deadline in enumerate(sorted(deadlines)):
        for written in (b"%d" % deadline, deadline.to_bytes(6)):
            raw = raw.replace(written, b"<deadline %d>" % rank)
    return raw


class Place(Protocol):
    """Where schedules take place."""

    def begin(self) -> None:
        """Make the initial state."""

    def plans(self) -> dict[str, Any]:
        """New plans, the same ones each time."""

    def look(self) -> tuple[Any, Any]:
        """Everything on the server: to be compared, and to be restored."""

    def restore(self, saved: Any) -> None:
        """Bring back what `look` saw."""


def schedules(place: Place, usage: Usage, *, victim: str | None = None, every_order: bool = False) -> Iterator[Outcome]:
    """Schedules, at least one for each end that there is; the server is in its last state when it is yielded.

    Args:
        place: The initial state, the plans and the server.
        usage: What is known of the plans; grows.
        victim: The plan that crashes, in every way it can; else none does.
        every_order: No reductions.
    """
    known: set[bytes] = set()
    place.begin()
    start = ([], place.look()[1], None)
    pending: list[tuple[list[tuple[Choice, Any]], Any, Choice | None]] = [start]
    for order in permutations(place.plans()):  # a first idea of what is used
        place.restore(start[1])
        schedule = Schedule(place.plans(), usage)
        for name in order:
            while actions := schedule.running[name].actions():
                usage.note(actions)
                schedule.do((name, actions[0].index))
    usage.has_grown = False
    usage.states = usage.steps = 0
    while pending:
        path, saved, choice = pending.pop()
        schedule = Schedule(place.plans(), usage)
        for done, reply in path:
            schedule.do(done, reply)
        place.restore(saved)
        if choice is not None:
            usage.steps += 1
            schedule.do(choice)
        while True:
            actions = schedule.enabled()
            usage.note(actions)
            if usage.has_grown and not every_order:  # less is private than was assumed: begin anew
                usage.has_grown, pending = False, [start]
                known.clear()
                break
            first = actions if every_order else usage.first(actions, schedule.may_crash(victim))
            choices = [(action.plan, action.index) for action in first]
            if (
                victim in {action.plan for action in first}
                and schedule.may_crash(victim)
                and schedule.has_begun(victim)
            ):
                choices.append((str(victim), -1))
            if len(choices) != 1:
                everything, saved = place.look()
                state = schedule.state(everything)
                if state in known and not every_order:
                    break
                known.add(state)
                usage.states = len(known)
            if not actions:
                if schedule.outcome.crashed == victim:
                    yield schedule.outcome
                break
            pending += [(list(schedule.path), saved, other) for other in choices[1:]]
            usage.steps += 1
            schedule.do(choices[0])
        for plan in schedule.running.values():
            plan.plan.close()
