"""The first act: files pass from producers to consumers by ticket; one consumer does not live to see the end."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from .checks import DemoError, same
from .crew import Crew
from .report import progress_bars
from .workers import Post, consume, produce

if TYPE_CHECKING:
    from rich.console import Console

    from coatcheck.cli.files import LocalFile

    from .report import Tally
    from .stage import Stage

_TICK: Final = 0.02  # seconds between two looks
_STALL: Final = 30.0  # seconds without a ticket moving


class Passing:
    """The first act.

    Args:
        stage: Where it takes place.
        parts: What each producer hands in.
        consumers: Their names; the first one is killed.
        tally: Where figures go.
        console: Where progress is shown.
    """

    def __init__(
        self,
        stage: Stage,
        parts: dict[str, list[LocalFile]],
        consumers: list[str],
        tally: Tally,
        console: Console,
    ) -> None:
        self._stage = stage
        self._tickets = stage.tickets
        self._parts = parts
        self._consumers = consumers
        self._victim = consumers[0]
        self._tally = tally
        self._console = console
        self._crew = Crew()
        self._killed: tuple[int, int] | None = None  # process id and tickets in hand
        self._moved = 0.0

    def run(self) -> tuple[str, int, int]:
        """Hold it.

        Returns:
            Who was killed, its process id, and how many tickets it had in hand.

        Raises:
            DemoError: Something was wrong.
        """
        self._tally.produced_bytes = sum(file.size for part in self._parts.values() for file in part)
        with self._crew:
            self._tickets.close_gate(self._tally.tickets // 2)
            for producer, files in self._parts.items():
                self._tickets.assign(producer, files)
                self._crew.start(produce, self._post(producer))
            for consumer in self._consumers:
                self._crew.start(consume, self._post(consumer))
            self._watch()
            self._tickets.end(self._consumers)
            self._crew.wait()
        if self._killed is None:
            raise DemoError(f"{self._victim} was not killed with a ticket in hand")
        counts = self._tickets.counts()
        same("tickets produced", self._tally.tickets, counts["produced"])
        same("tickets resolved", self._tally.tickets, counts["resolved"])
        same("bytes resolved", self._tally.produced_bytes, counts["bytes"])
        self._tally.resolved_bytes = counts["bytes"]
        return (self._victim, *self._killed)

    def _post(self, name: str) -> Post:
        stage = self._stage
        return Post(name, stage.url, stage.namespace, stage.token, stage.claim, os.getpid())

    def _watch(self) -> None:
        """Show progress, kill the victim, and see that everything goes on, until all tickets are resolved."""
        started = self._moved = time.monotonic()
        before: dict[str, int] = {}
        with progress_bars(self._console) as bars:
            tasks = {
                "produced": bars.add_task("handed in", total=self._tally.tickets),
                "resolved": bars.add_task("resolved", total=self._tally.tickets),
            }
            while before.get("resolved", 0) < self._tally.tickets:
                self._check_crew()
                self._kill_or_take_over()
                time.sleep(_TICK)
                counts = self._tickets.counts()
                if not counts["ready"]:
                    started = time.monotonic()  # figures are about the store, not about the start of Python
                self._check_movement(before, counts)
                for what, task in tasks.items():
                    bars.update(task, completed=counts[what])
                self._tally.note(counts, time.monotonic() - started, self._stage.used_memory())
                before = counts

    def _check_crew(self) -> None:
        for problem in self._tickets.problems():
            raise DemoError(problem)
        for producer in self._parts:
            self._crew.has_ended(producer)
        for consumer in self._consumers:
            if self._crew.has_ended(consumer) and (consumer != self._victim or self._killed is None):
                raise DemoError(f"{consumer} ended before its work was done")

    def _check_movement(self, before: dict[str, int], counts: dict[str, int]) -> None:
        now = time.monotonic()
        if counts != before:
            self._moved = now
        elif now > self._moved + _STALL:
            raise DemoError(f"no ticket has moved for {_STALL:.0f} s: {counts} of {self._tally.tickets}")

    def _kill_or_take_over(self) -> None:
        """At the gate the victim has stored its summaries and not acknowledged them: the worst moment to die."""
        if self._killed is not None:
            # Every time: a command that the dead had sent may reach the server after its death.
            self._tickets.take_back(self._victim)
        elif self._tickets.waits_at_gate(self._victim):
            pid = self._crew.kill(self._victim)
            held = self._tickets.take_back(self._victim)
            if not held:
                raise DemoError(f"{self._victim} held no ticket when it was killed")
            self._killed = pid, held
            self._tickets.open_gate()
