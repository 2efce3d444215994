"""The way of tickets from producers to consumers: a Redis list, and one more for each consumer.

A consumer moves a ticket to its own list while it works on it. Those of a dead consumer are moved back for the others,
so each is seen at least once.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from coatcheck.cli.files import LocalFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

_END: Final = b"end"
_COUNTS: Final = ["ready", "produced", "resolved", "bytes"]
_WAIT: Final = 0.2  # seconds that one blocking call to the server lasts
_CLAIM_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """What travels: the ticket, and what the producer knows of the file on its disk."""

    ticket: dict[str, str]
    name: str
    size: int
    sha256: str


class Tickets:
    """The queue, and what its users tell each other beside it.

    Args:
        url: The server, as redis-py spells it.
        token: Tells one demonstration's keys from another's.
        claim: Tickets that a consumer takes at a time.
    """

    def __init__(self, url: str, token: str, claim: int) -> None:
        # Never repeated: an INCR whose reply was lost would count twice.
        self.client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0))
        self._claim = claim
        self.prefix = f"coatcheck-demo:{{{token}}}:"
        self._waiting = self.prefix + "waiting"
        self._counts = self.prefix + "counts"
        self._gate = self.prefix + "gate"
        self._problems = self.prefix + "problems"

    def _held(self, consumer: str) -> str:
        return f"{self.prefix}held:{consumer}"

    def _part(self, producer: str) -> str:
        return f"{self.prefix}part:{producer}"

    # Producers and consumers ------------------------------------------------------------------------------------

    def ready(self) -> None:
        """Tell the parent that a process is at work."""
        self.client.hincrby(self._counts, "ready", 1)

    def part(self, producer: str) -> list[LocalFile]:
        """What a producer is to hand in."""
        entries = json.loads(cast("bytes", self.client.getdel(self._part(producer))))
        return [LocalFile(Path(path), name, size) for path, name, size in entries]

    def put(self, messages: Sequence[Message]) -> None:
        """Queue tickets."""
        with self.client.pipeline() as pipe:
            pipe.rpush(self._waiting, *(json.dumps(asdict(message)) for message in messages))
            pipe.hincrby(self._counts, "produced", len(messages))
            pipe.execute()

    def claim(self, consumer: str) -> list[Message] | None:
        """Take some tickets; none if there are none at the moment, `None` if there will be no more."""
        taken: list[Message] = []
        while len(taken) < self._claim and sum(message.size for message in taken) < _CLAIM_BYTES:
            route = (self._waiting, self._held(consumer))
            raw = self.client.lmove(*route) if taken else self.client.blmove(*route, timeout=_WAIT)  # type: ignore[arg-type]  # fractions are allowed
            if raw == _END and not taken:
                self.client.delete(self._held(consumer))
                return None
            if raw == _END:
                self._give_back_last(consumer)
                break
            if raw is None:
                break
            taken.append(Message(**json.loads(cast("bytes", raw))))
        return taken

    def _give_back_last(self, consumer: str) -> None:
        self.client.lmove(self._held(consumer), self._waiting, "RIGHT", "RIGHT")

    def done(self, consumer: str, messages: Sequence[Message]) -> None:
        """Acknowledge everything that a consumer holds."""
        with self.client.pipeline() as pipe:
            pipe.delete(self._held(consumer))
            pipe.hincrby(self._counts, "resolved", len(messages))
            pipe.hincrby(self._counts, "bytes", sum(message.size for message in messages))
            pipe.execute()

    def pass_gate(self, consumer: str, wanted: int, proceed: Callable[[], bool]) -> None:
        """Wait while the gate is closed and `wanted` more acknowledged tickets would be more than it lets through."""
        while proceed():
            limit = self.client.hget(self._gate, "limit")
            if limit is None or self.counts()["resolved"] + wanted <= int(cast("bytes", limit)):
                return
            self.client.hset(self._gate, consumer, "waits")
            time.sleep(0.01)

    def report(self, problem: str) -> None:
        """Tell the parent what went wrong."""
        self.client.rpush(self._problems, problem)

    # The parent -------------------------------------------------------------------------------------------------

    def assign(self, producer: str, files: Sequence[LocalFile]) -> None:
        """Tell a producer what to hand in. Not as an argument: it may be more than the pipe to a new process holds."""
        entries = [(str(file.path), file.name, file.size) for file in files]
        self.client.set(self._part(producer), json.dumps(entries))

    def close_gate(self, limit: int) -> None:
        """Let no more than `limit` tickets be acknowledged, until the gate is opened."""
        self.client.hset(self._gate, "limit", limit)

    def open_gate(self) -> None:
        """Let all tickets through."""
        self.client.delete(self._gate)

    def waits_at_gate(self, consumer: str) -> bool:
        """Whether a consumer stands at the closed gate."""
        return bool(self.client.hexists(self._gate, consumer))

    def counts(self) -> dict[str, int]:
        """Processes `ready`, tickets `produced` and `resolved`, and the `bytes` resolved."""
        found = cast("list[bytes | None]", self.client.hmget(self._counts, _COUNTS))
        return dict(zip(_COUNTS, (int(value or 0) for value in found), strict=True))

    def problems(self) -> list[str]:
        """What was reported."""
        return [problem.decode() for problem in cast("list[bytes]", self.client.lrange(self._problems, 0, -1))]

    def take_back(self, consumer: str) -> int:
        """Queue the tickets of a dead consumer again, first of all; how many there were."""
        count = 0
        while self.client.lmove(self._held(consumer), self._waiting, "RIGHT", "LEFT") is not None:
            count += 1
        return count

    def end(self, consumers: Collection[str]) -> None:
        """Tell consumers that there will be no more tickets."""
        self.client.rpush(self._waiting, *(_END for _ in consumers))

    def remove(self, consumers: Collection[str]) -> None:
        """Delete every key of the queue."""
        keys = (self._waiting, self._counts, self._gate, self._problems, *map(self._held, consumers))
        self.client.delete(*keys)

    def close(self) -> None:
        """Give back connections."""
        self.client.close()
