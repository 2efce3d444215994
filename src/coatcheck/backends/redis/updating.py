"""How a lease's own metadata are changed: read, made anew here, and written where nobody else was faster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, NamedTuple

from ...errors import StoreUnavailableError
from ...labels import Change, Labels
from ...model import ArtifactMetadata
from ...plan import Plan
from .batching import PAGE, ask_about, batches
from .layout import records
from .layout.keys import Keys
from .scripts import calls
from .scripts.calls import Lease, View
from .scripts.script import Call
from .session import Session, heard

_TRIES: Final = 50  # how often labels are made anew because others changed them


class _Edit(NamedTuple):
    """What one lease says, as it is known and as it is to be."""

    artifact_id: str
    old: bytes
    new: bytes

    @property
    def size(self) -> int:
        """Bytes that go there and back."""
        return len(self.old) + 2 * len(self.new)


class Updating:
    """The operation that changes what leases say.

    Args:
        session: The namespace.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def update(self, ids: Sequence[str], run_id: str | None, change: Change) -> Plan[list[ArtifactMetadata | None]]:
        """See `Backend.update`."""
        views: dict[str, ArtifactMetadata | None] = dict.fromkeys(ids)
        known = yield from heard(self._leases(ids, run_id))
        for _ in range(_TRIES):
            edits = [self._edit(artifact_id, lease, change) for artifact_id, (_, lease) in known.items()]
            known = {}
            for batch in batches(edits, PAGE, lambda edit: edit.size):
                found = yield from self._session.write_each([self._call(edit, run_id) for edit in batch])
                for edit, now in zip(batch, found, strict=True):
                    if now is None:  # it has ended meanwhile
                        continue
                    header, lease = now
                    if records.view_bytes(lease) == edit.new:
                        field = records.lease_field(run_id)
                        views[edit.artifact_id] = records.decode_view(edit.artifact_id, header, field, lease)
                    else:
                        known[edit.artifact_id] = now
            if not known:
                return list(views.values())
        raise StoreUnavailableError(f"artifact {next(iter(known))} is changed all the time; try again")

    def _leases(self, ids: Sequence[str], run_id: str | None) -> Plan[dict[str, tuple[bytes, bytes]]]:
        """Header and lease of each that the run leases."""

        def ask(keys: Keys, some: Sequence[bytes], budget: int) -> Call[list[View]]:
            return calls.metadata(keys, some, budget, field)

        field = records.lease_field(run_id)
        items = [(self._session.of(artifact_id), artifact_id.encode()) for artifact_id in ids]
        found = yield from ask_about(self._session, items, ask)
        known = {i: (view[0], view[2]) for i, view in zip(ids, found, strict=True) if view is not None}
        for artifact_id, (header, _) in known.items():
            records.decode_header(header, artifact_id)
        return known

    def _edit(self, artifact_id: str, lease: bytes, change: Change) -> _Edit:
        old = records.view_of(artifact_id, lease)
        new = change.of(Labels(old.content_type, old.tags, old.extra))
        # Two clients may come to the same result: each has to know its own.
        token = os.urandom(8) if change.computed else old.token
        return _Edit(artifact_id, records.view_bytes(lease), records.pack_view(*new, token))

    def _call(self, edit: _Edit, run_id: str | None) -> Call[Lease]:
        keys = self._session.of(edit.artifact_id)
        return calls.update(keys, edit.artifact_id.encode(), run_id, edit.old, edit.new)
