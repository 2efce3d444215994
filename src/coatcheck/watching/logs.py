"""Events as lines of Python's logging, under `coatcheck.operations`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..events import Event

_logger: Final = logging.getLogger("coatcheck.operations")


class LogEvents:
    """Logs every operation; what was slow or sent again stands out.

    Each record has the fields of its event as attributes (`record.coatcheck_bytes`), for formatters that write JSON. No
    ids, contents or tags are logged, but the message of an error may name an artifact.

    Args:
        level: Of operations that went as they should.
        slow: Seconds from which on an operation is logged as a warning, as one that was sent again always is.
    """

    def __init__(self, level: int = logging.DEBUG, slow: float | None = None) -> None:
        self._level = level
        self._slow = slow

    def __call__(self, event: Event) -> None:
        """Log one event."""
        slow = self._slow is not None and event.seconds >= self._slow
        level = max(self._level, logging.WARNING) if slow or event.retries else self._level
        if not _logger.isEnabledFor(level):
            return
        _logger.log(
            level,
            "%s %s in %.1f ms: items %d, bytes %d, retries %d%s",
            event.operation,
            event.outcome,
            event.seconds * 1000,
            event.items,
            event.bytes,
            event.retries,
            "" if event.error is None else f", {type(event.error).__name__}: {event.error}",
            extra={f"coatcheck_{name}": value for name, value in event._asdict().items()},
        )
