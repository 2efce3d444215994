"""Ids and runs as arguments, and what a shell offers for them: asked of the store, quickly or not at all."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any, Final

import typer

import coatcheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coatcheck import ArtifactStore

ID: Final = 'An id, the beginning of one, or {"$artifact": "<id>"}.'
_MOST: Final = 50
_PATIENCE: Final = 1.0  # seconds for one exchange; nobody waits longer at a prompt


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


def ids(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    """Ids that begin so, with what they are."""
    return _asked(
        ctx,
        lambda store: (
            (view.artifact_id, f"{view.content_type} {view.tags.get('path', '')}".strip())
            for view in store.page(id_prefix=incomplete or None, limit=_MOST).items
        ),
    )


def runs(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    """Runs that begin so."""
    return _asked(ctx, lambda store: ((run, "") for run in store.iter_runs(incomplete or None)))


def _asked(ctx: Any, question: Any) -> list[tuple[str, str]]:
    """At most some answers; none if the store cannot be asked: a prompt is no place for errors."""
    try:
        with _open(ctx) as store:
            answers: Iterator[tuple[str, str]] = question(store)
            return [(value, help_) for value, help_ in itertools.islice(answers, _MOST) if value.isprintable()]
    except Exception:  # noqa: BLE001
        return []


def _open(ctx: Any) -> ArtifactStore:
    """The store that the options typed so far mean."""
    typed = {**ctx.find_root().params, **{name: value for name, value in ctx.params.items() if value is not None}}
    url = typed.get("url") or os.environ.get("COATCHECK_URL")
    has_server = (url or "").partition(":")[0] not in ("file", "memory")
    options: dict[str, Any] = {"timeout": _PATIENCE, "retry_for": 0} if has_server else {}
    return coatcheck.open_store(url, namespace=typed.get("namespace"), **options)
