"""The global options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coatcheck import ArtifactStore, open_store

if TYPE_CHECKING:
    import typer


@dataclass(frozen=True)
class Settings:
    """The store that a command works on.

    Attributes:
        url: As given; `None`: `COATCHECK_URL`, else the embedded engine.
        namespace: As given; `None`: the default one.
    """

    url: str | None
    namespace: str | None

    @classmethod
    def of(cls, ctx: typer.Context) -> Settings:
        """The settings of the command that is running."""
        settings = ctx.obj
        assert isinstance(settings, cls)
        return settings

    def open(self) -> ArtifactStore:
        """Open the store."""
        return open_store(self.url, namespace=self.namespace)
