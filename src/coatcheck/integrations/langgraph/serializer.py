"""`CoatcheckSerializer`: for other checkpointers, so that large values lie in a store and tickets in their database."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from coatcheck import ArtifactDecodeError, ArtifactStore, CorruptArtifactError, InvalidArtifactError, is_artifact_ref

from ..opening import LazyStore
from .encoding import CONTENT_TYPE

_PREFIX: Final = "coatcheck:"


class CoatcheckSerializer(SerializerProtocol):
    """Serializes as another serializer does, and puts a ticket in the place of what becomes large.

    Serializers block: an asyncio checkpointer waits for the store. Making it touches nothing.

    Args:
        url: Of the store, or an open `ArtifactStore`; `None`: `$COATCHECK_URL`.
        threshold: Bytes from which on a value goes into the store.
        serde: How values become bytes; LangGraph's own, without pickle, if left out. One that encrypts belongs here,
            so that what is stored is encrypted.
        run_id: Who stores, or a function that says so, such as `ContextVar.get`; `None`: the anonymous lease.
        ttl: Seconds or a `timedelta` that a value is kept after it was last serialized; `None`: for ever.
        **options: Of the store, such as `namespace`, the prefix of its keys; see `open_store`.

    Raises:
        InvalidArtifactError: An argument makes no sense.
    """

    def __init__(
        self,
        url: str | ArtifactStore | None = None,
        *,
        threshold: int = 64 * 1024,
        serde: SerializerProtocol | None = None,
        run_id: str | Callable[[], str | None] | None = None,
        ttl: float | timedelta | None = None,
        **options: Any,
    ) -> None:
        if threshold < 0:
            raise InvalidArtifactError(f"threshold must be a number of bytes, not {threshold}")
        self.threshold = threshold
        self.serde = JsonPlusSerializer() if serde is None else serde
        self._run_id = run_id
        self._ttl = ttl
        self._store = LazyStore(url, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r}, threshold={self.threshold})"

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """A value as its kind and bytes, or a ticket for these."""
        kind, content = self.serde.dumps_typed(obj)
        if len(content) < self.threshold:
            return kind, content
        run = self._run_id() if callable(self._run_id) else self._run_id
        stored = self._store.get().store(content, content_type=CONTENT_TYPE, run_id=run, ttl=self._ttl)
        return _PREFIX + kind, json.dumps({**stored.ref, "sha256": stored.digest}).encode()

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value. What was never offloaded is read too.

        Raises:
            ArtifactNotFoundError: What a ticket stands for is gone.
            CorruptArtifactError: It is something else.
            ArtifactDecodeError: It is no ticket.
        """
        kind, content = data
        if not kind.startswith(_PREFIX):
            return self.serde.loads_typed(data)
        try:
            ticket = json.loads(content)
        except (ValueError, RecursionError):
            ticket = None
        if not is_artifact_ref(ticket):
            raise ArtifactDecodeError(f"a value of the kind {kind!r} has no ticket: {content!r:.100}")
        artifact = self._store.get().load(ticket, required=True)
        if artifact.metadata.digest != ticket.get("sha256"):
            raise CorruptArtifactError(f"artifact {artifact.artifact_id} is not what its ticket says: another SHA-256")
        return self.serde.loads_typed((kind.removeprefix(_PREFIX), artifact.content))

    def close(self) -> None:
        """Give back connections. Whoever goes on opens new ones."""
        self._store.close()
