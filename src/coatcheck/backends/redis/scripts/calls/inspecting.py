"""Calls of `check`, `gc`, mending and the doctor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ...layout.keys import Keys, member_of
from ..script import Call, Script
from .common import Name, change_keys, chunks_in, pairs, raw


class Checked(NamedTuple):
    """What `check_artifact` found. `stored`: bytes of its content; -1 where there is none."""

    state: str
    problems: list[str]
    runs: list[bytes]
    chunks: tuple[bytes, int] | None
    stored: int


class Judgement(NamedTuple):
    """A problem ('' for none), the bytes that it concerns, whether it was removed, and chunks that have to follow."""

    problem: str
    size: int
    removed: bool
    chunks: tuple[bytes, int] | None = None


class Fitting(NamedTuple):
    """What an audit of some artifacts says.

    Attributes:
        others: The numbers of those that may not fit.
        leases: Lease fields of those that do, which one run leases each.
        stored: Bytes that are stored of these, where that was asked for.
        headers: Their headers, likewise.
    """

    others: list[int]
    leases: list[bytes]
    stored: list[int]
    headers: list[bytes]


def audit_artifacts(keys: Keys, names: Sequence[bytes], *, headers: bool) -> Call[Fitting]:
    """`audit_artifacts.lua`.

    Args:
        keys: The partition.
        names: Artifacts of default ids.
        headers: Whether sizes and headers are wanted.
    """

    def decode(reply: Any) -> Fitting:
        others, fields, sizes, headers = reply
        numbers, leases = _numbers(others, len(names)), fields.split(b"\n") if fields else []
        if len(numbers) + len(leases) != len(names):
            raise ValueError(f"{len(numbers)} and {len(leases)} of {len(names)} artifacts")
        return Fitting(numbers, leases, list(map(int, sizes)), headers)

    members = [bytes.fromhex(name.decode()) for name in names]
    arguments = [keys.prefix, b"1" if headers else b"", b"%d" % len(names), *names, *members]
    return Call(_AUDIT_ARTIFACTS, keys.slot, keys.catalog, arguments, decode)


def audit_contents(keys: Keys, names: Sequence[bytes]) -> Call[list[int]]:
    """`audit_contents.lua`: the numbers of contents that are not surely needed."""
    return Call(
        _AUDIT_CONTENTS,
        keys.slot,
        [keys.created],
        [keys.prefix, *names],
        lambda reply: _numbers(reply, len(names)),
    )


def _numbers(reply: Any, count: int) -> list[int]:
    """Numbers of items, as Lua counts them, in order."""
    numbers = [int(number) - 1 for number in reply]
    if not all(0 <= number < count for number in numbers) or sorted(set(numbers)) != numbers:
        raise ValueError(f"numbers of {count} items: {reply!r:.100}")
    return numbers


class Audited(NamedTuple):
    """How many members there were from a rank on, whether all are sure, whether two indexes have as many members.

    More than were asked for: nobody had to look.
    """

    members: int
    sure: bool
    even: bool


def audit_index(
    keys: Keys, index: tuple[bytes, bytes], field: bytes, first: int, count: int, counted: int = 0
) -> Call[Audited]:
    """`audit_index.lua`, from a rank on. `counted`: members that surely stand for something."""

    def decode(reply: Any) -> Audited:
        found, sure, even = reply
        return Audited(int(found), sure == 1, even == 1)

    return Call(
        _AUDIT_INDEX,
        keys.slot,
        [*index, keys.runs],
        [keys.prefix, field, *(b"%d" % n for n in (first, count, counted))],
        decode,
    )


def check_artifact(keys: Keys, name: Name, repair: bytes) -> Call[Checked]:
    """`check_artifact.lua`. `repair`: `1`, `e` only what has expired, or nothing."""

    def decode(reply: Any) -> Checked:
        state, problems, runs, chunks, stored = reply
        return Checked(state.decode(), [problem.decode() for problem in problems], runs, chunks_in(chunks), int(stored))

    arguments = [keys.prefix, b"", *pairs([name]), repair]
    return Call(_CHECK_ARTIFACT, keys.slot, change_keys(keys, keys.run(None), [name]), arguments, decode)


def index_lease(keys: Keys, artifact_id: bytes, run: bytes, run_key: bytes, repair: bytes) -> Call[bool]:
    """`index_lease.lua`: whether the run's index did not know its lease."""
    names = [*keys.catalog, run_key, keys.artifact(artifact_id)]
    return Call(
        _INDEX_LEASE,
        keys.slot,
        names,
        [keys.prefix, run, member_of(artifact_id), repair],
        lambda reply: bool(reply == 1),
    )


class Mended(NamedTuple):
    """Where to go on (`0`: the end), entries that were wrong, runs whose indexes may be wrong."""

    cursor: bytes
    wrong: int
    runs: list[bytes]


