"""How safe a write is before it is acknowledged: `WAIT` and `WAITAOF`, sent behind the write on its connection."""

from __future__ import annotations

from typing import Any, Final, Literal

from redis.exceptions import ResponseError

from ....errors import AmbiguousWriteError, ArtifactError, InvalidArtifactError, StoreUnavailableError
from .resp import Piece, pack

Durability = Literal["memory", "fsync", "replica", "replica+fsync"]

_MILLISECONDS: Final = b"5000"  # for disks and replicas to catch up

# Per level: the command, and how many disks of the server itself and how many replicas have to confirm.
_LEVELS: Final[dict[str, tuple[tuple[bytes, ...], int, int]]] = {
    "fsync": ((b"WAITAOF", b"1", b"0"), 1, 0),
    "replica": ((b"WAIT", b"1"), 0, 1),
    "replica+fsync": ((b"WAITAOF", b"1", b"1"), 1, 1),
}
LEVELS: Final = ("memory", *_LEVELS)


class Confirmation:
    """The command that waits until the writes before it on its connection are as safe as a level asks for.

    Args:
        level: Any but `"memory"`.
    """

    slot = 0
    replies = 1

    def __init__(self, level: Durability) -> None:
        self._level = level
        command, self._disks, self._replicas = _LEVELS[level]
        self._packed = pack((*command, _MILLISECONDS))

    def packed(self, *, by_hash: bool = True) -> list[Piece]:  # noqa: ARG002  # the same either way
        """The command as the server reads it."""
        return self._packed

    def check(self, reply: Any) -> None:
        """Compare the reply with what the level asks for.

        Raises:
            AmbiguousWriteError: The write happened, but was not confirmed in time.
        """
        disks, replicas = reply if isinstance(reply, list) else (0, reply)
        if disks < self._disks or replicas < self._replicas:
            raise AmbiguousWriteError(
                f"written, but not confirmed for durability={self._level!r}: "
                f"{disks} of {self._disks} disks, {replicas} of {self._replicas} replicas answered; safe to repeat"
            )


def confirmation(level: Durability) -> Confirmation | None:
    """What to send behind a write; nothing where the server's memory is enough."""
    return None if level == "memory" else Confirmation(level)


def refused(level: Durability, error: StoreUnavailableError) -> ArtifactError:
    """Why a server cannot keep what a level promises; the same error where that is not said."""
    text = str(error.__cause__) if isinstance(error.__cause__, ResponseError) else ""
    if "unknown command" in text.lower():
        return InvalidArtifactError(
            f"durability={level!r} needs WAITAOF: Redis 7.2, Valkey 8 or later; this server only has 'replica'"
        )
    if "appendonly" in text:
        return InvalidArtifactError(f"durability={level!r} needs appendonly yes on the server: {text}")
    return error
