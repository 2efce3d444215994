"""`serve`: the embedded engine, kept up."""

import os
import signal
import threading
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import typer

from coatcheck import InvalidArtifactError
from coatcheck.embedded import start_engine
from coatcheck.urls import local_place

from .settings import Settings

_LOOK_EVERY: Final = 1.0  # seconds


def serve(ctx: typer.Context) -> None:
    """Keep the embedded engine up until Ctrl-C.

    It prints two URLs. The first is for any Redis client, the second for coatcheck. Choose a directory with --url embedded:///directory.
    """
    directory = _directory(Settings.of(ctx).url or os.environ.get("COATCHECK_URL") or "embedded://")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with start_engine(directory) as engine:
        typer.echo(f"unix://{quote(str(engine.socket))}\nembedded://{quote(str(engine.directory))}")
        while not stop.wait(_LOOK_EVERY):
            engine.ensure()


def _directory(url: str) -> Path | None:
    scheme = url.partition("://")[0]
    if scheme != "embedded":
        raise InvalidArtifactError(
            f"serve is about the embedded engine, not a {urlsplit(url).scheme or 'plain'} URL: "
            "give --url embedded:///absolute/path"
        )
    return local_place(url, None)
