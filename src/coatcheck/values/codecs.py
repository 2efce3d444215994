"""What a codec is, and which one is asked: by the value on the way in, by the content type on the way out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from ..arguments import Payload
from ..errors import ArtifactDecodeError, ArtifactError, InvalidArtifactError, MissingExtraError
from .tagged import kind_of

if TYPE_CHECKING:
    from ..model import Artifact


class Codec(ABC):
    """How values of one kind become content, and back.

    Attributes:
        name: What `store_value(codec=…)` calls it.
        content_types: What its contents are called, patterns as of `fnmatch`; the first is what `encode` gives them.
    """

    name: ClassVar[str]
    content_types: ClassVar[tuple[str, ...]]

    @abstractmethod
    def accepts(self, value: object) -> bool:
        """Whether this codec is meant for a value for which none was named."""

    @abstractmethod
    def encode(self, value: Any) -> bytes | Payload:
        """The content of a value; as a `Payload` where it has another content type than the first.

        Raises:
            Exception: Of any kind: the value cannot be kept as it is.
        """

    @abstractmethod
    def decode(self, content: bytes, content_type: str) -> Any:
        """The value of a content. Whoever can write to the store has chosen it: nothing in it may be executed.

        Raises:
            Exception: Of any kind: the content is not what its type says.
        """


class Codecs:
    """Codecs in the order in which they are asked.

    Args:
        codecs: The first that accepts a value encodes it; the first that names a content type decodes it, and if none
            does, the first that has a pattern for it.
    """

    def __init__(self, codecs: Iterable[Codec]) -> None:
        self._codecs = tuple(codecs)
        self._by_name: dict[str, Codec] = {}
        self._by_type: dict[str, Codec] = {}
        for codec in self._codecs:
            self._by_name.setdefault(codec.name, codec)
            for kind in codec.content_types:
                self._by_type.setdefault(kind, codec)
        self._patterns = [(kind, codec) for codec in self._codecs for kind in codec.content_types if "*" in kind]

    def extended(self, *codecs: Codec) -> Codecs:
        """These codecs before all others."""
        return Codecs((*codecs, *self._codecs))

    def find(self, value: object) -> Codec:
        """The codec that is meant for a value."""
        return next(codec for codec in self._codecs if codec.accepts(value))

    def encode(self, value: Any, codec: str | None = None) -> Payload:
        """A value as content and content type.

        Args:
            value: The value.
            codec: The name of a codec; left out: the first that accepts the value.

        Raises:
            InvalidArtifactError: There is no codec of that name, or it cannot keep the value.
            MissingExtraError: The codec needs a package that is not installed.
        """
        if codec is None:
            chosen = self.find(value)
        elif codec in list(self._by_name):  # has a hash or not
            chosen = self._by_name[codec]
        else:
            raise InvalidArtifactError(f"there is no codec {codec!r:.100}; known codecs: {', '.join(self._by_name)}")
        try:
            content = chosen.encode(value)
        except ArtifactError:
            raise
        except Exception as error:  # packages raise what they like
            raise InvalidArtifactError(
                f"a value of type {kind_of(value)} cannot be kept as {chosen.name}: {error}"
            ) from error
        return content if isinstance(content, Payload) else Payload(content, chosen.content_types[0])

    def decode(self, artifact: Artifact, content_type: str | None = None) -> Any:
        """The value that an artifact stands for.

        Args:
            artifact: The artifact.
            content_type: What to take it for; left out: what its metadata say.

        Raises:
            ArtifactDecodeError: The content is not what its type says.
            MissingExtraError: The codec needs a package that is not installed.
        """
        said = artifact.content_type if content_type is None else content_type
        essence = said.partition(";")[0].strip().lower()
        codec = self._by_type.get(essence) or next(
            (codec for pattern, codec in self._patterns if fnmatchcase(essence, pattern)), None
        )
        name = f"artifact {artifact.artifact_id} of type {said!r}"
        if codec is None:
            raise ArtifactDecodeError(f"{name}: no codec is for this type")
        try:
            return codec.decode(artifact.content, essence)
        except MissingExtraError:
            raise
        except Exception as error:  # packages raise what they like
            raise ArtifactDecodeError(f"{name} cannot be read as {codec.name}: {error}") from error
