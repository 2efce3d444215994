"""`CoatcheckCache`: what nodes returned, by what they were given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from langgraph.cache.base import BaseCache, FullKey, Namespace
from langgraph.checkpoint.serde.base import SerializerProtocol

from coatcheck import Artifact, ArtifactLostError, ArtifactStore, CorruptArtifactError, Payload, foreign_id

from ..faces import Faces, Plan
from .encoding import decoded, encoded

V = TypeVar("V")

_RUN: Final = "cache:"


class CoatcheckCache(BaseCache[V]):
    """A cache for LangGraph's nodes; equal values are kept once. Each of its namespaces is a run of the store.

    What was evicted, or is damaged, counts as not cached; a server that is down is an error. Making it touches nothing.

    Args:
        url: Of the store, or an open `ArtifactStore`; `None`: `$COATCHECK_URL`.
        serde: How values become bytes; LangGraph's own, without pickle, if left out.
        **options: Of the store, such as `namespace`, the prefix of its keys; see `open_store`.

    Raises:
        InvalidArtifactError: An argument makes no sense.
    """

    def __init__(
        self,
        url: str | ArtifactStore | None = None,
        *,
        serde: SerializerProtocol | None = None,
        **options: Any,
    ) -> None:
        super().__init__(serde=serde)
        self._faces = Faces(url, options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._faces!r})"

    def _get(self, keys: Sequence[FullKey]) -> Plan[dict[FullKey, V]]:
        names = [_name(key) for key in keys]
        if not names:
            return {}
        try:
            found: list[Artifact | None] = yield lambda store: store.load_many(names)
        except (ArtifactLostError, CorruptArtifactError):
            found = []
            for name in names:
                found.append((yield from self._get_one(name)))
        return {
            key: decoded(self.serde, artifact)
            for key, artifact in zip(keys, found, strict=True)
            if artifact is not None
        }

    def _get_one(self, name: str) -> Plan[Artifact | None]:
        try:
            artifact: Artifact | None = yield lambda store: store.load(name)
        except (ArtifactLostError, CorruptArtifactError):
            return None
        return artifact

    def _set(self, pairs: Mapping[FullKey, tuple[V, int | None]]) -> Plan[None]:
        by_run: dict[str, list[Payload]] = {}
        for key, (value, ttl) in pairs.items():
            item = encoded(self.serde, value, _name(key), {"key": key[1]}, ttl=ttl)
            by_run.setdefault(_run(key[0]), []).append(item)
        for run, items in by_run.items():
            yield from self._store(run, items)

    def _store(self, run: str, items: list[Payload]) -> Plan[None]:
        yield lambda store: store.store_many(items, run_id=run, exact_ttl=True)

    def _clear(self, namespaces: Sequence[Namespace] | None) -> Plan[None]:
        if namespaces is None:
            runs = [run for run in (yield lambda store: store.list_runs()) if run.startswith(_RUN)]
        else:
            runs = [_run(namespace) for namespace in namespaces]
        for run in runs:
            yield from self._give_up(run)

    def _give_up(self, run: str) -> Plan[None]:
        yield lambda store: store.delete_by_run(run)

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, V]:
        """What is cached of these keys."""
        return self._faces.run(self._get(keys))

    def set(self, pairs: Mapping[FullKey, tuple[V, int | None]]) -> None:
        """Cache values, each for so many seconds; `None`: for ever."""
        self._faces.run(self._set(pairs))

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget these namespaces, or all."""
        self._faces.run(self._clear(namespaces))

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, V]:
        """See `get`."""
        return await self._faces.arun(self._get(keys))

    async def aset(self, pairs: Mapping[FullKey, tuple[V, int | None]]) -> None:
        """See `set`."""
        await self._faces.arun(self._set(pairs))

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """See `clear`."""
        await self._faces.arun(self._clear(namespaces))

    def close(self) -> None:
        """Give back connections. Whoever goes on opens new ones."""
        self._faces.close()

    async def aclose(self) -> None:
        """See `close`."""
        await self._faces.aclose()


def _name(key: FullKey) -> str:
    return foreign_id("langgraph", *key[0], key[1])


def _run(namespace: Namespace) -> str:
    return _RUN + json.dumps(namespace)
