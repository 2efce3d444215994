"""Calls of `check`, `gc`, mending and the doctor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from ...layout.keys import Keys, member_of
from ..script import Call, Script
from .common import Name, change_keys, chunks_in, pairs, raw

T = TypeVar("T")


class Checked(NamedTuple):
    """What `check_artifact` found."""

    state: str
    problems: list[str]
    runs: list[bytes]
    chunks: tuple[bytes, int] | None


class Judgement(NamedTuple):
    """A problem ('' for none), the bytes that it concerns, whether it was removed, and chunks that have to follow."""

    problem: str
    size: int
    removed: bool
    chunks: tuple[bytes, int] | None = None


Audit = Callable[[Keys, Sequence[bytes]], Call[list[T]]]
"""Says something of each of some members of a partition."""


def audit_artifacts(keys: Keys, members: Sequence[bytes], *, headers: bool) -> Call[list[tuple[int, bytes]]]:
    """`audit_artifacts.lua`: how many bytes of each are stored, 0 where it has to be looked at by itself, and headers.

    Args:
        keys: The partition.
        members: Artifacts of default ids.
        headers: Whether headers are wanted; else they are empty.
    """

    def decode(reply: Any) -> list[tuple[int, bytes]]:
        sizes = reply[: len(members)]
        return list(zip(map(int, sizes), reply[len(members) :] or [b""] * len(sizes), strict=True))

    arguments = [keys.prefix, b"1" if headers else b"", *members]
    return Call(_AUDIT_ARTIFACTS, keys.slot, keys.catalog, arguments, decode)


def audit_contents(keys: Keys, contents: Sequence[bytes]) -> Call[list[bool]]:
    """`audit_contents.lua`: whether each, of 16 bytes, is surely needed."""
    return Call(
        _AUDIT_CONTENTS, keys.slot, [keys.created], [keys.prefix, *contents], lambda reply: [one == 1 for one in reply]
    )


class Audited(NamedTuple):
    """How many members there were from a rank on, whether all are sure, whether two indexes have as many members."""

    members: int
    sure: bool
    even: bool


def audit_index(keys: Keys, index: tuple[bytes, bytes], field: bytes, first: int, count: int) -> Call[Audited]:
    """`audit_index.lua`, from a rank on."""

    def decode(reply: Any) -> Audited:
        found, sure, even = reply
        return Audited(int(found), sure == 1, even == 1)

    return Call(_AUDIT_INDEX, keys.slot, index, [keys.prefix, field, b"%d" % first, b"%d" % count], decode)


def check_artifact(keys: Keys, name: Name, repair: bytes) -> Call[Checked]:
    """`check_artifact.lua`. `repair`: `1`, `e` only what has expired, or nothing."""

    def decode(reply: Any) -> Checked:
        state, problems, runs, chunks = reply
        return Checked(state.decode(), [problem.decode() for problem in problems], runs, chunks_in(chunks))

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
        expiry: `1`: repair the index's own expiry.
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
    return Call(_CHECK_INDEX, keys.slot, [*index, *(key for _, key in members)], arguments, decode)


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
