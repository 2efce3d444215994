"""Which artifacts fit, as plain commands tell: they cost a server less than a script. Scripts tell of the others.

The answers are not of one moment. What changes in between may seem not to fit, and is looked at again; what does not
fit stays so, and is found by whichever answer shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
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

_FOREVER: Final = -1  # how PEXPIRETIME says it
_UNITS: Final = 5  # that ask about a partition


class Fitting(NamedTuple):
    """An artifact of a default id that one run leases, in one piece: its number, lease field, header, stored bytes.

    `ends`: where it stands in the index by deadline, as the server says it.
    """

    number: int
    field: bytes
    header: bytes
    stored: int
    ends: Any


def fitting(session: Session, groups: Sequence[tuple[Keys, Sequence[bytes]]]) -> Plan[list[list[Fitting]]]:
    """Which artifacts of each partition surely fit; `audit_artifacts.lua` says what that means."""
    packed = [_members(names) for _, names in groups]
    try:
        replies = yield from session.read_each(
            [
                unit
                for (keys, names), members in zip(groups, packed, strict=True)
                for unit in _units(keys, names, members)
            ]
        )
        found = [_those(members, replies[_UNITS * n :][:_UNITS]) for n, members in enumerate(packed)]
        runs = [(n, field) for n, by_field in enumerate(found) for field in by_field if field != b"-"]
        scores = yield from session.read_each(
            [
                Command(
                    groups[n][0].slot,
                    (b"ZMSCORE", groups[n][0].run_of(field[1:]), *[packed[n][one.number] for one in found[n][field]]),
                    same,
                )
                for n, field in runs
            ]
        )
    except CorruptArtifactError:  # a key of another type
        return [[] for _ in groups]
    for (n, field), some in zip(runs, scores, strict=True):
        found[n][field] = [one for one, score in zip(found[n][field], some, strict=True) if score == one.ends]
    return [[one for some in by_field.values() for one in some] for by_field in found]


def _members(names: Sequence[bytes]) -> list[bytes]:
    packed = bytes.fromhex(b"".join(names).decode())
    return [packed[at : at + BINARY] for at in range(0, len(packed), BINARY)]


def _units(keys: Keys, names: Sequence[bytes], members: Sequence[bytes]) -> list[Unit[Any]]:
    """What is asked about some artifacts."""
    return [
        Command(keys.slot, (b"ZCOUNT", keys.created, BEHIND, b"+inf"), int),
        Command(keys.slot, (b"ZCARD", keys.runs), int),  # an error where that is of another type
        Command(keys.slot, (b"ZMSCORE", keys.created, *members), same),
        Command(keys.slot, (b"ZMSCORE", keys.deadlines, *members), same),
        Repeated(_form(keys), keys.slot, names, same, TIME),
    ]


def _those(members: Sequence[bytes], replies: Sequence[Any]) -> dict[bytes, list[Fitting]]:
    """Those that fit by lease field, whether or not their run's index knows them."""
    labels, _, created, deadlines, (time, *answers) = replies
    if labels:
        return {}
    now = milliseconds(time)
    found: dict[bytes, list[Fitting]] = {}
    rows = zip(members, created, deadlines, *[iter(answers)] * 5, strict=True)
    for number, (member, stored_at, ends, fields, until, content_until, stored, rare) in enumerate(rows):
        one = records.single_lease(fields)
        if rare or one is None or stored_at is None or ends is None or stored < HEADER.size:
            continue
        header, field, lease = one
        if until != content_until or not records.is_of(header, member) or records.is_damaged(lease) or b"\n" in field:
            continue
        created_at, deadline = records.moments_of(lease, member)
        lasting = deadline == records.FOREVER
        if (
            deadline > now
            and until == (_FOREVER if lasting else deadline)
            and float(ends) == (float("inf") if lasting else deadline)
            and float(stored_at) >= created_at
            and not may_be_manifest(stored, records.size_of(header, member))
        ):
            found.setdefault(field, []).append(Fitting(number, field, header, stored, ends))
    return found


@lru_cache(maxsize=512)  # partitions
def _form(keys: Keys) -> IdForm:
    artifact, content = keys.artifact(ANY_ID), keys.content(ANY_ID)
    return IdForm(
        (b"HRANDFIELD", artifact, b"3", b"WITHVALUES"),
        (b"PEXPIRETIME", artifact),
        (b"PEXPIRETIME", content),
        (b"STRLEN", content),
        (b"EXISTS", keys.leases(ANY_ID), keys.stores(ANY_ID), keys.needs(ANY_ID)),
    )
