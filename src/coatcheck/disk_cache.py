"""Contents on the client's own disk: the second tier of the content cache, shared by the processes of one user.

    <directory>/coatcheck-1/<64 hex digits of the digest>    the sealed content, as it came from the server

Nothing here is trusted: a file is verified like everything that is read, and dropped if it is not right. Nothing here
is needed either: whatever goes wrong, contents come from the server.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from .envelope import Verify, unseal
from .errors import CorruptArtifactError
from .folders import check_private

_logger = logging.getLogger(__name__)

_NAME: Final = re.compile(r"[0-9a-f]{64}")
_STALE: Final = 3600  # seconds after which a temporary file was left behind by a crash
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
        self._verify = verify
        self._unseen = size  # bytes written since this process last looked; threads may lose a few to each other
        self._complained = False

    def read(self, digests: Iterable[bytes]) -> dict[bytes, bytes]:
        """Those contents that are here and sound, by digest."""
        found: dict[bytes, bytes] = {}
        try:
            self._check()
            for digest in digests:
                content = self._read(digest)
                if content is not None:
                    found[digest] = content
        except FileNotFoundError:
            pass
        except OSError as error:
            self._complain(error)
        return found

    def write(self, contents: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep sealed contents, each given with its digest, and make room for them."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check()
            for digest, sealed in contents:
                if len(sealed) <= self._size:
                    self._write(self._path(digest), sealed)
                    self._unseen += len(sealed)
            if self._unseen > self._size // 16:
                self._unseen = 0
                self._make_room()
        except OSError as error:
            self._complain(error)

    def _path(self, digest: bytes) -> Path:
        return self._directory / digest.hex()

    def _check(self) -> None:
        check_private(self._directory)
        if os.name == "posix" and self._directory.lstat().st_mode & 0o077:
            raise PermissionError("others may read what is there: chmod go-rwx it")

    def _read(self, digest: bytes) -> bytes | None:
        path = self._path(digest)
        try:
            return unseal(_read_file(path), digest, self._verify)
        except FileNotFoundError:
            return None
        except CorruptArtifactError:
            path.unlink(missing_ok=True)
            return None

    def _write(self, path: Path, sealed: bytes) -> None:
        temporary = self._directory / f".{uuid.uuid4().hex}.tmp"
        try:
            with os.fdopen(os.open(temporary, _WRITE_FLAGS, 0o600), "wb") as file:
                file.write(sealed)
            temporary.replace(path)  # not synced: what a crash tears is noticed when it is read
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self) -> None:
        files: list[tuple[float, int, str]] = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # another process makes room too
                    continue
                if _NAME.fullmatch(entry.name):
                    files.append((status.st_mtime, status.st_size, entry.path))
                elif entry.name.endswith(".tmp") and status.st_mtime < time.time() - _STALE:
                    Path(entry.path).unlink(missing_ok=True)
        total = sum(size for _, size, _ in files)
        if total <= self._size:
            return
        for _, size, path in sorted(files):
            Path(path).unlink(missing_ok=True)
            total -= size
            if total <= self._size - self._size // 8:  # not one by one: looking at all of them takes its time
                return

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            _logger.warning(
                "cannot use the content cache in %s: %s; contents come from the server",
                self._directory,
                error.strerror or error,
            )


def _read_file(path: Path) -> bytes:
    """A regular file's bytes; reading it counts as a use."""
    try:
        fd = os.open(path, _READ_FLAGS)
    except OSError:
        if path.is_symlink():
            raise CorruptArtifactError(f"{path} is a symbolic link") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise CorruptArtifactError(f"{path} is not a regular file")
        with os.fdopen(fd, "rb", closefd=False) as file:
            content = file.read()
        os.utime(fd if os.utime in os.supports_fd else path)
    finally:
        os.close(fd)
    return content
