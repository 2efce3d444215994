"""What becomes the content or the metadata of an artifact: text, and values as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from .errors import InvalidArtifactError
from .ids import exact

MAX_EXTRA_BYTES: Final = 64 * 1024
"""Bytes of an artifact's `extra` as JSON in UTF-8."""

MAX_EXTRA_DEPTH: Final = 32
"""Containers in containers of an artifact's `extra`, itself included."""


def decode_text(content: bytes, encoding: str) -> str:
    """Bytes as text."""
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise
    except (LookupError, ValueError, TypeError):
        raise InvalidArtifactError(f"{encoding!r} is not a text encoding for this content") from None


def encode_text(text: Any, encoding: str) -> bytes:
    """Text as bytes."""
    if not isinstance(text, str):
        raise InvalidArtifactError(f"text must be a str, not {type(text).__name__}; use store() for bytes")
    try:
        return exact(text).encode(encoding)
    except UnicodeEncodeError as error:
        raise InvalidArtifactError(f"text cannot be encoded as {encoding}: {error.reason}") from None
    except (LookupError, ValueError, TypeError):
        raise InvalidArtifactError(f"{encoding!r} is not a text encoding for this text") from None


def encode_json(data: Any, what: str = "data") -> bytes:
    """A value as compact JSON in UTF-8, byte for byte what AbstractRuntime writes, so ids agree.

    Raises:
        InvalidArtifactError: It is not JSON (NaN and infinities are not), or something of it would be lost.
    """
    try:
        encoded = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArtifactError(f"{what} cannot be written as JSON: {error}") from None
    _check_keys(data, what)
    return encoded


def _check_keys(data: Any, what: str) -> None:
    """That no two keys of a mapping become the same text, as 1 and "1" do."""
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if not all(type(key) is str for key in value):
                names = {json.dumps({key: 0}) for key in value}
                if len(names) < len(value):
                    raise InvalidArtifactError(f"{what} cannot be written as JSON: keys of {value!r:.100} collide")
            value = value.values()
        elif not isinstance(value, list | tuple):
            continue
        waiting += [item for item in value if isinstance(item, dict | list | tuple)]


def encode_extra(extra: Any) -> str:
    """Metadata of the caller's own, as JSON; empty where there are none.

    Raises:
        InvalidArtifactError: No mapping of JSON values by name, too long, or too deep.
    """
    if not isinstance(extra, Mapping):
        raise InvalidArtifactError(f"extra must be a mapping of str to JSON values, not {type(extra).__name__}")
    if not extra:
        return ""
    encoded = encode_json(dict(extra), "extra")
    if len(encoded) > MAX_EXTRA_BYTES:
        raise InvalidArtifactError(
            f"extra has {len(encoded)} bytes as JSON, at most {MAX_EXTRA_BYTES} are allowed: store it as content"
        )
    _check_depth(extra)
    return encoded.decode()


def _check_depth(extra: Mapping[str, Any]) -> None:
    waiting: list[tuple[Any, int]] = [(extra, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_EXTRA_DEPTH:
            raise InvalidArtifactError(f"extra is deeper than {MAX_EXTRA_DEPTH} containers: store it as content")
        inner = value.values() if isinstance(value, Mapping) else value
        waiting += [(item, depth + 1) for item in inner if isinstance(item, dict | list | tuple)]


def read_extra(text: str) -> dict[str, Any]:
    """`extra` from its JSON.

    Raises:
        ValueError: It is not that.
    """
    extra = json.loads(text) if text else {}
    if not isinstance(extra, dict):
        raise ValueError("extra that is no mapping")  # noqa: TRY004  # of the stored bytes, not of an argument
    return extra
