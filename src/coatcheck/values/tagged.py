"""JSON that keeps types: `{"$type": "datetime", "value": …}` stands for what JSON has no word for.

Two keys are reserved: `$type`, and `$artifact` of tickets. A dict that has one of them itself is escaped: it becomes
the value of `{"$type": "dict", "value": {…}}`. Whatever else begins with `$` means nothing here. Types that are named
are these few; nothing is imported or called by a name that is read.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, NoReturn
from uuid import UUID

from pydantic import AliasChoices, BaseModel, RootModel
from pydantic.fields import FieldInfo

from ..errors import InvalidArtifactError
from ..ids import REF_KEY

TYPE: Final = "$type"
VALUE: Final = "value"

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What is too much to be walked through.

    Attributes:
        depth: Containers within containers.
        count: Values in all, as often as they occur.
        size: Bytes that tickets may bring in all, as often as they occur.
    """

    depth: int = 100
    count: int = 1_000_000
    size: int = 2**30


DEFAULT_LIMITS: Final = Limits()


class Walk:
    """A way through a value: where it is, and what it has seen."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._count = 0
        self._keys: list[str | int] = [0] * limits.depth
        self._around: set[int] = set()

    def _enter(self, container: Any, depth: int) -> None:
        """Go into a container, which has to be left by `_leave`."""
        if id(container) in self._around:
            self._refuse(depth, "contains itself")
        if depth >= self._limits.depth:
            self._refuse(depth, f"is nested more than {self._limits.depth} deep: raise limits.depth")
        self._count += len(container)
        if self._count > self._limits.count:
            self._refuse(depth, f"is or follows value {self._limits.count:,}: raise limits.count")
        self._around.add(id(container))

    def _leave(self, container: Any) -> None:
        self._around.discard(id(container))

    def _path(self, depth: int) -> Path:
        return tuple(self._keys[:depth])

    def _refuse(self, depth: int, reason: str) -> NoReturn:
        raise InvalidArtifactError(f"{show(self._path(depth))} {reason}")


class Encoder(Walk):
    """Copies values as plain JSON: dicts, lists, strings, numbers, booleans and `None`.

    Models and dataclasses become dicts of their fields, enums their values. Equal values become equal JSON.

    Args:
        limits: What is too much.
        raw: Which values to leave as they are; asked about all that is not plain JSON itself.
    """

    def __init__(self, limits: Limits, raw: Callable[[object], bool] = lambda _: False) -> None:
        super().__init__(limits)
        self.typed = False  # whether something in it is not plain JSON itself
        self._raw = raw

    def encode(self, value: Any) -> Any:
        """The value as plain JSON.

        Raises:
            InvalidArtifactError: Something in it has no JSON, contains itself or exceeds the limits; says where.
        """
        try:
            return self._encode(value, 0)
        except RecursionError:
            raise InvalidArtifactError("the value is nested too deep for the stack of this thread") from None

    def _encode(self, value: Any, depth: int) -> Any:  # noqa: C901, PLR0911, PLR0912  # one case a line
        kind = type(value)
        if kind is str or value is None or kind is bool or kind is int:
            return value
        if kind is dict:
            return self._dict(value, depth)
        if kind is list:
            return self._items(value, depth)
        if isinstance(value, bytearray | memoryview):
            value = bytes(value)
        if self._raw(value):
            return value
        if kind in _WRITERS:
            name, write = _WRITERS[kind]
            try:
                return self._tag(name, write(value))
            except ValueError as error:
                self._refuse(depth, f"is no {name} that can be kept: {error}")
        if isinstance(value, bytes):
            return self._tag("bytes", _base64(value))
        if isinstance(value, float):
            if not math.isfinite(value):
                self._refuse(depth, f"is {value}, which JSON cannot say")
            return float.__float__(value)
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return int.__int__(value)
        if isinstance(value, dict):
            return self._dict(value, depth)
        if isinstance(value, list):
            return self._items(value, depth)
        if isinstance(value, tuple):
            return self._tag("tuple", self._items(value, depth))
        if isinstance(value, set | frozenset):
            name = "set" if isinstance(value, set) else "frozenset"
            return self._tag(name, sorted(self._items(value, depth), key=_order))
        if isinstance(value, Enum):
            return self._encode(value.value, depth)
        return self._encode(self._fields(value, depth), depth)

    def _dict(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        self._enter(value, depth)
        plain = {}
        for key, item in value.items():
            if not isinstance(key, str):
                self._refuse(depth, f"has the key {key!r:.100}: keys must be strings")
            self._keys[depth] = key
            plain[str.__str__(key)] = self._encode(item, depth + 1)
        self._leave(value)
        if TYPE in plain or REF_KEY in plain:
            return self._tag("dict", plain)
        return plain

    def _items(self, value: Any, depth: int) -> list[Any]:
        self._enter(value, depth)
        plain = []
        for index, item in enumerate(value):
            self._keys[depth] = index
            plain.append(self._encode(item, depth + 1))
        self._leave(value)
        return plain

    def _tag(self, name: str, value: Any) -> dict[str, Any]:
        self.typed = True
        return {TYPE: name, VALUE: value}

    def _fields(self, value: Any, depth: int) -> Any:
        """What a model or dataclass is made of, by the names under which it is made again."""
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        if isinstance(value, RootModel):
            return value.root
        if not isinstance(value, BaseModel):
            self._refuse(depth, f"is of type {kind_of(value)}, which has no JSON: convert it, or add a Codec")
        kind = type(value)
        by_alias = kind.model_config.get("validate_by_alias", True)
        names = {name: _alias(field) or name if by_alias else name for name, field in kind.model_fields.items()}
        return {names[name]: getattr(value, name) for name in names} | (value.model_extra or {})


class Decoder(Walk):
    """Turns what an `Encoder` made into what it was.

    Args:
        limits: What is too much.
        ticket: What to put where a ticket is; called with it and its path. Left out: tickets are refused.
    """

    def __init__(self, limits: Limits, ticket: Callable[[dict[str, Any], Path], Any] | None = None) -> None:
        super().__init__(limits)
        self._ticket = ticket

    def decode(self, plain: Any) -> Any:
        """The value; what is neither dict, list nor tuple stays as it is.

        Raises:
            InvalidArtifactError: A type is unknown or its value makes no sense, or a limit is exceeded; says where.
        """
        try:
            return self._decode(plain, 0)
        except RecursionError:
            raise InvalidArtifactError("the value is nested too deep for the stack of this thread") from None

    def _decode(self, plain: Any, depth: int) -> Any:
        if isinstance(plain, dict):
            if REF_KEY in plain:
                if self._ticket is None:
                    self._refuse(depth, "is a ticket, within content that has none")
                return self._ticket(plain, self._path(depth))
            return self._tagged(plain, depth) if TYPE in plain else self._dict(plain, depth)
        if isinstance(plain, list):
            return self._items(plain, depth)
        if isinstance(plain, tuple):
            return tuple(self._items(plain, depth))
        return plain

    def _tagged(self, plain: dict[str, Any], depth: int) -> Any:
        name = plain[TYPE]
        value: Any = plain.get(VALUE)
        if plain.keys() != {TYPE, VALUE} or not isinstance(name, str):
            self._refuse(depth, f"has the key {TYPE!r} and was not written by coatcheck")
        if name == "dict" and isinstance(value, dict):
            return self._dict(value, depth)
        if name in _COLLECTIONS and isinstance(value, list):
            value = self._items(value, depth)
        elif name not in _READERS:
            self._refuse(depth, f"is not of a type that this version of coatcheck knows: {name!r:.100}")
        try:
            return (_COLLECTIONS.get(name) or _READERS[name])(value)
        except (TypeError, ArithmeticError, ValueError) as error:
            self._refuse(depth, f"is no {name}: {error!s:.200}")

    def _dict(self, plain: dict[Any, Any], depth: int) -> dict[Any, Any]:
        self._enter(plain, depth)
        value = {}
        for key, item in plain.items():
            self._keys[depth] = key
            value[key] = self._decode(item, depth + 1)
        self._leave(plain)
        return value

    def _items(self, plain: Iterable[Any], depth: int) -> list[Any]:
        self._enter(plain, depth)
        value = []
        for index, item in enumerate(plain):
            self._keys[depth] = index
            value.append(self._decode(item, depth + 1))
        self._leave(plain)
        return value


def show(path: Path) -> str:
    """A path as in JSONPath: `$.messages[3].content`."""
    return "$" + "".join(
        f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{json.dumps(key, default=repr)}]"
        for key in path
    )


def _alias(field: FieldInfo) -> str | None:
    """What a model calls a field when it is made, if that is another name than its own."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return next((choice for choice in choices if isinstance(choice, str)), None)


