"""AbstractRuntime's metadata in a coatcheck store: what of them is kept, and how they are made of it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

try:
    import abstractruntime.storage.artifacts as ar
except ImportError as error:
    raise ImportError(
        "AbstractRuntime is not installed: pip install --no-deps abstractruntime (artifact stores need none of what it "
        "depends on)"
    ) from error

import coatcheck

# Bound once: hosts replace these names by their own classes later.
Base: Any = ar.ArtifactStore
Theirs: Any = ar.InMemoryArtifactStore
Artifact: Any = ar.Artifact
_Metadata: Any = ar.ArtifactMetadata
compute_id: Any = ar.compute_artifact_id

PREFIX: Final = "ar-"
EXTRA: Final = "abstractruntime"
SESSION: Final = "session_id"  # the tag that AbstractRuntime takes an artifact's session from
SAID_SESSION: Final = " session_id"  # a session that the descriptor says and that tag does not: so an index finds it
HAS_DESCRIPTORS: Final = hasattr(ar, "ArtifactDescriptor")
_VERSION: Final = 1


class Change:
    """A change of tags and of what is kept beside them, as functions that may be asked again.

    Args:
        view: The artifact.
        change: Given one of their own stores and the artifact's id in it, makes the change there and returns it.
    """

    def __init__(self, view: coatcheck.ArtifactMetadata, change: Callable[[Any, str], Any]) -> None:
        self._view = view
        self._change = change
        self._old_tags = view.tags
        self.functions: dict[str, Any] = {"tags": self._tags, "extra": self._extra}

    def _tags(self, old: dict[str, str]) -> dict[str, str]:
        self._old_tags = old
        tags: dict[str, str] = kept_of(self._made(self._view.extra))["tags"]
        return tags

    def _extra(self, old: dict[str, Any]) -> dict[str, Any]:
        others = {name: value for name, value in old.items() if name != EXTRA}
        return {**others, **kept_of(self._made(old))["extra"]}

    def _made(self, extra: dict[str, Any]) -> Any:
        shown = shown_of(self._view.model_copy(update={"tags": self._old_tags, "extra": extra}))
        theirs = Theirs()
        theirs.store(b"", artifact_id=shown.artifact_id)
        vars(theirs.get_metadata(shown.artifact_id)).update(vars(shown))
        return self._change(theirs, shown.artifact_id)


def _derived(view: coatcheck.ArtifactMetadata) -> dict[str, Any]:
    """What AbstractRuntime's metadata are where nothing but what coatcheck knows was said."""
    return {
        "artifact_id": view.artifact_id.removeprefix(PREFIX),
        "blob_id": view.digest,
        "content_type": view.content_type,
        "size_bytes": view.size_bytes,
        "created_at": view.created_at,
        "run_id": view.run_id,
        "tags": {name: value for name, value in view.tags.items() if name != SAID_SESSION},
    }


def kept_of(made: Any) -> dict[str, Any]:
    """What of AbstractRuntime's metadata has to be kept, as keywords: `tags`, and `extra`, which is mostly empty."""
    if not HAS_DESCRIPTORS:
        return {"tags": made.tags, "extra": {}}
    said = made.to_dict()
    plain = _Metadata.from_dict({**said, "descriptor": None, "metadata": None, "access": None}).to_dict()
    kept = {name: said[name] for name in ("metadata", "access") if said[name] != plain[name]}
    own = {name: value for name, value in said["descriptor"].items() if value != plain["descriptor"][name]}
    if own:
        kept["descriptor"] = own
    session = said["descriptor"][SESSION]
    # No tag of AbstractRuntime's begins with a blank.
    found_by = {SAID_SESSION: session} if session and session != made.tags.get(SESSION) else {}
    return {"tags": {**made.tags, **found_by}, "extra": {EXTRA: {"version": _VERSION, **kept}} if kept else {}}


def says_descriptor(view: coatcheck.ArtifactMetadata) -> bool:
    """Whether a descriptor says more than follows from type, tags and run, as far as this version can tell."""
    kept = view.extra.get(EXTRA)
    return kept is not None and (kept["version"] != _VERSION or "descriptor" in kept)


def shown_of(view: coatcheck.ArtifactMetadata) -> Any:
    """An artifact's metadata as AbstractRuntime knows them."""
    data = _derived(view)
    kept = view.extra.get(EXTRA)
    if kept is None:
        return _Metadata.from_dict(data)
    if kept["version"] != _VERSION:
        raise coatcheck.CorruptArtifactError(
            f"artifact {view.artifact_id} has AbstractRuntime metadata of version {kept['version']}; this coatcheck "
            f"reads version {_VERSION}: upgrade it"
        )
    if "descriptor" in kept:
        descriptor = _Metadata.from_dict(data).to_dict()["descriptor"]
        data["descriptor"] = {**descriptor, **kept["descriptor"]}
    return _Metadata.from_dict({**data, "metadata": kept.get("metadata"), "access": kept.get("access")})
