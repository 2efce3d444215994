"""How artifacts are read: metadata and content in one round trip where the id tells where the content is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from ...arguments import check_size
from ...cache import ContentCache, Fetched
from ...envelope import HEADER, RAW, Hashed, Verify, is_manifest, unseal
from ...errors import CorruptArtifactError, StoreUnavailableError
from ...ids import ID_LENGTH, is_default_id
from ...manifest import Manifest
from ...model import Artifact, ArtifactMetadata, format_time, trusted
from ...plan import Plan, Work
from ...sources import Chunking
from ..opened import OpenedArtifact, WholeArtifact
from .arriving import taking_in
from .batching import LOADED, PAGE, ROUND, ask_about, batches, pages
from .download import ChunkedArtifact, lost
from .layout import records
from .layout.keys import Keys
from .scripts import calls
from .scripts.calls import Loaded
from .scripts.script import Call, Command, Filled, Form
from .session import Session
from .transport.base import MakeLarge

T = TypeVar("T")
Finish = Callable[[ArtifactMetadata, bytes], Plan[T | None]]
"""Makes something of an artifact's metadata and sealed content; `None` where content or chunks are missing."""

Found = tuple[ArtifactMetadata, bytes | None]
"""An artifact's metadata, and its sealed content as far as there is one under its name."""

_INLINE: Final = 64 * 1024  # bytes of content that a script returns; larger ones would be copied by Lua
_SMALL: Final = 16 * 1024  # the same for each of many
_LONG_WORK: Final = 256 * 1024  # from this many bytes on, hashing and decompression leave the event loop
_TRIES: Final = 5  # how often a plan starts over because others changed what it had just read

_LEASES: Final = (b"HRANDFIELD", None, b"%d" % records.FEW, b"WITHVALUES")
_CONTENT: Final = (b"GET", None)
_GET_LEASES: Final = Form(_LEASES)
_GET_OWN: Final = Form((b"HMGET", None, b"h", None), (b"TIME",))
_PART: Final = (b"GETRANGE", None, b"0")
_GET_LENGTH: Final = Form((b"STRLEN", None))
_GET_CONTENT: Final = Form(_CONTENT)
_GET_PART: Final = Form((*_PART, None))
_GET_BOTH: Final = Form(_LEASES, _CONTENT)
_COUNT: Final = Form((b"EXISTS", None, None))


