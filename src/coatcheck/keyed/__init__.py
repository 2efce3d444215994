"""Artifacts by keys of your own: any text, listed by prefix, with versions where you want them.

    pages = Keyed(store, "site")
    pages.set("a/index.html", b"<p>", content_type="text/html")
    pages.get("a/index.html", required=True).as_text()
    [view.extra["key"] for view in pages.entries("a/")]

A collection is a run: it leases all that is kept under its keys, so `store.delete_by_run("site")` empties it.
"""

from .views import AsyncKeyed, AsyncVersions, Keyed, Versions

__all__ = ["AsyncKeyed", "AsyncVersions", "Keyed", "Versions"]
