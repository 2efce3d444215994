"""AbstractRuntime: its artifacts lie in a coatcheck store, under the ids and metadata that its own stores give (≥ 0.4).

    from abstractruntime import Runtime
    from coatcheck.integrations.abstractruntime import RuntimeArtifactStore

    runtime = Runtime(run_store=…, ledger_store=…, artifact_store=RuntimeArtifactStore("redis://…"))

How its metadata are kept: `abstractruntime_metadata`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import coatcheck
from coatcheck import FileArtifactStore, InMemoryArtifactStore

from .abstractruntime_metadata import (
    HAS_DESCRIPTORS,
    PREFIX,
    SAID_SESSION,
    SESSION,
    Artifact,
    Base,
    Change,
    Theirs,
    compute_id,
    kept_of,
    says_descriptor,
    shown_of,
)
from .opening import LazyStore

_KINDS: Final = ("semantic_kind", "render_kind", "modality")
_HASH: Final = re.compile(r"[0-9a-f]{32}")
_PLACES: Final = (SESSION, "workflow_id", "node_id")
_SHARED: Final = "shared"  # a tag: for every session
_NAMES: Final = 2  # that an id may have in the store: see `_names`
_INDEXES: Final = {"index_tags": (SESSION, SAID_SESSION), "index_presence": (_SHARED,)}


class RuntimeArtifactStore(Base):  # type: ignore[misc]  # a class of whatever version is installed
    """AbstractRuntime's `ArtifactStore` over a coatcheck store.

    Ids, metadata and descriptors are those that AbstractRuntime's own stores give. So the id of a run's artifact names
    that run and its content, and nothing another run does changes what it shows; equal content is kept once all the
    same. What it adds: content is verified, stores are atomic and shared by any number of processes, TTLs.

    In the coatcheck store an artifact `x` has the id `ar-x`; ids without that prefix, as AbstractRuntime's own file
    store writes them, are read too.

    Args:
        store: A coatcheck store; or a URL, as `coatcheck.open_store` takes it; `None`: `$COATCHECK_URL`.
        **options: For `open_store`: `namespace`, `default_ttl`, … A Redis store that is opened here indexes sessions
            and what they share, unless `index_tags` and `index_presence` say otherwise.
    """

    def __init__(self, store: coatcheck.ArtifactStore | str | None = None, **options: Any) -> None:
        self._lazy = LazyStore(store, _INDEXES, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._lazy!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back connections; a store that was given stays open."""
        self._lazy.close()

    # Storing ----------------------------------------------------------------------------------------------------

    def store(
        self,
        content: bytes,
        *,
        content_type: str = "application/octet-stream",
        run_id: str | None = None,
        tags: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
        descriptor: Any = None,
        artifact_id: str | None = None,
    ) -> Any:
        """Store content under its id, which names the run too, or under one of the caller's.

        Raises:
            ValueError: The id is none, or it is the hash of other content.
        """
        described = {"metadata": metadata, "descriptor": descriptor} if HAS_DESCRIPTORS else {}
        run = _run(run_id)
        given = artifact_id is not None
        name = _checked(artifact_id) if given else compute_id(content, run_id=run)
        # Their own store says what the metadata are, for whatever version is installed.
        made = Theirs().store(
            content, content_type=content_type, run_id=run, tags=_tags(tags), artifact_id=name, **described
        )
        inner = self._lazy.get()
        keywords = {"content_type": content_type, "run_id": run, **kept_of(made)}
        if given and not _looks_like_a_hash(name):
            view = inner.store(content, artifact_id=PREFIX + name, **keywords)
        else:
            view = _store_once(inner, content, PREFIX + name, keywords)
        return shown_of(view)

    # Reading ----------------------------------------------------------------------------------------------------

    def load(self, artifact_id: str) -> Any:
        """The artifact with its verified content, or `None`."""
        found = self._first(artifact_id, self._lazy.get().load)
        return None if found is None else Artifact(metadata=shown_of(found.metadata), content=found.content)

    def get_metadata(self, artifact_id: str) -> Any:
        """The artifact without its content, or `None`."""
        view = self._first(artifact_id, self._lazy.get().get_metadata)
        return None if view is None else shown_of(view)

    def exists(self, artifact_id: str) -> bool:
        """Whether the artifact is there."""
        return bool(self._first(artifact_id, self._lazy.get().exists))

    def content_path(self, artifact_id: str) -> Path | None:
        """The file with the content, of a file store; `None`: there is no such file, use `load`."""
        inner = self._lazy.get()
        if not isinstance(inner, FileArtifactStore):
            _checked(artifact_id)
            return None
        path: Path | None = self._first(artifact_id, inner.content_path)
        return path

    _content_path = content_path  # the name by which AbstractRuntime's own client asks

    # Changing what is said of an artifact -----------------------------------------------------------------------

    def update_metadata(
        self,
        artifact_id: str,
        *,
        tags: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
        descriptor: Any = None,
        replace_tags: bool = False,
        replace_metadata: bool = False,
    ) -> Any:
        """Change what the latest store said of an artifact, as AbstractRuntime's own store does.

        Time, run and deadline stay. Nobody's change is lost: what was read is compared where it is written.

        Returns:
            The metadata now, or `None` where there is no such artifact.
        """
        changes = {
            "tags": tags,
            "metadata": metadata,
            "descriptor": descriptor,
            "replace_tags": replace_tags,
            "replace_metadata": replace_metadata,
        }
        return self._change(artifact_id, lambda theirs, name: theirs.update_metadata(name, **changes))

    def record_access(
        self,
        artifact_id: str,
        *,
        action: str = "access",
        actor_id: str | None = None,
        session_id: str | None = None,
        run_id: str | None = None,
        at: str | None = None,
    ) -> Any:
        """Count an access; the metadata now, or `None` where there is no such artifact. Reads count nothing."""
        access = {
            "action": action,
            "actor_id": actor_id,
            "session_id": session_id,
            "run_id": run_id,
            "at": at or datetime.now(UTC).isoformat(),
        }
        return self._change(artifact_id, lambda theirs, name: theirs.record_access(name, **access))

    def _change(self, artifact_id: str, change: Callable[[Any, str], Any]) -> Any:
        """Let their own store change metadata, and write what it made of them."""
        inner = self._lazy.get()
        while (view := self._first(artifact_id, inner.get_metadata)) is not None:
            changed = inner.update_metadata(view.artifact_id, run_id=view.run_id, **Change(view, change).functions)
            if changed is not None:  # else that lease has ended meanwhile, and another may be the latest
                return shown_of(changed)
        return None

    # Deleting ---------------------------------------------------------------------------------------------------

    def delete(self, artifact_id: str) -> bool:
        """Remove the artifact, and its content where nothing else needs it; whether there was one."""
        return any(self._lazy.get().delete_many(_names(artifact_id)))

    def delete_by_run(self, run_id: str) -> int:
        """Give up what a run stored; how many artifacts.

        Raises:
            ValueError: The run id is blank: it would mean no run, or every one.
        """
        run = _run(run_id)
        if run is None:
            raise ValueError(f"run_id is required to delete by run, not {run_id!r}")
        return self._lazy.get().delete_by_run(run)

    # Finding ----------------------------------------------------------------------------------------------------

    def list_by_run(self, run_id: str) -> list[Any]:
        """What a run stored, newest first."""
        run = _run(run_id)
        return [] if run is None else _shown(_unique(self._lazy.get().list_by_run(run)))

    def list_all(self, *, limit: int = 1000) -> list[Any]:
        """All artifacts, newest first; `limit <= 0`: all of them."""
        length = max(0, int(limit))
        return _shown(_unique(self._lazy.get().list_all(limit=_NAMES * length))[: length or None])

    def list_session_candidates(self, session_id: str, *, owner_run_id: str | None = None) -> list[Any]:
        """What a session may see, newest first: its owner's, what has its tag, what has the tag `shared`."""
        inner = self._lazy.get()
        session, owner = _text(session_id), _run(owner_run_id)
        found = [] if owner is None else inner.list_by_run(owner)
        if session:
            found += inner.search(tags={SESSION: session}, limit=0)
        return _shown(_sorted(_unique([*found, *inner.search(tags={_SHARED: coatcheck.ANY}, limit=0)])))

    def search(
        self,
        *,
        run_id: str | None = None,
        content_type: str | None = None,
        tags: Mapping[str, str] | None = None,
        semantic_kind: str | None = None,
        render_kind: str | None = None,
        modality: str | None = None,
        session_id: str | None = None,
        workflow_id: str | None = None,
        node_id: str | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        offset: int = 0,
        order: str = "desc",
        limit: int = 1000,
    ) -> list[Any]:
        """Artifacts whose metadata match all that is given; a blank filter is none, but a blank run stored nothing.

        Times are compared as instants (without a zone: UTC), and belong to the range.
        """
        wanted = dict(
            zip(
                (*_KINDS, *_PLACES),
                (semantic_kind, render_kind, modality, session_id, workflow_id, node_id),
                strict=True,
            )
        )
        described = {
            name: _text(value).lower() if name in _KINDS else _text(value)
            for name, value in wanted.items()
            if _text(value)
        }
        if run_id is not None and _run(run_id) is None:
            return []
        ascending = _text(order).lower() == "asc"
        start = max(0, int(offset or 0))
        stop = start + int(limit) if int(limit) > 0 else None
        filters: dict[str, Any] = {
            "run_id": _run(run_id),
            "content_type": _text(content_type) or None,
            "created_after": _text(created_after) or None,
            "created_before": _text(created_before) or None,
            "limit": 0 if described or stop is None else _NAMES * stop,
            "order": "asc" if ascending else "desc",
        }
        inner = self._lazy.get()
        found = _unique(
            view
            for asked in _asked(_tags(tags), described.get(SESSION))
            for view in inner.search(tags=asked, **filters)
        )
        if not described:
            return _shown(_sorted(found, ascending=ascending)[start:stop])
        places = {described[name] for name in _PLACES if name in described}
        shown = [shown_of(view) for view in found if _may_lie(view, places)]
        return _sorted((one for one in shown if _matches(one, described)), ascending=ascending)[start:stop]

    # Maintenance ------------------------------------------------------------------------------------------------

    def stats(self, *, facets: list[str] | None = None, **filters: Any) -> dict[str, Any]:
        """Count, bytes and facets of what matches."""
        source = "artifact_store_scan" if isinstance(self._lazy.get(), InMemoryArtifactStore) else "artifact_catalog"
        return {**super().stats(facets=facets, **filters), "source": source}

    def gc(self, *, dry_run: bool = True) -> dict[str, Any]:
        """Remove contents that nothing needs, safely beside stores; `dry_run`: only count them."""
        inner = self._lazy.get()
        report = inner.gc(dry_run=dry_run)
        orphans = [problem for problem in report.problems if problem.kind == "orphan-content"]
        referenced = inner.stats().contents
        return {
            "dry_run": dry_run,
            "blobs_total": referenced + sum(problem.count for problem in orphans),
            "blobs_referenced": referenced,
            "blobs_deleted": sum(problem.count if dry_run else problem.repaired for problem in orphans),
            "bytes_reclaimed": sum(problem.bytes for problem in orphans),
            "errors": [],
        }

    def _first(self, artifact_id: str, look: Callable[[str], Any]) -> Any:
        """What is found under the first of the names that an id has in the store."""
        found = None
        for name in _names(artifact_id):
            found = look(name)
            if found:
                break
        return found


