"""`exporter`: figures of the store for Prometheus."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from typing import Annotated

import typer

from coatcheck import InvalidArtifactError, MissingExtraError

from .failures import CommandError
from .settings import Settings
from .values import parse_ttl


def exporter(
    ctx: typer.Context,
    *,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0: any that is free.")] = 9765,
    every: Annotated[
        str,
        typer.Option(metavar="TIME", help="Figures are read no more often than this: 90s, 15m. Reads all metadata."),
    ] = "60s",
    sizes: Annotated[
        bool, typer.Option("--sizes", help="Also how large artifacts are; reads all metadata once more.")
    ] = False,
) -> None:
    """Serve figures to Prometheus, until Ctrl-C.

    They are of the store, and of its servers.
    """
    seconds = parse_ttl(every)
    if seconds is None:
        raise InvalidArtifactError("figures that are never read are none: give --every a time")
    settings = Settings.of(ctx)
    try:
        from prometheus_client import CollectorRegistry  # noqa: PLC0415  # an extra

        from coatcheck.watching.exporter import StoreCollector, served  # noqa: PLC0415
    except (ModuleNotFoundError, MissingExtraError):
        raise CommandError("the exporter needs prometheus-client: pip install 'coatcheck[prometheus]'") from None
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with settings.open() as store, ExitStack() as closing:
        registry = CollectorRegistry()
        registry.register(
            StoreCollector(store, namespace=settings.namespace or "coatcheck", every=seconds, sizes=sizes)
        )
        try:
            found = closing.enter_context(served(registry, host, port))
        except OSError as error:
            raise CommandError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
        shown = f"[{host}]" if ":" in host else host
        typer.echo(f"http://{shown}:{found}/metrics")
        stop.wait()
