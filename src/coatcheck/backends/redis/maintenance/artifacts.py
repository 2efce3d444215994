"""Artifacts, one by one: whether each fits together with its leases, its content and the indexes that name it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from ....envelope import HEADER, is_manifest, unseal
from ....errors import ArtifactError, CorruptArtifactError
from ....manifest import Manifest
from ....plan import Plan
from ..batching import pages
from ..content.chunks import number_pages, tidy
from ..layout import records
from ..layout.keys import Keys
from ..mending import mend
from ..reading import Reading
from ..scripts import calls
from ..scripts.calls import Chunks, Name
from ..scripts.plain import server_time
from ..scripts.script import Command, same
from ..session import Session
from .auditing import Census, Found, Key
from .problems import LOSSES, Problems

_MOVING_MS: Final = 10_000  # how far ends drift while keys are moved to other nodes, see `ends_agree` in Lua


class Artifacts:
    """What looks at artifacts.

    Args:
        session: The namespace.
        problems: What is found goes there.
        reading: Reads contents.
        read_data: Read and verify every content as well.
        thorough: Look at the chunks of contents as well, and at the runs of many leases.

    Attributes:
        census: Counts what fits.
        needed: The contents that explicit ids stand for.
        unreadable: Whether some artifact may need a content that nobody knows.
    """

    def __init__(
        self, session: Session, problems: Problems, reading: Reading, *, read_data: bool, thorough: bool
    ) -> None:
        self.census = Census(session, whole=thorough)
        self.needed: set[tuple[Keys, bytes]] = set()
        self.unreadable = False
        self._session = session
        self._problems = problems
        self._reading = reading
        self._read_data = read_data
        self._thorough = thorough

    def look(self, found: Found) -> Plan[None]:
        """Look at some of default ids."""
        yield from self._one_by_one((yield from self.census.suspects(found, read_data=self._read_data)))
        if self.census.is_full:
            yield from self.finish()

    def explicit(self, found: Sequence[Key]) -> Plan[None]:
        """Look at some of other ids."""
        yield from self._one_by_one([(keys, match["name"]) for keys, _, match in found])

    def finish(self) -> Plan[None]:
        """Look at what was put off: the runs' indexes."""
        flag = self._problems.flag("unindexed-lease")
        for page in pages((yield from self.census.unindexed())):
            answers = yield from self._session.write_each(
                [calls.index_lease(keys, artifact, run, keys.run_of(run), flag) for keys, artifact, run in page]
            )
            for (_, artifact, _), wrong in zip(page, answers, strict=True):
                if wrong:
                    self._problems.add("unindexed-lease", artifact)

    def _one_by_one(self, found: Sequence[tuple[Keys, bytes]]) -> Plan[None]:
        problems = self._problems
        named = yield from self._named(found)
        repair = problems.flag("wrong-expiry") or (b"e" if problems.repairs("expired-artifact") else b"")
        replies = yield from self._session.write_each(
            [calls.check_artifact(keys, name, repair) for keys, name in named]
        )
        for (keys, name), checked in zip(named, replies, strict=True):
            if checked.state == "other":
                continue  # replaced this very moment
            if not checked.state:
                self.unreadable = self.unreadable or bool(checked.problems)
            elif name.content != name.artifact:
                self.needed.add((keys, name.content))
            wrong = [*checked.problems, *(yield from self._around(keys, name, checked))]
            self.census.add(keys, fits=bool(checked.state) and not wrong)
            for problem in dict.fromkeys(wrong):
                problems.add(problem, name.artifact)
            if not checked.state or LOSSES.intersection(wrong):
                continue
            if self._read_data:
                yield from self._content(keys, name)
            elif 0 <= checked.stored < HEADER.size:
                problems.add("damaged-content", name.content, size=checked.stored)

    def _named(self, found: Sequence[tuple[Keys, bytes]]) -> Plan[list[tuple[Keys, Name]]]:
        """Artifacts with the contents that their headers name."""
        read_each = self._session.read_each
        types = yield from read_each([Command(keys.slot, (b"TYPE", keys.artifact(name)), same) for keys, name in found])
        headers = yield from read_each(
            [
                Command(
                    keys.slot,
                    (b"HGET", keys.artifact(name), b"h") if kind == b"hash" else (b"EXISTS", keys.artifact(name)),
                    same,
                )
                for (keys, name), kind in zip(found, types, strict=True)
            ]
        )
        return [(keys, _name_of(name, header)) for (keys, name), header in zip(found, headers, strict=True)]

    def _around(self, keys: Keys, name: Name, checked: calls.Checked) -> Plan[list[str]]:
        """What is wrong with what a script cannot look at: chunks, and the indexes of runs and of many leases."""
        wrong: list[str] = []
        if checked.chunks is not None and self._thorough and "lost-content" not in checked.problems:
            wrong += yield from self._chunks(keys, Chunks(name.content, *checked.chunks))
        if checked.state == "many" and "wrong-type" not in checked.problems:
            wrong += yield from self._many(keys, name.artifact)
        elif checked.runs and (yield from self._unindexed(keys, name.artifact, checked.runs)):
            wrong.append("unindexed-lease")
        return wrong

    def _many(self, keys: Keys, artifact_id: bytes) -> Plan[list[str]]:
        """What is wrong with the indexes of many leases."""
        repairs = self._problems.repairs
        wrong, runs = yield from mend(
            self._session.write,
            keys,
            artifact_id,
            runs=self._thorough,
            repair=repairs("unindexed-lease") or repairs("stale-index-member"),
        )
        unindexed = yield from self._unindexed(keys, artifact_id, runs)
        return ["unindexed-lease"] if wrong or unindexed else []

    def _unindexed(self, keys: Keys, artifact_id: bytes, runs: Sequence[bytes]) -> Plan[bool]:
        """Whether a run's index does not know its lease."""
        wrong, flag = False, self._problems.flag("unindexed-lease")
        for page in pages(runs):
            answers = yield from self._session.write_each(
                [calls.index_lease(keys, artifact_id, run, keys.run_of(run), flag) for run in page]
            )
            wrong |= any(answers)
        return wrong

    def _chunks(self, keys: Keys, chunks: Chunks) -> Plan[list[str]]:
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
                if self._problems.repairs("wrong-expiry"):
                    yield from tidy(self._session, keys, chunks)
                return ["wrong-expiry"]
        return []

    def _ends(self, keys: Keys, names: Sequence[bytes]) -> Plan[list[int]]:
        return self._session.read_each([Command(keys.slot, (b"PEXPIRETIME", name), int) for name in names])

    def _content(self, keys: Keys, name: Name) -> Plan[None]:
        """Read and verify its content; one that is damaged makes room for the next store."""
        try:
            [metadata] = yield from self._reading.describing.metadata([name.artifact.decode()])
        except ArtifactError:
            self._problems.add("damaged-metadata", name.artifact)
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
                self._problems.add("wrong-size", name.artifact, repaired=False)
            elif chunked:
                yield from self._reading.chunked(metadata, sealed, "full").verify()
        except CorruptArtifactError:
            dropped = False
            if self._problems.repairs("damaged-content"):
                judgement = yield from self._session.write(
                    calls.drop_content(keys, content_id, sealed[:64], len(sealed))
                )
                dropped = judgement.removed
                if judgement.chunks is not None:
                    yield from tidy(self._session, keys, Chunks(content_id, *judgement.chunks))
            self._problems.add("damaged-content", name.artifact, size=len(sealed), repaired=dropped)


def _name_of(artifact_id: bytes, header: Any) -> Name:
    """An artifact and its content, from its header."""
    readable = isinstance(header, bytes) and len(header) > 33 and header[0] == records.VERSION
    return Name.of(artifact_id.decode(), records.content_id_of(header[1:33]) if readable else None)


def _until(end: int) -> float:
    """An answer of PEXPIRETIME as a time; for ever is after all others."""
    return math.inf if end == -1 else end
