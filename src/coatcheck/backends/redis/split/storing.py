"""Storing in the split form: read, claim, commit, clean up.

A batch goes through the phases together, one exchange each; whoever finds at its commit that the lease has changed
since it was read starts over with those that did, too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ....arguments import Request, StoreRequest
from ....envelope import seal
from ....errors import ArtifactError, InvalidArtifactError, StoreFullError, StoreUnavailableError
from ....model import ArtifactMetadata
from ....plan import Plan, Work
from .. import records
from ..core import INLINE, LONG_WORK, TRIES
from ..download import lost
from ..retry import LATER, Patience, translate
from ..scripts import Call, Command, Sendable
from ..upload import STAGING_MS
from . import scripts
from .claims import Claim, claim_calls, claim_content_call
from .seen import Seen

if TYPE_CHECKING:
    from .backend import SplitBackend


class Storing:
    """One request on its way. Without content it stands for a lease on what is there."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.name: Final = request.artifact_id.encode()
        self.field: Final = records.lease_field(request.run_id)
        self.head: Final = records.encode_head(request)
        self.tag: Final = records.tag_of(request.digest)
        self.is_default: Final = records.explicit_digest(self.head) is None
        self.seen: Seen | None = None
        self.lease = b""
        self.where, self.sealed, self.staging = b"k", (b"", b""), b""
        self.garbage: list[Claim] = []  # what surely is no lease, and will not become one
        self.uploads: list[bytes] = []  # staging keys that may be left
        self.result: ArtifactMetadata | ArtifactError | None = None

    @property
    def claim(self) -> Claim:
        """What its lease claims."""
        return Claim.of(self.name, self.head, self.field, self.lease)

    @property
    def deadline(self) -> int:
        """Of its lease."""
        return records.lease_times(self.lease)[0]

    def start_from(self, seen: Seen) -> None:
        """Take what was read as the state to change."""
        if self.seen is not None:
            self.garbage += self.seen.gone_in(seen)
        self.seen = seen
        ttl = self.request.ttl_ms
        deadline = records.FOREVER if ttl is None else seen.token // 1000 + ttl
        if seen.mine and seen.head == self.head:  # a store never shortens
            deadline = max(deadline, records.lease_times(seen.mine)[0])
        self.lease = records.encode_lease(deadline, seen.token, records.encode_view(self.request))
        self.where, self.sealed, self.staging = b"k", (b"", b""), b""

    def committed(self, ended: Sequence[bytes]) -> None:
        """Its lease is there; what it superseded can go."""
        assert self.seen is not None
        deadline, created = records.lease_times(self.lease)
        self.result = records.stored_view(self.request, created, deadline)
        self.garbage += self.seen.claims()
        self.garbage += Seen.claims_of(self.name, self.seen.head, ended)

    def failed(self, error: ArtifactError | None = None) -> None:
        """Its commit was refused, or will not be sent: its claims can go."""
        self.garbage.append(self.claim)
        if self.staging:
            self.uploads.append(self.staging)
        self.result = error


def store_batch(backend: SplitBackend, requests: Sequence[Request]) -> Plan[list[ArtifactMetadata]]:
    """Store items that have different ids."""
    items = [Storing(request) for request in requests]
    patience = Patience(backend.retry_for)
    waiting = items
    for _ in range(TRIES):
        yield from _read(backend, waiting)
        waiting = [item for item in waiting if item.result is None]
        yield from _claim(backend, waiting)
        waiting = [item for item in waiting if item.result is None]
        yield from _commit(backend, waiting, patience)
        waiting = [item for item in waiting if item.result is None]
        if not waiting:
            break
    for item in waiting:
        item.result = StoreUnavailableError(
            f"artifact {item.request.artifact_id} changed {TRIES} times while it was stored; try again"
        )
    yield from backend.drop(
        [claim for item in items for claim in item.garbage],
        uploads=[key for item in items for key in item.uploads],
    )
    results = []
    for item in items:
        if not isinstance(item.result, ArtifactMetadata):
            assert item.result is not None
            raise item.result
        results.append(item.result)
    return results


