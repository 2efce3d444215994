"""How leases are taken, changed and given up, and artifacts deleted.

The content of an explicit id is known only to the server. A script that changes an artifact has to be told all keys
that it looks at, so it answers `other` where it was told the wrong content, and is asked again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ...errors import StoreUnavailableError
from ...ids import is_default_id
from ...model import Lease
from ...plan import Plan
from .batching import CHANGES, PAGE, ROUND, by_partition, pages
from .chunks import held, new_token, tidy
from .layout import records
from .layout.keys import Keys, artifact_of
from .scripts import calls
from .scripts.calls import Chunks, Hold, Name, Outcome
from .scripts.script import Call, Command
from .session import Session
from .transport.errors import unexpected
from .walking import Steps

_TRIES: Final = 8  # how often an artifact is asked about again because others changed it
_FINAL: Final = frozenset({"ok", "absent"})
"""What a call may answer where nothing is left to do."""

_FORGET: Final = 50  # runs that one script call tells of a deletion

Change = Callable[[Keys, Sequence[Name]], Call[list[Outcome]]]
Singly = Callable[[Keys, Name], Plan[Outcome | None]]
"""Changes one artifact; `None` where it is gone."""


class Leasing:
    """The operations that change leases.

    Args:
        session: The namespace.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def leases(self, artifact_id: str) -> Plan[list[Lease]]:
        """See `Backend.leases`."""
        keys, found, after, steps = self._session.of(artifact_id), {}, b"0", Steps()
        while True:
            page = yield from self._session.read(calls.leases(keys, artifact_id.encode(), after, PAGE))
            if page.leases:
                records.decode_header(page.header, artifact_id)
            for field, lease in page.leases:
                found[field] = records.decode_lease(artifact_id, field, lease)
            if not page.after:
                return sorted(found.values(), key=lambda lease: lease.created_at)
            if steps.in_circles(page.after):
                raise ValueError("leases without end")
            after = page.after

    def acquire(self, ids: Sequence[str], run_id: str | None, ttl_ms: int | None) -> Plan[list[bool]]:
        """See `Backend.acquire`."""

        def change(keys: Keys, names: Sequence[Name]) -> Call[list[Outcome]]:
            return calls.acquire(keys, names, run_id, ttl_ms)

        def hold(keys: Keys, name: Name) -> Plan[Outcome | None]:
            def call(hold: Hold) -> Call[Outcome]:
                many = calls.acquire(keys, [name], run_id, ttl_ms, deadline=hold.deadline, hold=hold.member)
                return many.then(lambda outcomes: outcomes[0])

            return held(self._session, keys, name.content, ttl_ms, call)

        outcomes = yield from self._each(ids, change, {"chunked": hold})
        return [outcome.kind == "ok" for outcome in outcomes]

    def touch(self, artifact_id: str, run_id: str | None, ttl_ms: int | None) -> Plan[bool]:
        """See `Backend.touch`."""

        def change(keys: Keys, names: Sequence[Name]) -> Call[list[Outcome]]:
            return calls.touch(keys, names[0], run_id, ttl_ms).then(lambda outcome: [outcome])

        def hold(keys: Keys, name: Name) -> Plan[Outcome | None]:
            def call(hold: Hold) -> Call[Outcome]:
                return calls.touch(keys, name, run_id, ttl_ms, deadline=hold.deadline, hold=hold.member)

            return held(self._session, keys, name.content, ttl_ms, call, complete=False)

        if is_default_id(artifact_id):  # its name tells its content: mostly the first answer is the last
            keys = self._session.of(artifact_id)
            name = Name.of(artifact_id)
            outcome = yield from self._session.write(calls.touch(keys, name, run_id, ttl_ms))
            if outcome.kind == "chunked":
                outcome = (yield from hold(keys, name)) or Outcome("absent")
            if outcome.kind in _FINAL:
                return outcome.kind == "ok"
        [outcome] = yield from self._each([artifact_id], change, {"chunked": hold})
        return outcome.kind == "ok"

    def release(self, artifact_id: str, run_id: str | None) -> Plan[bool]:
        """See `Backend.release`."""
        [outcome] = yield from self._release([artifact_id], run_id)
        return outcome.kind == "ok"

    def delete(self, ids: Sequence[str]) -> Plan[list[bool]]:
        """See `Backend.delete`."""

        def bury(keys: Keys, name: Name) -> Plan[Outcome]:
            buried = keys.buried(name.artifact, new_token())
            [outcome] = yield from self._session.write(calls.delete(keys, [name], buried))
            yield from forget(self._session, keys, name.artifact, buried)
            return outcome

        outcomes = yield from self._each(ids, calls.delete, {"crowded": bury})
        return [outcome.kind == "ok" for outcome in outcomes]

    def delete_by_run(self, run_id: str) -> Plan[int]:
        """See `Backend.delete_by_run`."""
        given_up = 0
        waiting: Sequence[Keys] = self._session.partitions.all
        page = max(CHANGES, ROUND // len(waiting))
        steps = Steps()
        while waiting:
            names = yield from self._session.read_each(
                [
                    Command(keys.slot, (b"ZRANGE", keys.run(run_id), b"0", b"%d" % (page - 1)), list[bytes])
                    for keys in waiting
                ]
            )
            ids = [found.decode() for some in names for found in map(artifact_of, some) if found is not None]
            outcomes = yield from self._release(ids, run_id)
            given_up += sum(outcome.kind == "ok" for outcome in outcomes)
            waiting = [keys for keys, some in zip(waiting, names, strict=True) if len(some) == page]
            if steps.in_circles([some for some in names if len(some) == page]):
                break  # members that name nothing of this partition: only gc removes them
        return given_up

    def _release(self, ids: Sequence[str], run_id: str | None) -> Plan[list[Outcome]]:
        return self._each(ids, lambda keys, names: calls.release(keys, names, run_id))

    def _each(
        self, ids: Sequence[str], change: Change, rarely: Mapping[str, Singly] | None = None
    ) -> Plan[list[Outcome]]:
        """Change artifacts of any partition; what became of each, in order.

        Args:
            ids: Which artifacts, each once.
            change: The call for some of one partition.
            rarely: By what the call may answer, the plan that changes such an artifact then.
        """
        changing = _Changing(self._session, ids)
        while changing.waiting:
            work = changing.next()
            replies = yield from self._session.write_each(
                [change(keys, changing.names_of(page)) for keys, page in work]
            )
            for (keys, page), outcomes in zip(work, replies, strict=True):
                if outcomes[0].kind == "later":
                    raise ValueError("nothing was changed, and it is told to ask later")
                for i, outcome in zip(page, outcomes, strict=True):
                    singly = rarely.get(outcome.kind) if rarely else None
                    result = outcome if singly is None else (yield from singly(keys, changing.names[i]))
                    if changing.settled(i, result or Outcome("absent")):
                        yield from tidy(self._session, keys, changing.names[i].chunks)
        return [changing.final[i] for i in range(len(ids))]


class _Changing:
    """Artifacts that are being changed, by their numbers: what is known of each, and what became of it."""

    def __init__(self, session: Session, ids: Sequence[str]) -> None:
        self.names = [Name.of(artifact_id) for artifact_id in ids]
        self.final: dict[int, Outcome] = {}
        self.waiting = list(range(len(ids)))
        self._ids = ids
        self._places = [session.of(artifact_id) for artifact_id in ids]
        self._tries = [_TRIES] * len(ids)

    def next(self) -> list[tuple[Keys, Sequence[int]]]:
        """What goes into the next round trip, call by call."""
        now, self.waiting = self.waiting[:ROUND], self.waiting[ROUND:]
        return [
            (keys, [now[i] for i in page])
            for keys, numbers in by_partition(self._places[i] for i in now).items()
            for page in pages(numbers, CHANGES)
        ]

    def names_of(self, page: Sequence[int]) -> list[Name]:
        """What is known of some."""
        return [self.names[i] for i in page]

    def settled(self, i: int, outcome: Outcome) -> bool:
        """Take an answer; whether it is final, or the artifact has to be asked about again.

        Raises:
            StoreUnavailableError: It was, again and again.
        """
        name = self.names[i]
        if outcome.kind in _FINAL:
            self.final[i] = outcome
            return True
        if outcome.kind == "other":
            self.names[i] = Name(name.artifact, outcome.other)
        elif outcome.kind == "chunked":
            self.names[i] = name._replace(chunks=Chunks(name.content, outcome.token, outcome.chunks))
        self._tries[i] -= outcome.kind != "later"
        if self._tries[i] < 0:
            raise StoreUnavailableError(f"artifact {self._ids[i]} is replaced all the time; try again")
        self.waiting.append(i)
        return False


def forget(session: Session, keys: Keys, artifact_id: bytes, buried: bytes) -> Plan[None]:
    """Tell the runs' indexes of leases that ended with their artifact."""
    left = math.inf
    while left:
        before, left = left, (yield from session.write(calls.forget(keys, artifact_id, buried, _FORGET)))
        if not 0 <= left < before:
            raise StoreUnavailableError(unexpected(ValueError(f"{left} leases are left of {before}")))
