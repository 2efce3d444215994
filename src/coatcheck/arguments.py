"""What callers hand in, checked before anything is sent. Each check raises `InvalidArtifactError` with the cure."""

from __future__ import annotations

import inspect
import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, Never, TypedDict, TypeVar

from .encoding import encode_extra
from .errors import ArtifactTooLargeError, InvalidArtifactError
from .ids import REF_KEY, are_default_ids, exact
from .model import ArtifactMetadata
from .refs import IdLike, id_of
from .request import Condition, Details

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_TTL_SECONDS: Final = 100 * 366 * 24 * 3600
"""A TTL above 100 years is a mistake in units; `None` is the way to say for ever."""

MAX_TEXT: Final = 1024
"""Bytes (UTF-8) of a run id or a content type."""

MAX_TAGS: Final = 256
MAX_TAGS_BYTES: Final = 64 * 1024
"""Bytes (UTF-8) of an artifact's tags, names and values together."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class _Default(Enum):
    DEFAULT = "DEFAULT"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = _Default.DEFAULT
"""A `ttl` that was left out: the store's `default_ttl` applies where something is stored."""


class _Anonymous(Enum):
    ANONYMOUS = "ANONYMOUS"

    def __repr__(self) -> str:
        return "ANONYMOUS"


ANONYMOUS: Final = _Anonymous.ANONYMOUS
"""Instead of a run: the leases that were taken without one. Where `run_id=None` would mean everything."""

Anonymous = Literal[_Anonymous.ANONYMOUS]

Ttl = float | timedelta | None
TtlOrDefault = float | timedelta | Literal[_Default.DEFAULT] | None

F = TypeVar("F", bound=Callable[..., Any])
Callback = TypeVar("Callback", bound=Callable[..., Any] | None)


class LinkKeywords(TypedDict, total=False):
    """What `link` takes beside the two ids and the content type."""

    run_id: str | None
    tags: Mapping[str, str] | None
    ttl: TtlOrDefault
    extra: Mapping[str, Any] | None
    exact_ttl: bool
    if_absent: bool
    if_digest: str | None


class StoreKeywords(LinkKeywords, total=False):
    """What every `store…` takes beside content and content type; `ArtifactStore.store` explains each.

    The list for type checkers; `check_details` has the defaults.
    """

    artifact_id: IdLike | None


def spelled_out(model: Callable[..., object]) -> Callable[[F], F]:
    """Let `help` and `inspect.signature` name the keywords that a function's `**…` stands for: those of `model`."""

    def with_keywords(function: F) -> F:
        signature = inspect.signature(function)
        *own, _ = signature.parameters.values()
        more = inspect.signature(model).parameters.values()
        named = [p for p in more if p.kind is p.KEYWORD_ONLY and p.name not in signature.parameters]
        function.__signature__ = signature.replace(parameters=[*own, *named])  # type: ignore[attr-defined]
        return function

    return with_keywords


def refuse_unknown(unknown: Iterable[str], known: Iterable[str]) -> Never:
    """Say which keywords there are: Python would name a function that nobody called.

    Raises:
        TypeError: Always.
    """
    raise TypeError(
        f"unexpected keyword argument {', '.join(map(repr, unknown))}: there are {', '.join(sorted(known))}"
    )


@dataclass(frozen=True, slots=True)
class Payload:
    """One item of `store_many` with metadata of its own. What is left out is taken from the call."""

    content: Buffer
    content_type: str | None = None
    tags: Mapping[str, str] | None = None
    artifact_id: IdLike | None = None
    ttl: TtlOrDefault = DEFAULT
    extra: Mapping[str, Any] | None = None

    @property
    def says_nothing(self) -> bool:
        """Whether it has no metadata of its own."""
        return (
            self.content_type is None
            and self.tags is None
            and self.artifact_id is None
            and self.ttl is DEFAULT
            and self.extra is None
        )

    def details(self, common: StoreKeywords) -> StoreKeywords:
        """What it says of itself, and for the rest what the call says of all items."""
        own: StoreKeywords = {**common}
        if self.tags is not None:
            own["tags"] = self.tags
        if self.artifact_id is not None:
            own["artifact_id"] = self.artifact_id
        if self.ttl is not DEFAULT:
            own["ttl"] = self.ttl
        if self.extra is not None:
            own["extra"] = self.extra
        return own


