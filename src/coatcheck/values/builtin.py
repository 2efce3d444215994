"""Codecs for what every Python has: bytes, text, JSON, MessagePack, and pickle, which nobody gets unasked."""

from __future__ import annotations

import pickle
import sys
from typing import Any, Final

import msgpack

from ..arguments import Payload
from .codecs import Codec
from .tagged import DEFAULT_LIMITS, Decoder, Encoder, Limits, dumps, encode, loads

TYPED_JSON: Final = "application/vnd.coatcheck+json"
"""JSON in which types are named that it has no word for; see `tagged.py`."""

_ANY_NUMBER: Final = Limits(depth=sys.getrecursionlimit(), count=sys.maxsize)  # what was stored can be loaded


class BytesCodec(Codec):
    """Bytes are content as they are; so is everything of a type that nobody knows."""

    name = "bytes"
    content_types = ("application/octet-stream", "*")

    def accepts(self, value: object) -> bool:
        return isinstance(value, bytes | bytearray | memoryview)

    def encode(self, value: Any) -> bytes:
        return bytes(memoryview(value))

    def decode(self, content: bytes, content_type: str) -> bytes:
        return content


class TextCodec(Codec):
    """Text in UTF-8."""

    name = "text"
    content_types = ("text/plain", "text/*")

    def accepts(self, value: object) -> bool:
        return isinstance(value, str)

    def encode(self, value: str) -> bytes | Payload:
        try:
            return value.encode()
        except UnicodeEncodeError:  # lone surrogates, for which JSON has escapes
            return Payload(encode(dumps(str(value))), "application/json")

    def decode(self, content: bytes, content_type: str) -> str:
        return content.decode()


class JsonCodec(Codec):
    """JSON, as `store_json` writes it; where it has no word for a type, under a content type of its own.

    Args:
        limits: What is too much to be encoded.
    """

    name = "json"
    content_types = ("application/json", TYPED_JSON, "*+json")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits

    def accepts(self, value: object) -> bool:
        return not isinstance(value, bytes | bytearray | memoryview)

    def encode(self, value: Any) -> bytes | Payload:
        encoder = Encoder(self._limits)
        plain = encoder.encode(value)
        content = encode(dumps(plain))
        return Payload(content, TYPED_JSON) if encoder.typed else content

    def decode(self, content: bytes, content_type: str) -> Any:
        plain = loads(content)
        return Decoder(_ANY_NUMBER).decode(plain) if content_type == TYPED_JSON else plain


class MsgpackCodec(Codec):
    """MessagePack, where it is named: smaller than JSON, and bytes cost nothing."""

    name = "msgpack"
    content_types = ("application/msgpack", "application/x-msgpack", "application/vnd.msgpack")

    def accepts(self, value: object) -> bool:
        return False

    def encode(self, value: Any) -> bytes:
        return bytes(msgpack.packb(value, datetime=True, strict_types=True))

    def decode(self, content: bytes, content_type: str) -> Any:
        return msgpack.unpackb(content, timestamp=3, strict_map_key=False)


class PickleCodec(Codec):
    """Pickle, which runs whatever code its writer chose. Refuses to work unless it is told to trust.

    Args:
        trust_everyone_who_can_write: To this store, to its server, and on the way there.
    """

    name = "pickle"
    content_types = ("application/x-python-pickle",)

    def __init__(self, *, trust_everyone_who_can_write: bool = False) -> None:
        self._trust = trust_everyone_who_can_write

    def accepts(self, value: object) -> bool:
        return False

    def encode(self, value: Any) -> bytes:
        self._check()
        return pickle.dumps(value)

    def decode(self, content: bytes, content_type: str) -> Any:
        self._check()
        return pickle.loads(content)  # noqa: S301  # loudly asked for

    def _check(self) -> None:
        if self._trust is not True:
            raise ValueError(
                "pickles run the code of whoever wrote them; if that is wanted: "
                "codecs=CODECS.extended(PickleCodec(trust_everyone_who_can_write=True))"
            )
