"""`get`: the content behind a ticket, a tree or one file of it, or all that a run leases."""

from __future__ import annotations

import codecs
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import typer

from coatcheck.ids import TREE_TYPE

from . import complete
from .failures import CommandError
from .found import find_id, split_path
from .output import is_printable
from .settings import Settings
from .target import check_target, write_file
from .transfer import copy, transfer_bar

if TYPE_CHECKING:
    from coatcheck import ArtifactReader, ArtifactStore
    from coatcheck.trees import Tree

_PIECE: Final = 1024 * 1024
_LAYOUT: Final = str.maketrans("", "", "\t\n\xa0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))))
"""Drops tabs, line ends and spaces of all widths, which text may have beside what is printable."""


def get(
    ctx: typer.Context,
    *,
    ticket: Annotated[
        str | None,
        complete.part_argument(f"{complete.ID} ID:PATH is a file or a directory of a tree."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="PATH", help="The file, or the new directory, to write; - is standard output."
        ),
    ] = None,
    run: Annotated[str | None, complete.run_option("Everything that this run leases.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file; its permissions stay.")] = False,
) -> None:
    """Write a content, a tree or a part of it, or all of a run.

    A content or a file goes to standard output or to a file, a directory or all that a run leases to a new directory.

    A terminal is given plain UTF-8 text only, without control or hidden characters; with -o - it is given anything.
    """
    if (ticket is None) == (run is None):
        raise typer.BadParameter("name an artifact, or a run by --run", param_hint="ID|TICKET")
    target = None if output in (None, "-") else Path(output or "")
    if run is not None and target is None:
        raise typer.BadParameter("name the new directory: a run has many files", param_hint="-o")
    if ticket is not None and target is not None:
        check_target(target, force=force)
    with Settings.of(ctx).open() as store:
        if run is not None and target is not None:
            from coatcheck.trees import open_run  # noqa: PLC0415  # a file needs none of it

            _restore(open_run(run, store), target)
        else:
            _get(store, ticket or "", target, force=force, raw=output == "-")


def _get(store: ArtifactStore, text: str, target: Path | None, *, force: bool, raw: bool) -> None:
    ticket, path = split_path(text)
    artifact_id = find_id(store, ticket)
    if path is not None:
        _get_part(_open_tree(artifact_id, store), path, target, force=force, raw=raw)
        return
    reader = store.open(artifact_id)
    if reader is None:
        raise CommandError(f"no artifact {artifact_id}")
    with reader:
        if reader.metadata.content_type != TREE_TYPE or raw:
            _write(reader, target, force=force, raw=raw)
        elif target is None:
            raise CommandError(f"{artifact_id} is a directory: name a new one by -o, or a part of it behind a colon")
        else:
            _restore(_open_tree(artifact_id, store), target)


def _open_tree(artifact_id: str, store: ArtifactStore) -> Tree:
    from coatcheck.trees import open_tree  # noqa: PLC0415  # a file of its own needs none of it

    return open_tree(artifact_id, store)


def _get_part(tree: Tree, path: str, target: Path | None, *, force: bool, raw: bool) -> None:
    folder = path.removesuffix("/")
    if not any(entry.path == folder and entry.kind == "directory" for entry in tree.entries):
        with tree.open(path) as reader:
            _write(reader, target, force=force, raw=raw)
    elif target is None:
        raise CommandError(f"{path} is a directory: name a new one by -o")
    else:
        _restore(tree.part(folder), target)


def _restore(tree: Tree, target: Path) -> None:
    with transfer_bar("getting") as move:
        tree.restore(target, progress=move)


def _write(reader: ArtifactReader, target: Path | None, *, force: bool, raw: bool) -> None:
    if target is not None:
        write_file(target, lambda file: _write_stream(file, reader), force=force)
        return
    to_terminal = sys.stdout.isatty()
    if not raw and to_terminal and not is_plain_text(reader):
        raise CommandError(
            f"artifact {reader.metadata.artifact_id} is not plain text: "
            "write it to a file with -o FILE, or to the terminal with -o -"
        )
    _write_stream(sys.stdout.buffer, reader, quiet=to_terminal)


def is_plain_text(reader: ArtifactReader) -> bool:
    """Look at everything, and go back to the start."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    text = ""
    try:
        while piece := reader.read(_PIECE):
            text = (text[-1:] if text.endswith("\r") else "") + decoder.decode(piece)
            # A CR within a line hides what was before it.
            if not is_printable(text.replace("\r\n", "\n").removesuffix("\r").translate(_LAYOUT)):
                return False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    reader.seek(0)
    return not text.endswith("\r")


def _write_stream(stream: BinaryIO, reader: ArtifactReader, *, quiet: bool = False) -> None:
    with nullcontext(_unseen) if quiet else transfer_bar("getting") as move:
        copy(reader, stream, move)
        stream.flush()


def _unseen(_done: int, _total: int | None) -> None:
    pass
