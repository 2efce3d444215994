"""Indexes, page by page: whether their members stand for something, and whether they end when they should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from ....plan import Plan
from ..batching import PAGE
from ..finding.walking import Steps
from ..layout import records
from ..layout.keys import Keys
from ..scripts import calls
from ..scripts.script import Command, same
from ..session import Session
from .auditing import Census, Key, are_twins
from .problems import Problems

_HOLD_US: Final = 600_000_000  # how long a lease may take to be taken: ten minutes


class Indexes:
    """What looks at indexes.

    Args:
        session: The namespace.
        problems: What is found goes there.
        census: What is known to fit.
        collecting: Look for members that have expired as well: writers drop them in time, most often.

    Attributes:
        stale: Stale members of each index, where they are left.
    """

    def __init__(self, session: Session, problems: Problems, census: Census, *, collecting: bool) -> None:
        self.stale: Counter[bytes] = Counter()
        self._session = session
        self._problems = problems
        self._census = census
        self._collecting = collecting
        self._sure: set[Keys] = set()  # partitions whose artifacts by time of store are all there

    def runs(self, found: Sequence[Key]) -> Plan[None]:
        """What runs lease."""
        for (keys, key, match), start in (yield from self._census.unsure_runs(found)):
            yield from self._look(keys, (key, key), "run", b"=" + match["name"], keys.artifact_of, start)

    def lists_of_runs(self, found: Sequence[Key]) -> Plan[None]:
        """All runs of a partition."""
        for keys, key, _ in found:
            yield from self._look(keys, (key, key), "runs", b"", keys.run_of)

    def needs(self, found: Sequence[Key]) -> Plan[None]:
        """What needs a content."""
        for keys, key, match in found:
            yield from self._look(keys, (key, key), "needs", match["name"], keys.artifact_of)

    def catalogs(self, found: Sequence[Key]) -> Plan[None]:
        """All artifacts, by time of store and by deadline, and those that outlive their latest lease."""
        # Deadlines last: they tell of the others that their members have expired.
        for keys, key, _ in sorted(found, key=lambda one: (one.key == one.keys.deadlines, one.key)):
            if key == keys.outlived or keys not in self._sure or not (yield from are_twins(self._session, keys)):
                sure = yield from self._look(keys, (key, keys.deadlines), "catalog", b"", keys.artifact_of)
                if sure and key == keys.created:
                    self._sure.add(keys)

    def by_label(self, found: Sequence[Key]) -> Plan[None]:
        """Artifacts under a label, and the values of a field."""
        for keys, key, match in sorted(found, key=lambda one: one.key):
            if match["token"] is not None:
                yield from self._look(keys, (key, key), "runs", b"", partial(_index_of_value, keys, match["token"]))
            else:
                deadlines = keys.labelled(match["name"], "deadlines")
                yield from self._look(keys, (key, deadlines), "labelled", match["name"], keys.artifact_of)

    def of_many_leases(self, found: Sequence[Key]) -> Plan[None]:
        """Leases of one artifact: where that is gone, or few lease it, they are left over."""
        for keys, key, match in found:
            artifact = keys.artifact(match["name"])
            kind = yield from self._session.read(Command(keys.slot, (b"TYPE", artifact), same))
            fields = 0
            if kind == b"hash":
                fields = yield from self._session.read(Command(keys.slot, (b"HLEN", artifact), int))
            if kind in (b"hash", b"none") and fields <= records.MANY:
                if self._problems.repairs("stale-index-member"):
                    yield from self._session.write(calls.mend(keys, match["name"], b"hash", b"0"))
                self._problems.add("stale-index-member", key)

    def _look(
        self,
        keys: Keys,
        index: tuple[bytes, bytes],
        kind: str,
        name: bytes,
        key_of: Callable[[bytes], bytes],
        start: int = 0,
    ) -> Plan[bool]:
        """Look at an index from a rank on; whether all members surely stand for something.

        Args:
            keys: The partition.
            index: The index, and the one that knows its members' deadlines.
            kind: See `calls.check_index`.
            name: Likewise.
            key_of: The key that a member stands for.
            start: The rank.
        """
        steps, sure, problem = Steps(), True, ""
        start = yield from self._census.sure_members(keys, index, kind, name, start)
        while True:
            # Ranks move when others write; who is missed now is met by the next pass.
            members = yield from self._members(keys, index[0], start)
            checked = yield from self._session.write(
                calls.check_index(
                    keys,
                    index,
                    kind,
                    name,
                    [(member, key_of(member)) for member in members],
                    stale=self._problems.flag("stale-index-member"),
                    expired=self._problems.flag("expired-index-member") if self._collecting else b"",
                    expiry=self._problems.flag("wrong-expiry"),
                    hold_us=_HOLD_US,
                )
            )
            dropped, expired = checked.dropped, checked.expired
            if not 0 <= dropped <= len(members) >= expired or steps.in_circles((start, members)):
                raise ValueError(f"{dropped} and {expired} of {len(members)} members")
            self._note(index[0], checked)
            problem = problem or checked.problem  # the key's: each page's script says so
            sure = sure and not members
            if len(members) < PAGE:
                if problem:
                    self._problems.add(problem, index[0])
                return sure
            start = yield from self._census.sure_members(keys, index, kind, name, start + PAGE - dropped)

    def _members(self, keys: Keys, index: bytes, start: int) -> Plan[list[bytes]]:
        """A page of members, from a rank on; none of a key of another type."""
        if (yield from self._session.read(Command(keys.slot, (b"TYPE", index), same))) != b"zset":
            return []
        page = (b"ZRANGE", index, b"%d" % start, b"%d" % (start + PAGE - 1))
        return (yield from self._session.read(Command(keys.slot, page, list[bytes])))

    def _note(self, index: bytes, checked: calls.Index) -> None:
        problems = self._problems
        if not problems.repairs("stale-index-member"):
            self.stale[index] += len(checked.stale)
        for member in checked.stale:
            problems.add("stale-index-member", index + b" " + member)
        for _ in range(checked.expired if self._collecting else 0):
            problems.add("expired-index-member", index)


def _index_of_value(keys: Keys, token: bytes, value: bytes) -> bytes:
    return keys.labelled(token + b":" + value, "deadlines")
