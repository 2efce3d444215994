"""What a store returns: artifacts, their metadata, leases, and figures about the store."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Generic, Protocol, Self, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from .encoding import decode_text
from .errors import ArtifactDecodeError
from .ids import REF_KEY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_new = object.__new__
_set_fields, _set_names, _set_extra, _set_private = (
    vars(BaseModel)[f"__{slot}__"].__set__
    for slot in ("dict", "pydantic_fields_set", "pydantic_extra", "pydantic_private")
)

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


def format_time(microseconds: int) -> str:
    """Unix time in microseconds as ISO 8601 in UTC. All results have one length, so they sort as text."""
    fraction = str(1_000_000 + microseconds % 1_000_000)[1:]  # at half the cost of a format that pads
    return f"{_format_second(microseconds // 1_000_000)}.{fraction}+00:00"


@lru_cache(maxsize=1024)
def _format_second(seconds: int) -> str:  # lists repeat seconds; formatting one costs more than finding it
    return (_EPOCH + timedelta(seconds=seconds)).isoformat(timespec="seconds")[:19]


def parse_time(text: str) -> int:
    """A time in the form of `created_at` as Unix time in microseconds."""
    return (_moment(text) - _EPOCH) // _MICROSECOND


def trusted(kind: type[M], **fields: Any) -> M:
    """A model of values that were checked already: pydantic would check them again, at four times the cost.

    Args:
        kind: The model.
        **fields: All its fields.
    """
    return filled(kind, fields)


def filled(kind: type[M], fields: dict[str, Any]) -> M:
    """The same of a dict, which becomes the model's own: where many are made, keywords cost as much again."""
    made = _new(kind)
    _set_fields(made, fields)
    _set_names(made, set(fields))
    _set_extra(made, None)
    _set_private(made, None)
    return made


class _Timed(Protocol):
    @property
    def created_at(self) -> str: ...
    @property
    def expires_at(self) -> str | None: ...


class _Dated:
    """The times of a lease as datetimes, beside the text."""

    @property
    def created(self: _Timed) -> datetime:
        """`created_at` as a datetime in UTC."""
        return _moment(self.created_at)

    @property
    def expires(self: _Timed) -> datetime | None:
        """`expires_at` as a datetime in UTC; `None`: never."""
        return None if self.expires_at is None else _moment(self.expires_at)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class ArtifactMetadata(_Dated, BaseModel):
    """One lease's view of an artifact. Hashable.

    `store` and `list_by_run` return the view of the run that was named; `get_metadata` and `load` return the view
    of the latest store that still holds, unless they name a run.

    Attributes:
        artifact_id: The id that the ticket carries.
        content_type: MIME type or semantic type, as the storing run gave it.
        size_bytes: Length of the content in bytes, before compression.
        created_at: When this lease was last stored: ISO 8601, UTC, microseconds, by the server's clock.
        run_id: Who stored it; `None` for the anonymous lease.
        tags: The storing run's own tags.
        digest: Full SHA-256 of the content, 64 hex digits. `None` only for records written by other software.
        expires_at: When this lease ends (ISO 8601, UTC); `None`: never. Other leases may keep the content longer.
        extra: The storing run's own metadata beside the tags: JSON values by name.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    artifact_id: str
    content_type: str
    size_bytes: int
    created_at: str
    run_id: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    digest: str | None = Field(
        default=None, validation_alias=AliasChoices("digest", "blob_id")
    )  # AbstractRuntime's name
    expires_at: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)

    def __hash__(self) -> int:  # tags and extra are no part of it: a dict has no hash
        return hash((self.artifact_id, self.run_id, self.created_at))

    @property
    def ref(self) -> dict[str, str]:
        """The ticket: `{"$artifact": id}`."""
        return {REF_KEY: self.artifact_id}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-serialisable dict; `from_dict` reads it back."""
        return self.model_dump()

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote, or AbstractRuntime's metadata. Unknown keys are ignored.

        Raises:
            ValueError: A field is missing or has the wrong type (pydantic's `ValidationError`).
        """
        return cls.model_validate(data)


class Artifact(BaseModel):
    """An artifact: metadata and content, which is base64 in JSON (`model_dump_json`, `model_validate_json`)."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    metadata: ArtifactMetadata
    content: bytes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.artifact_id!r}, {self.content_type!r:.60}, {len(self.content)} bytes)"

    __str__ = __repr__

    @property
    def artifact_id(self) -> str:
        """The id that the ticket carries."""
        return self.metadata.artifact_id

    @property
    def content_type(self) -> str:
        """MIME type or semantic type of the content."""
        return self.metadata.content_type

    def as_text(self, encoding: str = "utf-8") -> str:
        """The content decoded as text.

        Raises:
            UnicodeDecodeError: The content is not text in that encoding.
            InvalidArtifactError: There is no such encoding.
        """
        return decode_text(self.content, encoding)

    def as_json(self) -> Any:
        """The content parsed as JSON in UTF-8.

        Raises:
            ValueError: The content is not JSON (`json.JSONDecodeError`), not UTF-8, or nested too deep to be read.
        """
        try:
            return json.loads(self.content.decode("utf-8"))
        except RecursionError:
            raise ArtifactDecodeError(f"artifact {self.artifact_id} is nested too deep to be read as JSON") from None


