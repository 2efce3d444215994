"""What people type: TTLs, tags, tickets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from coatcheck import InvalidArtifactError, get_artifact_id, is_artifact_ref

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)")


def parse_ttl(text: str) -> float | None:
    """Seconds from `90`, `90s`, `15m`, `2h` or `7d`; `None`, for ever, from `never`.

    Raises:
        InvalidArtifactError: It is none of these.
    """
    if text == "never":
        return None
    found = _DURATION.fullmatch(text)
    if found is None:
        raise InvalidArtifactError(f"invalid TTL {text!r}: write 90, 90s, 15m, 2h, 7d or never")
    return float(found[1]) * _UNITS[found[2]]


def parse_grace(text: str) -> float:
    """Seconds as in `parse_ttl`, without `never`.

    Raises:
        InvalidArtifactError: It is none of these.
    """
    seconds = parse_ttl(text)
    if seconds is None:
        raise InvalidArtifactError("a grace period of never would remove nothing: leave --delete or --repair out")
    return seconds


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


def parse_ids(texts: Sequence[str]) -> list[str]:
    """`parse_id` for each, without repetitions."""
    return list(dict.fromkeys(map(parse_id, texts)))
