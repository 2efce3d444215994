"""The pages that change something: first the question, then the deed, for a form that only such a page can send."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from .links import Links
from .render import page

if TYPE_CHECKING:
    from starlette.requests import Request

    from .lookup import Lookup

_COOKIE: Final = "coatcheck-csrf"
_LONGEST: Final = 4096  # bytes of a form


class Changes:
    """The routes that give up and delete.

    Args:
        lookup: The store.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def delete(self, request: Request) -> Response:
        """Delete an artifact for every run."""
        artifact_id = request.path_params["id"]
        leases = await self._lookup.leases(artifact_id)
        runs = "1 lease" if len(leases) == 1 else f"{len(leases):,} leases"
        to = Links.of(request)
        return await _confirmed(
            request,
            lambda: self._lookup.delete(artifact_id),
            title="Delete this artifact?",
            what=artifact_id,
            consequence=f"It goes for every run: {runs} on it end, and every ticket for it is void.",
            verb="Delete",
            back=to.artifact(artifact_id),
            onwards=to.artifacts(done="deleted"),
        )

    async def release(self, request: Request) -> Response:
        """Give up one run's lease."""
        artifact_id, run = request.path_params["id"], request.query_params.get("run") or None
        others = sum(lease.run_id != run for lease in await self._lookup.leases(artifact_id))
        stays = "Other runs still lease it, so it stays." if others else "It is the last lease: the artifact goes too."
        to = Links.of(request)
        return await _confirmed(
            request,
            lambda: self._lookup.release(artifact_id, run),
            title="Give up this lease?",
            what=f"{artifact_id}, leased by {run or 'nobody in particular'}",
            consequence=stays,
            verb="Give up",
            back=to.artifact(artifact_id),
            onwards=to.artifact(artifact_id, done="released") if others else to.artifacts(done="released"),
        )

    async def release_run(self, request: Request) -> Response:
        """Give up all leases of a run."""
        run = request.query_params.get("run", "")
        to = Links.of(request)
        return await _confirmed(
            request,
            lambda: self._lookup.release_run(run),
            title="Give up everything this run leases?",
            what=run,
            consequence="What no other run leases goes with it.",
            verb="Give up",
            back=to.artifacts(run=run),
            onwards=to.runs(done="released-run"),
        )


async def _confirmed(
    request: Request,
    change: Callable[[], Awaitable[object]],
    *,
    title: str,
    what: str,
    consequence: str,
    verb: str,
    back: str,
    onwards: str,
) -> Response:
    """Ask, or do what was asked and confirmed."""
    if request.method == "POST":
        await _check_form(request)
        done = await change()
        return RedirectResponse(onwards if done else f"{Links.of(request).overview()}?done=absent", 303)
    secret = request.cookies.get(_COOKIE) or secrets.token_urlsafe(24)
    answer = page(
        request, "confirm", title=title, what=what, consequence=consequence, verb=verb, back=back, secret=secret
    )
    answer.set_cookie(_COOKIE, secret, path=Links.of(request).overview(), httponly=True, samesite="strict")
    return answer


async def _check_form(request: Request) -> None:
    """Refuse a form that another site may have sent.

    Raises:
        HTTPException: Where it comes from, or the secret in it, is not what our page would have sent.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LONGEST:
            raise HTTPException(413, "That form is not ours.")
    [secret] = parse_qs(body.decode("ascii", "replace")).get("secret", [""])[:1]
    known = request.cookies.get(_COOKIE, "")
    origin = request.headers.get("origin")
    if (
        not known
        or not secrets.compare_digest(secret.encode(), known.encode())
        or request.headers.get("sec-fetch-site", "same-origin") != "same-origin"
        or (origin is not None and urlsplit(origin).netloc != request.headers.get("host"))
    ):
        raise HTTPException(403, "This did not come from the page that asks. Go back, load it again and confirm there.")