def check_content(content: object, max_size: int | None) -> bytes:
    """The content as bytes; `bytes` are taken as they are, everything else is copied once."""
    if type(content) is not bytes:
        if isinstance(content, str):
            raise InvalidArtifactError("content must be bytes-like, not str; use store_text() for text")
        try:
            view = memoryview(content)  # type: ignore[arg-type]  # that is the question
        except TypeError:
            kind = type(content).__name__
            raise InvalidArtifactError(
                f"content must be bytes-like, not {kind}; use store_text() or store_json() for other values"
            ) from None
        check_size(view.nbytes, max_size)
        return bytes(view)
    check_size(len(content), max_size)
    return content


def check_size(size: int, max_size: int | None, whose: str = "content") -> None:
    """That content has at most `max_size` bytes."""
    if max_size is not None and size > max_size:
        raise ArtifactTooLargeError(f"{whose} has {size} bytes, this store's limit is {max_size} (its option max_size)")


def check_text(value: object, what: str, most: int = MAX_TEXT) -> str:
    """A string of at most so many bytes in UTF-8 (no lone surrogates)."""
    if type(value) is str and len(value) <= most and value.isascii():  # most are
        return value
    if not isinstance(value, str):
        raise InvalidArtifactError(f"{what} must be a str, not {type(value).__name__}")
    text = exact(value)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidArtifactError(f"{what} {text!r:.100} cannot be encoded as UTF-8 (lone surrogate)") from None
    if size > most:
        raise InvalidArtifactError(f"{what} has {size} bytes, at most {most} are allowed: store long texts as content")
    return text


def check_content_type(value: object) -> str:
    """A content type: it may become an HTTP header, so it holds no control characters."""
    text = check_text(value, "content_type")
    if not text.isprintable() and _CONTROL.search(text):
        raise InvalidArtifactError(f"content_type {text!r} holds control characters; write it as type/subtype")
    return text


def check_ids(ids: Any) -> list[str]:
    """Artifact ids, each of them valid."""
    if isinstance(ids, str | ArtifactMetadata) or (isinstance(ids, Mapping) and REF_KEY in ids):
        raise InvalidArtifactError(f"ids must be an iterable of artifact ids, not one {type(ids).__name__}")
    given = list(check_iterable(ids, "ids"))
    if {str}.issuperset(map(type, given)) and are_default_ids(given):
        return given
    return [id_of(one) for one in given]


def check_iterable(items: Any, what: str) -> Iterator[Any]:
    """Several of something, one after the other."""
    try:
        return iter(items)
    except TypeError:
        raise InvalidArtifactError(f"{what} must be an iterable, not {type(items).__name__}") from None


def check_items(items: Any) -> Iterator[Any]:
    """What `store_many` stores, one after the other."""
    if isinstance(items, str | bytes | bytearray | memoryview | Mapping):
        raise InvalidArtifactError(f"items must be an iterable of contents, not one {type(items).__name__}")
    return check_iterable(items, "items")


def check_run_id(run_id: Any) -> str:
    """A run id: any non-empty string of at most 1 KiB. Never `None`: deletions and listings need to know whose."""
    if run_id is None:
        raise InvalidArtifactError("run_id is required here, None would mean every run")
    if run_id is ANONYMOUS:
        raise InvalidArtifactError(
            "run_id cannot be ANONYMOUS here: None is the anonymous lease on one artifact, search(run_id=ANONYMOUS) "
            "and delete_where find all of them"
        )
    text = check_text(run_id, "run_id")
    if not text:
        raise InvalidArtifactError("run_id cannot be empty; use None where the anonymous lease is meant")
    return text


def check_run_ids(run_ids: Any) -> list[str]:
    """Run ids, each of them valid."""
    if isinstance(run_ids, str):
        raise InvalidArtifactError("run_ids must be an iterable of run ids, not one str")
    return [check_run_id(one) for one in check_iterable(run_ids, "run_ids")]


def check_optional_run_id(run_id: Any) -> str | None:
    """A run id, or `None` for the anonymous lease."""
    return None if run_id is None else check_run_id(run_id)


def check_holder(run_id: Any) -> str | None:
    """Whose leases: a run id, or `None` for `ANONYMOUS`."""
    return None if run_id is ANONYMOUS else check_run_id(run_id)


def check_tags(tags: Any) -> dict[str, str]:
    """Tags: a mapping of strings to strings, copied. Not too many, nor too long together."""
    if tags is None:
        return {}
    if type(tags) is not dict and not isinstance(tags, Mapping):
        raise InvalidArtifactError(f"tags must be a mapping of str to str, not {type(tags).__name__}")
    if len(tags) > MAX_TAGS:
        raise InvalidArtifactError(f"{len(tags)} tags: at most {MAX_TAGS} are allowed")
    checked: dict[str, str] = {}
    size = 0
    for name, value in tags.items():
        if type(name) is str and type(value) is str and name.isascii() and value.isascii():  # most are
            checked[name] = value
            size += len(name) + len(value)
        else:
            text = check_text(name, "tag name", MAX_TAGS_BYTES)
            checked[text] = check_text(value, f"tag {name!r:.100}", MAX_TAGS_BYTES)
            size += len(text.encode()) + len(checked[text].encode())
    if size > MAX_TAGS_BYTES:
        raise InvalidArtifactError(f"the tags have {size} bytes together, at most {MAX_TAGS_BYTES} are allowed")
    return checked


