"""The names of every key. Built here and, for keys that only a script can know, in `lua/lib.lua`; nowhere else."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote
from zlib import crc32

from ...errors import InvalidArtifactError

_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


class Keys:
    """Keys of one namespace, as bytes.

    Names in braces are hash tags: a content, its leases and its default artifact share a slot. Braces also keep
    namespaces apart that are prefixes of each other: no namespace contains one.

    Raises:
        InvalidArtifactError: The namespace is not 1 to 100 of `A-Z a-z 0-9 _ . : -`.
    """

    def __init__(self, namespace: str) -> None:
        if not isinstance(namespace, str) or _NAMESPACE.fullmatch(namespace) is None:  # type: ignore[redundant-expr]
            raise InvalidArtifactError(
                f"invalid namespace {namespace!r}: 1 to 100 of letters, digits, '_', '.', ':' and '-'"
            )
        self.prefix = f"{namespace}:".encode()
        self._artifact = self.prefix + b"artifact:{%b}"
        self._content = self.prefix + b"content:{%b}"
        self._leases = self.prefix + b"leases:{%b}"
        self._run = self.prefix + b"run:{%b}"
        self._staging = self.prefix + b"staging:{%b}:%b"
        self.runs = self.prefix + b"runs"
        self.created = self.prefix + b"catalog:created"
        self.deadlines = self.prefix + b"catalog:deadlines"

    def artifact(self, artifact_id: bytes) -> bytes:
        """Hash: what an artifact is and who leases it."""
        return self._artifact % artifact_id

    def content(self, tag: bytes) -> bytes:
        """String: the sealed content or its manifest. `tag` is the first 32 hex digits of the digest."""
        return self._content % tag

    def chunk(self, tag: bytes, token: bytes, n: int) -> bytes:
        """String: one chunk of a content. `token` is the upload's own, so that chunks of two uploads never mix."""
        return b"%b:%b:%d" % (self.content(tag), token, n)

    def leases(self, tag: bytes) -> bytes:
        """Sorted set: explicit ids that need this content, by deadline."""
        return self._leases % tag

    def run(self, run_id: str) -> bytes:
        """Sorted set: artifacts a run leases, by deadline."""
        return self._run % _quoted(run_id)

    def staging(self, tag: bytes, token: bytes) -> bytes:
        """String: an upload that is not published yet; always has a short TTL."""
        return self._staging % (tag, token)


@lru_cache(maxsize=256)  # a worker stores for few runs
def _quoted(run_id: str) -> bytes:
    return quote(run_id, safe="").encode()


class SplitKeys(Keys):
    """Keys of the split form: what one script touches has one hash tag.

    Each run's index shares a slot with its shard of the list of runs; the catalog is cut into shards by artifact, so
    that no slot sees every store.
    """

    RUN_SHARDS: Final = 64
    CATALOG_SHARDS: Final = 16

    def run(self, run_id: str | bytes) -> bytes:
        """Sorted set: claims of a run's leases, by deadline."""
        name = run_id.encode() if isinstance(run_id, str) else run_id
        return self.prefix + b"run:{runs-%02x}:%b" % (crc32(name) % self.RUN_SHARDS, quote(name, safe="").encode())

    def runs_with(self, run_id: bytes) -> bytes:
        """Sorted set: the runs of this run's shard, by the deadline of their last lease."""
        return self._runs(crc32(run_id) % self.RUN_SHARDS)

    def catalog_with(self, artifact_id: bytes) -> tuple[bytes, bytes]:
        """Sorted sets: claims of the leases of this artifact's shard, by time of store and by deadline."""
        return self._catalog(crc32(artifact_id) % self.CATALOG_SHARDS)

    def all_runs(self) -> list[bytes]:
        """Every shard of the list of runs."""
        return [self._runs(shard) for shard in range(self.RUN_SHARDS)]

    def all_catalogs(self) -> list[tuple[bytes, bytes]]:
        """Every shard of the catalog."""
        return [self._catalog(shard) for shard in range(self.CATALOG_SHARDS)]

    def fence(self, artifact_id: bytes) -> bytes:
        """String: the youngest token that `gc` took for abandoned; always has a short TTL."""
        return self.prefix + b"fence:{%b}" % artifact_id

    def _runs(self, shard: int) -> bytes:
        return self.prefix + b"runs:{runs-%02x}" % shard

    def _catalog(self, shard: int) -> tuple[bytes, bytes]:
        tag = b"{catalog-%x}" % shard
        return self.prefix + b"catalog:created:" + tag, self.prefix + b"catalog:deadlines:" + tag
