"""How leases are taken, changed and given up, and artifacts deleted.

The content of an explicit id is known only to the server. A script that changes an artifact has to be told all keys
that it looks at, so it answers `other` where it was told the wrong content, and is asked again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from ...errors import StoreUnavailableError
from ...ids import is_default_id
from ...model import Lease
from ...plan import Plan
from ...search import Query
from ...seen import Seen
from ..base import Progress
from .batching import CHANGES, PAGE, ROUND, Pace, by_partition, pages
from .content.chunks import held, new_token, tidy
from .finding.bounded import BoundedScan, scan_of
from .finding.scanning import Index, MemberScan, ViewScan, view_of
from .finding.walking import Steps
from .layout import records
from .layout.keys import BINARY, Keys, artifact_of
from .scripts import calls
from .scripts.calls import Chunks, Hold, Name, Outcome
from .scripts.script import Call, Later
from .session import Session, heard
from .transport.errors import unexpected

_TRIES: Final = 8  # how often an artifact is asked about again because others changed it
_FINAL: Final = frozenset({"ok", "absent", "changed"})
"""What a call may answer where nothing is left to do."""

_ONE_CALL: Final = CHANGES  # artifacts of a run in a partition that go together or not at all

_FORGET: Final = 50  # runs that one script call tells of a deletion

Change = Callable[[Keys, Sequence[Name]], Call[list[Outcome]]]
Singly = Callable[[Keys, Name, Outcome], Plan[Outcome | None]]
"""Changes one artifact of which a call has said something; `None` where it is gone."""


class Leasing:
    """The operations that change leases.

    Args:
        session: The namespace.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def leases(self, ids: Sequence[str]) -> Plan[list[list[Lease]]]:
        """See `Backend.leases`."""
        found: list[list[Lease]] = []
        pace = Pace(PAGE)
        while some := ids[len(found) : len(found) + pace.next()]:
            pages = yield from self._session.read_each([self._leases(artifact_id, b"0") for artifact_id in some])
            for artifact_id, page in zip(some, pages, strict=True):
                pace.saw(1 + sum(len(lease) for _, lease in page.leases))
                leases = yield from self._leases_from(artifact_id, page)
                found.append(leases)
        return found

    def _leases(self, artifact_id: str, after: bytes) -> Call[calls.LeasePage]:
        return calls.leases(self._session.of(artifact_id), artifact_id.encode(), after, PAGE)

    def _leases_from(self, artifact_id: str, page: calls.LeasePage) -> Plan[list[Lease]]:
        """The leases of an artifact, from its first page on."""
        found, steps = {}, Steps()
        while True:
            if page.leases:
                records.decode_header(page.header, artifact_id)
            for field, lease in page.leases:
                found[field] = records.decode_lease(artifact_id, field, lease)
            if not page.after:
                return sorted(found.values(), key=lambda lease: lease.created_at)
            if steps.in_circles(page.after):
                raise ValueError("leases without end")
            page = yield from self._session.read(self._leases(artifact_id, page.after))

    def acquire(self, ids: Sequence[str], run_id: str | None, ttl_ms: int | None) -> Plan[list[bool]]:
        """See `Backend.acquire`."""

        def change(keys: Keys, names: Sequence[Name]) -> Call[list[Outcome]]:
            return calls.acquire(keys, names, run_id, ttl_ms)

        def hold(keys: Keys, name: Name, found: Outcome) -> Plan[Outcome | None]:
            def call(hold: Hold) -> Call[Outcome]:
                many = calls.acquire(keys, [name], run_id, ttl_ms, deadline=hold.deadline, hold=hold.member)
                return many.then(lambda outcomes: outcomes[0])

            return held(self._session, keys, name.content, found, ttl_ms, call)

        outcomes = yield from self._each(ids, change, {"chunked": hold})
        return [outcome.kind == "ok" for outcome in outcomes]

    def touch(self, artifact_id: str, run_id: str | None, ttl_ms: int | None) -> Plan[bool]:
        """See `Backend.touch`."""
        if is_default_id(artifact_id):  # its name tells its content: mostly the first answer is the last
            keys = self._session.of(artifact_id)
            [outcome] = yield from self._session.write(calls.touch(keys, [Name.of(artifact_id)], run_id, ttl_ms))
            if outcome.kind in _FINAL:
                return outcome.kind == "ok"
        [outcome] = yield from self._touch([artifact_id], run_id, ttl_ms)
        return outcome.kind == "ok"

    def touch_run(self, run_id: str | None, ttl_ms: int | None, *, longer: bool) -> Plan[int]:
        """See `Backend.touch_run`."""
        index: Index = (lambda keys: keys.created) if run_id is None else (lambda keys: keys.run(run_id))
        seen, scan, count = Seen(), MemberScan(self._session, index), 0
        while (members := (yield from scan.next())) is not None:
            named = [found.decode() for _, member, _ in members if (found := artifact_of(member)) is not None]
            outcomes = yield from self._touch(list(filter(seen.add, named)), run_id, ttl_ms, longer=longer)
            count += sum(outcome.kind == "ok" for outcome in outcomes)
        return count

    def _touch(
        self, ids: Sequence[str], run_id: str | None, ttl_ms: int | None, *, longer: bool = False
    ) -> Plan[list[Outcome]]:
        def change(keys: Keys, names: Sequence[Name]) -> Call[list[Outcome]]:
            return calls.touch(keys, names, run_id, ttl_ms, longer=longer)

        def hold(keys: Keys, name: Name, found: Outcome) -> Plan[Outcome | None]:
            def call(hold: Hold) -> Call[Outcome]:
                one = calls.touch(keys, [name], run_id, ttl_ms, longer=longer, deadline=hold.deadline, hold=hold.member)
                return one.then(lambda outcomes: outcomes[0])

            return held(self._session, keys, name.content, found, ttl_ms, call, complete=False)

        return self._each(ids, change, {"chunked": hold})

    def delete_where(self, query: Query, progress: Progress) -> Plan[tuple[int, int]]:
        """See `Backend.delete_where`."""
        scan = scan_of(self._session, query)
        count = size = looked_at = 0
        while (seen := (yield from heard(_seen(scan, query)))) is not None:
            ids, says = list(seen), [says for says, _ in seen.values()]
            outcomes = yield from (
                self._release(ids, query.run_id, says) if query.is_of_one else self._delete(ids, says)
            )
            for (_, one), outcome in zip(seen.values(), outcomes, strict=True):
                count, size = count + (outcome.kind == "ok"), size + one * (outcome.kind == "ok")
            looked_at += len(ids)
            if progress is not None and ids:
                progress(looked_at)
        return count, size

    def release(self, artifact_id: str, run_id: str | None) -> Plan[bool]:
        """See `Backend.release`."""
        [outcome] = yield from self._release([artifact_id], run_id)
        return outcome.kind == "ok"

    def delete(self, ids: Sequence[str]) -> Plan[list[bool]]:
        """See `Backend.delete`."""
        outcomes = yield from self._delete(ids)
        return [outcome.kind == "ok" for outcome in outcomes]

    def _delete(self, ids: Sequence[str], seen: Sequence[bytes] = ()) -> Plan[list[Outcome]]:
        def bury(keys: Keys, name: Name, _found: Outcome) -> Plan[Outcome]:
            buried = keys.buried(name.artifact, new_token())
            [outcome] = yield from self._session.write(calls.delete(keys, [name], buried))
            yield from forget(self._session, keys, name.artifact, buried)
            return outcome

        return self._each(ids, calls.delete, {"crowded": bury}, seen=seen)

    def delete_by_run(self, run_id: str) -> Plan[int]:
        """See `Backend.delete_by_run`."""
        given_up = 0
        waiting: Collection[Keys] = self._session.partitions.all
        page = max(CHANGES, ROUND // len(waiting))
        steps = Steps()
        while waiting:
            found = yield from self._session.read_of_run(run_id, b"ZRANGE", b"0", b"%d" % (page - 1))
            named: dict[Keys, list[bytes]] = {keys: some for keys, some in found if keys in waiting}
            given_up += yield from self._release_sole(named, run_id)
            waiting = {keys for keys, some in named.items() if len(some) == page}
            if steps.in_circles([some for some in named.values() if len(some) == page]):
                break  # members that name nothing of this partition: only gc removes them
        return given_up

    def _release_sole(self, named: Mapping[Keys, Sequence[bytes]], run_id: str) -> Plan[int]:
        """Give up leases, most of which are the only ones of their artifacts; how many live ones there were."""
        left: list[bytes] = []
        work: list[tuple[Keys, Sequence[bytes]]] = []
        for keys, members in named.items():
            if len(members) <= _ONE_CALL:
                left += members
                continue
            usual = [member for member in members if len(member) == BINARY]
            left += [member for member in members if len(member) != BINARY]
            work += [(keys, some) for some in pages(usual, CHANGES)]
        replies = yield from self._session.write_each([self._sole(keys, some, run_id) for keys, some in work])
        left += [some[i] for (_, some), (_, numbers) in zip(work, replies, strict=True) for i in numbers]
        ids = [found.decode() for found in map(artifact_of, left) if found is not None]
        outcomes = yield from self._release(ids, run_id)
        return sum(live for live, _ in replies) + sum(outcome.kind == "ok" for outcome in outcomes)

    def _sole(self, keys: Keys, members: Sequence[bytes], run_id: str) -> Later[tuple[int, list[int]]]:
        # The server works on one call while the next is made.
        return Later(keys.slot, 1, lambda: calls.release_sole(keys, members, run_id), calls.released)

    def _release(self, ids: Sequence[str], run_id: str | None, seen: Sequence[bytes] = ()) -> Plan[list[Outcome]]:
        return self._each(ids, lambda keys, names: calls.release(keys, names, run_id), seen=seen)

    def _each(
        self,
        ids: Sequence[str],
        change: Change,
        rarely: Mapping[str, Singly] | None = None,
        *,
        seen: Sequence[bytes] = (),
    ) -> Plan[list[Outcome]]:
        """Change artifacts of any partition; what became of each, in order.

        Args:
            ids: Which artifacts, each once.
            change: The call for some of one partition.
            rarely: By what the call may answer, the plan that changes such an artifact then.
            seen: What each lease has to say still, see `Name`.
        """
        changing = _Changing(self._session, ids, seen)
        while changing.waiting:
            work = changing.next()
            replies = yield from self._session.write_each(
                [change(keys, changing.names_of(some)) for keys, some in work]
            )
            for (keys, some), outcomes in zip(work, replies, strict=True):
                if all(outcome.kind == "later" for outcome in outcomes):
                    raise ValueError("nothing was changed, and it is told to ask later")
                for i, outcome in zip(some, outcomes, strict=True):
                    singly = rarely.get(outcome.kind) if rarely else None
                    result = outcome if singly is None else (yield from singly(keys, changing.names[i], outcome))
                    if changing.settled(i, result or Outcome("absent")):
                        yield from tidy(self._session, keys, changing.names[i].chunks)
        return [changing.final[i] for i in range(len(ids))]


class _Changing:
    """Artifacts that are being changed, by their numbers: what is known of each, and what became of it."""

    def __init__(self, session: Session, ids: Sequence[str], seen: Sequence[bytes]) -> None:
        self.names = [Name.of(artifact_id) for artifact_id in ids]
        if seen:
            self.names = [name._replace(seen=says) for name, says in zip(self.names, seen, strict=True)]
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
            self.names[i] = Name(name.artifact, outcome.other, seen=name.seen)
        elif outcome.kind == "chunked":
            self.names[i] = name._replace(chunks=Chunks(name.content, outcome.token, outcome.chunks))
        self._tries[i] -= outcome.kind != "later"
        if self._tries[i] < 0:
            raise StoreUnavailableError(f"artifact {self._ids[i]} is replaced all the time; try again")
        self.waiting.append(i)
        return False


def _seen(scan: BoundedScan | ViewScan, query: Query) -> Plan[dict[str, tuple[bytes, int]] | None]:
    """Some artifacts: what their leases say, and their sizes."""
    found = yield from scan.matches()
    if found is None:
        return None
    views = [(view_of(match), match.lease[records.DEADLINE :]) for match in found]
    return {view.artifact_id: (says, view.size_bytes) for view, says in views if query.matches(view)}


def forget(session: Session, keys: Keys, artifact_id: bytes, buried: bytes) -> Plan[None]:
    """Tell the runs' indexes of leases that ended with their artifact."""
    left = math.inf
    while left:
        before, left = left, (yield from session.write(calls.forget(keys, artifact_id, buried, _FORGET)))
        if not 0 <= left < before:
            raise StoreUnavailableError(unexpected(ValueError(f"{left} leases are left of {before}")))
