"""What a method does is said once, on the blocking face: at run time the awaited one shows it, too."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Final, TypeVar

C = TypeVar("C", bound=type)

_SEE: Final = re.compile(r"See `\w+\.(\w+)`[.;]\s*")
_SECTIONS: Final = re.compile(r"^(?:Args|Returns|Yields|Raises):$", re.MULTILINE)


def explained_by(contract: type) -> Callable[[C], C]:
    """Give methods that say "See `Contract.method`." the docstring of that method, and what they say besides.

    Args:
        contract: The class that explains.
    """

    def explain(awaited: C) -> C:
        for method in vars(awaited).values():
            said = inspect.cleandoc(getattr(method, "__doc__", None) or "")
            if match := _SEE.match(said):
                method.__doc__ = _joined(inspect.getdoc(getattr(contract, match[1])) or "", said[match.end() :])
        return awaited

    return explain


def _joined(explanation: str, more: str) -> str:
    """The explanation, with what else is to say before its sections."""
    first = _SECTIONS.search(explanation)
    at = first.start() if first else len(explanation)
    parts = (explanation[:at], more[:1].upper() + more[1:], explanation[at:])
    return "\n\n".join(part.strip() for part in parts if part)
