"""How artifacts are read: metadata and content in one round trip where the id tells where the content is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ...cache import Fetched
from ...envelope import is_manifest, unseal
from ...errors import CorruptArtifactError, StoreUnavailableError
from ...ids import ID_LENGTH
from ...model import Artifact, ArtifactMetadata
from ...plan import Plan, Work
from ..opened import OpenedArtifact, WholeArtifact
from .batching import PAGE, batches
from .core import INLINE, LONG_WORK, TRIES, Core
from .download import ChunkedArtifact, lost
from .layout import records
from .layout.manifest import Manifest
from .scripts import script as scripts
from .scripts.script import Command, Prepared, PreparedCall

T = TypeVar("T")
Finish = Callable[[ArtifactMetadata, bytes], Plan[T | None]]
"""Makes something of an artifact's metadata and sealed content; `None` where content or chunks are missing."""


class Loading(Core):
    """The operations that read artifacts."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        leases = (b"HRANDFIELD", None, b"%d" % records.FEW, b"WITHVALUES")
        content = (b"GET", None)
        self._get_leases = Prepared(leases)
        self._get_content = Prepared(content)
        self._get_both = Prepared(leases, content)

    def load_one(self, artifact_id: str) -> Plan[Artifact | None]:
        if self._cache is None or self._cache.lacks(artifact_id):
            return self._load_one(artifact_id, self._artifact)
        return self._load_through_cache(artifact_id)

    def load(self, ids: Sequence[str]) -> Plan[list[Artifact | None]]:
        views = yield from self.metadata(ids)
        results = yield from self._cached(views)
        present = [(i, view) for i, view in enumerate(views) if view is not None and results[i] is None]
        for batch in batches(present, PAGE, lambda item: item[1].size_bytes):
            contents = yield from self._contents([view for _, view in batch])
            for (i, view), sealed in zip(batch, contents, strict=True):
                if sealed is not None and self._cache is None and _is_small(view, sealed):
                    results[i] = self._unsealed(view, sealed)
                elif sealed is not None:
                    results[i] = yield from self._artifact(view, sealed)
                if results[i] is None:  # deleted meanwhile, or lost: look again
                    results[i] = yield from self._load_one(ids[i], self._artifact)
        return results

    def _load_through_cache(self, artifact_id: str) -> Plan[Artifact | None]:
        [view] = yield from self.metadata([artifact_id])
        [cached] = yield from self._cached([view])
        if view is None or cached is not None:
            return cached
        return (yield from self._load_one(artifact_id, self._artifact))

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

    def _contents(self, views: Sequence[ArtifactMetadata]) -> Plan[list[Any]]:
        """Sealed contents, `None` where there is none."""
        [contents] = yield from self.read(Command(b"MGET", *map(self._content_key, views)))
        found: list[Any] = contents
        return found

    def _content_key(self, view: ArtifactMetadata) -> bytes:
        assert view.digest is not None
        return self._keys.content(view.digest[:ID_LENGTH].encode())

    def _get(self, view: ArtifactMetadata) -> PreparedCall:
        return self._get_content.call(self._content_key(view))

    def _load_one(self, artifact_id: str, finish: Finish[T]) -> Plan[T | None]:
        incomplete = b""
        for attempt in range(TRIES):
            # Most likely a default id: the id tells where the content is.
            guess = attempt == 0 and len(artifact_id) == ID_LENGTH
            found = yield from (self._guess(artifact_id) if guess else self._look(artifact_id))
            if found is None:
                return None
            view, sealed = found
            if sealed and sealed == incomplete:  # nobody deleted or replaced it
                raise lost(artifact_id)
            finished = yield from finish(view, sealed or b"")
            if finished is not None:
                return finished
            incomplete = sealed or b""
        raise StoreUnavailableError(f"artifact {artifact_id} changed {TRIES} times while it was read; try again")

    def _guess(self, artifact_id: str) -> Plan[tuple[ArtifactMetadata, bytes | None] | None]:
        """Metadata and content, if the content is that of a default id."""
        name = artifact_id.encode()
        fields, sealed = yield from self.read(self._get_both.call(self._keys.artifact(name), self._keys.content(name)))
        if not fields:
            return None
        lease = records.latest_of_few(fields)
        view = (yield from self._ask(artifact_id)) if lease is None else records.decode_view(artifact_id, *lease)
        if view is None:
            return None
        assert view.digest is not None
        return view, sealed if view.digest.startswith(artifact_id) else None

    def _ask(self, artifact_id: str) -> Plan[ArtifactMetadata | None]:
        """Metadata where a look at the leases does not tell which one is the latest."""
        [[lease]] = yield from self.read(scripts.METADATA.call(self._artifact_keys([artifact_id]), ()))
        return None if lease is None else records.decode_view(artifact_id, *lease)

    def _look(self, artifact_id: str) -> Plan[tuple[ArtifactMetadata, bytes | None] | None]:
        """Metadata and content; no content where it vanished on the way."""
        name = artifact_id.encode()
        [found] = yield from self.read(
            scripts.LOAD.call([self._keys.artifact(name)], (self._keys.prefix, name, b"%d" % INLINE)),
        )
        if found is None:
            return None
        *parts, sealed, length = found
        view = records.decode_view(artifact_id, *parts)
        if length == 0:
            raise lost(artifact_id)
        if not sealed:
            [sealed] = yield from self.read(self._get(view))
        return view, sealed

    def open(self, artifact_id: str) -> Plan[OpenedArtifact | None]:
        return self._load_one(artifact_id, self._opened)

    def _opened(self, view: ArtifactMetadata, sealed: bytes) -> Plan[OpenedArtifact | None]:
        if is_manifest(sealed):
            return self.chunked(view, sealed)
        artifact = yield from self._artifact(view, sealed)
        return None if artifact is None else WholeArtifact(artifact)

    def chunked(self, view: ArtifactMetadata, sealed: bytes) -> ChunkedArtifact:
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
        return ChunkedArtifact(self, view, manifest, self._verify, lambda: self._load_one(view.artifact_id, current))

    def _artifact(self, view: ArtifactMetadata, sealed: bytes) -> Plan[Artifact | None]:
        if not sealed:
            return (yield from self._cached([view]))[0]
        if is_manifest(sealed):
            content = yield from self.chunked(view, sealed).load()
            if content is None:
                return None
            if self._cache is not None:
                self._cache.remember(_digest(view), content)
            return Artifact(metadata=view, content=content)
        artifact: Artifact
        if _is_small(view, sealed):
            artifact = self._unsealed(view, sealed)
        else:
            artifact = yield Work(lambda: self._unsealed(view, sealed))
        if self._cache is not None:
            yield from self._cache.keep([Fetched(_digest(view), artifact.content, sealed)])
        return artifact

    def _unsealed(self, view: ArtifactMetadata, sealed: bytes) -> Artifact:
        try:
            content = unseal(sealed, _digest(view), self._verify)
        except CorruptArtifactError as error:
            raise _damaged(view, error) from None
        return _whole(view, content)

    def metadata(self, ids: Sequence[str]) -> Plan[list[ArtifactMetadata | None]]:
        if len(ids) == 1:
            [fields] = yield from self.read(self._get_leases.call(*self._artifact_keys(ids)))
            if not fields:
                return [None]
            lease = records.latest_of_few(fields)
            return [(yield from self._ask(ids[0])) if lease is None else records.decode_view(ids[0], *lease)]
        replies = yield from self._paged(
            ids, self.read, lambda page: scripts.METADATA.call(self._artifact_keys(page), ())
        )
        return [
            None if view is None else records.decode_view(artifact_id, *view)
            for artifact_id, view in zip(ids, replies, strict=True)
        ]


def _damaged(view: ArtifactMetadata, error: CorruptArtifactError) -> CorruptArtifactError:
    """The same error, saying which artifact is damaged."""
    return CorruptArtifactError(f"artifact {view.artifact_id}: {error}")


def _is_small(view: ArtifactMetadata, sealed: bytes) -> bool:
    """Whether the event loop may verify it."""
    return len(sealed) < LONG_WORK and view.size_bytes < LONG_WORK and not is_manifest(sealed)


def _whole(view: ArtifactMetadata, content: bytes) -> Artifact:
    if len(content) != view.size_bytes:
        raise CorruptArtifactError(
            f"artifact {view.artifact_id}: content of {len(content)} bytes, metadata says {view.size_bytes}"
        )
    return Artifact(metadata=view, content=content)


def _digest(view: ArtifactMetadata) -> bytes:
    return bytes.fromhex(view.digest or "")
