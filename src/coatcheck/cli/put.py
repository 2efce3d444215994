"""`put`: hand in files, directories and standard input."""

import glob
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from coatcheck import DEFAULT, ArtifactMetadata, ArtifactStore, artifact_ref
from coatcheck.trees import store_tree
from coatcheck.trees.finding import guess_type

from . import complete
from .failures import CommandError, say
from .output import printable, write_json
from .settings import Settings
from .transfer import transfer_bar
from .values import parse_extra, parse_tags, parse_ttl


def put(
    ctx: typer.Context,
    *,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Files, directories, globs, or - for standard input.")
    ],
    run: Annotated[str | None, complete.run_option("Who stores: a run, session or job.")] = None,
    ttl: Annotated[
        str | None, typer.Option(metavar="TTL", help="How long it is kept: 90, 90s, 15m, 2h, 7d, 1w, 1d12h or never.")
    ] = None,
    content_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Content type; left out: guessed by file name.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="K=V", help="A tag; may be repeated.")] = None,
    artifact_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="An id of your own instead of the content's hash.")
    ] = None,
    extra: Annotated[
        list[str] | None, typer.Option(metavar="K=JSON", help="Kept beside the tags, any JSON value; may be repeated.")
    ] = None,
    if_absent: Annotated[bool, typer.Option("--if-absent", help="Only if the id stands for nothing yet.")] = False,
    if_digest: Annotated[
        str | None, typer.Option(metavar="SHA256", help="Only if the id stands for that content.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print metadata, a line for each path.")] = False,
) -> None:
    """Store files or directories and print their tickets.

    Of several paths a ticket, a tab and the path are printed for each. A directory is stored as a tree: one ticket,
    names, permissions and links kept. The tag path says what the file or the directory was called, unless --tag path=…
    does.

    Exit code 1 if something could not be stored: FIFOs, devices, links that lead out of their directory; or if
    --if-absent or --if-digest did not hold: then nothing was.
    """
    given = [path for text in paths for path in _expand(text)]
    if artifact_id is not None and len(given) > 1:
        raise typer.BadParameter("one id cannot name many files", param_hint="--id")
    options: dict[str, Any] = {
        "run_id": run,
        "tags": parse_tags(tag or ()),
        "ttl": DEFAULT if ttl is None else parse_ttl(ttl),
        "artifact_id": artifact_id,
        "extra": parse_extra(extra or ()),
        "if_absent": if_absent,
        "if_digest": if_digest,
    }
    putting = _Putting(content_type, options)
    with Settings.of(ctx).open(make=True) as store:
        for path in given:
            try:
                view = putting.put(store, path)
            except OSError as error:
                if len(given) == 1:
                    raise
                putting.failed = True
                say(f"{error.filename or path}: {error.strerror or error}", "error")
                continue
            if as_json:
                write_json(view.to_dict())
            else:
                ticket = json.dumps(artifact_ref(view))
                sys.stdout.write(f"{ticket}\n" if len(given) == 1 else f"{ticket}\t{printable(path)}\n")
    if putting.failed:
        raise typer.Exit(1)


def _expand(text: str) -> list[str]:
    """The paths that a glob means, where no shell has looked; anything else is a path."""
    if text == "-" or os.path.lexists(text) or not glob.has_magic(text):
        return [text]
    found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern
    if not found:
        raise CommandError(f"{text}: no such file")
    return found


class _Putting:
    def __init__(self, content_type: str | None, options: dict[str, Any]) -> None:
        self._content_type = content_type
        self._options = options
        self.failed = False

    def put(self, store: ArtifactStore, text: str) -> ArtifactMetadata:
        with transfer_bar("storing") as move:
            if text == "-":
                kind = self._content_type or "application/octet-stream"
                return store.store_file(sys.stdin.buffer, content_type=kind, progress=move, **self._options)
            path = Path(text)
            if path.is_dir():
                return store_tree(
                    path,
                    store,
                    content_type=self._content_type,
                    skip=self._skipper(path),
                    progress=move,
                    **self._options,
                )
            with path.open("rb") as file:  # before anything is asked
                name = os.fsencode(path.absolute().name).decode("utf-8", "backslashreplace")
                options = {**self._options, "tags": {"path": name, **self._options["tags"]}}
                kind = self._content_type or guess_type(path.name)
                return store.store_file(file, content_type=kind, progress=move, **options)

    def _skipper(self, directory: Path) -> Any:
        def skip(path: str, reason: str) -> None:
            self.failed = True
            say(f"{directory / path} {reason}: not stored", "warning")

        return skip
