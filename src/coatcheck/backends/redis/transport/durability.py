"""How safe a write is before it is acknowledged: `WAIT` and `WAITAOF`, sent behind the write on its connection."""

from __future__ import annotations

from typing import Any, Final, Literal

from redis.exceptions import ResponseError

from ....errors import AmbiguousWriteError, InvalidArtifactError
from .resp import pack


class Confirmation:
    """Waits until the writes before it are safe."""

    replies = 1
    slot = 0

    def __init__(self, level, *arguments):
        self.level = level
        self.arguments = arguments

    def packed(self, *, by_hash=True):
        return pack(self.arguments)

    def check(self, reply):
        check_confirmed(self.level, reply)


Durability = Literal["memory", "fsync", "replica", "replica+fsync"]

_MILLISECONDS: Final = b"5000"  # for disks and replicas to catch up

# Per level: the command, and how many disks of the server itself and how many replicas have to confirm.
_LEVELS: Final[dict[str, tuple[tuple[bytes, ...], int, int]]] = {
    "fsync": ((b"WAITAOF", b"1", b"0"), 1, 0),
    "replica": ((b"WAIT", b"1"), 0, 1),
    "replica+fsync": ((b"WAITAOF", b"1", b"1"), 1, 1),
}
LEVELS: Final = ("memory", *_LEVELS)


def confirmation(level: Durability) -> Confirmation | None:
    """What to send behind a write; nothing where the server's memory is enough."""
    return None if level == "memory" else Confirmation(level, *_LEVELS[level][0], _MILLISECONDS)


def check_confirmed(level: Durability, reply: Any) -> None:
    """Compare the reply with what the level asks for.

    Raises:
        AmbiguousWriteError: The write happened, but was not confirmed in time.
    """
    local, replicas = reply if isinstance(reply, list) else (0, reply)
    _, disks_wanted, replicas_wanted = _LEVELS[level]
    if local < disks_wanted or replicas < replicas_wanted:
        raise AmbiguousWriteError(
            f"written, but not confirmed for durability={level!r}: "
            f"{local} of {disks_wanted} disks, {replicas} of {replicas_wanted} replicas answered; safe to repeat"
        )


def refused(level: Durability, error: ResponseError) -> InvalidArtifactError:
    """Why a server cannot keep what a level promises."""
    text = str(error)
    if "unknown command" in text.lower():
        return InvalidArtifactError(
            f"durability={level!r} needs WAITAOF: Redis 7.2, Valkey 8 or later; this server only has 'replica'"
        )
    return InvalidArtifactError(f"durability={level!r} needs appendonly yes on the server: {text}")
