"""Calls that look through indexes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgpack

from .....search import ANY, microseconds
from ...layout.keys import Keys, quoted
from ...layout.records import DEFAULT_TYPE, lease_field
from ..script import Call, Script

if TYPE_CHECKING:
    from .....search import Place, Query

Way = Literal[b">", b"<", b"*"]
"""In the order of an index, backwards, or in none."""

NOW: Final = b"now"
"""Where to begin in an index by deadline: behind what has expired."""


class Match(NamedTuple):
    """A member of an index that is wanted: its score, and header, lease field and lease.

    Instead of these three `None`: it has to be asked for by its name.
    """

    score: float
    member: bytes
    header: Any
    field: Any
    lease: Any


class Scanned(NamedTuple):
    """What was found, and whether there may be more: behind which place, or where the cursor says."""

    matches: list[Match]
    more: bool
    place: Place | None
    cursor: bytes


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for in the partitions.

    Attributes:
        field: The lease that is seen; empty for the latest.
        by_store: Whether the index is that of times of store.
        movable: Whether keys may lie on another node.
        wanted: The filter, as `lua/lib/filter.lua` takes it.
    """

    field: bytes
    by_store: bool
    movable: bool
    wanted: tuple[bytes, ...]

    @classmethod
    def of(cls, query: Query, *, by_store: bool, movable: bool) -> Sought:
        """What a query wants."""
        field = b"" if query.run_id is None else lease_field(query.run_id)
        return cls(field, by_store, movable, tuple(_filter(query)))


def scan(
    keys: Keys, index: bytes, sought: Sought, way: Way, start: Place | bytes, *, look: int, most: int, budget: int
) -> Call[Scanned]:
    """`scan.lua`.

    Args:
        keys: The partition.
        index: Where to look.
        sought: What for.
        way: How to go through it.
        start: The place behind which to begin, a cursor, `NOW`, or nothing.
        look: Members to look at.
        most: Matches to find, unless a cursor says where.
        budget: Bytes to return, about.
    """
    begin, member = (start, b"") if isinstance(start, bytes) else (score(start[0]), start[1])
    arguments = [
        *(keys.prefix, sought.field, way, begin, member, b"%d" % look, b"%d" % most, b"%d" % budget),
        *(b"1" if sought.by_store else b"", b"1" if sought.movable else b"", *sought.wanted),
    ]

    def decode(reply: Any) -> Scanned:
        more, cursor, last, *found = reply
        matches = [
            Match(float(points), *one)
            for points, *one in zip(found[::5], found[1::5], found[2::5], found[3::5], found[4::5], strict=True)
        ]
        place = (float(cursor), last) if last else None
        return Scanned(matches, more == 1, place, cursor)

    return Call(_SCAN, keys.slot, [index], arguments, decode)


def score(value: float) -> bytes:
    """A score as the server reads it: exact whatever it is, so that a damaged one holds up nobody."""
    return b"%.17g" % value


def _filter(query: Query) -> list[bytes]:
    def number(value: int | None) -> bytes:
        return b"" if value is None else b"%d" % value

    def text(value: str | None) -> bytes:
        return b"" if value is None else value.encode()

    kind = query.content_type
    found = [
        text(query.id_prefix),
        number(query.min_size),
        number(query.max_size),
        number(None if query.earliest is None else microseconds(query.earliest)),
        number(None if query.latest is None else microseconds(query.latest)),
        b"" if query.run_prefix is None else b"=" + quoted(query.run_prefix),
        b"" if kind is None else msgpack.packb(None if kind == DEFAULT_TYPE else kind),
        text(query.kind),
    ]
    for name, value in query.tags:
        found += [msgpack.packb(name), b"1"] if value is ANY else [msgpack.packb(name) + msgpack.packb(value), b""]
    return found


_SCAN: Final = Script("scan")
