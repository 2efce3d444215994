"""Calls that read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ...layout.keys import Keys
from ..script import Call, Script
from .common import same

View = tuple[bytes, bytes, bytes] | None
"""Header, lease field, lease."""


def load(keys: Keys, artifact_id: bytes, inline: int) -> Call[tuple[bytes, bytes, bytes, bytes] | None]:
    """`load.lua`: header, lease field, lease, and sealed content where it has at most `inline` bytes, else nothing."""
    names = [keys.artifact(artifact_id), keys.leases(artifact_id), keys.stores(artifact_id)]
    return Call(_LOAD, keys.slot, names, [keys.prefix, b"%d" % inline], lambda reply: reply and tuple(reply))


def metadata(keys: Keys, ids: Sequence[bytes], budget: int, field: bytes = b"") -> Call[list[View]]:
    """`metadata.lua`: views of the first of them, as many as fit into `budget` bytes."""
    names = [key for i in ids for key in (keys.artifact(i), keys.leases(i), keys.stores(i))]
    return Call(_METADATA, keys.slot, names, [b"%d" % budget, field], same)


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


class Figures(NamedTuple):
    """Header, live leases, stored length of the content, and whether that is a manifest."""

    header: bytes
    leases: int
    stored: int
    chunked: bool


def figures(keys: Keys, ids: Sequence[bytes]) -> Call[list[Figures | None]]:
    """`figures.lua`."""

    def decode(reply: Any) -> list[Figures | None]:
        return [None if one is None else Figures(one[0], one[1], one[2], one[3] == 1) for one in reply]

    names = [key for i in ids for key in (keys.artifact(i), keys.leases(i))]
    return Call(_FIGURES, keys.slot, names, [keys.prefix], decode)


_LOAD: Final = Script("load")
_METADATA: Final = Script("metadata")
_LEASES: Final = Script("leases")
_FIGURES: Final = Script("figures")
