"""What surely fits together, many at a time: nearly everything. Other rooms look at the rest, one by one.

A script says so of some hundred, and only reads; nothing is decided on its word but that nothing has to be done. What a
key that it derives does not show, because that has gone ahead to another node, is looked at by itself.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple, TypeVar

from ....envelope import is_manifest, unseal
from ....errors import CorruptArtifactError
from ....plan import Plan
from ..batching import PAGE, batches, pages
from ..finding.walking import Steps
from ..layout import records
from ..layout.keys import Keys
from ..scripts import calls
from ..scripts.script import ANY_ID, Call, Command, Filled, IdForm, first, same
from ..session import Session
from .glancing import Fitting, fitting

_ARTIFACTS: Final = 250
"""Artifacts that one call looks at: five commands each."""

_COUNTED: Final = 100_000
"""Runs of a partition whose leases are counted, about: they are in memory meanwhile."""

_GATHERED: Final = 10_000
"""Artifacts whose runs' indexes are asked together: of a large run, many by one command."""

T = TypeVar("T")

Found = Mapping[Keys, Sequence[bytes]]
"""Names of default artifacts, or of contents, by partition."""


class Key(NamedTuple):
    """A key that is there: its partition, itself, and what its name says."""

    keys: Keys
    key: bytes
    match: re.Match[bytes]


class Sound(NamedTuple):
    """An artifact that fits, if its content is what was stored: its partition, id, header, and bytes of its content."""

    keys: Keys
    name: bytes
    header: bytes
    stored: int


class Unindexed(NamedTuple):
    """A lease that its run's index may not know."""

    keys: Keys
    artifact: bytes
    run: bytes


