"""Plain commands that several rooms send, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from ..layout import records
from ..layout.keys import Keys
from .script import ANY_ID, Command, IdForm

TIME: Final = (b"TIME",)


def server_time(keys: Keys) -> Command[int]:
    """Asks a partition's node for its time, in us."""
    return Command(keys.slot, TIME, microseconds)


def microseconds(time: Sequence[bytes]) -> int:
    """What `TIME` says, in us."""
    return int(time[0]) * 1_000_000 + int(time[1])


def milliseconds(time: Sequence[bytes]) -> int:
    """What `TIME` says, in ms, as deadlines are."""
    return microseconds(time) // 1000


def leases_of(artifact: bytes) -> tuple[bytes, ...]:
    """Reads the hash under this key of an artifact that few lease; `records.latest_of_few` reads the reply."""
    return (b"HRANDFIELD", artifact, b"%d" % records.FEW, b"WITHVALUES")


@lru_cache(maxsize=512)  # partitions
def leases_form(keys: Keys) -> IdForm:
    """The same of each of some artifacts."""
    return IdForm(leases_of(keys.artifact(ANY_ID)))


@lru_cache(maxsize=512)  # partitions, and runs that are listed again
def own_form(keys: Keys, field: bytes) -> IdForm:
    """Reads the header and one lease of each of some artifacts."""
    return IdForm((b"HMGET", keys.artifact(ANY_ID), b"h", field))
