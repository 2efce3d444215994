"""`store_tree`: the files of a directory first, then the manifest, whose id is the one ticket."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Unpack

from ..arguments import Payload, StoreKeywords, check_callback, check_details, check_tags, spelled_out
from ..asking import Ask, Store
from ..errors import ArtifactNotFoundError, InvalidArtifactError
from ..folders import check_path
from ..ids import TREE_TYPE
from ..model import ArtifactMetadata
from ..plan import Plan, Work, arun, run
from ..sources import TransferProgress
from ..store import ArtifactStore
from .finding import BATCH_BYTES, Found, batches, find, guess_type, open_regular
from .manifest import Manifest, TreeEntry, dump, refused

Skip = Callable[[str, str], None]

_OF_THE_MANIFEST: Final = {"artifact_id", "if_absent", "if_digest"}
"""What files are not stored with."""


@spelled_out(check_details)
def store_tree(
    directory: str | os.PathLike[str],
    store: ArtifactStore,
    *,
    content_type: str | None = None,
    skip: Skip | None = None,
    progress: TransferProgress | None = None,
    **details: Unpack[StoreKeywords],
) -> ArtifactMetadata:
    """Store a directory under one ticket: its files, empty directories and links, with their names and permissions.

    Each content is stored once, however many files have it; the manifest names them all. Times and owners are not kept,
    so equal directories are the same artifact. The run leases the contents too, at least as long as the manifest.

    Args:
        directory: The directory; may itself be a link. Links in it are kept as links, and not followed.
        store: Where to.
        content_type: Of the files; left out: guessed by their names.
        skip: Called with the path of what cannot be stored and the reason: FIFOs, sockets, devices, and links that lead
            out of the directory. Left out: that is an error, and nothing is stored.
        progress: Called with `(bytes stored, bytes of all files)`.
        **details: What `ArtifactStore.store` takes; `artifact_id`, `if_absent` and `if_digest` are about the manifest,
            whose lease has a tag more: `path`, the directory's name, if `tags` have none.

    Returns:
        The metadata of the manifest.

    Raises:
        InvalidArtifactError: Something cannot be stored, or is changed meanwhile.
        ArtifactNotFoundError: Files were deleted, or have expired, before all were stored.
        OSError: Something cannot be read; what was stored until then ends with its lease.
    """
    return run(_Storing(directory, store, content_type, skip, progress, details).plan())


@spelled_out(check_details)
async def astore_tree(
    directory: str | os.PathLike[str],
    store: Store,
    *,
    content_type: str | None = None,
    skip: Skip | None = None,
    progress: TransferProgress | None = None,
    **details: Unpack[StoreKeywords],
) -> ArtifactMetadata:
    """`store_tree` for asyncio: threads read the directory; a blocking store works in a thread."""
    return await arun(_Storing(directory, store, content_type, skip, progress, details).plan())


class _Storing:
    def __init__(
        self,
        directory: str | os.PathLike[str],
        store: Store,
        content_type: str | None,
        skip: Skip | None,
        progress: TransferProgress | None,
        details: StoreKeywords,
    ) -> None:
        self._directory = check_path(directory, "directory")
        self._store = store
        self._content_type = content_type
        self._skip = check_callback(skip, "skip")
        self._progress = check_callback(progress)
        name = os.fsencode(self._directory.absolute().name).decode("utf-8", "backslashreplace")
        self._details: StoreKeywords = {**details, "tags": {"path": name, **check_tags(details.get("tags"))}}
        check_details(
            TREE_TYPE if content_type is None else content_type, None, **self._details
        )  # before files are sent
        self._run = details.get("run_id")
        self._common: Any = {name: value for name, value in details.items() if name not in _OF_THE_MANIFEST}

    def plan(self) -> Plan[ArtifactMetadata]:
        mode, entries = yield Work(self._find)
        files = [entry for entry in entries if entry.kind == "file"]
        total, done = sum(file.size for file in files), 0
        stored: dict[str, ArtifactMetadata] = {}
        for batch in batches(files):
            views = yield from self._store_batch(batch)
            stored |= zip((file.path for file in batch), views, strict=True)
            done += sum(view.size_bytes for view in views)
            if self._progress is not None:
                self._progress(done, max(total, done))
        manifest = dump(Manifest(mode, tuple(self._entry(found, stored.get(found.path)) for found in entries)))
        view: ArtifactMetadata = yield Ask(
            self._store, lambda store: store.store(manifest, content_type=TREE_TYPE, **self._details)
        )
        if stored:
            yield from self._keep(view, stored)
        return view

    def _find(self) -> tuple[int, list[Found]]:
        """What is to be stored; what cannot be is told to `skip`, or an error before anything is sent."""
        mode = self._directory.stat().st_mode & 0o777
        entries: list[Found] = []
        reasons: dict[str, str] = {}
        for found in find(self._directory):
            if found.kind is None:
                reasons[found.path] = f"is {found.what}"
            else:
                entries.append(found)
        reasons |= {entry.path: reason for entry, reason in refused([self._entry(found, None) for found in entries])}
        for path, reason in reasons.items():
            if self._skip is None:
                raise InvalidArtifactError(f"{str(self._directory / path)!r} {reason}: it cannot be stored")
            self._skip(path, reason)
        return mode, [found for found in entries if found.path not in reasons]

    def _store_batch(self, batch: list[Found]) -> Plan[list[ArtifactMetadata]]:
        """Some files: many that fit into memory together, or a larger one alone."""
        if batch[0].size > BATCH_BYTES:
            return [(yield from self._store_large(batch[0]))]
        payloads = yield Work(lambda: list(map(self._read, batch)))
        views: list[ArtifactMetadata] = yield Ask(self._store, lambda store: store.store_many(payloads, **self._common))
        return views

    def _store_large(self, file: Found) -> Plan[ArtifactMetadata]:
        stream = yield Work(partial(open_regular, self._directory, file.path))
        try:
            kind = self._type(file)
            view: ArtifactMetadata = yield Ask(
                self._store, lambda store: store.store_file(stream, content_type=kind, **self._common)
            )
        finally:
            stream.close()
        return view

    def _read(self, file: Found) -> Payload:
        with open_regular(self._directory, file.path) as stream:
            content = stream.read(BATCH_BYTES + 1)
        if len(content) > BATCH_BYTES:
            path = self._directory / file.path
            raise InvalidArtifactError(f"{path} has grown: store a directory while nobody changes it")
        return Payload(content, self._type(file))

    def _keep(self, view: ArtifactMetadata, stored: dict[str, ArtifactMetadata]) -> Plan[None]:
        """Let no file end before the manifest does, although it was stored earlier."""
        ttl = None if view.expires is None else view.expires - view.created
        ids = [view.artifact_id for view in stored.values()]
        missing = yield Ask(self._store, lambda store: store.find_missing(ids, ttl=ttl, run_id=self._run))
        if missing:
            raise ArtifactNotFoundError(
                f"{len(missing)} of {len(ids)} files have gone again, as {missing[0]}: deleted, or expired before all "
                "were stored; store the directory once more, for longer"
            )

    def _type(self, file: Found) -> str:
        return self._content_type or guess_type(file.path)

    def _entry(self, found: Found, view: ArtifactMetadata | None) -> TreeEntry:
        assert found.kind is not None
        if view is None:
            return TreeEntry(found.path, found.kind, found.mode, target=found.target)
        return TreeEntry(found.path, "file", found.mode, view.size_bytes, view.artifact_id, self._type(found))
