"""What lies in an artifact's hash, decoded and encoded; for scripts `lua/lib/format.lua` says the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgpack

from ....encoding import read_extra
from ....errors import CorruptArtifactError
from ....ids import ID_LENGTH, is_default_id
from ....model import ArtifactMetadata, Lease, filled, format_time, trusted
from ....request import Request
from .keys import BINARY, listed, quoted, unquoted

VERSION: Final = 2
FOREVER: Final = 2**48 - 1
DEFAULT_TYPE: Final = "application/octet-stream"

_UNREADABLE: Final = (ValueError, TypeError, AttributeError, RecursionError, msgpack.UnpackException)
_LAST_TIME: Final = 253_402_300_799_999  # ms: the end of the year 9999, as far as datetime goes
_LAST_CREATED: Final = 2**53  # us: beyond, scores are not exact
_VERSION: Final = bytes((VERSION,))
_HEADER: Final = 33  # version, digest
_DIGITS: Final = 20  # of a size
_LEASE: Final = 13  # deadline, created
DEADLINE: Final = 6
"""Bytes of a lease that say when it ends: the rest is what it says."""

FEW: Final = 9  # fields: header, note of the latest, leases

MANY: Final = 66  # fields of a hash from which on indexes know its leases, see `lua/lib/leases.lua`
_CREATED_BITS: Final = 56  # of a lease's two times, read as one number
_CREATED: Final = (1 << _CREATED_BITS) - 1
_SHORT: Final = 512  # bytes of a view that are worth remembering


class Header(NamedTuple):
    """What an artifact is, the same for all its leases."""

    digest: bytes
    size: int


def content_id_of(digest: bytes) -> bytes:
    """The name of a content in keys: the first 32 hex digits of its digest."""
    return digest.hex()[:ID_LENGTH].encode()


def lease_field(run_id: str | None) -> bytes:
    """The hash field of a run's lease."""
    return b"-" if run_id is None else b"=" + quoted(run_id)


def encode_header(request: Request) -> bytes:
    """The field `h`."""
    return b"%c%b%d" % (VERSION, request.digest, request.size)


class View(NamedTuple):
    """What one lease says of its artifact.

    Attributes:
        content_type: See `ArtifactMetadata`.
        tags: Likewise.
        extra: As JSON; empty where there is none.
        token: Of the call with a condition that stored it; else empty.
    """

    content_type: str = DEFAULT_TYPE
    tags: dict[str, str] = {}  # noqa: RUF012  # never changed
    extra: str = ""
    token: bytes = b""


def encode_view(request: Request) -> bytes:
    """What a lease says of its artifact."""
    token = b"" if request.condition is None else request.condition.token
    return pack_view(request.content_type, request.tags, request.extra, token)


def encode_views(requests: Sequence[Request]) -> Iterator[bytes]:
    """The same for several, which mostly say the same."""
    last, view = None, b""
    for request in requests:
        if (
            last is None
            or request.tags is not last.tags
            or request.content_type != last.content_type
            or request.extra != last.extra
            or request.condition is not None
        ):
            last, view = request, encode_view(request)
        yield view


def pack_view(content_type: str, tags: dict[str, str], extra: str, token: bytes) -> bytes:
    """As much of a `View` as is not the default, as msgpack; the bytes end with the token, if there is one."""
    shown = None if content_type == DEFAULT_TYPE else content_type
    packed: bytes
    if extra or token:
        packed = msgpack.packb([shown, tags or None, extra or None, *([token] if token else [])])
    elif tags:
        packed = msgpack.packb([shown, tags])
    else:
        packed = b"" if shown is None else msgpack.packb([shown])
    return packed


def decode_header(header: Any, artifact_id: str) -> Header:
    """Read the field `h`.

    Raises:
        CorruptArtifactError: Damaged, or written by a newer version.
    """
    digest, size = _header_parts(header, artifact_id)
    return Header(bytes.fromhex(digest), size)


def _header_parts(header: Any, artifact_id: str) -> tuple[str, int]:
    """Digest in hex, and size."""
    if isinstance(header, bytes) and _HEADER < len(header) <= _HEADER + _DIGITS and header[0] == VERSION:
        digest, size = header[1:_HEADER].hex(), header[_HEADER:]
        if size.isdigit() and (digest[:ID_LENGTH] == artifact_id or not is_default_id(artifact_id)):
            return digest, int(size)
    raise _header_error(header, artifact_id)


