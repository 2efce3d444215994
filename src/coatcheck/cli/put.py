"""`put`: hand in a file, a directory or standard input."""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from coatcheck import DEFAULT, ArtifactMetadata, ArtifactStore, Payload, artifact_ref
from coatcheck.ids import ID_LENGTH

from .failures import CommandError
from .files import BATCH_BYTES, LocalFile, batches, guess_type, open_regular, regular_files
from .output import printable, terminal, write_json
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
    Files that equal another one get an id of their own, so that each path is kept; their content is kept once.
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
            tree = _Tree(store, directory, files, content_type, options)
            for batch in batches(files):
                stored += tree.put(batch)
                advance(batch)
    finally:  # what was stored is said even if a later file fails
        if as_json:
            write_json([view.to_dict() for view in stored])
        else:
            sys.stdout.writelines(f"{_ticket(view)}\t{printable(view.tags['path'])}\n" for view in stored)


class _Tree:
    """Stores the files of a directory. One run's lease on an artifact has one path, so equal files need more ids."""

    def __init__(
        self,
        store: ArtifactStore,
        directory: Path,
        files: list[LocalFile],
        content_type: str | None,
        options: dict[str, Any],
    ) -> None:
        self._store = store
        self._directory = directory
        self._sizes = Counter(file.size for file in files)
        self._content_type = content_type
        self._options = options
        self._seen: set[str] = set()

    def put(self, batch: list[LocalFile]) -> list[ArtifactMetadata]:
        """Store some files: many that fit into memory together, or a larger one alone."""
        if batch[0].size <= BATCH_BYTES:
            return self._store.store_many(list(map(self._payload, batch)), **self._options)
        [file] = batch
        with open_regular(self._directory, file) as stream:
            own_id = None
            if self._sizes[file.size] > 1:  # else no other file can be equal
                own_id = self._own_id(hashlib.file_digest(stream, "sha256").hexdigest(), file)
                stream.seek(0)
            own = {"content_type": self._type(file), "tags": self._tags(file), "artifact_id": own_id}
            return [self._store.store_file(stream, **{**self._options, **own})]

    def _payload(self, file: LocalFile) -> Payload:
        with open_regular(self._directory, file) as stream:
            content = stream.read()
        own_id = self._own_id(hashlib.sha256(content).hexdigest(), file)
        return Payload(content, self._type(file), self._tags(file), own_id)

    def _own_id(self, digest: str, file: LocalFile) -> str | None:
        """None for the first file with this content; for others an id that is the same whenever they are put."""
        if digest not in self._seen:
            self._seen.add(digest)
            return None
        return f"{digest[:ID_LENGTH]}-{hashlib.sha256(file.name.encode()).hexdigest()[:16]}"

    def _type(self, file: LocalFile) -> str:
        return self._content_type or guess_type(file.path)

    def _tags(self, file: LocalFile) -> dict[str, str]:
        return {**self._options["tags"], "path": file.name}


def _ticket(view: ArtifactMetadata) -> str:
    return json.dumps(artifact_ref(view.artifact_id))


@contextmanager
def _progress(files: list[LocalFile]) -> Iterator[Callable[[list[LocalFile]], None]]:
    """A bar on stderr, if that is a terminal; yields the function that moves it on."""
    console = terminal()
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
