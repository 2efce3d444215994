"""Which indexes a query reads: those by label where a partition has one that serves it, else the catalog or a run's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from ....plan import Plan
from ....search import Query
from ..layout.keys import Keys
from ..layout.labels import BEHIND, Marker, Wanted, markers_in, serving
from ..scripts.script import Command
from ..session import Session

MIXED: Final = b"mixed"

By = Literal["created", "deadlines"]


class Source(NamedTuple):
    """An index of one partition: its key."""

    keys: Keys
    key: bytes


class Label(NamedTuple):
    """An index by label of one partition: what its keys are named by."""

    keys: Keys
    name: bytes

    def source(self, by: By) -> Source:
        """One of its two keys."""
        return Source(self.keys, self.keys.labelled(self.name, by))


class Sources(NamedTuple):
    """What a query reads.

    Attributes:
        first: Read first.
        mixed: Read behind that. What all leases of an artifact agreed about is moved there once they don't.
        labels: Those of the first that are indexes by label.
    """

    first: Sequence[Source]
    mixed: Sequence[Source] = ()
    labels: Sequence[Label] = ()

    @property
    def all(self) -> list[Source]:
        """All of them."""
        return [*self.first, *self.mixed]


def markers(session: Session) -> Plan[dict[Keys, list[Marker]]]:
    """What each partition says that it indexes."""
    replies = yield from session.read_each(
        [
            Command(keys.slot, (b"ZRANGE", keys.created, BEHIND, b"+inf", b"BYSCORE", b"LIMIT", b"0", b"100"), list)
            for keys in session.partitions.all
        ]
    )
    found: list[list[Any]] = replies
    return {keys: markers_in(some) for keys, some in zip(session.partitions.all, found, strict=True)}


def sources(session: Session, query: Query, by: By) -> Plan[Sources]:
    """The indexes that know all a query may want."""
    run = query.run_id
    if run is not None:
        return Sources([Source(keys, keys.run(run)) for keys in session.partitions.all])
    wanted = serving(query)
    found = (yield from _serving(session, wanted)) if wanted else {}
    labels = yield from _smallest(session, found)
    first = [
        labels[keys].source(by) if keys in labels else Source(keys, keys.created if by == "created" else keys.deadlines)
        for keys in session.partitions.all
    ]
    mixed = [Label(keys, MIXED).source(by) for keys in labels]
    return Sources(first, mixed, list(labels.values()))


def exactly(session: Session, field: bytes) -> Plan[dict[Keys, Marker]]:
    """Where a field is indexed."""
    marked = yield from markers(session)
    return {keys: marker for keys, some in marked.items() for marker in some if marker.built and marker.field == field}


def the_rest(session: Session, indexed: Collection[Keys]) -> Sources:
    """What there is besides the indexes of a field, in these partitions and in the others."""
    others = [
        Source(keys, keys.deadlines if indexed else keys.created)
        for keys in session.partitions.all
        if keys not in indexed
    ]
    return Sources(others, [Label(keys, MIXED).source("deadlines") for keys in indexed])


def _serving(session: Session, wanted: Sequence[Wanted]) -> Plan[dict[Keys, list[Label]]]:
    """Indexes of each partition that serve a query, those of values first."""
    marked = yield from markers(session)
    return {
        keys: [
            Label(keys, marker.token + b":" + one.value)
            for one in wanted
            for marker in some
            if marker.built and marker.field == one.field
        ]
        for keys, some in marked.items()
    }


def _smallest(session: Session, found: Mapping[Keys, Sequence[Label]]) -> Plan[dict[Keys, Label]]:
    """The one with the fewest members, where there are several."""
    several = [label for labels in found.values() if len(labels) > 1 for label in labels]
    sizes = yield from session.read_each(
        [Command(label.keys.slot, (b"ZCOUNT", label.source("created").key, b"-inf", b"+inf"), int) for label in several]
    )
    size_of = dict(zip(several, sizes, strict=True))
    return {keys: min(labels, key=lambda label: size_of.get(label, 0)) for keys, labels in found.items() if labels}
