"""The manifest of a tree: its stored form (`docs/format.md`), and what a tree may not name."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ..errors import ArtifactDecodeError, CorruptArtifactError, InvalidArtifactError
from ..ids import REF_KEY, check_artifact_id

VERSION: Final = 1
MAX_MANIFEST: Final = 64 * 1024 * 1024
"""Bytes of a manifest: some 400,000 files."""

_KEY: Final = "$tree"
_MODE: Final = re.compile(r"[0-7]{3}")
_HOPS: Final = 256  # names on the way of a link: any file system gives up long before

Kind = Literal["file", "directory", "link"]


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """What a tree has under one path.

    Attributes:
        path: Relative to the tree, with `/`; names that are not UTF-8 as `os.fsdecode` gives them.
        kind: `"file"`, `"directory"` or `"link"`.
        mode: Permission bits, `0o777` at most; of a link 0.
        size: Bytes of a file.
        artifact_id: Of a file: the artifact that has its content.
        content_type: Of a file.
        target: Of a link: where it leads.
    """

    path: str
    kind: Kind
    mode: int = 0
    size: int = 0
    artifact_id: str = ""
    content_type: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of a tree but the contents.

    Attributes:
        mode: Permission bits of the directory itself.
        entries: By path; a directory comes before what it has.
    """

    mode: int
    entries: tuple[TreeEntry, ...]


def dump(manifest: Manifest) -> bytes:
    """The stored form. Equal trees have equal manifests.

    Raises:
        InvalidArtifactError: The tree is too large.
    """
    data = {_KEY: VERSION, "mode": f"{manifest.mode:03o}", "entries": [_plain(entry) for entry in manifest.entries]}
    content = json.dumps(data, separators=(",", ":")).encode()
    if len(content) > MAX_MANIFEST:
        raise InvalidArtifactError(
            f"{len(manifest.entries):,} files, directories and links are too many for one tree: store its parts"
        )
    return content


def parse(content: bytes, name: str) -> Manifest:
    """The manifest that was stored, checked: each path lies within the tree, and no link leads out of it.

    Args:
        content: The stored form.
        name: What errors call it.

    Raises:
        ArtifactDecodeError: It is no manifest, or one that nobody may restore.
        CorruptArtifactError: Its version is unknown.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or _KEY not in data:
        raise ArtifactDecodeError(f"{name} is no tree")
    if data[_KEY] != VERSION:
        raise CorruptArtifactError(
            f"{name} is a tree of version {data[_KEY]!r:.20}, which is unknown: upgrade coatcheck"
        )
    try:
        manifest = Manifest(_mode(data["mode"]), tuple(map(_entry, data["entries"])))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactDecodeError(f"{name} is no tree: {type(error).__name__} {error}") from None
    for entry, reason in refused(manifest.entries):
        raise ArtifactDecodeError(f"{name} is refused: {entry.path!r:.200} {reason}")
    return manifest


def refused(entries: Sequence[TreeEntry]) -> Iterable[tuple[TreeEntry, str]]:
    """Entries that could not be restored, or only outside the tree; with the reason."""
    kinds: dict[str, Kind] = {}
    links = {_folded(entry.path): entry.target for entry in entries if entry.kind == "link"}
    for entry in entries:
        parent, _, _ = entry.path.rpartition("/")
        if any(part in ("", ".", "..") for part in entry.path.split("/")) or "\0" in entry.path:
            yield entry, "is no path within a tree"
        elif entry.path in kinds:
            yield entry, "is there twice"
        elif parent and kinds.get(parent) != "directory":
            yield entry, "lies in no directory of the tree"
        elif entry.kind == "link" and (not entry.target or "\0" in entry.target):
            yield entry, "is a link that leads nowhere"
        elif entry.kind == "link" and _leads_out(parent, entry.target, links):
            yield entry, "is a link that leads out of the tree"
        kinds[entry.path] = entry.kind


def folded_twins(entries: Iterable[TreeEntry]) -> tuple[str, str] | None:
    """Two paths that a file system takes for one if it does not tell upper from lower case, or forms of Unicode."""
    seen: dict[str, str] = {}
    for entry in entries:
        other = seen.setdefault(_folded(entry.path), entry.path)
        if other != entry.path:
            return other, entry.path
    return None


def _folded(path: str) -> str:
    return path if path.isascii() and path.islower() else unicodedata.normalize("NFC", path).casefold()


def _leads_out(parent: str, target: str, links: Mapping[str, str]) -> bool:
    """Whether a link leads out of the tree, followed name by name as a file system does, links on the way included."""
    place = parent.split("/") if parent else []
    if target.startswith("/"):
        return True
    way = target.split("/")[::-1]
    for _ in range(_HOPS):
        if not way:
            return False
        name = way.pop()
        if name == "..":
            if not place:
                return True
            place.pop()
        elif name not in ("", "."):
            place.append(name)
            further = links.get(_folded("/".join(place)))
            if further is not None:
                if further.startswith("/"):
                    return True
                place.pop()
                way += further.split("/")[::-1]
    return True


def _plain(entry: TreeEntry) -> dict[str, Any]:
    plain = {"path": _text(entry.path), "kind": entry.kind}
    if entry.kind == "link":
        return {**plain, "target": _text(entry.target)}
    plain["mode"] = f"{entry.mode:03o}"
    if entry.kind == "directory":
        return plain
    return {**plain, REF_KEY: entry.artifact_id, "size": entry.size, "type": entry.content_type}


def _entry(plain: Any) -> TreeEntry:
    path, kind = _path(plain["path"]), plain["kind"]
    if kind == "link":
        return TreeEntry(path, kind, target=_path(plain["target"]))
    mode = _mode(plain["mode"])
    if kind == "directory":
        return TreeEntry(path, kind, mode)
    size, content_type = plain["size"], plain["type"]
    if kind != "file" or type(size) is not int or size < 0 or not isinstance(content_type, str):
        raise ValueError(f"in the entry {path!r:.200}")
    return TreeEntry(path, kind, mode, size, check_artifact_id(plain[REF_KEY]), content_type)


def _text(path: str) -> str | dict[str, str]:
    """A path as JSON has it: text, or the bytes of what is no UTF-8."""
    raw = os.fsencode(path)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def _path(plain: Any) -> str:
    if isinstance(plain, str):
        return os.fsdecode(plain.encode())
    try:
        return os.fsdecode(base64.b64decode(plain["base64"], validate=True))
    except binascii.Error:
        raise ValueError("in a name") from None


def _mode(text: Any) -> int:
    if _MODE.fullmatch(text) is None:
        raise ValueError(f"in the mode {text!r:.20}")
    return int(text, 8)
