"""`ui`: the page, in a browser."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coatcheck import InvalidArtifactError, aopen_store
from coatcheck.backends.redis.transport.connect import URL_VARIABLE, hide_password

from .failures import CommandError
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def ui(
    ctx: typer.Context,
    *,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0: any that is free.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="SECRET",
            envvar="COATCHECK_UI_TOKEN",
            show_envvar=True,
            help="Asked for as password; needed where others can connect.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Host name under which browsers reach it; may be repeated."),
    ] = None,
    allow_delete: Annotated[
        bool, typer.Option("--allow-delete", help="Offer to give up leases and to delete.")
    ] = False,
) -> None:
    """Look at the store in a browser, until Ctrl-C."""
    if not _is_loopback(host) and not token:
        raise InvalidArtifactError(f"others can connect to {host}: choose a --token, which they will be asked for")
    names = [*([] if _is_wildcard(host) else [host]), *(allow_host or ())]
    if not names:
        raise InvalidArtifactError(f"{host} is every address of this machine: say by --allow-host which name is used")
    Settings.of(ctx).check()
    with suppress(KeyboardInterrupt), _listen(host, port) as listener:
        asyncio.run(_serve(Settings.of(ctx), listener, names, token, allow_delete=allow_delete))


async def _serve(
    settings: Settings,
    listener: socket.socket,
    names: Sequence[str],
    token: str | None,
    *,
    allow_delete: bool,
) -> None:
    try:
        import uvicorn  # noqa: PLC0415  # an extra

        from coatcheck.ui import app  # noqa: PLC0415
        from coatcheck.ui.guard import allowed  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("uvicorn", "starlette", "jinja2"):
            raise
        raise CommandError(f"the page needs {error.name}: pip install 'coatcheck[ui]'") from None
    names = list(map(allowed, names))  # before a store is opened
    async with await aopen_store(settings.url, namespace=settings.namespace) as store:
        page = app(store, name=_name(settings), hosts=[*_LOOPBACK, *names], token=token, allow_delete=allow_delete)
        server = uvicorn.Server(
            uvicorn.Config(
                page,
                lifespan="off",
                ws="none",
                access_log=False,
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=2,
            )
        )
        shown = f"[{names[-1]}]" if ":" in names[-1] else names[-1]
        typer.echo(f"http://{shown}:{listener.getsockname()[1]}/")
        await server.serve(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()  # so that who reads the address can connect
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise CommandError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_wildcard(host: str) -> bool:
    return host in ("", "0.0.0.0", "::")  # noqa: S104  # it is asked, not bound


def _name(settings: Settings) -> str:
    url = settings.url or os.environ.get(URL_VARIABLE) or "embedded://"
    return hide_password(url) + (f" · {settings.namespace}" if settings.namespace else "")
