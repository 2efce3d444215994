"""What callers did to a store, when, and what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256

from coatcheck import Artifact, ArtifactError, StoreUnavailableError

OK, ABSENT, UNKNOWN = "ok", "absent", "unknown"


@dataclass(frozen=True, slots=True)
class Event:
    """One call.

    Attributes:
        op: The method's name.
        run: Whose lease it concerns, if one's.
        id: The artifact that it concerns, if one.
        digest: Of the content that was stored or loaded.
        listed: The ids that `list_by_run` gave.
        start, end: Seconds, on a clock that all callers share.
        outcome: `OK`, `ABSENT` (`None` or `False`), `UNKNOWN` (the store was unavailable), or the name of another error.
    """

    op: str
    run: str | None
    id: str | None
    digest: str | None
    listed: frozenset[str] | None
    start: float
    end: float
    outcome: str

    def __str__(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None}, default=sorted)


class History(list[Event]):
    """Events in the order in which they ended. Threads may append."""

    async def record(
        self,
        op: str,
        call: Callable[[], Awaitable[object]],
        *,
        run: str | None = None,
        id: str | None = None,
        content: bytes | None = None,
    ) -> Event:
        """Make a call and write it down; no error of the store leaves this."""
        digest = None if content is None else sha256(content).hexdigest()
        listed, start = None, time.monotonic()
        try:
            result = await call()
        except StoreUnavailableError:
            outcome = UNKNOWN
        except ArtifactError as error:
            outcome = type(error).__name__
        else:
            outcome = ABSENT if result in (None, False) else OK
            if isinstance(result, Artifact):
                digest = sha256(result.content).hexdigest()
            if isinstance(result, list):
                listed = frozenset(one.artifact_id for one in result)
        event = Event(op, run, id, digest, listed, start, time.monotonic(), outcome)
        self.append(event)
        return event

    def about(self, id: str) -> str:
        """What concerns an artifact, as JSON lines; of lists only whether it was in them."""
        runs = {event.run for event in self if event.id == id and event.run}
        told = [
            replace(event, listed=event.listed and event.listed & {id})
            for event in self
            if event.id == id or (event.id is None and event.run in runs)
        ]
        return "\n".join(map(str, told))
