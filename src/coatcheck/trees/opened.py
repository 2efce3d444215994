"""`open_tree`: a tree as its manifest says, its files when they are asked for."""

from __future__ import annotations

import os
from dataclasses import replace

from ..aio import AsyncArtifactStore
from ..errors import ArtifactNotFoundError, InvalidArtifactError
from ..explained import explained_by
from ..plan import arun, run
from ..reader import ArtifactReader, AsyncArtifactReader
from ..refs import IdLike
from ..sources import TransferProgress
from ..store import ArtifactStore
from .manifest import Manifest, TreeEntry
from .restoring import restore
from .runs import read_manifest, read_run


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
    return Tree(store, *run(read_manifest(ref, store)))


async def aopen_tree(ref: IdLike, store: AsyncArtifactStore) -> AsyncTree:
    """`open_tree` for an `AsyncArtifactStore`."""
    return AsyncTree(store, *await arun(read_manifest(ref, store)))


def open_run(run_id: str, store: ArtifactStore) -> Tree:
    """Everything that a run leases, as one tree, to be restored together.

    An artifact's name is its tag `path`, as far as that is a path within the tree, unlike any other; else its id. Trees
    are directories of it, and their files are not there a second time.

    Args:
        run_id: The run.
        store: Where from.

    Raises:
        ArtifactNotFoundError: The run leases nothing.
        ArtifactDecodeError: One of its trees is refused by `open_tree`.
    """
    return Tree(store, *run(read_run(run_id, store)))


async def aopen_run(run_id: str, store: AsyncArtifactStore) -> AsyncTree:
    """`open_run` for an `AsyncArtifactStore`."""
    return AsyncTree(store, *await arun(read_run(run_id, store)))


class _Tree:
    """What both faces of a tree know."""

    def __init__(self, name: str, manifest: Manifest) -> None:
        self._name = name
        self.mode = manifest.mode
        self.entries = manifest.entries
        self._manifest = manifest
        self._files = {entry.path: entry for entry in manifest.entries if entry.kind == "file"}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._name}: {len(self.entries)} entries>"

    def _file(self, path: str) -> TreeEntry:
        if not isinstance(path, str):
            raise InvalidArtifactError(f"path must be a str, not {type(path).__name__}")
        if path not in self._files:
            raise ArtifactNotFoundError(f"{path!r:.200} is no file of {self._name}")
        return self._files[path]

    def _part(self, path: str) -> tuple[str, Manifest]:
        """What errors call a directory of the tree, and its manifest."""
        if not isinstance(path, str):
            raise InvalidArtifactError(f"path must be a str, not {type(path).__name__}")
        top = next((entry for entry in self.entries if entry.path == path and entry.kind == "directory"), None)
        if top is None:
            raise ArtifactNotFoundError(f"{path!r:.200} is no directory of {self._name}")
        below = f"{path}/"
        entries = (entry for entry in self.entries if entry.path.startswith(below))
        parts = tuple(replace(entry, path=entry.path.removeprefix(below)) for entry in entries)
        return f"{path!r:.200} of {self._name}", Manifest(top.mode, parts)


class Tree(_Tree):
    """A directory that was stored.

    Attributes:
        mode: Permission bits of the directory itself.
        entries: What it has, by path; a directory comes before what is in it.
    """

    def __init__(self, store: ArtifactStore, name: str, manifest: Manifest) -> None:
        super().__init__(name, manifest)
        self._store = store

    def open(self, path: str) -> ArtifactReader:
        """Open a file of the tree, as `ArtifactStore.open` does.

        Raises:
            ArtifactNotFoundError: There is no such file in the tree, or its content has gone.
        """
        return self._store.open(self._file(path).artifact_id, required=True)

    def part(self, path: str) -> Tree:
        """A directory of the tree as a tree of its own. Nothing is asked of the store.

        Raises:
            ArtifactNotFoundError: There is no such directory in the tree.
        """
        return Tree(self._store, *self._part(path))

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
            InvalidArtifactError: This is a part of a tree, and a link leads out of it.
        """
        run(restore(self._name, self._manifest, self._store, directory, progress))


@explained_by(Tree)
class AsyncTree(_Tree):
    """`Tree`, awaited; threads write to the disk."""

    def __init__(self, store: AsyncArtifactStore, name: str, manifest: Manifest) -> None:
        super().__init__(name, manifest)
        self._store = store

    async def open(self, path: str) -> AsyncArtifactReader:
        """See `Tree.open`."""
        return await self._store.open(self._file(path).artifact_id, required=True)

    def part(self, path: str) -> AsyncTree:
        """See `Tree.part`."""
        return AsyncTree(self._store, *self._part(path))

    async def restore(self, directory: str | os.PathLike[str], *, progress: TransferProgress | None = None) -> None:
        """See `Tree.restore`."""
        await arun(restore(self._name, self._manifest, self._store, directory, progress))
