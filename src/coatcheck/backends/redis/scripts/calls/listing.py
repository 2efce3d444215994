"""Calls that look through indexes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgpack

from .....figures import tag_of
from .....model import parse_time
from .....search import ANY
from ...layout.keys import Keys, quoted
from ...layout.records import DEFAULT_TYPE, lease_field
from ..script import Call, Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .....search import Place, Query

Way = Literal[b">", b"<", b"*"]
"""In the order of an index, backwards, or in none."""

NOW: Final = b"now"
"""Where to begin in an index by deadline: behind what has expired."""


class Match(NamedTuple):
    """A member of an index that is wanted: its score, if it was found in order, and header, lease field and lease.

    Instead of header and lease `None`: it has to be asked for by its name.
    """

    score: float
    member: bytes
    header: Any
    field: Any
    lease: Any


class Scanned(NamedTuple):
    """What was found, and whether there may be more: behind which place, or where the cursor says.

    Attributes:
        places: Of all that was found in order.
        matches: What is known of them.
        more: Whether there may be more.
        place: Where a list in order goes on.
        cursor: Where another does.
    """

    places: Sequence[Place]
    matches: Sequence[Match]
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
        return cls(seen_field(query), by_store, movable, tuple(_filter(query)))

    @property
    def needles(self) -> list[bytes]:
        """What any lease that is wanted contains."""
        content_type, kind, *tags = self.wanted[6:]
        kinds = [] if not kind or DEFAULT_TYPE.encode().startswith(kind) else [kind]
        return [*tags[::2], *([content_type] if content_type not in (b"", b"\xc0") else []), *kinds]


def seen_field(query: Query) -> bytes:
    """The field of the lease that a query sees of each artifact; empty for the latest."""
    return lease_field(query.run_id) if query.is_of_one else b""


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
    arguments = [
        *(keys.prefix, sought.field, way, *_place(start), b"%d" % look, b"%d" % most, b"%d" % budget),
        *(_flag(sought.by_store), _flag(sought.movable), *sought.wanted),
    ]

    in_order, own = way != b"*", sought.field != b""
    width = 3 + in_order + (not own)

    def decode(reply: Any) -> Scanned:
        more, cursor, last = reply[:3]
        columns: list[Any] = [reply[at::width] for at in range(3, 3 + width)]
        if len(columns[0]) != len(columns[-1]):
            raise ValueError("half a view")
        scores = list(map(float, columns.pop(0))) if in_order else repeat(0.0)
        fields = repeat(sought.field) if own else columns.pop(2)
        members, headers, leases = columns
        matches = list(map(Match._make, zip(scores, members, headers, fields, leases, strict=False)))
        places = list(zip(scores, members, strict=False)) if in_order else ()
        place = (float(cursor), b"" + last) if last else None
        return Scanned(places, matches, more == 1, place, cursor)

    return Call(_SCAN, keys.slot, [index], arguments, decode)


def names(
    keys: Keys, indexes: Sequence[bytes], way: Way, starts: Sequence[Place | bytes], *, look: int
) -> Call[list[Scanned]]:
    """`names.lua`: places in some indexes, of one moment.

    Args:
        keys: The partition.
        indexes: Which.
        way: How to go through them.
        starts: Of each the place behind which to begin, `NOW`, or nothing.
        look: Members of each.
    """
    arguments = [way, b"%d" % look, *chain.from_iterable(map(_place, starts))]

    def decode(reply: Any) -> list[Scanned]:
        pages = [list(zip(map(float, page[1::2]), page[::2], strict=True)) for page in reply]
        return [Scanned(page, (), len(page) >= look, page[-1] if page else None, b"") for page in pages]

    return Call(_NAMES, keys.slot, indexes, arguments, decode)


class Runs(NamedTuple):
    """Runs of a partition, each with when its leases there end, the server's time, and a place behind which are more.

    Times in ms.
    """

    now: float
    place: Place | None
    found: list[tuple[bytes, float]]


def runs(keys: Keys, start: Place | None, prefix: str | None, *, look: int, most: int, budget: int) -> Call[Runs]:
    """`runs.lua`.

    Args:
        keys: The partition.
        start: The place behind which to begin; `None`: the beginning.
        prefix: What they begin with.
        look: Members to look at.
        most: Runs to find.
        budget: Bytes to look at, about.
    """
    arguments = [*_place(b"" if start is None else start), b"%d" % look, b"%d" % most, quoted(prefix), b"%d" % budget]

    def decode(reply: Any) -> Runs:
        now, last_score, last, *found = reply
        ends = list(zip(found[::2], map(float, found[1::2]), strict=True))
        return Runs(float(now), (float(last_score), b"" + last) if last_score else None, ends)

    return Call(_RUNS, keys.slot, [keys.runs], arguments, decode)


class Sums(NamedTuple):
    """What some views come to: see `lua/lib/sums.lua`, and for the last four, `lua/tally.lua`."""

    views: int
    size: int
    oldest: int
    newest: int
    first: int
    last: int
    leases: int = 0
    handed_in: int = 0
    hour: int = 0
    day: int = 0


class StoredContent(NamedTuple):
    """A content: digest, length, length as it is stored, whether that is a manifest, and whether an explicit id's."""

    digest: bytes
    size: int
    stored: int
    chunked: bool
    explicit: bool


