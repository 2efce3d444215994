"""Operations that something goes around: what watches them, or disturbs them, without their knowing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any, Protocol

from .operations import Operations


class Around(Protocol):
    """Goes around every operation."""

    def __call__(self, name: str, operation: Callable[..., Any], /, *args: Any, **keywords: Any) -> Any:
        """The plan that is run instead; it may run that of the operation, or not."""


def intercepted(operations: Operations, around: Around) -> Operations:
    """The same operations, each within `around`. What they ask of each other is not seen twice."""
    seen = copy(operations)
    for name, _ in inspect.getmembers(Operations, inspect.isfunction):
        if not name.startswith("_"):
            setattr(seen, name, partial(around, name, getattr(operations, name)))
    return seen
