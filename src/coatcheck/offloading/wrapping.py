"""Offloading without a line of it: decorators of functions, and a wrapper of dict-like state stores."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, ParamSpec, TypeVar, Unpack

from ..aio import AsyncArtifactStore
from ..arguments import spelled_out
from ..asking import Store
from ..errors import InvalidArtifactError
from ..store import ArtifactStore
from ..values.storing import MISSING
from .moving import aoffload, aresolve, offload, resolve
from .options import OffloadKeywords, OffloadOptions, ResolveKeywords, ResolveOptions

P = ParamSpec("P")
T = TypeVar("T")


@spelled_out(OffloadOptions)
def offloads(store: Store, **options: Unpack[OffloadKeywords]) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """Let a function return tickets instead of what is large in its result.

    Args:
        store: Where to; for a coroutine of either kind.
        **options: See `OffloadOptions`; a `run_id` that is a function is called each time.
    """
    OffloadOptions(**options)

    def decorate(function: Callable[P, Any]) -> Callable[P, Any]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                return await aoffload(await function(*args, **kwargs), store, **options)

            return awaited

        blocking = _blocking(store, function)

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> Any:
            return offload(function(*args, **kwargs), blocking, **options)

        return called

    return decorate


@spelled_out(ResolveOptions)
def resolves(store: Store, **options: Unpack[ResolveKeywords]) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Let a function be called with tickets: it gets what they stand for, wherever they are in its arguments.

    All arguments are resolved in one batch; those that are neither dict, list nor tuple stay as they are.

    Args:
        store: Where from; for a coroutine of either kind.
        **options: See `ResolveOptions`.
    """
    ResolveOptions(**options)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                given, named = await aresolve((args, kwargs), store, **options)
                return await function(*given, **named)

            return awaited

        blocking = _blocking(store, function)

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            given, named = resolve((args, kwargs), blocking, **options)
            return function(*given, **named)

        return called

    return decorate


def _blocking(store: Store, function: Callable[..., Any]) -> ArtifactStore:
    if isinstance(store, AsyncArtifactStore):
        raise InvalidArtifactError(
            f"{function.__qualname__}() is no coroutine: give it a store that blocks, not an {type(store).__name__}"
        )
    return store


class OffloadingMapping(MutableMapping[str, Any]):
    """A dict-like state store whose values are kept small: what is large in them lies in an artifact store.

    A value that is got is a copy: to change it, set it again. Deleting a key leaves its artifacts to their leases.

    Args:
        states: What holds the values, which become plain JSON: a dict, a `shelve`, a client of a database.
        store: Where what is large goes.
        default: What to put in place of artifacts that are missing; left out: that is an error.
        **options: See `OffloadOptions`.
    """

    @spelled_out(OffloadOptions)
    def __init__(
        self,
        states: MutableMapping[str, Any],
        store: ArtifactStore,
        *,
        default: Any = MISSING,
        **options: Unpack[OffloadKeywords],
    ) -> None:
        chosen = OffloadOptions(**options)
        self._states, self._store = states, store
        self._options = options
        self._back: ResolveKeywords = {"default": default, "codecs": chosen.codecs, "limits": chosen.limits}

    def __getitem__(self, key: str) -> Any:
        return resolve(self._states[key], self._store, **self._back)

    def __setitem__(self, key: str, value: Any) -> None:
        self._states[key] = offload(value, self._store, **self._options)

    def __delitem__(self, key: str) -> None:
        del self._states[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, key: object) -> bool:
        return key in self._states

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self._states).__name__} of {len(self)}, {self._store!r})"