def _run(run_id: Any) -> str | None:
    """A run id as it is; what is blank is none."""
    return None if run_id is None or not str(run_id).strip() else str(run_id)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _tags(tags: Any) -> dict[str, str]:
    """Tags as AbstractRuntime coerces them: stripped names, values as text, nothing that is `None` or has no name."""
    items = tags.items() if isinstance(tags, Mapping) else ()
    return {str(k).strip(): str(v) for k, v in items if k is not None and v is not None and str(k).strip()}


def _looks_like_a_hash(artifact_id: str) -> bool:
    return _HASH.fullmatch(artifact_id) is not None


def _checked(artifact_id: Any) -> str:
    coatcheck.validate_artifact_id(artifact_id)
    return str(artifact_id)


def _names(artifact_id: Any) -> list[str]:
    """The ids under which an artifact may lie in the store, ours first."""
    checked = _checked(artifact_id)
    return [PREFIX + checked] if checked.startswith(PREFIX) else [PREFIX + checked, checked]


def _store_once(inner: coatcheck.ArtifactStore, content: bytes, name: str, keywords: dict[str, Any]) -> Any:
    """Store what its id is the hash of: the id is never given other content."""
    digest = hashlib.sha256(content).hexdigest()
    condition: dict[str, Any] = {"if_absent": True}
    while True:
        try:
            return inner.store(content, artifact_id=name, **keywords, **condition)
        except coatcheck.ArtifactConflictError as conflict:
            there = conflict.metadata
            if there is not None and there.digest != digest:
                raise ValueError(
                    f"artifact_id {name.removeprefix(PREFIX)} is the hash of other content: choose another artifact_id"
                ) from None
            # What is there may be gone before it is renewed: then it is absent again.
            condition = {"if_absent": True} if there is None else {"if_digest": digest}


