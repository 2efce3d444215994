"""What members of an index stand for, asked by plain commands and compared here: half of what a script takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from ....manifest import may_be_manifest
from ....model import parse_time
from ....search import Query
from ..batching import PAGE, Pace
from ..layout import records
from ..layout.keys import BINARY, Keys, all_listed, listed
from ..layout.labels import markers_in
from ..scripts.calls import Match, Sought, Sums, Tallied
from ..scripts.plain import TIME, leases_form, milliseconds, own_form
from ..scripts.script import ANY_ID, IdForm, Repeated, Unit

_TOGETHER: Final = PAGE // 2  # artifacts of one pipeline
_SHORT: Final = 1024  # bytes of a lease, on average, that are fetched in vain

Take = Callable[[Sequence[Any]], None]
"""Takes what was found."""


class Looks(ABC):
    """A way to look at members.

    Attributes:
        pace: How many artifacts the next pipeline asks about.
        bytes: Of all leases that came.
    """

    def __init__(self) -> None:
        self.pace = Pace(_TOGETHER)
        self.bytes = 0
        self._looked_at = 0
        self._left = 0

    @property
    def pays(self) -> bool:
        """Whether this is the better way: not where most of it is left to scripts."""
        return 2 * self._left <= self._looked_at

    @abstractmethod
    def names(self, reply: Sequence[Any]) -> list[Any]:
        """The members that ZSCAN returned, as far as their scores tell."""

    @abstractmethod
    def at(self, keys: Keys, members: Sequence[Any], take: Take) -> list[Unit[Any]]:
        """What asks about some members."""

    def _saw(self, looked_at: int, left: int, lengths: Sequence[int]) -> None:
        self.pace.saw(max(lengths, default=1))
        self.bytes += sum(lengths)
        self._looked_at += looked_at
        self._left += left


class Looking(Looks):
    """Looks at views that a query may want. Damaged ones are wanted: whoever reads them says so.

    What is found are matches. What several lease may come without header and lease: its view has to be asked for.

    Args:
        query: Which views.
        sought: The same for scripts.
    """

    def __init__(self, query: Query, sought: Sought) -> None:
        super().__init__()
        self._query = query
        self._field = sought.field
        self._movable = sought.movable
        self._needles = sought.needles
        self._least = parse_time(query.earliest) if sought.by_store and query.earliest is not None else None
        self._prefix = (query.id_prefix or "").encode()

    @property
    def pays(self) -> bool:
        """Whether this is the better way: not where keys are moved, or where much would come in vain."""
        in_vain = self._query.is_filter and self.bytes > _SHORT * self._looked_at
        return super().pays and not self._movable and not in_vain

    def names(self, reply: Sequence[Any]) -> list[bytes]:
        if self._least is not None:
            return [member for member, score in records.scored(reply) if score >= self._least]
        if reply and isinstance(reply[0], list):
            return [member for member, _ in reply]
        return list(reply[::2])

    def at(self, keys: Keys, members: Sequence[bytes], take: Take) -> list[Unit[Any]]:
        if self._prefix or not {BINARY}.issuperset(map(len, members)):
            members = [
                member for member in members if not markers_in([member]) and listed(member).startswith(self._prefix)
            ]
        if not members:
            return []
        ids = all_listed(members)
        if self._field:
            own = own_form(keys, self._field)
            return [Repeated(own, keys.slot, ids, lambda replies: take(self._own(members, replies)), TIME)]
        return [Repeated(leases_form(keys), keys.slot, ids, lambda replies: take(self._latest(members, replies)))]

    def _latest(self, members: Sequence[bytes], replies: Sequence[Any]) -> list[Match]:
        """The latest leases."""
        found, lengths, needles, left = [], [], self._needles, 0
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
                    left += 1
                    continue
                header, field, lease = few
            lengths.append(len(lease))
            for needle in needles:
                if needle not in lease and not (records.is_cut(header) or records.is_damaged(lease)):
                    break
            else:
                found.append(Match(0.0, member, header, field, lease))
        self._saw(len(members), left, lengths)
        return found

    def _own(self, members: Sequence[bytes], replies: Sequence[Any]) -> list[Match]:
        """The leases of the run."""
        found, lengths, needles = [], [], self._needles
        time, *pairs = replies
        now = records.deadline_bytes(milliseconds(time))
        for member, (header, lease) in zip(members, pairs, strict=True):
            if header is None or lease is None:
                continue
            lengths.append(len(lease))
            is_damaged = records.is_cut(header) or records.is_damaged(lease)
            if is_damaged or (records.is_live(lease, now) and all(needle in lease for needle in needles)):
                found.append(Match(0.0, member, header, self._field, lease))
        self._saw(len(members), 0, lengths)
        return found


class Weighing(Looks):
    """Looks at all artifacts and their contents, by the index of deadlines.

    What is found is one `Tallied`. Artifacts that several lease, of explicit ids and of contents in chunks are unknown.

    Args:
        movable: Whether keys may lie on another node.
    """

    def __init__(self, *, movable: bool) -> None:
        super().__init__()
        self._movable = movable

    @property
    def pays(self) -> bool:
        """Whether this is the better way: not where keys are moved."""
        return super().pays and not self._movable

    def names(self, reply: Sequence[Any]) -> list[tuple[bytes, float]]:
        return records.scored(reply)

    def at(self, keys: Keys, members: Sequence[tuple[bytes, float]], take: Take) -> list[Unit[Any]]:
        usual = [one for one in members if len(one[0]) == BINARY]
        others = [listed(member) and member for member, _ in members if len(member) != BINARY]

        def decode(replies: Sequence[Any]) -> None:
            take([self._weighed(usual, replies, others)])

        return [Repeated(_sizes_form(keys), keys.slot, all_listed([member for member, _ in usual]), decode, TIME)]

    def _weighed(self, members: Sequence[tuple[bytes, float]], replies: Sequence[Any], unknown: list[bytes]) -> Tallied:
        now, ends, sizes, weights = milliseconds(replies[0]), [], [], []
        for (member, deadline), (header, several), stored in zip(members, replies[1::2], replies[2::2], strict=True):
            if header is None or deadline <= now:
                continue
            size = records.size_of(header, member)
            if several is not None or header[1 : 1 + BINARY] != member or may_be_manifest(stored, size):
                unknown.append(member)
                continue
            ends.append(deadline)
            sizes.append(size)
            weights.append(stored)
        self._saw(len(members), len(unknown), (100,))
        count, size = len(sizes), sum(sizes)
        hour, day = (sum(1 for one in ends if one <= now + hours * 3_600_000) for hours in (1, 24))
        sums = Sums(count, size, 0, 0, records.FOREVER, 0, count, size, hour, day)
        return Tallied(b"", sums, unknown, {}, (count, size, sum(weights)), [])


@lru_cache(maxsize=512)  # partitions
def _sizes_form(keys: Keys) -> IdForm:
    return IdForm((b"HMGET", keys.artifact(ANY_ID), b"h", b"t"), (b"STRLEN", keys.content(ANY_ID)))
