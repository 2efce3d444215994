"""Ids and runs as arguments, and what a shell offers for them: asked of the store, quickly or not at all."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any, Final

import typer

from .found import find_id, split_path
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, MutableMapping

    from coatcheck import ArtifactStore

ID: Final = 'An id, the beginning of one, or {"$artifact": "<id>"}.'
_MOST: Final = 50
_BREAKS: Final = ":=@"  # where bash takes words apart
_PATIENCE: Final = 1.0  # seconds for one exchange; nobody waits longer at a prompt


_begun = ""
"""What the last word begins with, where bash completes the rest of it alone."""


def put_together(environ: MutableMapping[str, str]) -> None:
    """Undo what bash does to words: it takes them apart, as `ID:PATH` and URLs, and replaces the last part."""
    global _begun  # noqa: PLW0603  # a process completes one word
    parts = environ["COMP_WORDS"].split("\n")[: int(environ["COMP_CWORD"]) + 1]
    words, joined = [""], False
    for part in parts:
        breaks = bool(part) and not part.strip(_BREAKS)
        if part and (breaks or joined):
            words[-1] += part
        else:
            words.append(part)
        joined = breaks
    last = words.pop()
    if last.startswith("--") and "=" in last:
        option, _, last = last.partition("=")
        words.append(option)
    left = "" if joined else parts[-1]
    _begun = last.removesuffix(left)
    environ.update(COMP_WORDS="\n".join([*words[1:], left]), COMP_CWORD=str(len(words) - 1))


def run_option(text: str) -> Any:
    """The option that names a run.

    Args:
        text: What its help says.
    """
    return typer.Option("--run", metavar="RUN", autocompletion=runs, help=text)


def id_argument(text: str = ID) -> Any:
    """The argument that names an artifact.

    Args:
        text: What its help says.
    """
    return typer.Argument(metavar="ID|TICKET", show_default=False, autocompletion=ids, help=text)


def part_argument(text: str) -> Any:
    """The argument that names an artifact, or a part of a tree.

    Args:
        text: What its help says.
    """
    return typer.Argument(metavar="ID|TICKET", show_default=False, autocompletion=ids_and_parts, help=text)


def ids(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    """Ids that begin so, with what they are."""
    return _asked(ctx, incomplete, _ids)


def ids_and_parts(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    """Ids that begin so, or behind a colon what a tree has."""
    return _asked(ctx, incomplete, _parts if ":" in _begun + incomplete else _ids)


def runs(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    """Runs that begin so."""
    return _asked(ctx, incomplete, lambda store, typed: ((run, "") for run in store.iter_runs(typed or None)))


def _ids(store: ArtifactStore, typed: str) -> Iterator[tuple[str, str]]:
    for view in store.page(id_prefix=typed or None, limit=_MOST).items:
        yield view.artifact_id, f"{view.content_type} {view.tags.get('path', '')}".strip()


def _parts(store: ArtifactStore, typed: str) -> Iterator[tuple[str, str]]:
    """Files and directories, a level at a time; further down where there is but one way."""
    from coatcheck.trees import open_tree  # noqa: PLC0415  # most complete something else

    ticket, path = split_path(typed)
    entries = open_tree(find_id(store, ticket), store).entries
    paths = [f"{entry.path}/" if entry.kind == "directory" else entry.path for entry in entries]
    found: list[str] = []
    while path is not None:
        begin = path
        below = [one for one in paths if one.startswith(begin) and (one != begin or not one.endswith("/"))]
        level = list(dict.fromkeys(begin + _step(one[len(begin) :]) for one in below))
        found = level or found
        path = level[0] if len(level) == 1 and level[0].endswith("/") else None
    yield from ((f"{ticket}:{one}", "") for one in found)


def _step(path: str) -> str:
    name, slash, _ = path.partition("/")
    return name + slash


def _asked(ctx: Any, incomplete: str, question: Any) -> list[tuple[str, str]]:
    """At most some answers; none if the store cannot be asked: a prompt is no place for errors."""
    try:
        with _open(ctx) as store:
            answers: Iterable[tuple[str, str]] = itertools.islice(question(store, _begun + incomplete), _MOST)
            return [(value[len(_begun) :], help_) for value, help_ in answers if value.isprintable()]
    except Exception:  # noqa: BLE001
        return []


def _open(ctx: Any) -> ArtifactStore:
    """The store that the options typed so far mean."""
    typed = {**ctx.find_root().params, **{name: value for name, value in ctx.params.items() if value is not None}}
    url = typed.get("url") or os.environ.get("COATCHECK_URL")
    has_server = (url or "").partition(":")[0] not in ("file", "memory")
    options: dict[str, Any] = {"timeout": _PATIENCE, "retry_for": 0} if has_server else {}
    return Settings(url, typed.get("namespace")).open(**options)
