"""Filters over metadata."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from .arguments import check_content_type, check_tags
from .errors import InvalidArtifactError

if TYPE_CHECKING:
    from .model import ArtifactMetadata


def check_order(order: Any) -> bool:
    """Whether newest come first."""
    if order not in ("desc", "asc"):
        raise InvalidArtifactError(f"order must be 'desc' or 'asc', not {order!r}")
    return bool(order == "desc")


def check_count(value: Any, what: str) -> int:
    """A limit or an offset, brought to what a list can hold."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArtifactError(f"{what} must be an int, not {type(value).__name__}")
    return max(-sys.maxsize, min(value, sys.maxsize))


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


class Filter:
    """What `search` was asked for, checked."""

    def __init__(
        self,
        content_type: str | None,
        tags: Mapping[str, str] | None,
        created_after: str | datetime | None,
        created_before: str | datetime | None,
    ) -> None:
        self._content_type = None if content_type is None else check_content_type(content_type)
        self._tags = check_tags(tags).items()
        self._after = _check_time(created_after, "created_after")
        self._before = _check_time(created_before, "created_before")

    @property
    def everything(self) -> bool:
        """Whether all artifacts match."""
        return self._content_type is None and not self._tags and self._after is None and self._before is None

    def matches(self, view: ArtifactMetadata) -> bool:
        """Whether metadata satisfy every condition."""
        return (
            (self._content_type is None or view.content_type == self._content_type)
            and self._tags <= view.tags.items()
            and (self._after is None or view.created_at >= self._after)
            and (self._before is None or view.created_at <= self._before)
        )


def slice_of(views: Iterable[ArtifactMetadata], *, offset: int, limit: int, order: str) -> list[ArtifactMetadata]:
    """Sort by time of store and id, then cut."""
    newest_first = check_order(order)
    start, count = max(0, check_count(offset, "offset")), check_count(limit, "limit")
    stop = min(start + count, sys.maxsize) if count > 0 else None
    found = sorted(views, key=lambda view: (view.created_at, view.artifact_id), reverse=newest_first)
    return list(islice(found, start, stop))
