"""`restore`: a tree on the disk, whole and verified, or nothing of it."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from ..arguments import check_callback
from ..asking import Ask, Store
from ..errors import ArtifactDecodeError, ArtifactNotFoundError, InvalidArtifactError
from ..folders import check_path
from ..model import Artifact
from ..plan import Plan, Work
from ..reader import AsyncArtifactReader
from ..sources import TransferProgress
from .finding import BATCH_BYTES, BATCH_FILES
from .manifest import Manifest, TreeEntry, folded_twins, refused

_PIECE: Final = 4 * 1024 * 1024
_ASKED: Final = 1000  # artifacts in one question
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def restore(
    name: str, manifest: Manifest, store: Store, directory: str | os.PathLike[str], progress: TransferProgress | None
) -> Plan[None]:
    """The plan of `Tree.restore`: all is written to a directory beside the one wanted, which then gets its name."""
    target = check_path(directory, "directory").absolute()
    restoring = _Restoring(name, manifest, store, target, progress)
    yield from restoring.compare()
    yield Work(restoring.begin)
    try:
        yield from restoring.write()
        yield Work(restoring.finish)
    finally:
        yield Work(restoring.discard)


class _Restoring:
    def __init__(
        self, name: str, manifest: Manifest, store: Store, target: Path, progress: TransferProgress | None
    ) -> None:
        self._name = name
        self._manifest = manifest
        self._store = store
        self._target = target
        self._staging = target.with_name(f".coatcheck-{secrets.token_hex(8)}")
        self._progress = check_callback(progress)
        self._done = 0
        self._files: dict[str, list[TreeEntry]] = {}  # by content
        for entry in manifest.entries:
            if entry.kind == "file":
                self._files.setdefault(entry.artifact_id, []).append(entry)
        self._total = sum(entry.size for entries in self._files.values() for entry in entries)

    def compare(self) -> Plan[None]:
        """Before anything is written: no link leads out, and every file is there, as large as the tree says."""
        for entry, _ in refused(self._manifest.entries):  # only of a part, whose links may lead to the rest of its tree
            raise InvalidArtifactError(
                f"{self._name} cannot be restored alone: its link {entry.path!r:.200} leads out of it"
            )
        ids = list(self._files)
        for start in range(0, len(ids), _ASKED):
            asked = ids[start : start + _ASKED]
            views = yield Ask(self._store, partial(_ask_metadata, asked))
            for artifact_id, view in zip(asked, views, strict=True):
                first = self._files[artifact_id][0]
                if view is None:
                    raise self._gone(first)
                for entry in self._files[artifact_id]:
                    self._check_size(entry, view.size_bytes)

    def begin(self) -> None:
        """Make the directories, empty."""
        if os.path.lexists(self._target):
            raise FileExistsError(errno.EEXIST, "is there already: name a directory that is not", str(self._target))
        try:
            self._staging.mkdir(0o700)
        except FileNotFoundError:
            reason = "lies in a directory that is not there: make that first"
            raise FileNotFoundError(errno.ENOENT, reason, str(self._target)) from None
        try:
            self._check_names()
            for entry in self._of_kind("directory"):
                self._place(entry).mkdir(0o700)
        except BaseException:
            self.discard()
            raise

    def write(self) -> Plan[None]:
        """Fetch and write the files; each content comes once."""
        for ids in self._batches():
            if self._files[ids[0]][0].size > BATCH_BYTES:
                yield from self._write_large(self._files[ids[0]])
                continue
            artifacts = yield Ask(self._store, partial(_load, ids))
            yield Work(partial(self._write_small, dict(zip(ids, artifacts, strict=True))))
            self._tell(sum(entry.size for artifact_id in ids for entry in self._files[artifact_id]))

    def finish(self) -> None:
        """Links and permissions come last, so that nothing is written through a link or kept from being written."""
        for entry in self._of_kind("link"):
            self._place(entry).symlink_to(entry.target)
        for entry in reversed(list(self._of_kind("directory"))):
            self._place(entry).chmod(entry.mode)
        if os.path.lexists(self._target):
            raise FileExistsError(errno.EEXIST, "has appeared meanwhile: name another directory", str(self._target))
        self._staging.rename(self._target)
        self._target.chmod(self._manifest.mode)

    def discard(self) -> None:
        """Remove what has not got its name."""
        if not self._staging.exists():
            return
        for parent, folders, _ in os.walk(self._staging):
            for folder in folders:
                if not (path := Path(parent, folder)).is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(self._staging)

    def _batches(self) -> Iterator[list[str]]:
        batch: list[str] = []
        size = 0
        for artifact_id, entries in self._files.items():
            if batch and (len(batch) >= BATCH_FILES or size + entries[0].size > BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(artifact_id)
            size += entries[0].size
        if batch:
            yield batch

    def _write_small(self, artifacts: dict[str, Artifact | None]) -> None:
        for artifact_id, artifact in artifacts.items():
            for entry in self._files[artifact_id]:
                if artifact is None:
                    raise self._gone(entry)
                self._check_size(entry, len(artifact.content))
                with self._create(entry) as file:
                    file.write(artifact.content)

    def _write_large(self, entries: list[TreeEntry]) -> Plan[None]:
        first, *others = entries
        reader: Any = yield Ask(self._store, lambda store: store.open(first.artifact_id))
        if reader is None:
            raise self._gone(first)
        try:
            self._check_size(first, reader.size)
            file = yield Work(partial(self._create, first))
            with file:
                while piece := (yield Ask(self._store, lambda _: reader.read(_PIECE))):
                    yield Work(partial(file.write, piece))
                    self._tell(len(piece))
        finally:
            close = reader.aclose if isinstance(reader, AsyncArtifactReader) else reader.close
            yield Ask(self._store, lambda _: close())
        for entry in others:
            yield Work(partial(self._copy, first, entry))
            self._tell(entry.size)

    def _copy(self, first: TreeEntry, entry: TreeEntry) -> None:
        with self._place(first).open("rb") as source, self._create(entry) as file:
            shutil.copyfileobj(source, file, _PIECE)

    def _create(self, entry: TreeEntry) -> BinaryIO:
        fd = os.open(self._place(entry), _NEW, 0o600)
        os.fchmod(fd, entry.mode)
        return os.fdopen(fd, "wb")

    def _check_names(self) -> None:
        """Refuse names that are one for the target's file system."""
        probe = self._staging / "a"
        probe.mkdir()
        folds = (self._staging / "A").exists()
        probe.rmdir()
        twins = folded_twins(self._manifest.entries) if folds else None
        if twins is not None:
            raise ArtifactDecodeError(
                f"{self._name}: {twins[0]!r:.200} and {twins[1]!r:.200} are one name for this file system"
            )

    def _check_size(self, entry: TreeEntry, size: int) -> None:
        if entry.size != size:
            raise ArtifactDecodeError(
                f"{self._name}: {entry.path!r:.200} has {size:,} bytes, and {entry.size:,} as the tree says"
            )

    def _gone(self, entry: TreeEntry) -> ArtifactNotFoundError:
        return ArtifactNotFoundError(
            f"{self._name}: the content of {entry.path!r:.200} has gone, artifact {entry.artifact_id}: "
            "it was deleted or has expired"
        )

    def _of_kind(self, kind: str) -> Iterator[TreeEntry]:
        return (entry for entry in self._manifest.entries if entry.kind == kind)

    def _place(self, entry: TreeEntry) -> Path:
        return self._staging / entry.path

    def _tell(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


def _ask_metadata(ids: list[str], store: Any) -> Any:
    return store.metadata_many(ids)


def _load(ids: list[str], store: Any) -> Any:
    return store.load_many(ids)
