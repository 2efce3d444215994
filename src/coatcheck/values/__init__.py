"""Values instead of bytes: stored by the codec that fits, loaded by what their content type says.

Never by pickle, unless a `PickleCodec` is told to trust everyone who can write.
"""

from .builtin import TYPED_JSON, JsonCodec, PickleCodec
from .codecs import Codec, Codecs
from .storing import CODECS, aload_value, astore_value, load_value, store_value
from .tagged import Limits

__all__ = [
    "CODECS",
    "TYPED_JSON",
    "Codec",
    "Codecs",
    "JsonCodec",
    "Limits",
    "PickleCodec",
    "aload_value",
    "astore_value",
    "load_value",
    "store_value",
]
