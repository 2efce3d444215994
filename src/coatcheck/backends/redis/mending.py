"""Bringing the indexes of an artifact's many leases in line with them, where a script found that they are not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ...plan import Plan
from .finding.walking import Cursor
from .layout.keys import Keys
from .scripts import calls
from .scripts.calls import Mended
from .scripts.script import Call

_REASON: Final = re.compile(r"COATCHECKMEND (\S+)")
_STEPS: Final = (b"hash", b"leases", b"stores", b"dead")


def mend(
    write: Callable[[Call[Mended]], Plan[Mended]],
    keys: Keys,
    artifact_id: bytes,
    *,
    runs: bool = False,
    repair: bool = True,
) -> Plan[tuple[int, list[bytes]]]:
    """Look at all leases and all entries of their indexes, a page at a time.

    Args:
        write: Sends a call.
        keys: The partition.
        artifact_id: The artifact.
        runs: Look at the indexes of the runs, too.
        repair: Bring them in line.

    Returns:
        How many entries were wrong, and the runs whose indexes may be.
    """
    wrong, suspects = 0, list[bytes]()
    for what in _STEPS:
        cursor = Cursor()
        while not cursor.ended:
            following, some, found = yield from write(
                calls.mend(keys, artifact_id, what, cursor.at, runs=runs, repair=repair)
            )
            wrong += some
            suspects += found
            cursor.move(following)
    return wrong, suspects


def unindexed(error: BaseException) -> bytes | None:
    """The artifact, by its key, because of which a script gave up; `None` where it was something else."""
    match = _REASON.search(str(error.__cause__))
    return None if match is None else match[1].encode()
