"""`gc` and `check`: what does not fit together, key by key, on every node.

Each judgement is one script, and so is each repair: nothing is decided on what an earlier reply said. That makes both
safe under full traffic. Artifacts come first, then indexes, then contents: what an artifact needs is known from its own
hash even where an index was lost, and a content goes once no index says any more that something needs it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from ...envelope import is_manifest, unseal
from ...errors import ArtifactError, CorruptArtifactError
from ...manifest import Manifest
from ...model import CheckReport, ProblemCounter
from ...plan import Plan
from ..base import Progress
from .auditing import Census, Found, are_twins, unsure_contents
from .chunks import number_pages, server_time, tidy
from .layout import records
from .layout.keys import ALL, ARTIFACTS, RARE, Keys
from .mending import mend
from .reading import Reading
from .scripts import calls
from .scripts.calls import Chunks, Name
from .scripts.script import Command, same
from .session import Session, heard
from .upload import STAGING_MS
from .walking import Cursor, Steps

_PAGE: Final = 500
_SCANNED: Final = 1000  # keys that one SCAN looks at
_MOVING_MS: Final = 10_000  # how far ends drift while keys are moved to other nodes, see `ends_agree` in Lua
_HOLD_US: Final = 600_000_000  # how long a lease may take to be taken: ten minutes

LEFTOVERS: Final = frozenset(
    {
        "orphan-content",
        "orphan-chunk",
        "stale-index-member",
        "expired-index-member",
        "expired-artifact",
        "immortal-staging",
    }
)
"""Problems that cost memory and nothing else: what `gc` removes."""

LOSSES: Final = frozenset(
    {"lost-content", "damaged-content", "damaged-metadata", "wrong-type", "future-version", "other-partitions"}
)
"""Problems that no repair can undo; of these, only damaged content is removed, so that a store heals it."""

_OfOneKind = list[Found]
"""Keys of one kind."""


def gc(session: Session, reading: Reading, *, dry_run: bool, grace_ms: int, progress: Progress) -> Plan[CheckReport]:
    """See `Backend.gc`."""

    def repair(problem: str) -> bool:
        return not dry_run and problem in LEFTOVERS

    inspection = Inspection(
        session, reading, repair=repair, read_data=False, collecting=True, grace_ms=grace_ms, progress=progress
    )
    return (yield from inspection.run()).only(LEFTOVERS)


def check(
    session: Session, reading: Reading, *, read_data: bool, repair: bool, grace_ms: int, progress: Progress
) -> Plan[CheckReport]:
    """See `Backend.check`."""
    return Inspection(
        session,
        reading,
        repair=lambda _: repair,
        read_data=read_data,
        collecting=False,
        grace_ms=grace_ms,
        progress=progress,
    ).run()


class Inspection:
    """One pass over a namespace.

    Args:
        session: The namespace.
        reading: Reads contents.
        repair: Which problems to repair.
        read_data: Read and verify every content as well.
        collecting: Whether members of indexes that have expired are looked for: writers drop them in time, most often.
        grace_ms: Contents used more recently than this are never removed.
        progress: Called with the number of keys looked at so far.
    """

    def __init__(
        self,
        session: Session,
        reading: Reading,
        *,
        repair: Callable[[str], bool],
        read_data: bool,
        collecting: bool,
        grace_ms: int,
        progress: Progress,
    ) -> None:
        self._session = session
        self._reading = reading
        self._repair = repair
        self._read_data = read_data
        self._collecting = collecting
        self._grace = -(-grace_ms // 1000)
        self._progress = progress
        self._found = ProblemCounter()
        self._needed: set[tuple[Keys, bytes]] = set()  # contents that explicit ids stand for
        self._stale: Counter[bytes] = Counter()  # stale members of each index, where they are left
        self._sure: set[Keys] = set()  # partitions whose artifacts by time all last
        self._census = Census(session)
        self._unreadable = False  # whether some artifact may need a content that we cannot know

    def run(self) -> Plan[CheckReport]:
        """Look at every key of the namespace; what was found."""
        yield from self._scan(ARTIFACTS, {"artifact": self._artifacts})
        yield from self._scan(
            RARE,
            {
                "run": self._runs,
                "runs": self._lists_of_runs,
                "needs": self._needs,
                "catalog": self._catalogs,
                "leases": self._indexes_of_leases,
                "stores": self._indexes_of_leases,
                "labelled": self._indexes_by_label,
            },
        )
        looked_at = yield from self._scan(
            ALL,
            {
                "content": self._contents,
                "chunk": self._chunks,
                "staging": self._temporary,
                "buried": self._temporary,
                "": self._foreign,
            },
        )
        return self._found.report(looked_at)

    def _scan(self, pattern: bytes, rooms: dict[str, Callable[[_OfOneKind], Plan[None]]]) -> Plan[int]:
        """Show every key of some kinds to who looks at that kind; how many keys there were.

        Args:
            pattern: Of the keys of these kinds, and perhaps of others, behind the prefix of their partition.
            rooms: By the kind, who looks at them.
        """
        looked_at = 0
        partitions = self._session.partitions
        tagged = partitions.count > 1 and pattern is not ALL
        pattern = partitions.prefix + (b"{*}:" if tagged else b"") + pattern
        for node in (yield from self._session.primaries()):
            cursor = Cursor()
            while not cursor.ended:
                # An error here ends the inspection: a listing that failed is no reason to remove anything.
                scan = (b"SCAN", cursor.at, b"MATCH", pattern, b"COUNT", b"%d" % _SCANNED)
                following, names = yield from self._session.ask_node(node, Command(0, scan, _scanned))
                kinds: dict[str, _OfOneKind] = {}
                for key in set(names):
                    self._sort(key, kinds)
                for kind, look in rooms.items():
                    if kind in kinds:
                        yield from heard(look(kinds[kind]))
                looked_at += len(names)
                if self._progress is not None:
                    self._progress(looked_at)
                cursor.move(following)
        return looked_at

    def _sort(self, key: bytes, kinds: dict[str, _OfOneKind]) -> None:
        keys = self._session.partitions.holding(key)
        if isinstance(keys, int):
            match = re.match(rb"()", b"%d" % keys)
            assert match is not None
            kinds.setdefault("", []).append((self._session.partitions.all[0], key, match))
        elif keys is not None:
            kind = keys.kind_of(key)
            if kind is not None:
                kinds.setdefault(kind[0], []).append((keys, key, kind[1]))

    def _flag(self, *problems: str) -> bytes:
        return b"1" if any(map(self._repair, problems)) else b""

    def _foreign(self, found: _OfOneKind) -> Plan[None]:
        """Keys of workers that cut the namespace into another number of partitions."""
        yield from ()
        for _, key, _ in found:
            self._found.add("other-partitions", key)

    # Artifacts -------------------------------------------------------------------------------------------------

    def _artifacts(self, found: _OfOneKind) -> Plan[None]:
        session = self._session
        found = yield from self._census.suspects(found, read_data=self._read_data)
        headers = yield from session.read_each([Command(keys.slot, (b"TYPE", key), same) for keys, key, _ in found])
        headers = yield from session.read_each(
            [
                Command(keys.slot, (b"HGET", key, b"h") if kind == b"hash" else (b"EXISTS", key), same)
                for (keys, key, _), kind in zip(found, headers, strict=True)
            ]
        )
        flag = self._flag("wrong-expiry") or (b"e" if self._repair("expired-artifact") else b"")
        names = [
            (keys, _name_of(match["name"], header)) for (keys, _, match), header in zip(found, headers, strict=True)
        ]
        replies = yield from session.write_each([calls.check_artifact(keys, name, flag) for keys, name in names])
        for (keys, name), (state, found_now, runs, chunks) in zip(names, replies, strict=True):
            problems = list(found_now)
            if state == "other":
                continue  # replaced this very moment
            if not state:
                self._unreadable = self._unreadable or bool(problems)
            elif name.content != name.artifact:
                self._needed.add((keys, name.content))
            if chunks is not None and not self._collecting and "lost-content" not in problems:
                problems += yield from self._chunks_of(keys, Chunks(name.content, *chunks))
            if state == "many" and "wrong-type" not in problems:
                problems += yield from self._many(keys, name.artifact)
            elif runs and (yield from self._unindexed(keys, name.artifact, runs)):
                problems.append("unindexed-lease")
            self._census.add(keys, fits=bool(state) and not problems)
            for problem in dict.fromkeys(problems):
                self._found.add(problem, name.artifact, repaired=problem not in LOSSES and self._repair(problem))
            if self._read_data and state and not LOSSES.intersection(problems):
                yield from self._data(keys, name)

    def _many(self, keys: Keys, artifact_id: bytes) -> Plan[list[str]]:
        """What is wrong with the indexes of many leases."""
        wrong, suspects = yield from mend(
            self._session.write,
            keys,
            artifact_id,
            runs=not self._collecting,
            repair=self._repair("unindexed-lease") or self._repair("stale-index-member"),
        )
        unindexed = yield from self._unindexed(keys, artifact_id, suspects)
        return ["unindexed-lease"] if wrong or unindexed else []

    def _unindexed(self, keys: Keys, artifact_id: bytes, runs: Sequence[bytes]) -> Plan[bool]:
        """Whether a run's index does not know its lease."""
        wrong = False
        for start in range(0, len(runs), _PAGE):
            wrong |= any(
                (
                    yield from self._session.write_each(
                        [
                            calls.index_lease(keys, artifact_id, run, keys.run_of(run), self._flag("unindexed-lease"))
                            for run in runs[start : start + _PAGE]
                        ]
                    )
                )
            )
        return wrong

    def _chunks_of(self, keys: Keys, chunks: Chunks) -> Plan[list[str]]:
        """What is wrong with the chunks of a content."""
        [content_ends] = yield from self._ends(keys, [keys.content(chunks.content)])
        last = (b"ZRANGE", keys.needs(chunks.content), b"-1", b"-1", b"WITHSCORES")
        held = yield from self._session.read(Command(keys.slot, last, records.scored))
        # Each hold moves chunks to its own end, or some of them where its call did not come to an end.
        least = _until(content_ends)
        latest = max([least, *(score for _, score in held)])
        for numbers in number_pages(chunks.total):
            ends = yield from self._ends(keys, [keys.chunk(chunks.content, chunks.token, n) for n in numbers])
            if -2 in ends:
                [now_ends] = yield from self._ends(keys, [keys.content(chunks.content)])
                now = (yield from self._session.read(server_time(keys))) // 1000
                # In the millisecond of their deadline chunks may be gone before their content.
                is_ending = 0 <= content_ends <= now
                return ["lost-content"] if now_ends == content_ends != -2 and not is_ending else []
            if not all(least - _MOVING_MS <= _until(end) <= latest + _MOVING_MS for end in ends):
                if self._repair("wrong-expiry"):
                    yield from tidy(self._session, keys, chunks)
                return ["wrong-expiry"]
        return []

    def _ends(self, keys: Keys, names: Sequence[bytes]) -> Plan[list[int]]:
        return self._session.read_each([Command(keys.slot, (b"PEXPIRETIME", name), int) for name in names])

    def _data(self, keys: Keys, name: Name) -> Plan[None]:
        try:
            [metadata] = yield from self._reading.describing.metadata([name.artifact.decode()])
        except ArtifactError:
            self._found.add("damaged-metadata", name.artifact)
            return
        if metadata is None:
            return
        digest = bytes.fromhex(metadata.digest or "")
        content_id = records.content_id_of(digest)
        sealed: bytes | None = yield from self._session.read(
            Command(keys.slot, (b"GET", keys.content(content_id)), same)
        )
        if sealed is None:
            return  # deleted meanwhile
        try:
            chunked = is_manifest(sealed)
            size = Manifest.unseal(sealed, digest).size if chunked else len(unseal(sealed, digest))
            if size != metadata.size_bytes:
                self._found.add("wrong-size", name.artifact)
            elif chunked:
                yield from self._reading.chunked(metadata, sealed, "full").verify()
        except CorruptArtifactError:
            dropped = False
            if self._repair("damaged-content"):
                _, _, dropped, chunks = yield from self._session.write(
                    calls.drop_content(keys, content_id, sealed[:64], len(sealed))
                )
                yield from tidy(self._session, keys, None if chunks is None else Chunks(content_id, *chunks))
            self._found.add("damaged-content", name.artifact, size=len(sealed), repaired=dropped)

    # Indexes ---------------------------------------------------------------------------------------------------

    def _runs(self, found: _OfOneKind) -> Plan[None]:
        for (keys, key, match), start in (yield from self._census.unsure_runs(found)):
            yield from self._index(keys, (key, key), "run", b"=" + match["name"], keys.artifact_of, start)

    def _lists_of_runs(self, found: _OfOneKind) -> Plan[None]:
        for keys, key, _ in found:
            yield from self._index(keys, (key, key), "runs", b"", keys.run_of)

    def _needs(self, found: _OfOneKind) -> Plan[None]:
        for keys, key, match in found:
            yield from self._index(keys, (key, key), "needs", match["name"], keys.artifact_of)

    def _catalogs(self, found: _OfOneKind) -> Plan[None]:
        # Deadlines last: they tell of the other that its members have expired.
        for keys, key, _ in sorted(found, key=lambda one: one[1]):
            if keys not in self._sure or not (yield from are_twins(self._session, keys)):
                sure = yield from self._index(keys, (key, keys.deadlines), "catalog", b"", keys.artifact_of)
                if sure and key == keys.created:
                    self._sure.add(keys)

    def _indexes_by_label(self, found: _OfOneKind) -> Plan[None]:
        for keys, key, match in sorted(found, key=lambda one: one[1]):
            if match["token"] is not None:
                prefix = key.removesuffix(b"values")
                yield from self._index(keys, (key, key), "runs", b"", partial(_deadlines, prefix))
            else:
                deadlines = keys.labelled(match["name"], "deadlines")
                yield from self._index(keys, (key, deadlines), "labelled", match["name"], keys.artifact_of)

    def _index(
        self,
        keys: Keys,
        index: tuple[bytes, bytes],
        kind: str,
        name: bytes,
        key_of: Callable[[bytes], bytes],
        start: int = 0,
    ) -> Plan[bool]:
        """Look at an index from a rank on; whether all members surely stand for something."""
        steps, sure = Steps(), True
        start = yield from self._census.sure_members(keys, index, kind, name, start)
        while True:
            # Ranks move when others write; who is missed now is met by the next pass.
            kind_of = yield from self._session.read(Command(keys.slot, (b"TYPE", index[0]), same))
            members: list[bytes] = []
            if kind_of == b"zset":
                page = (b"ZRANGE", index[0], b"%d" % start, b"%d" % (start + _PAGE - 1))
                members = yield from self._session.read(Command(keys.slot, page, same))
            problem, dropped, expired, stale = yield from self._session.write(
                calls.check_index(
                    keys,
                    index,
                    kind,
                    name,
                    [(member, key_of(member)) for member in members],
                    stale=self._flag("stale-index-member"),
                    expired=self._flag("expired-index-member") if self._collecting else b"",
                    expiry=self._flag("wrong-expiry"),
                    hold_us=_HOLD_US,
                )
            )
            if not 0 <= dropped <= len(members) >= expired or steps.in_circles((start, members)):
                raise ValueError(f"{dropped} and {expired} of {len(members)} members")
            if problem:
                self._found.add(problem, index[0], repaired=problem == "wrong-expiry" and self._repair("wrong-expiry"))
            if not self._repair("stale-index-member"):
                self._stale[index[0]] += len(stale)
            for member in stale:
                self._found.add(
                    "stale-index-member", index[0] + b" " + member, repaired=self._repair("stale-index-member")
                )
            for _ in range(expired if self._collecting else 0):
                self._found.add("expired-index-member", index[0], repaired=self._repair("expired-index-member"))
            sure = sure and not members
            if len(members) < _PAGE:
                return sure
            start = yield from self._census.sure_members(keys, index, kind, name, start + _PAGE - dropped)

    def _indexes_of_leases(self, found: _OfOneKind) -> Plan[None]:
        """Those of artifacts that are gone, or that few lease, are left over."""
        for keys, key, match in found:
            artifact = keys.artifact(match["name"])
            kind = yield from self._session.read(Command(keys.slot, (b"TYPE", artifact), same))
            fields = 0
            if kind == b"hash":
                fields = yield from self._session.read(Command(keys.slot, (b"HLEN", artifact), int))
            if kind in (b"hash", b"none") and fields <= records.MANY:
                if self._repair("stale-index-member"):
                    yield from self._session.write(calls.mend(keys, match["name"], b"hash", b"0"))
                self._found.add("stale-index-member", key, repaired=self._repair("stale-index-member"))

    # Contents --------------------------------------------------------------------------------------------------

    def _contents(self, found: _OfOneKind) -> Plan[None]:
        found = [one for one in found if (one[0], one[2]["name"]) not in self._needed]
        wanted = [(keys, match["name"]) for keys, _, match in (yield from unsure_contents(self._session, found))]
        flag = b"" if self._unreadable else self._flag("orphan-content")
        replies = yield from self._session.write_each(
            [
                calls.check_content(keys, name, flag, self._grace, STAGING_MS, self._stale[keys.needs(name)])
                for keys, name in wanted
            ]
        )
        for (keys, name), (problem, size, removed, chunks) in zip(wanted, replies, strict=True):
            if problem:
                self._found.add(problem, name, size=size, repaired=removed)
            if chunks is not None:
                yield from tidy(self._session, keys, Chunks(name, *chunks))

    def _chunks(self, found: _OfOneKind) -> Plan[None]:
        uploads: dict[tuple[Keys, bytes, bytes], list[bytes]] = {}
        for keys, key, match in found:
            uploads.setdefault((keys, match["name"], match["token"]), []).append(key)
        flag = self._flag("orphan-chunk")
        replies = yield from self._session.write_each(
            [
                calls.check_chunks(keys, name, token, names, flag, self._grace, STAGING_MS)
                for (keys, name, token), names in uploads.items()
            ]
        )
        for names, judgements in zip(uploads.values(), replies, strict=True):
            for key, (problem, size, removed, _) in zip(names, judgements, strict=True):
                if problem:
                    self._found.add(problem, key, size=size, repaired=removed)

    def _temporary(self, found: _OfOneKind) -> Plan[None]:
        """What always has a TTL, if it is ours."""
        ttls = yield from self._session.read_each([Command(keys.slot, (b"PTTL", key), int) for keys, key, _ in found])
        for (keys, key, _), ttl in zip(found, ttls, strict=True):
            if ttl == -1:
                if self._repair("immortal-staging"):
                    expire = (b"PEXPIRE", key, b"%d" % STAGING_MS)
                    yield from self._session.write(Command(keys.slot, expire, same))
                self._found.add("immortal-staging", key, repaired=self._repair("immortal-staging"))


def _name_of(artifact_id: bytes, header: Any) -> Name:
    """An artifact and its content, from its header."""
    readable = isinstance(header, bytes) and len(header) > 33 and header[0] == records.VERSION
    return Name.of(artifact_id.decode(), records.content_id_of(header[1:33]) if readable else None)


def _until(end: int) -> float:
    """An answer of PEXPIRETIME as a time; for ever is after all others."""
    return math.inf if end == -1 else end


def _scanned(reply: Any) -> tuple[bytes, list[bytes]]:
    cursor, names = reply
    if not cursor.isdigit():
        raise ValueError(f"the cursor {cursor[:20]!r}")
    return cursor, [bytes(name) for name in names if isinstance(name, bytes)]


def _deadlines(prefix: bytes, value: bytes) -> bytes:
    return prefix + value + b":deadlines"
