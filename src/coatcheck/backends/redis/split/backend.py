"""The Redis backend in the split form: the same operations, each as steps that keep to one slot.

docs/design.md says in which order the steps come and why. Not reachable by a URL yet.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

from ....arguments import Details, Request, StoreRequest
from ....compression import Zstd
from ....errors import ArtifactLostError, StoreUnavailableError
from ....model import ArtifactMetadata, StoreStats
from ....plan import Plan
from ....sources import Chunking
from .. import records
from ..backend import RedisBackend
from ..batching import pages, without_repeats
from ..core import INLINE, TRIES
from ..download import lost
from ..durability import check_confirmed
from ..keys import SplitKeys
from ..link import BrokenError
from ..loading import Finish
from ..retry import Patience, exchange_once, translate, wait_or_give_up
from ..scripts import METADATA, RUN_VIEWS, Call, Command, Sendable
from . import catalog, scripts
from .claims import Claim, Lowering, claim_calls, claim_content_call, unclaim_calls
from .maintenance import SplitInspection
from .seen import Seen
from .storing import store_batch

_PAGE: Final = 500
_LARGEST: Final = 512 * 1024 * 1024 - 1024
"""What one string holds, less the envelope."""

_ABANDONED_US: Final = 600_000_000
"""A token this old that is no lease will never be one: commits come within a minute of reading, by the same clock."""


T = TypeVar("T")


class SplitBackend(RedisBackend):
    """One namespace whose keys may lie on different nodes. Takes the same options as `RedisBackend`."""

    _inspection = SplitInspection

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.chunking = Chunking(threshold=sys.maxsize)  # content stays whole
        self.max_size = min(self.max_size or _LARGEST, _LARGEST)
        self.names: Final = SplitKeys(self._keys.prefix[:-1].decode())

    @property
    def retry_for(self) -> float:
        """Seconds during which what failed is tried again."""
        return self._retry_for

    @property
    def compression(self) -> Zstd | None:
        """How contents are compressed."""
        return self._compression

    # What the operations are made of ---------------------------------------------------------------------------

    def see(self, wanted: Sequence[tuple[bytes, bytes, bytes]]) -> Plan[list[Seen | None]]:
        """Read artifacts that are to be changed: by id, lease field and head to be stored; see `lua/split/read.lua`."""
        replies = yield from self.read(
            *(
                scripts.READ.call([self.names.artifact(name), self.names.content(name)], [field, head])
                for name, field, head in wanted
            )
        )
        return [Seen.of(name, field, reply) for (name, field, _), reply in zip(wanted, replies, strict=True)]

    def _see_one(self, name: bytes, field: bytes) -> Plan[Seen]:
        [seen] = yield from self.see([(name, field, b"")])
        assert seen is not None
        return seen

    def commit(self, calls: Sequence[Call], patience: Patience) -> Plan[list[Any] | None]:
        """Send scripts that must not run twice; replies and error replies, or `None` where the outcome is unknown.

        Sent again, a commit could find the state that it expects although its claims were taken back meanwhile.
        """
        confirmations = [] if self._confirmation is None else [self._confirmation]
        try:
            replies = yield from exchange_once(self._link, [*calls, *confirmations], patience)
        except BrokenError as error:
            yield from wait_or_give_up(patience, error, in_doubt=True)
            return None
        if confirmations:
            *replies, confirmed = replies
            if isinstance(confirmed, Exception):
                raise translate(confirmed) from confirmed
            check_confirmed(self._durability, confirmed)
        return replies

    def drop(self, claims: Iterable[Claim], uploads: Iterable[bytes] = ()) -> Plan[None]:
        """Take back claims of leases that surely are not there, and never will be."""
        commands: list[Sendable] = [*unclaim_calls(self.names, map(Lowering, dict.fromkeys(claims)))]
        commands += [Command(b"UNLINK", key) for key in uploads]
        if commands:
            yield from self.write(*commands)

    def _keys_of(self, name: bytes) -> list[bytes]:
        """The keys of an artifact's slot: a default id has its content there."""
        return [self.names.artifact(name), self.names.content(name), self.names.leases(name)]

    # Changing --------------------------------------------------------------------------------------------------

    def _store_batch(self, requests: Sequence[StoreRequest]) -> Plan[list[ArtifactMetadata]]:
        results: list[ArtifactMetadata] = []
        for part in without_repeats(requests):
            results += yield from store_batch(self, part)
        return results

    def delete(self, ids: Sequence[str]) -> Plan[list[bool]]:
        deleted = []
        for artifact_id in ids:
            deleted.append((yield from self._delete_one(artifact_id)))  # noqa: PERF401  # plans cannot
        return deleted

    def _delete_one(self, artifact_id: str) -> Plan[bool]:
        name = artifact_id.encode()
        seen = yield from self._see_one(name, b"")
        if not seen.head:
            return False
        [deleted] = yield from self.write(scripts.DELETE.call(self._keys_of(name), [self.names.prefix, name]))
        head, leases = (deleted[0], deleted[1:]) if deleted else (b"", [])
        yield from self.drop([*seen.claims(), *Seen.claims_of(name, head, leases)])
        return bool(deleted)

    def release(self, artifact_id: str, run_id: str | None) -> Plan[bool]:
        name, field = artifact_id.encode(), records.lease_field(run_id)
        for _ in range(TRIES):
            seen = yield from self._see_one(name, field)
            claim = seen.claim()
            if claim is None:
                return False
            [released] = yield from self.write(self._release_call(claim))
            yield from self.drop([claim])
            if released:
                return True
        raise self._changing(artifact_id)

    def _release_call(self, claim: Claim) -> Call:
        name = claim.artifact_id
        return scripts.RELEASE.call(
            self._keys_of(name), [self.names.prefix, name, claim.field, claim.token.to_bytes(7)]
        )

    def claim(self, ids: Sequence[str], run_id: str | None, ttl_ms: int | None) -> Plan[list[bool]]:
        claimed = []
        for artifact_id, there in zip(ids, (yield from self.exists(ids)), strict=True):
            claimed.append(there and (yield from self._claim_one(artifact_id, run_id, ttl_ms)))
        return claimed

    def _claim_one(self, artifact_id: str, run_id: str | None, ttl_ms: int | None) -> Plan[bool]:
        """Make a run's lease last as long, or store what is there once more, for that run."""
        for _ in range(TRIES):
            if (yield from self._touch(artifact_id, run_id, ttl_ms, shorten=False)):
                return True
            [view] = yield from self.metadata([artifact_id])
            if view is None:
                return False
            details = Details(artifact_id, view.content_type, run_id, view.tags, ttl_ms)
            known = Request(bytes.fromhex(view.digest or ""), view.size_bytes, details)
            try:
                yield from store_batch(self, [known])
            except ArtifactLostError:
                if not (yield from self.exists([artifact_id]))[0]:
                    return False
            else:
                return True
        raise self._changing(artifact_id)

    def touch(self, artifact_id: str, run_id: str | None, ttl_ms: int | None) -> Plan[bool]:
        return self._touch(artifact_id, run_id, ttl_ms, shorten=True)

    def _touch(self, artifact_id: str, run_id: str | None, ttl_ms: int | None, *, shorten: bool) -> Plan[bool]:
        name, field = artifact_id.encode(), records.lease_field(run_id)
        patience = Patience(self._retry_for)
        before: Seen | None = None
        for _ in range(TRIES):
            seen = yield from self._see_one(name, field)
            if before is not None:
                yield from self.drop(before.gone_in(seen))
            claim = seen.claim()
            if claim is None or not seen.is_live:
                return False
            ends, _ = records.lease_times(seen.mine)
            deadline = records.FOREVER if ttl_ms is None else seen.token // 1000 + ttl_ms
            if ends >= deadline and not shorten:
                return True
            scores = yield from self._extend(claim, max(deadline, ends))
            lease = deadline.to_bytes(6) + seen.mine[6:]
            call = scripts.TOUCH.call(self._keys_of(name), [self.names.prefix, name, field, seen.mine, lease])
            replies = yield from self.commit([call], patience)
            if replies is not None and isinstance(replies[0], Exception):
                raise translate(replies[0]) from replies[0]
            if replies == [1]:
                if deadline < ends:
                    yield from self.write(*unclaim_calls(self.names, [Lowering(claim, deadline, scores)]))
                return True
            before = seen
        raise self._changing(artifact_id)

    def _extend(self, claim: Claim, deadline: int) -> Plan[dict[bytes, int]]:
        """Make the claims of a lease last at least until a deadline; their new scores, by key."""
        calls = claim_calls(self.names, [(claim, deadline)])
        if claim.digest is not None:
            calls.append(claim_content_call(self.names, claim, deadline, b""))
        replies = yield from self.write(*calls)
        return {call.keys[0]: reply[0] for call, reply in zip(calls, replies, strict=True)}

    def delete_by_run(self, run_id: str) -> Plan[int]:
        given_up, cursor = 0, b"0"
        while True:
            [[cursor, members]] = yield from self.read(
                Command(b"ZSCAN", self.names.run(run_id), cursor, b"COUNT", b"%d" % _PAGE)
            )
            for page in pages(members[::2]):
                given_up += yield from self._release_page(records.lease_field(run_id), page)
            if cursor == b"0":
                return given_up

    def _release_page(self, field: bytes, members: Sequence[bytes]) -> Plan[int]:
        """Release the leases that some claims of a run's index stand for; how many live ones there were."""
        claims = [claim for claim in map(Claim.parse, members) if claim is not None and claim.field == field]
        if not claims:
            return 0
        found = yield from self.see([(claim.artifact_id, field, b"") for claim in claims])
        held, abandoned = [], []
        for claim, seen in zip(claims, found, strict=True):
            assert seen is not None
            mine = seen.claim()
            if mine is not None and mine.token == claim.token:
                held.append(mine)
            elif claim.token < seen.token - _ABANDONED_US:
                abandoned.append(claim)
            # Else a store may be on its way to its commit: what it has claimed is its own.
        replies = (yield from self.write(*map(self._release_call, held))) if held else []
        yield from self.drop([*held, *abandoned])
        return sum(replies)

    @staticmethod
    def _changing(artifact_id: str) -> StoreUnavailableError:
        return StoreUnavailableError(f"artifact {artifact_id} changed {TRIES} times meanwhile; try again")

    # Reading ---------------------------------------------------------------------------------------------------

    def metadata(self, ids: Sequence[str]) -> Plan[list[ArtifactMetadata | None]]:
        views: list[ArtifactMetadata | None] = []
        for page in pages(ids):
            replies = yield from self.read(*(METADATA.call([key], ()) for key in self._artifact_keys(page)))
            views += [
                None if view is None else records.decode_view(artifact_id, *view)
                for artifact_id, [view] in zip(page, replies, strict=True)
            ]
        return views

    def _look_call(self, name: bytes, inline: int) -> Call:
        return scripts.LOOK.call([self.names.artifact(name), self.names.content(name)], [b"%d" % inline])

    def _contents(self, views: Sequence[ArtifactMetadata]) -> Plan[list[Any]]:
        return self.read(*map(self._get, views))

    def _load_one(self, artifact_id: str, finish: Finish[T]) -> Plan[T | None]:
        missed: Any = None
        for _ in range(TRIES):
            [found] = yield from self.read(self._look_call(artifact_id.encode(), INLINE))
            if found is None:
                return None
            *parts, sealed, length = found
            view = records.decode_view(artifact_id, *parts)
            # A lease has its content as long as it is there: the same lease seen before and after means a loss.
            if length == 0 or missed == parts:
                raise lost(artifact_id)
            if not sealed:
                [sealed] = yield from self.read(self._get(view))
            if sealed:
                return (yield from finish(view, sealed))
            missed = parts
        raise self._changing(artifact_id)

    def exists(self, ids: Sequence[str]) -> Plan[list[bool]]:
        results: list[bool] = []
        for page in pages(ids):
            results += yield from self._exist(page)
        return results

    def _exist(self, ids: Sequence[str]) -> Plan[list[bool]]:
        answers: dict[str, bool] = {}
        missed: dict[str, Any] = {}
        waiting = list(ids)
        for _ in range(TRIES):
            replies = yield from self.read(*(self._look_call(artifact_id.encode(), 0) for artifact_id in waiting))
            elsewhere = {}
            for artifact_id, found in zip(waiting, replies, strict=True):
                if found is None or found[4] >= 0 or missed.get(artifact_id) == found[:3]:
                    answers[artifact_id] = found is not None and found[4] > 0
                else:
                    elsewhere[artifact_id] = found
            if not elsewhere:
                return [answers[artifact_id] for artifact_id in ids]
            lengths = yield from self.read(
                *(
                    Command(b"STRLEN", self.names.content(records.tag_of(records.decode_head(head, name).digest)))
                    for name, (head, *_) in elsewhere.items()
                )
            )
            waiting = []
            for (artifact_id, found), length in zip(elsewhere.items(), lengths, strict=True):
                if length:
                    answers[artifact_id] = True
                else:
                    missed[artifact_id] = found[:3]
                    waiting.append(artifact_id)
            if not waiting:
                return [answers[artifact_id] for artifact_id in ids]
        raise self._changing(waiting[0])

    def list_by_run(self, run_id: str) -> Plan[list[ArtifactMetadata]]:
        field = records.lease_field(run_id)
        [members] = yield from self.read(Command(b"ZRANGE", self.names.run(run_id), b"0", b"-1"))
        claims = (Claim.parse(member) for member in members)
        ids = list(dict.fromkeys(claim.artifact_id for claim in claims if claim is not None))
        results = []
        for page in pages(ids):
            replies = yield from self.read(
                *(RUN_VIEWS.call([self.names.artifact(name)], [field, name]) for name in page)
            )
            results += [
                records.decode_view(name.decode(), head, field, lease)
                for views in replies
                for name, head, lease in views
            ]
        return results

    def list_runs(self) -> Plan[list[str]]:
        replies = yield from self.read(*(scripts.LIST_RUNS.call([key], ()) for key in self.names.all_runs()))
        return [run.decode() for runs in replies for run in runs]

    def list_page(
        self, limit: int, cursor: object | None, *, newest_first: bool
    ) -> Plan[tuple[list[ArtifactMetadata], object | None]]:
        start = cursor if isinstance(cursor, bytes) else None
        return (yield from catalog.page(self, limit, start, newest_first=newest_first))

    def stats(self) -> Plan[StoreStats]:
        return (yield from catalog.stats(self))
