"""Where pages lie, below the path that the application is mounted at."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


class Links:
    """The paths of all pages.

    Run ids, types and tags are any text, so they travel in queries, which no server or browser normalises; artifact ids
    are letters, digits, `-` and `_`.

    Args:
        root: Path of the application, without a slash at its end.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    @classmethod
    def of(cls, request: HTTPConnection) -> Links:
        """The links of the application that a request came to."""
        return cls(request.scope.get("root_path", "").rstrip("/"))

    def overview(self) -> str:
        """The overview."""
        return f"{self.root}/"

    def runs(self, **query: str | None) -> str:
        """Runs: `containing`, `after`."""
        return self._to("/runs", query)

    def artifacts(self, **query: str | None) -> str:
        """Artifacts: `run`, `type`, `tag` and its `value`, `after`."""
        return self._to("/artifacts", query)

    def artifact(self, artifact_id: str, **query: str | None) -> str:
        """One artifact; `done`: what was just done."""
        return self._to(f"/artifacts/{artifact_id}", query)

    def content(self, artifact_id: str) -> str:
        """Its content, to download."""
        return self._to(f"/artifacts/{artifact_id}/content", {})

    def image(self, artifact_id: str) -> str:
        """Its content, to show as an image."""
        return self._to(f"/artifacts/{artifact_id}/image", {})

    def find(self) -> str:
        """Where the search field leads."""
        return self._to("/find", {})

    def static(self, name: str) -> str:
        """A file of ours."""
        return self._to(f"/static/{name}", {})

    def delete(self, artifact_id: str) -> str:
        """The question whether to delete an artifact, and the answer to it."""
        return self._to(f"/artifacts/{artifact_id}/delete", {})

    def release(self, artifact_id: str, run: str | None) -> str:
        """The question whether to give up a run's lease; `None` is the anonymous one."""
        return self._to(f"/artifacts/{artifact_id}/release", {"run": run})

    def release_run(self, run: str) -> str:
        """The question whether to give up all that a run leases."""
        return self._to("/runs/release", {"run": run})

    def _to(self, path: str, query: dict[str, str | None]) -> str:
        given = {name: value for name, value in query.items() if value}
        return f"{self.root}{path}?{urlencode(given)}" if given else f"{self.root}{path}"
