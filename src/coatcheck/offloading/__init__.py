"""Large parts of a value kept apart: `offload` puts tickets in their place, `resolve` puts them back.

What `offload` returns is plain JSON, fit for the state of any workflow engine, agent runtime or queue.
"""

from ..values import Limits
from .moving import aoffload, aresolve, offload, resolve
from .options import THRESHOLD, OffloadOptions
from .wrapping import OffloadingMapping, offloads, resolves

__all__ = [
    "THRESHOLD",
    "Limits",
    "OffloadOptions",
    "OffloadingMapping",
    "aoffload",
    "aresolve",
    "offload",
    "offloads",
    "resolve",
    "resolves",
]
