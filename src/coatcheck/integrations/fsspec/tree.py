"""Files and directories as they lie in a store.

A path is an artifact with an id of its own, which its directory, a run of the store, leases. So a directory is listed
without looking at others, equal files are kept once, and copies send nothing. A directory is an empty artifact.
"""

from __future__ import annotations

import errno
import mimetypes
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from coatcheck import (
    ArtifactConflictError,
    ArtifactMetadata,
    ArtifactReader,
    ArtifactStore,
    foreign_id,
)

from ..opening import LazyStore

FILE, DIRECTORY = "file", "directory"
_KIND: Final = "fsspec"  # the tag that says which of the two an artifact is
_DIRECTORY_TYPE: Final = "inode/directory"
_LONGEST: Final = 1000  # bytes of a path


class Tree:
    """The paths of a store; without protocol and without a slash in front, the root is empty.

    Args:
        lazy: Opens the store.
        ttl: How long files are kept where nothing else is said.
    """

    def __init__(self, lazy: LazyStore, ttl: float | timedelta | None) -> None:
        self._lazy = lazy
        self._ttl = ttl

    @property
    def store(self) -> ArtifactStore:
        """The store, opened by its first use."""
        return self._lazy.get()

    def children(self, path: str) -> list[dict[str, Any]]:
        """What is in a directory, in no order."""
        return [info_of(view) for view in self.store.list_by_run(_run(path)) if _KIND in view.tags]

    def view(self, path: str, kind: str | None = None) -> ArtifactMetadata:
        """What is at a path.

        Raises:
            OSError: Nothing is, or something else than `kind`.
        """
        view = self.store.get_metadata(id_of(path))
        if view is None or _KIND not in view.tags:
            raise missing(path)
        if kind not in (None, view.tags[_KIND]):
            raise refused(errno.ENOTDIR if kind == DIRECTORY else errno.EISDIR, path)
        return view

    def views(self, paths: Sequence[str]) -> list[ArtifactMetadata | None]:
        """What is at each path, in one batch."""
        return self.store.metadata_many(map(id_of, paths))

    def reader(self, path: str) -> ArtifactReader:
        """A file, opened.

        Raises:
            OSError: There is none.
        """
        reader = self.store.open(id_of(path))
        if reader is None or reader.metadata.tags.get(_KIND) != FILE:
            if reader is not None:
                reader.close()
            self.view(path, FILE)
            raise missing(path)  # it went meanwhile
        return reader

    def write(
        self,
        path: str,
        store: Callable[..., ArtifactMetadata],
        condition: dict[str, Any],
        *,
        ttl: Any = ...,
        content_type: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Store a file under a path, and see to its directories.

        Args:
            path: Without protocol.
            store: Does it, given an id and what else `store` takes.
            condition: For `store`: `if_absent` or `if_digest`.
            ttl: Left out: the file system's.
            content_type: Left out: guessed from the path.
            **kwargs: What fsspec hands on and no file has a use for.
        """
        del kwargs
        own, *above = self.views([path, *ancestors(path)])
        if not path or is_directory(own):
            raise refused(errno.EISDIR, path)
        for ancestor, view in zip(ancestors(path), above, strict=True):
            if view is not None and not is_directory(view):
                raise refused(errno.ENOTDIR, ancestor)
        if own is not None and condition.get("if_absent"):
            raise refused(errno.EEXIST, path)
        ttl = self._ttl if ttl is ... else ttl
        try:
            stored = store(
                id_of(path),
                content_type=content_type or mimetypes.guess_type(path)[0] or "application/octet-stream",
                run_id=_run(_parent(path)),
                tags={_KIND: FILE, "path": path},
                ttl=ttl,
                exact_ttl=True,
                **condition,
            )
        except ArtifactConflictError as error:
            if condition.get("if_absent"):
                raise refused(errno.EEXIST, path) from error
            raise
        for ancestor, view in zip(ancestors(path), above, strict=True):
            self._ensure(ancestor, view, ttl, stored.expires_at)

    def _ensure(self, path: str, view: ArtifactMetadata | None, ttl: Any, until: str | None) -> None:
        """Let a directory be there for as long as a file in it, and longer, so that not each file has to see to it."""
        lasts = None if ttl is None else 2 * ttl
        if view is not None:
            if view.expires_at is None or (until is not None and view.expires_at >= until):
                return
            if not self.store.find_missing([id_of(path)], ttl=lasts, run_id=_run(_parent(path))):
                return
        self.make(path, lasts)  # it was not there, or expired since it was seen

    def make(self, path: str, ttl: Any = ..., *, exist_ok: bool = True) -> None:
        """Make a directory, but none above it.

        Raises:
            FileExistsError: There is a file; or a directory, without `exist_ok`.
        """
        try:
            self.store.store(
                b"",
                artifact_id=id_of(path),
                content_type=_DIRECTORY_TYPE,
                run_id=_run(_parent(path)),
                tags={_KIND: DIRECTORY, "path": path},
                ttl=self._ttl if ttl is ... else ttl,
                if_absent=True,
            )
        except ArtifactConflictError as error:
            if not exist_ok or not is_directory(error.metadata):
                raise refused(errno.EEXIST, path) from error


def refused(number: int, path: str) -> OSError:
    """The error of the operating system, `FileExistsError` and so on."""
    return OSError(number, os.strerror(number), path)


def missing(path: str) -> OSError:
    """`FileNotFoundError`."""
    return refused(errno.ENOENT, path)


def ancestors(path: str) -> list[str]:
    """The directories above, from the root's children on."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def id_of(path: str) -> str:
    """The artifact that a path is.

    Raises:
        OSError: It is too long.
    """
    if len(path.encode(errors="surrogatepass")) > _LONGEST:
        raise refused(errno.ENAMETOOLONG, path)
    return foreign_id("fsspec", path)


def is_directory(view: ArtifactMetadata | None) -> bool:
    """Whether there is something, and it is a directory."""
    return view is not None and view.tags.get(_KIND) == DIRECTORY


def info_of(view: ArtifactMetadata) -> dict[str, Any]:
    """What fsspec tells of a file or directory."""
    kind = view.tags[_KIND]
    info: dict[str, Any] = {"name": view.tags["path"], "size": view.size_bytes, "type": kind}
    info |= {"created": view.created, "mtime": view.created}
    if kind == FILE:
        info |= {"digest": view.digest, "content_type": view.content_type, "expires": view.expires}
    return info


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _run(directory: str) -> str:
    return f"/{directory}"
