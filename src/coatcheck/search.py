"""What lists are asked for: filters over metadata, an order, and where a page begins."""

from __future__ import annotations

import base64
import heapq
import math
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from hashlib import blake2b
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Never, TypedDict, TypeVar

from .arguments import ANONYMOUS, Anonymous, check_content_type, check_holder, check_run_id, check_tags, refuse_unknown
from .errors import InvalidArtifactError
from .ids import check_artifact_id
from .model import parse_time

if TYPE_CHECKING:
    from .model import ArtifactMetadata

T = TypeVar("T")

Order = Literal["desc", "asc"]
By = Literal["time", "size", "expiry"]

MAX_PAGE: Final = 1000
"""Artifacts on one page."""

_MAC: Final = 8  # bytes of a cursor that say whose it is
_LONGEST: Final = 4200  # characters of a cursor: that of a run is as long as its name, in quotes
_TIME: Final = len("2000-01-01T00:00:00.000000+00:00")
_TIMES: Final = attrgetter("created_at")
_BY_TIME: Final = attrgetter("created_at", "artifact_id")


class _Any(Enum):
    ANY = "ANY"

    def __repr__(self) -> str:
        return "ANY"


ANY: Final = _Any.ANY
"""In a filter the value of a tag that only has to be there."""

Tags = Mapping[str, str | Literal[_Any.ANY]]
Place = tuple[float, bytes]
"""Of an artifact in an order: what it is ordered by, and what tells it from others of the same."""


class ViewFilters(TypedDict, total=False):
    """What every list of artifacts takes beside run and order; `ArtifactStore.search` explains each.

    The list for type checkers; `Query.of` checks each.
    """

    run_prefix: str | None
    content_type: str | None
    tags: Tags | None
    id_prefix: str | None
    min_size: int | None
    max_size: int | None
    created_after: str | datetime | None
    created_before: str | datetime | None


class Filters(ViewFilters, total=False):
    """The same where the run is no argument of its own."""

    run_id: str | Anonymous | None


