"""What must hold, each as a function of its own. They hash and compare by themselves, whatever the store checked."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from coatcheck import Artifact, ArtifactError, ArtifactMetadata, compute_artifact_id

if TYPE_CHECKING:
    from .tickets import Message


class DemoError(ArtifactError):
    """The demonstration showed something wrong, or could not be held."""


def sha256(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def check_delivery(message: Message, artifact: Artifact | None) -> bytes:
    """The content behind a ticket, if it is what the producer read from disk.

    Raises:
        DemoError: There is nothing, or something else.
    """
    if artifact is None:
        raise DemoError(f"{message.name}: its ticket {message.ticket} leads to nothing")
    if len(artifact.content) != message.size or sha256(artifact.content) != message.sha256:
        raise DemoError(f"{message.name}: artifact {artifact.artifact_id} is not what the producer read from disk")
    return artifact.content


def summarize(name: str, content: bytes) -> dict[str, Any]:
    """What a consumer derives from a file: the same for the same file, whoever does it and however often."""
    return {
        "path": name,
        "artifact": compute_artifact_id(content),
        "sha256": sha256(content),
        "size": len(content),
        "lines": content.count(b"\n"),
    }


def check_file(name: str, on_disk: bytes, summary: Any, artifact: Artifact | None) -> None:
    """What became of one file, compared with the file itself.

    Raises:
        DemoError: Its summary or its artifact is wrong.
    """
    expected = summarize(name, on_disk)
    if summary != expected:
        got = summary if isinstance(summary, dict) else {}
        wrong = [key for key, value in expected.items() if got.get(key) != value]
        raise DemoError(f"{name}: its summary differs from the file on disk in {', '.join(wrong) or 'its keys'}")
    if artifact is None:
        raise DemoError(f"{name}: artifact {expected['artifact']} is gone")
    if artifact.content != on_disk:
        raise DemoError(f"{name}: artifact {artifact.artifact_id} is not what is on disk")


def one_summary_each(names: Collection[str], views: Iterable[ArtifactMetadata]) -> dict[str, str]:
    """The id of each file's only summary.

    Raises:
        DemoError: A file has none or several, or a summary no file.
    """
    found: dict[str, set[str]] = {}
    for view in views:
        found.setdefault(view.tags.get("path", ""), set()).add(view.artifact_id)
    for name in names:
        if len(found.get(name, ())) != 1:
            raise DemoError(f"{name} has {len(found.get(name, ()))} summaries instead of one")
    if len(found) != len(set(names)):
        raise DemoError(f"there are summaries of {len(found.keys() - set(names))} files that nobody handed in")
    return {name: artifact_id for name, [artifact_id] in found.items()}


def same(what: str, expected: Collection[str] | int, found: Collection[str] | int) -> None:
    """Two sets of ids, or two counts, which must be equal.

    Raises:
        DemoError: They are not.
    """
    if isinstance(expected, int) or isinstance(found, int):
        if expected != found:
            raise DemoError(f"{what}: {found} instead of {expected}")
        return
    missing, surplus = set(expected) - set(found), set(found) - set(expected)
    if missing or surplus:
        example = min(missing or surplus)
        raise DemoError(f"{what}: {len(missing)} missing, {len(surplus)} too many, for example {example}")