def _asked(tags: dict[str, str], session: str | None) -> list[dict[str, str] | None]:
    """The tags to look for, in turn: a session is said by one of two."""
    if session is None:
        return [tags or None]
    return [{**tags, name: session} for name in (SESSION, SAID_SESSION) if tags.get(name, session) == session]


def _unique(views: Iterable[coatcheck.ArtifactMetadata]) -> list[coatcheck.ArtifactMetadata]:
    """Each artifact once, in order; ours where an id has two names."""
    unique: dict[str, coatcheck.ArtifactMetadata] = {}
    for view in views:
        name = view.artifact_id.removeprefix(PREFIX)
        if name not in unique or view.artifact_id != name:
            unique[name] = view
    return list(unique.values())


def _shown(views: Iterable[coatcheck.ArtifactMetadata]) -> list[Any]:
    return [shown_of(view) for view in views]


def _sorted(found: Iterable[Any], *, ascending: bool = False) -> list[Any]:
    """By time, then by id: views, or what is shown of them."""
    return sorted(found, key=lambda one: (one.created_at, one.artifact_id.removeprefix(PREFIX)), reverse=not ascending)


def _may_lie(view: coatcheck.ArtifactMetadata, places: set[str]) -> bool:
    """Whether an artifact can be of a session, workflow or node: its tags say so, or its descriptor may.

    Cheap, and asked of all; what AbstractRuntime says of an artifact takes longer to find out.
    """
    return says_descriptor(view) or places <= {tag.strip() for tag in view.tags.values()}


def _matches(shown: Any, described: Mapping[str, str]) -> bool:
    return all((_text(getattr(shown.descriptor, name)) == value) for name, value in described.items())
