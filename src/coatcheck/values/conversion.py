"""A value as what it has to be."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, TypeVar

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from ..errors import ArtifactDecodeError, InvalidArtifactError
from .tagged import show


def as_type(value: Any, type: Any, name: str) -> Any:
    """A value as what it has to be, converted as pydantic does.

    Args:
        value: The value.
        type: A class, or anything that pydantic understands; `None`: the value stays as it is.
        name: What messages call the value.

    Raises:
        ArtifactDecodeError: It is something else.
        InvalidArtifactError: `type` is nothing that a value can be.
    """
    if type is None or value.__class__ is type:
        return value
    try:
        adapter = _known_adapter(type)
    except TypeError:  # has no hash, as `Annotated[int, {}]`
        adapter = _adapter(type)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = show(first["loc"]) if first["loc"] else ""
        raise ArtifactDecodeError(f"{name} is not a {_named(type)}: {where} {first['msg']}") from None


def _adapter(type: Any) -> TypeAdapter[Any]:
    if isinstance(type, str):
        raise InvalidArtifactError(f"type must be a class, not its name {type!r:.100}")
    if not (callable(type) or isinstance(type, TypeVar) or hasattr(type, "__value__")):  # classes are callable
        raise InvalidArtifactError(f"type must be a class, or what typing makes of classes, not {_named(type)}")
    try:
        return TypeAdapter(type)
    except PydanticUserError:  # a class that pydantic knows nothing of: the value is an instance or not
        pass
    try:
        return TypeAdapter(type, config={"arbitrary_types_allowed": True})
    except PydanticUserError as error:
        raise InvalidArtifactError(f"type={_named(type)} is nothing that a value can be: {error}") from error


_known_adapter: Final = lru_cache(maxsize=128)(_adapter)


def _named(type: Any) -> str:
    return f"{getattr(type, '__qualname__', type)!s:.200}"
