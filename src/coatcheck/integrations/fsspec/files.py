"""An open file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from typing import Any, Final

from fsspec.spec import AbstractBufferedFile

from coatcheck import ArtifactReader

_SPOOLED: Final = 8 * 1024 * 1024  # bytes of a file being written that stay in memory


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
