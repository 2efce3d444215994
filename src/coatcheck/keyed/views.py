"""The views: what to ask of a collection, blocking and awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack, overload

from ..arguments import LinkKeywords, StoreKeywords
from ..asking import Store
from ..explained import explained_by
from ..model import Artifact, ArtifactMetadata
from ..plan import arun, run
from ..refs import IdLike
from ..store import ArtifactStore
from .plans import Collection

if TYPE_CHECKING:
    from typing_extensions import Buffer


class _View:
    def __init__(self, store: Store, collection: str) -> None:
        self._collection = Collection(store, collection)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._collection.store!r}, {self._collection.name!r})"


class Keyed(_View):
    """Artifacts by keys: any text of at most 1 KiB, one artifact under each.

    Every key is an artifact with an id of its own (`foreign_id`) that the run `collection` leases, and that says its
    key in `extra["key"]`. What `store` says of replacing, conditions and errors holds here too.

    Args:
        store: Where they lie.
        collection: A name; equal keys of two collections are different things.
    """

    def __init__(self, store: ArtifactStore, collection: str) -> None:
        super().__init__(store, collection)

    def artifact_id(self, key: str) -> str:
        """The id of what lies under a key: for tickets, and for what the store does with ids."""
        return self._collection.artifact_id(key)

    def keywords(self, key: str, **details: Unpack[LinkKeywords]) -> StoreKeywords:
        """What to tell any `store…` so that it stores under a key: `store.store_file(path, **pages.keywords("a"))`."""
        return self._collection.keywords(key, details)

    def set(
        self,
        key: str,
        content: Buffer,
        *,
        content_type: str = "application/octet-stream",
        **details: Unpack[LinkKeywords],
    ) -> ArtifactMetadata:
        """Keep content under a key, in place of what lay there.

        Args:
            key: Where.
            content: Bytes, or any buffer.
            content_type: As for `ArtifactStore.store`, like all else; `extra` must not say `key` itself. The lease ends
                with `ttl`, even if it would have lasted longer (`exact_ttl`).
            **details: See there. `if_absent` and `if_digest` compare with what lies under the key.
        """
        return run(self._collection.set(key, content, content_type, details))

    def link(
        self, source: IdLike, key: str, *, content_type: str | None = None, **details: Unpack[LinkKeywords]
    ) -> ArtifactMetadata:
        """Keep under a key what an artifact stands for now, sending nothing: see `ArtifactStore.link`.

        With `source=pages.artifact_id("a")` it is a copy of what lies under another key.
        """
        return run(self._collection.link(source, key, content_type, details))

    @overload
    def get(self, key: str, *, required: Literal[True]) -> Artifact: ...
    @overload
    def get(self, key: str, *, required: bool = False) -> Artifact | None: ...
    def get(self, key: str, *, required: bool = False) -> Artifact | None:
        """What lies under a key, or `None`.

        Raises:
            ArtifactNotFoundError: Nothing does, and it is `required`.
        """
        return run(self._collection.get(key, None, required=required))

    @overload
    def get_metadata(self, key: str, *, required: Literal[True]) -> ArtifactMetadata: ...
    @overload
    def get_metadata(self, key: str, *, required: bool = False) -> ArtifactMetadata | None: ...
    def get_metadata(self, key: str, *, required: bool = False) -> ArtifactMetadata | None:
        """The same without its content."""
        return run(self._collection.metadata(key, required=required))

    def delete(self, key: str) -> bool:
        """Remove what lies under a key; whether something did."""
        return run(self._collection.delete(key))

    def entries(self, prefix: str = "", *, after: str | None = None, limit: int = 0) -> list[ArtifactMetadata]:
        """What lies under keys with a prefix, by key; reads the metadata of the whole collection.

        Args:
            prefix: What the keys begin with.
            after: Only keys behind this one, in the order of text: the last key of the page before.
            limit: How many at most; `<= 0`: all.
        """
        return run(self._collection.entries(prefix, after, limit))


@explained_by(Keyed)
class AsyncKeyed(_View):
    """`Keyed`, awaited; a blocking store works in a thread."""

    def __init__(self, store: Store, collection: str) -> None:
        super().__init__(store, collection)

    def artifact_id(self, key: str) -> str:
        """The id of what lies under a key: for tickets, and for what the store does with ids."""
        return self._collection.artifact_id(key)

    def keywords(self, key: str, **details: Unpack[LinkKeywords]) -> StoreKeywords:
        """What to tell any `store…` so that it stores under a key: `store.store_file(path, **pages.keywords("a"))`."""
        return self._collection.keywords(key, details)

    async def set(
        self,
        key: str,
        content: Buffer,
        *,
        content_type: str = "application/octet-stream",
        **details: Unpack[LinkKeywords],
    ) -> ArtifactMetadata:
        """See `Keyed.set`."""
        return await arun(self._collection.set(key, content, content_type, details))

    async def link(
        self, source: IdLike, key: str, *, content_type: str | None = None, **details: Unpack[LinkKeywords]
    ) -> ArtifactMetadata:
        """See `Keyed.link`."""
        return await arun(self._collection.link(source, key, content_type, details))

    @overload
    async def get(self, key: str, *, required: Literal[True]) -> Artifact: ...
    @overload
    async def get(self, key: str, *, required: bool = False) -> Artifact | None: ...
    async def get(self, key: str, *, required: bool = False) -> Artifact | None:
        """See `Keyed.get`."""
        return await arun(self._collection.get(key, None, required=required))

    @overload
    async def get_metadata(self, key: str, *, required: Literal[True]) -> ArtifactMetadata: ...
    @overload
    async def get_metadata(self, key: str, *, required: bool = False) -> ArtifactMetadata | None: ...
    async def get_metadata(self, key: str, *, required: bool = False) -> ArtifactMetadata | None:
        """See `Keyed.get_metadata`."""
        return await arun(self._collection.metadata(key, required=required))

    async def delete(self, key: str) -> bool:
        """See `Keyed.delete`."""
        return await arun(self._collection.delete(key))

    async def entries(self, prefix: str = "", *, after: str | None = None, limit: int = 0) -> list[ArtifactMetadata]:
        """See `Keyed.entries`."""
        return await arun(self._collection.entries(prefix, after, limit))


class Versions(_View):
    """Artifacts by keys, each with versions 0, 1, 2, …: none is changed, none is skipped, none is given twice.

    They lie beside those of `Keyed`, and say `extra["version"]` too.

    Args:
        store: Where they lie.
        collection: A name; equal keys of two collections are different things.
    """

    def __init__(self, store: ArtifactStore, collection: str) -> None:
        super().__init__(store, collection)

    def artifact_id(self, key: str, version: int) -> str:
        """The id of one version."""
        return self._collection.artifact_id(key, version)

    def add(
        self,
        key: str,
        content: Buffer,
        *,
        content_type: str = "application/octet-stream",
        **details: Unpack[LinkKeywords],
    ) -> ArtifactMetadata:
        """Keep content as the next version of a key; `extra["version"]` tells which it became.

        Of several who add at once each gets a version of its own. Takes what `Keyed.set` takes but conditions. Numbers
        begin anew where all versions of a key were deleted, or have expired.
        """
        return run(self._collection.add(key, content, content_type, details))

    @overload
    def get(self, key: str, version: int | None = None, *, required: Literal[True]) -> Artifact: ...
    @overload
    def get(self, key: str, version: int | None = None, *, required: bool = False) -> Artifact | None: ...
    def get(self, key: str, version: int | None = None, *, required: bool = False) -> Artifact | None:
        """One version of a key, the latest if none is named, or `None`; see `Keyed.get`."""
        return run(self._collection.version(key, version, required=required))

    def versions(self, key: str) -> list[ArtifactMetadata]:
        """All versions of a key that are there, the oldest first; reads the metadata of the whole collection."""
        return run(self._collection.versions(key))

    def keys(self, prefix: str = "") -> list[str]:
        """Keys with a prefix of which there are versions, in order; reads the metadata of the whole collection."""
        return run(self._collection.keys(prefix))

    def delete(self, key: str) -> int:
        """Remove all versions of a key; how many there were."""
        return run(self._collection.forget(key))


@explained_by(Versions)
class AsyncVersions(_View):
    """`Versions`, awaited; a blocking store works in a thread."""

    def __init__(self, store: Store, collection: str) -> None:
        super().__init__(store, collection)

    def artifact_id(self, key: str, version: int) -> str:
        """The id of one version."""
        return self._collection.artifact_id(key, version)

    async def add(
        self,
        key: str,
        content: Buffer,
        *,
        content_type: str = "application/octet-stream",
        **details: Unpack[LinkKeywords],
    ) -> ArtifactMetadata:
        """See `Versions.add`."""
        return await arun(self._collection.add(key, content, content_type, details))

    @overload
    async def get(self, key: str, version: int | None = None, *, required: Literal[True]) -> Artifact: ...
    @overload
    async def get(self, key: str, version: int | None = None, *, required: bool = False) -> Artifact | None: ...
    async def get(self, key: str, version: int | None = None, *, required: bool = False) -> Artifact | None:
        """See `Versions.get`."""
        return await arun(self._collection.version(key, version, required=required))

    async def versions(self, key: str) -> list[ArtifactMetadata]:
        """See `Versions.versions`."""
        return await arun(self._collection.versions(key))

    async def keys(self, prefix: str = "") -> list[str]:
        """See `Versions.keys`."""
        return await arun(self._collection.keys(prefix))

    async def delete(self, key: str) -> int:
        """See `Versions.delete`."""
        return await arun(self._collection.forget(key))
