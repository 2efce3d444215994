"""py-key-value: a store of its kind, as FastMCP and others take it, on a coatcheck store (extra `key_value`).

from fastmcp.server.auth.providers.github import GitHubProvider
from coatcheck.integrations.key_value import CoatcheckStore

auth = GitHubProvider(…, client_storage=CoatcheckStore("redis://localhost:6379/0"))
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

try:
    from key_value.aio.stores.base import (
        BaseContextManagerStore,
        BaseDestroyCollectionStore,
        BaseEnumerateKeysStore,
        ManagedEntry,
    )
except ImportError as error:
    raise ImportError("py-key-value is not installed: pip install 'coatcheck[key_value]'") from error

from coatcheck import Artifact, Payload
from coatcheck.keyed import AsyncKeyed

from .opening import LazyAsyncStore

if TYPE_CHECKING:
    from coatcheck import AsyncArtifactStore

PREFIX: Final = "key_value:"
_LONGEST: Final = 900  # bytes of a collection or key; what is longer goes by its hash


class CoatcheckStore(BaseContextManagerStore, BaseEnumerateKeysStore, BaseDestroyCollectionStore):
    """py-key-value's `AsyncKeyValue` protocol: JSON objects by collection and key, with a TTL for each.

    Equal values are kept once, and batches travel as batches. A collection is the run `key_value:NAME`. It may be used
    in one event loop after another.

    Args:
        url: A URL as `coatcheck.open_store` takes it, or an open asyncio store; `None`: `$COATCHECK_URL`.
        default_collection: Where callers that name none keep theirs.
        **options: For `open_store`: `namespace`, …
    """

    def __init__(
        self, url: str | AsyncArtifactStore | None = None, *, default_collection: str | None = None, **options: Any
    ) -> None:
        self._lazy = LazyAsyncStore(url, **options)
        super().__init__(default_collection=default_collection, stable_api=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._lazy!r})"

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back connections; whoever goes on opens new ones. A store that was given stays open."""
        await self._lazy.close()
        await super().close()

    async def _keyed(self, collection: str) -> AsyncKeyed:
        return AsyncKeyed(await self._lazy.get(), PREFIX + _short(collection))

    async def _get_managed_entry(self, *, collection: str, key: str) -> ManagedEntry | None:
        return _entry(await (await self._keyed(collection)).get(_short(key)))

    async def _get_managed_entries(self, *, collection: str, keys: Sequence[str]) -> list[ManagedEntry | None]:
        keyed = await self._keyed(collection)
        return [_entry(one) for one in await (await self._lazy.get()).load_many(_ids(keyed, keys))]

    async def _put_managed_entry(self, *, collection: str, key: str, managed_entry: ManagedEntry) -> None:
        await self._put(collection, [key], [managed_entry], managed_entry.ttl)

    async def _put_managed_entries(
        self,
        *,
        collection: str,
        keys: Sequence[str],
        managed_entries: Sequence[ManagedEntry],
        ttl: float | None,
        created_at: datetime,  # noqa: ARG002  # the server's clock says it
        expires_at: datetime | None,  # noqa: ARG002
    ) -> None:
        await self._put(collection, keys, managed_entries, ttl)

    async def _put(
        self, collection: str, keys: Sequence[str], entries: Sequence[ManagedEntry], ttl: float | None
    ) -> None:
        keyed = await self._keyed(collection)
        if ttl is not None and ttl <= 0:  # it ended on its way
            await self._delete_managed_entries(keys=keys, collection=collection)
            return
        kept = {}
        for key, entry in zip(keys, entries, strict=True):
            own = keyed.keywords(_short(key))
            kept[key] = Payload(entry.value_as_json.encode(), artifact_id=own["artifact_id"], extra=own["extra"])
        store, run = await self._lazy.get(), PREFIX + _short(collection)
        await store.store_many(kept.values(), content_type="application/json", run_id=run, ttl=ttl, exact_ttl=True)

    async def _delete_managed_entry(self, *, key: str, collection: str) -> bool:
        return await (await self._keyed(collection)).delete(_short(key))

    async def _delete_managed_entries(self, *, keys: Sequence[str], collection: str) -> int:
        keyed = await self._keyed(collection)
        return sum(await (await self._lazy.get()).delete_many(_ids(keyed, keys)))

    async def _get_collection_keys(self, *, collection: str, limit: int | None = None) -> list[str]:
        if limit is not None and limit <= 0:
            return []
        return [view.extra["key"] for view in await (await self._keyed(collection)).entries(limit=limit or 0)]

    async def _delete_collection(self, *, collection: str) -> bool:
        return await (await self._lazy.get()).delete_by_run(PREFIX + _short(collection)) > 0


def _short(name: str) -> str:
    """A collection or key as it is, or the hash of one that is too long for the store."""
    encoded = name.encode()
    return name if len(encoded) <= _LONGEST else f"sha256:{hashlib.sha256(encoded).hexdigest()}"


def _ids(keyed: AsyncKeyed, keys: Sequence[str]) -> list[str]:
    return [keyed.artifact_id(_short(key)) for key in keys]


def _entry(found: Artifact | None) -> ManagedEntry | None:
    if found is None:
        return None
    about = found.metadata
    return ManagedEntry(value=json.loads(found.content), created_at=about.created, expires_at=about.expires)
