"""What surely fits together, many at a time: nearly everything. Other rooms look at the rest, one by one.

A script says so of some hundred, and only reads; nothing is decided on its word but that nothing has to be done. What a
key that it derives does not show, because that has gone ahead to another node, is looked at by itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Final, NamedTuple, TypeVar

from ....envelope import is_manifest, unseal
from ....errors import CorruptArtifactError
from ....ids import is_default_id
from ....plan import Plan
from ..batching import PAGE, batches, by_partition, pages
from ..finding.walking import Steps
from ..layout import records
from ..layout.keys import Keys
from ..scripts import calls
from ..scripts.script import ANY_ID, Call, Filled, IdForm, first
from ..session import Session
from .glancing import fitting

_ARTIFACTS: Final = 250
"""Artifacts that one call looks at: five commands each."""

_COUNTED: Final = 100_000
"""Runs of a partition whose leases are counted, about: they are in memory meanwhile."""

T = TypeVar("T")


class Key(NamedTuple):
    """A key that is there: its partition, itself, and what its name says."""

    keys: Keys
    key: bytes
    match: re.Match[bytes]


class Census:
    """How many artifacts surely are in their indexes. One that has no more members holds nothing else.

    What others remove meanwhile may hide a stale member once. An index that has more is read.

    Args:
        session: The namespace.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._artifacts: Counter[Keys] = Counter()
        self._leases: dict[Keys, Counter[bytes]] = {}

    def suspects(self, found: Sequence[Key], *, read_data: bool) -> Plan[list[Key]]:
        """Those artifacts that may not fit; with `read_data` also those of which the content is not what was stored.

        The others are counted.
        """
        by_default = [is_default_id(match["name"].decode()) for _, _, match in found]
        left = [one for one, is_default in zip(found, by_default, strict=True) if not is_default]
        some = [one for one, is_default in zip(found, by_default, strict=True) if is_default]
        sound: list[tuple[Key, bytes, int]] = []
        if not self._session.transport.is_cluster:  # there keys may be on two nodes
            some, sound = yield from self._glance(some)
        work, replies = yield from _ask(
            self._session, some, _ARTIFACTS, partial(calls.audit_artifacts, headers=read_data)
        )
        for items, reply in zip(work, replies, strict=True):
            others = set(reply.others)
            left += [items[i] for i in reply.others]
            self._count(items[0][0], reply.leases)
            if read_data:
                fit = [one for i, one in enumerate(items) if i not in others]
                sound += zip(fit, reply.headers, reply.stored, strict=True)
        for batch in batches(sound if read_data else (), PAGE, lambda item: item[2]):
            contents = yield from self._session.read_each(
                [Filled(_content(keys), keys.slot, (match["name"],), first) for (keys, _, match), _, _ in batch]
            )
            left += [
                one
                for (one, header, _), sealed in zip(batch, contents, strict=True)
                if not _is_as_stored(one.match["name"], header, sealed)
            ]
        return left

    def _glance(self, found: Sequence[Key]) -> Plan[tuple[list[Key], list[tuple[Key, bytes, int]]]]:
        """Those that plain commands say nothing about; the others, counted, with header and stored bytes."""
        groups = list(by_partition(keys for keys, _, _ in found).items())
        replies = yield from fitting(
            self._session, [(keys, [found[n].match["name"] for n in numbers]) for keys, numbers in groups]
        )
        unsure, sound = [], []
        for (keys, numbers), some in zip(groups, replies, strict=True):
            self._count(keys, [one.field for one in some])
            sound += [(found[numbers[one.number]], one.header, one.stored) for one in some]
            sure = {one.number for one in some}
            unsure += [found[n] for i, n in enumerate(numbers) if i not in sure]
        return unsure, sound

    def add(self, keys: Keys, *, fits: bool) -> None:
        """Count an artifact that was looked at by itself; its leases are not."""
        self._artifacts[keys] += fits

    def _count(self, keys: Keys, leases: Sequence[bytes]) -> None:
        self._artifacts[keys] += len(leases)
        counter = self._leases.setdefault(keys, Counter())
        if len(counter) < _COUNTED:
            counter.update(leases)

    def unsure_runs(self, indexes: Sequence[Key]) -> Plan[list[tuple[Key, int]]]:
        """Those indexes of runs of which a member may stand for nothing, and the rank from which on one may."""
        fields = [b"=" + match["name"] for _, _, match in indexes]
        replies = yield from self._session.read_each(
            [
                calls.audit_index(keys, (key, key), field, 0, PAGE, self._leases.get(keys, Counter())[field])
                for (keys, key, _), field in zip(indexes, fields, strict=True)
            ]
        )
        return [
            (one, reply.members if reply.sure else 0)
            for one, reply in zip(indexes, replies, strict=True)
            if not reply.sure or reply.members == PAGE
        ]

    def sure_members(self, keys: Keys, index: tuple[bytes, bytes], kind: str, name: bytes, start: int = 0) -> Plan[int]:
        """The first rank, from one on, at which a member of an index may stand for nothing, or where it has ended."""
        if kind not in ("run", "catalog"):
            return start
        field = name if kind == "run" else b""
        counted = self._artifacts[keys] if index[0] in keys.catalog else 0
        steps = Steps()
        while True:
            audited = yield from self._session.read(calls.audit_index(keys, index, field, start, PAGE, counted))
            if not audited.sure or steps.in_circles(start) or audited.members != PAGE:
                return start + audited.members if audited.sure else start
            start += audited.members


def unsure_contents(session: Session, found: Sequence[Key]) -> Plan[list[Key]]:
    """Those contents of which it is not sure that something needs them."""
    work, replies = yield from _ask(session, found, PAGE, calls.audit_contents)
    return [items[i] for items, unsure in zip(work, replies, strict=True) for i in unsure]


def are_twins(session: Session, keys: Keys) -> Plan[bool]:
    """Whether both indexes of the catalog have as many members. Where all of one are in the other, they are the same.

    That is so at any time: each script that changes one of them changes both.
    """
    return (yield from session.read(calls.audit_index(keys, keys.catalog[:2], b"", 0, 1))).even


def _ask(
    session: Session, found: Sequence[Key], count: int, call: Callable[[Keys, Sequence[bytes]], Call[T]]
) -> Plan[tuple[list[list[Key]], list[T]]]:
    """Ask about keys of default ids, some at a time; the items of each call, and what was said of these."""
    work = [
        [found[i] for i in page]
        for numbers in by_partition(keys for keys, _, _ in found).values()
        for page in pages(numbers, count)
    ]
    replies = yield from session.read_each(
        [call(items[0][0], [match["name"] for _, _, match in items]) for items in work]
    )
    return work, replies


def _is_as_stored(name: bytes, header: bytes, sealed: bytes | None) -> bool:
    if sealed is None or is_manifest(sealed):
        return False
    try:
        digest, size = records.decode_header(header, name.decode())
        unseal(sealed, digest, size=size)
    except CorruptArtifactError:
        return False
    return True


@lru_cache(maxsize=512)  # partitions
def _content(keys: Keys) -> IdForm:
    return IdForm((b"GET", keys.content(ANY_ID)))
