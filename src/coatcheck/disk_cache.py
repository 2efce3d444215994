"""Contents on the client's own disk: the second tier of the content cache, shared by the processes of one user.

    <directory>/coatcheck-1/<64 hex digits of the digest>    the sealed content, as it came from the server; behind a
                                                             manifest its chunks, as they came

Nothing here is trusted: what is read is verified like everything that comes from a server, and a file dropped if it is
not right. Nothing here is needed either: whatever goes wrong, contents come from the server.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final

from .cached import CachedFile, Filling
from .envelope import Verify
from .errors import CorruptArtifactError
from .folders import check_private
from .manifest import Manifest

_logger = logging.getLogger(__name__)

_NAME: Final = re.compile(r"[0-9a-f]{64}")
_STALE: Final = 3600  # seconds after which a temporary file that nobody wrote to was left behind by a crash
_COMMON_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_READ_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _COMMON_FLAGS  # a FIFO must not hang us
_WRITE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _COMMON_FLAGS


class DiskCache:
    """The least recently used files go first. Never raises: what cannot be read is absent, what cannot be kept is not.

    Args:
        directory: Where the cache's own directory is made, for this user only (mode 0700).
        size: Bytes to hold, about: each process may write a sixteenth more before it looks what others did.
        verify: See `envelope.unseal`.
    """

    def __init__(self, directory: Path, size: int, verify: Verify) -> None:
        self._directory = directory / "coatcheck-1"
        self._size = size
        self._verify: Verify = verify
        self._unseen = size  # bytes written since this process last looked; threads may lose a few to each other
        self._complained = False

    def read(self, digests: Iterable[bytes]) -> dict[bytes, bytes]:
        """Those contents that are here and sound, by digest."""
        found: dict[bytes, bytes] = {}
        for digest in digests if self._is_usable() else ():
            file = self._open(digest)
            content = None if file is None else file.whole(self._verify)
            if content is not None:
                found[digest] = content
        return found

    def open(self, digest: bytes) -> CachedFile | bytes | None:
        """A content, if it is here: where it is not in chunks itself, else its file."""
        file = self._open(digest) if self._is_usable() else None
        return file if file is None or file.manifest is not None else file.whole(self._verify)

    def _is_usable(self) -> bool:
        try:
            self._check()
        except FileNotFoundError:
            return False
        except OSError as error:
            self._complain(error)
            return False
        return True

    def _open(self, digest: bytes) -> CachedFile | None:
        try:
            file = _open_file(self._path(digest))
        except FileNotFoundError:
            return None
        except CorruptArtifactError:
            with suppress(OSError):
                self._path(digest).unlink()
            return None
        except OSError as error:
            self._complain(error)
            return None
        return CachedFile.of(file, self._path(digest), digest)

    def write(self, contents: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep sealed contents, each given with its digest, and make room for them."""
        try:
            self._prepare()
            for digest, sealed in contents:
                if len(sealed) <= self._size:
                    self._write(self._path(digest), sealed)
                    self._unseen += len(sealed)
            if self._unseen > self._size // 16:
                self._unseen = 0
                self._make_room()
        except OSError as error:
            self._complain(error)

    def begin(self, manifest: Manifest) -> Filling | None:
        """Make room for a content that will come chunk by chunk; `None`: it is not to be kept, or comes already."""
        start = b"".join(manifest.seal())
        length = len(start) + manifest.stored_length
        path, temporary = self._path(manifest.digest), self._directory / f".{manifest.digest.hex()}.tmp"
        if length > self._size:
            return None
        try:
            self._prepare()
            self._make_room(length)  # which removes what a crash left long ago
            if path.exists():
                return None
            file = FileIO(os.open(temporary, _WRITE_FLAGS, 0o600), "w")
        except FileExistsError:  # somebody else is at it
            return None
        except OSError as error:
            self._complain(error)
            return None
        return Filling(file, temporary, path, start, len(manifest.chunks), self._complain)

    def _path(self, digest: bytes) -> Path:
        return self._directory / digest.hex()

    def _prepare(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check()

    def _check(self) -> None:
        check_private(self._directory)
        if os.name == "posix" and self._directory.lstat().st_mode & 0o077:
            raise PermissionError("others may read what is there: chmod go-rwx it")

    def _write(self, path: Path, sealed: bytes) -> None:
        temporary = self._directory / f".{uuid.uuid4().hex}.tmp"
        try:
            with os.fdopen(os.open(temporary, _WRITE_FLAGS, 0o600), "wb") as file:
                file.write(sealed)
            temporary.replace(path)  # not synced: what a crash tears is noticed when it is read
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self, coming: int = 0) -> None:
        """Remove what was not used for longest, if all of it and what is coming are too much."""
        files: list[tuple[float, int, str]] = []
        total = coming
        with os.scandir(self._directory) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # another process makes room too
                    continue
                if _NAME.fullmatch(entry.name):
                    files.append((status.st_mtime, status.st_size, entry.path))
                elif not entry.name.endswith(".tmp"):
                    continue
                elif status.st_mtime < time.time() - _STALE:
                    Path(entry.path).unlink(missing_ok=True)
                    continue
                total += status.st_size
        if total <= self._size:
            return
        enough = self._size if coming else self._size - self._size // 8  # looking at all of them takes its time
        for _, size, path in sorted(files):
            Path(path).unlink(missing_ok=True)
            total -= size
            if total <= enough:
                return

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            _logger.warning(
                "cannot use the content cache in %s: %s; contents come from the server",
                self._directory,
                error.strerror or error,
            )


def _open_file(path: Path) -> FileIO:
    """A regular file; opening it counts as a use."""
    try:
        fd = os.open(path, _READ_FLAGS)
    except OSError:
        if path.is_symlink():
            raise CorruptArtifactError(f"{path} is a symbolic link") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise CorruptArtifactError(f"{path} is not a regular file")
        os.utime(fd if os.utime in os.supports_fd else path)
    except BaseException:
        os.close(fd)
        raise
    return FileIO(fd, "r")
