"""Claims: how a lease is known outside its artifact's slot, in its run's index, the catalog and its content's leases.

A claim carries the lease's token, its time of store, which no other lease of the artifact ever has. So whoever takes a
claim back takes exactly what it saw. Claims are made before the lease is committed and taken back after it is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from .. import records
from ..keys import SplitKeys
from ..scripts import Call
from . import scripts

SKEW_MS: Final = 1000
"""How much longer contents of explicit ids are kept than their leases: the clocks of two nodes may differ by that."""

_NAME: Final = re.compile(rb"([A-Za-z0-9_-]+):([0-9a-f]{14}):(-|=.+)", re.DOTALL)


class Claim(NamedTuple):
    """Who claims: one lease. `digest`: of the content, for explicit ids, whose content lies in another slot."""

    artifact_id: bytes
    field: bytes
    token: int
    digest: bytes | None

    @classmethod
    def of(cls, artifact_id: bytes, head: bytes, field: bytes, lease: bytes) -> Claim:
        """The claim of a stored lease, of which the beginning is enough."""
        return cls(artifact_id, field, records.lease_times(lease)[1], records.explicit_digest(head))

    @classmethod
    def parse(cls, name: bytes) -> Claim | None:
        """A claim by its name in an index, which doesn't tell the digest; `None`: not a claim."""
        match = _NAME.fullmatch(name)
        return None if match is None else cls(match[1], match[3], int(match[2], 16), None)

    @property
    def name(self) -> bytes:
        """The member of the sorted sets."""
        return b"%b:%014x:%b" % (self.artifact_id, self.token, self.field)

    @property
    def run_id(self) -> bytes | None:
        """Whose lease it is; `None`: the anonymous one."""
        return self.field[1:] if self.field[:1] == b"=" else None


class Lowering(NamedTuple):
    """A claim to be taken back, or lowered to a deadline where its scores are still those that were seen."""

    claim: Claim
    deadline: int | None = None
    seen: dict[bytes, int] = {}  # noqa: RUF012  # never written; by key

    def arguments(self, key: bytes, later: int = 0) -> tuple[bytes, bytes, bytes]:
        """Name, score seen, deadline, as the scripts take them."""
        if self.deadline is None:
            return self.claim.name, b"", b""
        return self.claim.name, b"%d" % self.seen[key], b"%d" % (self.deadline + later)


def claim_calls(keys: SplitKeys, claims: Iterable[tuple[Claim, int]]) -> list[Call]:
    """Claims on indexes, with their deadlines: one call per slot. Each returns the scores of its claims, in order."""
    runs: dict[bytes, list[bytes]] = {}
    catalogs: dict[tuple[bytes, bytes], list[bytes]] = {}
    for claim, deadline in claims:
        until = b"%d" % deadline
        if claim.run_id is not None:
            runs.setdefault(claim.run_id, []).extend((claim.name, until))
        catalogs.setdefault(keys.catalog_with(claim.artifact_id), []).extend((claim.name, b"%d" % claim.token, until))
    return [
        *(scripts.CLAIM_RUN.call([keys.run(run), keys.runs_with(run)], [run, *rest]) for run, rest in runs.items()),
        *(scripts.CLAIM_CATALOG.call(names, rest) for names, rest in catalogs.items()),
    ]


def claim_content_call(
    keys: SplitKeys,
    claim: Claim,
    deadline: int,
    where: bytes,
    sealed: tuple[bytes, bytes] = (b"", b""),
    staging: bytes | None = None,
) -> Call:
    """The claim of an explicit id on its content; see the script for `where`."""
    assert claim.digest is not None
    tag = records.tag_of(claim.digest)
    names = _content_keys(keys, tag) + ([] if staging is None else [staging])
    until = b"%d" % (deadline + SKEW_MS)
    return scripts.CLAIM_CONTENT.call(names, [keys.prefix, tag, claim.digest, claim.name, until, where, sealed])


def _content_keys(keys: SplitKeys, tag: bytes) -> list[bytes]:
    return [keys.content(tag), keys.leases(tag), keys.artifact(tag)]


def unclaim_calls(keys: SplitKeys, lowered: Iterable[Lowering]) -> list[Call]:
    """Take claims back, or lower them: one call per slot."""
    runs: dict[bytes, list[bytes]] = {}
    catalogs: dict[tuple[bytes, bytes], list[bytes]] = {}
    contents: dict[bytes, list[bytes]] = {}
    for lowering in lowered:
        claim = lowering.claim
        if claim.run_id is not None:
            runs.setdefault(claim.run_id, []).extend(lowering.arguments(keys.run(claim.run_id)))
        catalog = keys.catalog_with(claim.artifact_id)
        catalogs.setdefault(catalog, []).extend(lowering.arguments(catalog[0]))
        if claim.digest is not None:
            key = keys.content(records.tag_of(claim.digest))
            contents.setdefault(claim.digest, []).extend(lowering.arguments(key, SKEW_MS))
    return [
        *(scripts.UNCLAIM_RUN.call([keys.run(run), keys.runs_with(run)], [run, *rest]) for run, rest in runs.items()),
        *(scripts.UNCLAIM_CATALOG.call(names, rest) for names, rest in catalogs.items()),
        *(unclaim_content_call(keys, records.tag_of(digest), digest, rest) for digest, rest in contents.items()),
    ]


def unclaim_content_call(keys: SplitKeys, tag: bytes, digest: bytes, rest: list[bytes]) -> Call:
    """Take back or lower claims on one content; `digest` and `rest` as the script takes them."""
    return scripts.UNCLAIM_CONTENT.call(_content_keys(keys, tag), [keys.prefix, tag, digest, *rest])
