"""From one store to another, and into files: any backend to any other, by the public interface alone.

    copy(open_store("file:///var/artifacts"), open_store("redis+cluster://…"))
    export_run(store, "run-17", "run-17.tar")
    import_run(store, "run-17.tar")

Leases keep their runs, content types, tags and deadlines. Each can be stopped and called again: what is there already
is not sent. The archive of `export_run` is described in `docs/format.md`, and can be read without coatcheck.
"""

from __future__ import annotations

from ..aio import AsyncArtifactStore
from ..arguments import DEFAULT, TtlOrDefault
from ..asking import Store
from ..errors import InvalidArtifactError
from ..plan import arun, run
from ..store import ArtifactStore
from .archive import ArchiveError, ArchiveFile
from .copying import copying
from .exporting import exporting
from .importing import importing
from .report import MoveReport, OnMove

__all__ = [
    "ArchiveError",
    "MoveReport",
    "OnMove",
    "acopy",
    "aexport_run",
    "aimport_run",
    "copy",
    "export_run",
    "import_run",
]


def copy(
    source: ArtifactStore,
    target: ArtifactStore,
    *,
    run_id: str | None = None,
    replace: bool = False,
    verify: bool = False,
    progress: OnMove | None = None,
) -> MoveReport:
    """Copy all artifacts, or what one run leases, with their leases.

    Every content is verified when it is read, and named by its SHA-256 where it is stored. What others store meanwhile
    may be copied or not; nothing is removed anywhere. Times of store are those of the copy, in the same order; between
    partitions of a cluster, and where a copy was interrupted, in about the same.

    Args:
        source: Where they lie.
        target: Where they shall lie.
        run_id: Copy this run's leases only.
        replace: Replace an explicit id that stands for other content in the target; otherwise it is left, and counted.
        verify: Read everything back from the target.
        progress: Called with what was done so far, after every hundred artifacts or less.

    Raises:
        InvalidArtifactError: The stores are of different faces, or an argument makes no sense.
        ArtifactError: One of the stores cannot be used; call again to go on.
    """
    return run(copying(_blocking(source), _blocking(target), run_id, replace, verify, progress))


async def acopy(
    source: AsyncArtifactStore,
    target: AsyncArtifactStore,
    *,
    run_id: str | None = None,
    replace: bool = False,
    verify: bool = False,
    progress: OnMove | None = None,
) -> MoveReport:
    """`copy`, awaited."""
    return await arun(copying(_awaited(source), _awaited(target), run_id, replace, verify, progress))


def export_run(store: ArtifactStore, run_id: str, file: ArchiveFile, *, progress: OnMove | None = None) -> MoveReport:
    """Write everything that a run leases into one tar: a manifest, the contents, and their checksums.

    Args:
        store: Where it lies.
        run_id: Whose leases.
        file: A path, which must not exist, or a binary file to write to; it need not seek.
        progress: Called with what was done so far.

    Raises:
        ArtifactNotFoundError: The run leases nothing.
        ArtifactLostError: A content is gone; likewise `CorruptArtifactError`. The file is removed if it was a path.
        OSError: The file cannot be written, or exists.
    """
    return run(exporting(_blocking(store), run_id, file, progress))


async def aexport_run(
    store: AsyncArtifactStore, run_id: str, file: ArchiveFile, *, progress: OnMove | None = None
) -> MoveReport:
    """`export_run`, awaited; the file is written in threads."""
    return await arun(exporting(_awaited(store), run_id, file, progress))


def import_run(
    store: ArtifactStore,
    file: ArchiveFile,
    *,
    run_id: str | None = None,
    ttl: TtlOrDefault = DEFAULT,
    replace: bool = False,
    progress: OnMove | None = None,
) -> MoveReport:
    """Store what `export_run` wrote. The whole archive is verified before anything is stored.

    Args:
        store: Where to.
        file: A path, or a binary file to read from; one that cannot seek is copied to a temporary file.
        run_id: Lease everything for this run instead of the one that was exported.
        ttl: Of all leases, as for `store`; left out: the deadlines that they had. What has ended is only counted.
        replace: As for `copy`.
        progress: Called with what was done so far.

    Raises:
        ArchiveError: It is no archive of a run, it is damaged, or it holds what it should not; nothing was stored.
        OSError: The file cannot be read.
    """
    return run(importing(_blocking(store), file, run_id, ttl, replace, progress))


async def aimport_run(
    store: AsyncArtifactStore,
    file: ArchiveFile,
    *,
    run_id: str | None = None,
    ttl: TtlOrDefault = DEFAULT,
    replace: bool = False,
    progress: OnMove | None = None,
) -> MoveReport:
    """`import_run`, awaited; the file is read in threads."""
    return await arun(importing(_awaited(store), file, run_id, ttl, replace, progress))


def _blocking(store: Store) -> Store:
    if isinstance(store, AsyncArtifactStore):
        raise InvalidArtifactError(
            "an AsyncArtifactStore has to be awaited: use acopy(), aexport_run() or aimport_run()"
        )
    return store


def _awaited(store: Store) -> Store:
    if not isinstance(store, AsyncArtifactStore):
        raise InvalidArtifactError("a store that blocks is not awaited: use copy(), export_run() or import_run()")
    return store
