"""Contents, chunks and what lies in between for a while: whether anything needs them still, and whether they end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ....plan import Plan
from ..content.chunks import tidy
from ..content.upload import STAGING_MS
from ..layout.keys import Keys
from ..scripts import calls
from ..scripts.calls import Chunks
from ..scripts.script import Command, same
from ..session import Session
from .artifacts import Artifacts
from .auditing import Found, Key, unsure_contents
from .problems import Problems


class Contents:
    """What looks at contents.

    Args:
        session: The namespace.
        problems: What is found goes there.
        artifacts: Knows what they need.
        stale: Stale members of each index, where they were left.
        grace_ms: What was used more recently than this is never removed.

    Attributes:
        unsure: Whether it was not sure of some content that something needs it.
    """

    def __init__(
        self, session: Session, problems: Problems, artifacts: Artifacts, stale: Counter[bytes], grace_ms: int
    ) -> None:
        self.unsure = False
        self._session = session
        self._problems = problems
        self._artifacts = artifacts
        self._stale = stale
        self._grace = -(-grace_ms // 1000)

    def ask(self, found: Found) -> Plan[None]:
        """Ask whether some contents are needed, before all artifacts and indexes were looked at."""
        if not self.unsure:
            self.unsure = bool((yield from unsure_contents(self._session, found)))

    def look(self, found: Found) -> Plan[None]:
        """Contents, or their manifests, after all artifacts and indexes were looked at."""
        artifacts = self._artifacts
        wanted = [one for one in (yield from unsure_contents(self._session, found)) if one not in artifacts.needed]
        flag = b"" if artifacts.unreadable else self._problems.flag("orphan-content")
        replies = yield from self._session.write_each(
            [
                calls.check_content(keys, name, flag, self._grace, STAGING_MS, self._stale[keys.needs(name)])
                for keys, name in wanted
            ]
        )
        for (keys, name), (problem, size, removed, chunks) in zip(wanted, replies, strict=True):
            if problem:
                self._problems.add(problem, name, size=size, repaired=removed)
            if chunks is not None:
                yield from tidy(self._session, keys, Chunks(name, *chunks))

    def chunks(self, found: Sequence[Key]) -> Plan[None]:
        """Chunks, those of one upload together."""
        uploads: dict[tuple[Keys, bytes, bytes], list[bytes]] = {}
        for keys, key, match in found:
            uploads.setdefault((keys, match["name"], match["token"]), []).append(key)
        flag = self._problems.flag("orphan-chunk")
        replies = yield from self._session.write_each(
            [
                calls.check_chunks(keys, name, token, names, flag, self._grace, STAGING_MS)
                for (keys, name, token), names in uploads.items()
            ]
        )
        for names, judgements in zip(uploads.values(), replies, strict=True):
            for key, (problem, size, removed, _) in zip(names, judgements, strict=True):
                if problem:
                    self._problems.add(problem, key, size=size, repaired=removed)

    def temporary(self, found: Sequence[Key]) -> Plan[None]:
        """What always has a TTL, if it is ours."""
        ttls = yield from self._session.read_each([Command(keys.slot, (b"PTTL", key), int) for keys, key, _ in found])
        for (keys, key, _), ttl in zip(found, ttls, strict=True):
            if ttl == -1:
                if self._problems.repairs("immortal-staging"):
                    expire = (b"PEXPIRE", key, b"%d" % STAGING_MS)
                    yield from self._session.write(Command(keys.slot, expire, same))
                self._problems.add("immortal-staging", key)
