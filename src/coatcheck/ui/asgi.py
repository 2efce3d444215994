"""The application: routes, and what its answer is when something goes wrong."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from coatcheck.errors import ArtifactError

from .changes import Changes
from .content import Contents
from .guard import LOOPBACK, Guard
from .lookup import Lookup
from .pages import Pages, explain

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from coatcheck import ArtifactStore, AsyncArtifactStore

_EXPLAINED: Final = (ArtifactError, HTTPException, TimeoutError, NotImplementedError, Exception)


def app(
    store: ArtifactStore | AsyncArtifactStore,
    *,
    name: str = "",
    hosts: Collection[str] = LOOPBACK,
    token: str | None = None,
    allow_delete: bool = False,
) -> ASGIApp:
    """The page of a store, as an ASGI application.

    Args:
        store: Either face; it stays the caller's to close. One that blocks is asked in threads.
        name: What the page calls the store. Everybody who sees the page sees it: no password belongs here.
        hosts: Under which host names it answers, ports aside; a name that is missing gets status 421. This is what
            keeps web sites that a visitor has open from reading the page through a host name of theirs.
        token: What visitors have to give, as password (any user name) or as bearer token; `None`: nothing.
        allow_delete: Let visitors give up leases and delete artifacts.

    Raises:
        InvalidArtifactError: A host name is none, or the token is empty.
    """
    lookup = Lookup(store)
    pages, contents = Pages(lookup), Contents(lookup)
    routes = [
        Route("/", pages.overview),
        Route("/runs", pages.runs),
        Route("/artifacts", pages.artifacts),
        Route("/artifacts/{id}", pages.artifact),
        Route("/artifacts/{id}/content", contents.download),
        Route("/artifacts/{id}/image", contents.image),
        Route("/find", pages.find),
        Mount("/static", StaticFiles(packages=[("coatcheck.ui", "static")])),
    ]
    if allow_delete:
        changes = Changes(lookup)
        routes += [
            Route("/artifacts/{id}/delete", changes.delete, methods=["GET", "POST"]),
            Route("/artifacts/{id}/release", changes.release, methods=["GET", "POST"]),
            Route("/runs/release", changes.release_run, methods=["GET", "POST"]),
        ]
    application = Starlette(routes=routes, exception_handlers=dict.fromkeys(_EXPLAINED, explain))
    application.state.name = name
    application.state.allow_delete = allow_delete
    return Guard(application, hosts=hosts, token=token)
