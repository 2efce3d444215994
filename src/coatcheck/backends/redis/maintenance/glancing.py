"""Which artifacts fit, as plain commands tell: they cost a server less than a script. Scripts tell of the others.

The answers are not of one moment. What changes in between may seem not to fit, and is looked at again; what does not
fit stays so, and is found by whichever answer shows it. What else may claim an artifact has a key of its own (indexes
of many leases, needs of its content), and is found there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from ....envelope import HEADER
from ....errors import CorruptArtifactError
from ....manifest import may_be_manifest
from ....plan import Plan
from ..layout import records
from ..layout.keys import BINARY, Keys
from ..layout.labels import BEHIND
from ..scripts.plain import TIME, milliseconds
from ..scripts.script import ANY_ID, Command, IdForm, Repeated, Unit, same
from ..session import Session

_UNITS: Final = 5  # that ask about a partition
_FOREVER: Final = -1  # how PEXPIRETIME says it


class Fitting(NamedTuple):
    """An artifact of a default id that one run leases, in one piece; nobody asked that run's index yet.

    Attributes:
        number: Its number.
        member: Itself as a member of indexes.
        field: Its lease field.
        header: Its header.
        ends: Its deadline as an index says it.
        stored: Bytes of its content; 0 where nobody looked.
    """

    number: int
    member: bytes
    field: bytes
    header: bytes
    ends: Any
    stored: int


def fitting(session: Session, found: Mapping[Keys, Sequence[bytes]], *, whole: bool) -> Plan[list[list[Fitting]]]:
    """Which artifacts of each partition surely fit; `audit_artifacts.lua` says what that means.

    Args:
        session: The namespace.
        found: Their ids.
        whole: Look at contents and at expiries, too. Else one that fits holds nothing that is left over.
    """
    packed = [_members(names) for names in found.values()]
    try:
        replies = yield from session.read_each(
            [
                unit
                for (keys, names), members in zip(found.items(), packed, strict=True)
                for unit in _units(keys, names, members, whole=whole)
            ]
        )
        return [list(_those(members, *replies[_UNITS * n :][:_UNITS], whole=whole)) for n, members in enumerate(packed)]
    except CorruptArtifactError:  # a key of another type
        return [[] for _ in packed]


def _members(names: Sequence[bytes]) -> list[bytes]:
    packed = bytes.fromhex(b"".join(names).decode())
    return [packed[at : at + BINARY] for at in range(0, len(packed), BINARY)]


def _units(keys: Keys, names: Sequence[bytes], members: Sequence[bytes], *, whole: bool) -> list[Unit[Any]]:
    """What is asked about some artifacts."""
    return [
        Command(keys.slot, (b"ZCOUNT", keys.created, BEHIND, b"+inf"), int),
        Command(keys.slot, (b"ZCARD", keys.runs), int),  # an error where that is of another type
        Command(keys.slot, (b"ZMSCORE", keys.created, *members), same),
        Command(keys.slot, (b"ZMSCORE", keys.deadlines, *members), same),
        Repeated(_form(keys, whole=whole), keys.slot, names, same, TIME),
    ]


def _those(
    members: Sequence[bytes],
    labels: int,
    _: int,
    created: Sequence[Any],
    deadlines: Sequence[Any],
    told: Any,
    *,
    whole: bool,
) -> Iterator[Fitting]:
    """Those that fit."""
    if labels and whole:
        return
    now, answers, step = milliseconds(told[0]), told[1:], 4 if whole else 1
    rows = zip(members, created, deadlines, answers[::step], strict=True)
    for number, (member, stored_at, ends, fields) in enumerate(rows):
        one = records.sole_lease(fields, member)
        if one is None or stored_at is None or ends is None:
            continue
        header, field, created_at, deadline = one
        lasting = deadline == records.FOREVER
        if deadline <= now or float(ends) != (math.inf if lasting else deadline) or float(stored_at) < created_at:
            continue
        stored = 0
        if whole:
            until, content_until, stored = answers[step * number + 1 : step * (number + 1)]
            if (
                until != content_until
                or until != (_FOREVER if lasting else deadline)
                or stored < HEADER.size
                or may_be_manifest(stored, records.size_of(header, member))
            ):
                continue
        yield Fitting(number, member, field, header, ends, stored)


@lru_cache(maxsize=1024)  # partitions, either way
def _form(keys: Keys, *, whole: bool) -> IdForm:
    artifact, content = keys.artifact(ANY_ID), keys.content(ANY_ID)
    leases = (b"HRANDFIELD", artifact, b"3", b"WITHVALUES")
    if not whole:
        return IdForm(leases)
    return IdForm(leases, (b"PEXPIRETIME", artifact), (b"PEXPIRETIME", content), (b"STRLEN", content))