class Tallied(NamedTuple):
    """Sums over some views, and where to go on.

    Attributes:
        cursor: The next one.
        sums: What they come to.
        unknown: Members that have to be asked for by their names.
        values: How often each value occurs.
        own: Of contents of default ids: how many, length, length as they are stored.
        contents: Others, and those in chunks.
    """

    cursor: bytes
    sums: Sums
    unknown: list[bytes]
    values: dict[bytes, int]
    own: tuple[int, int, int]
    contents: list[StoredContent]


def tally(
    keys: Keys,
    index: bytes,
    sought: Sought,
    where: bytes | Sequence[bytes],
    *,
    look: int,
    by: str | None,
    contents: bool,
) -> Call[Tallied]:
    """`tally.lua`. `where`: a cursor, or members; `by`: see `figures.check_field`."""
    cursor, members = (where, ()) if isinstance(where, bytes) else (b"", where)
    kinds = {None: b"", "content_type": b"type", "run_id": b"run"}
    arguments = [
        *(keys.prefix, sought.field, cursor, b"%d" % look, _flag(sought.by_store), _flag(sought.movable)),
        kinds[by] if by in kinds else b"tag" + msgpack.packb(tag_of(by or "")),
        *(_flag(contents), *members, *sought.wanted),
    ]

    def decode(reply: Any) -> Tallied:
        following, sums, unknown, values, (count, own_bytes, own_stored, *rows) = reply
        contents = [
            StoredContent(bytes(digest), size, stored, chunked == 1, explicit == 1)
            for digest, size, stored, chunked, explicit in zip(*[iter(rows)] * 5, strict=True)
        ]
        pairs = dict(zip(values[::2], map(int, values[1::2]), strict=True))
        return Tallied(
            following, Sums(*map(int, sums)), unknown, pairs, (int(count), int(own_bytes), int(own_stored)), contents
        )

    return Call(_TALLY, keys.slot, [index], arguments, decode)


class TalliedRun(NamedTuple):
    """Sums over what a run leases in a partition, and members that have to be asked for by their names."""

    sums: Sums
    unknown: list[bytes]


def tally_runs(keys: Keys, runs: Sequence[str], *, look: int, movable: bool) -> Call[list[TalliedRun | None]]:
    """`tally_runs.lua`: for the first of these runs, as many as lease `look` artifacts together.

    `None` for one that leases more. `movable`: whether keys may lie on another node.
    """

    def decode(reply: Any) -> list[TalliedRun | None]:
        return [TalliedRun(Sums(*map(int, one[0])), one[1]) if one else None for one in reply]

    arguments = [keys.prefix, b"%d" % look, _flag(movable), *map(lease_field, runs)]
    return Call(_TALLY_RUNS, keys.slot, [keys.run(run) for run in runs], arguments, decode)


def facets(keys: Keys, token: bytes, cursor: bytes, look: int) -> Call[tuple[bytes, list[tuple[bytes, int]]]]:
    """`facets.lua`: the next cursor, and quoted values with how many artifacts have them."""

    def decode(reply: Any) -> tuple[bytes, list[tuple[bytes, int]]]:
        following, *found = reply
        return following, list(zip(found[::2], map(int, found[1::2]), strict=True))

    return Call(_FACETS, keys.slot, [keys.values(token)], [keys.labels_of(token), cursor, b"%d" % look], decode)


def _flag(value: bool) -> bytes:
    return b"1" if value else b""


def _place(start: Place | bytes) -> tuple[bytes, bytes]:
    """Score and member of where to begin, as scripts take them."""
    return (start, b"") if isinstance(start, bytes) else (score(start[0]), start[1])


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
        number(None if query.earliest is None else parse_time(query.earliest)),
        number(None if query.latest is None else parse_time(query.latest)),
        b"" if query.run_prefix is None else b"=" + quoted(query.run_prefix),
        b"" if kind is None else msgpack.packb(None if kind == DEFAULT_TYPE else kind),
        text(query.kind),
    ]
    for name, value in query.tags:
        found += [msgpack.packb(name), b"1"] if value is ANY else [msgpack.packb(name) + msgpack.packb(value), b""]
    return found


_NAMES: Final = Script("names")
_RUNS: Final = Script("runs")
_SCAN: Final = Script("scan")
_TALLY: Final = Script("tally")
_TALLY_RUNS: Final = Script("tally_runs")
_FACETS: Final = Script("facets")