class Lease(_Dated, BaseModel):
    """What one run holds on one artifact. Hashable.

    Attributes:
        run_id: Who holds it; `None` for the anonymous lease.
        created_at: When that run last stored the artifact (ISO 8601, UTC).
        expires_at: When the lease ends (ISO 8601, UTC); `None`: never.
        content_type: The content type that run gave.
        tags: The tags that run gave.
        extra: The metadata of its own that run gave.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str | None
    created_at: str
    expires_at: str | None
    content_type: str
    tags: dict[str, str]
    extra: dict[str, Any] = Field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.run_id, self.created_at, self.expires_at))


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of a list.

    Attributes:
        items: What is on it.
        next: What to give as `after` for the page behind it; `None`: this is the last one. Text that can go into a URL.
    """

    items: list[T]
    next: str | None


class StoreStats(BaseModel):
    """Figures about one store (one namespace).

    Attributes:
        artifacts: Live artifacts.
        leases: Live leases on them.
        runs: Runs that hold at least one lease.
        contents: Distinct contents.
        artifact_bytes: Sum of the sizes of all artifacts as their runs see them: what would be kept
            without sharing, counted once for each lease.
        content_bytes: Sum of the sizes of the distinct contents, before compression.
        stored_bytes: What these contents take as stored: after sharing and compression, in bytes.
        ends_within_hour: Artifacts of which all leases end within an hour.
        ends_within_day: Likewise within a day.
    """

    model_config = ConfigDict(frozen=True)

    artifacts: int = 0
    leases: int = 0
    runs: int = 0
    contents: int = 0
    artifact_bytes: int = 0
    content_bytes: int = 0
    stored_bytes: int = 0
    ends_within_hour: int = 0
    ends_within_day: int = 0


class RunStats(BaseModel):
    """Figures about a run.

    Attributes:
        run_id: Which run.
        artifacts: What it leases.
        size_bytes: Their bytes, sharing and compression aside.
        oldest: When the first of them was stored: ISO 8601, UTC. `None` where it leases nothing.
        newest: When the last was.
        next_expiry: When the first of its leases ends; `None`: none ever does.
        last_expiry: When the last of them ends; `None`: one never does, or there is none.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    artifacts: int = 0
    size_bytes: int = 0
    oldest: str | None = None
    newest: str | None = None
    next_expiry: str | None = None
    last_expiry: str | None = None


class Removal(BaseModel):
    """What `delete_where` removed, or would remove.

    Attributes:
        artifacts: How many artifacts, or of a run leases on them.
        size_bytes: Their bytes, sharing and compression aside.
        dry_run: Whether nothing was done.
    """

    model_config = ConfigDict(frozen=True)

    artifacts: int
    size_bytes: int
    dry_run: bool


class Problem(BaseModel):
    """One kind of thing that does not fit together.

    Attributes:
        kind: Its name, such as `orphan-content`; `docs/operations.md` explains each.
        count: How many were found.
        bytes: Bytes of content that they concern, where that is known.
        repaired: How many of them were repaired or removed.
        examples: Names of the first few.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    count: int
    bytes: int
    repaired: int
    examples: list[str]

    def __hash__(self) -> int:
        return hash((self.kind, self.count, self.bytes, self.repaired))


class CheckReport(BaseModel):
    """What `check` or `gc` found.

    Attributes:
        looked_at: Keys or files that were looked at.
        problems: By kind, the most frequent first; empty when everything fits.
    """

    model_config = ConfigDict(frozen=True)

    looked_at: int
    problems: list[Problem]

    def __hash__(self) -> int:
        return hash((self.looked_at, *self.problems))

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong now: nothing was found, or all of it was repaired."""
        return all(problem.repaired == problem.count for problem in self.problems)

    def only(self, kinds: Collection[str]) -> CheckReport:
        """The same report without problems of other kinds."""
        kept = [problem for problem in self.problems if problem.kind in kinds]
        return CheckReport(looked_at=self.looked_at, problems=kept)


class ProblemCounter:
    """Collects problems for a report; keeps a few examples of each kind."""

    _EXAMPLES = 5

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, name: str | bytes, *, size: int = 0, repaired: bool = False) -> None:
        """Note one problem."""
        counts = self._counts.setdefault(kind, [0, 0, 0])
        counts[0] += 1
        counts[1] += size
        counts[2] += repaired
        examples = self._examples.setdefault(kind, [])
        if len(examples) < self._EXAMPLES:
            examples.append(name if isinstance(name, str) else name.decode(errors="replace"))

    def report(self, looked_at: int) -> CheckReport:
        """Everything noted so far."""
        problems = [
            Problem(kind=kind, count=count, bytes=size, repaired=repaired, examples=self._examples[kind])
            for kind, (count, size, repaired) in self._counts.items()
        ]
        return CheckReport(looked_at=looked_at, problems=sorted(problems, key=lambda p: (-p.count, p.kind)))
