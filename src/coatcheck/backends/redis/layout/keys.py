"""The names of every key. Built here and, for keys that only a script can know, in `lua/lib.lua`; nowhere else."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from ....errors import InvalidArtifactError

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
