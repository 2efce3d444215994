"""A warning for servers that evict: asked once per store, together with the first call, at no round trip of its own."""

from __future__ import annotations

import sys
import warnings
from typing import Any, Final

from ...errors import EvictingServerWarning
from .layout.partitions import Partitions
from .scripts.calls import EVICTION_POLICY
from .scripts.script import Command

_PACKAGE: Final = __name__.partition(".")[0]
_KEEPS: Final = (b"noeviction", b"")  # nothing is said where the server doesn't tell


class _Asked(Command[bytes]):
    inert = True


class Question:
    """What the server does when it reaches maxmemory; and, of one that is taken for a single server, whether it is.

    A node of a cluster may serve all that a list asks for: it would say that nothing is there.

    Args:
        partitions: Of the namespace.
        is_cluster: Whether it lies on a cluster, where a key says which node is asked. Else the keys lie in different
            slots, which a node of a cluster refuses.
    """

    def __init__(self, partitions: Partitions, *, is_cluster: bool) -> None:
        first, last = partitions.all[0], partitions.all[-1]
        self._slot = first.slot
        self._keys = (first.runs,) if is_cluster else (first.runs, first.deadlines, last.runs)

    def unit(self) -> Command[bytes]:
        """The question. It has its source with it: asked once, it should not cost a trip to find out it is unknown."""
        arguments = (b"EVAL", EVICTION_POLICY.source, b"%d" % len(self._keys), *self._keys)
        return _Asked(self._slot, arguments, bytes)


def warn(policy: Any) -> None:
    """Tell the caller, once, where the server evicts."""
    if policy in _KEEPS:
        return
    policy = policy.decode(errors="replace") if isinstance(policy, bytes) else "unknown"
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