@dataclass(frozen=True, slots=True)
class Query:
    """What a list was asked for, checked. What does not matter is `None`.

    Attributes:
        run_id: This run's own views; `None`: the latest view of every artifact.
        anonymous: With `run_id=None` instead what anonymous leases say.
        run_prefix: What the run of a view begins with.
        content_type: The content type.
        kind: What the content type begins with.
        tags: Names and values of tags.
        id_prefix: What the id begins with.
        min_size: The smallest size in bytes.
        max_size: The largest.
        earliest: The first time of store, in the form of `created_at`.
        latest: The last one.
        by: What the list is ordered by.
        descending: Whether the largest, latest or last to end comes first.
    """

    run_id: str | None = None
    anonymous: bool = False
    run_prefix: str | None = None
    content_type: str | None = None
    kind: str | None = None
    tags: tuple[tuple[str, str | Literal[_Any.ANY]], ...] = ()
    id_prefix: str | None = None
    min_size: int | None = None
    max_size: int | None = None
    earliest: str | None = None
    latest: str | None = None
    by: By = "time"
    descending: bool = True

    @classmethod
    def of(
        cls,
        *,
        run_id: str | Anonymous | None = None,
        run_prefix: str | None = None,
        content_type: str | None = None,
        tags: Tags | None = None,
        id_prefix: str | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
        created_after: str | datetime | None = None,
        created_before: str | datetime | None = None,
        **unknown: Never,
    ) -> Query:
        """Check what was asked for.

        Raises:
            InvalidArtifactError: Something makes no sense.
            TypeError: There is no such filter.
        """
        if unknown:
            refuse_unknown(unknown, Filters.__optional_keys__)
        exact = None if content_type is None else check_content_type(content_type)
        kind = exact[:-1] if exact is not None and exact.endswith("/*") else None
        smallest, largest = _check_size(min_size, "min_size"), _check_size(max_size, "max_size")
        if smallest is not None and largest is not None and smallest > largest:
            raise InvalidArtifactError(f"no size is at least {smallest} and at most {largest}: exchange the two")
        return cls(
            run_id=None if run_id is None else check_holder(run_id),
            anonymous=run_id is ANONYMOUS,
            run_prefix=None if run_prefix is None else _check_prefix(check_run_id, run_prefix, "run_prefix"),
            content_type=exact if kind is None else None,
            kind=kind,
            tags=_check_wanted(tags),
            id_prefix=None if id_prefix is None else _check_prefix(check_artifact_id, id_prefix, "id_prefix"),
            min_size=smallest,
            max_size=largest,
            earliest=_check_time(created_after, "created_after"),
            latest=_check_time(created_before, "created_before"),
        )

    def ordered(self, by: By, order: Order) -> Query:
        """The same in an order."""
        if by not in ("time", "size", "expiry"):
            raise InvalidArtifactError(f"by must be 'time', 'size' or 'expiry', not {by!r}")
        if order not in ("desc", "asc"):
            raise InvalidArtifactError(f"order must be 'desc' or 'asc', not {order!r}")
        return replace(self, by=by, descending=order == "desc")

    @property
    def is_filter(self) -> bool:
        """Whether some views may not match; whose they are aside."""
        return self != Query(self.run_id, self.anonymous, by=self.by, descending=self.descending)

    @property
    def unbounded(self) -> Query:
        """The same whatever the times of store."""
        return replace(self, earliest=None, latest=None)

    @property
    def is_of_one(self) -> bool:
        """Whether each view is that of one lease: a run's, or the anonymous one."""
        return self.anonymous or self.run_id is not None

    def matches(self, view: ArtifactMetadata) -> bool:
        """Whether metadata satisfy every condition; which run's view it is, the caller knows."""
        return (
            (self.content_type is None or view.content_type == self.content_type)
            and (self.kind is None or view.content_type.startswith(self.kind))
            and all(name in view.tags and value in (ANY, view.tags[name]) for name, value in self.tags)
            and (self.earliest is None or view.created_at >= self.earliest)
            and (self.latest is None or view.created_at <= self.latest)
            and (self.min_size is None or view.size_bytes >= self.min_size)
            and (self.max_size is None or view.size_bytes <= self.max_size)
            and (self.id_prefix is None or view.artifact_id.startswith(self.id_prefix))
            and (self.run_prefix is None or (view.run_id or "").startswith(self.run_prefix))
        )

    def place(self, view: ArtifactMetadata) -> Place:
        """Where a view stands in the order."""
        if self.by == "size":
            value: float = view.size_bytes
        elif self.by == "expiry":
            value = math.inf if view.expires_at is None else parse_time(view.expires_at)
        else:
            value = parse_time(view.created_at)
        return value, view.artifact_id.encode()

    def is_behind(self, place: Place, other: Place | None) -> bool:
        """Whether a place comes later in the order than another one, or whether there is none."""
        return other is None or (place < other if self.descending else place > other)


class Best(Generic[T]):
    """The first of many in an order, in bounded memory.

    Args:
        query: The order.
        start: The place that they are behind; `None`: the beginning.
        count: How many.
    """

    def __init__(self, query: Query, start: Place | None, count: int) -> None:
        self._query = query
        self._start = start
        self._count = count
        self._kept: dict[bytes, tuple[Place, T]] = {}

    def add(self, place: Place, item: T) -> None:
        """Take one into account; what came before under the same name is replaced."""
        if self._query.is_behind(place, self._start):
            self._kept[place[1]] = place, item
            if len(self._kept) > 2 * self._count + MAX_PAGE:
                self._kept = {one[0][1]: one for one in self._first(self._count + 1)}

    @property
    def end(self) -> Place | None:
        """The place of the one that tells that there are more, if it has come."""
        return self._first(self._count + 1)[self._count][0] if len(self._kept) > self._count else None

    def page(self) -> tuple[list[T], Place | None]:
        """The first of them, and the last one's place if there are more."""
        first = self._first(self._count + 1)
        items = [item for _, item in first[: self._count]]
        return items, first[self._count - 1][0] if len(first) > self._count else None

    def _first(self, count: int) -> list[tuple[Place, T]]:
        choose = heapq.nlargest if self._query.descending else heapq.nsmallest
        return choose(count, self._kept.values(), key=lambda one: one[0])


def cursor_of(place: Place, query: Any, store: str) -> str:
    """A place as text, for this query in this store alone."""
    packed = struct.pack(">d", place[0]) + place[1]
    return _text(_mac(packed, query, store) + packed)