def check_condition(if_absent: Any, if_digest: Any) -> Condition | None:
    """What a store depends on, if on anything."""
    check_flag(if_absent, "if_absent")
    if if_digest is None:
        return Condition(None, os.urandom(8)) if if_absent else None
    if if_absent:
        raise InvalidArtifactError("if_absent and if_digest exclude each other: give the one that is meant")
    if not isinstance(if_digest, str) or _DIGEST.fullmatch(exact(if_digest)) is None:
        raise InvalidArtifactError(
            f"if_digest must be a SHA-256 in 64 hex digits, as metadata.digest is, not {if_digest!r:.100}"
        )
    return Condition(bytes.fromhex(exact(if_digest)), os.urandom(8))


def check_flag(value: Any, what: str) -> bool:
    """`True` or `False`: `"no"` would be taken for true, and an option that was left `None` for false."""
    if not isinstance(value, bool):
        raise InvalidArtifactError(f"{what} must be True or False, not {type(value).__name__}")
    return value


def check_callback(callback: Callback, what: str = "progress") -> Callback:
    """A plain function or `None`, looked at before there is anything to tell it."""
    if callback is not None and not callable(callback):
        raise InvalidArtifactError(f"{what} must be a function or None, not {callback!r:.100}")
    if inspect.iscoroutinefunction(callback):
        raise InvalidArtifactError(f"{what} is called and not awaited: give a plain function, which may start a task")
    return callback


def check_ttl(ttl: Any, what: str = "ttl") -> int | None:
    """A TTL in seconds, or a `timedelta`, as whole milliseconds (rounded up); `None` is for ever."""
    if ttl is None:
        return None
    if isinstance(ttl, timedelta):
        ttl = ttl.total_seconds()
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float)):
        kind = type(ttl).__name__
        raise InvalidArtifactError(f"{what} must be seconds (int or float), a timedelta or None, not {kind}")
    if not ttl > 0:  # NaN as well
        raise InvalidArtifactError(f"{what} must be positive, not {ttl}; use None for ever, delete() to remove")
    if ttl > MAX_TTL_SECONDS:
        raise InvalidArtifactError(f"{what} of {ttl} seconds is over 100 years; use None for ever")
    return math.ceil(ttl * 1000)


def check_grace(grace: Any) -> int:
    """A grace period in seconds, or a `timedelta`, as whole milliseconds; zero is allowed."""
    if isinstance(grace, timedelta):
        grace = grace.total_seconds()
    if isinstance(grace, bool) or not isinstance(grace, int | float) or not 0 <= grace <= MAX_TTL_SECONDS:
        raise InvalidArtifactError(f"grace must be seconds or a timedelta, 0 or more, not {grace!r}")
    return math.ceil(grace * 1000)


def check_details(
    content_type: Any,
    default_ttl_ms: int | None,
    *,
    run_id: str | None = None,
    tags: Mapping[str, str] | None = None,
    artifact_id: IdLike | None = None,
    ttl: TtlOrDefault = DEFAULT,
    extra: Mapping[str, Any] | None = None,
    exact_ttl: bool = False,
    if_absent: bool = False,
    if_digest: str | None = None,
    **unknown: Never,
) -> Details:
    """Everything that `store` takes but the content, checked."""
    if unknown:
        refuse_unknown(unknown, {"content_type", *StoreKeywords.__optional_keys__})
    return Details(
        None if artifact_id is None else id_of(artifact_id),
        check_content_type(content_type),
        check_optional_run_id(run_id),
        check_tags(tags),
        default_ttl_ms if ttl is DEFAULT else check_ttl(ttl),
        "" if extra is None else encode_extra(extra),
        exact_ttl is not False and check_flag(exact_ttl, "exact_ttl"),
        None if if_digest is None and if_absent is False else check_condition(if_absent, if_digest),
    )


def check_bound(bound: Any, what: str) -> int | None:
    """An end of a range, as slices take it."""
    try:
        return None if bound is None else operator.index(bound)
    except TypeError:
        raise InvalidArtifactError(f"{what} must be an int or None, not {type(bound).__name__}") from None