class Census:
    """How many artifacts surely are in their indexes. One that has no more members holds nothing else.

    What others remove meanwhile may hide a stale member once. An index that has more is read.

    Args:
        session: The namespace.
        whole: Whether what fits has its content and ends when it should; `gc` does not ask.
    """

    def __init__(self, session: Session, *, whole: bool) -> None:
        self._session = session
        self._whole = whole
        self._artifacts: Counter[Keys] = Counter()
        self._leases: dict[Keys, Counter[bytes]] = defaultdict(Counter)
        self._gathered: dict[tuple[Keys, bytes], list[Fitting]] = {}
        self._room = _GATHERED

    def suspects(self, found: Found, *, read_data: bool) -> Plan[list[tuple[Keys, bytes]]]:
        """Those artifacts that may not fit; with `read_data` also those of which the content is not what was stored.

        The others are counted.
        """
        look = self._audit if self._session.transport.is_cluster else self._glance  # there keys may be on two nodes
        suspects, sound = yield from look(found, read_data=read_data)
        for batch in batches(sound, PAGE, lambda one: one.stored):
            contents = yield from self._session.read_each(
                [Filled(_content(one.keys), one.keys.slot, (one.name,), first) for one in batch]
            )
            suspects += [
                (one.keys, one.name)
                for one, sealed in zip(batch, contents, strict=True)
                if not _is_as_stored(one, sealed)
            ]
        return suspects

    def _audit(self, found: Found, *, read_data: bool) -> Plan[tuple[list[tuple[Keys, bytes]], list[Sound]]]:
        """Ask scripts."""
        work, replies = yield from _ask(
            self._session, found, _ARTIFACTS, partial(calls.audit_artifacts, headers=read_data)
        )
        suspects: list[tuple[Keys, bytes]] = []
        sound: list[Sound] = []
        for (keys, names), reply in zip(work, replies, strict=True):
            suspects += [(keys, names[i]) for i in reply.others]
            self._artifacts[keys] += len(reply.leases)
            self._count(keys, reply.leases)
            others = set(reply.others)
            fit = [name for i, name in enumerate(names) if i not in others]
            if read_data:
                sound += [Sound(keys, *one) for one in zip(fit, reply.headers, reply.stored, strict=True)]
        return suspects, sound

    def _glance(self, found: Found, *, read_data: bool) -> Plan[tuple[list[tuple[Keys, bytes]], list[Sound]]]:
        """Ask by plain commands."""
        replies = yield from fitting(self._session, found, whole=self._whole)
        suspects: list[tuple[Keys, bytes]] = []
        sound: list[Sound] = []
        for (keys, names), some in zip(found.items(), replies, strict=True):
            self._artifacts[keys] += len(some)
            self._gather(keys, some)
            if len(some) < len(names):
                fit = {one.number for one in some}
                suspects += [(keys, name) for number, name in enumerate(names) if number not in fit]
            if read_data:
                sound += [Sound(keys, names[one.number], one.header, one.stored) for one in some]
        return suspects, sound

    def _gather(self, keys: Keys, some: Sequence[Fitting]) -> None:
        self._room -= len(some)
        for one in some:
            place = keys, one.field
            if place in self._gathered:
                self._gathered[place].append(one)
            else:
                self._gathered[place] = [one]

    @property
    def is_full(self) -> bool:
        """Whether it is time to ask for `unindexed` ones."""
        return self._room <= 0

    def unindexed(self) -> Plan[list[Unindexed]]:
        """Of what was found to fit since, what the runs' indexes may not know. The others are counted."""
        gathered, self._gathered, self._room = self._gathered, {}, _GATHERED
        work = [(*place, page) for place, some in gathered.items() if place[1] != b"-" for page in pages(some)]
        asked = [
            Command(keys.slot, (b"ZMSCORE", keys.run_of(field[1:]), *[one.member for one in page]), same)
            for keys, field, page in work
        ]
        replies = yield from self._scores(asked)
        unindexed: list[Unindexed] = []
        for (keys, field, page), scores in zip(work, replies, strict=True):
            unknown = [one for one, score in zip(page, scores or [None] * len(page), strict=True) if score != one.ends]
            unindexed += [Unindexed(keys, one.member.hex().encode(), field[1:]) for one in unknown]
            self._count(keys, {field: len(page) - len(unknown)})
        return unindexed

    def _scores(self, asked: Sequence[Command[Any]]) -> Plan[list[Any]]:
        """What these say; nothing of an index that is of another type."""
        try:
            return (yield from self._session.read_each(asked))
        except CorruptArtifactError:
            if len(asked) == 1:
                return [()]
        middle = len(asked) // 2
        return [*(yield from self._scores(asked[:middle])), *(yield from self._scores(asked[middle:]))]

    def add(self, keys: Keys, *, fits: bool) -> None:
        """Count an artifact that was looked at by itself; its leases are not."""
        self._artifacts[keys] += fits

    def _count(self, keys: Keys, leases: Iterable[bytes] | Mapping[bytes, int]) -> None:
        counter = self._leases[keys]
        if len(counter) < _COUNTED:
            counter.update(leases)

    def unsure_runs(self, indexes: Sequence[Key]) -> Plan[list[tuple[Key, int]]]:
        """Those indexes of runs of which a member may stand for nothing, and the rank from which on one may."""
        fields = [b"=" + match["name"] for _, _, match in indexes]
        replies = yield from self._session.read_each(
            [
                calls.audit_index(keys, (key, key), field, 0, PAGE, self._leases[keys][field])
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


def unsure_contents(session: Session, found: Found) -> Plan[list[tuple[Keys, bytes]]]:
    """Those contents of which it is not sure that something needs them."""
    work, replies = yield from _ask(session, found, PAGE, calls.audit_contents)
    return [(keys, names[i]) for (keys, names), unsure in zip(work, replies, strict=True) for i in unsure]


def are_twins(session: Session, keys: Keys) -> Plan[bool]:
    """Whether both indexes of the catalog have as many members. Where all of one are in the other, they are the same.

    That is so at any time: each script that changes one of them changes both.
    """
    return (yield from session.read(calls.audit_index(keys, keys.catalog[:2], b"", 0, 1))).even


def _ask(
    session: Session, found: Found, count: int, call: Callable[[Keys, Sequence[bytes]], Call[T]]
) -> Plan[tuple[list[tuple[Keys, Sequence[bytes]]], list[T]]]:
    """Ask about some names at a time; those of each call, and what was said of these."""
    work = [(keys, page) for keys, names in found.items() for page in pages(names, count)]
    replies = yield from session.read_each([call(keys, page) for keys, page in work])
    return work, replies


def _is_as_stored(one: Sound, sealed: bytes | None) -> bool:
    if sealed is None or is_manifest(sealed):
        return False
    try:
        digest, size = records.decode_header(one.header, one.name.decode())
        unseal(sealed, digest, size=size)
    except CorruptArtifactError:
        return False
    return True


@lru_cache(maxsize=512)  # partitions
def _content(keys: Keys) -> IdForm:
    return IdForm((b"GET", keys.content(ANY_ID)))
