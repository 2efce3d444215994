"""`put`: hand in a file, a directory or standard input."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from coatcheck import DEFAULT, ArtifactMetadata, ArtifactStore, Payload, artifact_ref

from .failures import CommandError
from .files import BATCH_BYTES, LocalFile, batches, guess_type, regular_files
from .output import printable, write_json
from .settings import Settings
from .transfer import transfer_bar
from .values import parse_tags, parse_ttl


def put(
    ctx: typer.Context,
    *,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file, a directory, or - for standard input.")],
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Who stores: a run, session or job.")] = None,
    ttl: Annotated[
        str | None, typer.Option(metavar="TTL", help="How long it is kept: 90, 90s, 15m, 2h, 7d or never.")
    ] = None,
    content_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Content type; left out: guessed by file name.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="K=V", help="A tag; may be repeated.")] = None,
    artifact_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="An id of your own instead of the content's hash.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print metadata, for a directory a list.")] = False,
) -> None:
    """Store and print the ticket.

    Of a directory every regular file is stored, with the tag path; printed are a ticket, a tab and the path for each.
    """
    settings, source = Settings.of(ctx), Path(path)
    options: dict[str, Any] = {
        "run_id": run,
        "tags": parse_tags(tag or ()),
        "ttl": DEFAULT if ttl is None else parse_ttl(ttl),
    }
    if path != "-" and source.is_dir():
        if artifact_id is not None:
            raise typer.BadParameter("one id cannot name the many files of a directory", param_hint="--id")
        _put_tree(settings, source, content_type, options, as_json=as_json)
        return
    options["content_type"] = content_type or ("application/octet-stream" if path == "-" else guess_type(source))
    opening = nullcontext(sys.stdin.buffer) if path == "-" else source.open("rb")
    with opening as file, settings.open() as store, transfer_bar("storing") as move:
        view = store.store_file(file, artifact_id=artifact_id, progress=move, **options)
    if as_json:
        write_json(view.to_dict())
    else:
        sys.stdout.write(f"{_ticket(view)}\n")


def _put_tree(
    settings: Settings, directory: Path, content_type: str | None, options: dict[str, Any], *, as_json: bool
) -> None:
    files = list(regular_files(directory))
    if not files:
        raise CommandError(f"no regular file in {directory}")
    stored: list[ArtifactMetadata] = []
    try:
        with settings.open() as store, _progress(files) as advance:
            for batch in batches(files):
                stored += _put_batch(store, batch, content_type, options)
                advance(batch)
    finally:  # what was stored is said even if a later file fails
        if as_json:
            write_json([view.to_dict() for view in stored])
        else:
            sys.stdout.writelines(f"{_ticket(view)}\t{printable(view.tags['path'])}\n" for view in stored)


def _put_batch(
    store: ArtifactStore, batch: list[LocalFile], content_type: str | None, options: dict[str, Any]
) -> list[ArtifactMetadata]:
    first = batch[0]
    if first.size <= BATCH_BYTES:
        return store.store_many([_payload(file, content_type, options["tags"]) for file in batch], **options)
    own = {"content_type": content_type or guess_type(first.path), "tags": {**options["tags"], "path": first.name}}
    return [store.store_file(first.path, **{**options, **own})]  # so large a file is a batch of its own


def _payload(file: LocalFile, content_type: str | None, tags: dict[str, str]) -> Payload:
    return Payload(file.path.read_bytes(), content_type or guess_type(file.path), {**tags, "path": file.name})


def _ticket(view: ArtifactMetadata) -> str:
    return json.dumps(artifact_ref(view.artifact_id))


@contextmanager
def _progress(files: list[LocalFile]) -> Iterator[Callable[[list[LocalFile]], None]]:
    """A bar on stderr, if that is a terminal; yields the function that moves it on."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (BarColumn(), DownloadColumn(), TextColumn("{task.fields[files]:,} files"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=sum(file.size for file in files), files=0)
        done = 0

        def advance(batch: list[LocalFile]) -> None:
            nonlocal done
            done += len(batch)
            bar.update(task, advance=sum(file.size for file in batch), files=done)

        yield advance
