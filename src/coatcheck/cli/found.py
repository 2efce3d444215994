"""Artifacts by what people type: an id, the beginning of one, or a ticket."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from coatcheck import InvalidArtifactError

from .values import parse_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coatcheck import ArtifactStore

SHORT: Final = 12
"""Characters of an id that tables show; any beginning that no other id has will do."""

_BEGINNING: Final = re.compile(r"[0-9a-f]{4,31}")
_DEFAULT: Final = re.compile(r"[0-9a-f]{32}")
_IN_TREE: Final = re.compile(r"(\s*\{[^{}]*\}|[^{:]*):(.*)", re.DOTALL)


def short_id(artifact_id: str) -> str:
    """An id as tables show it: of default ids the beginning."""
    return artifact_id[:SHORT] if _DEFAULT.fullmatch(artifact_id) else artifact_id


def find_id(store: ArtifactStore, text: str) -> str:
    """The id that is meant. Only default ids may be cut: no explicit id is taken for another that begins like it.

    Raises:
        InvalidArtifactError: It is no id and no ticket, or the beginning of several.
    """
    artifact_id = parse_id(text)
    if _BEGINNING.fullmatch(artifact_id) is None or store.get_metadata(artifact_id) is not None:
        return artifact_id
    beginning = store.iter_artifacts(id_prefix=artifact_id)
    found = {view.artifact_id for view in beginning if _DEFAULT.fullmatch(view.artifact_id)}
    if len(found) > 1:
        some = " and ".join(sorted(found)[:2])
        raise InvalidArtifactError(f"{len(found)} ids begin with {artifact_id}, as {some}: type more")
    return found.pop() if found else artifact_id


def split_path(text: str) -> tuple[str, str | None]:
    """`TICKET:PATH` taken apart. No id has a colon, and no ticket one behind its brace."""
    found = _IN_TREE.fullmatch(text)
    return (found[1], found[2]) if found else (text, None)


def find_ids(store: ArtifactStore, texts: Iterable[str]) -> list[str]:
    """`find_id` for each, without repetitions."""
    return list(dict.fromkeys(find_id(store, text) for text in texts))
