"""The demonstration, act by act."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import redis

from coatcheck import Artifact, ArtifactMetadata, compute_artifact_id
from coatcheck.cli.files import LocalFile, batches
from coatcheck.cli.output import human_size, printable

from .checks import DemoError, check_file, one_summary_each, same
from .files import choose, deal, source_directory
from .passing import Passing
from .report import Tally
from .stage import Stage, set_up

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

T = TypeVar("T")

_CLAIM: Final = 16
_PAGE: Final = 500
_SHORT: Final = 2.0  # seconds: the TTL of what is to expire
_GONE_WITHIN: Final = 15.0  # seconds, after that
_BRIEF: Final = "brief"  # a run
_BRIEF_ARTIFACTS: Final = 200


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part.

    Attributes:
        directory: Files to pass on; `None`: the modules of Python's standard library.
        producers: How many processes store, 2 or more.
        consumers: How many processes load, 2 or more.
        files: How many files at most.
        seed: Chooses them.
    """

    directory: Path | None
    producers: int
    consumers: int
    files: int
    seed: int


def play(url: str | None, cast: Cast, console: Console) -> None:
    """Hold the demonstration.

    Args:
        url: The user's server; `None`: an engine of its own.
        cast: Who takes part.
        console: Where it is shown.

    Raises:
        ArtifactError: Something was wrong.
    """
    directory = source_directory(cast.directory)
    files = choose(directory, modules_only=cast.directory is None, count=cast.files, seed=cast.seed)
    parts = dict(zip(_names("producer", cast.producers), deal(files, cast.producers), strict=True))
    total = sum(map(len, parts.values()))
    if total < 4 * cast.consumers:
        raise DemoError(f"{len(files)} files in {directory} are too few for {cast.consumers} consumers")
    claim = max(1, min(_CLAIM, total // (8 * cast.consumers)))
    try:
        with set_up(url, claim) as stage:
            show = Show(stage, console, files, parts, _names("consumer", cast.consumers))
            show.say(
                f"{len(files):,} files ({human_size(sum(file.size for file in files))}) of {directory}, "
                f"{cast.producers} producers, {cast.consumers} consumers, on {stage.name}"
            )
            show.pass_files()
            show.compare_with_disk()
            show.delete_a_run()
            show.let_everything_expire()
            console.print(show.tally.table())
            show.say(show.tally.verdict())
    except redis.RedisError as error:
        raise DemoError(f"the server failed: {error}") from error


def _names(role: str, count: int) -> list[str]:
    return [f"{role}-{i + 1}" for i in range(count)]


class Show:
    """One demonstration under way.

    Args:
        stage: Where it takes place.
        console: Where it is shown.
        files: All files, each once.
        parts: What each producer hands in.
        consumers: Their names.
    """

    def __init__(
        self,
        stage: Stage,
        console: Console,
        files: list[LocalFile],
        parts: dict[str, list[LocalFile]],
        consumers: list[str],
    ) -> None:
        self.tally = Tally(files=len(files), tickets=sum(map(len, parts.values())))
        self._stage = stage
        self._store = stage.store
        self._console = console
        self._files = files
        self._parts = parts
        self._consumers = consumers
        self._ids: dict[str, str] = {}  # of each file's content, as the disk has it

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def pass_files(self) -> None:
        """First act: files go from producers to consumers by ticket, while a consumer is killed."""
        passing = Passing(self._stage, self._parts, self._consumers, self.tally, self._console)
        victim, pid, held = passing.run()
        self.say(
            f"Half-way {victim} (process {pid}) was killed with {held} tickets in hand; the others took them over."
        )

    def compare_with_disk(self) -> None:
        """Each file has one summary, and summary and artifact agree with what is on disk now."""
        store, tally = self._store, self.tally
        views = [view for consumer in self._consumers for view in store.list_by_run(consumer)]
        tally.bytes_in = tally.produced_bytes + sum(view.size_bytes for view in views)
        summaries = one_summary_each([file.name for file in self._files], views)
        for batch in batches(self._files):
            contents = [file.path.read_bytes() for file in batch]
            ids = [compute_artifact_id(content) for content in contents]
            found = zip(store.load_many(summaries[file.name] for file in batch), store.load_many(ids), strict=True)
            for file, content, artifact_id, (summary, artifact) in zip(batch, contents, ids, found, strict=True):
                check_file(file.name, content, _parsed(summary), artifact)
                self._ids[file.name] = artifact_id
                tally.compared_bytes += len(content)
        for producer in self._parts:
            same(f"artifacts of {producer}", self._ids_of(producer), _listed(store.list_by_run(producer)))
        tally.stats = store.stats()
        tally.note_memory(self._stage.used_memory())
        self.say(f"All {len(self._files):,} files have one summary each and are in the store as they are on disk.")

    def delete_a_run(self) -> None:
        """Second act: a run goes, what others share with it stays."""
        store = self._store
        victim, *others = self._parts
        kept = {artifact_id for producer in others for artifact_id in self._ids_of(producer)}
        shared, lonely = self._ids_of(victim) & kept, self._ids_of(victim) - kept
        if not shared or not lonely:
            raise DemoError(f"{victim} shares {len(shared)} artifacts and {len(lonely)} are its own: both are needed")
        same(f"leases that {victim} gave up", len(shared) + len(lonely), store.delete_by_run(victim))
        same(f"artifacts of {victim} after its deletion", [], _listed(store.list_by_run(victim)))
        same(f"artifacts that only {victim} held, gone", lonely, store.find_missing(sorted(lonely)))
        for page in _pages(sorted(shared)):
            for artifact_id, artifact in zip(page, store.load_many(page), strict=True):
                if artifact is None or compute_artifact_id(artifact.content) != artifact_id:
                    raise DemoError(f"artifact {artifact_id} was harmed by the deletion of {victim}")
        self.say(
            f"The run {victim} was deleted: {len(shared):,} artifacts that {' and '.join(others)} share with it "
            f"still load, {len(lonely):,} that only it held are gone."
        )

    def let_everything_expire(self) -> None:
        """Third act: short TTLs run out, and nothing remains."""
        store = self._store
        brief = [b"brief %d" % i for i in range(_BRIEF_ARTIFACTS)]
        views = store.store_many(brief, run_id=_BRIEF, ttl=_SHORT)
        same("artifacts stored with a short TTL", [], store.find_missing(_listed(views)))
        touched = 0
        for run in store.list_runs():
            for view in store.list_by_run(run):
                if run != _BRIEF and not store.touch(view.artifact_id, _SHORT, run):
                    raise DemoError(f"touch() found no lease of {run} on {view.artifact_id}, which {run} lists")
                touched += run != _BRIEF
        self._stage.tickets.remove(self._consumers)
        started = time.monotonic()
        while (left := self._stage.keys_left()) and time.monotonic() < started + _SHORT + _GONE_WITHIN:
            time.sleep(0.05)
        same("artifacts after everything has expired", [], _listed(store.list_all(limit=0)))
        same("keys after everything has expired", 0, left)
        self.say(
            f"{len(brief):,} artifacts with a TTL of {_SHORT:.0f} s and {touched:,} leases touched to end as soon "
            f"have expired: the keyspace is empty, {time.monotonic() - started:.1f} s after the last touch."
        )

    def _ids_of(self, producer: str) -> set[str]:
        return {self._ids[file.name] for file in self._parts[producer]}


def _listed(views: Iterable[ArtifactMetadata]) -> list[str]:
    return [view.artifact_id for view in views]


def _parsed(summary: Artifact | None) -> object:
    return None if summary is None else json.loads(summary.content)


def _pages(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[i : i + _PAGE] for i in range(0, len(items), _PAGE))
