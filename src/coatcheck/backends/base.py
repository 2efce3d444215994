"""The contract of a backend: what a store needs to be able to do, as plans over batches.

Arguments arrive checked (see `coatcheck.arguments`). Deadlines and times are the backend's own clock: the server's
for Redis. Every plan may be run twice; none leaves half of its work behind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from ..search import Query
from ..sources import Chunking, TransferProgress

if TYPE_CHECKING:
    from ..figures import Tally
    from ..labels import Change
    from ..model import Artifact, ArtifactMetadata, CheckReport, Lease, StoreStats
    from ..plan import Plan
    from ..request import Request, SourceRequest, StoreRequest
    from ..search import Place
    from .opened import OpenedArtifact


T_co = TypeVar("T_co", covariant=True)

Progress = Callable[[int], None] | None
"""Told how many keys or files were looked at so far."""


class Listing(ABC, Generic[T_co]):
    """A way through all there is of something, in no order, in bounded memory.

    What is there all the while comes, whatever others do. Some may come twice.
    """

    @abstractmethod
    def next(self) -> Plan[Sequence[T_co] | None]:
        """Some more, or none so far; `None` at the end."""

    def rest(self) -> Plan[list[Sequence[T_co]]]:
        """All there is, of a way that was not begun."""
        found = []
        while (some := (yield from self.next())) is not None:
            found.append(some)
        return found


class Backend(ABC):
    """One namespace of artifacts."""

    name: str = "other"
    """What events call it."""

    namespace: str = ""
    """The name of the namespace, where there are several."""

    identity: str = ""
    """What tells this namespace from others, so that cursors of another one are refused."""

    max_size: int | None = None
    """Largest content in bytes; `None`: no limit of its own."""

    chunking: Chunking = Chunking()
    """What is long: such content comes to `store_source`, and is cut like this where it is cut at all."""

    @abstractmethod
    def store(self, requests: Sequence[StoreRequest]) -> Plan[list[ArtifactMetadata]]:
        """Store items, each all or nothing; the storing run's own view of each, in order.

        Only a sole one has a condition.

        Raises:
            ArtifactConflictError: It is not met.
        """

    def store_one(self, request: StoreRequest) -> Plan[ArtifactMetadata]:
        """The same for one, for backends with a shorter way."""
        [stored] = yield from self.store([request])
        return stored

    @abstractmethod
    def store_source(self, request: SourceRequest, progress: TransferProgress | None) -> Plan[ArtifactMetadata]:
        """Store one long content, read piece by piece. Content that is there already is not read."""

    @abstractmethod
    def link(self, request: Request) -> Plan[ArtifactMetadata | None]:
        """Store a content that is there already, where the new id needs it; `None` where it is not."""

    @abstractmethod
    def open(self, artifact_id: str) -> Plan[OpenedArtifact | None]:
        """Open an artifact for reading; `None` where absent."""

    @abstractmethod
    def load(self, ids: Sequence[str]) -> Plan[list[Artifact | None]]:
        """Artifacts with verified content, `None` where absent, in order."""

    @abstractmethod
    def load_one(self, artifact_id: str, run_id: str | None) -> Plan[Artifact | None]:
        """The same for one artifact; with the view of `view`."""

    @abstractmethod
    def view(self, artifact_id: str, run_id: str | None) -> Plan[ArtifactMetadata | None]:
        """An artifact as a run sees it, `None` where it has no live lease; `run_id=None`: the latest live store's."""

    @abstractmethod
    def metadata(self, ids: Sequence[str]) -> Plan[list[ArtifactMetadata | None]]:
        """The latest live store's view of each, `None` where absent, in order."""

    @abstractmethod
    def exists(self, ids: Sequence[str]) -> Plan[list[bool]]:
        """Whether metadata *and* content are there, in order."""

    @abstractmethod
    def acquire(self, ids: Sequence[str], run_id: str | None, ttl_ms: int | None) -> Plan[list[bool]]:
        """Where metadata and content are there, take the run's lease or make it last as long; whether they are.

        Never shortens a lease. A new one gets content type and tags of the latest live one.
        """

    @abstractmethod
    def delete(self, ids: Sequence[str]) -> Plan[list[bool]]:
        """Remove artifacts for every run; whether there was one, in order."""

    @abstractmethod
    def touch(self, artifact_id: str, run_id: str | None, ttl_ms: int | None) -> Plan[bool]:
        """Set the deadline of a live lease; whether there was one."""

    @abstractmethod
    def update(self, ids: Sequence[str], run_id: str | None, change: Change) -> Plan[list[ArtifactMetadata | None]]:
        """Change what live leases of a run say; the views afterwards, `None` where there is none, in order.

        Changes at the same time follow each other. `change` may be asked again, and may raise.
        """

    @abstractmethod
    def release(self, artifact_id: str, run_id: str | None) -> Plan[bool]:
        """Give up a lease; whether there was a live one."""

    @abstractmethod
    def leases(self, ids: Sequence[str]) -> Plan[list[list[Lease]]]:
        """Live leases of each, oldest store first, in order."""

    @abstractmethod
    def listing(self, query: Query) -> Listing[ArtifactMetadata]:
        """Every view that a query wants."""

    @abstractmethod
    def page(self, query: Query, start: Place | None, count: int) -> Plan[tuple[list[ArtifactMetadata], Place | None]]:
        """The first `count` of these behind a place in the query's order, and the last one's place if there are more.

        What is there all the while is not left out, whatever others do. Without filters by time of store and by expiry
        the order is that of artifacts: by their latest store, whether it still holds or not, and by the end of all
        their leases.
        """

    @abstractmethod
    def runs(self) -> Listing[str]:
        """Runs that hold a live lease."""

    @abstractmethod
    def runs_page(self, prefix: str | None, start: Place | None, count: int) -> Plan[tuple[list[str], Place | None]]:
        """The first `count` of these behind a place, and a place behind which there are more.

        They are ordered by when the last of their leases ends, the last to end first.
        """

    @abstractmethod
    def delete_by_run(self, run_id: str) -> Plan[int]:
        """Give up every lease of a run; how many live ones there were."""

    @abstractmethod
    def count(self, query: Query) -> Plan[int]:
        """How many views a query wants."""

    @abstractmethod
    def tally(self, query: Query, by: str | None) -> Plan[Tally]:
        """What they come to, and how often each value occurs of what they are counted by (`figures.check_field`)."""

    def tallies(self, runs: Sequence[str]) -> Plan[list[Tally]]:
        """What the live leases of each of these runs come to, in order."""
        found = []
        for run in runs:
            tally = yield from self.tally(Query(run_id=run), None)
            found.append(tally)
        return found

    def facets(self, query: Query, by: str) -> Plan[Counter[str | None]]:
        """How often each value occurs, and nothing else."""
        return (yield from self.tally(query, by)).values

    @abstractmethod
    def stats(self, query: Query) -> Plan[StoreStats]:
        """Figures about the artifacts that a query wants."""

    @abstractmethod
    def touch_run(self, run_id: str | None, ttl_ms: int | None, *, longer: bool) -> Plan[int]:
        """Set the deadline of every live lease of a run, or only make it later; how many there were.

        `run_id=None`: of every anonymous lease.
        """

    @abstractmethod
    def delete_where(self, query: Query, progress: Progress) -> Plan[tuple[int, int]]:
        """Give up the leases that a query wants, or remove the artifacts; how many, and their bytes.

        Leases where the query is about those of a run, or about anonymous ones. What was stored or labelled anew since
        it was looked at stays.
        """

    @abstractmethod
    def gc(self, *, dry_run: bool, grace_ms: int, progress: Progress) -> Plan[CheckReport]:
        """Find what crashes and evictions left behind, and remove it unless `dry_run`."""

    @abstractmethod
    def check(self, *, read_data: bool, repair: bool, grace_ms: int, progress: Progress) -> Plan[CheckReport]:
        """Find what does not fit together; repair what is certain if asked to."""

    def reindex(self, progress: Progress) -> Plan[int]:  # noqa: ARG002  # for backends that have indexes by label
        """Index what the store was told to, and nothing else; how many artifacts were looked at."""
        yield from ()
        return 0

    @abstractmethod
    def close(self) -> Plan[None]:
        """Give back connections and locks. Idempotent."""
