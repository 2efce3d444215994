"""Indexes read to their end: each call of ZSCAN goes on where the one before stopped, in every partition at once.

A script looks at the first page of each, and filters what it returns. An index that is longer is read on by plain
commands, which cost a server half of that: ZSCAN says the members, a command for each what its artifact is, and what
is wanted is told here. While one pipeline is read, the server works on the next.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Final, TypeVar

from ....model import ArtifactMetadata
from ....plan import Plan
from ....search import Query
from ...base import Listing
from ..batching import BATCH_BYTES, PAGE, ROUND, ask_about, cut
from ..layout import records
from ..layout.keys import Keys, listed
from ..scripts import calls
from ..scripts.script import Command, Unit
from ..session import Session, heard
from ..transport.overlapping import overlapped
from .labelled import Source, sources
from .looking import Looking, Looks
from .walking import START, Cursor

T = TypeVar("T")

LEAST: Final = 100
"""Members that a partition is asked for at least."""

_RESTARTS: Final = 1000  # where connections are made all the time, that is the reason why servers seem to change

Found = tuple[Keys, calls.Match]
"""What a scan found, and where."""

Index = Callable[[Keys], bytes]
"""Which index of a partition."""


class Scan(Listing[T]):
    """All that an index says in every partition.

    ZSCAN returns what is there all the time, if it is one server that answers: where another one took over, or a slot
    was moved, that partition is begun anew.

    Args:
        session: The namespace.
        index: Which index; `None`: `_read` says it later.
    """

    def __init__(self, session: Session, index: Index | None) -> None:
        self._session = session
        self._waiting: list[tuple[Source, Cursor, object]] = []
        self._behind: Sequence[Source] = ()
        self._restarts = 0
        self._named: deque[tuple[Keys, list[Any]]] = deque()  # members that nobody has looked at yet
        self._asking = 0  # calls of ZSCAN under way
        self._looking: Looks | None = None
        if index is not None:
            self._read([Source(keys, index(keys)) for keys in session.partitions.all])

    def _read(self, first: Sequence[Source], behind: Sequence[Source] = ()) -> None:
        """Read these indexes, then those behind them."""
        self._waiting = [(source, Cursor(), None) for source in first]
        self._behind = behind

    @abstractmethod
    def _question(self, source: Source, cursor: bytes, count: int, budget: int) -> Unit[tuple[bytes, Sequence[Any]]]:
        """Asks for some members of an index from a cursor on; the next cursor, and what was found."""

    def next(self) -> Plan[Sequence[T] | None]:
        return heard(self._next())

    def _next(self) -> Plan[Sequence[T] | None]:
        if self._ended:
            return None
        found = yield from self._some()
        return [item for _, items in found for item in items]

    @property
    def _ended(self) -> bool:
        return not (self._waiting or self._named)

    def _taken(self, keys: Keys, found: Sequence[Any]) -> Sequence[Any]:  # noqa: ARG002
        """What becomes of what was found by plain commands."""
        return found

    def _some(self, most: int | None = None) -> Plan[list[tuple[Keys, Sequence[Any]]]]:
        """What each partition that is left says next, about a page or `most` members together."""
        found: list[tuple[Keys, Sequence[Any]]] = []
        looking = self._looking
        plainly = looking is not None and looking.pays and all(cursor.at != START for _, cursor, _ in self._waiting)
        if looking is not None and (plainly or self._named):
            yield from overlapped(self._read_plainly(looking, found))
        else:
            waiting, self._waiting = self._waiting, []
            count, budget = max(LEAST, (PAGE if most is None else most) // len(waiting)), BATCH_BYTES // len(waiting)
            replies = yield from self._session.read_each(
                [self._question(source, cursor.at, count, budget) for source, cursor, _ in waiting]
            )
            for (source, cursor, answered), (following, items) in zip(waiting, replies, strict=True):
                self._move(source, cursor, answered, following)
                found.append((source.keys, items))
        if self._ended:
            self._read(self._behind)
        return found

    def _move(self, source: Source, cursor: Cursor, answered: object, following: bytes) -> None:
        """Note where an index goes on."""
        who = self._session.transport.incarnation(source.keys.slot)
        if cursor.at != START and who != answered and self._restarts < _RESTARTS:
            self._restarts += 1
            cursor, following = Cursor(), START
        else:
            cursor.move(following)
        if not cursor.ended:
            self._waiting.append((source, cursor, who))

    def _read_plainly(self, looking: Looks, found: list[Any]) -> Iterator[Plan[Any]]:
        """Pipelines that ask for members of the indexes, and what those are that came before: a round of them."""

        def taking(keys: Keys) -> Callable[[Sequence[Any]], None]:
            return lambda matches: found.append((keys, self._taken(keys, matches)))

        looked_at, enough = 0, looking.bytes + BATCH_BYTES
        while looked_at < ROUND and looking.bytes < enough:
            units: list[Unit[Any]] = []
            room = looking.pace.next()
            while room > 0 and self._named:
                keys, members = self._named.popleft()
                if len(members) > room:
                    self._named.appendleft((keys, members[room:]))
                    members = members[:room]
                units += looking.at(keys, members, taking(keys))
                room -= len(members)
                looked_at += len(members)
            if looking.pays and sum(len(members) for _, members in self._named) < PAGE:
                units += self._asks_for_members(looking)
            if not units and not self._asking:
                return
            yield self._session.read_each(units)  # nothing, where all that is known is being looked at

    def _asks_for_members(self, looking: Looks) -> list[Unit[Any]]:
        waiting, self._waiting = self._waiting, []
        count = max(LEAST, 2 * PAGE // max(1, len(waiting)))
        self._asking += len(waiting)

        def ask(source: Source, cursor: Cursor, answered: object) -> Unit[None]:
            def decode(reply: Any) -> None:
                following, members = reply
                self._asking -= 1
                self._move(source, cursor, answered, following)
                self._named.append((source.keys, looking.names(members)))

            return Command(source.keys.slot, (b"ZSCAN", source.key, cursor.at, b"COUNT", b"%d" % count), decode)

        return [ask(*one) for one in waiting]


class MemberScan(Scan[tuple[Keys, bytes, float]]):
    """Members with their scores, and where they lie."""

    def _question(self, source: Source, cursor: bytes, count: int, budget: int) -> Unit[tuple[bytes, Sequence[Any]]]:  # noqa: ARG002  # members are short
        keys = source.keys

        def decode(reply: Any) -> tuple[bytes, Sequence[Any]]:
            following, members = reply
            return following, [(keys, *one) for one in records.scored(members)]

        return Command(keys.slot, (b"ZSCAN", source.key, cursor, b"COUNT", b"%d" % count), decode)


class ViewScan(Scan[ArtifactMetadata]):
    """Views that a query wants, of all artifacts or of a run's.

    Args:
        session: The namespace.
        query: Which views.
    """

    def __init__(self, session: Session, query: Query) -> None:
        super().__init__(session, None)
        self._query = query
        by_store = query.run_id is None
        self._sought = calls.Sought.of(query, by_store=by_store, movable=session.transport.is_cluster)
        self._begun = False
        self._looking = Looking(query, self._sought)

    def _question(self, source: Source, cursor: bytes, count: int, budget: int) -> Unit[tuple[bytes, Sequence[Any]]]:
        call = calls.scan(*source, self._sought, b"*", cursor, look=count, most=0, budget=budget)
        return call.then(lambda scanned: (scanned.cursor, scanned.matches))

    def _next(self) -> Plan[Sequence[ArtifactMetadata] | None]:
        found = yield from self.matches()
        return None if found is None else views_of(found, self._query)

    def begin(self, first: Sequence[Source], behind: Sequence[Source] = ()) -> None:
        """Read these indexes, then those behind them, whatever was begun."""
        self._begun = True
        self._read(first, behind)

    @property
    def ended(self) -> bool:
        """Whether nothing is left of what was begun."""
        return self._ended

    def matches(self, most: int | None = None) -> Plan[Sequence[calls.Match] | None]:
        """The same as it is stored. `most`: about so many."""
        if not self._begun:
            run_id = self._query.run_id
            if run_id is not None and len(self._session.partitions.all) > 1:
                # A run has artifacts in few of many partitions: scripts only look there.
                counts = yield from self._session.read_of_run(run_id, b"ZCOUNT", b"-inf", b"+inf")
                self.begin([Source(keys, keys.run(run_id)) for keys, _ in counts])
            else:
                found = yield from sources(self._session, self._query, "created")
                self.begin(found.first, found.mixed)
        if self._ended:
            return None
        matches = [(keys, match) for keys, some in (yield from self._some(most)) for match in some]
        return [match for _, match in (yield from completed(self._session, self._query, matches))]


def looked_at(session: Session, looking: Looking, named: Mapping[Keys, Sequence[bytes]]) -> Plan[list[Found]]:
    """What members of each partition stand for, by plain commands; what is gone is left out."""
    found: list[Found] = []

    def taking(keys: Keys) -> Callable[[Sequence[Any]], None]:
        return lambda matches: found.extend(zip(repeat(keys), matches, strict=False))

    def look(part: Sequence[tuple[Keys, Sequence[bytes]]]) -> Plan[Any]:
        return session.read_each([unit for keys, members in part for unit in looking.at(keys, members, taking(keys))])

    yield from overlapped(look(part) for part in cut(named, looking.pace))
    return found


def completed(session: Session, query: Query, found: Sequence[Found]) -> Plan[list[Found]]:
    """The same, without what is not wanted after all: what a scan could not tell is asked for by its name."""
    left = [(keys, listed(match.member)) for keys, match in found if match[2] is None]
    if not left:
        return list(found)
    field = calls.seen_field(query)
    replies = yield from ask_about(session, left, lambda keys, ids, budget: calls.metadata(keys, ids, budget, field))
    told = dict(zip(left, replies, strict=True))
    complete = []
    for keys, match in found:
        one: calls.Match | None = match
        if match.header is None:
            view = told[keys, listed(match.member)]
            one = None if view is None else calls.Match(match.score, match.member, *view)
        if one is not None and (one is match or query.matches(view_of(one))):
            complete.append((keys, one))
    return complete


def views_of(found: Sequence[calls.Match], query: Query) -> list[ArtifactMetadata]:
    """What was found as metadata, as far as a query wants it after all."""
    views = records.decode_views(found)
    return [view for view in views if query.matches(view)] if query.is_filter else views


def view_of(match: calls.Match) -> ArtifactMetadata:
    """What was found as metadata."""
    return records.decode_view(listed(match.member).decode(), match.header, match.field, match.lease)
