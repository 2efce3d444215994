"""The archive of a run: a tar with a manifest, contents under their SHA-256, and checksums. No store is known here.

`docs/format.md` describes it. Whatever is in a file that is read here was made by somebody: nothing is extracted, names
are compared and never used as paths, and everything is hashed before any of it is given out.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import secrets
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final, NamedTuple

from ..errors import InvalidArtifactError
from ..folders import check_path, give_name
from ..ids import ID_LENGTH, is_default_id, validate_artifact_id
from ..model import ArtifactMetadata

ArchiveFile = str | os.PathLike[str] | IO[bytes]
"""A path, or a binary file."""

FORMAT: Final = "coatcheck-run"
VERSION: Final = 1
MANIFEST: Final = "manifest.json"
SUMS: Final = "SHA256SUMS"
_CONTENT: Final = re.compile(r"contents/([0-9a-f]{64})")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LARGEST_MANIFEST: Final = 2**30
_LARGEST_HEADER: Final = 64 * 1024
_PIECE: Final = 1024 * 1024


class ArchiveError(InvalidArtifactError):
    """A file is no archive of a run, or it is damaged, or it holds what it should not."""


class Archive(NamedTuple):
    """A verified archive.

    Attributes:
        run_id: Of whose leases it is made.
        views: What the run saw.
        places: Where contents lie in the file, by digest: offset and length.
    """

    run_id: str
    views: Sequence[ArtifactMetadata]
    places: dict[str, tuple[int, int]]


class Writer:
    """Writes an archive, member by member.

    Args:
        file: Where to; it need not seek.
    """

    def __init__(self, file: IO[bytes]) -> None:
        sink: Any = _Sink(file)
        self._tar = tarfile.open(fileobj=sink, mode="w:", format=tarfile.PAX_FORMAT)  # noqa: SIM115  # see `close`
        self._sums: list[str] = []

    def manifest(self, run_id: str, views: Sequence[ArtifactMetadata]) -> None:
        """Write what all is about; goes first."""
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "run_id": run_id,
            "artifacts": [view.to_dict() for view in views],
        }
        text = json.dumps(manifest, indent=1).encode()
        self.add(MANIFEST, hashlib.sha256(text).hexdigest(), len(text), io.BytesIO(text))

    def content(self, digest: str, size: int, content: IO[bytes]) -> None:
        """Write one content."""
        self.add(f"contents/{digest}", digest, size, content)

    def add(self, name: str, digest: str, size: int, content: IO[bytes]) -> None:
        """Write one member."""
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o644
        self._tar.addfile(info, content)
        self._sums.append(f"{digest}  {name}\n")

    def close(self) -> None:
        """Write the checksums and the end."""
        sums = "".join(self._sums).encode()
        info = tarfile.TarInfo(SUMS)
        info.size, info.mode = len(sums), 0o644
        self._tar.addfile(info, io.BytesIO(sums))
        self._tar.close()


class _Sink:
    """A file that counts what was written instead of seeking."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._written = file, 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written