def _header_error(header: Any, artifact_id: str) -> CorruptArtifactError:
    """What is wrong with a field `h`."""
    if isinstance(header, bytes) and header[:1] and header[0] != VERSION:
        return CorruptArtifactError(
            f"artifact {artifact_id} has metadata of format version {header[0]}; this coatcheck reads version "
            f"{VERSION}: upgrade it"
        )
    if (
        not isinstance(header, bytes)
        or not _HEADER < len(header) <= _HEADER + _DIGITS
        or not header[_HEADER:].isdigit()
    ):
        return CorruptArtifactError(f"metadata of artifact {artifact_id} is damaged; delete() it and store it again")
    return CorruptArtifactError(f"artifact {artifact_id} has the metadata of another; delete() it, store it again")


def _decode_lease(value: Any, artifact_id: str) -> tuple[int, int, View, dict[str, Any]]:
    """Deadline in ms, created in us, view, and its `extra`."""
    try:
        if len(value) < _LEASE:
            raise ValueError("too short")
        packed = value[_LEASE:]
        view = (_unpack_short if len(packed) <= _SHORT else _unpack_view)(packed)
        extra = read_extra(view.extra) if view.extra else {}
    except _UNREADABLE as error:
        raise CorruptArtifactError(
            f"a lease of artifact {artifact_id} is damaged ({error}); store it again to renew it"
        ) from None
    deadline = int.from_bytes(value[:6])
    if not is_deadline(deadline):
        raise CorruptArtifactError(f"a lease of artifact {artifact_id} ends beyond the year 9999; touch() it")
    return deadline, int.from_bytes(value[6:_LEASE]), view, extra


def _unpack_view(packed: bytes) -> View:
    if not packed:
        return View()
    parts = msgpack.unpackb(packed, strict_map_key=True)
    if not isinstance(parts, list) or not 1 <= len(parts) <= len(View._fields):
        raise ValueError("parts that this version does not know")
    shown: Any = zip(View._fields, parts, strict=False)
    view = View(**{name: part for name, part in shown if part is not None})
    if not all(isinstance(text, str) for text in (view.content_type, *view.tags, *view.tags.values(), view.extra)):
        raise TypeError("not text")
    return view


_unpack_short = lru_cache(maxsize=256)(_unpack_view)  # the artifacts of a run mostly share them


def scored(reply: Sequence[Any]) -> list[tuple[bytes, float]]:
    """Members of a sorted set with their scores."""
    if reply and isinstance(reply[0], list):  # RESP3 pairs them
        return [(member, float(score)) for member, score in reply]
    return list(zip(reply[::2], map(float, reply[1::2]), strict=True))


def _flat(fields: list[Any]) -> list[Any]:
    """Fields and values in turn: RESP3 pairs them."""
    return [item for pair in fields for item in pair] if fields and isinstance(fields[0], list) else fields


def latest_of_few(fields: list[Any]) -> tuple[Any, Any, Any] | None:
    """Header, lease field and lease of the latest lease, from what `HRANDFIELD hash FEW WITHVALUES` returns.

    `None` where that takes a look at the server's clock: a hash ends with the lease that ends last, so that one is
    live, but the latest may be another.
    """
    fields = _flat(fields)
    if len(fields) == 4:
        if fields[0] == b"h":
            return fields[1], fields[2], fields[3]
        return (fields[3], fields[0], fields[1]) if fields[2] == b"h" else None
    leases = dict(zip(fields[::2], fields[1::2], strict=True))
    header = leases.pop(b"h", None)
    leases.pop(b"t", None)
    if header is None or not leases or len(fields) >= 2 * FEW:
        return None
    field, value = max(leases.items(), key=lambda lease: lease[1][6:_LEASE])
    return (header, field, value) if value[:6] == max(lease[:6] for lease in leases.values()) else None


@lru_cache(maxsize=256)  # what was stored in one batch ends together
def format_deadline(deadline: int) -> str | None:
    """A deadline in ms as ISO 8601; `None` for ever."""
    return None if deadline >= FOREVER else format_time(deadline * 1000)


def _decode_field(field: bytes, artifact_id: str) -> str | None:
    try:
        return run_of(field)
    except CorruptArtifactError:
        raise CorruptArtifactError(f"a lease of artifact {artifact_id} has a damaged run id") from None


