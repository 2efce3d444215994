"""Words that calls have in common, and how they are written as arguments and read from replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from .....ids import ID_LENGTH, is_default_id
from ...layout.keys import Keys, member_of

View = tuple[bytes, bytes, bytes] | None
"""Header, lease field, lease."""


class Chunks(NamedTuple):
    """The chunks of one upload: they follow a content, see `lua/follow.lua`."""

    content: bytes
    token: bytes
    total: int


class Name(NamedTuple):
    """An artifact, the content that it stands for, and the chunks of that, as far as the caller knows.

    `seen`: what a lease says, behind its deadline. Where it says something else by now, nothing is removed.
    """

    artifact: bytes
    content: bytes
    chunks: Chunks | None = None
    seen: bytes = b""

    @classmethod
    def of(cls, artifact_id: str, content_id: bytes | None = None) -> Name:
        """The name of an artifact; a default id is the name of its content."""
        artifact = artifact_id.encode()
        if content_id is None:
            content_id = artifact if is_default_id(artifact_id) else _UNKNOWN
        return cls(artifact, content_id)


_UNKNOWN: Final = b"0" * ID_LENGTH  # the content of an explicit id before it was asked for


def ttl_in_ms(ttl_ms: int | None) -> bytes:
    """A TTL; empty for ever."""
    return b"" if ttl_ms is None else b"%d" % ttl_ms


def raw(content_id: bytes) -> bytes:
    """A content id in 16 bytes."""
    return bytes.fromhex(content_id.decode())


def pairs(names: Sequence[Name]) -> list[bytes]:
    """Member and content id of each."""
    return [argument for name in names for argument in (member_of(name.artifact), raw(name.content))]


def known(names: Sequence[Name]) -> list[bytes]:
    """The same, the token of the chunks as far as it is known, and what was seen of a lease."""
    found = []
    for name in names:
        token = name.chunks.token if name.chunks else b""
        found += [member_of(name.artifact), raw(name.content), token, name.seen]
    return found


def change_keys(keys: Keys, fourth: bytes, names: Sequence[Name]) -> list[bytes]:
    """The keys of a script that changes artifacts."""
    found = [keys.created, keys.deadlines, keys.runs, fourth]
    for name in names:
        found += keys.of(name.artifact, name.content)
    found.append(keys.run(None))
    return found


def chunks_in(reply: Any) -> tuple[bytes, int] | None:
    """Token and count of chunks, if there are any."""
    return (reply[0], reply[1]) if reply else None
