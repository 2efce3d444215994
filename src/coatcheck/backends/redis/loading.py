"""How many artifacts are loaded at once: small contents come along with their metadata, and larger ones behind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from ...cache import ContentCache
from ...envelope import HEADER
from ...errors import CorruptArtifactError
from ...ids import are_default_ids, is_default_id
from ...model import Artifact, ArtifactMetadata
from ...plan import Plan
from .batching import LOADED, PAGE, Pace, ask_about, batches, parts
from .describing import Describing
from .layout import records
from .layout.keys import Keys
from .reading import INLINE, Found, Reading, content_id_of, damaged, is_small
from .scripts import calls
from .scripts.calls import Loaded
from .scripts.plain import leases_of
from .scripts.script import ANY_ID, Call, Filled, Form, IdForm, Repeated, first
from .session import Session
from .transport.overlapping import overlapped

_SMALL: Final = 16 * 1024  # bytes of a content that comes along
_TOGETHER: Final = 250  # artifacts of one pipeline
_GET_LENGTH: Final = Form((b"STRLEN", None))


class Loading:
    """The operation that loads many artifacts.

    Args:
        session: The namespace.
        describing: Reads metadata.
        reading: Reads one artifact.
        cache: Contents that need not be fetched; `None`: always fetch them.
    """

    def __init__(self, session: Session, describing: Describing, reading: Reading, cache: ContentCache | None) -> None:
        self._session = session
        self._describing = describing
        self._reading = reading
        self._cache = cache

    def load(self, ids: Sequence[str]) -> Plan[list[Artifact | None]]:
        """See `Backend.load`."""
        reading = self._reading
        results: list[Artifact | None] = [None] * len(ids)
        found = yield from (self._look(ids, results) if self._cache is None else self._described(ids))
        for view, _ in found.values():
            reading.check_size_of(view)
        if self._cache is not None:
            cached = yield from reading.cached([view for view, _ in found.values()])
            for i, artifact in zip(found, cached, strict=True):
                results[i] = artifact
        for i, (view, sealed) in found.items():
            if sealed is not None:
                results[i] = yield from reading.artifact(view, sealed)
        present = [(i, view) for i, (view, _) in found.items() if results[i] is None]
        for batch in batches(present, PAGE, lambda item: item[1].size_bytes):
            contents = yield from self._contents([view for _, view in batch])
            for (i, view), sealed in zip(batch, contents, strict=True):
                if sealed is not None:
                    results[i] = yield from reading.artifact(view, sealed)
                if results[i] is None:  # deleted meanwhile, or lost: look again
                    results[i] = yield from reading.load_again(ids[i], reading.artifact)
        return results

    def _described(self, ids: Sequence[str]) -> Plan[dict[int, Found]]:
        """Metadata alone: a cache may have the contents."""
        views = yield from self._describing.metadata(ids)
        return {i: (view, None) for i, view in enumerate(views) if view is not None}

    def _look(self, ids: Sequence[str], results: list[Artifact | None]) -> Plan[dict[int, Found]]:
        """Artifacts whose small contents come along; what was found of the others, by number.

        Without a script where ids tell contents and few lease them; what is left is asked about together.
        """
        found: dict[int, Found] = {}
        longest = self._reading.longest(_SMALL)
        default, left = _told_apart(ids)
        pace, straight = Pace(_TOGETHER), self._reading.straight

        def unit(keys: Keys, numbers: Sequence[int]) -> Repeated[None]:
            def decode(replies: Sequence[Any]) -> None:
                most = 1
                for i, fields, sealed in zip(numbers, replies[::2], replies[1::2], strict=True):
                    if not fields:
                        continue
                    lease, usual = fields, records.usual_view(ids[i], fields)
                    if usual is not None:
                        view = usual[0]
                        if len(sealed) <= longest:
                            results[i] = straight(*usual, sealed)
                    elif (lease := records.latest_of_few(fields)) is not None:
                        view = records.decode_view(ids[i], *lease)
                    else:
                        left.append(i)
                        continue
                    most = max(most, len(lease[-1]) + len(sealed))
                    if results[i] is None:
                        self._take(i, view, sealed, longest, results, found)
                pace.saw(most)

            return Repeated(_form(keys, longest), keys.slot, [ids[i].encode() for i in numbers], decode)

        asks = (
            self._session.read_each([unit(keys, [default[n] for n in numbers]) for keys, numbers in part])
            for part in parts(self._session.places([ids[i] for i in default]), pace)
        )
        yield from overlapped(asks)
        yield from self._look_by_script(ids, left, longest, results, found)
        return found

    def _look_by_script(
        self,
        ids: Sequence[str],
        left: Sequence[int],
        longest: int,
        results: list[Artifact | None],
        found: dict[int, Found],
    ) -> Plan[None]:
        """The same for what is left."""
        items = [(self._session.of(ids[i]), ids[i].encode()) for i in left]

        def ask(keys: Keys, names: Sequence[bytes], budget: int) -> Call[list[Loaded]]:
            return calls.load(keys, names, longest, budget)

        for i, loaded in zip(left, (yield from ask_about(self._session, items, ask, LOADED)), strict=True):
            if loaded is not None:
                *lease, sealed = loaded
                self._take(i, records.decode_view(ids[i], *lease), sealed, longest, results, found)

    def _take(
        self,
        i: int,
        view: ArtifactMetadata,
        sealed: bytes,
        longest: int,
        results: list[Artifact | None],
        found: dict[int, Found],
    ) -> None:
        """Take what came about an artifact, of whose content one byte more than `longest` at most."""
        if not sealed or len(sealed) > longest:
            found[i] = view, None
        elif is_small(view, sealed):
            self._reading.check_size_of(view)
            results[i] = self._reading.unsealed(view, sealed)
        else:
            found[i] = view, sealed

    def _contents(self, views: Sequence[ArtifactMetadata]) -> Plan[list[bytes | None]]:
        """Sealed contents, `None` where there is none. No more is fetched than the metadata declare."""
        large = [view for view in views if view.size_bytes >= INLINE]
        for view, length in zip(
            large, (yield from self._session.read_each(list(map(self._length, large)))), strict=True
        ):
            if length > view.size_bytes + HEADER.size:
                raise damaged(view, CorruptArtifactError(f"{length} bytes are stored for {view.size_bytes}"))
        return (yield from self._session.read_each(list(map(self._reading.get, views))))

    def _length(self, view: ArtifactMetadata) -> Filled[int]:
        keys = self._session.of(view.artifact_id)
        return Filled(_GET_LENGTH, keys.slot, (keys.content(content_id_of(view)),), first)


def _told_apart(ids: Sequence[str]) -> tuple[list[int], list[int]]:
    """The numbers of default ids, and those of others."""
    every = list(range(len(ids)))
    if are_default_ids(ids):
        return every, []
    usual = [i for i in every if is_default_id(ids[i])]
    return usual, sorted({*every}.difference(usual))


@lru_cache(maxsize=512)  # partitions
def _form(keys: Keys, longest: int) -> IdForm:
    leases = leases_of(keys.artifact(ANY_ID))
    return IdForm(leases, (b"GETRANGE", keys.content(ANY_ID), b"0", b"%d" % longest))