def run_of(field: bytes) -> str | None:
    """The run of a lease field; `None` for the anonymous lease."""
    return unquoted(field[1:]) if field[:1] == b"=" else None


def sole_lease(fields: list[Any], member: bytes) -> tuple[bytes, bytes, int, int] | None:
    """Header, lease field, time of store in us and deadline in ms of a default artifact that one run leases.

    `None` where it is not surely that. `fields`: what `HRANDFIELD` returns of three.
    """
    if len(fields) != 4:
        fields = _flat(fields)
        if len(fields) != 4:
            return None
    mark, header, field, lease = fields
    if mark != b"h":
        field, lease, mark, header = fields
    if (
        mark != b"h"
        or not header.startswith(_VERSION + member)
        or not header[_HEADER:].isdigit()
        or len(header) > _HEADER + _DIGITS
        or len(lease) < _LEASE
        or (field[:1] != b"=" and field != b"-")
    ):
        return None
    times = int.from_bytes(lease[:_LEASE])
    return header, field, times & _CREATED, times >> _CREATED_BITS


def is_cut(header: bytes) -> bool:
    """Whether it is too short to be one."""
    return len(header) <= _HEADER


def deadline_of(lease: bytes) -> int:
    """When a lease ends, in ms."""
    return int.from_bytes(lease[:DEADLINE])


def deadline_bytes(deadline: int) -> bytes:
    """A deadline as leases have it: as bytes they sort alike."""
    return deadline.to_bytes(DEADLINE)


def is_damaged(lease: bytes) -> bool:
    """Whether it is none."""
    return len(lease) < _LEASE


def is_live(lease: bytes, now: bytes) -> bool:
    """Whether it has not ended. One that is damaged counts as one for ever."""
    return lease[:DEADLINE] > now or is_damaged(lease)


def created_of(lease: bytes) -> int:
    """When it was stored, in us."""
    return int.from_bytes(lease[DEADLINE:_LEASE])


def is_deadline(deadline: int) -> bool:
    """Whether it can be told as a time, or means for ever."""
    return 0 <= deadline <= _LAST_TIME or deadline == FOREVER


def times(created: int, deadline: int) -> tuple[int, int]:
    """Time of a store in us and deadline in ms, as a script told them.

    Raises:
        ValueError: They can be none.
    """
    if not (0 <= created < _LAST_CREATED and is_deadline(deadline)):
        raise ValueError(f"stored at {created} us until {deadline} ms")
    return created, deadline


def times_of(start: bytes) -> tuple[int, int]:
    """The same from the beginning of a lease.

    Raises:
        ValueError: It is none, or they can be none.
    """
    if len(start) != _LEASE:
        raise ValueError(f"{len(start)} bytes where a lease begins with {_LEASE}")
    both = int.from_bytes(start)
    return times(both & _CREATED, both >> _CREATED_BITS)


def usual_view(artifact_id: str, fields: list[Any]) -> tuple[ArtifactMetadata, bytes] | None:
    """Metadata and digest of what one run leases, of a hash that few lease; `None`: see `latest_of_few`."""
    if len(fields) != 4 or fields[0] != b"h":
        return None
    _, header, field, lease = fields
    view = _usual(artifact_id, header, field, lease)
    return None if view is None else (view, header[1:_HEADER])


def _usual(artifact_id: str, header: bytes, field: bytes, lease: bytes) -> ArtifactMetadata | None:
    """Metadata of header and lease as they mostly are; `None`: `decode_view` finds out what they are."""
    digest, size, both = header[1:_HEADER].hex(), header[_HEADER:], int.from_bytes(lease[:_LEASE])
    created, deadline = both & _CREATED, both >> _CREATED_BITS
    said = _said(field, lease[_LEASE:]) if _LEASE <= len(lease) <= _SHORT else None
    if (
        said is None
        or header[:1] != _VERSION
        or not (size.isdigit() and len(size) <= _DIGITS)
        or (digest[:ID_LENGTH] != artifact_id and is_default_id(artifact_id))
        or _LAST_TIME < deadline < FOREVER
    ):
        return None
    content_type, tags, run_id = said
    view = {
        "artifact_id": artifact_id,
        "content_type": content_type,
        "size_bytes": int(size),
        "created_at": format_time(created),
        "run_id": run_id,
        "tags": tags.copy(),
        "digest": digest,
        "expires_at": format_deadline(deadline),
        "extra": {},
    }
    return filled(ArtifactMetadata, view)


