"""What a Redis store can be told: names, defaults and checks, once for both faces and every URL."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

from ...arguments import check_tags
from ...cache import ContentCache
from ...compression import DEFAULT_LEVEL, DEFAULT_THRESHOLD, Compression, Zstd
from ...disk_cache import DiskCache
from ...envelope import Verify
from ...errors import InvalidArtifactError
from .layout.labels import MOST, TYPE, presence_field, tag_field
from .layout.partitions import COUNTS, ON_A_CLUSTER, ON_A_SERVER, check_namespace
from .transport.connect import TIMEOUT
from .transport.durability import LEVELS, Durability

Certificates = Literal["required", "optional", "none"]

_LONGEST_NAME: Final = 1024

_CHOICES: Final[dict[str, tuple[object, ...]]] = {
    "partitions": (None, *COUNTS),
    "compression": ("zstd", None),
    "verify": ("full", "checksum"),
    "durability": LEVELS,
    "ssl_cert_reqs": ("required", "optional", "none", None),
}


class RedisKeywords(TypedDict, total=False):
    """`RedisOptions` as keywords: the list for type checkers, without the namespace, which every store has."""

    partitions: int | None
    compression: Compression | None
    compression_level: int
    compression_threshold: int
    verify: Verify
    max_size: int | None
    durability: Durability
    retry_for: float
    timeout: float
    cache_size: int
    cache_dir: str | os.PathLike[str] | None
    cache_dir_size: int
    index_tags: Sequence[str]
    index_presence: Sequence[str]
    index_content_type: bool
    ssl_ca_certs: str | os.PathLike[str] | None
    ssl_ca_data: str | None
    ssl_certfile: str | os.PathLike[str] | None
    ssl_keyfile: str | os.PathLike[str] | None
    ssl_password: str | None
    ssl_cert_reqs: Certificates | None
    ssl_check_hostname: bool | None


@dataclass(frozen=True, kw_only=True)
class RedisOptions:
    """The options of `RedisArtifactStore`, all of them keywords.

    Attributes:
        namespace: Prefix of every key; stores of different namespaces never meet.
        partitions: Hash slots that the namespace is spread over: 1, 64 or 256, the same for all its workers. `None`: 1
            on a server, 64 on a cluster.
        compression: `"zstd"` where it pays, or `None`.
        compression_level: -7 (fast) to 22 (small; from 20 on it takes hundreds of MiB for large contents).
        compression_threshold: Contents of fewer bytes are not compressed.
        verify: `"full"` hashes what was read; `"checksum"` trusts the checksum of the stored bytes, for speed.
        max_size: Largest content in bytes that is taken, and that is given out; `None`: as much as the server's memory
            takes.
        durability: What has to hold before a write is acknowledged. `"memory"`: the server has it, and persists it as
            it is configured to; `"fsync"`: it is on the server's disk; `"replica"`: a replica has it;
            `"replica+fsync"`: on both disks. A write that is not confirmed within 5 seconds raises
            `AmbiguousWriteError`. (The asyncio store finds out with its first write whether the server can.)
        retry_for: Seconds during which a call is repeated while the server cannot be reached. The default is longer
            than a failover on a healthy Sentinel or cluster takes, and shorter than a caller's patience.
        timeout: Seconds for one exchange with a server, whatever it does: at most 8 MiB each way; large contents take
            many exchanges. What has no answer by then counts as a broken connection. A URL of redis-py's kind may say
            `socket_timeout`; a caller's own client has its own.
        cache_size: Bytes of contents to keep in this process, so that loading them again sends none; 0: no cache.
            Whether an artifact is there, and what it stands for, is asked of the server every time.
        cache_dir: A local directory for a second tier that processes of this user share; contents of any size lie there
            as they lie on the server, for this user only. What is loaded, or read by `open` in order to its end, is
            kept there; `load`, `open` and `load_range` are served from it, verified as from the server.
        cache_dir_size: Bytes that it holds, about.
        index_tags: Names of tags: lists, counts and facets of `tags={name: value}` ask an index, kept by every store
            that changes something here. Takes effect in a namespace that is empty; in others after `reindex()`. A URL
            may say this option and the following two, and goes first: `?index_tags=kind,step&index_content_type=1`.
        index_presence: The same for `tags={name: ANY}`, with any value.
        index_content_type: The same for `content_type="…"`.
        ssl_ca_certs: File of the authorities that the server's certificate may come from; `None`: the system's. This
            option and the following need a URL of TLS, and have redis-py's names, also as parameters of the URL.
        ssl_ca_data: The same as text in PEM format.
        ssl_certfile: File of this client's certificate, for servers that ask for one.
        ssl_keyfile: File of its key; `None`: it is in the file of the certificate.
        ssl_password: What the key is encrypted with.
        ssl_cert_reqs: Whether the server's certificate is verified; `None`: it is `"required"`.
        ssl_check_hostname: Whether it must be for the host that the URL names; `None`: it must.

    Raises:
        InvalidArtifactError: One of them makes no sense.
    """

    namespace: str = "coatcheck"
    partitions: int | None = None
    compression: Compression | None = "zstd"
    compression_level: int = DEFAULT_LEVEL
    compression_threshold: int = DEFAULT_THRESHOLD
    verify: Verify = "full"
    max_size: int | None = None
    durability: Durability = "memory"
    retry_for: float = 3.0
    timeout: float = TIMEOUT
    cache_size: int = 0
    cache_dir: str | os.PathLike[str] | None = None
    cache_dir_size: int = 1024**3
    index_tags: Sequence[str] = ()
    index_presence: Sequence[str] = ()
    index_content_type: bool = False
    ssl_ca_certs: str | os.PathLike[str] | None = None
    ssl_ca_data: str | None = None
    ssl_certfile: str | os.PathLike[str] | None = None
    ssl_keyfile: str | os.PathLike[str] | None = None
    ssl_password: str | None = field(default=None, repr=False)
    ssl_cert_reqs: Certificates | None = None
    ssl_check_hostname: bool | None = None

    def __post_init__(self) -> None:
        check_namespace(self.namespace)
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices or isinstance(value, bool | float):
                *most, last = map(repr, choices)
                raise InvalidArtifactError(f"{name} must be {', '.join(most)} or {last}, not {value!r}")
        self._check_size("cache_size", least=0)
        self._check_size("cache_dir_size", least=1)
        self._check_indexes()
        if self.max_size is not None:
            self._check_size("max_size", least=1)
        Zstd(self.compression_level, self.compression_threshold)  # checked even where it is not used
        directory: object = self.cache_dir
        if directory is not None and (not isinstance(directory, str | os.PathLike) or not os.fspath(directory)):
            raise InvalidArtifactError(f"cache_dir must be a directory or None, not {directory!r}")
        for name in ("ssl_ca_certs", "ssl_ca_data", "ssl_certfile", "ssl_keyfile", "ssl_password"):
            if not isinstance(getattr(self, name), str | os.PathLike | None):
                raise InvalidArtifactError(f"{name} must be a str, not {type(getattr(self, name)).__name__}")
        if not isinstance(self.ssl_check_hostname, bool | None):
            raise InvalidArtifactError(
                f"ssl_check_hostname must be True or False, not {self.ssl_check_hostname!r:.100}"
            )
        timeout: object = self.timeout
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
            raise InvalidArtifactError(f"timeout must be seconds, more than 0, not {self.timeout!r}")
        if not isinstance(self.retry_for, int | float) or not 0 <= self.retry_for < math.inf:  # type: ignore[redundant-expr]
            raise InvalidArtifactError(f"retry_for must be seconds, 0 or more, not {self.retry_for!r}")

    def _check_indexes(self) -> None:
        for name in ("index_tags", "index_presence"):
            object.__setattr__(self, name, _check_names(getattr(self, name), name))
        given: object = self.index_content_type
        if not isinstance(given, bool):
            raise InvalidArtifactError(f"index_content_type must be True or False, not {given!r}")
        if len(self.fields) > MOST:
            raise InvalidArtifactError(f"a namespace indexes {MOST} fields at most, not {len(self.fields)}")

    def _check_size(self, name: str, *, least: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InvalidArtifactError(f"{name} must be bytes, {least} or more, not {value!r}")

    def as_dict(self) -> dict[str, Any]:
        """The options as keywords, as another process would give them."""
        return {**asdict(self), "cache_dir": None if self.cache_dir is None else str(self._cache_dir)}

    @property
    def fields(self) -> tuple[bytes, ...]:
        """What to index by label."""
        found = [TYPE] if self.index_content_type else []
        return (*found, *map(tag_field, self.index_tags), *map(presence_field, self.index_presence))

    @property
    def tls(self) -> dict[str, Any]:
        """The options for TLS that were given, by redis-py's names."""
        given = {name: value for name, value in asdict(self).items() if name.startswith("ssl_") and value is not None}
        return {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in given.items()}

    def zstd(self) -> Zstd | None:
        """How contents are compressed."""
        return None if self.compression is None else Zstd(self.compression_level, self.compression_threshold)

    def cache(self) -> ContentCache | None:
        """A new content cache, empty in memory."""
        if self._cache_dir is not None:
            return ContentCache(self.cache_size, DiskCache(self._cache_dir, self.cache_dir_size, self.verify))
        return ContentCache(self.cache_size) if self.cache_size else None

    @property
    def _cache_dir(self) -> Path | None:
        return None if self.cache_dir is None else Path(self.cache_dir).absolute()

    def partition_count(self, *, cluster: bool) -> int:
        """How many partitions the namespace has.

        Raises:
            InvalidArtifactError: One is not enough for a cluster.
        """
        if cluster and self.partitions == 1:
            raise InvalidArtifactError(
                "partitions=1 lies in one hash slot, on one server: on a cluster choose 64 or 256"
            )
        return self.partitions or (ON_A_CLUSTER if cluster else ON_A_SERVER)


def _check_names(names: Any, what: str) -> tuple[str, ...]:
    """Names of tags, each once."""
    if isinstance(names, str | bytes) or not isinstance(names, Sequence | set | frozenset):
        raise InvalidArtifactError(f"{what} must be names of tags, as ('kind', 'step'), not {names!r:.100}")
    for name in names:
        if not isinstance(name, str) or len(name.encode(errors="replace")) > _LONGEST_NAME:
            raise InvalidArtifactError(
                f"{what} must be names of tags of {_LONGEST_NAME} bytes at most, not {name!r:.100}"
            )
    return tuple(check_tags(dict.fromkeys(names, "")))
