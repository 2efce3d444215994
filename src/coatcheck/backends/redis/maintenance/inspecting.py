"""`gc` and `check`: every key of a namespace, on every node, is shown to the room of its kind.

Each judgement is one script, and so is each repair: nothing is decided on what an earlier reply said. That makes both
safe under full traffic. Artifacts come first, then indexes, then contents: what an artifact needs is known from its own
hash even where an index was lost, and a content goes once no index says any more that something needs it. Contents are
asked about beside artifacts, and looked at in the end only where some has no artifact of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ....model import CheckReport
from ....plan import Plan
from ...base import Progress
from ..finding.walking import Cursor
from ..layout.keys import ALL, CONTENTS, RARE
from ..reading import Reading
from ..scripts.script import Command
from ..session import Session, heard
from ..transport.base import Node
from ..transport.overlapping import overlapped
from .artifacts import Artifacts
from .auditing import Found, Key
from .contents import Contents
from .indexes import Indexes
from .problems import LEFTOVERS, Problems

_SCANNED: Final = 1000  # keys that one SCAN looks at
_AHEAD: Final = 2  # pages of names that are known before they are looked at

Usual = Mapping[str, Callable[[Found], Plan[None]]]
"""By their kind, what looks at names of default artifacts, or of contents."""

Rooms = Mapping[str, Callable[[list[Key]], Plan[None]]]
"""The same for keys of other kinds."""


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
    contents = Contents(session, problems, artifacts, indexes.stale, grace_ms)
    looked_at = yield from _scan(
        session,
        ALL,
        {"artifact": artifacts.look, "content": contents.ask},
        {"artifact": artifacts.explicit},
        progress,
        foreign=lambda key: problems.add("other-partitions", key),
    )
    yield from heard(artifacts.finish())
    yield from _scan(
        session,
        RARE,
        {},
        {
            "run": indexes.runs,
            "runs": indexes.lists_of_runs,
            "needs": indexes.needs,
            "catalog": indexes.catalogs,
            "leases": indexes.of_many_leases,
            "stores": indexes.of_many_leases,
            "labelled": indexes.by_label,
            "chunk": contents.chunks,
            "staging": contents.temporary,
            "buried": contents.temporary,
        },
        progress,
    )
    if contents.unsure:
        yield from _scan(session, CONTENTS, {"content": contents.look}, {}, progress)
    return problems.report(looked_at)


def _scan(
    session: Session,
    pattern: bytes,
    usual: Usual,
    rooms: Rooms,
    progress: Progress,
    *,
    foreign: Callable[[bytes], None] | None = None,
) -> Plan[int]:
    """Show every key of some kinds to who looks at that kind; how many keys there were.

    Args:
        session: The namespace.
        pattern: Of the keys of these kinds, and perhaps of others, behind the prefix of their partition.
        usual: Who looks at default artifacts and contents.
        rooms: Who looks at other keys.
        progress: Called with the number of keys so far.
        foreign: Told of keys of workers that cut the namespace into another number of partitions.
    """
    tour = _Tour(session, pattern, usual, rooms, progress, foreign)
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
        usual: Usual,
        rooms: Rooms,
        progress: Progress,
        foreign: Callable[[bytes], None] | None,
    ) -> None:
        self.looked_at = 0
        self._session = session
        self._partitions = session.partitions
        tagged = self._partitions.count > 1 and pattern is not ALL
        self._pattern = self._partitions.prefix + (b"{*}:" if tagged else b"") + pattern
        self._usual = usual
        self._rooms = rooms
        self._progress = progress
        self._foreign = foreign
        self._names: deque[list[bytes]] = deque()  # pages that nobody has looked at yet
        self._asking = False

    def plans(self, node: Node) -> Iterator[Plan[Any]]:
        """A look at each page of names; each plan asks for more."""
        cursor = Cursor()
        while self._asking or self._names or not cursor.ended:
            yield self._step(node, cursor, self._names.popleft() if self._names else [])

    def _step(self, node: Node, cursor: Cursor, names: list[bytes]) -> Plan[None]:
        yield from heard(self._show(names))
        self.looked_at += len(names)
        if self._progress is not None:
            self._progress(self.looked_at)
        while not (self._asking or cursor.ended) and len(self._names) < _AHEAD:
            self._asking = True
            # An error here ends the inspection: a listing that failed is no reason to remove anything.
            scan = (b"SCAN", cursor.at, b"MATCH", self._pattern, b"COUNT", b"%d" % _SCANNED)
            following, some = yield from self._session.ask_node(node, Command(0, scan, _decode))
            self._names.append(some)
            cursor.move(following)
            self._asking = False

    def _show(self, names: list[bytes]) -> Plan[None]:
        usual, others = self._partitions.sort(set(names))
        for kind, look in self._usual.items():
            if kind in usual:
                yield from look(usual[kind])
        kinds: dict[str, list[Key]] = {}
        for key in others:
            keys = self._partitions.holding(key)
            if isinstance(keys, int):
                if self._foreign is not None:
                    self._foreign(key)
            elif keys is not None and (read := keys.kind_of(key)) is not None:
                kinds.setdefault(read[0], []).append(Key(keys, key, read[1]))
        for kind, show in self._rooms.items():
            if kind in kinds:
                yield from show(kinds[kind])


def _decode(reply: Any) -> tuple[bytes, list[bytes]]:
    cursor, names = reply
    if not cursor.isdigit():
        raise ValueError(f"the cursor {cursor[:20]!r}")
    return cursor, [bytes(name) for name in names if isinstance(name, bytes)]
