"""A store as a file system: for everything that opens files by fsspec (pandas, Dask, Airflow, …).

A path is an artifact with an id of its own, which its directory, a run of the store, leases. So a directory is listed
without looking at others, equal files are kept once, and copies send nothing. A directory is an empty artifact.
"""

from __future__ import annotations

import errno
import mimetypes
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fsspec import AbstractFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractBufferedFile
from fsspec.utils import stringify_path

from coatcheck import (
    ArtifactConflictError,
    ArtifactMetadata,
    ArtifactNotFoundError,
    ArtifactReader,
    ArtifactStore,
    InvalidArtifactError,
    foreign_id,
)

from .opening import LazyStore

_KIND: Final = "fsspec"  # the tag that says what an artifact is
_FILE, _DIRECTORY = "file", "directory"
_DIRECTORY_TYPE: Final = "inode/directory"
_LONGEST: Final = 1000  # bytes of a path
_SPOOLED: Final = 8 * 1024 * 1024  # bytes of a file being written that stay in memory
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
        self._ttl = ttl
        self._lazy = LazyStore(url, **(options if namespace is None else {"namespace": namespace, **options}))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._lazy!r})"

    __str__ = __repr__

    @property
    def _store(self) -> ArtifactStore:
        return self._lazy.get()

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
        return _root() if not path else _info(self._view(path))

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:  # noqa: ARG002
        """What is in a directory, by name. Asks for this directory alone."""
        path = self._strip_protocol(path)
        found = [_info(view) for view in self._store.list_by_run(_run(path)) if _KIND in view.tags]
        if not found and path and (own := self.info(path))["type"] == _FILE:
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
            return bool(self.info(path)["type"] == _FILE)
        except FileNotFoundError:
            return False

    def ukey(self, path: str) -> str:
        """The SHA-256 of a file's content."""
        return str(self._view(self._strip_protocol(path), _FILE).digest)

    def checksum(self, path: str) -> int:
        """The same, as a number."""
        return int(self.ukey(path), 16)

    def created(self, path: str) -> datetime:
        """When it was written, by the server's clock."""
        return self._view(self._strip_protocol(path)).created

    modified = created

    def _view(self, path: str, kind: str | None = None) -> ArtifactMetadata:
        view = self._store.get_metadata(_id(path))
        if view is None or _KIND not in view.tags:
            raise _missing(path)
        if kind == _FILE and view.tags[_KIND] == _DIRECTORY:
            raise _refused(errno.EISDIR, path)
        if kind == _DIRECTORY and view.tags[_KIND] == _FILE:
            raise _refused(errno.ENOTDIR, path)
        return view

    # Reading -----------------------------------------------------------------------------------------------------

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:  # noqa: ARG002
        """The content of a file, or `content[start:end]`; of large files only the chunks that are needed."""
        with self._reader(self._strip_protocol(path)) as reader:
            return b"".join(reader.iter_range(start, end))

    def get_file(
        self, rpath: str, lpath: Any = None, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **kwargs: Any
    ) -> None:
        """Copy a file to the local file system: a piece at a time, each verified."""
        super().get_file(rpath, lpath, callback=callback, outfile=outfile, **kwargs)

    def _reader(self, path: str) -> ArtifactReader:
        reader = self._store.open(_id(path))
        if reader is None or reader.metadata.tags.get(_KIND) != _FILE:
            if reader is not None:
                reader.close()
            self._view(path, _FILE)
            raise _missing(path)  # it went meanwhile
        return reader

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
                source = self._reader(path)
                condition = {"if_digest": source.metadata.digest}
            except FileNotFoundError:
                if mode == "rb":
                    raise
        if mode == "xb" and self.exists(path):
            raise _refused(errno.EEXIST, path)
        if mode == "xb" or (mode == "ab" and source is None):
            condition = {"if_absent": True}

        def keep(stream: Any, **details: Any) -> None:
            self._write(
                path,
                lambda name, **more: self._store.store_file(stream, artifact_id=name, **more),
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
        self._write(
            self._strip_protocol(path),
            lambda artifact_id, **details: self._store.store(value, artifact_id=artifact_id, **details),
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
        self._write(
            self._strip_protocol(rpath),
            lambda artifact_id, **details: self._store.store_file(
                Path(lpath), artifact_id=artifact_id, progress=progress, **details
            ),
            condition,
            **kwargs,
        )

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Copy a file, or make a directory of another name; nothing is sent or loaded."""
        source, path = self._strip_protocol(path1), self._strip_protocol(path2)
        view = self._view(source) if source else None
        if view is None or view.tags[_KIND] == _DIRECTORY:
            self.makedirs(path, exist_ok=True)
            return

        def link(artifact_id: str, **details: Any) -> ArtifactMetadata:
            return self._store.link(view, artifact_id, **details)

        try:
            self._write(path, link, {}, **kwargs)
        except ArtifactNotFoundError:
            raise _missing(source) from None

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
                raise _refused(errno.EINVAL, target)
        super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **kwargs)

    def _write(
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
        own, *above = self._store.metadata_many([_id(path), *(_id(one) for one in _ancestors(path))])
        if not path or (own is not None and own.tags.get(_KIND) == _DIRECTORY):
            raise _refused(errno.EISDIR, path)
        for ancestor, view in zip(_ancestors(path), above, strict=True):
            if view is not None and view.tags.get(_KIND) != _DIRECTORY:
                raise _refused(errno.ENOTDIR, ancestor)
        if own is not None and condition.get("if_absent"):
            raise _refused(errno.EEXIST, path)
        ttl = self._ttl if ttl is ... else ttl
        try:
            stored = store(
                _id(path),
                content_type=content_type or mimetypes.guess_type(path)[0] or "application/octet-stream",
                run_id=_run(_parent(path)),
                tags={_KIND: _FILE, "path": path},
                ttl=ttl,
                exact_ttl=True,
                **condition,
            )
        except ArtifactConflictError as error:
            if condition.get("if_absent"):
                raise _refused(errno.EEXIST, path) from error
            raise
        for ancestor, view in zip(_ancestors(path), above, strict=True):
            self._ensure(ancestor, view, ttl, stored.expires_at)

    def _ensure(self, path: str, view: ArtifactMetadata | None, ttl: Any, until: str | None) -> None:
        """Let a directory be there for as long as a file in it, and longer, so that not each file has to see to it."""
        lasts = None if ttl is None else 2 * ttl
        if view is not None:
            if view.expires_at is None or (until is not None and view.expires_at >= until):
                return
            if not self._store.find_missing([_id(path)], ttl=lasts, run_id=_run(_parent(path))):
                return
        self._make(path, lasts)  # it was not there, or expired since it was seen

    def _make(self, path: str, ttl: Any, *, exist_ok: bool = True) -> None:
        try:
            self._store.store(
                b"",
                artifact_id=_id(path),
                content_type=_DIRECTORY_TYPE,
                run_id=_run(_parent(path)),
                tags={_KIND: _DIRECTORY, "path": path},
                ttl=ttl,
                if_absent=True,
            )
        except ArtifactConflictError as error:
            if not exist_ok or error.metadata is None or error.metadata.tags.get(_KIND) != _DIRECTORY:
                raise _refused(errno.EEXIST, path) from error

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:  # noqa: ARG002
        """Make a directory.

        Raises:
            FileExistsError: There is something.
            FileNotFoundError: Its parent is not there, and `create_parents` is false.
        """
        path = self._strip_protocol(path)
        if not path:
            raise _refused(errno.EEXIST, path)
        for ancestor in _ancestors(path):
            if not create_parents:
                self._view(ancestor, _DIRECTORY)
            self._make(ancestor, self._ttl)
        self._make(path, self._ttl, exist_ok=False)

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
        self._view(path, _FILE)
        if not self._store.delete(_id(path)):
            raise _missing(path)

    _rm = rm_file

    def rmdir(self, path: str) -> None:
        """Delete an empty directory."""
        path = self._strip_protocol(path)
        if not path:
            return
        self._view(path, _DIRECTORY)
        if self.ls(path, detail=False):
            raise _refused(errno.ENOTEMPTY, path)
        self._store.delete(_id(path))

    def rm(self, path: str | Sequence[str], recursive: bool = False, maxdepth: int | None = None) -> None:
        """Delete files, and with `recursive` directories and what is in them, in one batch.

        Raises:
            FileNotFoundError: One of them is not there.
            OSError: One of them is a directory with something in it, without `recursive`.
        """
        paths = [one for one in self.expand_path(path, recursive=recursive, maxdepth=maxdepth) if one]
        whole, gone = recursive and maxdepth is None, set(paths)
        for one, view in zip(paths, self._store.metadata_many(map(_id, paths)), strict=True):
            if view is None:
                if whole:  # somebody else deleted it since it was found
                    continue
                raise _missing(one)
            if not whole and view.tags.get(_KIND) == _DIRECTORY and not gone.issuperset(self.ls(one, detail=False)):
                raise _refused(errno.ENOTEMPTY, one)
        self._store.delete_many(map(_id, reversed(paths)))


class CoatcheckFile(AbstractBufferedFile):
    """A file that is read, or written: it appears when it is closed, or at the end of a transaction.

    Appending writes the whole file anew, if nobody changed it meanwhile.
    """

    def __init__(self, *args: Any, source: ArtifactReader | None, keep: Callable[..., None], **kwargs: Any) -> None:
        self._source = source
        self._keep = keep
        self._spool: Any = None
        super().__init__(*args, **kwargs)
        if self.mode == "ab" and source is not None:
            self.loc = source.size

    def _fetch_range(self, start: int, end: int) -> bytes:
        assert self._source is not None
        self._source.seek(start)
        return self._source.read(end - start)

    def _initiate_upload(self) -> None:
        self._spool = tempfile.SpooledTemporaryFile(max_size=_SPOOLED)  # noqa: SIM115  # until it is stored
        if self._source is not None:
            shutil.copyfileobj(self._source, self._spool, 1024 * 1024)

    def _upload_chunk(self, final: bool = False) -> bool:
        self._spool.write(self.buffer.getvalue())
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self) -> None:
        """Store what was written, unless it was discarded."""
        if not self.forced:
            self.flush(force=True)
        if self._spool is not None:
            self._spool.seek(0)
            self._keep(self._spool, **self.kwargs)
        self.discard()

    def discard(self) -> None:
        """Forget what was written."""
        self.forced = True
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def close(self) -> None:
        """Close the file; what was written is stored now, unless a transaction is under way."""
        try:
            super().close()
        finally:
            if self._source is not None:
                self._source.close()
            if self.autocommit:
                self.discard()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and self.writable():  # half a file is none
            self.discard()
        self.close()


def _refused(number: int, path: str) -> OSError:
    """The error of the operating system, `FileExistsError` and so on."""
    return OSError(number, os.strerror(number), path)


def _missing(path: str) -> OSError:
    return _refused(errno.ENOENT, path)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _ancestors(path: str) -> list[str]:
    """The directories above, from the root's children on."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def _run(directory: str) -> str:
    return f"/{directory}"


def _id(path: str) -> str:
    if len(path.encode(errors="surrogatepass")) > _LONGEST:
        raise _refused(errno.ENAMETOOLONG, path)
    return foreign_id("fsspec", path)


def _root() -> dict[str, Any]:
    return {"name": "", "size": 0, "type": _DIRECTORY}


def _info(view: ArtifactMetadata) -> dict[str, Any]:
    kind = view.tags[_KIND]
    info: dict[str, Any] = {"name": view.tags["path"], "size": view.size_bytes, "type": kind}
    info |= {"created": view.created, "mtime": view.created}
    if kind == _FILE:
        info |= {"digest": view.digest, "content_type": view.content_type, "expires": view.expires}
    return info
