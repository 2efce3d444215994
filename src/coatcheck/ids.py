"""Artifact ids and digests: how content is named."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import InvalidArtifactError

if TYPE_CHECKING:
    from typing_extensions import Buffer

ID_LENGTH = 32
"""Length of a default id: this many leading hex digits of the content's SHA-256."""

MAX_ID_LENGTH = 200

REF_KEY = "$artifact"
"""The key of a ticket under which the id lies."""

_FOREIGN = "k-"  # so that it never looks like a default id
_FOREIGN_LENGTH = 40  # hex digits: whoever chooses keys finds no two that meet in one id

TREE_TYPE = "application/vnd.coatcheck.tree+json"
"""The content type of trees: of their manifests."""

_ID = re.compile(r"[A-Za-z0-9_-]+")
_DEFAULT_ID = re.compile(r"[0-9a-f]{32}")


def compute_digest(content: Buffer) -> bytes:
    """The full SHA-256 of the content, as 32 raw bytes."""
    return hashlib.sha256(content).digest()


def compute_artifact_id(content: Buffer) -> str:
    """The default id of a content: the first 32 hex digits of its SHA-256.

    Raises:
        InvalidArtifactError: It is no buffer of bytes.
    """
    try:
        return hashlib.sha256(content).hexdigest()[:ID_LENGTH]
    except BufferError:  # its bytes lie apart, as those of `memoryview(…)[::2]`: a store takes it, too
        return compute_artifact_id(bytes(content))
    except TypeError:
        kind = type(content).__name__
        raise InvalidArtifactError(f"content must be bytes-like, not {kind}: encode text first") from None


def foreign_id(*parts: str | float | bool | None) -> str:
    """The id of what other software knows by a key of its own: the same for the same parts, in this order.

    It is a hash of the parts as a JSON array, so no two keys meet in one id: neither `("a", "b")` and `("ab",)` nor `1`
    and `"1"`. What the key was, it does not tell: keep that in `extra`.

    Args:
        *parts: Text, numbers, booleans and `None`, at least one.

    Raises:
        InvalidArtifactError: None of these.
    """
    for part in parts:
        if not isinstance(part, str | int | float | None):
            raise InvalidArtifactError(f"a part of a key must be text, a number or None, not {type(part).__name__}")
    if not parts:
        raise InvalidArtifactError("a key needs at least one part")
    plain = [exact(part) if isinstance(part, str) else part for part in parts]
    try:
        key = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:
        raise InvalidArtifactError(f"{parts!r:.100} cannot be written as JSON: {error}") from None
    return _FOREIGN + hashlib.sha256(key).hexdigest()[:_FOREIGN_LENGTH]


def is_default_id(artifact_id: str) -> bool:
    """Whether an id has the form of a default id: it means the content of that hash, and nothing else, for ever."""
    return len(artifact_id) == ID_LENGTH and _DEFAULT_ID.fullmatch(artifact_id) is not None


def are_default_ids(ids: Sequence[str]) -> bool:
    """Whether all of them have that form, at a seventh of the cost of asking about each."""
    joined = "".join(ids)
    try:
        return {ID_LENGTH}.issuperset(map(len, ids)) and bytes.fromhex(joined).hex() == joined
    except ValueError:
        return False


def exact(text: str) -> str:
    """The text itself: members of enums and other subclasses of `str` may print, compare or hash as something else."""
    return str.__str__(text)


def validate_artifact_id(artifact_id: str) -> None:
    """Check that an id may become part of a key or a file name.

    Raises:
        InvalidArtifactError: Not a string of 1 to 200 ASCII letters, digits, `-` and `_`. Also a `ValueError`.
    """
    check_artifact_id(artifact_id)


def check_artifact_id(artifact_id: object) -> str:
    """The same; returns the id as a plain `str`."""
    if type(artifact_id) is str and is_default_id(artifact_id):
        return artifact_id
    if not isinstance(artifact_id, str):
        raise InvalidArtifactError(f"artifact_id must be a str, not {type(artifact_id).__name__}")
    artifact_id = str.__str__(artifact_id)  # see exact
    if not artifact_id:
        raise InvalidArtifactError("artifact_id cannot be empty; leave it out to name the artifact by its content")
    if len(artifact_id) > MAX_ID_LENGTH:
        raise InvalidArtifactError(
            f"artifact_id has {len(artifact_id)} characters; at most {MAX_ID_LENGTH} are allowed"
        )
    if _ID.fullmatch(artifact_id) is None:
        raise InvalidArtifactError(
            f"Invalid artifact_id {artifact_id!r}: only ASCII letters, digits, hyphens and underscores are allowed"
        )
    return artifact_id
