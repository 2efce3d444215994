"""Fields of tables: what programs read, and what people do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from coatcheck.humane import moment, relative, size

from .found import short_id
from .table import Cell

_SOON: Final = 3600  # seconds


def id_cell(artifact_id: str) -> Cell:
    """An id."""
    return Cell(artifact_id, short_id(artifact_id))


def size_cell(count: int) -> Cell:
    """A number of bytes."""
    return Cell(str(count), size(count))


def count_cell(count: int) -> Cell:
    """A number."""
    return Cell(str(count), f"{count:,}")


def run_cell(run_id: str | None) -> Cell:
    """A run, or nobody by name."""
    return Cell("-", style="dim") if run_id is None else Cell(run_id)


def time_cell(time: str | None) -> Cell:
    """When something was, or will be; `None`: never. What ends within an hour is marked."""
    if time is None:
        return Cell("never", style="dim")
    now = datetime.now(UTC)
    soon = 0 <= (moment(time) - now).total_seconds() < _SOON
    return Cell(time, relative(time, now), "yellow" if soon else "")


def tags_cell(tags: Mapping[str, str]) -> Cell:
    """Tags in one line."""
    return Cell(" ".join(f"{name}={value}" for name, value in tags.items()))


def extra_cell(extra: Mapping[str, Any]) -> Cell:
    """Extra in one line, as `put --extra` takes it but for quotes of the shell."""
    return Cell(" ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in extra.items()))
