"""From a store into a file."""

from __future__ import annotations

import tempfile
from functools import partial
from typing import IO, Any, Final

from ..arguments import check_run_id
from ..asking import Ask, Store
from ..errors import ArtifactLostError, ArtifactNotFoundError, InvalidArtifactError
from ..model import ArtifactMetadata
from ..plan import Plan, Work
from .archive import ArchiveFile, Writer, opened
from .placing import close
from .report import Counts, MoveReport, OnMove

_PIECE: Final = 4 * 2**20
_IN_MEMORY: Final = 16 * 2**20  # bytes of a content that are kept in memory on their way


def exporting(store: Store, run_id: str, file: ArchiveFile, progress: OnMove | None) -> Plan[MoveReport]:
    """See `export_run`."""
    counts = Counts(progress)
    check_run_id(run_id)
    views: list[ArtifactMetadata] = yield Ask(store, lambda s: s.search(run_id=run_id, order="asc", limit=0))
    if not views:
        raise ArtifactNotFoundError(f"run {run_id!r:.200} leases nothing")
    if unknown := [view.artifact_id for view in views if view.digest is None]:
        raise InvalidArtifactError(
            f"other software stored artifact {unknown[0]} without a digest: store it again first"
        )
    contents: dict[str, list[ArtifactMetadata]] = {}
    for view in views:
        contents.setdefault(view.digest or "", []).append(view)
    with opened(file, "xb") as stream:
        writer = Writer(stream)
        yield Work(lambda: writer.manifest(run_id, views))
        for digest, (view, *others) in contents.items():
            with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as content:
                yield from _fetch(store, view, digest, content)
                yield Work(partial(_write, writer, digest, view, content))
            counts.bytes += view.size_bytes
            counts.artifacts += 1 + len(others)
            counts.leases = counts.artifacts
            counts.tell()
        yield Work(writer.close)
    return counts.report()


def _fetch(store: Store, view: ArtifactMetadata, digest: str, content: IO[bytes]) -> Plan[None]:
    """The whole verified content. Before any of it is in the archive: what fails leaves no half member."""
    reader: Any = yield Ask(store, lambda s: s.open(view.artifact_id))
    if reader is None or reader.metadata.digest != digest:
        if reader is not None:
            yield Ask(store, lambda _: close(reader))
        raise ArtifactLostError(f"artifact {view.artifact_id} was deleted or replaced while it was exported; try again")
    try:
        while piece := (yield Ask(store, lambda _: reader.read(_PIECE))):
            content.write(piece)
    finally:
        yield Ask(store, lambda _: close(reader))


def _write(writer: Writer, digest: str, view: ArtifactMetadata, content: IO[bytes]) -> None:
    content.seek(0)
    writer.content(digest, view.size_bytes, content)
