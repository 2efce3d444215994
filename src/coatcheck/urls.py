"""One URL instead of a class: `open_store` and `aopen_store`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack
from urllib.parse import quote

from .arguments import Ttl, spelled_out
from .backends.redis import RedisKeywords, RedisOptions
from .backends.redis.layout.partitions import check_namespace
from .backends.redis.transport.connect import EMBEDDED, SCHEMES, URL_VARIABLE, hide_password, local_directory
from .embedded import default_directory
from .errors import InvalidArtifactError
from .events import OnEvent
from .store import ArtifactStore
from .sync import FileArtifactStore, InMemoryArtifactStore, RedisArtifactStore

if TYPE_CHECKING:
    from .aio import AsyncArtifactStore

Kind = Literal["memory", "file", "redis"]

_KINDS: Final[dict[str, Kind]] = {"memory": "memory", "file": "file", **dict.fromkeys(SCHEMES, "redis")}


@spelled_out(RedisOptions)
def open_store(
    url: str | None = None,
    *,
    namespace: str | None = None,
    default_ttl: Ttl = None,
    on_event: OnEvent | None = None,
    **options: Unpack[RedisKeywords],
) -> ArtifactStore:
    """Open a store by its URL.

    Args:
        url: `memory://`, `file:///directory`, `embedded:///directory` (or `embedded://` for the user's data
            directory), or what a `RedisArtifactStore` takes. Left out: `$COATCHECK_URL`, else the embedded engine in
            the user's data directory.
        namespace: Stores of different namespaces never see each other. In a file store: a directory of its own.
        default_ttl: For `store` calls that name none: seconds, a `timedelta`, or `None` for ever.
        on_event: Told of each operation at its end, see `Event`.
        **options: What else a `RedisArtifactStore` takes; see `RedisOptions`.

    Raises:
        InvalidArtifactError: The URL or an option makes no sense, or this kind of store has no use for the option.
        StoreUnavailableError: The directory or the embedded engine cannot be used. A server is contacted by the
            first call.
    """
    kind, url = _checked(url, namespace, options)
    if kind == "memory":
        return InMemoryArtifactStore(default_ttl=default_ttl, on_event=on_event)
    if kind == "file":
        return FileArtifactStore(_directory(url, namespace), default_ttl=default_ttl, on_event=on_event)
    return RedisArtifactStore(url, default_ttl=default_ttl, on_event=on_event, **_named(namespace), **options)


@spelled_out(RedisOptions)
async def aopen_store(
    url: str | None = None,
    *,
    namespace: str | None = None,
    default_ttl: Ttl = None,
    on_event: OnEvent | None = None,
    **options: Unpack[RedisKeywords],
) -> AsyncArtifactStore:
    """`open_store` for asyncio."""
    from .aio import (  # noqa: PLC0415  # who opens a blocking store needs none of it
        AsyncFileArtifactStore,
        AsyncInMemoryArtifactStore,
        AsyncRedisArtifactStore,
    )

    kind, url = _checked(url, namespace, options)
    if kind == "memory":
        return AsyncInMemoryArtifactStore(default_ttl=default_ttl, on_event=on_event)
    if kind == "file":
        return AsyncFileArtifactStore(_directory(url, namespace), default_ttl=default_ttl, on_event=on_event)
    # In a thread: starting the embedded engine takes its time.
    return await asyncio.to_thread(
        AsyncRedisArtifactStore, url, default_ttl=default_ttl, on_event=on_event, **_named(namespace), **options
    )


def kind_of(url: str | None) -> Kind:
    """The kind of store that `open_store` makes of a URL.

    Raises:
        InvalidArtifactError: It has no such scheme.
    """
    return _KINDS[_scheme(_url(url))]


def local_place(url: str | None, namespace: str | None) -> Path | None:
    """The directory that opening a store at a URL makes, if it is not there yet; `None`: it makes none.

    Raises:
        InvalidArtifactError: The URL makes no sense.
        StoreUnavailableError: This user has no data directory.
    """
    kind, url = _checked(url, namespace, ())
    if kind == "file":
        return _directory(url, namespace) / "artifacts"
    if _scheme(url) == EMBEDDED:
        return local_directory(url.partition("?")[0]) or default_directory()
    return None


def _url(url: str | None) -> str:
    return os.environ.get(URL_VARIABLE) or "embedded://" if url is None else url


def _scheme(url: object) -> str:
    if not isinstance(url, str):
        raise InvalidArtifactError(f"url must be a str, not {type(url).__name__}")
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _KINDS:
        raise InvalidArtifactError(
            f"unknown store URL {hide_password(url)!r}; known schemes: {', '.join(f'{name}://' for name in _KINDS)}"
        )
    return scheme


def _checked(url: str | None, namespace: str | None, options: Iterable[str]) -> tuple[Kind, str]:
    """What kind of store to open, and its URL."""
    url = _url(url)
    scheme = _scheme(url)
    kind = _KINDS[scheme]
    if kind == "memory" and url != "memory://":
        raise InvalidArtifactError(f"{hide_password(url)!r}: a store in memory has no place and no options: memory://")
    if kind == "memory" and namespace is not None:
        check_namespace(namespace)
    known = RedisKeywords.__annotations__ if kind == "redis" else {}
    for name in options:
        if name not in known:
            names = ", ".join(("namespace", "default_ttl", "on_event", *known))
            raise InvalidArtifactError(f"a store at {scheme}:// has no option {name!r}; its options: {names}")
    return kind, url


def _directory(url: str, namespace: str | None) -> Path:
    directory = local_directory(url)
    if directory is None:
        raise InvalidArtifactError(f"{url!r}: write the directory as file:///absolute/path")
    if namespace is None:
        return directory
    check_namespace(namespace)
    if namespace.lower() in (".", "..", "artifacts"):
        raise InvalidArtifactError(f"invalid namespace {namespace!r}: no directory of its own can have that name")
    return directory / quote(namespace, safe="")


def _named(namespace: str | None) -> dict[str, Any]:
    return {} if namespace is None else {"namespace": namespace}
