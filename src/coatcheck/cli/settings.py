"""The global options, before a command or behind it."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

import coatcheck
from coatcheck import InvalidArtifactError, StoreUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from coatcheck import ArtifactStore

_PLACE: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[0-9]*)?|\[[0-9a-f:]+\](:[0-9]{1,5})?")

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        show_default=False,
        help="The store: redis://, redis+cluster://, redis+sentinel://, rediss:// and rediss+… with TLS, unix://, "
        "embedded:// or file://. "
        "Left out: COATCHECK_URL in the environment, else the embedded engine in your data directory.",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", metavar="NAME", show_default=False, help="Stores of different namespaces never see each other."
    ),
]


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

    def open(self, *, make: bool = False, **options: Any) -> ArtifactStore:
        """Open the store.

        Args:
            make: Whether to make a store in a directory that has none.
            **options: What only `open_store` knows.
        """
        self.check(make=make)
        return coatcheck.open_store(self.url, namespace=self.namespace, **options)

    def check(self, *, make: bool = False) -> None:
        """Refuse what is no URL and, unless a store may be made, a directory that has none: it may be mistyped."""
        if self.url is not None and "://" not in self.url:
            raise InvalidArtifactError(f"not the URL of a store{_hint(self.url)}")
        from coatcheck.urls import local_place  # noqa: PLC0415  # needs redis-py; --help does not

        place = None if make else local_place(self.url, self.namespace)
        if place is not None and _is_missing(place):
            raise StoreUnavailableError(
                f"there is no store: {place} does not exist; "
                "correct --url, --namespace or COATCHECK_URL, or put something there"
            )


def _is_missing(place: Path) -> bool:
    try:
        place.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        pass  # opening the store says what is wrong
    return False


def _hint(text: str) -> str:
    if text.startswith("/"):
        return f": a directory is file://{text}, a socket unix://{text}"
    if _PLACE.fullmatch(text):
        return f": a server is redis://{text}"
    return ": it begins with redis://, file:// or the like"


def with_global_options(function: Callable[..., None]) -> Callable[..., None]:
    """A command that takes the global options too. What stands behind the command counts."""

    @functools.wraps(function)
    def command(*, ctx: typer.Context, url: str | None, namespace: str | None, **own: Any) -> None:
        before = Settings.of(ctx)
        ctx.obj = Settings(before.url if url is None else url, before.namespace if namespace is None else namespace)
        function(ctx=ctx, **own)

    signature = inspect.signature(function, eval_str=True)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in (("url", Url), ("namespace", Namespace))
    ]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in signature.parameters.values()]
    command.__signature__ = signature.replace(parameters=[*parameters, *more])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in (*parameters, *more)}
    return command
