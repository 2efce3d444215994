"""Stores on fakeredis, for unit tests that start no server. What it lacks is added from outside.

Its scripts know no `#!lua` line and no `struct` library: the fake's connections rewrite each EVAL on its way. It has no
memory limit, no replicas and no slots, and the flags of scripts mean nothing there: what depends on those is tested on
a real server.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, TypeVar, Unpack

import redis
import redis.asyncio

from ..aio import AsyncRedisArtifactStore
from ..arguments import Ttl, spelled_out
from ..backends.redis import RedisKeywords, RedisOptions
from ..backends.redis.transport.resp import pack
from ..events import OnEvent
from ..sync import RedisArtifactStore

Client = TypeVar("Client", redis.Redis, redis.asyncio.Redis)

_hashes: Final[dict[bytes, bytes]] = {}  # of scripts as they are sent -> of scripts as the fake knows them


@spelled_out(RedisOptions)
def fake_store(
    server: Any = None,
    *,
    namespace: str = RedisOptions.namespace,
    default_ttl: Ttl = None,
    on_event: OnEvent | None = None,
    **options: Unpack[RedisKeywords],
) -> RedisArtifactStore:
    """A `RedisArtifactStore` without a server.

    Args:
        server: The `fakeredis.FakeServer` that several stores share; left out: one of its own.
        namespace: As for `RedisArtifactStore`, like all other options.
        default_ttl: Seconds, a `timedelta`, or `None` for ever.
        on_event: Told of each operation at its end.
        **options: See `RedisOptions`.

    Raises:
        ImportError: fakeredis is not installed, or without its Lua.
    """
    named: dict[str, Any] = {"namespace": namespace, "default_ttl": default_ttl, "on_event": on_event}
    return RedisArtifactStore(fake_client(server), **named, **options)


@spelled_out(RedisOptions)
def afake_store(
    server: Any = None,
    *,
    namespace: str = RedisOptions.namespace,
    default_ttl: Ttl = None,
    on_event: OnEvent | None = None,
    **options: Unpack[RedisKeywords],
) -> AsyncRedisArtifactStore:
    """`fake_store`, awaited."""
    named: dict[str, Any] = {"namespace": namespace, "default_ttl": default_ttl, "on_event": on_event}
    return AsyncRedisArtifactStore(afake_client(server), **named, **options)


def fake_client(server: Any = None) -> redis.Redis:
    """A client of a fake server that runs our scripts."""
    fakeredis = _fakeredis()
    client: redis.Redis = fakeredis.FakeRedis(server=server or fakeredis.FakeServer())
    return _adapted(client)


def afake_client(server: Any = None) -> redis.asyncio.Redis:
    """`fake_client`, awaited."""
    fakeredis = _fakeredis()
    client: redis.asyncio.Redis = fakeredis.FakeAsyncRedis(server=server or fakeredis.FakeServer())
    return _adapted(client)


def _fakeredis() -> Any:
    try:
        import fakeredis  # noqa: PLC0415  # only who asks for a fake needs it
        import lupa  # noqa: F401, PLC0415
    except ImportError as error:
        raise ImportError(f'a fake store needs fakeredis and its Lua ({error}): pip install "fakeredis[lua]"') from None
    return fakeredis


def _adapted(client: Client) -> Client:
    pool = client.connection_pool
    pool.connection_class = type("AdaptedConnection", (_Adapted, pool.connection_class), {})
    return client


class _Adapted:
    """Goes in front of a connection of fakeredis, blocking or awaited."""

    def send_packed_command(self, command: Sequence[bytes], *args: Any, **kwargs: Any) -> Any:
        adapted = [piece for fields in _commands(b"".join(command)) for piece in pack(_adapt(fields))]
        return super().send_packed_command(adapted, *args, **kwargs)  # type: ignore[misc]


def _commands(packed: bytes) -> Iterator[list[bytes]]:
    stream = io.BytesIO(packed)
    while line := stream.readline():
        yield [stream.read(int(stream.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]


def _adapt(fields: list[bytes]) -> list[bytes]:
    command, *rest = fields
    match command.upper():
        case b"EVAL" | b"EVAL_RO":
            source = _script(rest[0])
            _hashes[_sha1(rest[0])] = _sha1(source)
            return [b"EVAL", source, *rest[1:]]
        case b"EVALSHA" | b"EVALSHA_RO":  # one that was not sent yet is unknown, as on any server
            return [b"EVALSHA", _hashes.get(rest[0], rest[0]), *rest[1:]]
        case _:
            return fields


def _script(source: bytes) -> bytes:
    """A script that fakeredis understands, each line where it was."""
    first, newline, rest = source.partition(b"\n")
    return _prelude() + b" " + (newline + rest if first.startswith(b"#!") else source)


@cache
def _prelude() -> bytes:
    lines = (files(__package__) / "fake.lua").read_text(encoding="utf-8").splitlines()
    return " ".join(line.partition("--")[0].strip() for line in lines).encode()


def _sha1(source: bytes) -> bytes:
    return hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
