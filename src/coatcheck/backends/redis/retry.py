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
    NoScriptError,
    OutOfMemoryError,
    TryAgainError,
)

from ...errors import (
    AmbiguousWriteError,
    ArtifactError,
    CorruptArtifactError,
    StoreFullError,
    StoreUnavailableError,
)
from ...plan import Pause, Plan, Work
from .link import BrokenError, Exchange, Link, NotSentError, RefusedError
from .scripts import Call, Command
from .wire import merge

# Replies that say: not executed, ask again.
_LATER: Final = (BusyLoadingError, TryAgainError, ClusterDownError, MasterDownError)
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.5


def exchange(
    link: Link, commands: Sequence[Call | Command], retry_for: float, *, writes: bool
) -> Plan[list[Any]]:
    """Send commands together and return their replies, none of them an error.

    Raises:
        ArtifactError: The one of `coatcheck.errors` that fits the first error reply, or the lost connection.
    """
    give_up_at: float | None = None
    pause = _FIRST_PAUSE
    in_doubt = False
    buffers = merge(command.packed() for command in commands)
    while True:
        reason: BaseException
        try:
            replies = yield Exchange(link, buffers, len(commands))
            unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if unknown:
                with_source = merge(commands[i].packed(by_hash=False) for i in unknown)
                for i, reply in zip(unknown, (yield Exchange(link, with_source, len(unknown))), strict=True):
                    replies[i] = reply
            later = next((reply for reply in replies if isinstance(reply, _LATER)), None)
            if later is None:
                for reply in replies:
                    if isinstance(reply, Exception):
                        raise translate(reply)
                return replies
            reason = later
        except RefusedError as error:
            raise translate(error) from error
        except NotSentError as error:
            reason = error
        except BrokenError as error:
            reason, in_doubt = error, writes
        now = time.monotonic()
        if give_up_at is None:
            give_up_at = now + retry_for
        if now + pause > give_up_at:
            if in_doubt:
                raise AmbiguousWriteError(
                    f"connection lost while writing ({reason}); the outcome is unknown, it is safe to repeat the call"
                ) from reason
            raise StoreUnavailableError(f"no usable server: {reason}") from reason
        if link.engine is not None:
            yield Work(link.engine.ensure)
        yield Pause(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret
        pause = min(2 * pause, _LONGEST_PAUSE)


def translate(error: BaseException) -> ArtifactError:
    """The public error for an error reply or a refused connection."""
    text = str(error)
    code = text.split(" ", 1)[0]
    if isinstance(error, OutOfMemoryError) or code == "OOM" or "command not allowed when used memory" in text:
        return StoreFullError("the server reached maxmemory: delete artifacts, wait for TTLs, or raise maxmemory")
    if "WRONGTYPE" in text:
        return CorruptArtifactError(
            "a key under the namespace holds a value of another type, written by other software: "
            "remove that key or choose another namespace"
        )
    if "COATCHECKFUTURE" in text:
        return CorruptArtifactError("a newer coatcheck wrote this artifact: upgrade this one to change it")
    if "READONLY" in text or "read only replica" in text:
        return StoreUnavailableError("the server is a read-only replica: connect to its primary to write")
    if "NOPERM" in text or "has no permissions" in text:
        return StoreUnavailableError(f"the user lacks a permission that coatcheck needs: {text}")
    if "NOREPLICAS" in text:
        return StoreUnavailableError(f"the server refuses writes while replicas are missing: {text}")
    if "MISCONF" in text:
        return StoreUnavailableError(f"the server refuses writes because it cannot persist: {text}")
    if isinstance(error, RefusedError):
        return StoreUnavailableError(f"the server refused the connection: {text}")
    return StoreUnavailableError(f"unexpected reply from the server: {text}")