def decode_view(artifact_id: str, header: Any, field: bytes, value: Any) -> ArtifactMetadata:
    """Metadata as one lease sees it."""
    if type(header) is bytes and type(value) is bytes:
        usual = _usual(artifact_id, header, field, value)
        if usual is not None:
            return usual
    digest, size = _header_parts(header, artifact_id)
    deadline, created, view, extra = _decode_lease(value, artifact_id)
    return trusted(
        ArtifactMetadata,
        artifact_id=artifact_id,
        content_type=view.content_type,
        size_bytes=size,
        created_at=format_time(created),
        run_id=_decode_field(field, artifact_id),
        tags=view.tags.copy(),
        digest=digest,
        expires_at=format_deadline(deadline),
        extra=extra,
    )


def decode_views(found: Iterable[tuple[float, bytes, Any, Any, Any]]) -> list[ArtifactMetadata]:
    """The same for many members of an index with header, lease field and lease."""
    views = []
    for _, member, header, field, lease in found:
        view = _usual(member.hex(), header, field, lease) if len(member) == BINARY else None
        views.append(view or decode_view(listed(member).decode(), header, field, lease))
    return views


@lru_cache(maxsize=256)  # the artifacts of a run mostly share them
def _said(field: bytes, packed: bytes) -> tuple[str, dict[str, str], str | None] | None:
    """Type, tags and run of a lease that says no more; `None` where it does, or is damaged."""
    try:
        view = _unpack_view(packed)
        return None if view.extra else (view.content_type, view.tags, run_of(field))
    except (CorruptArtifactError, *_UNREADABLE):
        return None


def view_of(artifact_id: str, lease: bytes) -> View:
    """What a lease says.

    Raises:
        CorruptArtifactError: It is damaged.
    """
    return _decode_lease(lease, artifact_id)[2]


def size_of(header: bytes, member: bytes) -> int:
    """The size that a header says.

    Raises:
        CorruptArtifactError: It makes no sense.
    """
    size = header[_HEADER:]
    if header[:1] == _VERSION and size.isdigit() and len(size) <= _DIGITS:
        return int(size)
    raise _header_error(header, listed(member).decode())


def moments_of(lease: bytes, member: bytes) -> tuple[int, int]:
    """Time of store in us and deadline in ms.

    Raises:
        CorruptArtifactError: It is no lease.
    """
    if len(lease) < _LEASE:
        raise CorruptArtifactError(f"a lease of artifact {listed(member).decode()} is damaged; store it again")
    both = int.from_bytes(lease[:_LEASE])
    return both & _CREATED, both >> _CREATED_BITS


def view_bytes(lease: bytes) -> bytes:
    """The same as it is stored."""
    return lease[_LEASE:]


def said_by(packed: bytes) -> View:
    """What a lease says that has these `view_bytes`; nothing where they are damaged."""
    try:
        return (_unpack_short if len(packed) <= _SHORT else _unpack_view)(packed)
    except _UNREADABLE:
        return View()


def decode_lease(artifact_id: str, field: bytes, value: Any) -> Lease:
    """One lease."""
    deadline, created, view, extra = _decode_lease(value, artifact_id)
    return Lease(
        run_id=_decode_field(field, artifact_id),
        created_at=format_time(created),
        expires_at=format_deadline(deadline),
        content_type=view.content_type,
        tags=dict(view.tags),
        extra=extra,
    )


def stored_view(request: Request, created: int, deadline: int) -> ArtifactMetadata:
    """What a store returns: the storing run's own view."""
    return timed(untimed(request), created, deadline)


def untimed(request: Request) -> ArtifactMetadata:
    """The same before the server has said when: not to be given out, see `timed`."""
    fields = {
        "artifact_id": request.artifact_id,
        "content_type": request.content_type,
        "size_bytes": request.size,
        "created_at": "",
        "run_id": request.run_id,
        "tags": request.tags.copy(),
        "digest": request.digest.hex(),
        "expires_at": None,
        "extra": read_extra(request.extra) if request.extra else {},
    }
    return filled(ArtifactMetadata, fields)


def timed(view: ArtifactMetadata, created: int, deadline: int) -> ArtifactMetadata:
    """An `untimed` view with its times."""
    fields = vars(view)
    fields["created_at"], fields["expires_at"] = format_time(created), format_deadline(deadline)
    return view
