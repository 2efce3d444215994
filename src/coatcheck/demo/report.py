"""What people see of the demonstration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from coatcheck import StoreStats

if TYPE_CHECKING:
    from rich.console import Console

_MB: Final = 1_000_000


@dataclass
class Tally:
    """Figures gathered on the way.

    Attributes:
        files: Files passed on.
        tickets: Tickets for them; more than files, as runs have files in common.
        bytes_in: Everything handed in by producers and consumers.
        produced_bytes: The producers' part of it.
        resolved_bytes: What consumers loaded and checked.
        compared_bytes: What was compared with the disk.
        produced_after: Seconds from the start of work until the last ticket was queued.
        resolved_after: Seconds from the start of work until the last ticket was acknowledged.
        peak_memory: Most that the server was seen to use, in bytes.
        stats: Of the store, when everything was there.
    """

    files: int = 0
    tickets: int = 0
    bytes_in: int = 0
    produced_bytes: int = 0
    resolved_bytes: int = 0
    compared_bytes: int = 0
    produced_after: float = 0.0
    resolved_after: float = 0.0
    peak_memory: int = 0
    stats: StoreStats = field(default_factory=StoreStats)

    def note(self, counts: dict[str, int], elapsed: float, memory: int) -> None:
        """Take down how far tickets are after so many seconds, and what the server uses."""
        self.note_memory(memory)
        if counts["produced"] == self.tickets and not self.produced_after:
            self.produced_after = elapsed
        if counts["resolved"] == self.tickets and not self.resolved_after:
            self.resolved_after = elapsed

    def note_memory(self, memory: int) -> None:
        """Take down what the server uses."""
        self.peak_memory = max(self.peak_memory, memory)

    def table(self) -> Table:
        """The final table."""
        stats = self.stats
        table = Table(show_header=False)
        table.add_column(justify="left")
        table.add_column(justify="right")
        for row in (
            ("artifacts", f"{stats.artifacts:,}", ""),
            ("runs", f"{stats.runs:,}", ""),
            ("leases", f"{stats.leases:,}", ""),
            ("bytes in", decimal(self.bytes_in), ""),
            ("distinct bytes", decimal(stats.content_bytes), _saved(self.bytes_in, stats.content_bytes, "sharing")),
            ("bytes stored", decimal(stats.stored_bytes), _saved(stats.content_bytes, stats.stored_bytes, "zstd")),
            ("server memory, at peak", decimal(self.peak_memory), ""),
            ("handed in", *_speed(self.tickets, self.produced_bytes, self.produced_after)),
            ("resolved", *_speed(self.tickets, self.resolved_bytes, self.resolved_after)),
        ):
            table.add_row(*row)
        return table

    def verdict(self) -> str:
        """The last line."""
        return (
            f"Every byte was verified: {self.resolved_bytes:,} by consumers behind {self.tickets:,} tickets, "
            f"and all {self.compared_bytes:,} of {self.files:,} files again with the disk."
        )


def _saved(before: int, after: int, by: str) -> str:
    return f"{by} saved {1 - after / before:.0%}" if before else ""


def _speed(files: int, size: int, seconds: float) -> tuple[str, str]:
    seconds = max(seconds, 0.001)
    return f"{files / seconds:,.0f} files/s", f"{size / seconds / _MB:,.1f} MB/s"


class _PerSecond(ProgressColumn):
    """Tickets a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


def progress_bars(console: Console) -> Progress:
    """Bars for tickets."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _PerSecond(),
        TimeElapsedColumn(),
        console=console,
    )
