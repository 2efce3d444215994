"""From a file into a store."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from ..arguments import DEFAULT, TtlOrDefault, check_optional_run_id, check_ttl
from ..asking import Store
from ..model import ArtifactMetadata, Lease
from ..plan import Plan, Work
from .archive import Archive, ArchiveFile, opened, read
from .placing import PAGE, Placing, Wanted
from .report import Counts, MoveReport, OnMove


def importing(
    store: Store,
    file: ArchiveFile,
    run_id: str | None,
    ttl: TtlOrDefault,
    replace: bool,
    progress: OnMove | None,
) -> Plan[MoveReport]:
    """See `import_run`."""
    counts = Counts(progress)
    check_optional_run_id(run_id)
    ttl_ms = None if ttl is DEFAULT else check_ttl(ttl)
    with opened(file, "rb") as given, _seekable(given) as stream:
        archive: Archive = yield Work(lambda: read(stream))
        placing = Placing(store, _Contents(stream, archive), counts, replace=replace, verify=False)

        def lease(view: ArtifactMetadata) -> Lease:
            expires_at = view.expires_at
            if ttl is not DEFAULT:
                ends = None if ttl_ms is None else datetime.now(UTC) + timedelta(milliseconds=ttl_ms)
                expires_at = None if ends is None else ends.isoformat()
            return Lease(
                run_id=run_id or archive.run_id,
                created_at=view.created_at,
                expires_at=expires_at,
                content_type=view.content_type,
                tags=view.tags,
                extra=view.extra,
            )

        for start in range(0, len(archive.views), PAGE):
            page = archive.views[start : start + PAGE]
            yield from placing.place(
                [Wanted(view.artifact_id, view.digest, view.size_bytes, [lease(view)]) for view in page]
            )
    return counts.report()


@contextmanager
def _seekable(file: IO[bytes]) -> Iterator[IO[bytes]]:
    if (seekable := getattr(file, "seekable", None)) is not None and seekable():
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy)
        copy.seek(0)
        yield copy


class _Contents:
    """Contents of an archive that was verified."""

    def __init__(self, file: IO[bytes], archive: Archive) -> None:
        self._file, self._places = file, archive.places

    def whole(self, wanted: Sequence[Wanted]) -> Plan[list[bytes | None]]:
        def contents() -> list[bytes | None]:
            return [self._part(item).read() for item in wanted]

        found: list[bytes | None] = yield Work(contents)
        return found

    def stream(self, wanted: Wanted) -> Plan[Any]:
        yield from ()
        return self._part(wanted)

    def close(self, stream: Any) -> Plan[None]:
        yield from ()
        stream.close()

    def _part(self, item: Wanted) -> io.BufferedReader:
        return io.BufferedReader(_Part(self._file, *self._places[item.digest or ""]), 1024 * 1024)


class _Part(io.RawIOBase):
    """A part of a file, as a stream of its own."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._position = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        self._file.seek(self._start + self._position)
        piece = self._file.read(min(len(buffer), max(0, self._size - self._position)))
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)
