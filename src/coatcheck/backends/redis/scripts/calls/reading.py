"""Calls that read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from .....ids import is_default_id
from ...layout.keys import Keys
from ..script import Call, Script
from .common import View

Loaded = tuple[bytes, bytes, bytes, bytes] | None
"""The same, and the sealed content where it came along, else nothing."""


def load(keys: Keys, ids: Sequence[bytes], longest: int, budget: int) -> Call[list[Loaded]]:
    """`load.lua`: the first of them, as many as fit into `budget` bytes.

    Contents of more than `longest` bytes, as they are stored, don't come along.
    """
    names: list[bytes] = []
    for i in ids:
        artifact = keys.artifact(i)
        content = keys.content(i) if is_default_id(i.decode()) else artifact
        names += (artifact, keys.leases(i), keys.stores(i), content)

    arguments = [keys.prefix, b"%d" % budget, b"%d" % longest]
    return Call(_LOAD, keys.slot, names, arguments, lambda reply: _rows(reply, 4))


def metadata(keys: Keys, ids: Sequence[bytes], budget: int, field: bytes = b"") -> Call[list[View]]:
    """`metadata.lua`: views of the first of them, as many as fit into `budget` bytes; of one lease, or the latest."""
    names = [key for i in ids for key in (keys.artifact(i), keys.leases(i), keys.stores(i))]
    return Call(_METADATA, keys.slot, names, [b"%d" % budget, field], lambda reply: _rows(reply, 3))


class LeasePage(NamedTuple):
    """Header, time of a store (us) to go on after ('': the end), and lease fields with their leases."""

    header: bytes
    after: bytes
    leases: list[tuple[bytes, bytes]]


def leases(keys: Keys, artifact_id: bytes, after: bytes, count: int) -> Call[LeasePage]:
    """`leases.lua`: those stored after a time in us."""

    def decode(reply: Any) -> LeasePage:
        header, following, *pairs = reply
        return LeasePage(header, following, list(zip(pairs[::2], pairs[1::2], strict=True)))

    names = [keys.artifact(artifact_id), keys.stores(artifact_id)]
    return Call(_LEASES, keys.slot, names, [after, b"%d" % count], decode)


def _rows(reply: Any, width: int) -> list[Any]:
    """A list cut into rows; `None` for those that begin with nothing."""
    return [None if row[0] is None else row for row in zip(*[iter(reply)] * width, strict=True)]


_LOAD: Final = Script("load")
_METADATA: Final = Script("metadata")
_LEASES: Final = Script("leases")
