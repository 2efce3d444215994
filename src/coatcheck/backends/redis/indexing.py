"""Indexes by label are built for artifacts that are there: partition by partition, while others go on."""

from __future__ import annotations

from collections.abc import Sequence

from ...plan import Plan
from ..base import Progress
from .batching import CHANGES, pages
from .finding.labelled import markers
from .finding.scanning import MemberScan
from .finding.walking import Steps
from .layout.keys import Keys
from .layout.labels import Marker, new_marker
from .scripts import calls
from .scripts.script import Command
from .session import Session, heard


def reindex(session: Session, fields: Sequence[bytes], progress: Progress) -> Plan[int]:
    """See `Backend.reindex`.

    First every partition says what it indexes, and from then on each change of an artifact keeps that right. Then all
    artifacts that were there are noted. What is not wanted any more is removed last.
    """
    yield from heard(_begin(session, fields))
    count = 0
    scan = MemberScan(session, lambda keys: keys.deadlines)
    while fields and (found := (yield from scan.next())) is not None:
        count += yield from heard(_note(session, found))
        if progress is not None:
            progress(count)
    yield from heard(_finish(session, fields))
    return count


def _begin(session: Session, fields: Sequence[bytes]) -> Plan[None]:
    marked = yield from markers(session)
    changes = {
        keys: [
            (None, new_marker(field)._replace(built=False))
            for field in fields
            if all(marker.field != field for marker in some)
        ]
        for keys, some in marked.items()
    }
    yield from session.write_each([calls.mark(keys, some) for keys, some in changes.items() if some])


def _note(session: Session, found: Sequence[tuple[Keys, bytes, float]]) -> Plan[int]:
    members: dict[Keys, list[bytes]] = {}
    for keys, member, _ in found:
        members.setdefault(keys, []).append(member)
    counts = yield from session.write_each(
        [calls.index_labels(keys, page) for keys, some in members.items() for page in pages(some, CHANGES)]
    )
    return sum(counts)


def _finish(session: Session, fields: Sequence[bytes]) -> Plan[None]:
    marked = yield from markers(session)
    left = {keys: [marker for marker in some if marker.field not in fields] for keys, some in marked.items()}
    changes = {
        keys: [
            (marker, marker._replace(built=True) if marker.field in fields else None)
            for marker in some
            if not (marker.built and marker.field in fields)
        ]
        for keys, some in marked.items()
    }
    yield from session.write_each([calls.mark(keys, some) for keys, some in changes.items() if some])
    for keys, some in left.items():
        for marker in some:
            yield from _remove(session, keys, marker)


def _remove(session: Session, keys: Keys, marker: Marker) -> Plan[None]:
    """The indexes of all values of a field. What the list of values does not know goes with `gc`."""
    values, steps = keys.values(marker.token), Steps()
    while True:
        page = (b"ZRANGE", values, b"0", b"%d" % (CHANGES - 1))
        some: list[bytes] = yield from session.read(Command(keys.slot, page, list))
        if not some or steps.in_circles(some):
            return
        names = [keys.labelled(marker.token + b":" + value, by) for value in some for by in ("created", "deadlines")]
        yield from session.write(Command(keys.slot, (b"UNLINK", *names), int))
        yield from session.write(Command(keys.slot, (b"ZREM", values, *some), int))
