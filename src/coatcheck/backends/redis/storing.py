"""How artifacts are stored: many by one script call, large content beside it, long content in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from ...cache import ContentCache
from ...compression import Zstd
from ...envelope import Sealed, seal
from ...errors import InvalidArtifactError, StoreUnavailableError
from ...model import ArtifactMetadata
from ...plan import Plan, Work
from ...refs import conflict
from ...request import Request, SourceRequest, StoreRequest
from ...sources import BytesSource, Chunking, Source, TransferProgress
from .batching import batches, by_partition, together, without_rivals
from .content.chunks import held, known, new_token, tidy
from .content.upload import STAGING_MS, Upload
from .layout import records
from .layout.keys import Keys
from .leasing import forget
from .scripts import calls
from .scripts.calls import Chunks, Hold, Outcome, Where
from .scripts.script import Call, Filled, Later
from .session import Session, heard
from .transport.resp import Argument

T = TypeVar("T")

INLINE: Final = 16 * 1024
"""Content that travels as a script argument; Lua copies arguments, so larger content is set beside the script."""

UNASKED: Final = 256 * 1024
"""Content that is sent without asking whether it is there: sending it costs less than the round trip."""

_AT_ONCE: Final = 2_000  # artifacts of one pipeline: with the longest names, the six keys of each are 4 MiB together
_TRIES: Final = 8  # how often a store starts over because others changed what it had just read


class Storing:
    """The operations that store artifacts.

    Args:
        session: The namespace.
        compression: How to compress where it pays; `None`: not at all.
        cache: What was stored is kept there; `None`: nowhere.
    """

    def __init__(self, session: Session, compression: Zstd | None, cache: ContentCache | None) -> None:
        self.chunking = Chunking()
        self._session = session
        self._compression = compression
        self._cache = cache

    @property
    def chunking(self) -> Chunking:
        """How long content is cut."""
        return self._chunking

    @chunking.setter
    def chunking(self, chunking: Chunking) -> None:
        self._chunking = chunking
        self._inline = min(INLINE, chunking.threshold - 1)
        self._unasked = min(UNASKED, chunking.threshold - 1)

    def store(self, requests: Sequence[StoreRequest]) -> Plan[list[ArtifactMetadata]]:
        """See `Backend.store`."""
        return heard(self._store_many(requests))

    def store_one(self, request: StoreRequest) -> Plan[ArtifactMetadata]:
        """See `Backend.store_one`."""
        plan = self._store_one(request)
        return self._or_withdrawn([request], plan) if self._is_placed(request) else plan

    def store_source(self, request: SourceRequest, progress: TransferProgress | None) -> Plan[ArtifactMetadata]:
        """See `Backend.store_source`."""
        keys = self._session.of(request.artifact_id)
        [outcome] = yield from self._session.write(
            calls.store(keys, [request], [None], "known", wish=self._session.wish)
        )
        view = yield from self._finish(request, keys, outcome, request.source, progress)
        if progress is not None:
            progress(request.size, request.size)
        return view

    def link(self, request: Request) -> Plan[ArtifactMetadata | None]:
        """See `Backend.link`."""
        keys = self._session.of(request.artifact_id)
        [outcome] = yield from self._session.write(
            calls.store(keys, [request], [None], "known", wish=self._session.wish)
        )
        return (yield from self._concluded(request, keys, outcome))

    def _store_one(self, request: StoreRequest) -> Plan[ArtifactMetadata]:
        keys = self._session.of(request.artifact_id)
        if self._is_small(request):
            times = yield from self._session.write(self._small(keys, request))
            if times is None:
                view = yield from heard(self._store_any(request, keys, in_place=True))
            else:
                view = records.stored_view(request, *times)
        else:
            view = yield from heard(self._store_any(request, keys))
        if self._cache is not None:
            self._cache.remember(request.digest, request.content)
        return view

    def _store_any(self, request: StoreRequest, keys: Keys, *, in_place: bool = False) -> Plan[ArtifactMetadata]:
        """Store by `store.lua`. `in_place`: its content was sent already, for the script for most stores."""
        [outcome] = yield from self._session.write(self._call(keys, [request], in_place=in_place))
        return (yield from self._finish(request, keys, outcome))

    def _store_many(self, requests: Sequence[StoreRequest]) -> Plan[list[ArtifactMetadata]]:
        views: list[ArtifactMetadata] = []
        for batch in batches(requests, _AT_ONCE, lambda request: request.size):
            for part in without_rivals(batch):
                views += yield from self._or_withdrawn(part, self._store_batch(part))
        return views

    def _store_batch(self, requests: Sequence[StoreRequest]) -> Plan[list[ArtifactMetadata]]:
        units, members = [], []
        for keys, numbers in by_partition(self._session.places([request.artifact_id for request in requests])).items():
            mine = [requests[i] for i in numbers]
            for part in together(mine, self._inline):
                units.append(self._later(keys, mine[part]))
                members += [(i, keys) for i in numbers[part]]
        outcomes = [outcome for some in (yield from self._session.write_each(units)) for outcome in some]
        for (i, _), outcome in zip(members, outcomes, strict=True):  # before any is finished
            if isinstance(outcome, Outcome):
                _check_refusal(requests[i].artifact_id, outcome)
        views: list[Any] = [None] * len(requests)
        for (i, keys), outcome in zip(members, outcomes, strict=True):
            if outcome is None:
                views[i] = yield from self._store_any(requests[i], keys, in_place=True)
            elif isinstance(outcome, Outcome):
                views[i] = yield from self._finish(requests[i], keys, outcome)
            else:
                views[i] = outcome
            if self._cache is not None:
                self._cache.remember(requests[i].digest, requests[i].content)
        return views

    def _or_withdrawn(self, requests: Sequence[StoreRequest], plan: Plan[T]) -> Plan[T]:
        """The same plan; where it fails, what was put in place for it goes, unless something needs it by now."""
        try:
            return (yield from plan)
        except GeneratorExit:  # nobody runs this plan any more
            raise
        except BaseException:
            yield from self._session.clean_up(
                calls.withdraw(self._session.of(request.artifact_id), request, STAGING_MS)
                for request in requests
                if self._is_placed(request)
            )
            raise

    def _is_small(self, request: StoreRequest) -> bool:
        """Whether it is tried by the script for what most stores are."""
        return request.size <= self._unasked and request.artifact_id == request.default_id and request.is_plain

    def _is_placed(self, request: Request) -> bool:
        """Whether its content is put beside the script unasked: not where it may be refused."""
        return self._inline < request.size <= self._unasked and request.condition is None

    def _seal(self, request: StoreRequest) -> Sealed:
        """Header and payload of a content."""
        return seal(request.content, request.digest, request.content_type, self._compression)

    def _later(
        self, keys: Keys, requests: Sequence[StoreRequest]
    ) -> Later[Sequence[ArtifactMetadata | Outcome | None]]:
        """A store of what `together` puts together, sealed and described while what goes before is under way.

        `None`: the script for most stores has left it.
        """
        one = requests[0]
        small = len(requests) == 1 and self._is_small(one)
        stored = calls.stored_small if small else calls.stored
        views: list[ArtifactMetadata] = []

        def make() -> Call[Any] | Filled[Any]:
            views[:] = map(records.untimed, requests)
            return self._small(keys, one) if small else self._call(keys, requests)

        def decode(reply: Any) -> list[ArtifactMetadata | Outcome | None]:
            return [
                outcome if outcome is None or isinstance(outcome, Outcome) else records.timed(view, *outcome)
                for view, outcome in zip(views, stored(reply), strict=True)
            ]

        return Later(keys.slot, 2 if self._is_placed(one) else 1, make, decode)

    def _small(self, keys: Keys, request: StoreRequest) -> Filled[tuple[int, int] | None]:
        """The call for what most stores are."""
        sealed = self._seal(request)
        first = self._placing(keys, request, sealed) if request.size > self._inline else None
        return calls.store_small(keys, request, sealed, wishes=self._session.wish != b"", first=first)

    @staticmethod
    def _placing(keys: Keys, request: StoreRequest, sealed: Sealed) -> Sequence[Argument]:
        """The command that puts a content in place, with the TTL of an upload."""
        return (b"SET", keys.content(request.default_id.encode()), sealed, b"NX", b"PX", b"%d" % STAGING_MS)

    def _call(
        self,
        keys: Keys,
        requests: Sequence[Request],
        replacing: bytes = b"",
        buried: bytes = b"",
        *,
        in_place: bool = False,
    ) -> Call[list[Outcome]]:
        """A store that sends what is worth sending unasked; not what is `in_place` already."""
        where: Where = "known"
        contents: list[Sealed | None] = [None] * len(requests)
        first = None
        small = [request for request in requests if isinstance(request, StoreRequest)]
        if small and small[0].size <= self._inline:
            where = "inline"
            contents = [self._seal(request) for request in small]
        elif small and self._is_placed(small[0]):
            where = "placed"
            first = None if in_place else self._placing(keys, small[0], self._seal(small[0]))
        return calls.store(
            keys,
            requests,
            contents,
            where,
            first=first,
            replacing=replacing,
            buried=buried,
            wish=self._session.wish,
        )

    def _finish(
        self,
        request: Request,
        keys: Keys,
        outcome: Outcome,
        source: Source | None = None,
        progress: TransferProgress | None = None,
    ) -> Plan[ArtifactMetadata]:
        """Do what the first answer asks for, until the artifact is stored."""
        view = yield from self._concluded(request, keys, outcome, source, progress)
        assert view is not None  # there is content to send
        return view

    def _concluded(
        self,
        request: Request,
        keys: Keys,
        outcome: Outcome,
        source: Source | None = None,
        progress: TransferProgress | None = None,
    ) -> Plan[ArtifactMetadata | None]:
        """The same; `None` where content has to be sent and there is none."""
        replacing = buried = b""
        content_id = request.default_id.encode()
        follow: list[Chunks] = []
        for _ in range(_TRIES):
            if outcome.kind == "ok":
                if outcome.token:
                    follow.append(Chunks(content_id, outcome.token, outcome.chunks))
                for chunks in follow:
                    yield from tidy(self._session, keys, chunks)
                if buried and not outcome.told:
                    yield from forget(self._session, keys, request.artifact_id.encode(), buried)
                return records.stored_view(request, outcome.created, outcome.deadline)
            _check_refusal(request.artifact_id, outcome)
            if outcome.kind == "other":
                replacing, buried = outcome.other, keys.buried(request.artifact_id.encode(), new_token())
                old = yield from known(self._session, keys, replacing)
                if old is not None:
                    follow.append(old)
                [outcome] = yield from self._session.write(self._call(keys, [request], replacing, buried))
            elif outcome.kind == "chunked":
                outcome = yield from self._hold(request, keys, outcome, follow, replacing, buried)
            elif source is None and not isinstance(request, StoreRequest):
                return None
            else:
                outcome = yield from self._upload(request, keys, source, progress, replacing, buried)
        raise StoreUnavailableError(
            f"artifact {request.artifact_id} could not be stored in {_TRIES} tries: others change it all the time, or "
            "the server evicts what was sent"
        )

    def _hold(
        self, request: Request, keys: Keys, found: Outcome, follow: list[Chunks], replacing: bytes, buried: bytes
    ) -> Plan[Outcome]:
        """Store known content that was found in chunks; where that can't be had, they are left to `follow`."""

        def change(hold: Hold) -> Call[Outcome]:
            many = calls.store(
                keys,
                [request],
                [None],
                "held",
                deadline=hold.deadline,
                note=hold.member,
                replacing=replacing,
                buried=buried,
            )
            return many.then(lambda outcomes: outcomes[0])

        content_id = request.default_id.encode()
        outcome = yield from held(self._session, keys, content_id, found, request.ttl_ms, change)
        if outcome is not None and outcome.kind != "need":
            return outcome
        follow.append(Chunks(content_id, found.token, found.chunks))
        return Outcome("need")

    def _upload(
        self,
        request: Request,
        keys: Keys,
        source: Source | None,
        progress: TransferProgress | None,
        replacing: bytes,
        buried: bytes,
    ) -> Plan[Outcome]:
        """Send content that is not there, and store it."""
        if isinstance(request, StoreRequest):
            if request.size < self.chunking.threshold:
                return (yield from self._upload_whole(request, keys, replacing, buried))
            source = BytesSource(request.content, request.digest, self.chunking.size)
        assert source is not None
        upload = Upload(self._session, keys, request, source, self.chunking, self._compression, progress)
        return (yield from upload.run(replacing, buried))

    def _upload_whole(self, request: StoreRequest, keys: Keys, replacing: bytes, buried: bytes) -> Plan[Outcome]:
        sealed: Sealed = yield Work(
            lambda: seal(request.content, request.digest, request.content_type, self._compression)
        )
        content_id, token = request.default_id.encode(), new_token()
        staging = keys.staging(content_id, token)
        try:
            [outcome] = yield from self._session.write(
                calls.store(
                    keys,
                    [request],
                    [None],
                    "staged",
                    first=(b"SET", staging, sealed, b"PX", b"%d" % STAGING_MS),
                    staging=staging,
                    note=b"0",
                    replacing=replacing,
                    buried=buried,
                    wish=self._session.wish,
                )
            )
        except GeneratorExit:  # nobody runs this plan any more
            raise
        except BaseException:
            yield from self._session.clean_up([calls.discard(keys, Chunks(content_id, token, 0), ())])
            raise
        return outcome


def _check_refusal(artifact_id: str, outcome: Outcome) -> None:
    """Raise where a store is refused for good."""
    if outcome.kind == "taken":
        raise InvalidArtifactError(
            f"artifact id {artifact_id} already is the name of other content: "
            "a content-addressed id cannot be replaced, choose another artifact_id"
        )
    if outcome.kind == "conflict":
        winner = None if outcome.winner is None else records.decode_view(artifact_id, *outcome.winner)
        raise conflict(artifact_id, winner)
