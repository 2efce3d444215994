"""A warning for servers that evict: asked once per store, together with the first call, at no round trip of its own."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any, Final

from ...errors import EvictingServerWarning
from ...plan import Plan
from .scripts import script as scripts
from .scripts.script import Command
from .transport.base import Sendable, Transport
from .transport.durability import Confirmation
from .transport.retry import deliver

_PACKAGE: Final = __name__.partition(".")[0]
_KEEPS: Final = (b"noeviction", b"")  # nothing is said where the server doesn't tell


class Exchanges:
    """`retry.deliver` for one store; its first one also asks for the policy.

    Args:
        key: Any key of the store; it only says which node of a cluster is asked.
        warn: Whether to ask at all: the embedded engine is known not to evict.
    """

    def __init__(self, key: bytes, *, warn: bool) -> None:
        # With its source at once: asked a single time, it should not cost a trip to find out that it is unknown.
        self._question = Command(*scripts.EVICTION_POLICY.head(by_hash=False), b"1", key)
        self._ask = warn

    def __call__(
        self,
        link: Transport,
        commands: Sequence[Sendable],
        retry_for: float,
        *,
        writes: bool,
        behind: Confirmation | None = None,
    ) -> Plan[list[Any]]:
        """See `retry.deliver`."""
        if self._ask:
            return self._first(link, commands, retry_for, writes=writes, behind=behind)
        return deliver(link, commands, retry_for, writes=writes, behind=behind)

    def _first(
        self,
        link: Transport,
        commands: Sequence[Sendable],
        retry_for: float,
        *,
        writes: bool,
        behind: Confirmation | None,
    ) -> Plan[list[Any]]:
        self._ask = False  # calls that run at the same time don't ask as well
        try:
            policy, *replies = yield from deliver(
                link, [self._question, *commands], retry_for, writes=writes, behind=behind
            )
        except BaseException:
            self._ask = True
            raise
        if policy not in _KEEPS:
            _warn(policy.decode(errors="replace"))
        return replies


def _warn(policy: str) -> None:
    warnings.warn(
        f"the server evicts keys when it reaches maxmemory (maxmemory-policy {policy}): artifacts vanish before their "
        "TTL and tickets break; set maxmemory-policy noeviction",
        EvictingServerWarning,
        stacklevel=_callers_level(),
    )


def _callers_level() -> int:
    """The `stacklevel`, for who called this function's caller, of the first frame outside of this package."""
    level, frame = 1, sys._getframe(1)  # noqa: SLF001  # what warnings itself does
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        level, frame = level + 1, frame.f_back
    return level
