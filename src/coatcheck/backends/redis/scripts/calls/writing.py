"""Calls that store, and that take, change and give up leases."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from .....envelope import Sealed
from .....request import Request
from ...layout import records
from ...layout.keys import Keys, all_listed, default_member, member_of, quoted
from ...layout.labels import Marker
from ...layout.records import encode_header, encode_view, encode_views
from ..script import ANY_ID, Call, Filled, Script, ScriptForm
from .common import Chunks, Name, View, change_keys, known, pairs, raw, ttl_in_ms

Where = Literal["inline", "placed", "staged", "known", "held"]
"""Where the contents of a store call are: see `lua/store.lua`."""


class Outcome(NamedTuple):
    """What became of one artifact in a script that changes it. What is not said of it is empty.

    Attributes:
        kind: `ok`, or why nothing was written: see the script.
        created: Time of the store in us; the server's, where chunks have to be held.
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


Times = tuple[int, int]
"""Time of a store in us, and when its lease ends, in ms."""

Lease = tuple[bytes, bytes] | None
"""Header, lease."""


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
    wish: bytes = b"",
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
        note: The hold; or until when staged chunks last, in ms.
        replacing: The content that an explicit id is known to stand for.
        buried: A key for leases that end with it.
        wish: What to index by label where the partition is empty.
    """
    one = requests[0]
    names = [keys.created, keys.deadlines, keys.runs, keys.run(one.run_id)]
    arguments = [keys.prefix, quoted(one.run_id), ttl_in_ms(one.ttl_ms), where.encode()]
    for request, content, view in zip(requests, contents, encode_views(requests), strict=True):
        artifact = name = request.default_id.encode()
        if request.artifact_id == request.default_id:
            member = default_member(request.digest)
        else:
            artifact = request.artifact_id.encode()
            member = member_of(artifact)
        names += keys.of(artifact, name)
        arguments += (member, encode_header(request), view, b"" if content is None else content[0] + content[1])
    more = (
        b"" if deadline is None else b"%d" % deadline,
        note,
        raw(replacing),
        _condition(one),
        b"1" if one.exact_ttl else b"",
    )
    if wish:
        arguments += (*more, wish)
    elif any(more):
        arguments += more
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


def store_small(
    keys: Keys, request: Request, content: Sealed, *, wishes: bool, first: Sequence[Any] | None = None
) -> Filled[Times | None]:
    """`store_small.lua`, for a plain request under its default id: time of the store in us and deadline in ms.

    `None`: nothing was written, it takes `store`.

    Args:
        keys: The partition.
        request: What is stored.
        content: Its content.
        wishes: Whether something is to be indexed by label where the partition is empty.
        first: The command that puts the content in place; `None`: it travels in the call.
    """
    name, (envelope, payload) = request.default_id.encode(), content
    header, view = encode_header(request), encode_view(request)
    said = (len(header), header, len(view), view)
    values: tuple[int | bytes, ...]
    if first is None:
        sealed = envelope + payload
        values = (name, name, *said, len(sealed), sealed)
    else:
        length = b"%d" % (len(envelope) + len(payload))
        values = (name, name, name, *said, len(envelope), envelope, len(length), length)
    form = _small_form(keys, request.run_id, request.ttl_ms, wishes, first is not None)
    return Filled(form, keys.slot, values, _times, first=first)


@lru_cache(maxsize=256)  # a worker stores for few runs
def _small_form(keys: Keys, run_id: str | None, ttl_ms: int | None, wishes: bool, in_place: bool) -> ScriptForm:
    names = (*keys.catalog, keys.run(run_id), keys.artifact(ANY_ID), keys.content(ANY_ID))
    words = (keys.prefix, quoted(run_id), ttl_in_ms(ttl_ms), None, None, None)
    wish = b"1" if wishes else b""
    never = (keys.run(None),) if keys.is_tagged and run_id is not None else ()
    if in_place:
        return ScriptForm(_STORE_SMALL, (*names, keys.needs(ANY_ID), *never), (*words, wish, None))
    return ScriptForm(_STORE_SMALL, (*names, *never), (*words, wish) if wishes else words)


def withdraw(keys: Keys, request: Request, at_most: int) -> Call[bool]:
    """`withdraw.lua`: whether the content was removed. `at_most`: how long one that was put in place lasts, in ms."""
    name = request.default_id.encode()
    names = [keys.content(name), keys.needs(name), keys.artifact(name)]
    return Call(_WITHDRAW, keys.slot, names, [request.digest, b"%d" % at_most], lambda reply: bool(reply == 1))


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
        ttl_in_ms(ttl_ms),
        b"" if deadline is None else b"%d" % deadline,
        hold,
        *pairs(names),
    ]
    return Call(_ACQUIRE, keys.slot, change_keys(keys, keys.run(run_id), names), arguments, outcomes)


def touch(
    keys: Keys,
    names: Sequence[Name],
    run_id: str | None,
    ttl_ms: int | None,
    *,
    longer: bool = False,
    deadline: int | None = None,
    hold: bytes = b"",
) -> Call[list[Outcome]]:
    """`touch.lua`. `longer`: deadlines are only made later."""
    arguments = [
        keys.prefix,
        quoted(run_id),
        ttl_in_ms(ttl_ms),
        b"" if deadline is None else b"%d" % deadline,
        hold,
        b"1" if longer else b"",
        *pairs(names),
    ]
    return Call(_TOUCH, keys.slot, change_keys(keys, keys.run(run_id), names), arguments, outcomes)


def update(keys: Keys, artifact_id: bytes, run_id: str | None, old: bytes, new: bytes) -> Call[Lease]:
    """`update.lua`: header and lease as they are now."""
    names = [*keys.catalog, keys.run(run_id), keys.artifact(artifact_id), keys.run(None)]
    arguments = [keys.prefix, quoted(run_id), old, new, member_of(artifact_id)]
    return Call(_UPDATE, keys.slot, names, arguments, _lease)


def index_labels(keys: Keys, members: Sequence[bytes]) -> Call[int]:
    """`index_labels.lua`: how many of the artifacts are there."""
    names = [*keys.catalog, keys.run(None), *map(keys.artifact_of, members), keys.run(None)]
    return Call(_INDEX_LABELS, keys.slot, names, [keys.prefix, b"", *members], int)


def mark(keys: Keys, changes: Sequence[tuple[Marker | None, Marker | None]]) -> Call[bool]:
    """`mark.lua`: whether the partition holds anything. `changes`: markers that are there, and what is to be."""
    arguments = [marker.member() if marker else b"" for change in changes for marker in change]
    return Call(_MARK, keys.slot, [keys.created], arguments, lambda reply: bool(reply == 1))


def release(keys: Keys, names: Sequence[Name], run_id: str | None) -> Call[list[Outcome]]:
    """`release.lua`."""
    arguments = [keys.prefix, quoted(run_id), *known(names)]
    return Call(_RELEASE, keys.slot, change_keys(keys, keys.run(run_id), names), arguments, outcomes)


def release_sole(keys: Keys, members: Sequence[bytes], run_id: str) -> Call[tuple[int, list[int]]]:
    """`release_sole.lua`, of default ids."""
    names = [keys.created, keys.deadlines, keys.runs, keys.run(run_id)]
    for artifact_id in all_listed(members):
        names += (keys.artifact(artifact_id), keys.content(artifact_id), keys.needs(artifact_id))
    names.append(keys.run(None))
    return Call(_RELEASE_SOLE, keys.slot, names, [keys.prefix, quoted(run_id), *members], released)


def released(reply: Any) -> tuple[int, list[int]]:
    """How many live leases there were, and which artifacts are left, by their numbers from 0 on."""
    live, left = reply
    return int(live), [number - 1 for number in left]


def delete(keys: Keys, names: Sequence[Name], buried: bytes = b"") -> Call[list[Outcome]]:
    """`delete.lua`. `buried`: where the leases go of one artifact that has many."""
    arguments = [keys.prefix, b"1" if buried else b"", *known(names)]
    return Call(_DELETE, keys.slot, change_keys(keys, buried or keys.run(None), names), arguments, outcomes)


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

    arguments = [member, ttl_in_ms(ttl_ms), raw(content_id)]
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


def outcomes(reply: Any) -> list[Outcome]:
    """What became of each artifact."""
    return [_outcome(one) for one in reply]


def stored(reply: Any) -> list[Outcome | Times]:
    """What became of each artifact of a batch: its times where all is done."""
    return [records.times_of(one) if type(one) is bytes else _done(_told(one)) for one in reply]


def stored_small(reply: Any) -> list[Times | None]:
    """The same of `store_small`; `None`: nothing was written."""
    return [None if reply is None else records.times_of(reply)]


def _done(outcome: Outcome) -> Outcome | Times:
    return outcome if outcome.kind != "ok" or outcome.token else (outcome.created, outcome.deadline)


def _times(replies: Any) -> Times | None:
    [start] = replies
    return None if start is None else records.times_of(start)


def _outcome(reply: Any) -> Outcome:
    return Outcome("ok", *records.times_of(reply)) if type(reply) is bytes else _told(reply)


def _told(reply: Any) -> Outcome:
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
        token, count, us = (*rest, 0) if len(rest) == 2 else rest
        return Outcome("chunked", int(us), token=token, chunks=int(count))
    if kind == b"conflict":
        header, field, lease = rest
        return Outcome("conflict", winner=(header, field, lease))
    return Outcome(kind.decode(), deadline=rest[0])  # short


def _lease(reply: Any) -> Lease:
    if reply is None:
        return None
    header, lease = reply
    if not isinstance(header, bytes) or not isinstance(lease, bytes):
        raise TypeError("header and lease that are no bytes")
    return header, lease


_STORE: Final = Script("store")
_STORE_SMALL: Final = Script("store_small")
_WITHDRAW: Final = Script("withdraw")
_ACQUIRE: Final = Script("acquire")
_UPDATE: Final = Script("update")
_INDEX_LABELS: Final = Script("index_labels")
_MARK: Final = Script("mark")
_TOUCH: Final = Script("touch")
_RELEASE: Final = Script("release")
_RELEASE_SOLE: Final = Script("release_sole")
_DELETE: Final = Script("delete")
_FORGET: Final = Script("forget")
_HOLD: Final = Script("hold")
_FOLLOW: Final = Script("follow")
_DISCARD: Final = Script("discard")
