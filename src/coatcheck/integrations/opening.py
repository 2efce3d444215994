"""Stores as frameworks need them: named by a URL, opened by their first use, opened anew where their pickle goes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from coatcheck import (
    ArtifactStore,
    AsyncArtifactStore,
    InvalidArtifactError,
    aopen_store,
    open_store,
)
from coatcheck.urls import kind_of


class _Lazy:
    """What both faces share. No lock is held while a store is opened, so that a forked child cannot wait for one."""

    def __init__(self, place: Any, options: dict[str, Any], kind: type, of_redis: Mapping[str, Any]) -> None:
        if place is not None and not isinstance(place, str | kind):
            name = kind.__name__
            raise InvalidArtifactError(
                f"expected a URL, an {name} or None for $COATCHECK_URL, not {type(place).__name__}"
            )
        if options and isinstance(place, kind):
            raise InvalidArtifactError(f"options are for stores opened by URL, this one is open: {', '.join(options)}")
        inspect.signature(open_store).bind(place, **options)
        self._place: Any = place
        self._options = options
        self._of_redis = dict(of_redis)
        self._opened: dict[str, Any] = {}
        if isinstance(place, kind):
            self._opened["store"] = place

    @property
    def url(self) -> str | None:
        """The URL; `None`: `$COATCHECK_URL`.

        Raises:
            InvalidArtifactError: An open store was given instead, which no URL describes.
        """
        if self.is_given:
            raise InvalidArtifactError("an open store cannot be described to other processes: give a URL instead")
        url: str | None = self._place
        return url

    @property
    def options(self) -> dict[str, Any]:
        """What else `open_store` is told."""
        return dict(self._options)

    def _all_options(self) -> dict[str, Any]:
        """Also those that only a Redis store has, where it is one."""
        return {**self._of_redis, **self._options} if kind_of(self.url) == "redis" else self._options

    @property
    def is_given(self) -> bool:
        """Whether it is somebody else's store, who closes it."""
        return self._place is not None and not isinstance(self._place, str)

    def __repr__(self) -> str:
        """Where it lies, without what may be a secret."""
        if "store" in self._opened:
            return repr(self._opened["store"])
        return "$COATCHECK_URL" if self._place is None else f"{self._place.partition('://')[0]}://…"

    def __getstate__(self) -> dict[str, Any]:
        opened = self._opened if self.is_given else {}
        return {**vars(self), "_opened": opened}


class LazyStore(_Lazy):
    """A store that is opened when it is first asked for.

    Args:
        place: A URL; `None` for `$COATCHECK_URL`; or an open store, which stays its owner's.
        of_redis: For `open_store` where that makes a Redis store, unless `options` say otherwise.
        options: For `open_store`.

    Raises:
        InvalidArtifactError: Neither, or options for a store that is open.
        TypeError: An option that no store has.
    """

    def __init__(
        self, place: str | ArtifactStore | None = None, of_redis: Mapping[str, Any] = {}, /, **options: Any
    ) -> None:
        super().__init__(place, options, ArtifactStore, of_redis)

    def get(self) -> ArtifactStore:
        """The store. Threads that come at once get the same one."""
        store: ArtifactStore | None = self._opened.get("store")
        if store is None:
            made = open_store(self._place, **self._all_options())
            store = self._opened.setdefault("store", made)
            if store is not made:
                made.close()
        return store

    def close(self) -> None:
        """Close what was opened here; who asks again opens it again."""
        if not self.is_given and (store := self._opened.pop("store", None)) is not None:
            store.close()


class LazyAsyncStore(_Lazy):
    """`LazyStore` for asyncio."""

    def __init__(self, place: str | AsyncArtifactStore | None = None, /, **options: Any) -> None:
        super().__init__(place, options, AsyncArtifactStore, {})

    async def get(self) -> AsyncArtifactStore:
        """The store. Tasks that come at once get the same one."""
        store: AsyncArtifactStore | None = self._opened.get("store")
        if store is None:
            made = await aopen_store(self._place, **self._options)
            store = self._opened.setdefault("store", made)
            if store is not made:
                await made.close()
        return store

    async def close(self) -> None:
        """Close what was opened here; who asks again opens it again."""
        if not self.is_given and (store := self._opened.pop("store", None)) is not None:
            await store.close()
