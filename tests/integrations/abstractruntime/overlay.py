"""Put in the place of AbstractRuntime's own artifact stores while its tests run."""

from __future__ import annotations

import hashlib
import os
import sys
import uuid
from pathlib import Path

import abstractruntime
import abstractruntime.storage.artifacts

from coatcheck.integrations.abstractruntime import RuntimeArtifactStore

URL = os.environ["SUITE_URL"]
"""Of a server; or `local`: in memory what was in memory, and in files what was in files."""


class InMemoryArtifactStore(RuntimeArtifactStore):
    def __init__(self) -> None:
        if URL == "local":
            super().__init__("memory://")
        else:
            super().__init__(URL, namespace=uuid.uuid4().hex)


class FileArtifactStore(RuntimeArtifactStore):
    def __init__(self, base_dir: str | Path) -> None:
        path = Path(base_dir).absolute()
        if URL == "local":
            super().__init__(f"file://{path}")
        else:
            super().__init__(URL, namespace=hashlib.sha256(str(path).encode()).hexdigest())


for theirs in list(sys.modules.values()):
    if getattr(theirs, "__name__", "").partition(".")[0] == "abstractruntime":
        for ours in (InMemoryArtifactStore, FileArtifactStore):
            if hasattr(theirs, ours.__name__):
                setattr(theirs, ours.__name__, ours)
