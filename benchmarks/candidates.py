"""What a candidate is: one way to keep artifacts. Each does all it can of what a row asks for.

An operation that a candidate doesn't have is `None`. A batch belongs to one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

T = TypeVar("T")

TTL = 3600
TAGS = {"step": "extract", "kind": "document"}
TYPE = "application/pdf"


Sink = Callable[[bytes], object]


@dataclass
class Batch:
    """Some contents of one run, and the keys that a candidate gave them."""

    contents: list[bytes]
    run: str
    keys: list[Any] = field(default_factory=list)


class Candidate:
    """One way to keep artifacts.

    Attributes:
        name: As the table shows it.
        writes: Whether rows that write show it; not where that is just what another one does.
        has_layout: Whether it has keys of its own on the server, so that they have a size worth showing.
    """

    name: str
    writes: ClassVar[bool] = True
    has_layout: ClassVar[bool] = True

    def store(self, batch: Batch) -> None:
        """Store the contents one by one and set `batch.keys`."""
        raise NotImplementedError

    def load(self, batch: Batch) -> Iterable[bytes]:
        """Load the contents one by one."""
        raise NotImplementedError

    def forget(self, batch: Batch) -> None:
        """Remove everything again."""
        raise NotImplementedError

    # What not everybody has: all contents at once, a run's metadata, the removal of a run.
    store_many: Callable[[Batch], None] | None = None
    load_many: Callable[[Batch], Iterable[bytes]] | None = None
    list_run: Callable[[Batch], Sequence[Any]] | None = None
    delete_run: Callable[[Batch], object] | None = None

    def store_file(self, path: Path, batch: Batch) -> None:
        """Store a file."""
        batch.contents = [path.read_bytes()]
        self.store(batch)
        batch.contents = []

    def load_file(self, batch: Batch, sink: Sink) -> None:
        """Load what `store_file` stored, in pieces of any length."""
        for content in self.load(batch):
            sink(content)

    def fill(self, batch: Batch) -> None:
        """Store the contents in the fastest way."""
        (self.store_many or self.store)(batch)

    def close(self) -> None:
        """Give up connections."""


def present(found: T | None) -> T:
    """What was looked for and has to be there."""
    if found is None:
        raise LookupError("an artifact vanished during the benchmark")
    return found
