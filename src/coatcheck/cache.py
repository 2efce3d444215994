"""Contents kept by the client, in memory and on request on its disk, so that loading them again needs no content sent.

A digest means the same bytes for ever, so nothing in here can be out of date. What can change, whether an artifact is
there, what it stands for and until when, is never kept: it is asked of the server each time.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from .cached import CachedFile, Filling
from .disk_cache import DiskCache
from .ids import ID_LENGTH
from .manifest import Manifest
from .plan import Notice, Plan, Work

OVERHEAD: Final = 256
"""What an entry counts besides its content, so that many small ones are bounded too."""


class CacheInfo(NamedTuple):
    """Figures about a store's content cache since it was opened.

    Attributes:
        hits: Contents served from memory.
        disk_hits: Contents served from the disk.
        misses: Contents that came from the server.
        bytes: What the memory tier holds now, each entry with its overhead.
    """

    hits: int = 0
    disk_hits: int = 0
    misses: int = 0
    bytes: int = 0


class Fetched(NamedTuple):
    """A content that came from the server: verified, and as it was sealed."""

    digest: bytes
    content: bytes
    sealed: bytes


class ContentCache:
    """The least recently used contents go first. Shared by threads; a forked child starts with an empty one.

    Args:
        size: Bytes to hold in memory; a content that is larger is not kept there. Zero: none.
        disk: The second tier, if there is one.
    """

    def __init__(self, size: int, disk: DiskCache | None = None) -> None:
        self._size = size
        self._disk = disk
        self.start_anew()
        _caches.add(self)

    def start_anew(self) -> None:
        """For a forked child: a thread that does not exist there may hold the lock, in the middle of a change."""
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[bytes, bytes]] = OrderedDict()  # content_id -> digest, content
        self._bytes = self._hits = self._disk_hits = self._misses = 0

    def clear(self) -> None:
        """Forget what lies in memory."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def info(self) -> CacheInfo:
        """Figures so far."""
        with self._lock:
            return CacheInfo(self._hits, self._disk_hits, self._misses, self._bytes)

    def lacks(self, artifact_id: str) -> bool:
        """Whether an id looks like a content's own, and that content is surely not here.

        Then content may as well be asked for together with its metadata. Everything else is worth asking first.
        """
        return self._disk is None and len(artifact_id) == ID_LENGTH and artifact_id not in self._entries

    def get(self, digest: bytes) -> bytes | None:
        """A content that lies in memory. It was verified on its way in and is not hashed again."""
        content_id = _content_id(digest)
        with self._lock:
            entry = self._entries.get(content_id)
            if entry is None or entry[0] != digest:
                return None
            self._entries.move_to_end(content_id)
            self._hits += 1
            return entry[1]

    def fetch(self, digests: Sequence[bytes]) -> Plan[dict[bytes, bytes]]:
        """Those contents that are in memory or on the disk, by digest."""
        contents = ((digest, self.get(digest)) for digest in digests)
        found = {digest: content for digest, content in contents if content is not None}
        disk = self._disk
        if found:
            yield Notice("cache_hits", len(found))
        if disk is None or len(found) == len(digests):
            return found
        on_disk: dict[bytes, bytes] = yield Work(lambda: disk.read(digest for digest in digests if digest not in found))
        for digest, content in on_disk.items():
            self.remember(digest, content)
        with self._lock:
            self._disk_hits += len(on_disk)
        yield Notice("cache_hits", len(on_disk))
        return found | on_disk

    def open(self, digest: bytes) -> Plan[CachedFile | bytes | None]:
        """A content that is in memory or on the disk: whole, or the file that its chunks lie in."""
        found: CachedFile | bytes | None = self.get(digest)
        disk = self._disk
        if found is None and disk is not None:
            found = yield Work(lambda: disk.open(digest))
            with self._lock:
                self._disk_hits += found is not None
        if found is not None:
            yield Notice("cache_hits")
        return found

    @property
    def fill(self) -> Callable[[Manifest], Filling | None] | None:
        """What begins to keep a content that comes in chunks; `None` where there is no disk for it."""
        return None if self._disk is None else self._disk.begin

    def missed(self, count: int = 1) -> Plan[None]:
        """Note that contents came from the server."""
        with self._lock:
            self._misses += count
        yield Notice("cache_misses", count)

    def keep(self, contents: Iterable[Fetched]) -> Plan[None]:
        """Take in what had to be fetched from the server."""
        contents = list(contents)
        for content in contents:
            self.remember(content.digest, content.content)
        yield from self.missed(len(contents))
        disk = self._disk
        if disk is not None:
            yield Work(lambda: disk.write((content.digest, content.sealed) for content in contents))

    def remember(self, digest: bytes, content: bytes) -> None:
        """Take a whole plain content into memory; the digest has to be right."""
        size = len(content) + OVERHEAD
        if size > self._size:
            return
        content_id = _content_id(digest)
        dropped = []  # freed after the lock: giving back large memory takes its time
        with self._lock:
            if content_id in self._entries:
                dropped.append(self._entries.pop(content_id))
            self._entries[content_id] = (digest, content)
            self._bytes += size - sum(len(old) + OVERHEAD for _, old in dropped)
            while self._bytes > self._size:
                _, entry = self._entries.popitem(last=False)
                dropped.append(entry)
                self._bytes -= len(entry[1]) + OVERHEAD


def _content_id(digest: bytes) -> str:
    return digest.hex()[:ID_LENGTH]


_caches: weakref.WeakSet[ContentCache] = weakref.WeakSet()


def _after_fork() -> None:
    for cache in _caches:
        cache.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
