"""`gc` and `check` in the split form.

What lies in one slot is judged and repaired by one script. What a lease claims elsewhere is compared in the order that
the protocol guarantees: a lease that is there before and after its claims were looked at must have had them. A claim
without a lease is removed by its exact name, and only behind a fence: the commit it may be waiting for will not come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from ....plan import Plan
from .. import records
from ..maintenance import LOSSES, Inspection
from ..records import FOREVER
from ..scripts import Call, Command
from . import scripts
from .claims import SKEW_MS, Claim, claim_calls, claim_content_call, unclaim_content_call

if TYPE_CHECKING:
    from .backend import SplitBackend

_PAGE: Final = 500
_RUN: Final = re.compile(rb"run:\{runs-[0-9a-f]{2}\}:(.+)")

Take = Callable[[list[bytes]], Call]
"""Takes claims back by name."""


class SplitInspection(Inspection):
    """One pass over a namespace in the split form. Takes the same arguments."""

    def __init__(self, backend: SplitBackend, **options: Any) -> None:
        super().__init__(backend, **options)
        self._split = backend
        self._names = backend.names
        self._runs_seen: set[bytes] = set()

    # Artifacts and what their leases claim ---------------------------------------------------------------------

    def _artifacts(self, artifacts: list[tuple[bytes, bytes]]) -> Plan[None]:
        keys = self._names
        flag = self._flag("wrong-expiry") or (b"e" if self._repair("expired-artifact") else b"")
        replies = yield from self._ask(
            [
                scripts.INSPECT.call([key, keys.content(name), keys.leases(name)], [keys.prefix, name, flag])
                for key, name in artifacts
            ]
        )
        leases: list[tuple[Claim, bytes]] = []
        for (_, name), (tag, head, problems, *pairs) in zip(artifacts, replies, strict=True):
            if not tag and problems:
                self._unreadable = True
            elif tag != name:
                self._needed.add(tag)
            leases += [
                (Claim.of(name, head, field, lease), lease)
                for field, lease in zip(pairs[::2], pairs[1::2], strict=True)
            ]
            for problem in map(bytes.decode, problems):
                self._found.add(problem, name, repaired=problem not in LOSSES and self._repair(problem))
            if self._read_data and not LOSSES.intersection(map(bytes.decode, problems)):
                yield from self._data(name)
        for start in range(0, len(leases), _PAGE):
            yield from self._leases(leases[start : start + _PAGE])

    def _leases(self, leases: list[tuple[Claim, bytes]]) -> Plan[None]:
        """Compare leases with what they claim."""
        questions = [self._questions(claim, records.lease_times(lease)[0]) for claim, lease in leases]
        replies = iter((yield from self._split.read(*(ask for asked in questions for _, _, ask in asked))))
        for (claim, lease), asked in zip(leases, questions, strict=True):
            answers = [(problem, least, next(replies)) for problem, least, _ in asked]
            problems = {problem for problem, least, answer in answers if answer is None or float(answer) < least}
            # What ended meanwhile has taken its claims back.
            if problems and (yield from self._still_there(claim, lease)):
                yield from self._incomplete(claim, lease, problems)

    def _questions(self, claim: Claim, deadline: int) -> list[tuple[str, int, Command]]:
        """What a lease claims: the problem if it does not, what the answer has to be at least, and the question."""
        created, deadlines = self._names.catalog_with(claim.artifact_id)
        asked = [
            ("unindexed-artifact", claim.token, Command(b"ZSCORE", created, claim.name)),
            ("unindexed-artifact", deadline, Command(b"ZSCORE", deadlines, claim.name)),
        ]
        if claim.run_id is not None:
            run = self._names.run(claim.run_id)
            asked.append(("unindexed-lease", deadline, Command(b"ZSCORE", run, claim.name)))
        if claim.digest is not None:
            tag = records.tag_of(claim.digest)
            asked.append(("unindexed-artifact", deadline, Command(b"ZSCORE", self._names.leases(tag), claim.name)))
            asked.append(("lost-content", 1, Command(b"EXISTS", self._names.content(tag))))
        return asked

    def _incomplete(self, claim: Claim, lease: bytes, problems: set[str]) -> Plan[None]:
        repair = self._repair("unindexed-lease")
        for problem in sorted(problems):
            self._found.add(problem, claim.artifact_id, repaired=repair and problem not in LOSSES)
        if not repair:
            return
        deadline = records.lease_times(lease)[0]
        calls: list[Call | Command] = [*claim_calls(self._names, [(claim, deadline)])]
        if claim.digest is not None:
            calls.append(claim_content_call(self._names, claim, deadline, b""))
        yield from self._ask(calls)
        if not (yield from self._still_there(claim, lease)):
            yield from self._split.drop([claim])

    def _still_there(self, claim: Claim, lease: bytes) -> Plan[bool]:
        [now] = yield from self._split.read(Command(b"HGET", self._names.artifact(claim.artifact_id), claim.field))
        return bool(now is not None and now[:13] == lease)

    # Claims and what they stand for ----------------------------------------------------------------------------

    def _others_of(self, names: set[bytes]) -> Plan[None]:
        keys = self._names
        yield from self._contents(self._parts(names, b"content"))
        yield from self._stagings(self._parts(names, b"staging"))
        for key, tag in self._parts(names, b"leases"):
            yield from self._claims(key, partial(self._take_from_content, tag), longer=SKEW_MS)
        for key in names:
            match = _RUN.fullmatch(key, len(keys.prefix))
            if match is not None:
                yield from self._run_index(key, unquote_to_bytes(match[1]))
        for key in names.intersection(keys.all_runs()):
            yield from self._list_of_runs(key)
        for catalog in keys.all_catalogs():
            for key in names.intersection(catalog):
                take = partial(self._take_from_catalog, catalog)
                yield from self._claims(key, take, longer=None if key == catalog[0] else 0)
            if catalog[1] in names:
                flag = self._flag("wrong-expiry")
                [problem] = yield from self._ask([scripts.CHECK_CATALOG.call(catalog, [flag])])
                self._note(problem, catalog[1])

    def _note(self, problem: bytes, name: bytes) -> None:
        if problem:
            kind = problem.decode()
            self._found.add(kind, name, repaired=kind not in LOSSES and self._repair(kind))

    def _run_index(self, key: bytes, run: bytes) -> Plan[None]:
        yield from self._claims(key, partial(self._take_from_run, run))
        yield from self._check_run(run)

    def _list_of_runs(self, key: bytes) -> Plan[None]:
        [kind] = yield from self._split.read(Command(b"TYPE", key))
        if kind != b"zset":
            self._note(b"wrong-type" if kind != b"none" else b"", key)
            return
        [runs] = yield from self._split.read(Command(b"ZRANGE", key, b"0", b"-1"))
        for run in runs:
            yield from self._check_run(run)

    def _check_run(self, run: bytes) -> Plan[None]:
        if run in self._runs_seen:
            return
        self._runs_seen.add(run)
        flag = self._flag("stale-index-member")
        names = [self._names.run(run), self._names.runs_with(run)]
        [problem] = yield from self._ask([scripts.CHECK_RUNS.call(names, [run, flag])])
        self._note(problem, run)

    def _claims(self, key: bytes, take: Take, *, longer: int | None = 0) -> Plan[None]:
        """Judge every claim in an index, and take back those that stand for nothing.

        `longer`: by how much scores exceed deadlines, in ms; `None`: they are no deadlines.
        """
        cursor = b"0"
        while True:
            [kind] = yield from self._split.read(Command(b"TYPE", key))
            if kind != b"zset":
                self._note(b"wrong-type" if kind != b"none" else b"", key)
                return
            [[cursor, rows]] = yield from self._split.read(Command(b"ZSCAN", key, cursor, b"COUNT", b"%d" % _PAGE))
            members = zip(rows[::2], rows[1::2], strict=True)
            ends = ((member, FOREVER if longer is None else int(float(score)) - longer) for member, score in members)
            yield from self._judge(key, ends, take)
            if cursor == b"0":
                return

    def _judge(self, key: bytes, members: Iterable[tuple[bytes, int]], take: Take) -> Plan[None]:
        flag = self._flag("stale-index-member")
        claims = [(claim, ends) for member, ends in members if (claim := Claim.parse(member)) is not None]
        replies = yield from self._ask(
            [
                scripts.JUDGE.call(
                    [self._names.artifact(claim.artifact_id), self._names.fence(claim.artifact_id)],
                    [claim.field, b"%d" % claim.token, b"%d" % ends, self._grace, flag],
                )
                for claim, ends in claims
            ]
        )
        stale = [claim.name for (claim, _), standing in zip(claims, replies, strict=True) if standing]
        for name in stale:
            self._found.add("stale-index-member", key + b" " + name, repaired=flag == b"1")
        if stale and flag:
            yield from self._ask([take(stale)])

    def _contents(self, contents: list[tuple[bytes, bytes]]) -> Plan[None]:
        keys = self._names
        remove = b"" if self._unreadable else self._flag("orphan-content")
        repair = self._flag("wrong-expiry")
        replies = yield from self._ask(
            [
                scripts.CHECK_CONTENT.call(
                    [key, keys.leases(tag), keys.artifact(tag)],
                    [keys.prefix, tag, b"" if tag in self._needed else remove, self._grace, repair],
                )
                for key, tag in contents
            ]
        )
        for (_, tag), (problem, size, mended) in zip(contents, replies, strict=True):
            if problem and (tag not in self._needed or problem != b"orphan-content"):
                self._found.add(problem.decode(), tag, size=size, repaired=mended == 1)

    def _take_from_content(self, tag: bytes, names: list[bytes]) -> Call:
        return unclaim_content_call(self._names, tag, b"", _taken_back(names))

    def _take_from_catalog(self, catalog: tuple[bytes, bytes], names: list[bytes]) -> Call:
        return scripts.UNCLAIM_CATALOG.call(catalog, _taken_back(names))

    def _take_from_run(self, run: bytes, names: list[bytes]) -> Call:
        return scripts.UNCLAIM_RUN.call([self._names.run(run), self._names.runs_with(run)], [run, *_taken_back(names)])


def _taken_back(names: list[bytes]) -> list[bytes]:
    """Arguments that take claims back, whatever their score."""
    return [argument for name in names for argument in (name, b"", b"")]
