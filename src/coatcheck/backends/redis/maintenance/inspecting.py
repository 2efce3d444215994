"""`gc` and `check`: every key of a namespace, on every node, is shown to the room of its kind.

Each judgement is one script, and so is each repair: nothing is decided on what an earlier reply said. That makes both
safe under full traffic. Artifacts come first, then indexes, then contents: what an artifact needs is known from its own
hash even where an index was lost, and a content goes once no index says any more that something needs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ....model import CheckReport
from ....plan import Plan
from ...base import Progress
from ..finding.walking import Cursor
from ..layout.keys import ALL, ARTIFACTS, RARE
from ..reading import Reading
from ..scripts.script import Command
from ..session import Session, heard
from ..transport.base import Node
from ..transport.overlapping import overlapped
from .artifacts import Artifacts
from .auditing import Key
from .contents import Contents
from .indexes import Indexes
from .problems import LEFTOVERS, Problems

_SCANNED: Final = 1000  # keys that one SCAN looks at
_AHEAD: Final = 8  # pages of names that are known before they are looked at
_FEW: Final = 2  # from where on more are asked for

Look = Callable[[list[Key]], Plan[None]]
"""Looks at some keys of one kind."""


def gc(session: Session, reading: Reading, *, dry_run: bool, grace_ms: int, progress: Progress) -> Plan[CheckReport]:
    """See `Backend.gc`."""
    problems = Problems(lambda kind: not dry_run and kind in LEFTOVERS)
    artifacts = Artifacts(session, problems, reading, read_data=False, thorough=False)
    report = yield from _inspect(
        session,
        problems,
        artifacts,
        Indexes(session, problems, artifacts.census, collecting=True),
        grace_ms,
        progress,
    )
    return report.only(LEFTOVERS)


def check(
    session: Session, reading: Reading, *, read_data: bool, repair: bool, grace_ms: int, progress: Progress
) -> Plan[CheckReport]:
    """See `Backend.check`."""
    problems = Problems(lambda _: repair)
    artifacts = Artifacts(session, problems, reading, read_data=read_data, thorough=True)
    return _inspect(
        session,
        problems,
        artifacts,
        Indexes(session, problems, artifacts.census, collecting=False),
        grace_ms,
        progress,
    )


def _inspect(
    session: Session, problems: Problems, artifacts: Artifacts, indexes: Indexes, grace_ms: int, progress: Progress
) -> Plan[CheckReport]:
    """Look at all keys; what was found."""
    yield from _scan(session, ARTIFACTS, {"artifact": artifacts.look}, progress)
    yield from _scan(
        session,
        RARE,
        {
            "run": indexes.runs,
            "runs": indexes.lists_of_runs,
            "needs": indexes.needs,
            "catalog": indexes.catalogs,
            "leases": indexes.of_many_leases,
            "stores": indexes.of_many_leases,
            "labelled": indexes.by_label,
        },
        progress,
    )
    contents = Contents(session, problems, artifacts, indexes.stale, grace_ms)
    looked_at = yield from _scan(
        session,
        ALL,
        {
            "content": contents.look,
            "chunk": contents.chunks,
            "staging": contents.temporary,
            "buried": contents.temporary,
        },
        progress,
        foreign=lambda key: problems.add("other-partitions", key),
    )
    return problems.report(looked_at)


def _scan(
    session: Session,
    pattern: bytes,
    rooms: Mapping[str, Look],
    progress: Progress,
    *,
    foreign: Callable[[bytes], None] | None = None,
) -> Plan[int]:
    """Show every key of some kinds to who looks at that kind; how many keys there were.

    Args:
        session: The namespace.
        pattern: Of the keys of these kinds, and perhaps of others, behind the prefix of their partition.
        rooms: By the kind, who looks at them.
        progress: Called with the number of keys so far.
        foreign: Told of keys of workers that cut the namespace into another number of partitions.
    """
    tour = _Tour(session, pattern, rooms, progress, foreign)
    for node in (yield from session.primaries()):
        yield from overlapped(tour.plans(node))
    return tour.looked_at


class _Tour:
    """One way through all keys. See `_scan`.

    Each look at a page of names is begun while the one before goes on.
    """

    def __init__(
        self,
        session: Session,
        pattern: bytes,
        rooms: Mapping[str, Look],
        progress: Progress,
        foreign: Callable[[bytes], None] | None,
    ) -> None:
        self.looked_at = 0
        self._session = session
        self._partitions = session.partitions
        tagged = self._partitions.count > 1 and pattern is not ALL
        self._pattern = self._partitions.prefix + (b"{*}:" if tagged else b"") + pattern
        self._rooms = rooms
        self._progress = progress
        self._foreign = foreign
        self._names: deque[list[bytes]] = deque()  # pages that nobody has looked at yet
        self._asking = False

    def plans(self, node: Node) -> Iterator[Plan[Any]]:
        """Some pages of names, and a look at each."""
        cursor = Cursor()
        while self._asking or self._names or not cursor.ended:
            if not (self._asking or cursor.ended) and len(self._names) < _FEW:
                self._asking = True
                yield self._ask(node, cursor)
            elif self._names:
                yield self._show(self._names.popleft())
            else:
                yield self._session.read_each(())  # nothing, until there are names

    def _ask(self, node: Node, cursor: Cursor) -> Plan[None]:
        while not cursor.ended and len(self._names) < _AHEAD:
            # An error here ends the inspection: a listing that failed is no reason to remove anything.
            scan = (b"SCAN", cursor.at, b"MATCH", self._pattern, b"COUNT", b"%d" % _SCANNED)
            following, names = yield from self._session.ask_node(node, Command(0, scan, _decode))
            self._names.append(names)
            cursor.move(following)
        self._asking = False

    def _show(self, names: list[bytes]) -> Plan[None]:
        kinds: dict[str, list[Key]] = {}
        for key in set(names):
            keys = self._partitions.holding(key)
            if isinstance(keys, int):
                if self._foreign is not None:
                    self._foreign(key)
            elif keys is not None and (read := keys.kind_of(key)) is not None:
                kinds.setdefault(read[0], []).append(Key(keys, key, read[1]))
        for kind, look in self._rooms.items():
            if kind in kinds:
                yield from heard(look(kinds[kind]))
        self.looked_at += len(names)
        if self._progress is not None:
            self._progress(self.looked_at)


def _decode(reply: Any) -> tuple[bytes, list[bytes]]:
    cursor, names = reply
    if not cursor.isdigit():
        raise ValueError(f"the cursor {cursor[:20]!r}")
    return cursor, [bytes(name) for name in names if isinstance(name, bytes)]
