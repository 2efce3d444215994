"""The main job on real files, with every byte checked: `make demo`.

Producers and consumers in several processes pass files by ticket. A consumer is killed with tickets in hand, a run is
deleted, and what has a TTL expires. The server is an embedded engine in a temporary directory; in the end both are
gone, unless a directory is named to keep what is left.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shlex
import signal
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import redis
from workers import Files, Queue, Wrong, check, consume, produce, sha256, summary_of

from coatcheck import ArtifactError, ArtifactStore, compute_artifact_id, open_store
from coatcheck.embedded import start_engine
from coatcheck.humane import size

TTL = 2.0  # seconds, of what is to expire
BRIEF = 200  # artifacts that are stored with it
BRIEF_NAMESPACE = "brief"  # of their own, so that what is left of them can be counted
PATIENCE = 120.0  # seconds without anything moving: five processes start on a machine that may be busy


def wait_until(done: Callable[[], object], otherwise: str, moves: Callable[[], object] = lambda: None) -> None:
    """Look again and again until it is done, or nothing has moved for long."""
    before, since = moves(), time.monotonic()
    while not done():
        if (now := moves()) != before:
            before, since = now, time.monotonic()
        check(time.monotonic() < since + PATIENCE, otherwise)
        time.sleep(0.02)


class Crew(dict[str, SpawnProcess]):
    """Processes by name; leaving the `with` block kills those that still run."""

    def start(self, duty: Callable[..., None], name: str, *args: Any, **more: Any) -> None:
        process = multiprocessing.get_context("spawn").Process(target=duty, args=(name, *args), kwargs=more)
        resource_tracker.ensure_running()  # else start() would do it, and unblock signals on the way
        # Blocked until the child is registered, and in the child for ever: its parent is interrupted, and kills it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            process.start()
            self[name] = process
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def kill(self, name: str) -> None:
        self[name].kill()
        self.pop(name).join()

    def have_ended(self) -> bool:
        """Whether all have ended; well, or it is `Wrong`."""
        for name, process in self.items():
            check(not process.exitcode, f"{name} ended with code {process.exitcode}")
        return all(process.exitcode == 0 for process in self.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self):
            self.kill(name)


class Demo:
    """One demonstration under way: its acts, and the figures for the report."""

    def __init__(self, store: ArtifactStore, queue: Queue, files: Files, consumers: int) -> None:
        self.store, self.queue, self.files = store, queue, files
        self.parts = {f"producer-{i + 1}": files.of(i) for i in range(files.producers)}
        self.consumers = [f"consumer-{i + 1}" for i in range(consumers)]
        self.tickets = sum(map(len, self.parts.values()))
        self.ids: dict[Path, str] = {}  # of what is on disk
        self.report: dict[str, str] = {}

    def pass_files(self, url: str) -> None:
        """Files go from producers to consumers by ticket, while a consumer freezes and is killed."""
        victim, *others = self.consumers
        began = time.monotonic()
        with Crew() as crew:

            def wait_for(done: Callable[[], object]) -> None:
                wait_until(lambda: crew.have_ended() or done(), "nothing moves any more", self.queue.done)

            crew.start(consume, victim, url, os.getpid(), freezes=True)
            for number, producer in enumerate(self.parts):
                crew.start(produce, producer, url, self.files, number)
            wait_for(lambda: self.queue.client.exists("frozen"))
            for consumer in others:
                crew.start(consume, consumer, url, os.getpid(), freezes=False)
            wait_for(lambda: self.queue.done() > self.tickets // 2)
            crew.kill(victim)
            held = self.queue.take_back(victim)
            wait_for(lambda: self.queue.done() >= self.tickets)
            self.queue.client.set("over", 1)
            wait_for(crew.have_ended)
        check(held, f"{victim} had no ticket in hand")
        check(self.queue.done() == self.tickets, f"{self.queue.done()} of {self.tickets} tickets were resolved")
        tell(f"{victim} was killed with {held} tickets in hand: others took them over.")
        self.report["tickets"] = f"{self.tickets:,} resolved in {time.monotonic() - began:.1f} s"

    def compare_with_disk(self) -> None:
        """Each file has one summary, and both are what is on disk now; what is the same is kept once."""
        summaries: dict[str, set[str]] = {}
        for consumer in self.consumers:
            for view in self.store.list_by_run(consumer):
                summaries.setdefault(view.tags["path"], set()).add(view.artifact_id)
        total = 0
        for path in self.files.all():
            content = path.read_bytes()
            total += len(content)
            self.ids[path] = compute_artifact_id(content)
            artifact, *rest = self.store.load_many([self.ids[path], *summaries.pop(str(path), ())])
            check(artifact and sha256(artifact.content) == sha256(content), f"{path} is not stored as it is on disk")
            found = [json.loads(summary.content) for summary in rest if summary]
            check(found == [summary_of(str(path), content)], f"{path} does not have one right summary")
        check(not summaries, f"{len(summaries)} summaries are of files that nobody handed in")
        stats = self.store.stats()
        different = len(set(self.ids.values()))
        check(stats.contents == different + len(self.ids), "something was kept twice, or lost")
        tell(f"All {len(self.ids):,} files are stored as they are on disk, with one summary each.")
        self.report = {
            "files": f"{len(self.ids):,}, {size(total)}: every byte was compared",
            **self.report,
            "artifacts": f"{stats.artifacts:,}: {different:,} different files, {len(self.ids):,} summaries",
            "leases": f"{stats.leases:,} of {stats.runs} runs",
            "bytes": f"{size(stats.artifact_bytes)} handed in, {size(stats.content_bytes)} different, "
            f"{size(stats.stored_bytes)} stored",
        }

    def delete_a_run(self) -> None:
        """A run goes; what others lease stays."""
        victim, *others = self.parts
        own = {self.ids[path] for path in self.parts[victim]}
        shared = own & {self.ids[path] for producer in others for path in self.parts[producer]}
        check(shared and own - shared, f"{victim} needs files of its own, and files that others have, too")
        check(self.store.delete_by_run(victim) == len(own), f"{victim} did not give up its {len(own)} leases")
        check(
            set(self.store.find_missing(own)) == own - shared, "what others lease is gone, or what nobody leases is not"
        )
        intact = {compute_artifact_id(artifact.content) for artifact in self.store.load_many(shared) if artifact}
        check(intact == shared, "what others lease was harmed")
        tell(f"{victim} was deleted: {len(own - shared):,} artifacts went, {len(shared):,} that others lease stay.")

    def let_something_expire(self, url: str) -> None:
        """Short TTLs run out, and nothing is left on the server."""

        def keys() -> int:
            return sum(1 for _ in self.queue.client.scan_iter(f"{BRIEF_NAMESPACE}:*", count=1000))

        with open_store(url, namespace=BRIEF_NAMESPACE) as brief:
            brief.store_many([b"brief %d" % i for i in range(BRIEF)], run_id="brief", ttl=TTL)
        count = keys()
        check(count > BRIEF, "what was stored with a TTL is not there")
        wait_until(lambda: not keys(), "keys are left after everything has expired")
        tell(f"{BRIEF} artifacts with a TTL of {TTL:.0f} s have expired: none of their {count} keys is left.")
        self.queue.client.delete("done", "frozen", "over")


def tell(line: str) -> None:
    print(line, flush=True)


@contextmanager
def own_server(kept: Path | None) -> Iterator[str]:
    """The URL of an embedded engine that is gone when the block has been left, and its directory unless it is kept."""
    if kept is not None:
        check(not kept.exists(), f"{kept} is there already: remove it, as by `make demo-clean`")
        kept.mkdir(parents=True, mode=0o700)
    with nullcontext(kept) if kept else tempfile.TemporaryDirectory(prefix="coatcheck-demo-") as directory:
        engine = start_engine(directory)
        try:
            yield f"unix://{quote(str(engine.socket))}"
        finally:
            engine.close()
            wait_until(lambda: not engine.socket.exists(), "the server does not stop")


def play(files: Files, consumers: int, kept: Path | None) -> None:
    """The whole story; what is not as it must be is `Wrong`."""
    check(min(files.producers, consumers) >= 2, "it takes two producers and two consumers, or more")
    with own_server(kept) as url, open_store(url) as store, (queue := Queue(url)).client:
        demo = Demo(store, queue, files, consumers)
        check(demo.tickets >= 32, f"{demo.tickets} tickets are too few: {files.directory} has not enough files")
        twice = demo.tickets - len(files.all())
        tell(f"{demo.tickets:,} tickets go from {files.producers} producers to {consumers} consumers:")
        tell(f"one for each of {len(files.all()):,} files, and a second one for {twice:,} that two hand in.")
        demo.pass_files(url)
        demo.compare_with_disk()
        demo.delete_a_run()
        demo.let_something_expire(url)
    print("", *(f"{name:10} {value}" for name, value in demo.report.items()), "All is well.", sep="\n")


def look_around(kept: Path) -> None:
    """Three commands to type next."""
    here, command = Path.cwd(), Path(sys.executable).absolute().with_name("coatcheck")
    place = f"$PWD/{shlex.quote(str(kept.relative_to(here)))}" if kept.is_relative_to(here) else quote(str(kept))
    shown = command.relative_to(here) if command.is_relative_to(here) else command
    print("", "What is left is there to look at:", f"  export COATCHECK_URL=embedded://{place}", sep="\n")
    print(f"  {shown} ls --run producer-2 --limit 5", f"  {shown} ui", sep="\n")


def main() -> None:
    """Exit code 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, default=Path(sysconfig.get_path("stdlib")), help="default: %(default)s")
    parser.add_argument("--files", type=int, default=4000, help="how many at most; default: %(default)s")
    parser.add_argument("--producers", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--consumers", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="a new directory, for what is left in the end")
    arguments = parser.parse_args()
    kept = arguments.keep and arguments.keep.absolute()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # all is stopped on the way out
    try:
        play(Files(arguments.input, arguments.files, arguments.producers), arguments.consumers, kept)
        if kept:
            look_around(kept)
    except (ArtifactError, redis.RedisError, OSError, Wrong) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
