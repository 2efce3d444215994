"""Many clients at once: processes with a client each, threads or asyncio tasks that share one client."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, Self

from .awaited import AsyncCandidate, AsyncCoatcheck, AsyncFloor
from .bare import Floor
from .candidates import Batch, Candidate
from .measure import Spent
from .ours import Coatcheck
from .server import Endpoint

CANDIDATES: dict[str, Callable[[Endpoint], Candidate]] = {"floor": Floor, "coatcheck": Coatcheck}
AWAITED: dict[str, Callable[[Endpoint], AsyncCandidate]] = {"floor": AsyncFloor, "coatcheck": AsyncCoatcheck}


class Crew(ABC):
    """Clients that work at the same time, each on a batch of its own."""

    how: str

    @abstractmethod
    def prepare(self, name: str, work: str, batches: Sequence[Batch]) -> Any:
        """Get `name` ready to "store" or "load" these batches, one for each client."""

    @abstractmethod
    def run(self, prepared: Any) -> Spent | None:
        """All of them at once."""

    @abstractmethod
    def clean(self, prepared: Any) -> None:
        """Forget what was stored."""

    @abstractmethod
    def close(self) -> None:
        """Give up clients and connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Threads(Crew):
    """Threads of one process, which share one client."""

    how = "threads"

    def __init__(self, endpoint: Endpoint, most: int) -> None:
        self._candidates = {name: make(endpoint) for name, make in CANDIDATES.items()}
        self._pool = ThreadPoolExecutor(most)
        self._start = threading.Barrier(1)

    def prepare(self, name: str, work: str, batches: Sequence[Batch]) -> Any:
        candidate = self._candidates[name]
        if work == "load":
            for batch in batches:
                candidate.store(batch)
        return candidate, batches, getattr(candidate, work)

    def run(self, prepared: Any) -> Spent:
        _, batches, call = prepared
        self._start = threading.Barrier(len(batches) + 1)
        futures = [self._pool.submit(self._one, call, batch) for batch in batches]
        self._start.wait()
        computed, begin = time.process_time(), time.perf_counter()
        for future in futures:
            future.result()
        return Spent(time.perf_counter() - begin, time.process_time() - computed)

    def _one(self, call: Callable[[Batch], Any], batch: Batch) -> None:
        self._start.wait()
        call(batch)

    def clean(self, prepared: Any) -> None:
        candidate, batches, _ = prepared
        for batch in batches:
            candidate.forget(batch)

    def close(self) -> None:
        self._start.abort()  # after an interrupt some may still wait there
        self._pool.shutdown()
        for candidate in self._candidates.values():
            candidate.close()


class Tasks(Crew):
    """asyncio tasks, which share one client."""

    how = "tasks"

    def __init__(self, endpoint: Endpoint, _most: int) -> None:
        self._candidates = {name: make(endpoint) for name, make in AWAITED.items()}

    def prepare(self, name: str, work: str, batches: Sequence[Batch]) -> Any:
        candidate = self._candidates[name]
        if work == "load":
            for batch in batches:
                candidate.store(batch)
        return candidate, batches, candidate.astore if work == "store" else candidate.aload

    def run(self, prepared: Any) -> None:
        candidate, batches, call = prepared

        async def run_all() -> None:
            await asyncio.gather(*map(call, batches))

        candidate.await_(run_all())

    def clean(self, prepared: Any) -> None:
        candidate, batches, _ = prepared
        for batch in batches:
            candidate.forget(batch)

    def close(self) -> None:
        for candidate in self._candidates.values():
            candidate.close()


class Processes(Crew):
    """Processes, each with a client of its own."""

    how = "processes"

    def __init__(self, endpoint: Endpoint, most: int) -> None:
        # Forked from a clean process that has imported everything once: neither threads nor sockets are inherited.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._numbers = itertools.count()  # of what is prepared: several may be at a time
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(most):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(endpoint, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def prepare(self, name: str, work: str, batches: Sequence[Batch]) -> Any:
        pipes, number = self._pipes[: len(batches)], next(self._numbers)
        for pipe, batch in zip(pipes, batches, strict=True):
            pipe.send(("prepare", number, name, work, batch))
        _answers(pipes)
        return pipes, number

    def run(self, prepared: Any) -> Spent:
        pipes, number = prepared
        for pipe in pipes:
            pipe.send(("run", number))
        spans = _answers(pipes)
        begins, ends, computed = zip(*spans, strict=True)
        return Spent(max(ends) - min(begins), sum(computed))

    def clean(self, prepared: Any) -> None:
        pipes, number = prepared
        for pipe in pipes:
            pipe.send(("clean", number))
        _answers(pipes)

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(5)
            process.kill()  # no-op for those that ended


def _answers(pipes: Sequence[Connection]) -> list[Any]:
    answers = [pipe.recv() for pipe in pipes]
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _work(endpoint: Endpoint, pipe: Connection) -> None:
    """What a process does until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the benchmark, which closes the pipe
    client = _Client(endpoint)
    with contextlib.suppress(EOFError, OSError):  # the pipe was closed: that is the end
        while True:
            step, *arguments = pipe.recv()
            try:
                answer = getattr(client, step)(*arguments)
            except Exception as error:
                answer = RuntimeError(f"{type(error).__name__}: {error}")
            pipe.send(answer)


class _Client:
    """The client of one process; each method is one message."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._candidates: dict[str, Candidate] = {}
        self._prepared: dict[int, tuple[Candidate, str, Batch]] = {}

    def prepare(self, number: int, name: str, work: str, batch: Batch) -> None:
        if name not in self._candidates:
            self._candidates[name] = CANDIDATES[name](self._endpoint)
        candidate = self._candidates[name]
        if work == "load":
            candidate.store(batch)
        self._prepared[number] = candidate, work, batch

    def run(self, number: int) -> tuple[float, float, float]:
        """When it began and ended, by a clock that processes share, and the CPU seconds it took."""
        candidate, work, batch = self._prepared[number]
        call = getattr(candidate, work)
        computed, begin = time.process_time(), time.monotonic()
        call(batch)
        return begin, time.monotonic(), time.process_time() - computed

    def clean(self, number: int) -> None:
        candidate, _, batch = self._prepared.pop(number)
        candidate.forget(batch)
