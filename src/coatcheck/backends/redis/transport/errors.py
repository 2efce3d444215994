"""What errors mean: which ones waiting cures, and which one of `coatcheck.errors` the caller gets."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Final, TypeVar

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    InvalidResponse,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.sentinel import MasterNotFoundError

from ....errors import (
    AmbiguousWriteError,
    ArtifactError,
    CorruptArtifactError,
    StoreAccessError,
    StoreFullError,
    StoreUnavailableError,
    WrongServerError,
)
from .base import BrokenError, Node, NotSentError, RefusedError, UncoveredError, UnexpectedError
from .replies import MalformedError

Failure = TypeVar("Failure", NotSentError, RefusedError, BrokenError, UnexpectedError)

_MALFORMED: Final = (MalformedError, InvalidResponse)
TRANSPORT_ERRORS: Final = (RedisError, OSError, MalformedError)
ERROR_REPLIES: Final = (ResponseError, BusyLoadingError, AuthenticationError, AuthorizationError)

_ELSEWHERE: Final = (ClusterDownError, MasterDownError, BusyLoadingError)  # another server may answer by now
_LASTING: Final = (AuthenticationError, AuthorizationError, ResponseError)
_HALF_MOVED: Final = "access a non local key"  # what a reading script derived has gone to the slot's next node already
_NO_LOGIN: Final = re.compile(r"(HELLO must be called|Authentication required).*", re.DOTALL)
_LOGIN: Final = "it asks for a password, and none was given (NOAUTH): name it as user:password@ before the host"
_NO_LUA: Final = re.compile(r"unknown command '?eval|scripting engine", re.IGNORECASE)


def says_later(error: Exception) -> bool:
    """Whether an error reply says: not executed, ask again."""
    text = str(error)
    return (
        isinstance(error, (*_ELSEWHERE, TryAgainError))
        or type(error) is RedisConnectionError  # too many clients
        or text.startswith("BUSY ")
        or _HALF_MOVED in text
    )


def says_elsewhere(error: Exception) -> bool:
    """Whether an error reply says that the server is no longer, or not yet, the one to ask."""
    return isinstance(error, (*_ELSEWHERE, ReadOnlyError))


def not_sent(error: BaseException, node: Node) -> NotSentError:
    """Why there is no connection to a node."""
    return no_connection(error, node.name, node.trust)


def no_connection(error: BaseException, name: str, trust: str) -> NotSentError:
    """Why there is no connection to a server, and whether waiting may cure it.

    Args:
        error: What redis-py raised.
        name: The server, for the message.
        trust: Whose certificates are accepted, for the message.
    """
    for cause in _causes(error):
        if isinstance(cause, MasterNotFoundError):  # its details may show how the Sentinels are logged in to
            return NotSentError(str(cause).partition(" : ")[0])
        if isinstance(cause, ssl.SSLError):
            return _no_tls(cause, error, name, trust)
        if isinstance(cause, _MALFORMED):
            return _because(RefusedError(unexpected(cause, name)), cause)
        if isinstance(cause, _LASTING) and not says_later(cause):
            return _because(RefusedError(_text(cause, name)), cause)
    return _because(NotSentError(_text(error, name)), error)


def _no_tls(cause: ssl.SSLError, error: BaseException, name: str, trust: str) -> NotSentError:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return RefusedError(
            f"the certificate of {name} was not accepted: {cause.verify_message}; "
            f"expected one for {_host(name)!r}, {trusted(trust)}"
        )
    if type(cause) is ssl.SSLError:
        return RefusedError(f"no TLS with {name}: {cause.reason or cause}; {_TLS_CURE}")
    return _because(NotSentError(f"{_text(error, name)}; {_TLS_CURE}"), error)


_TLS_CURE: Final = "check that the port speaks TLS, and whether it asks for a certificate (ssl_certfile, ssl_keyfile)"


def trusted(trust: str) -> str:
    """Which certificates are accepted, in words."""
    return f"signed by {trust}" if trust else "signed by an authority of this system (ssl_ca_certs names another)"


def broken(error: BaseException, node: Node) -> BrokenError:
    """How the connection to a node broke."""
    if isinstance(error, _MALFORMED):
        return _because(UnexpectedError(unexpected(error, node.name)), error)
    return _because(BrokenError(_text(error, node.name)), error)


def unexpected(error: BaseException, name: str = "the server") -> str:
    """What to say of replies that make no sense."""
    return f"unexpected reply from {name} ({error}): is this a Redis server?"


def is_misplaced(error: Exception) -> bool:
    """Whether only a node of a cluster replies so."""
    return isinstance(error, AskError | ClusterCrossSlotError) or "cluster_enabled" in str(error)


def misplaced(node: Node) -> WrongServerError:
    """The error for a server that turns out to be a node of a cluster."""
    return WrongServerError(
        f"{node.name} is a node of a cluster: open the store with redis+cluster://{node.name} "
        "(rediss+cluster:// with TLS) or with a redis.cluster.RedisCluster client"
    )


def gave_up(reason: BaseException, *, in_doubt: bool) -> ArtifactError:
    """The public error for a call whose patience is at its end."""
    if in_doubt:
        return AmbiguousWriteError(
            f"connection lost while writing ({reason}); the outcome is unknown, it is safe to repeat the call"
        )
    cure = _UNCOVERED_CURE if isinstance(reason, UncoveredError | ClusterDownError) else ""
    return StoreUnavailableError(f"no usable server: {reason}{cure}")


_UNCOVERED_CURE: Final = (
    "; the cluster does not serve all of its hash slots: bring the missing primary back, promote a replica of it "
    "(CLUSTER FAILOVER TAKEOVER), or, if its data are gone, assign its slots anew (redis-cli --cluster fix HOST:PORT "
    "--cluster-fix-with-unreachable-masters)"
)

_REPLICA: Final = "the server is a read-only replica: connect to its primary to write"

_DENIED: Final = "the user lacks a permission that this needs (coatcheck acl prints all of them): {text}"

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
    ("READONLY", StoreUnavailableError, _REPLICA),
    ("cannot be used with replica", StoreUnavailableError, _REPLICA),
    ("NOPERM", StoreAccessError, _DENIED),
    ("ACL failure in script", StoreAccessError, _DENIED),
    ("The user executing the script", StoreAccessError, _DENIED),  # Redis 7.0
    ("NOREPLICAS", StoreUnavailableError, "the server refuses writes while replicas are missing: {text}"),
    ("MISCONF", StoreUnavailableError, "the server refuses writes because it cannot persist: {text}"),
)
_CODES: Final = {OutOfMemoryError: "OOM", ReadOnlyError: "READONLY", NoPermissionError: "NOPERM"}


def translate(error: BaseException) -> ArtifactError:
    """The public error for an error reply or a refused connection."""
    text = str(error)
    if isinstance(error, UnexpectedError):
        return StoreUnavailableError(text)
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), text)
    for marker, kind, message in _MEANINGS:
        if marker in code:
            return kind(message.format(text=text))
    if isinstance(error, RefusedError | AuthenticationError | AuthorizationError):
        return StoreAccessError(f"the server refused the connection: {_NO_LOGIN.sub(_LOGIN, text)}")
    if _NO_LUA.search(text):
        return WrongServerError(f"coatcheck needs Lua scripts (EVALSHA, EVAL), and this server has none: {text}")
    return StoreUnavailableError(f"unexpected reply from the server: {text}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _because(failure: Failure, error: BaseException) -> Failure:
    failure.__cause__ = error
    return failure


def _text(error: BaseException, name: str) -> str:
    text = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return text if name in text else f"{name}: {text}"


def _host(name: str) -> str:
    return name.rpartition(":")[0].strip("[]")
