"""How a namespace is cut: N partitions, each a whole little store whose keys share one hash slot.

A cluster's 16,384 slots are cut into N equal ranges. The tag of partition n is the first counter whose CRC-16 falls
into range n, so that every contiguous distribution of slots over nodes gets an even share of partitions. N is part of
the tag: workers that disagree about it never read each other's keys.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final
from zlib import crc32

from ....errors import InvalidArtifactError
from ....ids import ID_LENGTH
from .keys import KINDS, Keys

COUNTS: Final = (1, 64, 256)
"""How many partitions a namespace may have. One: its keys have no tag, so it lies on one server."""

ON_A_SERVER: Final = 1
ON_A_CLUSTER: Final = 64

_SLOTS: Final = 16384
_DIGITS: Final = re.compile(rb"[0-9a-f]*")
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


def slot_of(tag: str) -> int:
    """The hash slot of keys with this tag."""
    return crc_hqx(tag.encode(), 0) % _SLOTS


@lru_cache
def tags(count: int) -> tuple[str, ...]:
    """The tags of `count` partitions, such as `64.1f`."""
    found: dict[int, str] = {}
    counter = 0
    while len(found) < count:
        tag = f"{count}.{counter:x}"
        found.setdefault(slot_of(tag) * count // _SLOTS, tag)
        counter += 1
    return tuple(found[n] for n in range(count))


def check_namespace(namespace: str) -> None:
    """Check that a namespace can be told apart from all others.

    Raises:
        InvalidArtifactError: It has other characters than it may, or a word that names a kind of key.
    """
    if not isinstance(namespace, str) or _NAMESPACE.fullmatch(namespace) is None:  # type: ignore[redundant-expr]
        raise InvalidArtifactError(
            f"invalid namespace {namespace!r}: 1 to 100 of letters, digits, '_', '.', ':' and '-'"
        )
    taken = KINDS.intersection(namespace.split(":"))
    if taken:
        raise InvalidArtifactError(
            f"invalid namespace {namespace!r}: {min(taken)!r} names a kind of key, its keys could be those of "
            "another namespace; choose another word"
        )


class Partitions:
    """The partitions of one namespace.

    Args:
        namespace: 1 to 100 of `A-Z a-z 0-9 _ . : -`; none of its parts between colons may be the name of a kind of key.
        count: How many.

    Raises:
        InvalidArtifactError: The namespace cannot be told apart from keys of another, or has other characters.
    """

    def __init__(self, namespace: str, count: int) -> None:
        check_namespace(namespace)
        self.prefix = f"{namespace}:".encode()
        self.count = count
        if count == 1:
            self.all: tuple[Keys, ...] = (Keys(self.prefix, 0),)
        else:
            self.all = tuple(Keys(b"%b{%b}:" % (self.prefix, tag.encode()), slot_of(tag)) for tag in tags(count))
        self._by_prefix = {keys.prefix: keys for keys in self.all}
        self._usual = {key: (kind, keys) for keys in self.all for kind, key in keys.usual.items()}
        self._tagged = re.compile(re.escape(self.prefix) + rb"(?:\{([0-9]+)\.[0-9a-f]+\}:)?")

    def of(self, artifact_id: str) -> Keys:
        """Where an artifact lies, with its content, its leases and what the indexes say of it."""
        return self.all[0] if self.count == 1 else self.all[crc32(artifact_id.encode()) % self.count]

    def places(self, ids: Sequence[str]) -> list[Keys]:
        """The same for several."""
        return list(self.all) * len(ids) if self.count == 1 else [self.of(artifact_id) for artifact_id in ids]

    def holding(self, key: bytes) -> Keys | int | None:
        """The partition that a key of this server belongs to; of a namespace cut otherwise: its number of partitions.

        `None` for keys that are not ours.
        """
        match = self._tagged.match(key)
        if match is None:
            return None
        keys = self._by_prefix.get(match[0])
        if keys is not None:
            return keys
        count = int(match[1] or 1)
        return count if Keys(match[0], 0).kind_of(key) is not None else None

    def sort(self, found: Iterable[bytes]) -> tuple[dict[str, dict[Keys, list[bytes]]], list[bytes]]:
        """Names of default artifacts and of contents, by kind and partition; and all other keys.

        Nearly all keys are of the first sort, so these are not looked at one by one.
        """
        usual: dict[str, dict[Keys, list[bytes]]] = defaultdict(dict)
        others: list[bytes] = []
        by_start = defaultdict[bytes, list[bytes]](list)
        for key in found:
            by_start[key[:-ID_LENGTH]].append(key[-ID_LENGTH:])
        for start, names in by_start.items():
            place = self._usual.get(start)
            if place is None:
                others += [start + name for name in names]
                continue
            kind, keys = place
            if _DIGITS.fullmatch(b"".join(names)):
                usual[kind][keys] = names
            else:
                if default := list(filter(_DIGITS.fullmatch, names)):
                    usual[kind][keys] = default
                others += [start + name for name in names if not _DIGITS.fullmatch(name)]
        return usual, others
