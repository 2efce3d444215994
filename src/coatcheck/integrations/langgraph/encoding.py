"""How values become artifacts: bytes by LangGraph's serializers, their kind in a tag, an id from LangGraph's names."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from langgraph.checkpoint.serde.base import SerializerProtocol

from coatcheck import Artifact, Payload

TYPE: Final = "type"  # the tag that says how a value became bytes
CONTENT_TYPE: Final = "application/x-langgraph"


def hash_of(*parts: Any) -> str:
    """What LangGraph knows by several names, as a part of an artifact id."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def encoded(serde: SerializerProtocol, value: Any, artifact_id: str, tags: dict[str, str], **more: Any) -> Payload:
    """A value as an item to store."""
    kind, content = serde.dumps_typed(value)
    return Payload(content, CONTENT_TYPE, {TYPE: kind, **tags}, artifact_id, **more)


def decoded(serde: SerializerProtocol, artifact: Artifact) -> Any:
    """The value."""
    return serde.loads_typed((artifact.metadata.tags.get(TYPE, ""), artifact.content))
