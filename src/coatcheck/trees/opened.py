"""`open_tree`: a tree as its manifest says, its files when they are asked for."""

from __future__ import annotations

import os

from ..aio import AsyncArtifactStore
from ..asking import Ask, Store
from ..errors import ArtifactDecodeError, ArtifactNotFoundError
from ..model import ArtifactMetadata
from ..plan import Plan, arun, run
from ..reader import ArtifactReader, AsyncArtifactReader
from ..refs import IdLike
from ..sources import TransferProgress
from ..store import ArtifactStore
from .manifest import MAX_MANIFEST, Manifest, TreeEntry, parse
from .restoring import restore


def open_tree(ref: IdLike, store: ArtifactStore) -> Tree:
    """The tree that a ticket stands for. Only its manifest is read.

    Args:
        ref: The ticket of `store_tree`, an id, or metadata.
        store: Where from.

    Raises:
        ArtifactNotFoundError: There is no such artifact.
        ArtifactDecodeError: It is no tree, or one that names something outside of itself.
        CorruptArtifactError: What lies there is not what was stored, or of an unknown version.
    """
    return Tree(store, *run(_read_manifest(ref, store)))


async def aopen_tree(ref: IdLike, store: AsyncArtifactStore) -> AsyncTree:
    """`open_tree` for an `AsyncArtifactStore`."""
    return AsyncTree(store, *await arun(_read_manifest(ref, store)))


class _Tree:
    """What both faces of a tree know."""

    def __init__(self, metadata: ArtifactMetadata, manifest: Manifest) -> None:
        self.metadata = metadata
        self.mode = manifest.mode
        self.entries = manifest.entries
        self._manifest = manifest
        self._files = {entry.path: entry for entry in manifest.entries if entry.kind == "file"}

    def _file(self, path: str) -> TreeEntry:
        if path not in self._files:
            raise ArtifactNotFoundError(f"{path!r:.200} is no file of the tree {self.metadata.artifact_id}")
        return self._files[path]


class Tree(_Tree):
    """A directory that was stored.

    Attributes:
        metadata: Of the manifest.
        mode: Permission bits of the directory itself.
        entries: What it has, by path; a directory comes before what is in it.
    """

    def __init__(self, store: ArtifactStore, metadata: ArtifactMetadata, manifest: Manifest) -> None:
        super().__init__(metadata, manifest)
        self._store = store

    def open(self, path: str) -> ArtifactReader:
        """Open a file of the tree, as `ArtifactStore.open` does.

        Raises:
            ArtifactNotFoundError: There is no such file in the tree, or its content has gone.
        """
        return self._store.open(self._file(path).artifact_id, required=True)

    def restore(self, directory: str | os.PathLike[str], *, progress: TransferProgress | None = None) -> None:
        """Write the whole tree to a new directory, every byte verified, or nothing.

        Names, permissions and links are as they were. Nothing is written anywhere else: what a tree may not name was
        refused when it was opened.

        Args:
            directory: Must not be there yet; the directory that it lies in must.
            progress: Called with `(bytes written, bytes of all files)`.

        Raises:
            FileExistsError: It is there already.
            ArtifactNotFoundError: The content of a file has gone.
            ArtifactDecodeError: A file is not what the tree says, or two names are one for this file system.
        """
        run(restore(self.metadata.artifact_id, self._manifest, self._store, directory, progress))


class AsyncTree(_Tree):
    """`Tree`, awaited; threads write to the disk."""

    def __init__(self, store: AsyncArtifactStore, metadata: ArtifactMetadata, manifest: Manifest) -> None:
        super().__init__(metadata, manifest)
        self._store = store

    async def open(self, path: str) -> AsyncArtifactReader:
        """See `Tree.open`."""
        return await self._store.open(self._file(path).artifact_id, required=True)

    async def restore(self, directory: str | os.PathLike[str], *, progress: TransferProgress | None = None) -> None:
        """See `Tree.restore`."""
        await arun(restore(self.metadata.artifact_id, self._manifest, self._store, directory, progress))


def _read_manifest(ref: IdLike, store: Store) -> Plan[tuple[ArtifactMetadata, Manifest]]:
    metadata: ArtifactMetadata = yield Ask(store, lambda store: store.get_metadata(ref, required=True))
    if metadata.size_bytes > MAX_MANIFEST:
        raise ArtifactDecodeError(f"artifact {metadata.artifact_id} is no tree: {metadata.size_bytes:,} bytes")
    artifact = yield Ask(store, lambda store: store.load(ref, required=True))
    return artifact.metadata, parse(artifact.content, f"artifact {metadata.artifact_id}")
