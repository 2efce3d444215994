"""How artifacts are read: metadata and content in one round trip where the id tells where the content is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

from ...arguments import check_size
from ...cache import ContentCache, Fetched
from ...envelope import HEADER, MANIFEST, Hashed, Verify, is_manifest, unseal, unseal_usual
from ...errors import CorruptArtifactError, StoreUnavailableError
from ...ids import ID_LENGTH, is_default_id
from ...manifest import Manifest
from ...model import Artifact, ArtifactMetadata, filled, trusted
from ...plan import Plan, Work
from ...sources import Chunking
from ..opened import OpenedArtifact, WholeArtifact
from .content.arriving import taking_in
from .content.download import ChunkedArtifact, Fill, lost
from .content.fromdisk import CachedArtifact
from .describing import Describing
from .layout import records
from .layout.keys import Keys
from .scripts import calls
from .scripts.plain import leases_of
from .scripts.script import ANY_ID, Filled, Form, IdForm, first, same
from .session import Session, heard
from .transport.base import MakeLarge

T = TypeVar("T")
Finish = Callable[[ArtifactMetadata, bytes], Plan[T | None]]
"""Makes something of an artifact's metadata and sealed content; `None` where content or chunks are missing."""

Found = tuple[ArtifactMetadata, bytes | None]
"""An artifact's metadata, and its sealed content as far as there is one under its name."""

INLINE: Final = 64 * 1024
"""Bytes of content that a script returns; larger ones would be copied by Lua."""

_LONG_WORK: Final = 256 * 1024  # from this many bytes on, hashing and decompression leave the event loop
_TRIES: Final = 5  # how often a plan starts over because others changed what it had just read

_CONTENT: Final = (b"GET", None)
_PART: Final = (b"GETRANGE", None, b"0")
_GET_CONTENT: Final = Form(_CONTENT)
_GET_PART: Final = Form((*_PART, None))


