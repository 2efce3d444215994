"""What happens when an exchange fails: what is retried, for how long, and which error the caller gets.

redis-py would retry ten times without saying so; here a call is repeated only within `retry_for` seconds. Commands
that were surely not executed are simply sent again. After a broken connection they are sent again too: every script
has the same result when it runs twice. If time runs out then, the outcome of a write is honestly unknown.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)

from ....errors import (
    AmbiguousWriteError,
    ArtifactError,
    CorruptArtifactError,
    StoreFullError,
    StoreUnavailableError,
)
from ....plan import Pause, Plan, Work
from .durability import Confirmation

Sendable = object
from .base import BrokenError, Exchange, Link, NotSentError, RefusedError
from .resp import merge

# Replies that say: not executed, ask again.
LATER: Final = (BusyLoadingError, TryAgainError, ClusterDownError, MasterDownError)
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.5


def exchange(link: Link, commands: Sequence[Sendable], retry_for: float, *, writes: bool) -> Plan[list[Any]]:
    """Send commands together and return their replies, none of them an error.

    Raises:
        ArtifactError: The one of `coatcheck.errors` that fits the first error reply, or the lost connection.
    """
    patience = Patience(retry_for)
    in_doubt = False
    while True:
        reason: BaseException
        try:
            replies: list[Any] = yield _exchange(link, commands)
            errors = [reply for reply in replies if isinstance(reply, Exception)]
            if errors and any(isinstance(error, NoScriptError) for error in errors):
                errors = yield from _send_sources(link, commands, replies)
            if not errors:
                return replies
            later = next((error for error in errors if isinstance(error, LATER)), None)
            if later is None:
                raise translate(errors[0]) from errors[0]
            reason = later
        except RefusedError as error:
            raise translate(error) from error
        except NotSentError as error:
            reason = error
        except BrokenError as error:
            reason, in_doubt = error, writes
        pause = patience.next_pause()
        if pause is None:
            raise gave_up(reason, in_doubt=in_doubt) from reason
        if link.engine is not None:
            yield Work(link.engine.ensure)
        yield Pause(pause)


def _exchange(link: Link, commands: Sequence[Sendable]) -> Exchange:
    if len(commands) == 1:
        return Exchange(link, commands[0].packed(), commands[0].replies)
    return Exchange(
        link, merge([command.packed() for command in commands]), sum([command.replies for command in commands])
    )


class Patience:
    """Pauses between tries, growing and jittered, until the time is up; the clock starts at the first failure."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._give_up_at: float | None = None
        self._pause = _FIRST_PAUSE

    def next_pause(self) -> float | None:
        """Seconds to wait before the next try; `None`: give up."""
        now = time.monotonic()
        if self._give_up_at is None:
            self._give_up_at = now + self._seconds
        if now + self._pause > self._give_up_at:
            return None
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311  # jitter, not a secret
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return pause


def gave_up(reason: BaseException, *, in_doubt: bool) -> ArtifactError:
    """The public error for a call whose patience is at its end."""
    if in_doubt:
        return AmbiguousWriteError(
            f"connection lost while writing ({reason}); the outcome is unknown, it is safe to repeat the call"
        )
    return StoreUnavailableError(f"no usable server: {reason}")


def _send_sources(link: Link, commands: Sequence[Sendable], replies: list[Any]) -> Plan[list[Exception]]:
    """Send scripts that the server does not know again, with their source; the errors that are left in the replies."""
    senders = [command for command in commands for _ in range(command.replies)]
    unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    unknown += [i for i, command in enumerate(senders) if isinstance(command, Confirmation)]
    buffers = merge([senders[i].packed(by_hash=False) for i in unknown])
    try:
        answers = yield Exchange(link, buffers, len(unknown))
    except NotSentError as error:
        if len(unknown) < len(replies):  # the others were executed
            raise BrokenError(str(error)) from error
        raise
    for i, reply in zip(unknown, answers, strict=True):
        replies[i] = reply
    return [reply for reply in replies if isinstance(reply, Exception)]


# What error replies contain, whether a script or a plain command was refused; and what that means for the caller.
_MEANINGS: Final[tuple[tuple[str, type[ArtifactError], str], ...]] = (
    ("OOM", StoreFullError, "the server reached maxmemory: delete artifacts, wait for TTLs, or raise maxmemory"),
    (
        "WRONGTYPE",
        CorruptArtifactError,
        (
            "a key under the namespace holds a value of another type, written by other software: "
            "remove that key or choose another namespace"
        ),
    ),
    (
        "COATCHECKFUTURE",
        CorruptArtifactError,
        "a newer coatcheck wrote this artifact: upgrade this one to change it",
    ),
    (
        "COATCHECKMEND",
        CorruptArtifactError,
        "the indexes of this artifact's leases are damaged: run check(repair=True)",
    ),
    (
        "COATCHECKDAMAGED",
        CorruptArtifactError,
        "the metadata of this artifact are damaged: delete() it, store it again",
    ),
    ("READONLY", StoreUnavailableError, "the server is a read-only replica: connect to its primary to write"),
    ("NOPERM", StoreUnavailableError, "the user lacks a permission that coatcheck needs: {text}"),
    ("NOREPLICAS", StoreUnavailableError, "the server refuses writes while replicas are missing: {text}"),
    ("MISCONF", StoreUnavailableError, "the server refuses writes because it cannot persist: {text}"),
)
_CODES: Final = {OutOfMemoryError: "OOM", ReadOnlyError: "READONLY", NoPermissionError: "NOPERM"}


def translate(error: BaseException) -> ArtifactError:
    """The public error for an error reply or a refused connection."""
    text = str(error)
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), text)
    for marker, kind, message in _MEANINGS:
        if marker in code:
            return kind(message.format(text=text))
    if isinstance(error, RefusedError):
        return StoreUnavailableError(f"the server refused the connection: {text}")
    return StoreUnavailableError(f"unexpected reply from the server: {text}")


def deliver(transport, units, retry_for, *, writes, behind=None, node=None):
    if behind is None:
        return (yield from exchange(transport, units, retry_for, writes=writes))
    *replies, confirmed = yield from exchange(transport, [*units, behind], retry_for, writes=writes)
    behind.check(confirmed)
    return replies
