"""The pages that look, and the one that says what went wrong."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from coatcheck import (
    ANY,
    ArtifactError,
    ArtifactLostError,
    CorruptArtifactError,
    InvalidArtifactError,
    StoreUnavailableError,
    artifact_ref,
    get_artifact_id,
)

from .content import LARGEST_IMAGE, given_name
from .links import Links
from .lookup import HEAD
from .preview import Preview, preview
from .render import page

if TYPE_CHECKING:
    from starlette.requests import Request

    from coatcheck import ArtifactMetadata

    from .lookup import Lookup

_PATIENCE: Final = 20.0  # seconds for a page
_LEASES: Final = 200  # leases that a page shows

DONE: Final = {
    "released": "The lease was given up.",
    "released-run": "All leases of the run were given up.",
    "deleted": "The artifact was deleted for every run.",
    "absent": "There was nothing to give up or delete any more.",
}
"""What pages say after a change, by its word in the query."""

_FAILURES: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (InvalidArtifactError, 400, "That is not something a store can be asked"),
    (StoreUnavailableError, 503, "The store does not answer"),
    (ArtifactLostError, 410, "The content is gone"),
    (CorruptArtifactError, 500, "The content is damaged"),
    (ArtifactError, 500, "The store could not do it"),
    (TimeoutError, 504, "The store takes too long"),
    (NotImplementedError, 501, "This store cannot do that"),
)

_log = logging.getLogger(__name__)

Handler = Callable[[Any, "Request"], Awaitable[Response]]


def _in_time(handler: Handler) -> Handler:
    """Say so when a page takes too long, instead of letting a visitor wait."""

    @wraps(handler)
    async def handle(self: Any, request: Request) -> Response:
        async with asyncio.timeout(_PATIENCE):
            return await handler(self, request)

    return handle


class Pages:
    """The routes that show something.

    Args:
        lookup: The store.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    @_in_time
    async def overview(self, request: Request) -> Response:
        """The store at a glance."""
        return page(request, "overview", overview=await self._lookup.overview(), done=_done(request))

    @_in_time
    async def runs(self, request: Request) -> Response:
        """Who leases something, by name."""
        containing, after = _query(request, "containing"), _query(request, "after")
        found = await self._lookup.runs(containing, after)
        return page(request, "runs", found=found, containing=containing, after=after, done=_done(request))

    @_in_time
    async def artifacts(self, request: Request) -> Response:
        """All artifacts or those of a run, newest first."""
        query = {name: _query(request, name) for name in ("run", "type", "tag", "value")}
        tags = {query["tag"]: query["value"] or ANY} if query["tag"] else None
        after = _query(request, "after")
        found = await self._lookup.artifacts(query["run"] or None, query["type"] or None, tags, after)
        types = sorted({view.content_type for view in found.items})
        return page(request, "artifacts", found=found, query=query, after=after, types=types, done=_done(request))

    @_in_time
    async def artifact(self, request: Request) -> Response:
        """One artifact: what it is, who leases it, what it looks like."""
        artifact_id = request.path_params["id"]
        view, leases = await asyncio.gather(self._lookup.artifact(artifact_id), self._lookup.leases(artifact_id))
        if view is None:
            raise HTTPException(404, f"No artifact {artifact_id}. It expired, was deleted, or never was.")
        shown, trouble = await self._preview(view)
        return page(
            request,
            "artifact",
            view=view,
            leases=leases[:_LEASES],
            lease_count=len(leases),
            expires=_last_expiry([lease.expires_at for lease in leases]),
            name=given_name(view) or view.artifact_id,
            preview=shown,
            trouble=trouble,
            largest_image=LARGEST_IMAGE,
            head=HEAD,
            done=_done(request),
        )

    async def _preview(self, view: ArtifactMetadata) -> tuple[Preview | None, str]:
        """The preview, or why there is none: the rest of the page can be shown all the same."""
        try:
            head = await self._lookup.head(view.artifact_id)
        except (CorruptArtifactError, ArtifactLostError) as error:
            return None, str(error)
        if head is None:
            return None, "It ended while this page was made."
        return preview(head, view.content_type, view.size_bytes), ""

    @_in_time
    async def find(self, request: Request) -> Response:
        """From what was typed, an id or its beginning, a ticket or a part of a run's name, to its page."""
        wanted, to = _query(request, "q").strip(), Links.of(request)
        artifact_id = _id_in(wanted)
        if artifact_id is not None and await self._lookup.artifact(artifact_id) is not None:
            return RedirectResponse(to.artifact(artifact_id), 303)
        if wanted and await self._lookup.has_run(wanted):
            return RedirectResponse(to.artifacts(run=wanted), 303)
        if artifact_id is not None and (view := await self._lookup.beginning_with(artifact_id)) is not None:
            return RedirectResponse(to.artifact(view.artifact_id), 303)
        return RedirectResponse(to.runs(containing=wanted), 303)


async def explain(request: Request, error: Exception) -> Response:
    """The page for something that went wrong."""
    if isinstance(error, HTTPException):
        titles = {403: "Not allowed", 404: "Not found", 405: "Not possible here", 415: "Not an image"}
        title = titles.get(error.status_code, "That did not work")
        return page(request, "error", error.status_code, title=title, detail=error.detail, again=False)
    for kind, status, title in _FAILURES:
        if isinstance(error, kind):
            detail = str(error) or (
                f"There was no answer within {_PATIENCE:.0f} seconds. A narrower question takes less time."
            )
            return page(request, "error", status, title=title, detail=detail, again=status in (503, 504))
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return page(request, "error", 500, title="Something is wrong here", detail="The log says more.", again=False)


def _query(request: Request, name: str) -> str:
    return request.query_params.get(name, "")


def _done(request: Request) -> str:
    return DONE.get(_query(request, "done"), "")


def _last_expiry(ends: list[str | None]) -> str | None:
    """When the last lease ends; `None`: never."""
    return None if None in ends else max((end for end in ends if end is not None), default=None)


def _id_in(text: str) -> str | None:
    """The id that a text is, or that the ticket has which it is."""
    try:
        return get_artifact_id(json.loads(text) if text.startswith("{") else artifact_ref(text))
    except (ValueError, RecursionError):
        return None