def _read(backend: SplitBackend, items: Sequence[Storing]) -> Plan[None]:
    found = yield from backend.see([(item.name, item.field, item.head) for item in items])
    for item, seen in zip(items, found, strict=True):
        if seen is None:
            item.result = taken(item.request)
        elif seen.head != item.head and not isinstance(item.request, StoreRequest):
            item.result = lost(item.request.artifact_id)  # replaced or gone: not what was there
        else:
            item.start_from(seen)


def _claim(backend: SplitBackend, items: Sequence[Storing]) -> Plan[None]:
    if not items:
        return
    commands: list[Sendable] = []
    content_calls: dict[int, Storing] = {}
    for item in items:
        assert item.seen is not None
        small = item.request.size <= INLINE and isinstance(item.request, StoreRequest)
        if item.is_default:
            if not item.seen.length:
                if not isinstance(item.request, StoreRequest):
                    item.failed(lost(item.request.artifact_id))
                    continue
                yield from _seal(backend, item)
                if not small:
                    commands.append(_stage(backend, item))
        else:
            if small:
                yield from _seal(backend, item)
            content_calls[len(commands)] = item
            commands.append(_content_call(backend, item))
    commands += claim_calls(backend.names, [(item.claim, item.deadline) for item in items])
    try:
        replies = yield from backend.write(*commands)
        for i, item in content_calls.items():
            yield from _content_claimed(backend, item, replies[i])
    except StoreFullError:
        yield from backend.drop([item.claim for item in items])
        raise


def _content_claimed(backend: SplitBackend, item: Storing, reply: Any) -> Plan[None]:
    for _ in range(TRIES):
        if reply[0] == b"taken":
            item.failed(taken(item.request))
        if reply[0] != b"need":
            return
        if not isinstance(item.request, StoreRequest):
            return item.failed(lost(item.request.artifact_id))
        if not item.sealed[0]:
            yield from _seal(backend, item)
        stage = _stage(backend, item)
        _, reply = yield from backend.write(stage, _content_call(backend, item))
    item.failed(
        StoreUnavailableError(
            f"upload of artifact {item.request.artifact_id} vanished from the server {TRIES} times: "
            "is it evicting keys?"
        )
    )


def _content_call(backend: SplitBackend, item: Storing) -> Call:
    staging = item.staging or None
    sealed = item.sealed if item.where == b"c" else (b"", b"")
    return claim_content_call(backend.names, item.claim, item.deadline, item.where, sealed, staging)


def _seal(backend: SplitBackend, item: Storing) -> Plan[None]:
    request = item.request
    assert isinstance(request, StoreRequest)
    if len(request.content) >= LONG_WORK:
        item.sealed = yield Work(
            lambda: seal(request.content, request.digest, request.content_type, backend.compression)
        )
    else:
        item.sealed = seal(request.content, request.digest, request.content_type, backend.compression)
    item.where = b"c"


def _stage(backend: SplitBackend, item: Storing) -> Command:
    item.where, item.staging = b"s", backend.names.staging(item.tag, os.urandom(8).hex().encode())
    return Command(b"SET", item.staging, item.sealed, b"PX", b"%d" % STAGING_MS)


def _commit(backend: SplitBackend, items: Sequence[Storing], patience: Patience) -> Plan[None]:
    if not items:
        return
    replies = yield from backend.commit([_commit_call(backend, item) for item in items], patience)
    if replies is None:
        return  # unknown: these claims may yet be needed, whatever comes next
    for item, reply in zip(items, replies, strict=True):
        if isinstance(reply, Exception):
            item.failed(None if isinstance(reply, LATER) else translate(reply))
        elif reply[0] == b"ok":
            item.committed(reply[1:])
        else:
            item.failed()


def _commit_call(backend: SplitBackend, item: Storing) -> Call:
    assert item.seen is not None
    names = backend.names
    keys = [names.artifact(item.name), names.content(item.name), names.fence(item.name)]
    where, sealed = item.where, item.sealed
    if not item.is_default:
        where, sealed = b"k", (b"", b"")
    elif where == b"s":
        keys.append(item.staging)
        sealed = (b"", b"")
    return scripts.COMMIT.call(keys, [item.seen.head, item.seen.mine, item.head, item.field, item.lease, where, sealed])


def taken(request: Request) -> InvalidArtifactError:
    """The id is the name of other content."""
    return InvalidArtifactError(
        f"artifact id {request.artifact_id} already is the name of other content: "
        "a content-addressed id cannot be replaced, choose another artifact_id"
    )
