"""The names of the keys of one partition. Built here and, where only a script can know them, in `lua/lib/keys.lua`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import quote, unquote_to_bytes

from ....errors import CorruptArtifactError
from ....ids import is_default_id

_PATTERNS: Final = {
    "artifact": rb"artifact:(?P<name>[A-Za-z0-9_-]{1,200})",
    "leases": rb"leases:(?P<name>[A-Za-z0-9_-]{1,200})",
    "stores": rb"stores:(?P<name>[A-Za-z0-9_-]{1,200})",
    "content": rb"content:(?P<name>[0-9a-f]{32})",
    "needs": rb"needs:(?P<name>[0-9a-f]{32})",
    "chunk": rb"chunk:(?P<name>[0-9a-f]{32}):(?P<token>[0-9a-f]{16}):[0-9]{1,10}",
    "staging": rb"staging:(?P<name>[0-9a-f]{32}):(?P<token>[0-9a-f]{16})",
    "buried": rb"buried:(?P<name>[A-Za-z0-9_-]{1,200}):(?P<token>[0-9a-f]{16})",
    "run": rb"run:(?P<name>[A-Za-z0-9_.~%-]*)",
    "runs": rb"runs",
    "catalog": rb"catalog:(?P<name>created|deadlines|outlived)",
    "labelled": rb"labelled:(?:(?P<name>mixed|[0-9a-f]{14}:[A-Za-z0-9_.~%-]{0,384}):(?P<by>created|deadlines)"
    rb"|(?P<token>[0-9a-f]{14}):values)",
}
KINDS: Final = frozenset(_PATTERNS)
"""The first word of every key behind the prefix."""

ALL: Final = b"*"
CONTENTS: Final = b"content:*"
RARE: Final = b"?[^or]*"
"""Patterns of keys behind the prefix. Artifacts and contents are most of them; the second letter tells all others."""

_ID: Final = re.compile(rb"[A-Za-z0-9_-]{1,200}")
BINARY: Final = 16
"""Bytes of a default id as a member."""

_KEY: Final = {kind.encode(): (kind, re.compile(pattern)) for kind, pattern in _PATTERNS.items()}


def member_of(artifact_id: bytes) -> bytes:
    """An artifact as a member of indexes: a default id in 16 bytes, any other id in text that never has 16."""
    if len(artifact_id) == 2 * BINARY and is_default_id(artifact_id.decode()):
        return bytes.fromhex(artifact_id.decode())
    return b":" + artifact_id if len(artifact_id) != BINARY - 1 else b"::" + artifact_id


def default_member(digest: bytes) -> bytes:
    """The default artifact of a content as a member."""
    return digest[:BINARY]


def artifact_of(member: bytes) -> bytes | None:
    """The id of the artifact that a member stands for; `None` where it stands for none."""
    if len(member) == BINARY:
        return member.hex().encode()
    artifact_id = member.lstrip(b":")
    return artifact_id if _ID.fullmatch(artifact_id) and member_of(artifact_id) == member else None


def listed(member: bytes) -> bytes:
    """The same for lists, which name everything or fail.

    Raises:
        CorruptArtifactError: It stands for none.
    """
    artifact_id = artifact_of(member)
    if artifact_id is None:
        raise CorruptArtifactError(f"an index has a damaged member: {member!r}; gc() removes it")
    return artifact_id


def all_listed(members: Sequence[bytes]) -> list[bytes]:
    """The same for many."""
    if not {BINARY}.issuperset(map(len, members)):
        return list(map(listed, members))
    digits = b"".join(members).hex().encode()
    return [digits[at : at + 2 * BINARY] for at in range(0, len(digits), 2 * BINARY)]


@lru_cache(maxsize=256)  # a worker stores for few runs
def quoted(run_id: str | None) -> bytes:
    """A run as keys, lease fields and indexes name it: percent-quoted; empty for the anonymous lease."""
    return b"" if run_id is None else quote(run_id, safe="").encode()


@lru_cache(maxsize=256)
def unquoted(run: bytes) -> str:
    """The run that `quoted` named so.

    Raises:
        CorruptArtifactError: It names none so.
    """
    try:
        run_id = unquote_to_bytes(run).decode()
    except UnicodeDecodeError:
        run_id = ""
    if not run_id or quoted(run_id) != run:
        raise CorruptArtifactError(f"a run id on the server is damaged: {run!r}; check() tells more")
    return run_id


class Keys:
    """Keys of one partition, as bytes.

    Attributes:
        prefix: What all of them begin with.
        slot: The hash slot of all of them; 0 where they have no tag.
        is_tagged: Whether they have one, so that they may be moved to another node, key by key.
        usual: What keys of most kinds begin with; behind it comes a name.
    """

    def __init__(self, prefix: bytes, slot: int) -> None:
        self.prefix = prefix
        self.slot = slot
        self.is_tagged = prefix.endswith(b"}:")
        self._artifact = prefix + b"artifact:"
        self._leases = prefix + b"leases:"
        self._stores = prefix + b"stores:"
        self._content = prefix + b"content:"
        self._needs = prefix + b"needs:"
        self._run = prefix + b"run:"
        self.runs = prefix + b"runs"
        self.created = prefix + b"catalog:created"
        self.deadlines = prefix + b"catalog:deadlines"
        self.outlived = prefix + b"catalog:outlived"
        self.catalog = (self.created, self.deadlines, self.runs)
        self.usual = {"artifact": self._artifact, "content": self._content}

    def artifact(self, artifact_id: bytes) -> bytes:
        """Hash: what an artifact is and who leases it."""
        return self._artifact + artifact_id

    def leases(self, artifact_id: bytes) -> bytes:
        """Sorted set: lease fields of an artifact that many lease, by deadline."""
        return self._leases + artifact_id

    def stores(self, artifact_id: bytes) -> bytes:
        """Sorted set: lease fields of an artifact that many lease, by time of store."""
        return self._stores + artifact_id

    def content(self, content_id: bytes) -> bytes:
        """String: the sealed content or its manifest. `content_id`: the first 32 hex digits of the digest."""
        return self._content + content_id

    def needs(self, content_id: bytes) -> bytes:
        """Sorted set: explicit ids that need this content, and holds on its chunks, by deadline."""
        return self._needs + content_id

    def of(self, artifact_id: bytes, content_id: bytes) -> tuple[bytes, ...]:
        """The six keys of one artifact, in the order in which scripts take them (`artifact_at`)."""
        return (
            self._artifact + artifact_id,
            self._leases + artifact_id,
            self._stores + artifact_id,
            self._content + content_id,
            self._needs + content_id,
            self._artifact + content_id,
        )

    def run(self, run_id: str | None) -> bytes:
        """Sorted set: artifacts a run leases, by deadline. For the anonymous lease: a key that is never written."""
        return self._run + quoted(run_id)

    def artifact_of(self, member: bytes) -> bytes:
        """The artifact that a member of an index stands for; where it stands for none, a key that is never written."""
        return self._artifact + (artifact_of(member) or b"")

    def run_of(self, run: bytes) -> bytes:
        """The same for a run as it stands in indexes and lease fields."""
        return self._run + run

    def labelled(self, name: bytes, by: Literal["created", "deadlines"]) -> bytes:
        """Sorted set: artifacts under a name of `lua/lib/labels.lua`, by time of store or by deadline."""
        return b"%blabelled:%b:%b" % (self.prefix, name, by.encode())

    def values(self, token: bytes) -> bytes:
        """Sorted set: quoted values of a field, by the ends of their indexes."""
        return self.labels_of(token) + b"values"

    def labels_of(self, token: bytes) -> bytes:
        """What the indexes of a field begin with."""
        return b"%blabelled:%b:" % (self.prefix, token)

    def chunk(self, content_id: bytes, token: bytes, n: int) -> bytes:
        """String: one chunk of a content. `token` is the upload's own, so that chunks of two uploads never mix."""
        return b"%bchunk:%b:%b:%d" % (self.prefix, content_id, token, n)

    def staging(self, content_id: bytes, token: bytes) -> bytes:
        """String: an upload that is not published yet; always has a short TTL."""
        return b"%bstaging:%b:%b" % (self.prefix, content_id, token)

    def buried(self, artifact_id: bytes, token: bytes) -> bytes:
        """Sorted set: leases of an artifact that was deleted, until their runs' indexes know; always has a TTL."""
        return b"%bburied:%b:%b" % (self.prefix, artifact_id, token)

    def kind_of(self, key: bytes) -> tuple[str, re.Match[bytes]] | None:
        """What a key of this partition is; `None` for one that is not ours."""
        rest = key[len(self.prefix) :]
        kind = _KEY.get(rest.partition(b":")[0])
        match = None if kind is None else kind[1].fullmatch(rest)
        return None if kind is None or match is None else (kind[0], match)