class Reading:
    """The operations that read one artifact.

    Args:
        session: The namespace.
        describing: Reads metadata.
        verify: See `envelope.unseal`. What enters a cache is hashed in any case.
        cache: Contents that need not be fetched; `None`: always fetch them.
        max_size: Largest content that is given out, in bytes.
    """

    def __init__(
        self,
        session: Session,
        describing: Describing,
        verify: Verify,
        cache: ContentCache | None,
        max_size: int | None,
    ) -> None:
        self.chunking = Chunking()
        self._session = session
        self.describing = describing
        self._verify: Verify = verify
        self._verify_whole: Verify = verify if cache is None else "full"
        self._cache = cache
        self._max_size = max_size
        self._plainly = cache is None and max_size is None
        self._large = taking_in(verify) if cache is None else None  # a cache keeps it sealed

    def load_one(self, artifact_id: str, run_id: str | None) -> Plan[Artifact | None]:
        """See `Backend.load_one`."""
        if self._cache is not None and (run_id is not None or not self._cache.lacks(artifact_id)):
            return heard(self._load_through_cache(artifact_id, run_id))
        if run_id is None and is_default_id(artifact_id):
            return self._load_small(artifact_id)
        return heard(self.load_again(artifact_id, self.artifact, run_id))

    def open(self, artifact_id: str) -> Plan[OpenedArtifact | None]:
        """See `Backend.open`."""
        if self._cache is not None and not self._cache.lacks(artifact_id):
            return self._open_through_cache(artifact_id)
        return self.load_again(artifact_id, self._opened)

    def chunked(
        self, view: ArtifactMetadata, sealed: bytes, verify: Verify, fill: Fill | None = None
    ) -> ChunkedArtifact:
        """A content by its manifest; see `ChunkedArtifact`.

        Raises:
            CorruptArtifactError: The manifest is damaged.
        """

        def current(view: ArtifactMetadata, sealed: bytes) -> Plan[Manifest | None]:
            yield from ()
            return Manifest.unseal(sealed, _digest(view)) if is_manifest(sealed) else None

        try:
            manifest = Manifest.unseal(sealed, _digest(view))
        except CorruptArtifactError as error:
            raise damaged(view, error) from None
        return ChunkedArtifact(
            self._session,
            self._session.of(view.artifact_id),
            view,
            manifest,
            verify,
            self.chunking.window,
            lambda: self.load_again(view.artifact_id, current),
            fill,
        )

    def _load_small(self, artifact_id: str) -> Plan[Artifact | None]:
        """What most loads find: few leases, and a small content. Anything else goes on with what came."""
        came = yield from self._session.read(self._get(artifact_id, partial(self._small, artifact_id), self._large))
        if isinstance(came, list):
            return (yield from heard(self._load_what_came(artifact_id, came)))
        return came

    def _small(self, artifact_id: str, replies: list[Any]) -> Artifact | list[Any] | None:
        """The artifact of which that came; the same where it takes more to tell."""
        fields, sealed = replies
        if not fields:
            return None
        if self._plainly and (usual := records.usual_view(artifact_id, fields)) is not None:
            artifact = self.straight(*usual, sealed)
            if artifact is not None:
                return artifact
        lease = records.latest_of_few(fields)
        if lease is None or not sealed:
            return replies
        view = records.decode_view(artifact_id, *lease)
        if self._max_size is not None:
            self.check_size_of(view)
        if type(sealed) is Hashed or (self._cache is None and is_small(view, sealed)):
            return self.unsealed(view, sealed)
        return replies

    def _load_what_came(self, artifact_id: str, replies: list[Any]) -> Plan[Artifact | None]:
        found = yield from self._guessed(artifact_id, replies)
        return None if found is None else (yield from self.load_again(artifact_id, self.artifact, found=found))

    def _load_through_cache(self, artifact_id: str, run_id: str | None) -> Plan[Artifact | None]:
        view = yield from self.describing.view(artifact_id, run_id)
        self.check_size_of(view)
        [cached] = yield from self.cached([view])
        if view is None or cached is not None:
            return cached
        return (yield from self.load_again(artifact_id, self.artifact, run_id))

    def _open_through_cache(self, artifact_id: str) -> Plan[OpenedArtifact | None]:
        view = yield from self.describing.view(artifact_id, None)
        self.check_size_of(view)
        if view is not None and view.digest is not None and self._cache is not None:
            found = yield from self._cache.open(_digest(view))
            if isinstance(found, bytes):
                return WholeArtifact(_whole(view, found))
            if found is not None and found.manifest is not None and found.manifest.size == view.size_bytes:
                return CachedArtifact(view, found, self._verify, lambda: self.load_again(artifact_id, self._opened))
        return None if view is None else (yield from self.load_again(artifact_id, self._opened))

    def cached(self, views: Sequence[ArtifactMetadata | None]) -> Plan[list[Artifact | None]]:
        """Artifacts that the server has just described and whose contents are in the cache."""
        if self._cache is None:
            return [None] * len(views)
        digests = [b"" if view is None else _digest(view) for view in views]
        contents = yield from self._cache.fetch(list({digest for digest in digests if digest}))
        return [
            _whole(view, contents[digest]) if view is not None and digest in contents else None
            for view, digest in zip(views, digests, strict=True)
        ]

    def get(self, view: ArtifactMetadata) -> Filled[bytes | None]:
        """What fetches the sealed content; no more than the metadata declare, where that costs nothing."""
        keys, name = self._session.of(view.artifact_id), content_id_of(view)
        if view.size_bytes >= INLINE and self._max_size is None:  # GET is faster then
            return Filled(_GET_CONTENT, keys.slot, (keys.content(name),), first)
        most = b"%d" % (view.size_bytes + HEADER.size)
        return Filled(_GET_PART, keys.slot, (keys.content(name), most), _first_or_none)

    def longest(self, small: int) -> int:
        """How many bytes a sealed content may have to come along with the metadata."""
        return small if self._max_size is None else min(small, self._max_size + HEADER.size)

    def load_again(
        self, artifact_id: str, finish: Finish[T], run_id: str | None = None, found: Found | None = None
    ) -> Plan[T | None]:
        """Load, or go on from what was `found`; again where others changed it meanwhile."""
        before: tuple[str | None, str, bytes | None] | None = None
        for attempt in range(_TRIES):
            if run_id is not None:
                found = yield from self._look_as(artifact_id, run_id)
            elif attempt > 0 or found is None:
                guess = attempt == 0 and is_default_id(artifact_id)
                found = yield from (self._guess(artifact_id) if guess else self._look(artifact_id))
            if found is None:
                return None
            view, sealed = found
            self.check_size_of(view)
            if before is not None and (view.digest, view.created_at, sealed) == before:
                raise lost(artifact_id)  # nobody deleted, replaced or stored it again
            finished = yield from finish(view, sealed or b"")
            if finished is not None:
                return finished
            before = view.digest, view.created_at, sealed
        raise StoreUnavailableError(f"artifact {artifact_id} changed {_TRIES} times while it was read; try again")

    def _get(self, artifact_id: str, decode: Callable[[Any], T], large: MakeLarge | None = None) -> Filled[T]:
        """Asks for leases and content of a default id: it tells where the content is. `large`: takes in a large one."""
        keys = self._session.of(artifact_id)
        return Filled(_both(keys, self._max_size), keys.slot, (artifact_id.encode(),), decode, large)

    def _guess(self, artifact_id: str) -> Plan[Found | None]:
        """Metadata and content of a default id."""
        return (yield from self._guessed(artifact_id, (yield from self._session.read(self._get(artifact_id, same)))))

    def _guessed(self, artifact_id: str, replies: list[Any]) -> Plan[Found | None]:
        """The same, of what came."""
        fields, sealed = replies
        if not fields:
            return None
        if type(sealed) is Hashed:
            sealed = sealed.header + sealed.payload
        lease = records.latest_of_few(fields)
        if lease is not None:
            return records.decode_view(artifact_id, *lease), sealed or None
        [view] = yield from self.describing.shared([artifact_id])
        return None if view is None else (view, sealed or None)

    def _look(self, artifact_id: str) -> Plan[Found | None]:
        """Metadata and content; no content where there is none under its own name."""
        keys = self._session.of(artifact_id)
        [loaded] = yield from self._session.read(calls.load(keys, [artifact_id.encode()], self.longest(INLINE), 0))
        if loaded is None:
            return None
        *parts, sealed = loaded
        view = records.decode_view(artifact_id, *parts)
        return view, sealed or (yield from self._session.read(self.get(view)))

    def _look_as(self, artifact_id: str, run_id: str) -> Plan[Found | None]:
        """Metadata as a run sees them, and content."""
        view = yield from self.describing.view(artifact_id, run_id)
        self.check_size_of(view)
        return None if view is None else (view, (yield from self._session.read(self.get(view))))

    def _opened(self, view: ArtifactMetadata, sealed: bytes) -> Plan[OpenedArtifact | None]:
        if is_manifest(sealed):
            if self._cache is None:
                return self.chunked(view, sealed, self._verify)
            yield from self._cache.missed()
            return self.chunked(view, sealed, self._verify, self._cache.fill)
        artifact = yield from self.artifact(view, sealed)
        return None if artifact is None else WholeArtifact(artifact)

    def artifact(self, view: ArtifactMetadata, sealed: bytes) -> Plan[Artifact | None]:
        """An artifact of what was found; `None` where content or chunks are missing."""
        if not sealed:
            return (yield from self.cached([view]))[0]
        if is_manifest(sealed):
            fill = None if self._cache is None else self._cache.fill
            chunked = self.chunked(view, sealed, self._verify_whole, fill)
            try:
                content = yield from chunked.load()
            finally:
                chunked.close()
            if content is None:
                return None
            if self._cache is not None:
                yield from self._cache.missed()
                self._cache.remember(_digest(view), content)
            return trusted(Artifact, metadata=view, content=content)
        artifact: Artifact
        if is_small(view, sealed):
            artifact = self.unsealed(view, sealed)
        else:
            artifact = yield Work(lambda: self.unsealed(view, sealed))
        if self._cache is not None:
            yield from self._cache.keep([Fetched(_digest(view), artifact.content, sealed)])
        return artifact

    def straight(self, view: ArtifactMetadata, digest: bytes, sealed: bytes | Hashed | None) -> Artifact | None:
        """An artifact as most are, straight; what anything else is, `unsealed` finds out. Only where no cache is."""
        content = unseal_usual(sealed, digest, self._verify, view.size_bytes)
        return None if content is None else filled(Artifact, {"metadata": view, "content": content})

    def unsealed(self, view: ArtifactMetadata, sealed: bytes | Hashed) -> Artifact:
        """An artifact whose content is no manifest.

        Raises:
            CorruptArtifactError: Something does not fit.
        """
        try:
            content = unseal(sealed, bytes.fromhex(view.digest or ""), self._verify_whole, view.size_bytes)
        except CorruptArtifactError as error:
            raise damaged(view, error) from None
        return filled(Artifact, {"metadata": view, "content": content})

    def check_size_of(self, view: ArtifactMetadata | None) -> None:
        """That an artifact is not too large to be given out."""
        if view is not None and self._max_size is not None:
            check_size(view.size_bytes, self._max_size, f"artifact {view.artifact_id}")