class Reading:
    """The operations that read artifacts.

    Args:
        session: The namespace.
        verify: See `envelope.unseal`. What enters a cache is hashed in any case.
        cache: Contents that need not be fetched; `None`: always fetch them.
        max_size: Largest content that is given out, in bytes.
    """

    def __init__(self, session: Session, verify: Verify, cache: ContentCache | None, max_size: int | None) -> None:
        self.chunking = Chunking()
        self._session = session
        self._verify: Verify = verify
        self._verify_whole: Verify = verify if cache is None else "full"
        self._cache = cache
        self._max_size = max_size
        self._large = taking_in(verify) if cache is None else None  # a cache keeps it sealed
        self._get_both = _GET_BOTH if max_size is None else Form(_LEASES, (*_PART, b"%d" % (max_size + HEADER.size)))

    # Metadata --------------------------------------------------------------------------------------------------

    def metadata(self, ids: Sequence[str]) -> Plan[list[ArtifactMetadata | None]]:
        """See `Backend.metadata`."""
        if len(ids) == 1:
            keys, name = self._session.of(ids[0]), ids[0].encode()
            fields = yield from self._session.read(Filled(_GET_LEASES, keys.slot, (keys.artifact(name),), _first))
            if not fields:
                return [None]
            lease = records.latest_of_few(fields)
            if lease is not None:
                return [records.decode_view(ids[0], *lease)]
        items = [(self._session.of(artifact_id), artifact_id.encode()) for artifact_id in ids]
        views = yield from ask_about(self._session, items, calls.metadata)
        return [
            None if view is None else records.decode_view(artifact_id, *view)
            for artifact_id, view in zip(ids, views, strict=True)
        ]

    def view(self, artifact_id: str, run_id: str | None) -> Plan[ArtifactMetadata | None]:
        """See `Backend.view`."""
        if run_id is None:
            [view] = yield from self.metadata([artifact_id])
            return view
        keys, field = self._session.of(artifact_id), records.lease_field(run_id)
        (header, lease), (seconds, microseconds) = yield from self._session.read(
            Filled(_GET_OWN, keys.slot, (keys.artifact(artifact_id.encode()), field), _same)
        )
        if lease is None:
            return None
        view = records.decode_view(artifact_id, header, field, lease)
        now = format_time(int(seconds) * 1_000_000 + int(microseconds))
        return view if view.expires_at is None or view.expires_at > now else None

    def exists(self, ids: Sequence[str]) -> Plan[list[bool]]:
        """See `Backend.exists`."""
        if len(ids) == 1 and is_default_id(ids[0]):
            keys, name = self._session.of(ids[0]), ids[0].encode()
            both = Filled(_COUNT, keys.slot, (keys.artifact(name), keys.content(name)), _first)
            return [(yield from self._session.read(both)) == 2]
        contents: dict[str, bytes | None] = {i: i.encode() for i in ids if is_default_id(i)}
        explicit = [i for i in ids if i not in contents]
        for page in pages(explicit, ROUND):
            headers = yield from self._session.read_each(
                [
                    Command(keys.slot, (b"HGET", keys.artifact(i.encode()), b"h"), _same)
                    for i in page
                    for keys in (self._session.of(i),)
                ]
            )
            for i, header in zip(page, headers, strict=True):
                digest = None if header is None else records.decode_header(header, i).digest
                contents[i] = None if digest is None else records.content_id_of(digest)
        found: dict[str, bool] = dict.fromkeys(ids, False)
        there = [i for i in ids if contents[i] is not None]
        for page in pages(there, ROUND):
            counts = yield from self._session.read_each(
                [
                    Command(keys.slot, (b"EXISTS", keys.artifact(i.encode()), keys.content(contents[i] or b"")), _same)
                    for i in page
                    for keys in (self._session.of(i),)
                ]
            )
            found.update((i, count == 2) for i, count in zip(page, counts, strict=True))
        return [found[i] for i in ids]

    # Artifacts -------------------------------------------------------------------------------------------------

    def load_one(self, artifact_id: str, run_id: str | None) -> Plan[Artifact | None]:
        """See `Backend.load_one`."""
        if self._cache is not None and (run_id is not None or not self._cache.lacks(artifact_id)):
            return self._load_through_cache(artifact_id, run_id)
        if run_id is None and is_default_id(artifact_id):
            return self._load_small(artifact_id)
        return self._load_one(artifact_id, self._artifact, run_id)

    def load(self, ids: Sequence[str]) -> Plan[list[Artifact | None]]:
        """See `Backend.load`."""
        found = yield from self._look_each(ids)
        views = [None if one is None else one[0] for one in found]
        for view in views:
            self._check_size(view)
        results = yield from self._cached(views)
        for i, one in enumerate(found):
            if one is not None:
                view, sealed = one
                if sealed is not None and _is_small(view, sealed):
                    results[i] = self._unsealed(view, sealed)
                elif sealed is not None:
                    results[i] = yield from self._artifact(view, sealed)
        present = [(i, view) for i, view in enumerate(views) if view is not None and results[i] is None]
        for batch in batches(present, PAGE, lambda item: item[1].size_bytes):
            contents = yield from self._contents([view for _, view in batch])
            for (i, view), sealed in zip(batch, contents, strict=True):
                if sealed is not None:
                    results[i] = yield from self._artifact(view, sealed)
                if results[i] is None:  # deleted meanwhile, or lost: look again
                    results[i] = yield from self._load_one(ids[i], self._artifact)
        return results

    def open(self, artifact_id: str) -> Plan[OpenedArtifact | None]:
        """See `Backend.open`."""
        return self._load_one(artifact_id, self._opened)

    def chunked(self, view: ArtifactMetadata, sealed: bytes, verify: Verify) -> ChunkedArtifact:
        """A content by its manifest.

        Raises:
            CorruptArtifactError: The manifest is damaged.
        """

        def current(view: ArtifactMetadata, sealed: bytes) -> Plan[Manifest | None]:
            yield from ()
            return Manifest.unseal(sealed, _digest(view)) if is_manifest(sealed) else None

        try:
            manifest = Manifest.unseal(sealed, _digest(view))
        except CorruptArtifactError as error:
            raise _damaged(view, error) from None
        return ChunkedArtifact(
            self._session,
            self._session.of(view.artifact_id),
            view,
            manifest,
            verify,
            self.chunking.window,
            lambda: self._load_one(view.artifact_id, current),
        )

    def _load_small(self, artifact_id: str) -> Plan[Artifact | None]:
        """What most loads find: few leases, and a small content. Anything else goes on with what was found."""
        found = yield from self._guess(artifact_id, self._large)
        if found is None:
            return None
        view, sealed = found
        self._check_size(view)
        if isinstance(sealed, Hashed):
            if sealed.header[1] == RAW:
                return self._unsealed(view, sealed)
            found = view, sealed.header + sealed.payload
        elif sealed is not None and self._cache is None and _is_small(view, sealed):
            return self._unsealed(view, sealed)
        return (yield from self._load_one(artifact_id, self._artifact, found=found))

    def _load_through_cache(self, artifact_id: str, run_id: str | None) -> Plan[Artifact | None]:
        view = yield from self.view(artifact_id, run_id)
        self._check_size(view)
        [cached] = yield from self._cached([view])
        if view is None or cached is not None:
            return cached
        return (yield from self._load_one(artifact_id, self._artifact, run_id))

    def _cached(self, views: Sequence[ArtifactMetadata | None]) -> Plan[list[Artifact | None]]:
        """Artifacts that the server has just described and whose contents are in the cache."""
        if self._cache is None:
            return [None] * len(views)
        digests = [b"" if view is None else _digest(view) for view in views]
        contents = yield from self._cache.fetch(list({digest for digest in digests if digest}))
        return [
            _whole(view, contents[digest]) if view is not None and digest in contents else None
            for view, digest in zip(views, digests, strict=True)
        ]

    def _contents(self, views: Sequence[ArtifactMetadata]) -> Plan[list[bytes | None]]:
        """Sealed contents, `None` where there is none. No more is fetched than the metadata declare."""
        large = [view for view in views if view.size_bytes >= _INLINE]
        for view, length in zip(
            large, (yield from self._session.read_each(list(map(self._length, large)))), strict=True
        ):
            if length > view.size_bytes + HEADER.size:
                raise _damaged(view, CorruptArtifactError(f"{length} bytes are stored for {view.size_bytes}"))
        return (yield from self._session.read_each(list(map(self._get, views))))

    def _length(self, view: ArtifactMetadata) -> Filled[int]:
        keys = self._session.of(view.artifact_id)
        return Filled(_GET_LENGTH, keys.slot, (keys.content(_content_id(view)),), _first)

    def _get(self, view: ArtifactMetadata) -> Filled[bytes | None]:
        keys, name = self._session.of(view.artifact_id), _content_id(view)
        if view.size_bytes >= _INLINE and self._max_size is None:  # GET is faster then
            return Filled(_GET_CONTENT, keys.slot, (keys.content(name),), _first)
        most = b"%d" % (view.size_bytes + HEADER.size)
        return Filled(_GET_PART, keys.slot, (keys.content(name), most), _first_or_none)

    def _load_one(
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
            self._check_size(view)
            if before is not None and (view.digest, view.created_at, sealed) == before:
                raise lost(artifact_id)  # nobody deleted, replaced or stored it again
            finished = yield from finish(view, sealed or b"")
            if finished is not None:
                return finished
            before = view.digest, view.created_at, sealed
        raise StoreUnavailableError(f"artifact {artifact_id} changed {_TRIES} times while it was read; try again")

    def _guess(self, artifact_id: str, large: MakeLarge | None = None) -> Plan[tuple[ArtifactMetadata, Any] | None]:
        """Metadata and content of a default id: it tells where the content is. `large`: takes in a large one."""
        keys, name = self._session.of(artifact_id), artifact_id.encode()
        fields, sealed = yield from self._session.read(
            Filled(self._get_both, keys.slot, (keys.artifact(name), keys.content(name)), _same, large)
        )
        if not fields:
            return None
        lease = records.latest_of_few(fields)
        if lease is not None:
            return records.decode_view(artifact_id, *lease), sealed or None
        [view] = yield from self.metadata([artifact_id])
        return None if view is None else (view, sealed or None)

    def _look(self, artifact_id: str) -> Plan[Found | None]:
        """Metadata and content; no content where there is none under its own name."""
        keys = self._session.of(artifact_id)
        [loaded] = yield from self._session.read(calls.load(keys, [artifact_id.encode()], self._longest(_INLINE), 0))
        if loaded is None:
            return None
        *parts, sealed = loaded
        view = records.decode_view(artifact_id, *parts)
        return view, sealed or (yield from self._session.read(self._get(view)))

    def _longest(self, small: int) -> int:
        """How many bytes a sealed content may have to come along with the metadata."""
        return small if self._max_size is None else min(small, self._max_size + HEADER.size)

    def _look_each(self, ids: Sequence[str]) -> Plan[list[Found | None]]:
        """Metadata of many, with the small contents unless a cache may have them."""
        if self._cache is not None:
            return [None if view is None else (view, None) for view in (yield from self.metadata(ids))]

        def ask(keys: Keys, names: Sequence[bytes], budget: int) -> Call[list[Loaded]]:
            return calls.load(keys, names, longest, budget)

        longest = self._longest(_SMALL)
        items = [(self._session.of(artifact_id), artifact_id.encode()) for artifact_id in ids]
        answers = yield from ask_about(self._session, items, ask, LOADED)
        found: list[Found | None] = [None] * len(ids)
        for i, loaded in enumerate(answers):
            if loaded is not None:
                header, field, lease, sealed = loaded
                view = records.decode_view(ids[i], header, field, lease)
                found[i] = view, sealed or None
        return found

    def _look_as(self, artifact_id: str, run_id: str) -> Plan[Found | None]:
        """Metadata as a run sees them, and content."""
        view = yield from self.view(artifact_id, run_id)
        self._check_size(view)
        return None if view is None else (view, (yield from self._session.read(self._get(view))))

    def _opened(self, view: ArtifactMetadata, sealed: bytes) -> Plan[OpenedArtifact | None]:
        if is_manifest(sealed):
            return self.chunked(view, sealed, self._verify)
        artifact = yield from self._artifact(view, sealed)
        return None if artifact is None else WholeArtifact(artifact)

    def _artifact(self, view: ArtifactMetadata, sealed: bytes) -> Plan[Artifact | None]:
        if not sealed:
            return (yield from self._cached([view]))[0]
        if is_manifest(sealed):
            content = yield from self.chunked(view, sealed, self._verify_whole).load()
            if content is None:
                return None
            if self._cache is not None:
                self._cache.remember(_digest(view), content)
            return trusted(Artifact, metadata=view, content=content)
        artifact: Artifact
        if _is_small(view, sealed):
            artifact = self._unsealed(view, sealed)
        else:
            artifact = yield Work(lambda: self._unsealed(view, sealed))
        if self._cache is not None:
            yield from self._cache.keep([Fetched(_digest(view), artifact.content, sealed)])
        return artifact

    def _unsealed(self, view: ArtifactMetadata, sealed: bytes | Hashed) -> Artifact:
        try:
            content = unseal(sealed, _digest(view), self._verify_whole, view.size_bytes)
        except CorruptArtifactError as error:
            raise _damaged(view, error) from None
        return trusted(Artifact, metadata=view, content=content)

    def _check_size(self, view: ArtifactMetadata | None) -> None:
        if view is not None:
            check_size(view.size_bytes, self._max_size, f"artifact {view.artifact_id}")


def _first(replies: Sequence[Any]) -> Any:
    return replies[0]


def _first_or_none(replies: Sequence[Any]) -> Any:
    return replies[0] or None


def _same(reply: Any) -> Any:
    return reply


def _damaged(view: ArtifactMetadata, error: CorruptArtifactError) -> CorruptArtifactError:
    """The same error, saying which artifact is damaged."""
    return CorruptArtifactError(f"artifact {view.artifact_id}: {error}")


def _is_small(view: ArtifactMetadata, sealed: bytes) -> bool:
    """Whether the event loop may verify it."""
    return len(sealed) < _LONG_WORK and view.size_bytes < _LONG_WORK and not is_manifest(sealed)


def _whole(view: ArtifactMetadata, content: bytes) -> Artifact:
    if len(content) != view.size_bytes:
        raise CorruptArtifactError(
            f"artifact {view.artifact_id}: content of {len(content)} bytes, metadata says {view.size_bytes}"
        )
    return trusted(Artifact, metadata=view, content=content)


def _content_id(view: ArtifactMetadata) -> bytes:
    return (view.digest or "")[:ID_LENGTH].encode()


def _digest(view: ArtifactMetadata) -> bytes:
    return bytes.fromhex(view.digest or "")
