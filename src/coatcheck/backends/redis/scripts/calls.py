"""One typed function per file of `lua/`: arguments in, reply decoded. Nothing else knows the order of KEYS and ARGV."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from ....arguments import Request
from ....envelope import Sealed
from ....ids import ID_LENGTH, is_default_id
from ..layout import records
from ..layout.keys import Keys, member_of, quoted
from ..layout.records import encode_header, encode_view
from .script import Call, Filled, Script, ScriptForm

Where = Literal["inline", "placed", "staged", "known", "held"]
"""Where the contents of a store call are: see `lua/store.lua`."""


class Chunks(NamedTuple):
    """The chunks of one upload: they follow a content, see `lua/follow.lua`."""

    content: bytes
    token: bytes
    total: int


class Name(NamedTuple):
    """An artifact, the content that it stands for, and the chunks of that, as far as the caller knows."""

    artifact: bytes
    content: bytes
    chunks: Chunks | None = None

    @classmethod
    def of(cls, artifact_id: str, content_id: bytes | None = None) -> Name:
        """The name of an artifact; a default id is the name of its content."""
        artifact = artifact_id.encode()
        if content_id is None:
            content_id = artifact if is_default_id(artifact_id) else _UNKNOWN
        return cls(artifact, content_id)


_UNKNOWN: Final = b"0" * ID_LENGTH  # the content of an explicit id before it was asked for


View = tuple[bytes, bytes, bytes] | None
"""Header, lease field, lease."""


class Outcome(NamedTuple):
    """What became of one artifact in a script that changes it. What is not said of it is empty.

    Attributes:
        kind: `ok`, or why nothing was written: see the script.
        created: Time of the store in us.
        deadline: When the lease ends, in ms; or until when staged chunks have to last.
        other: The content that the artifact stands for.
        token: Of chunks that have to be held, or have to follow.
        chunks: How many these are.
        told: Whether all runs know that their leases on what is gone have ended.
        winner: The view that stands against a condition.
    """

    kind: str
    created: int = 0
    deadline: int = 0
    other: bytes = b""
    token: bytes = b""
    chunks: int = 0
    told: bool = False
    winner: View = None


class Checked(NamedTuple):
    """What `check_artifact` found."""

    state: str
    problems: list[str]
    runs: list[bytes]
    chunks: tuple[bytes, int] | None


# Writing ------------------------------------------------------------------------------------------------------------


def store(
    keys: Keys,
    requests: Sequence[Request],
    contents: Sequence[Sealed | None],
    where: Where,
    *,
    first: Sequence[Any] | None = None,
    staging: bytes = b"",
    deadline: int | None = None,
    note: bytes = b"",
    replacing: bytes = b"",
    buried: bytes = b"",
) -> Call[list[Outcome]]:
    """`store.lua`, for requests of one run and TTL; a request with a condition comes alone.

    Args:
        keys: The partition of all of them.
        requests: What is stored.
        contents: Sealed contents where they are sent in the call.
        where: Where the contents are.
        first: The command that puts the content beside the script.
        staging: The staging key.
        deadline: When the leases end, in ms, instead of the requests' TTL.
        note: The hold, or until when staged chunks last, in ms.
        replacing: The content that an explicit id is known to stand for.
        buried: A key for leases that end with it.
    """
    one = requests[0]
    names = [keys.created, keys.deadlines, keys.runs, keys.run(one.run_id)]
    arguments = [
        keys.prefix,
        quoted(one.run_id),
        _ttl(one.ttl_ms),
        b"" if deadline is None else b"%d" % deadline,
        where.encode(),
        note,
        bytes.fromhex(replacing.decode()),
    ]
    for request, content in zip(requests, contents, strict=True):
        artifact = request.artifact_id.encode()
        names += keys.of(artifact, request.default_id.encode())
        sealed = b"" if content is None else content[0] + content[1]
        arguments += (member_of(artifact), encode_header(request), encode_view(request), sealed)
    if not one.is_plain:
        arguments += (_condition(one), b"1" if one.exact_ttl else b"")
    if staging:
        names.append(staging)
    names.append(keys.run(None))
    if replacing:
        names += (keys.content(replacing), keys.needs(replacing), keys.artifact(replacing), buried)

    def decode(reply: Any) -> list[Outcome]:
        return [outcome for _, outcome in zip(requests, outcomes(reply), strict=True)]

    return Call(_STORE, keys.slot, names, arguments, decode, first)


def _condition(request: Request) -> bytes:
    if request.condition is None:
        return b""
    return b"absent" if request.condition.digest is None else request.condition.digest


def store_small(keys: Keys, request: Request, content: Sealed) -> Filled[Outcome]:
    """`store.lua` for one plain request whose content is sent along: most stores."""
    artifact, content_id = request.artifact_id.encode(), request.default_id.encode()
    values = (
        *keys.of(artifact, content_id),
        member_of(artifact),
        encode_header(request),
        encode_view(request),
        content[0] + content[1],
    )
    return Filled(_small_form(keys, request.run_id, request.ttl_ms), keys.slot, values, _first_outcome)


@lru_cache(maxsize=256)  # a worker stores for few runs
def _small_form(keys: Keys, run_id: str | None, ttl_ms: int | None) -> ScriptForm:
    names = (*keys.catalog, keys.run(run_id), *(None,) * 6, keys.run(None))
    words = (keys.prefix, quoted(run_id), _ttl(ttl_ms), b"", b"inline", b"", b"", *(None,) * 4)
    return ScriptForm(_STORE, names, words)


def acquire(
    keys: Keys,
    names: Sequence[Name],
    run_id: str | None,
    ttl_ms: int | None,
    *,
    deadline: int | None = None,
    hold: bytes = b"",
) -> Call[list[Outcome]]:
    """`acquire.lua`."""
    arguments = [
        keys.prefix,
        quoted(run_id),
        _ttl(ttl_ms),
        b"" if deadline is None else b"%d" % deadline,
        hold,
        *_pairs(names),
    ]
    return Call(_ACQUIRE, keys.slot, _change_keys(keys, keys.run(run_id), names), arguments, outcomes)


def touch(
    keys: Keys, name: Name, run_id: str | None, ttl_ms: int | None, *, deadline: int | None = None, hold: bytes = b""
) -> Call[Outcome]:
    """`touch.lua`."""
    arguments = [
        keys.prefix,
        quoted(run_id),
        _ttl(ttl_ms),
        b"" if deadline is None else b"%d" % deadline,
        hold,
        *_pairs([name]),
    ]
    return Call(_TOUCH, keys.slot, _change_keys(keys, keys.run(run_id), [name]), arguments, _outcome)


def update(keys: Keys, artifact_id: bytes, run_id: str | None, old: bytes, new: bytes) -> Call[Lease]:
    """`update.lua`: header and lease as they are now."""
    return Call(_UPDATE, keys.slot, [keys.artifact(artifact_id)], [quoted(run_id), old, new], _lease)


def release(keys: Keys, names: Sequence[Name], run_id: str | None) -> Call[list[Outcome]]:
    """`release.lua`."""
    arguments = [keys.prefix, quoted(run_id), *_known(names)]
    return Call(_RELEASE, keys.slot, _change_keys(keys, keys.run(run_id), names), arguments, outcomes)


def delete(keys: Keys, names: Sequence[Name], buried: bytes = b"") -> Call[list[Outcome]]:
    """`delete.lua`. `buried`: where the leases go of one artifact that has many."""
    arguments = [keys.prefix, b"1" if buried else b"", *_known(names)]
    return Call(_DELETE, keys.slot, _change_keys(keys, buried or keys.run(None), names), arguments, outcomes)


def forget(keys: Keys, artifact_id: bytes, buried: bytes, count: int) -> Call[int]:
    """`forget.lua`: how many leases are left."""
    names = [keys.created, keys.deadlines, keys.runs, buried, keys.artifact(artifact_id), keys.run(None)]
    return Call(_FORGET, keys.slot, names, [keys.prefix, b"", member_of(artifact_id), b"%d" % count], int)


# Large content ------------------------------------------------------------------------------------------------------


class Hold(NamedTuple):
    """A hold on the chunks of a content: its member in `needs`, until when (ms), and the chunks."""

    member: bytes
    deadline: int
    chunks: Chunks


def hold(keys: Keys, content_id: bytes, member: bytes, ttl_ms: int | None) -> Call[Hold | None]:
    """`hold.lua`; `None` where the content is not chunked."""

    def decode(reply: Any) -> Hold | None:
        return Hold(member, reply[0], Chunks(content_id, *reply[1:])) if reply else None

    arguments = [member, _ttl(ttl_ms), _raw(content_id)]
    return Call(_HOLD, keys.slot, [keys.content(content_id), keys.needs(content_id)], arguments, decode)


def follow(keys: Keys, chunks: Chunks, numbers: Sequence[int], given_up: bytes = b"") -> Call[int]:
    """`follow.lua`: how many of the chunks are there. `given_up`: a hold that ends."""
    names = [keys.content(chunks.content), keys.needs(chunks.content), keys.artifact(chunks.content)]
    names += (keys.chunk(chunks.content, chunks.token, n) for n in numbers)
    return Call(_FOLLOW, keys.slot, names, [chunks.token, given_up], int)


def discard(keys: Keys, chunks: Chunks, numbers: Sequence[int]) -> Call[int]:
    """`discard.lua`: how many keys were removed."""
    names = [keys.content(chunks.content), keys.staging(chunks.content, chunks.token)]
    names += (keys.chunk(chunks.content, chunks.token, n) for n in numbers)
    return Call(_DISCARD, keys.slot, names, [chunks.token], int)


# Reading ------------------------------------------------------------------------------------------------------------


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


def metadata(keys: Keys, ids: Sequence[bytes], budget: int) -> Call[list[View]]:
    """`metadata.lua`: views of the first of them, as many as fit into `budget` bytes."""
    names = [key for i in ids for key in (keys.artifact(i), keys.leases(i), keys.stores(i))]
    return Call(_METADATA, keys.slot, names, [b"%d" % budget], lambda reply: _rows(reply, 3))


Lease = tuple[bytes, bytes] | None
"""Header, lease."""


def run_views(keys: Keys, ids: Sequence[bytes], run_id: str | None, budget: int) -> Call[list[Lease]]:
    """`run_views.lua`: header and lease of the first of them, as many as fit into `budget` bytes."""
    arguments = [quoted(run_id), b"%d" % budget]
    return Call(_RUN_VIEWS, keys.slot, [keys.artifact(i) for i in ids], arguments, _same)


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


# Maintenance --------------------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """A problem ('' for none), the bytes that it concerns, whether it was removed, and chunks that have to follow."""

    problem: str
    size: int
    removed: bool
    chunks: tuple[bytes, int] | None = None


def check_artifact(keys: Keys, name: Name, repair: bytes) -> Call[Checked]:
    """`check_artifact.lua`. `repair`: `1`, `e` only what has expired, or nothing."""

    def decode(reply: Any) -> Checked:
        state, problems, runs, chunks = reply
        return Checked(state.decode(), [problem.decode() for problem in problems], runs, _chunks(chunks))

    arguments = [keys.prefix, b"", *_pairs([name]), repair]
    return Call(_CHECK_ARTIFACT, keys.slot, _change_keys(keys, keys.run(None), [name]), arguments, decode)


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


def check_content(keys: Keys, content_id: bytes, repair: bytes, grace: int, upload_ms: int, stale: int) -> Call[Found]:
    """`check_content.lua`. `grace`: seconds; `stale`: members of `needs` that stand for nothing, and were left."""
    names = [keys.content(content_id), keys.needs(content_id), keys.artifact(content_id)]
    return Call(_CHECK_CONTENT, keys.slot, names, [repair, b"%d" % grace, b"%d" % upload_ms, b"%d" % stale], _found)


def check_chunks(
    keys: Keys, content_id: bytes, token: bytes, chunks: Sequence[bytes], repair: bytes, grace: int, upload_ms: int
) -> Call[list[Found]]:
    """`check_chunks.lua`. `grace`: seconds."""
    names = [keys.content(content_id), keys.staging(content_id, token), *chunks]
    arguments = [token, repair, b"%d" % grace, b"%d" % upload_ms]
    return Call(_CHECK_CHUNKS, keys.slot, names, arguments, lambda reply: [_found([*one, ()]) for one in reply])


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
        kind: `run`, `needs`, `catalog` or `runs`.
        name: Lease field of the run, or content id.
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
        _raw(name) if kind == "needs" else name,
        stale,
        expired,
        expiry,
        b"%d" % hold_us,
        *(member for member, _ in members),
    ]
    return Call(_CHECK_INDEX, keys.slot, [*index, *(key for _, key in members)], arguments, decode)


def drop_content(keys: Keys, content_id: bytes, start: bytes, size: int) -> Call[Found]:
    """`drop_content.lua`."""

    def decode(reply: Any) -> Found:
        return Found("", size, reply[0] == 1, _chunks(reply[1]))

    return Call(_DROP_CONTENT, keys.slot, [keys.content(content_id)], [start, b"%d" % size], decode)


def permitted(commands: Sequence[bytes]) -> Call[list[bool]]:
    """`permitted.lua`: whether the user of the connection may send each of these, its words joined by newlines."""
    return Call(_PERMITTED, 0, [], commands, lambda reply: list(map(bool, reply)))


# Arguments and replies ----------------------------------------------------------------------------------------------


def _ttl(ttl_ms: int | None) -> bytes:
    return b"" if ttl_ms is None else b"%d" % ttl_ms


def _raw(content_id: bytes) -> bytes:
    return bytes.fromhex(content_id.decode())


def _pairs(names: Sequence[Name]) -> list[bytes]:
    return [argument for name in names for argument in (member_of(name.artifact), _raw(name.content))]


def _known(names: Sequence[Name]) -> list[bytes]:
    return [
        argument
        for name in names
        for argument in (member_of(name.artifact), _raw(name.content), name.chunks.token if name.chunks else b"")
    ]


def _change_keys(keys: Keys, fourth: bytes, names: Sequence[Name]) -> list[bytes]:
    found = [keys.created, keys.deadlines, keys.runs, fourth]
    for name in names:
        found += keys.of(name.artifact, name.content)
    found.append(keys.run(None))
    return found


def _rows(reply: Any, width: int) -> list[Any]:
    """A list cut into rows; `None` for those that begin with nothing."""
    return [None if row[0] is None else row for row in zip(*[iter(reply)] * width, strict=True)]


def _same(reply: Any) -> Any:
    return reply


def _lease(reply: Any) -> Lease:
    if reply is None:
        return None
    header, lease = reply
    if not isinstance(header, bytes) or not isinstance(lease, bytes):
        raise TypeError("header and lease that are no bytes")
    return header, lease


def _chunks(reply: Any) -> tuple[bytes, int] | None:
    return (reply[0], reply[1]) if reply else None


def _found(reply: Any) -> Found:
    problem, size, removed, chunks = reply
    return Found(problem.decode(), size, removed == 1, _chunks(chunks))


def outcomes(reply: Any) -> list[Outcome]:
    """What became of each artifact."""
    return [_outcome(one) for one in reply]


def _first_outcome(replies: Any) -> Outcome:
    [[outcome]] = replies
    if outcome[0] == b"ok" and len(outcome) == 3:
        return Outcome("ok", *records.times(outcome[1], outcome[2]))
    return _outcome(outcome)


def _outcome(reply: Any) -> Outcome:
    kind, *rest = reply
    if not rest:
        return Outcome(kind.decode())
    if kind == b"ok":
        created, deadline, told, *chunks = (*rest, 0) if len(rest) == 2 else rest
        token, count = chunks or (b"", 0)
        return Outcome("ok", *records.times(created, deadline), token=token, chunks=count, told=told == 1)
    if kind == b"other":
        return Outcome("other", other=rest[0].hex().encode())
    if kind == b"chunked":
        return Outcome("chunked", token=rest[0], chunks=rest[1])
    if kind == b"conflict":
        header, field, lease = rest
        return Outcome("conflict", winner=(header, field, lease))
    return Outcome(kind.decode(), deadline=rest[0])  # short


_STORE: Final = Script("store")
_ACQUIRE: Final = Script("acquire")
_UPDATE: Final = Script("update")
_TOUCH: Final = Script("touch")
_RELEASE: Final = Script("release")
_DELETE: Final = Script("delete")
_FORGET: Final = Script("forget")
_HOLD: Final = Script("hold")
_FOLLOW: Final = Script("follow")
_DISCARD: Final = Script("discard")
_LOAD: Final = Script("load")
_METADATA: Final = Script("metadata")
_RUN_VIEWS: Final = Script("run_views")
_LEASES: Final = Script("leases")
_FIGURES: Final = Script("figures")
_CHECK_ARTIFACT: Final = Script("check_artifact")
_INDEX_LEASE: Final = Script("index_lease")
_MEND: Final = Script("mend")
_CHECK_CONTENT: Final = Script("check_content")
_CHECK_CHUNKS: Final = Script("check_chunks")
_CHECK_INDEX: Final = Script("check_index")
_DROP_CONTENT: Final = Script("drop_content")
_PERMITTED: Final = Script("permitted")
EVICTION_POLICY: Final = Script("eviction_policy")
ALL: Final = tuple(value for value in list(vars().values()) if isinstance(value, Script))
