"""What can be said of how values are offloaded and resolved: one list for functions, decorators and mappings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from ..arguments import DEFAULT, TtlOrDefault
from ..errors import InvalidArtifactError
from ..values.codecs import Codecs
from ..values.storing import CODECS, MISSING
from ..values.tagged import DEFAULT_LIMITS, Limits
from .cutting import Preview

THRESHOLD: Final = 64 * 1024
"""Bytes as JSON from which on something is large, unless a caller says otherwise."""

Run = str | Callable[[], str | None] | None


class OffloadKeywords(TypedDict, total=False):
    """The list for type checkers; `OffloadOptions` has the defaults and explains each."""

    threshold: int | None
    total: int | None
    preview: Preview
    again: bool
    run_id: Run
    tags: Mapping[str, str] | None
    ttl: TtlOrDefault
    codecs: Codecs
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadOptions:
    """How a value is offloaded.

    Attributes:
        threshold: Bytes as compact JSON from which on a part goes; `None`: only what `total` demands.
        total: Bytes as compact JSON that may be left; `None`: any number. Where it says so, smaller parts go as well,
            the largest first, and in the end whole lists and dicts, if need be the value itself.
        preview: How many characters of text, or of the JSON of lists and dicts, a ticket shows, for people and models;
            or a function that makes a preview of a part, or `None`.
        again: Whether the value, or a part of it, is what `offload` returned before, so that its tickets stay tickets.
            Otherwise what looks like a ticket is a value like others: escaped, so that it comes back as it is.
        run_id: Who stores; or a function that says so each time.
        tags: The run's own tags of what is stored.
        ttl: As for `ArtifactStore.store`.
        codecs: How values become content.
        limits: What is too much.
    """

    threshold: int | None = THRESHOLD
    total: int | None = None
    preview: Preview = 0
    again: bool = False
    run_id: Run = None
    tags: Mapping[str, str] | None = None
    ttl: TtlOrDefault = DEFAULT
    codecs: Codecs = CODECS
    limits: Limits = DEFAULT_LIMITS

    def __post_init__(self) -> None:
        for name, least in (("threshold", 1), ("total", 1), ("preview", 0)):
            value = getattr(self, name)
            if callable(value) if name == "preview" else value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidArtifactError(f"{name} must be an int of at least {least}, not {value!r}")

    def of_store(self) -> dict[str, Any]:
        """What `store_many` takes of it."""
        run_id = self.run_id() if callable(self.run_id) else self.run_id
        return {"run_id": run_id, "tags": self.tags, "ttl": self.ttl}


class ResolveKeywords(TypedDict, total=False):
    """The list for type checkers; `ResolveOptions` has the defaults and explains each."""

    default: Any
    codecs: Codecs
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveOptions:
    """How a value is resolved.

    Attributes:
        default: What to put in place of artifacts that are missing; left out: that is an error.
        codecs: How content becomes values.
        limits: What is too much.
    """

    default: Any = MISSING
    codecs: Codecs = CODECS
    limits: Limits = DEFAULT_LIMITS
