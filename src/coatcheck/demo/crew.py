"""The processes of the demonstration: started, watched, killed, and never left behind."""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Final, Self

from .checks import DemoError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess

    from .workers import Post

_END_WITHIN: Final = 10.0  # seconds
_INTERRUPTIONS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Crew:
    """Child processes by name; leaving the `with` block kills those that still run."""

    def __init__(self) -> None:
        resource_tracker.ensure_running()  # else the first start() would do it, and unblock signals on the way
        self._spawn = multiprocessing.get_context("spawn")
        self._processes: dict[str, SpawnProcess] = {}
        self._killed: set[str] = set()

    def start(self, duty: Callable[[Post], None], post: Post) -> None:
        """Start a process."""
        process = self._spawn.Process(target=duty, args=(post,), name=post.name, daemon=True)
        # Held back until the child is registered, and for ever in the child, which inherits the mask: it is the parent
        # that is interrupted and ends the others, without a traceback from each.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTIONS)
        try:
            process.start()
            self._processes[post.name] = process
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def kill(self, name: str) -> int:
        """SIGKILL a process and wait for its end; its process id."""
        process = self._processes[name]
        process.kill()
        process.join()
        self._killed.add(name)
        return process.pid or 0

    def has_ended(self, name: str) -> bool:
        """Whether a process ended well.

        Raises:
            DemoError: It ended otherwise.
        """
        code = self._processes[name].exitcode
        if code not in (None, 0) and name not in self._killed:
            raise DemoError(f"{name} ended with code {code}")
        return code is not None

    def wait(self) -> None:
        """Wait until all have ended.

        Raises:
            DemoError: One does not end, or not well.
        """
        for name, process in self._processes.items():
            process.join(_END_WITHIN)
            if not self.has_ended(name):
                raise DemoError(f"{name} does not end")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.join()
            process.close()