def place_of(cursor: Any, query: Any, store: str) -> Place | None:
    """The place that a cursor stands for; `None` for none.

    Raises:
        InvalidArtifactError: It is no cursor, or that of another query or store.
    """
    if cursor is None:
        return None
    if not isinstance(cursor, str):
        raise InvalidArtifactError(f"after must be the next of a page, not {type(cursor).__name__}")
    try:
        raw = base64.urlsafe_b64decode(cursor[:_LONGEST] + "=" * (-len(cursor) % 4))
    except ValueError:
        raw = b""
    mac, packed = raw[:_MAC], raw[_MAC:]
    if len(packed) < 8 or mac != _mac(packed, query, store) or _text(raw) != cursor:
        raise InvalidArtifactError(
            "after is no cursor of this list: pass what a page of this store had as its next, "
            "with the same filters and order"
        )
    return struct.unpack(">d", packed[:8])[0], packed[8:]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _mac(packed: bytes, query: Any, store: str) -> bytes:
    key = blake2b(repr((store, query)).encode(errors="surrogatepass"), digest_size=32).digest()
    return blake2b(packed, key=key, digest_size=_MAC).digest()


def check_chosen(query: Query) -> Query:
    """A query that does not mean everything."""
    if not (query.is_of_one or query.is_filter):
        raise InvalidArtifactError("say which artifacts: without a filter all of the namespace would be removed")
    return query


def check_limit(limit: Any) -> int:
    """How many a page may hold."""
    if check_count(limit, "limit") < 1 or limit > MAX_PAGE:
        raise InvalidArtifactError(f"limit must be 1 to {MAX_PAGE} for a page, not {limit}; iter_… goes on to the end")
    return int(limit)


def check_count(value: Any, what: str) -> int:
    """A limit or an offset, brought to what a list can hold."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArtifactError(f"{what} must be an int, not {type(value).__name__}")
    return max(-sys.maxsize, min(value, sys.maxsize))


def slice_of(views: Iterable[ArtifactMetadata], query: Query, *, offset: int, limit: int) -> list[ArtifactMetadata]:
    """Bring into the query's order, by id where that says nothing, and cut."""
    start, count = max(0, check_count(offset, "offset")), check_count(limit, "limit")
    stop = min(start + count, sys.maxsize) if count > 0 else None
    found = list(views)
    if query.by == "time" and {_TIME}.issuperset(map(len, map(_TIMES, found))):  # as text they sort alike
        found.sort(key=_BY_TIME, reverse=query.descending)
    else:
        found.sort(key=query.place, reverse=query.descending)
    return found[start:stop]


def _check_size(value: Any, what: str) -> int | None:
    if value is not None and check_count(value, what) < 0:
        raise InvalidArtifactError(f"{what} must be bytes, 0 or more, not {value}")
    return None if value is None else check_count(value, what)


def _check_prefix(check: Callable[[Any], str], value: Any, what: str) -> str:
    """The beginning of a text that could be one itself."""
    try:
        return check(value)
    except InvalidArtifactError as error:
        raise InvalidArtifactError(f"{what}: {error}") from None


def check_prefix(value: Any) -> str | None:
    """What runs are to begin with, if that matters."""
    return None if value is None else _check_prefix(check_run_id, value, "prefix")


def _check_wanted(tags: Any) -> tuple[tuple[str, str | Literal[_Any.ANY]], ...]:
    if not isinstance(tags, Mapping):
        return tuple(check_tags(tags).items())
    names = check_tags({name: "" if value is ANY else value for name, value in tags.items()})
    return tuple(sorted((name, ANY if tags[name] is ANY else value) for name, value in names.items()))


def _check_time(value: object, what: str) -> str | None:
    """A time bound in the form of `created_at`, so that both compare as text."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidArtifactError(f"{what} must be ISO 8601, not {value!r}") from None
    if not isinstance(value, datetime):
        raise InvalidArtifactError(f"{what} must be a datetime or ISO 8601 text, not {type(value).__name__}")
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    try:
        value = value.astimezone(UTC)
    except OverflowError:
        raise InvalidArtifactError(f"{what} lies outside of the years 1 to 9999 in UTC") from None
    return value.isoformat(timespec="microseconds")
