"""One file of the disk cache: read whole or in parts, and written while its content is read from the server.

Reading verifies as reading from a server does: each chunk by its checksum, the whole by its SHA-256.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO, FileIO
from itertools import accumulate
from pathlib import Path
from typing import Final

from .envelope import InOrder, Verify, is_manifest, unseal
from .errors import CorruptArtifactError
from .manifest import START, Manifest

_WINDOW: Final = 4  # chunks that are read at a time


class CachedFile:
    """A file that was opened, for one reader; what is removed or replaced meanwhile stays readable.

    Attributes:
        manifest: Where the content lies in chunks.
    """

    def __init__(self, file: FileIO, path: Path, digest: bytes) -> None:
        self.manifest: Manifest | None = None
        self._file = file
        self._path = path
        self._digest = digest
        self._offsets: Sequence[int] = ()
        self._lock = threading.Lock()  # an awaited read that was cancelled may still be in its thread

    @classmethod
    def of(cls, file: FileIO, path: Path, digest: bytes) -> CachedFile | None:
        """What was opened, if its beginning is right; otherwise it is removed."""
        cached = cls(file, path, digest)
        try:
            cached._read_manifest()
        except (CorruptArtifactError, OSError):
            cached.drop()
            return None
        except BaseException:
            file.close()
            raise
        return cached

    def _read_manifest(self) -> None:
        start = self._file.read(START) or b""
        if not is_manifest(start):
            return
        length = Manifest.length_of(start)
        size = os.fstat(self._file.fileno()).st_size
        if length > size:
            raise CorruptArtifactError("the file ends in its manifest")
        manifest = Manifest.unseal(start + self._exactly(length - len(start)), self._digest)
        self._offsets = list(accumulate((chunk.length for chunk in manifest.chunks), initial=length))
        if self._offsets[-1] != size:
            raise CorruptArtifactError("the file does not end with its last chunk")
        self.manifest = manifest

    def whole(self, verify: Verify) -> bytes | None:
        """The content, and close the file; `None` where it is not right, and dropped."""
        try:
            if self.manifest is None:
                self._file.seek(0)
                return unseal(self._file.readall() or b"", self._digest, verify)
            order = InOrder(self._digest, self.manifest.size) if verify == "full" else None
            content = BytesIO()
            while (done := content.tell()) < self.manifest.size:
                for start, data in self.read(done, self.manifest.size):
                    if order is not None:
                        order.take(start, data)
                    content.write(data)
            return content.getvalue()  # not a copy
        except (CorruptArtifactError, OSError):
            self.drop()
            return None
        finally:
            self.close()

    def read(self, start: int, stop: int) -> list[tuple[int, bytes | memoryview]]:
        """Some verified chunks from the one that `start` is in: where each begins, and its plain bytes.

        Raises:
            CorruptArtifactError: They are not what was written.
            OSError: They cannot be read.
        """
        manifest = self.manifest
        assert manifest is not None
        first = start // manifest.chunk_size
        last = min(-(-stop // manifest.chunk_size), first + _WINDOW)
        with self._lock:
            self._file.seek(self._offsets[first])
            payloads = [self._exactly(manifest.chunks[n].length) for n in range(first, last)]
        return [(n * manifest.chunk_size, manifest.unpack(n, payload)) for n, payload in enumerate(payloads, first)]

    def _exactly(self, length: int) -> bytes:
        data = self._file.read(length) or b""
        while len(data) < length:
            more = self._file.read(length - len(data))
            if not more:
                raise CorruptArtifactError("the file is too short")
            data += more
        return data

    def drop(self) -> None:
        """Close it, and remove what has its name."""
        self.close()
        with suppress(OSError):
            self._path.unlink()

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            self._file.close()


class Filling:
    """A content on its way into the cache; nobody sees it there before it is whole.

    Args:
        file: Where it is written; it gets its name at the end.
        temporary: What it is called until then.
        path: Its name.
        start: What stands before the chunks.
        count: How many chunks there will be.
        complain: Told what goes wrong.
    """

    def __init__(
        self, file: FileIO, temporary: Path, path: Path, start: bytes, count: int, complain: Callable[[OSError], None]
    ) -> None:
        self._file = file
        self._temporary = temporary
        self._path = path
        self._count = count
        self._complain = complain
        self._next = 0
        self._written = os.fstat(file.fileno())
        self._process = os.getpid()
        self.close = weakref.finalize(self, _discard, file, temporary, self._process)
        self._write(start)

    def add(self, n: int, payload: bytes | memoryview) -> None:
        """A chunk as it is stored, verified; one that is not the next is left out."""
        if n == self._next and self._is_open:
            self._next += 1
            self._write(payload)

    def finish(self) -> None:
        """Give it its name, if all chunks were added; call this once the whole was compared with its SHA-256."""
        if self._next < self._count or not self._is_open:
            return
        try:
            self._file.close()
            status = self._temporary.lstat()
            if (status.st_dev, status.st_ino) == (self._written.st_dev, self._written.st_ino):
                self._temporary.replace(self._path)  # not synced: what a crash tears is noticed when it is read
                self.close.detach()
        except FileNotFoundError:  # somebody removed it
            pass
        except OSError as error:
            self._complain(error)
        self.close()

    @property
    def _is_open(self) -> bool:
        if self._process != os.getpid():  # forked: it is the parent's
            self.close()
        return self.close.alive

    def _write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._complain(error)
            self.close()


def _discard(file: FileIO, temporary: Path, process: int) -> None:
    file.close()
    if process == os.getpid():  # a forked child's copy is not its own
        with suppress(OSError):
            temporary.unlink()
