"""What people type: times, tags, tickets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import coatcheck
from coatcheck import InvalidArtifactError, get_artifact_id, is_artifact_ref

if TYPE_CHECKING:
    from coatcheck.search import Tags

_UNITS: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?)"
_SECONDS: Final = re.compile(_NUMBER)
_DURATION: Final = re.compile("".join(rf"(?:{_NUMBER}{unit})?" for unit in _UNITS))


def parse_duration(text: str) -> float:
    """Seconds from `90`, `90s`, `15m`, `2h`, `7d`, `1w` or, the larger unit first, `1d12h`.

    Raises:
        InvalidArtifactError: It is none of these.
    """
    if _SECONDS.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        raise InvalidArtifactError(f"{text!r} is no time: write 90, 90s, 15m, 2h, 7d, 1w or 1d12h")
    return sum(float(count or 0) * unit for count, unit in zip(found.groups(), _UNITS.values(), strict=True))


def parse_ttl(text: str) -> float | None:
    """Seconds as in `parse_duration`; `None`, for ever, from `never`.

    Raises:
        InvalidArtifactError: It is none of these.
    """
    if text == "never":
        return None
    try:
        return parse_duration(text)
    except InvalidArtifactError as error:
        raise InvalidArtifactError(f"{error}, or never") from None


def parse_moment(text: str | None) -> str | datetime | None:
    """A point in time: a duration means so long ago, all else is ISO 8601, which the store understands."""
    if text is None:
        return None
    if not (_SECONDS.fullmatch(text) or (text and _DURATION.fullmatch(text))):
        return text
    return parse_ago(text)


def parse_ago(text: str) -> datetime:
    """The point in time that was a duration ago.

    Raises:
        InvalidArtifactError: It is no duration, or one too long.
    """
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(text))
    except OverflowError:
        raise InvalidArtifactError(f"{text} ago was before the year 1") from None


def parse_tags(pairs: Iterable[str]) -> dict[str, str]:
    """Tags from `name=value` pairs.

    Raises:
        InvalidArtifactError: One has no `=`, or no name.
    """
    tags = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise InvalidArtifactError(f"invalid tag {pair!r}: write name=value")
        tags[name] = value
    return tags


def parse_extra(pairs: Iterable[str]) -> dict[str, Any]:
    """JSON values by name, from `name=JSON` pairs.

    Raises:
        InvalidArtifactError: One has no `=`, or no JSON behind it.
    """
    extra = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        try:
            if not separator or not name:
                raise ValueError(pair)
            extra[name] = json.loads(value)
        except (ValueError, RecursionError):
            raise InvalidArtifactError(
                f"invalid extra {pair!r:.200}: write name=JSON, as in retries=3 or name='\"text\"'"
            ) from None
    return extra


def parse_wanted_tags(texts: Iterable[str]) -> Tags:
    """Tags to look for: `name=value`, or `name` for any value.

    Raises:
        InvalidArtifactError: One has no name.
    """
    wanted: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not name:
            raise InvalidArtifactError(f"invalid tag {text!r}: write name=value, or name for any value")
        wanted[name] = value if separator else coatcheck.ANY
    return wanted


def parse_id(text: str) -> str:
    """The id from an id or from a ticket in JSON. Whether an id is well-formed is for the store to say.

    Raises:
        InvalidArtifactError: It starts like a ticket and is none.
    """
    if not text.lstrip().startswith("{"):
        return text
    try:
        ticket = json.loads(text)
    except (ValueError, RecursionError):
        ticket = None
    if not is_artifact_ref(ticket):
        raise InvalidArtifactError(f'invalid ticket {text!r}: write {{"$artifact": "<id>"}}')
    return get_artifact_id(ticket)
