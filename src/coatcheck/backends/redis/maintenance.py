"""`gc` and `check`: what does not fit together, key by key.

Each judgement is one script, and so is each repair: nothing is decided on what an earlier reply said. That makes both
safe under full traffic. Artifacts come first and contents in a second pass, because what an explicit id needs is known
from its own hash even where an index was lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from ...envelope import is_manifest, unseal
from ...errors import ArtifactError, CorruptArtifactError
from ...model import CheckReport, ProblemCounter
from ...plan import Plan
from .layout import records
from .layout.manifest import Manifest
from .scripts import script as scripts
from .scripts.script import Call, Command
from .upload import STAGING_MS

if TYPE_CHECKING:
    from .backend import RedisBackend

_PAGE: Final = 500
_NAME: Final = re.compile(
    rb"(?P<kind>artifact|content|leases|run|staging):\{(?P<name>[^{}]*)\}(?P<rest>:[0-9a-f]{16})?"
)

_CHUNK: Final = re.compile(rb"content:\{(?P<name>[^{}]*)\}:[0-9a-f]{16}:[0-9]+")

LEFTOVERS: Final = frozenset(
    {"orphan-content", "orphan-chunk", "stale-index-member", "expired-artifact", "immortal-staging"}
)
"""Problems that cost memory and nothing else: what `gc` removes."""

LOSSES: Final = frozenset({"lost-content", "damaged-content", "damaged-metadata", "wrong-type", "future-version"})
"""Problems that no repair can undo; of these, only damaged content is removed, so that a store heals it."""


class Inspection:
    """One pass over a namespace.

    Args:
        backend: Whose namespace.
        repair: Which problems to repair.
        read_data: Read and verify every content as well.
        grace_ms: Contents used more recently than this are never removed.
        progress: Called with the number of keys looked at so far.
    """

    def __init__(
        self,
        backend: RedisBackend,
        *,
        repair: Callable[[str], bool],
        read_data: bool,
        grace_ms: int,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._backend = backend
        self._keys = backend.keys
        self._repair = repair
        self._read_data = read_data
        self._grace = b"%d" % -(-grace_ms // 1000)
        self._progress = progress
        self._found = ProblemCounter()
        self._needed: set[bytes] = set()  # tags of contents that explicit ids stand for
        self._unreadable = False  # whether some artifact may need a content that we cannot know

    def run(self) -> Plan[CheckReport]:
        """Look at every key of the namespace; what was found."""
        yield from self._scan(self._artifacts_of)
        looked_at = yield from self._scan(self._others_of)
        return self._found.report(looked_at)

    def _scan(self, look: Callable[[set[bytes]], Plan[None]]) -> Plan[int]:
        cursor, looked_at = b"0", 0
        while True:
            # An error here ends the inspection: a listing that failed is no reason to remove anything.
            [[cursor, names]] = yield from self._backend.read(
                Command(b"SCAN", cursor, b"MATCH", self._keys.prefix + b"*", b"COUNT", b"%d" % _PAGE)
            )
            yield from look(set(names))
            looked_at += len(names)
            if self._progress is not None:
                self._progress(looked_at)
            if cursor == b"0":
                return looked_at

    def _flag(self, *problems: str) -> bytes:
        return b"1" if any(map(self._repair, problems)) else b""

    def _parts(self, names: Iterable[bytes], kind: bytes) -> list[tuple[bytes, bytes]]:
        matches = ((key, _NAME.fullmatch(key, len(self._keys.prefix))) for key in names)
        return [(key, match["name"]) for key, match in matches if match is not None and match["kind"] == kind]

    def _artifacts_of(self, names: set[bytes]) -> Plan[None]:
        yield from self._artifacts(self._parts(names, b"artifact"))

    def _others_of(self, names: set[bytes]) -> Plan[None]:
        yield from self._contents(self._parts(names, b"content"))
        yield from self._chunks(names)
        yield from self._stagings(self._parts(names, b"staging"))
        for key, name in self._parts(names, b"run"):
            yield from self._index(key, b"run", b"=" + unquote_to_bytes(name))
        for key, name in self._parts(names, b"leases"):
            yield from self._index(key, b"leases", name)
        if self._keys.runs in names:
            yield from self._index(self._keys.runs, b"runs", b"")
        for key in names & {self._keys.created, self._keys.deadlines}:
            yield from self._index(key, b"catalog", b"")

    def _ask(self, calls: list[Call | Command]) -> Plan[list[Any]]:
        return (yield from self._backend.write(*calls)) if calls else []

    def _artifacts(self, artifacts: list[tuple[bytes, bytes]]) -> Plan[None]:
        keys = self._keys
        flag = self._flag("wrong-expiry") or (b"e" if self._repair("expired-artifact") else b"")
        replies = yield from self._ask(
            [
                scripts.CHECK_ARTIFACT.call([key, keys.created, keys.deadlines, keys.runs], [keys.prefix, name, flag])
                for key, name in artifacts
            ]
        )
        for (_, name), (tag, *problems) in zip(artifacts, replies, strict=True):
            if not tag and problems:
                self._unreadable = True
            elif tag != name:
                self._needed.add(tag)
            for problem in map(bytes.decode, problems):
                self._found.add(problem, name, repaired=problem not in LOSSES and self._repair(problem))
            if self._read_data and not LOSSES.intersection(map(bytes.decode, problems)):
                yield from self._data(name)

    def _data(self, name: bytes) -> Plan[None]:
        [[view]] = yield from self._backend.read(scripts.METADATA.call([self._keys.artifact(name)], ()))
        if view is None:
            return
        try:
            head = records.decode_head(view[0], name.decode())
            metadata = records.decode_view(name.decode(), *view)
        except ArtifactError:
            self._found.add("damaged-metadata", name)
            return
        content = self._keys.content(records.tag_of(head.digest))
        [sealed] = yield from self._backend.read(Command(b"GET", content))
        if sealed is None:
            return  # deleted meanwhile
        try:
            chunked = is_manifest(sealed)
            size = Manifest.unseal(sealed, head.digest).size if chunked else len(unseal(sealed, head.digest))
            if size != head.size:
                self._found.add("wrong-size", name)
            elif chunked:
                yield from self._backend.chunked(metadata, sealed).verify()
        except CorruptArtifactError:
            dropped = 0
            if self._repair("damaged-content"):
                [dropped] = yield from self._ask(
                    [scripts.DROP_CONTENT.call([content], [sealed[:64], b"%d" % len(sealed)])]
                )
            self._found.add("damaged-content", name, size=len(sealed), repaired=dropped == 1)

    def _contents(self, contents: list[tuple[bytes, bytes]]) -> Plan[None]:
        contents = [(key, name) for key, name in contents if name not in self._needed]
        flag = b"" if self._unreadable else self._flag("orphan-content")
        rest = [flag, self._grace, b"%d" % STAGING_MS]
        replies = yield from self._ask(
            [scripts.CHECK_CONTENT.call([key], [self._keys.prefix, name, *rest]) for key, name in contents]
        )
        for (_, name), (problem, size, removed) in zip(contents, replies, strict=True):
            if problem:
                self._found.add(problem.decode(), name, size=size, repaired=removed == 1)

    def _chunks(self, names: set[bytes]) -> Plan[None]:
        by_content: dict[bytes, list[bytes]] = {}
        for key in names:
            match = _CHUNK.fullmatch(key, len(self._keys.prefix))
            if match is not None:
                by_content.setdefault(match["name"], []).append(key)
        flag = self._flag("orphan-chunk")
        arguments = [flag, self._grace, b"%d" % STAGING_MS]
        replies = yield from self._ask(
            [
                scripts.CHECK_CHUNKS.call([self._keys.content(name), *keys], arguments)
                for name, keys in by_content.items()
            ]
        )
        for keys, judgements in zip(by_content.values(), replies, strict=True):
            for key, (problem, size, removed) in zip(keys, judgements, strict=True):
                if problem:
                    self._found.add(problem.decode(), key, size=size, repaired=removed == 1)

    def _stagings(self, stagings: list[tuple[bytes, bytes]]) -> Plan[None]:
        ttls = yield from self._ask([Command(b"PTTL", key) for key, _ in stagings])
        flag = self._flag("immortal-staging")
        for (key, name), ttl in zip(stagings, ttls, strict=True):
            if ttl == -1:  # not ours: an upload always has a TTL
                if flag:
                    yield from self._ask([Command(b"PEXPIRE", key, b"60000")])
                self._found.add("immortal-staging", name, repaired=flag == b"1")

    def _index(self, key: bytes, kind: bytes, name: bytes) -> Plan[None]:
        flag = self._flag("stale-index-member")
        start = 0
        while True:
            # Ranks move when others write; who is missed now is met by the next pass.
            [kind_of] = yield from self._backend.read(Command(b"TYPE", key))
            members: list[bytes] = []
            if kind_of == b"zset":
                [members] = yield from self._backend.read(
                    Command(b"ZRANGE", key, b"%d" % start, b"%d" % (start + _PAGE - 1))
                )
            [[problem, dropped, *stale]] = yield from self._ask(
                [scripts.CHECK_INDEX.call([key], [self._keys.prefix, kind, name, flag, *members])]
            )
            if problem:
                self._found.add(problem.decode(), key, repaired=flag == b"1" and problem == b"wrong-expiry")
            for member in stale:
                self._found.add("stale-index-member", key + b" " + member, repaired=flag == b"1")
            if len(members) < _PAGE:
                return
            start += _PAGE - dropped
