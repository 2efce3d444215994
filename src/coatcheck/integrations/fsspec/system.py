"""`CoatcheckFileSystem`: what fsspec asks of a file system."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fsspec import AbstractFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import stringify_path

from coatcheck import ArtifactMetadata, ArtifactNotFoundError, ArtifactStore, InvalidArtifactError

from ..opening import LazyStore
from .files import CoatcheckFile
from .tree import DIRECTORY, FILE, Tree, ancestors, id_of, info_of, is_directory, missing, refused

_ROOT: Final = {"name": "", "size": 0, "type": DIRECTORY}
_GENERIC: Final = ("asynchronous", "batch_size", "listings_expiry_time", "loop", "max_paths", "use_listings_cache")


class CoatcheckFileSystem(AbstractFileSystem):
    """Files in a store. Making it touches nothing: the store is opened by the first file.

    What is written appears as a whole, when the file is closed, or not at all. Whoever creates a file exclusively
    (`"xb"`, `mode="create"`) is the only one. Whoever reads one reads on what was opened, whatever becomes of the path.

    Args:
        url: Of the store; `None`: `$COATCHECK_URL`.
        namespace: Of the store: the prefix of its keys.
        ttl: Seconds or a `timedelta` that files are kept; `None`: for ever. Methods that write take `ttl` too.
        **options: Of the store (see `open_store`) and of all file systems.

    Raises:
        InvalidArtifactError: An argument makes no sense.
        TypeError: There is no such option.
    """

    protocol = "coatcheck"
    root_marker = ""

    def __init__(
        self,
        url: str | None = None,
        namespace: str | None = None,
        ttl: float | timedelta | None = None,
        **options: Any,
    ) -> None:
        if isinstance(url, ArtifactStore):
            raise InvalidArtifactError("url must be a str: fsspec shares file systems of equal arguments")
        super().__init__(**{name: options.pop(name) for name in _GENERIC if name in options})
        self._lazy = LazyStore(url, **(options if namespace is None else {"namespace": namespace, **options}))
        self._tree = Tree(self._lazy, ttl)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._lazy!r})"

    __str__ = __repr__

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text = stringify_path(path).removeprefix(f"{cls.protocol}://")
        return "/".join(part for part in text.split("/") if part)

    def close(self) -> None:
        """Give back connections. Whoever goes on opens new ones."""
        self._lazy.close()

    # What is there -----------------------------------------------------------------------------------------------

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002
        """Name, size, type, times, digest and content type of a file or directory."""
        path = self._strip_protocol(path)
        return info_of(self._tree.view(path)) if path else dict(_ROOT)

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:  # noqa: ARG002
        """What is in a directory, by name. Asks for this directory alone."""
        path = self._strip_protocol(path)
        found = self._tree.children(path)
        if not found and path and (own := self.info(path))["type"] == FILE:
            found = [own]
        found.sort(key=lambda entry: entry["name"])
        return found if detail else [entry["name"] for entry in found]

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether there is something. That the store cannot be asked is an error, not a no."""
        try:
            self.info(path, **kwargs)
        except FileNotFoundError:
            return False
        return True

    def isfile(self, path: str) -> bool:
        """Whether it is a file."""
        try:
            return bool(self.info(path)["type"] == FILE)
        except FileNotFoundError:
            return False

    def ukey(self, path: str) -> str:
        """The SHA-256 of a file's content."""
        return str(self._tree.view(self._strip_protocol(path), FILE).digest)

    def checksum(self, path: str) -> int:
        """The same, as a number."""
        return int(self.ukey(path), 16)

    def created(self, path: str) -> datetime:
        """When it was written, by the server's clock."""
        return self._tree.view(self._strip_protocol(path)).created

    modified = created

    # Reading -----------------------------------------------------------------------------------------------------

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:  # noqa: ARG002
        """The content of a file, or `content[start:end]`; of large files only the chunks that are needed."""
        with self._tree.reader(self._strip_protocol(path)) as reader:
            return b"".join(reader.iter_range(start, end))

    def get_file(
        self, rpath: str, lpath: Any = None, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **kwargs: Any
    ) -> None:
        """Copy a file to the local file system: a piece at a time, each verified."""
        super().get_file(rpath, lpath, callback=callback, outfile=outfile, **kwargs)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> CoatcheckFile:
        source = None
        condition: dict[str, Any] = {}
        if mode in ("rb", "ab"):
            try:
                source = self._tree.reader(path)
                condition = {"if_digest": source.metadata.digest}
            except FileNotFoundError:
                if mode == "rb":
                    raise
        if mode == "xb" and self.exists(path):
            raise refused(errno.EEXIST, path)
        if mode == "xb" or (mode == "ab" and source is None):
            condition = {"if_absent": True}

        def keep(stream: Any, **details: Any) -> None:
            self._tree.write(
                path,
                lambda name, **more: self._tree.store.store_file(stream, artifact_id=name, **more),
                condition,
                **details,
            )

        return CoatcheckFile(
            self,
            path,
            mode,
            block_size or "default",
            autocommit,
            cache_options=cache_options,
            size=None if source is None else source.size,
            **{"cache_type": "none", **kwargs, "source": source, "keep": keep},  # the reader keeps what it fetched
        )

    # Writing -----------------------------------------------------------------------------------------------------

    def pipe_file(self, path: str, value: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        """Write a file at once; with `mode="create"` only where nothing is.

        Raises:
            FileExistsError: There is something, and `mode="create"`.
        """
        if self._intrans:
            with self.open(path, "xb" if mode == "create" else "wb", **kwargs) as file:
                file.write(value)
            return
        condition = {"if_absent": True} if mode == "create" else {}
        self._tree.write(
            self._strip_protocol(path),
            lambda artifact_id, **details: self._tree.store.store(value, artifact_id=artifact_id, **details),
            condition,
            **kwargs,
        )

    def put_file(
        self, lpath: Any, rpath: str, callback: Any = DEFAULT_CALLBACK, mode: str = "overwrite", **kwargs: Any
    ) -> None:
        """Copy a local file here: a piece at a time, and not at all if its content is here already."""
        if Path(lpath).is_dir():
            self.makedirs(rpath, exist_ok=True)
            return
        callback.set_size(Path(lpath).stat().st_size)

        def progress(done: int, of: int | None) -> None:
            if of is not None:
                callback.absolute_update(done)

        condition = {"if_absent": True} if mode == "create" else {}
        self._tree.write(
            self._strip_protocol(rpath),
            lambda artifact_id, **details: self._tree.store.store_file(
                Path(lpath), artifact_id=artifact_id, progress=progress, **details
            ),
            condition,
            **kwargs,
        )

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Copy a file, or make a directory of another name; nothing is sent or loaded."""
        source, path = self._strip_protocol(path1), self._strip_protocol(path2)
        view = self._tree.view(source) if source else None
        if view is None or is_directory(view):
            self.makedirs(path, exist_ok=True)
            return

        def link(artifact_id: str, **details: Any) -> ArtifactMetadata:
            return self._tree.store.link(view, artifact_id, **details)

        try:
            self._tree.write(path, link, {}, **kwargs)
        except ArtifactNotFoundError:
            raise missing(source) from None

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any) -> None:
        """Move files; nothing is sent or loaded. They last as if they were written now.

        Raises:
            OSError: A directory cannot be moved into itself.
        """
        target = self._strip_protocol(path2)
        for source in [path1] if isinstance(path1, str) else path1:
            if self._strip_protocol(source) == target:
                return
            if f"{target}/".startswith(f"{self._strip_protocol(source)}/"):
                raise refused(errno.EINVAL, target)
        super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **kwargs)

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:  # noqa: ARG002
        """Make a directory.

        Raises:
            FileExistsError: There is something.
            FileNotFoundError: Its parent is not there, and `create_parents` is false.
        """
        path = self._strip_protocol(path)
        if not path:
            raise refused(errno.EEXIST, path)
        for ancestor in ancestors(path):
            if not create_parents:
                self._tree.view(ancestor, DIRECTORY)
            self._tree.make(ancestor)
        self._tree.make(path, exist_ok=False)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a directory and those above it."""
        try:
            self.mkdir(path)
        except FileExistsError:
            if not exist_ok or not self.isdir(path):
                raise

    # Deleting ----------------------------------------------------------------------------------------------------

    def rm_file(self, path: str) -> None:
        """Delete a file."""
        path = self._strip_protocol(path)
        self._tree.view(path, FILE)
        if not self._tree.store.delete(id_of(path)):
            raise missing(path)

    _rm = rm_file

    def rmdir(self, path: str) -> None:
        """Delete an empty directory."""
        path = self._strip_protocol(path)
        if not path:
            return
        self._tree.view(path, DIRECTORY)
        if self.ls(path, detail=False):
            raise refused(errno.ENOTEMPTY, path)
        self._tree.store.delete(id_of(path))

    def rm(self, path: str | Sequence[str], recursive: bool = False, maxdepth: int | None = None) -> None:
        """Delete files, and with `recursive` directories and what is in them, in one batch.

        Raises:
            FileNotFoundError: One of them is not there.
            OSError: One of them is a directory with something in it, without `recursive`.
        """
        paths = [one for one in self.expand_path(path, recursive=recursive, maxdepth=maxdepth) if one]
        whole, gone = recursive and maxdepth is None, set(paths)
        for one, view in zip(paths, self._tree.views(paths), strict=True):
            if view is None:
                if whole:  # somebody else deleted it since it was found
                    continue
                raise missing(one)
            if not whole and is_directory(view) and not gone.issuperset(self.ls(one, detail=False)):
                raise refused(errno.ENOTEMPTY, one)
        self._tree.store.delete_many(map(id_of, reversed(paths)))
