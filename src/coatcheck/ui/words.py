"""Figures, times and foreign text as people read them."""

from __future__ import annotations

import re
from typing import Final

from ..humane import exact, moment, relative, size

__all__ = ["exact", "moment", "relative", "size", "visible"]

_OBEYED: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Characters that do something instead of being seen, and halves of characters."""


def visible(text: str, keep: str = "") -> str:
    """Text of which every character is seen: those that a page would obey become Python escapes.

    Args:
        text: Text from anywhere.
        keep: Characters that stay, such as line ends where lines are shown.
    """
    return _OBEYED.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)