@lru_cache(maxsize=512)  # partitions
def _both(keys: Keys, max_size: int | None) -> IdForm:
    """Leases and content of an artifact."""
    leases = leases_of(keys.artifact(ANY_ID))
    content = keys.content(ANY_ID)
    if max_size is None:
        return IdForm(leases, (b"GET", content))
    return IdForm(leases, (b"GETRANGE", content, b"0", b"%d" % (max_size + HEADER.size)))


def _first_or_none(replies: Sequence[Any]) -> Any:
    return replies[0] or None


def damaged(view: ArtifactMetadata, error: CorruptArtifactError) -> CorruptArtifactError:
    """The same error, saying which artifact is damaged."""
    return CorruptArtifactError(f"artifact {view.artifact_id}: {error}")


def is_small(view: ArtifactMetadata, sealed: bytes) -> bool:
    """Whether the event loop may verify it."""
    return 1 < len(sealed) < _LONG_WORK and sealed[1] != MANIFEST and view.size_bytes < _LONG_WORK


def _whole(view: ArtifactMetadata, content: bytes) -> Artifact:
    if len(content) != view.size_bytes:
        raise CorruptArtifactError(
            f"artifact {view.artifact_id}: content of {len(content)} bytes, metadata says {view.size_bytes}"
        )
    return trusted(Artifact, metadata=view, content=content)


def content_id_of(view: ArtifactMetadata) -> bytes:
    """The name of its content in keys."""
    return (view.digest or "")[:ID_LENGTH].encode()


def _digest(view: ArtifactMetadata) -> bytes:
    return bytes.fromhex(view.digest or "")
