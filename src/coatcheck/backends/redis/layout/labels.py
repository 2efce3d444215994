"""What is indexed by label: fields, and the markers by which a partition says that it indexes them.

`lua/lib/labels.lua` writes the indexes; `docs/format.md` describes them to the byte.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

import msgpack

from ....figures import tag_of
from ....search import ANY

if TYPE_CHECKING:
    from ....search import Query

BEHIND: Final = b"9007199254740992"
"""2^53: markers stand behind all times of store."""

TYPE: Final = b"t"
"""The field of the content type."""

LONGEST: Final = 128
"""Bytes of a value that an index is named after; artifacts with a longer one are mixed."""

MOST: Final = 16
"""Fields that a partition may index."""

_MARKER: Final = re.compile(rb"!([+~])([0-9a-f]{14})([t=?].*)", re.DOTALL)


def tag_field(name: str) -> bytes:
    """The field of the values of a tag."""
    return b"=" + msgpack.packb(name)


def presence_field(name: str) -> bytes:
    """The field of there being a tag."""
    return b"?" + msgpack.packb(name)


def spelled(field: bytes) -> str:
    """A field as `coatcheck reindex` takes it."""
    if field == TYPE:
        return "--type"
    option = "--tag" if field[:1] == b"=" else "--has-tag"
    return f"{option} {shlex.quote(msgpack.unpackb(field[1:]))}"


class Marker(NamedTuple):
    """A member of `catalog:created` that stands for no artifact.

    Attributes:
        built: Whether all artifacts of the partition are in the index.
        token: What its keys are named by.
        field: What it is of.
    """

    built: bool
    token: bytes
    field: bytes

    def member(self) -> bytes:
        """As it stands there."""
        return b"!%b%b%b" % (b"+" if self.built else b"~", self.token, self.field)


def new_marker(field: bytes) -> Marker:
    """A marker of an index that is complete, under a new name."""
    return Marker(True, os.urandom(7).hex().encode(), field)


def markers_in(members: Iterable[bytes]) -> list[Marker]:
    """The markers among some members."""
    found = map(_MARKER.fullmatch, members)
    return [Marker(one[1] == b"+", one[2], one[3]) for one in found if one is not None]


def wish(markers: Sequence[Marker]) -> bytes:
    """Markers as `store.lua` takes them."""
    return b"".join(b"%04x%b" % (len(member), member) for member in (marker.member() for marker in markers))


def quoted_value(value: str) -> bytes | None:
    """A value as indexes are named after it; `None` where it is too long."""
    return quote(value, safe="").encode() if len(value.encode()) <= LONGEST else None


def value_of(quoted: bytes) -> str:
    """The value that an index is named after.

    Raises:
        UnicodeDecodeError: There is none.
    """
    return unquote_to_bytes(quoted).decode()


class Wanted(NamedTuple):
    """A field that serves a query, and the value to look for there, quoted."""

    field: bytes
    value: bytes


def alone(query: Query) -> Wanted | None:
    """The one label that a query asks for, if it asks for nothing else."""
    rest = replace(query, content_type=None, tags=())
    found = serving(query)
    return (
        found[0] if found and not rest.is_filter and len(query.tags) + (query.content_type is not None) == 1 else None
    )


def field_of(by: str | None) -> bytes | None:
    """The field of what views are counted by (`figures.check_field`); `None` where no index tells."""
    if by == "content_type":
        return TYPE
    name = None if by is None or by == "run_id" else tag_of(by)
    return None if name is None else tag_field(name)


def serving(query: Query) -> list[Wanted]:
    """Which indexes could serve a query."""
    found = [] if query.content_type is None else [(TYPE, query.content_type)]
    for name, value in query.tags:
        if value is ANY:
            found.append((presence_field(name), ""))
        else:
            found += [(tag_field(name), value), (presence_field(name), "")]
    quoted = [(field, quoted_value(value)) for field, value in found]
    return [] if query.is_of_one else [Wanted(field, value) for field, value in quoted if value is not None]
