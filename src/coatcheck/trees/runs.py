"""Where trees come from: a manifest that was stored, or all that a run leases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ..asking import Ask, Store
from ..errors import ArtifactDecodeError, ArtifactNotFoundError
from ..ids import TREE_TYPE
from ..model import ArtifactMetadata
from ..plan import Plan
from ..refs import IdLike
from .manifest import MAX_MANIFEST, Manifest, TreeEntry, parse

_LONGEST: Final = 255  # bytes of a name, on any file system


def read_manifest(ref: IdLike, store: Store) -> Plan[tuple[str, Manifest]]:
    """What errors call a tree, and its manifest."""
    metadata: ArtifactMetadata = yield Ask(store, lambda store: store.get_metadata(ref, required=True))
    name = f"artifact {metadata.artifact_id}"
    if metadata.size_bytes > MAX_MANIFEST:
        raise ArtifactDecodeError(f"{name} is no tree: {metadata.size_bytes:,} bytes")
    artifact = yield Ask(store, lambda store: store.load(ref, required=True))
    return name, parse(artifact.content, name)


def read_run(run_id: str, store: Store) -> Plan[tuple[str, Manifest]]:
    """What errors call a run, and a manifest of all that it leases."""
    views: list[ArtifactMetadata] = yield Ask(store, lambda store: store.list_by_run(run_id))
    if not views:
        raise ArtifactNotFoundError(f"run {run_id!r:.200} leases nothing")
    names = _Names(views)
    entries: list[TreeEntry] = []
    in_trees: set[str] = set()
    for view in views:
        if view.content_type == TREE_TYPE:
            _, manifest = yield from read_manifest(view, store)
            in_trees |= {entry.artifact_id for entry in manifest.entries}
            entries += _below(names.of(view), manifest)
    for view in views:
        if view.content_type != TREE_TYPE and (view.artifact_id not in in_trees or "path" in view.tags):
            entries.append(
                TreeEntry(names.of(view), "file", 0o644, view.size_bytes, view.artifact_id, view.content_type)
            )
    return f"run {run_id!r:.200}", Manifest(0o755, (*_parents(entries), *entries))


class _Names:
    """A path for each artifact, unlike that of any other: none is another's, nor within another's."""

    def __init__(self, views: list[ArtifactMetadata]) -> None:
        self._names: dict[str, str] = {}
        taken: set[str] = {view.artifact_id for view in views}  # whose name is left for itself
        folders: set[str] = set()
        for view in views:
            path = view.tags.get("path", "")
            above = set(_above(path))
            fits = _is_path(path) and path not in taken | folders and not above & taken
            self._names[view.artifact_id] = path if fits else view.artifact_id
            if fits:
                taken.add(path)
                folders |= above

    def of(self, view: ArtifactMetadata) -> str:
        return self._names[view.artifact_id]


def _is_path(text: str) -> bool:
    try:
        return all(
            part not in ("", ".", "..") and "\0" not in part and len(part.encode()) <= _LONGEST
            for part in text.split("/")
        )
    except UnicodeEncodeError:
        return False


def _above(path: str) -> Iterable[str]:
    """The directories that a path lies in, outermost first."""
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def _below(name: str, manifest: Manifest) -> list[TreeEntry]:
    """A tree as a directory of another one."""
    top = TreeEntry(name, "directory", manifest.mode)
    return [top, *(replace(entry, path=f"{name}/{entry.path}") for entry in manifest.entries)]


def _parents(entries: list[TreeEntry]) -> list[TreeEntry]:
    known = {entry.path for entry in entries}
    missing = dict.fromkeys(path for entry in entries for path in _above(entry.path) if path not in known)
    return [TreeEntry(path, "directory", 0o755) for path in missing]