def kind_of(value: object) -> str:
    """What messages call the type of a value."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def tagged_bytes(content: bytes) -> dict[str, str]:
    """Bytes within JSON."""
    return {TYPE: "bytes", VALUE: _base64(content)}


def dumps(plain: Any) -> str:
    """Plain JSON, in which bytes may be, as compact text.

    Raises:
        InvalidArtifactError: An integer has more digits than Python writes.
    """
    try:
        return _dumps(plain)
    except ValueError as error:
        raise InvalidArtifactError(f"cannot be written as JSON: {error}") from None


def encode(text: str) -> bytes:
    """JSON text in UTF-8; with escapes instead where it has lone surrogates."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(json.loads(text), separators=(",", ":")).encode()


def loads(content: bytes) -> Any:
    """JSON in UTF-8, and nothing that only Python takes for JSON.

    Raises:
        ValueError: It is not.
    """
    try:
        return json.loads(content.decode(), parse_constant=_not_json)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _order(plain: Any) -> str:
    """By what elements of sets are sorted, so that equal sets become equal content."""
    return json.dumps(plain, default=repr)


def _text(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    def checked(value: Any) -> Any:
        if not isinstance(value, str):
            raise TypeError(f"its value is a {type(value).__name__}")
        return read(value)

    return checked


def _finite(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise ValueError(f"{value} is not a number")
    return value


def _time(value: time) -> str:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise ValueError(f"the offset of {value.tzinfo} depends on the day")
    return value.isoformat()


def _timedelta(value: Any) -> timedelta:
    days, seconds, microseconds = value
    return timedelta(days, seconds, microseconds)


_dumps = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), check_circular=False, allow_nan=False, default=tagged_bytes
).encode

_WRITERS: Final[dict[type, tuple[str, Callable[[Any], Any]]]] = {
    datetime: ("datetime", datetime.isoformat),
    date: ("date", date.isoformat),
    time: ("time", _time),
    timedelta: ("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: ("decimal", lambda value: str(_finite(value))),
    UUID: ("uuid", str),
}
_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "bytes": _text(lambda text: base64.b64decode(text, validate=True)),
    "datetime": _text(datetime.fromisoformat),
    "date": _text(date.fromisoformat),
    "time": _text(time.fromisoformat),
    "timedelta": _timedelta,
    "decimal": _text(lambda text: _finite(Decimal(text))),
    "uuid": _text(UUID),
}
_COLLECTIONS: Final[dict[str, Callable[[list[Any]], Any]]] = {"tuple": tuple, "set": set, "frozenset": frozenset}
