"""`offload` and `resolve`: each a plan, run in the caller's thread or on its event loop."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar, Unpack, overload

from ..arguments import spelled_out
from ..asking import Ask, Store
from ..errors import ArtifactDecodeError, ArtifactNotFoundError, InvalidArtifactError
from ..ids import REF_KEY, validate_artifact_id
from ..model import Artifact
from ..plan import Plan, Work, arun, run
from ..store import ArtifactStore
from ..values.conversion import as_type
from ..values.storing import MISSING
from ..values.tagged import Decoder, Encoder, Path, show
from .cutting import Cut, KeptTicket
from .options import OffloadKeywords, OffloadOptions, ResolveKeywords, ResolveOptions

T = TypeVar("T")


@spelled_out(OffloadOptions)
def offload(value: Any, store: ArtifactStore, **options: Unpack[OffloadKeywords]) -> Any:
    """Store the large parts of a value, all in one batch, and put tickets in their place.

    A part is text, bytes, a list or a dict. The smallest parts that are large go: a long text by itself, a long list
    of numbers as a whole. A ticket is `{"$artifact": id, "type": content type, "size": bytes}`, with a `preview` where
    one is wanted.

    The value may have, anywhere, what JSON can say and bytes, tuples, sets, `datetime` and its kin, `Decimal`, `UUID`,
    enums, dataclasses and pydantic models. The last three become what they are made of; `resolve(type=…)` makes them
    again. What only a codec can keep, as a NumPy array, always goes.

    Args:
        value: The value; it is not changed.
        store: Where to.
        **options: See `OffloadOptions`.

    Returns:
        The value as plain JSON.

    Raises:
        InvalidArtifactError: The value has something that cannot be kept, contains itself, or exceeds the limits, and
            where; or `total` cannot be reached. Nothing was stored.
    """
    return run(_offload(value, store, OffloadOptions(**options)))


@spelled_out(OffloadOptions)
async def aoffload(value: Any, store: Store, **options: Unpack[OffloadKeywords]) -> Any:
    """`offload` for asyncio; a blocking store works in a thread.

    The value is copied before anything is awaited, except for what only a codec can keep.
    """
    return await arun(_offload(value, store, OffloadOptions(**options)))


@overload
def resolve(value: Any, store: ArtifactStore, type: type[T], **options: Unpack[ResolveKeywords]) -> T: ...
@overload
def resolve(value: Any, store: ArtifactStore, type: Any = None, **options: Unpack[ResolveKeywords]) -> Any: ...
@spelled_out(ResolveOptions)
def resolve(value: Any, store: ArtifactStore, type: Any = None, **options: Unpack[ResolveKeywords]) -> Any:
    """Put back what `offload` took out, all of it in one batch: the value is equal to what it was.

    A ticket of another origin becomes what the artifact's content type says. What is neither dict, list nor tuple
    stays as it is.

    Args:
        value: What `offload` returned; it is not changed.
        store: Where from.
        type: What the value has to be, as for `load_value`.
        **options: See `ResolveOptions`.

    Raises:
        ArtifactNotFoundError: An artifact is missing, and there is no default; says which, and where.
        InvalidArtifactError: Something is no ticket although it looks like one, or the limits are exceeded.
        ArtifactDecodeError: An artifact is not what its ticket says, or the value is not a `type`.
        MissingExtraError: It takes a package that is not installed; says which extra has it.
    """
    return run(_resolve(value, store, type, ResolveOptions(**options)))


@overload
async def aresolve(value: Any, store: Store, type: type[T], **options: Unpack[ResolveKeywords]) -> T: ...
@overload
async def aresolve(value: Any, store: Store, type: Any = None, **options: Unpack[ResolveKeywords]) -> Any: ...
@spelled_out(ResolveOptions)
async def aresolve(value: Any, store: Store, type: Any = None, **options: Unpack[ResolveKeywords]) -> Any:
    """`resolve` for asyncio; a blocking store works in a thread."""
    return await arun(_resolve(value, store, type, ResolveOptions(**options)))


def _offload(value: Any, store: Store, options: OffloadOptions) -> Plan[Any]:
    def raw(value: object) -> bool:
        return isinstance(value, bytes | KeptTicket) or codecs.find(value).name not in ("json", "text", "bytes")

    def keep(ticket: dict[str, Any], path: Path) -> KeptTicket:
        _read(ticket, path)
        return KeptTicket(ticket)

    codecs = options.codecs
    if options.again:
        value = Decoder(options.limits, keep).decode(value)
    state = Encoder(options.limits, raw).encode(value)
    cut: Cut = yield Work(lambda: Cut(state, codecs, options.threshold, options.total, options.preview))
    stored = []
    if cut.payloads:
        stored = yield Ask(store, lambda store: store.store_many(cut.payloads, **options.of_store()))
    return cut.finish([metadata.artifact_id for metadata in stored])


class _Ticket(NamedTuple):
    """A ticket in a state; `kind`: the content type that it says, if any."""

    artifact_id: str
    kind: str | None
    size: int | None
    path: Path


def _resolve(value: Any, store: Store, type: Any, options: ResolveOptions) -> Plan[Any]:
    tickets: list[_Ticket] = []
    Decoder(options.limits, lambda ticket, path: tickets.append(_read(ticket, path))).decode(value)
    ids = list(dict.fromkeys(ticket.artifact_id for ticket in tickets))
    found: dict[str, Artifact | None] = {}
    if ids:
        found = dict(zip(ids, (yield Ask(store, lambda store: store.load_many(ids))), strict=True))
    missing = [ticket for ticket in tickets if found[ticket.artifact_id] is None]
    if missing and options.default is MISSING:
        first = missing[0]
        raise ArtifactNotFoundError(
            f"{len(missing)} of {len(tickets)} tickets stand for nothing, as {first.artifact_id} at "
            f"{show(first.path)}: it was deleted, expired or never stored"
        )
    return (yield Work(lambda: as_type(_put_back(value, found, options), type, "the value")))


def _read(ticket: dict[str, Any], path: Path) -> _Ticket:
    artifact_id, kind, size = ticket[REF_KEY], ticket.get("type"), ticket.get("size")
    try:
        validate_artifact_id(artifact_id)
    except InvalidArtifactError as error:
        raise InvalidArtifactError(f"{show(path)} is no ticket: {error}") from None
    if not isinstance(kind, str | None) or not isinstance(size, int | None):
        raise InvalidArtifactError(f"{show(path)} is no ticket: its type must be text, its size a number")
    return _Ticket(artifact_id, kind, size, path)


def _put_back(value: Any, found: dict[str, Artifact | None], options: ResolveOptions) -> Any:
    left = options.limits.size
    known: dict[tuple[str, str | None], Any] = {}

    def content_of(plain: dict[str, Any], path: Path) -> Any:
        nonlocal left
        ticket = _read(plain, path)
        artifact = found[ticket.artifact_id]
        if artifact is None:
            return options.default
        size = len(artifact.content)
        left -= size
        if left < 0:
            raise InvalidArtifactError(
                f"{show(path)} is one too many for {options.limits.size:,} bytes: raise limits.size"
            )
        if ticket.size is not None and ticket.size != size:
            raise ArtifactDecodeError(
                f"artifact {ticket.artifact_id} at {show(path)} has {size} bytes, its ticket says {ticket.size}"
            )
        same = (ticket.artifact_id, ticket.kind)
        if same in known:
            return known[same]
        decoded = options.codecs.decode(artifact, ticket.kind)
        if isinstance(decoded, str | bytes):  # others could be changed in one place
            known[same] = decoded
        return decoded

    return Decoder(options.limits, content_of).decode(value)
