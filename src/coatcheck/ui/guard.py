"""Who may ask, and what browsers may do with the answer."""

from __future__ import annotations

import base64
import binascii
import logging
import re
import secrets
from collections.abc import Collection
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response

from coatcheck.errors import InvalidArtifactError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log: Final = logging.getLogger(__name__)

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")

_LABEL: Final = "[A-Za-z0-9_-]{1,63}"
_AUTHORITY: Final = re.compile(rf"(\[[0-9A-Fa-f:.]+\]|{_LABEL}(\.{_LABEL})*\.?)(:[0-9]{{1,5}})?")

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # not "no-referrer": forms would come without their origin
    "Cache-Control": "no-store",
}


class Guard:
    """Middleware around the application.

    Args:
        application: What it guards.
        hosts: Host names that it answers to.
        token: What visitors have to give; `None`: nothing.

    Raises:
        InvalidArtifactError: A host name is none, or the token is empty.
    """

    def __init__(self, application: ASGIApp, *, hosts: Collection[str], token: str | None) -> None:
        if token is not None and not token:
            raise InvalidArtifactError("an empty token would let everybody in: give one, or None")
        if isinstance(hosts, str):
            raise InvalidArtifactError(f"hosts is a list of names: write [{hosts!r}]")
        self._application = application
        self._hosts = frozenset(map(allowed, hosts))
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        unheard = False

        async def send_guarded(message: Message) -> None:
            nonlocal unheard
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                try:
                    await send(message)
                except Exception as error:  # noqa: BLE001  # no failure of ours: servers differ in what they raise
                    # Whoever asked broke the rules of HTTP meanwhile, and got the server's own answer.
                    unheard = True
                    _log.warning("%s %r was not answered: %s", scope["method"], scope["path"], error)
            elif not unheard:
                await send(message)

        refusal = self._refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        await (refusal or self._application)(scope, receive, send_guarded)

    def _refusal(self, headers: Headers) -> Response | None:
        host = host_of(headers.get("host", ""))
        if host not in self._hosts:
            return PlainTextResponse(
                f"This page does not answer to the host name {host!r}. Whoever runs it allows names with hosts=… "
                "or --allow-host.\n",
                421,
            )
        if self._token is not None and not secrets.compare_digest(_given(headers), self._token.encode()):
            challenge = {"WWW-Authenticate": 'Basic realm="coatcheck", charset="UTF-8"'}
            return PlainTextResponse("The token is missing or wrong: give it as password.\n", 401, challenge)
        return None


def host_of(authority: str) -> str:
    """The host name in `host:port` or `[v6]:port`, in lower case."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].rstrip(".").lower()


def allowed(host: str) -> str:
    """A host name as `host_of` will find it in requests.

    Args:
        host: A name or an address; a port does not matter, and an IPv6 address that stands alone needs no brackets.

    Raises:
        InvalidArtifactError: No request could name it.
    """
    try:
        if not _AUTHORITY.fullmatch(host):
            return str(ip_address(host))
        name = host_of(host)
        return str(ip_address(name)) if host.startswith("[") else name
    except ValueError:
        raise InvalidArtifactError(
            f"{host!r:.100} cannot be allowed as a host: write a name or an address, as store.example.org or "
            "[::1]:8765; letters beyond ASCII as browsers send them, xn--…"
        ) from None


def _given(headers: Headers) -> bytes:
    """The token that a request carries; empty if none."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip().encode("latin-1")  # as it came
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).partition(b":")[2]
        except binascii.Error:
            pass
    return b""
