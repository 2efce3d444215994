"""What a user of a server has to be permitted, by role: an allow-list, and the command that makes such a user."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final, Literal

from ...errors import InvalidArtifactError
from .layout.partitions import Partitions

Role = Literal["reader", "worker", "operator"]

_SCRIPTS: Final = ("eval", "evalsha", "time")
_READ: Final = (
    *("exists", "get", "getrange", "strlen"),
    *("hget", "hgetall", "hlen", "hmget", "hrandfield", "zcount", "zmscore", "zrange", "zscan"),
)
_WRITE: Final = (
    *("set", "rename", "unlink", "persist", "pexpire", "pexpireat", "pexpiretime"),
    *("hset", "hdel", "hexists", "hkeys", "zadd", "zrem", "zcard", "zscore"),
)
_INSPECT: Final = ("scan", "hscan", "type", "pttl", "object|idletime", "memory|usage")

COMMANDS: Final[dict[Role, tuple[str, ...]]] = {
    "reader": (*_SCRIPTS, *_READ),
    "worker": (*_SCRIPTS, *_READ, *_WRITE),
    "operator": (*_SCRIPTS, *_READ, *_WRITE, *_INSPECT),
}
"""Each role with what it needs on one server, in database 0. An operator may run `gc` and `check`, too."""

EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "replica": ("ping", "wait"),
    "fsync": ("ping", "waitaof"),
    "database": ("select",),
    "cluster": ("cluster|slots", "asking"),
    "eviction": ("info",),
}
"""What else is needed: for such `durability`, another database than 0, a cluster, and to be warned of eviction."""


def rules(role: Role, namespace: str, extras: Sequence[str] = ()) -> list[str]:
    """The rules of `ACL SETUSER`: keys of the namespace, and commands.

    Args:
        role: Whether it may read, store and delete, or inspect everything as well.
        namespace: Of the store.
        extras: Names of `EXTRAS`.

    Raises:
        InvalidArtifactError: No such role or extra, or no namespace that can be.
    """
    for names, known in (((role,), COMMANDS), (extras, EXTRAS)):
        for name in names:
            if name not in known:
                raise InvalidArtifactError(f"unknown {name!r}: choose from {', '.join(map(str, known))}")
    prefix = Partitions(namespace, 1).prefix.decode()
    commands = [*COMMANDS[role], *(command for extra in extras for command in EXTRAS[extra])]
    return ["resetkeys", f"~{prefix}*", "resetchannels", "nocommands", *(f"+{command}" for command in commands)]


def command(role: Role, namespace: str, user: str, extras: Sequence[str] = ()) -> str:
    """The whole command, to type into redis-cli, with `PASSWORD` for the password.

    Raises:
        InvalidArtifactError: See `rules`; or a name with white space.
    """
    if not user or any(character.isspace() or not character.isprintable() for character in user):
        raise InvalidArtifactError(f"{user!r} cannot be the name of a user")
    return shlex.join(["ACL", "SETUSER", user, "on", ">PASSWORD", *rules(role, namespace, extras)])
