"""What members of an index stand for, asked by plain commands and compared here: a third of what a script takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from ...search import Query, microseconds
from .batching import PAGE, Pace
from .layout import records
from .layout.keys import BINARY, Keys, listed
from .layout.labels import markers_in
from .scripts.calls import Match, Sought
from .scripts.script import ANY_ID, Command, IdForm, Repeated, Unit
from .session import Session

_TOGETHER: Final = PAGE // 2  # artifacts of one pipeline
_SHORT: Final = 1024  # bytes of a lease, on average, that are fetched in vain

Take = Callable[[list[Match]], None]
"""Takes what was found. That has to be asked for by its name where neither header nor lease are known."""


class Looking:
    """Looks at views that a query may want. Damaged ones are wanted: whoever reads them says so.

    Args:
        session: The namespace.
        query: Which views.
        sought: The same for scripts.

    Attributes:
        pace: How many artifacts the next pipeline asks about.
        bytes: Of all leases that came.
    """

    def __init__(self, session: Session, query: Query, sought: Sought) -> None:
        self.pace = Pace(_TOGETHER)
        self._session = session
        self._query = query
        self._field = sought.field
        self._movable = sought.movable
        self._needles = sought.needles
        self._least = microseconds(query.earliest) if sought.by_store and query.earliest is not None else None
        self._prefix = (query.id_prefix or "").encode()
        self.bytes = 0
        self._looked_at = 0
        self._now = 0

    @property
    def pays(self) -> bool:
        """Whether this is the better way: where keys are moved, and where much would come in vain, a script is."""
        return not self._movable and (not self._query.is_filter or self.bytes <= _SHORT * self._looked_at)

    def names(self, reply: Sequence[Any]) -> list[bytes]:
        """The members that ZSCAN returned, as far as their scores tell."""
        if self._least is not None:
            return [member for member, score in records.scored(reply) if score >= self._least]
        if reply and isinstance(reply[0], list):
            return [member for member, _ in reply]
        return list(reply[::2])

    def at(self, keys: Keys, members: Sequence[bytes], take: Take) -> list[Unit[Any]]:
        """What asks about some members."""
        ids = _ids(members)
        if ids is None or self._prefix:
            members = [member for member in members if not markers_in([member])]
            ids = list(map(listed, members))
            members = [member for member, one in zip(members, ids, strict=True) if one.startswith(self._prefix)]
            ids = [one for one in ids if one.startswith(self._prefix)]
        if self._field:
            return [
                Command(keys.slot, (b"TIME",), self._set),
                Repeated(
                    _own_form(keys, self._field), keys.slot, ids, lambda replies: take(self._own(members, replies))
                ),
            ]
        return [Repeated(_form(keys), keys.slot, ids, lambda replies: take(self._latest(members, replies)))]

    def _set(self, now: Any) -> None:
        self._now = int(now[0]) * 1000 + int(now[1]) // 1000

    def _latest(self, members: Sequence[bytes], replies: Sequence[Any]) -> list[Match]:
        """The latest leases, and what several lease and may see otherwise."""
        found, lengths, needles = [], [], self._needles
        for member, fields in zip(members, replies, strict=True):
            if not fields:
                continue
            if len(fields) == 4 and fields[2] == b"h":
                field, lease, _, header = fields
            elif len(fields) == 4 and fields[0] == b"h":
                _, header, field, lease = fields
            else:
                few = records.latest_of_few(fields)
                if few is None:
                    found.append(Match(0.0, member, None, None, None))
                    continue
                header, field, lease = few
            lengths.append(len(lease))
            for needle in needles:
                if needle not in lease and not records.is_damaged(header, lease):
                    break
            else:
                found.append(Match(0.0, member, header, field, lease))
        self._saw(len(members), lengths)
        return found

    def _own(self, members: Sequence[bytes], replies: Sequence[Any]) -> list[Match]:
        """The leases of the run."""
        found, lengths, needles = [], [], self._needles
        for member, (header, lease) in zip(members, replies, strict=True):
            if header is None or lease is None:
                continue
            lengths.append(len(lease))
            if records.is_damaged(header, lease) or (
                records.deadline_of(lease) > self._now and all(needle in lease for needle in needles)
            ):
                found.append(Match(0.0, member, header, self._field, lease))
        self._saw(len(members), lengths)
        return found

    def _saw(self, looked_at: int, lengths: Sequence[int]) -> None:
        self.pace.saw(max(lengths, default=1))
        self._looked_at += looked_at
        self.bytes += sum(lengths)


def _ids(members: Sequence[bytes]) -> list[bytes] | None:
    """The ids of default artifacts; `None` where there are others."""
    if {BINARY}.issuperset(map(len, members)):
        digits = b"".join(members).hex().encode()
        return [digits[at : at + 2 * BINARY] for at in range(0, len(digits), 2 * BINARY)]
    return None


@lru_cache(maxsize=512)  # partitions
def _form(keys: Keys) -> IdForm:
    return IdForm((records.LEASES[0], keys.artifact(ANY_ID), *records.LEASES[2:]))


@lru_cache(maxsize=512)
def _own_form(keys: Keys, field: bytes) -> IdForm:
    return IdForm((b"HMGET", keys.artifact(ANY_ID), b"h", field))
