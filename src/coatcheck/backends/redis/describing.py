"""What is there, and what it is: everything that is read of artifacts but their content."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from ...ids import are_default_ids, is_default_id
from ...model import ArtifactMetadata, format_time
from ...plan import Plan
from .batching import PAGE, ROUND, Pace, ask_about, by_partition, pages, parts
from .layout import records
from .layout.keys import Keys
from .scripts import calls
from .scripts.plain import TIME, leases_form, microseconds
from .scripts.script import ANY_ID, Command, Filled, Form, IdForm, Repeated, Unit, first, same
from .session import Session
from .transport.overlapping import overlapped

_GET_OWN: Final = Form((b"HMGET", None, b"h", None), TIME)
_COUNT: Final = Form((b"EXISTS", None, None))


class Describing:
    """The operations that read what is said of artifacts.

    Args:
        session: The namespace.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def metadata(self, ids: Sequence[str]) -> Plan[list[ArtifactMetadata | None]]:
        """See `Backend.metadata`."""
        if len(ids) == 1:
            return self._metadata_of_one(ids[0])
        return self._metadata_of_many(ids)

    def _metadata_of_one(self, artifact_id: str) -> Plan[list[ArtifactMetadata | None]]:
        keys, name = self._session.of(artifact_id), artifact_id.encode()
        fields = yield from self._session.read(Filled(leases_form(keys), keys.slot, (name,), first))
        if not fields:
            return [None]
        lease = records.latest_of_few(fields)
        if lease is not None:
            return [records.decode_view(artifact_id, *lease)]
        return (yield from self.shared([artifact_id]))

    def _metadata_of_many(self, ids: Sequence[str]) -> Plan[list[ArtifactMetadata | None]]:
        """Without a script where few lease an artifact; the others are asked about together."""
        views: list[ArtifactMetadata | None] = [None] * len(ids)
        left: list[int] = []
        pace = Pace(PAGE)

        def unit(keys: Keys, numbers: Sequence[int]) -> Repeated[None]:
            def decode(replies: Sequence[Any]) -> None:
                longest = 1
                for i, fields in zip(numbers, replies, strict=True):
                    lease = records.latest_of_few(fields) if fields else None
                    if lease is not None:
                        views[i] = records.decode_view(ids[i], *lease)
                        longest = max(longest, len(lease[2]))
                    elif fields:
                        left.append(i)
                pace.saw(longest)

            return Repeated(leases_form(keys), keys.slot, [ids[i].encode() for i in numbers], decode)

        yield from overlapped(
            self._session.read_each([unit(keys, numbers) for keys, numbers in part])
            for part in parts(self._session.places(ids), pace)
        )
        if left:
            for i, view in zip(left, (yield from self.shared([ids[i] for i in left])), strict=True):
                views[i] = view
        return views

    def shared(self, ids: Sequence[str]) -> Plan[list[ArtifactMetadata | None]]:
        """The same by a script, however many lease them."""
        items = [(self._session.of(artifact_id), artifact_id.encode()) for artifact_id in ids]
        views = yield from ask_about(self._session, items, calls.metadata)
        return [
            None if view is None else records.decode_view(artifact_id, *view)
            for artifact_id, view in zip(ids, views, strict=True)
        ]

    def view(self, artifact_id: str, run_id: str | None) -> Plan[ArtifactMetadata | None]:
        """See `Backend.view`."""
        if run_id is None:
            [view] = yield from self.metadata([artifact_id])
            return view
        keys, field = self._session.of(artifact_id), records.lease_field(run_id)
        (header, lease), time = yield from self._session.read(
            Filled(_GET_OWN, keys.slot, (keys.artifact(artifact_id.encode()), field), same)
        )
        if lease is None:
            return None
        view = records.decode_view(artifact_id, header, field, lease)
        now = format_time(microseconds(time))
        return view if view.expires_at is None or view.expires_at > now else None

    def exists(self, ids: Sequence[str]) -> Plan[list[bool]]:
        """See `Backend.exists`."""
        if len(ids) == 1 and is_default_id(ids[0]):
            keys, name = self._session.of(ids[0]), ids[0].encode()
            both = Filled(_COUNT, keys.slot, (keys.artifact(name), keys.content(name)), first)
            return [(yield from self._session.read(both)) == 2]
        found: dict[str, bool] = dict.fromkeys(ids, False)
        for page in pages(ids, ROUND):
            explicit = yield from self._counted(page, found)
            if explicit:
                counts = yield from self._session.read_each(
                    [
                        Command(keys.slot, (b"EXISTS", keys.artifact(i.encode()), keys.content(content)), same)
                        for i, content in explicit
                        for keys in (self._session.of(i),)
                    ]
                )
                found.update((i, count == 2) for (i, _), count in zip(explicit, counts, strict=True))
        return [found[i] for i in ids]

    def _counted(self, ids: Sequence[str], found: dict[str, bool]) -> Plan[list[tuple[str, bytes]]]:
        """Note which default ids are there; returns the explicit ones that are, with the names of their contents."""
        usual = ids if are_default_ids(ids) else [i for i in ids if is_default_id(i)]
        work = list(by_partition(self._session.places(usual)).items())
        explicit = [] if len(usual) == len(ids) else [i for i in ids if not is_default_id(i)]
        units: list[Unit[Any]] = [
            Repeated(_count_form(keys), keys.slot, [usual[n].encode() for n in some], same) for keys, some in work
        ]
        units += (
            Command(keys.slot, (b"HGET", keys.artifact(i.encode()), b"h"), same)
            for i in explicit
            for keys in (self._session.of(i),)
        )
        replies = yield from self._session.read_each(units)
        for (_, some), counts in zip(work, replies, strict=False):
            found.update((usual[n], count == 2) for n, count in zip(some, counts, strict=True))
        return [
            (i, records.content_id_of(records.decode_header(header, i).digest))
            for i, header in zip(explicit, replies[len(work) :], strict=True)
            if header is not None
        ]


@lru_cache(maxsize=512)  # partitions
def _count_form(keys: Keys) -> IdForm:
    return IdForm((b"EXISTS", keys.artifact(ANY_ID), keys.content(ANY_ID)))