def mend(
    keys: Keys, artifact_id: bytes, what: bytes, cursor: bytes, *, runs: bool = False, repair: bool = True
) -> Call[Mended]:
    """`mend.lua`. `runs`: look at the runs' indexes too."""
    names = [keys.artifact(artifact_id), keys.leases(artifact_id), keys.stores(artifact_id)]
    arguments = [keys.prefix, what, cursor, member_of(artifact_id) if runs else b"", b"1" if repair else b""]
    return Call(_MEND, keys.slot, names, arguments, lambda reply: Mended(reply[0], reply[1], reply[2:]))


def check_content(
    keys: Keys, content_id: bytes, repair: bytes, grace: int, upload_ms: int, stale: int
) -> Call[Judgement]:
    """`check_content.lua`. `grace`: seconds; `stale`: members of `needs` that stand for nothing, and were left."""
    names = [keys.content(content_id), keys.needs(content_id), keys.artifact(content_id)]
    return Call(_CHECK_CONTENT, keys.slot, names, [repair, b"%d" % grace, b"%d" % upload_ms, b"%d" % stale], _judgement)


def check_chunks(
    keys: Keys, content_id: bytes, token: bytes, chunks: Sequence[bytes], repair: bytes, grace: int, upload_ms: int
) -> Call[list[Judgement]]:
    """`check_chunks.lua`. `grace`: seconds."""
    names = [keys.content(content_id), keys.staging(content_id, token), *chunks]
    arguments = [token, repair, b"%d" % grace, b"%d" % upload_ms]
    return Call(_CHECK_CHUNKS, keys.slot, names, arguments, lambda reply: [_judgement([*one, ()]) for one in reply])


class Index(NamedTuple):
    """A problem of the index ('' for none), how many members were dropped, how many have expired, stale members."""

    problem: str
    dropped: int
    expired: int
    stale: list[bytes]


def check_index(
    keys: Keys,
    index: tuple[bytes, bytes],
    kind: str,
    name: bytes,
    members: Sequence[tuple[bytes, bytes]],
    *,
    stale: bytes,
    expired: bytes,
    expiry: bytes,
    hold_us: int,
) -> Call[Index]:
    """`check_index.lua`.

    Args:
        keys: The partition.
        index: The index, and the one that knows its members' deadlines.
        kind: `run`, `needs`, `catalog`, `runs` or `labelled`.
        name: Lease field of the run, content id, or what artifacts are known under.
        members: Members, each with the key that it stands for.
        stale: `1`: drop stale members.
        expired: `1`: drop expired ones.
        expiry: `1`: repair the index's own expiry, and that the list of runs lacks it.
        hold_us: How old a hold may be, in us.
    """

    def decode(reply: Any) -> Index:
        problem, dropped, ended, *rest = reply
        return Index(problem.decode(), dropped, ended, rest)

    arguments = [
        kind.encode(),
        raw(name) if kind == "needs" else name,
        stale,
        expired,
        expiry,
        b"%d" % hold_us,
        *(member for member, _ in members),
    ]
    return Call(_CHECK_INDEX, keys.slot, [*index, keys.runs, *(key for _, key in members)], arguments, decode)


def drop_content(keys: Keys, content_id: bytes, start: bytes, size: int) -> Call[Judgement]:
    """`drop_content.lua`."""

    def decode(reply: Any) -> Judgement:
        return Judgement("", size, reply[0] == 1, chunks_in(reply[1]))

    return Call(_DROP_CONTENT, keys.slot, [keys.content(content_id)], [start, b"%d" % size], decode)


def permitted(commands: Sequence[bytes]) -> Call[list[bool]]:
    """`permitted.lua`: whether the user of the connection may send each of these, its words joined by newlines."""
    return Call(_PERMITTED, 0, [], commands, lambda reply: list(map(bool, reply)))


def _judgement(reply: Any) -> Judgement:
    problem, size, removed, chunks = reply
    return Judgement(problem.decode(), size, removed == 1, chunks_in(chunks))


_AUDIT_ARTIFACTS: Final = Script("audit_artifacts")
_AUDIT_CONTENTS: Final = Script("audit_contents")
_AUDIT_INDEX: Final = Script("audit_index")
_CHECK_ARTIFACT: Final = Script("check_artifact")
_INDEX_LEASE: Final = Script("index_lease")
_MEND: Final = Script("mend")
_CHECK_CONTENT: Final = Script("check_content")
_CHECK_CHUNKS: Final = Script("check_chunks")
_CHECK_INDEX: Final = Script("check_index")
_DROP_CONTENT: Final = Script("drop_content")
_PERMITTED: Final = Script("permitted")
EVICTION_POLICY: Final = Script("eviction_policy")