@contextmanager
def opened(file: ArchiveFile, mode: str) -> Iterator[IO[bytes]]:
    """The file, opened if it is a path; one that is written gets its name once it is whole."""
    if not isinstance(file, str | os.PathLike):
        does = "read" if mode == "rb" else "write"
        given: Any = file
        if isinstance(given, io.TextIOBase) or not hasattr(given, does) or getattr(given, "closed", False):
            raise InvalidArtifactError(f"expected a path or an open binary file to {does}, not {type(file).__name__}")
        yield file
        return
    path = check_path(file, "file")
    if mode == "rb":
        with path.open(mode) as stream:
            yield stream
        return
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    temporary = path.with_name(f".coatcheck-{secrets.token_hex(8)}")
    try:
        with temporary.open(mode) as stream:
            yield stream
        give_name(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read(file: IO[bytes]) -> Archive:
    """Read and verify an archive from a file that can seek.

    Raises:
        ArchiveError: See there.
    """
    try:
        headers: Any = _Headers(file)
        with tarfile.open(fileobj=headers, mode="r:") as tar:
            return _read(tar, file)
    except tarfile.TarError as error:
        raise ArchiveError(f"not an archive of a run, or one that was cut off: {error}") from None
    except (ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, ArchiveError):
            raise
        raise ArchiveError(f"not an archive of a run, or one that is damaged: {error}") from None


class _Headers:
    """What `tarfile` reads of a file: it would make room for any name and extension that a header announces."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > _LARGEST_HEADER:
            raise ArchiveError(f"one of its headers has {size} bytes: export writes none of that length")
        return self._file.read(size)


def _read(tar: tarfile.TarFile, file: IO[bytes]) -> Archive:
    first = tar.next()
    if first is None or first.name != MANIFEST or not _is_plain(first) or first.size > _LARGEST_MANIFEST:
        raise ArchiveError(f"not an archive of a run: its first member is not {MANIFEST}")
    run_id, views = _parse(b"".join(_pieces(file, first)))
    sizes = {view.digest: view.size_bytes for view in views}
    places: dict[str, tuple[int, int]] = {}
    ended = False
    while (member := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]  # it would keep them all
        if ended:
            raise ArchiveError(f"{member.name!r} follows {SUMS}, which has to be the last")
        if member.name == SUMS and _is_plain(member):
            ended = True
            continue
        found = _CONTENT.fullmatch(member.name)
        if found is None or not _is_plain(member):
            raise ArchiveError(f"{member.name!r} does not belong into an archive of a run")
        digest = found[1]
        if digest in places:
            raise ArchiveError(f"{member.name} is there twice")
        if sizes.get(digest) != member.size:
            raise ArchiveError(f"{member.name} has {member.size} bytes, the manifest says {sizes.get(digest)}")
        if _hashed(file, member) != digest:
            raise ArchiveError(f"{member.name} is damaged: its SHA-256 is another")
        places[digest] = (member.offset_data, member.size)
    if not ended or places.keys() != sizes.keys():
        missing = len(sizes.keys() - places.keys())
        raise ArchiveError(f"the archive was cut off: {missing} of {len(sizes)} contents are missing")
    return Archive(run_id, views, places)


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()


def _pieces(file: IO[bytes], member: tarfile.TarInfo) -> Iterator[bytes]:
    """What a member holds."""
    file.seek(member.offset_data)
    left = member.size
    while left:
        piece = file.read(min(left, _PIECE))
        if not piece:
            raise ArchiveError("the archive was cut off")
        yield piece
        left -= len(piece)


def _hashed(file: IO[bytes], member: tarfile.TarInfo) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(file, member):
        digest.update(piece)
    return digest.hexdigest()


def _parse(text: bytes) -> tuple[str, list[ArtifactMetadata]]:
    manifest: Any = json.loads(text)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArchiveError(f"not an archive of a run: {MANIFEST} does not say so")
    if manifest.get("version") != VERSION:
        raise ArchiveError(f"its version is {manifest.get('version')!r}, this coatcheck knows {VERSION}: upgrade it")
    run_id, artifacts = manifest.get("run_id"), manifest.get("artifacts")
    if not isinstance(run_id, str) or not run_id or not isinstance(artifacts, list):
        raise ArchiveError(f"{MANIFEST} is damaged: a run and its artifacts are missing")
    views = [ArtifactMetadata.from_dict(view) for view in artifacts]
    sizes: dict[str, int] = {}
    for view in views:
        validate_artifact_id(view.artifact_id)
        if view.digest is None or not _DIGEST.fullmatch(view.digest) or view.size_bytes < 0 or view.run_id != run_id:
            raise ArchiveError(f"{MANIFEST} is damaged: what it says of {view.artifact_id} makes no sense")
        if is_default_id(view.artifact_id) and view.artifact_id != view.digest[:ID_LENGTH]:
            raise ArchiveError(f"{MANIFEST} is damaged: {view.artifact_id} looks like the id of other content")
        if sizes.setdefault(view.digest, view.size_bytes) != view.size_bytes:
            raise ArchiveError(f"{MANIFEST} is damaged: it gives one content two sizes")
    if len({view.artifact_id for view in views}) != len(views):
        raise ArchiveError(f"{MANIFEST} is damaged: it names an artifact twice")
    return run_id, views
