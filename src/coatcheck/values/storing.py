"""`store_value` and `load_value`, and the codecs that they find."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack, overload

from ..arguments import StoreKeywords, check_details, spelled_out
from ..asking import Ask, Store
from ..refs import IdLike, id_of, not_found
from .builtin import BytesCodec, JsonCodec, MsgpackCodec, PickleCodec, TextCodec
from .codecs import Codecs
from .conversion import as_type
from .packages import ArrowCodec, NumpyCodec, PandasCodec, PillowCodec, PolarsCodec

if TYPE_CHECKING:
    from ..aio import AsyncArtifactStore
    from ..model import Artifact, ArtifactMetadata
    from ..store import ArtifactStore

T = TypeVar("T")


class _Missing(Enum):
    MISSING = "MISSING"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final[Any] = _Missing.MISSING
"""A default that was left out: what is missing raises."""

CODECS: Final = Codecs(
    [
        NumpyCodec(),
        PandasCodec(),
        PolarsCodec(),
        ArrowCodec(),
        PillowCodec(),
        MsgpackCodec(),
        PickleCodec(),
        TextCodec(),
        JsonCodec(),
        BytesCodec(),
    ]
)
"""Those that there are; `CODECS.extended(…)` has more."""


@spelled_out(check_details)
def store_value(
    store: ArtifactStore,
    value: Any,
    *,
    codec: str | None = None,
    codecs: Codecs = CODECS,
    **details: Unpack[StoreKeywords],
) -> ArtifactMetadata:
    """Store a value; its content type says how.

    Bytes and text are content as they are. Models, dataclasses and whatever JSON can say become JSON, in which bytes,
    tuples, sets, `datetime` and its kin, `Decimal` and `UUID` keep their type. NumPy arrays become `.npy`, data frames
    Parquet or Arrow, images PNG.

    Args:
        store: Where to.
        value: The value.
        codec: `"json"`, `"msgpack"`, …; left out: the one that is meant for such values.
        codecs: Those that there are.
        **details: What `ArtifactStore.store` takes.

    Raises:
        InvalidArtifactError: No codec can keep the value as it is; says which part of it.
        MissingExtraError: It takes a package that is not installed; says which extra has it.
    """
    stored: ArtifactMetadata = _storing(store, value, codec, codecs, details).run()
    return stored


@spelled_out(check_details)
async def astore_value(
    store: AsyncArtifactStore,
    value: Any,
    *,
    codec: str | None = None,
    codecs: Codecs = CODECS,
    **details: Unpack[StoreKeywords],
) -> ArtifactMetadata:
    """`store_value` for an `AsyncArtifactStore`."""
    stored: ArtifactMetadata = await _storing(store, value, codec, codecs, details).arun()
    return stored


def _storing(store: Store, value: Any, codec: str | None, codecs: Codecs, details: StoreKeywords) -> Ask:
    payload = codecs.encode(value, codec)
    return Ask(store, lambda s: s.store(payload.content, content_type=payload.content_type or "", **details))


@overload
def load_value(
    store: ArtifactStore, ref: IdLike, type: type[T], *, default: Any = MISSING, codecs: Codecs = CODECS
) -> T: ...
@overload
def load_value(
    store: ArtifactStore, ref: IdLike, type: Any = None, *, default: Any = MISSING, codecs: Codecs = CODECS
) -> Any: ...
def load_value(
    store: ArtifactStore, ref: IdLike, type: Any = None, *, default: Any = MISSING, codecs: Codecs = CODECS
) -> Any:
    """The value that was stored.

    Args:
        store: Where from.
        ref: An artifact's id, its ticket or its metadata.
        type: What it has to be: a class, or anything that pydantic understands, such as `list[Model]`, to which it is
            converted; `bytes`: the content as it is. Left out: what the content type says.
        default: What to return where there is no such artifact; left out: that is an error.
        codecs: Those that there are.

    Raises:
        ArtifactNotFoundError: There is no such artifact, and no default.
        ArtifactDecodeError: The content is not what its content type says, or not a `type`.
        MissingExtraError: It takes a package that is not installed; says which extra has it.
    """
    artifact_id = id_of(ref)
    return _value(artifact_id, Ask(store, lambda s: s.load(artifact_id)).run(), type, default, codecs)


@overload
async def aload_value(
    store: AsyncArtifactStore, ref: IdLike, type: type[T], *, default: Any = MISSING, codecs: Codecs = CODECS
) -> T: ...
@overload
async def aload_value(
    store: AsyncArtifactStore, ref: IdLike, type: Any = None, *, default: Any = MISSING, codecs: Codecs = CODECS
) -> Any: ...
async def aload_value(
    store: AsyncArtifactStore, ref: IdLike, type: Any = None, *, default: Any = MISSING, codecs: Codecs = CODECS
) -> Any:
    """`load_value` for an `AsyncArtifactStore`."""
    artifact_id = id_of(ref)
    return _value(artifact_id, await Ask(store, lambda s: s.load(artifact_id)).arun(), type, default, codecs)


def _value(artifact_id: str, artifact: Artifact | None, type: Any, default: Any, codecs: Codecs) -> Any:
    if artifact is None:
        if default is MISSING:
            raise not_found(artifact_id)
        return default
    if type is bytes:
        return artifact.content
    return as_type(codecs.decode(artifact), type, f"artifact {artifact_id} of type {artifact.content_type!r}")
