"""The contract: what an artifact store does, for everyone who uses or implements one.

Names and meanings of the first part are those of AbstractRuntime's artifact store; a class written against that one
(seven abstract methods) is complete here too, the rest has plain defaults. `docs/design.md` states the promises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

from .arguments import (
    DEFAULT,
    Anonymous,
    LinkKeywords,
    Payload,
    StoreKeywords,
    TtlOrDefault,
    check_bound,
    check_callback,
    check_details,
    check_flag,
    check_holder,
    check_ids,
    check_items,
    check_run_id,
    check_run_ids,
    spelled_out,
)
from .backends.opened import WholeArtifact
from .encoding import encode_json, encode_text
from .figures import Tally, check_field
from .model import Page, Removal, RunStats
from .plan import run
from .reader import ArtifactReader
from .refs import IdLike, not_found
from .runs import Run
from .search import (
    Best,
    By,
    Filters,
    Order,
    Query,
    ViewFilters,
    check_chosen,
    check_limit,
    check_prefix,
    cursor_of,
    place_of,
    slice_of,
)
from .sources import SourceLike, TransferProgress, read_whole

if TYPE_CHECKING:
    from datetime import timedelta

    from typing_extensions import Buffer

    from .arguments import Ttl
    from .labels import ExtraOrChange, TagsOrChange
    from .model import Artifact, ArtifactMetadata, CheckReport, Lease, StoreStats


class ArtifactStore(ABC):
    """Content under its hash, leased by runs.

    Every method may raise the errors of `coatcheck.errors`: `InvalidArtifactError` (also a `ValueError`) for bad
    arguments, before anything is sent; `StoreUnavailableError` and its kin when the store cannot be used. Absence is
    never an error. A store may be shared by threads. Every call is safe to repeat.
    """

    # The inherited interface ------------------------------------------------------------------------------------

    @abstractmethod
    def store(
        self,
        content: Buffer,
        *,
        content_type: str = "application/octet-stream",
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        artifact_id: IdLike | None = None,
        ttl: TtlOrDefault = DEFAULT,
        extra: Mapping[str, Any] | None = None,
        exact_ttl: bool = False,
        if_absent: bool = False,
        if_digest: str | None = None,
    ) -> ArtifactMetadata:
        """Store content and take a lease on it.

        The same id and content again: another run adds its lease, the same run renews its own; no lease gets
        shorter. An explicit id with *different* content replaces the artifact for everybody.

        With `if_absent` or `if_digest` it is stored only where that is so, in one step: of several who try at once one
        wins, and the others get `ArtifactConflictError`, even where they stored the same. What counts is what
        `get_metadata` would show.

        Args:
            content: Bytes, or any buffer.
            content_type: MIME type or semantic type: at most 1 KiB in UTF-8, without control characters, because it
                may become an HTTP header.
            run_id: Who stores: any non-empty string of at most 1 KiB in UTF-8; `None` takes the anonymous lease.
            tags: The run's own key-value tags: any text, at most 256 of them and 64 KiB together.
            artifact_id: 1 to 200 of `A-Z a-z 0-9 _ -`. Left out: the first 32 hex digits of the SHA-256.
            ttl: Seconds or a `timedelta` until the lease ends; `None`: never; left out: the store's default.
            extra: The run's own metadata beside the tags: JSON values by name, at most 64 KiB as JSON, 32 deep.
            exact_ttl: Let the run's own lease end with `ttl`, even if it would have lasted longer. No other run's does.
            if_absent: Only if nobody holds an artifact of this id. A default id is its content, so that there it means:
                only if nobody holds this content under it.
            if_digest: Only if the artifact has this SHA-256 now, 64 hex digits, as `metadata.digest` says it.

        Returns:
            The run's own view of the artifact.

        Raises:
            ArtifactTooLargeError: The content is larger than the store takes.
            StoreFullError: The server is out of memory; nothing was written.
            ArtifactConflictError: `if_absent` or `if_digest` is not met; its `metadata` say what is there. After an
                `AmbiguousWriteError` that may be what this caller had stored.
        """

    @overload
    @abstractmethod
    def load(self, artifact_id: IdLike, *, run_id: str | None = None, required: Literal[True]) -> Artifact: ...
    @overload
    @abstractmethod
    def load(self, artifact_id: IdLike, *, run_id: str | None = None, required: bool = False) -> Artifact | None: ...
    @abstractmethod
    def load(self, artifact_id: IdLike, *, run_id: str | None = None, required: bool = False) -> Artifact | None:
        """The artifact with its verified content, or `None`.

        Args:
            artifact_id: An id, or what stands for it: a ticket or `ArtifactMetadata`. So it is wherever an id is taken.
            run_id: As this run sees it, with its content type and tags; `None` where the run has no live lease. Left
                out: as the latest store left it.
            required: Raise where it would be `None`.

        Raises:
            ArtifactNotFoundError: It is absent and `required`.
            CorruptArtifactError: What lies there is not what was stored.
            ArtifactLostError: The content was evicted under its metadata.
        """

    @overload
    def get_metadata(
        self, artifact_id: IdLike, *, run_id: str | None = None, required: Literal[True]
    ) -> ArtifactMetadata: ...
    @overload
    def get_metadata(
        self, artifact_id: IdLike, *, run_id: str | None = None, required: bool = False
    ) -> ArtifactMetadata | None: ...
    @abstractmethod
    def get_metadata(
        self, artifact_id: IdLike, *, run_id: str | None = None, required: bool = False
    ) -> ArtifactMetadata | None:
        """The artifact without its content, or `None`; arguments and errors as for `load`."""

    @abstractmethod
    def exists(self, artifact_id: IdLike) -> bool:
        """Whether the artifact is there, content included (of chunked content: its list of chunks)."""

    @abstractmethod
    def delete(self, artifact_id: IdLike) -> bool:
        """Remove the artifact for every run; whether there was one. See `release` for giving up one lease."""

    @abstractmethod
    def list_by_run(self, run_id: str) -> list[ArtifactMetadata]:
        """A run's own view of everything it leases, newest first."""

    @abstractmethod
    def list_all(self, *, limit: int = 1000) -> list[ArtifactMetadata]:
        """The latest view of every artifact, newest first; `limit <= 0`: all of them."""

    def delete_by_run(self, run_id: str) -> int:
        """Give up every lease of a run; content that another run leases stays. Returns the leases given up."""
        return sum(self.delete(view.artifact_id) for view in self.list_by_run(check_run_id(run_id)))

    @spelled_out(Query.of)
    def search(
        self, *, limit: int = 1000, offset: int = 0, by: By = "time", order: Order = "desc", **filters: Unpack[Filters]
    ) -> list[ArtifactMetadata]:
        """Artifacts whose metadata match all that is given; both bounds of a range belong to it.

        Args:
            limit: How many at most; `<= 0`: all.
            offset: How many matches to skip.
            by: `"time"` of store, `"size"` or `"expiry"`, then by id.
            order: `"desc"` (newest, largest, last to end first) or `"asc"`.
            run_id: This run's own views; `ANONYMOUS`: those of leases without a run, for which all artifacts are looked
                at; left out: the latest view of every artifact.
            run_prefix: What the run that a view is of begins with.
            content_type: This content type; `"image/*"`: all that begin with `"image/"`. A `*` elsewhere is a character
                like others.
            tags: Each of these tags, exactly; `ANY` for a value: the tag is there.
            id_prefix: What the id begins with.
            min_size: Size of the content in bytes.
            max_size: Likewise.
            created_after: ISO 8601 or `datetime`; UTC where it names no zone.
            created_before: Likewise. Nothing lies in a range that ends before it begins.
        """
        query = Query.of(**filters).ordered(by, order)
        if query.anonymous:
            raise self._unsupported("run_id=ANONYMOUS")
        views = self.list_all(limit=0) if query.run_id is None else self.list_by_run(query.run_id)
        return slice_of(filter(query.matches, views), query, offset=offset, limit=limit)

    @spelled_out(Query.of)
    def page(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        by: By = "time",
        order: Order = "desc",
        **filters: Unpack[Filters],
    ) -> Page[ArtifactMetadata]:
        """A part of what `search` finds, and a cursor for the next part; takes the same filters.

            page = store.page(content_type="image/*")
            while page.next is not None:
                page = store.page(content_type="image/*", after=page.next)

        Each page is exact. A cursor is a place in the order: what keeps its own is on one page, and on one only. What
        is stored again between two pages is the newest then: newest first it lies in front of them, oldest first it
        comes again. `iter_artifacts` names everything once whatever happens.

        Artifacts are ordered by their latest store, even if that lease has ended, and by the end of all their leases; a
        run's own views by their own times. For an order by size, and for that of a run by time, each page looks at all
        there is.

        Args:
            limit: How many at most: 1 to 1000. A page may hold fewer, even none, and not be the last.
            after: The `next` of the page before, from the same query.
            by: See `search`.
            order: See `search`.
            **filters: See `search`.

        Raises:
            InvalidArtifactError: Also: `after` is no cursor, or that of another query or another store.
        """
        query = Query.of(**filters).ordered(by, order)
        best: Best[ArtifactMetadata] = Best(query, place_of(after, query, repr(self)), check_limit(limit))
        for view in self.search(limit=0, **filters):
            best.add(query.place(view), view)
        views, end = best.page()
        return Page(views, None if end is None else cursor_of(end, query, repr(self)))

    def page_runs(self, *, prefix: str | None = None, limit: int = 100, after: str | None = None) -> Page[str]:
        """Some of the runs that hold a live lease, the last to end first, and a cursor for the next ones.

        A cursor is a place in this order, as with `page`: a run that takes no lease meanwhile is on one page, and on
        one only. One whose leases last longer by now lies in front. `iter_runs` names each once whatever happens.

        Args:
            prefix: What they begin with.
            limit: How many at most: 1 to 1000. A page may hold fewer, even none, and not be the last.
            after: The `next` of the page before, with the same prefix.

        Raises:
            InvalidArtifactError: Also: `after` is no cursor, or that of another list or another store.
        """
        query, count = ("runs", check_prefix(prefix)), check_limit(limit)
        start = place_of(after, query, repr(self))
        left = sorted(run for run in self.iter_runs(prefix) if start is None or run.encode() > start[1])
        end = (0.0, left[count - 1].encode()) if len(left) > count else None
        return Page(left[:count], None if end is None else cursor_of(end, query, repr(self)))

    @spelled_out(Query.of)
    def iter_artifacts(self, **filters: Unpack[Filters]) -> Iterator[ArtifactMetadata]:
        """All that `search` finds, in no order, a batch at a time: for stores of any size.

        What is there all the while is named once, whatever others do meanwhile. It takes up to 43 bytes of memory for
        each artifact that was named.

        Args:
            **filters: See `search`.
        """
        return iter(self.search(limit=0, **filters))

    @spelled_out(Query.of)
    def iter_run(self, run_id: str, **filters: Unpack[ViewFilters]) -> Iterator[ArtifactMetadata]:
        """`iter_artifacts` for a run's own views."""
        return self.iter_artifacts(run_id=check_run_id(run_id), **filters)

    def iter_runs(self, prefix: str | None = None) -> Iterator[str]:
        """The runs that hold a live lease, each once, in no order, a batch at a time.

        Args:
            prefix: What they begin with.
        """
        begins = "" if prefix is None else check_run_id(prefix)
        return (run for run in self.list_runs() if run.startswith(begins))

    @spelled_out(check_details)
    def store_text(
        self,
        text: str,
        *,
        content_type: str = "text/plain",
        encoding: str = "utf-8",
        **details: Unpack[StoreKeywords],
    ) -> ArtifactMetadata:
        """`store` for text, with all that `store` takes."""
        return self.store(encode_text(text, encoding), content_type=content_type, **details)

    @spelled_out(check_details)
    def store_json(self, data: Any, **details: Unpack[StoreKeywords]) -> ArtifactMetadata:
        """`store` for a JSON value, as compact UTF-8, content type `application/json`.

        Raises:
            InvalidArtifactError: It isn't JSON (NaN and infinities aren't), or keys would collide, as 1 and "1" do.
        """
        return self.store(encode_json(data), content_type="application/json", **details)

    def load_text(self, artifact_id: IdLike, encoding: str = "utf-8") -> str | None:
        """The content as text, or `None` where there is no such artifact."""
        artifact = self.load(artifact_id)
        return None if artifact is None else artifact.as_text(encoding)

    def load_json(self, artifact_id: IdLike) -> Any | None:
        """The content parsed as JSON, or `None` where there is no such artifact."""
        artifact = self.load(artifact_id)
        return None if artifact is None else artifact.as_json()

    # Batches ----------------------------------------------------------------------------------------------------

    def store_many(
        self,
        items: Iterable[Buffer | Payload],
        *,
        content_type: str = "application/octet-stream",
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        ttl: TtlOrDefault = DEFAULT,
        extra: Mapping[str, Any] | None = None,
        exact_ttl: bool = False,
    ) -> list[ArtifactMetadata]:
        """Store many items for one run, in order; a bad item fails before anything is sent.

        Each is stored as it was when `items` gave it, so that an iterator may fill one buffer again and again.

        Args:
            items: Contents, or `Payload`s with a content type, tags, id or TTL of their own.
            content_type: For items that don't say.
            run_id: Who stores.
            tags: For items that don't say.
            ttl: For items that don't say.
            extra: For items that don't say.
            exact_ttl: As for `store`.
        """
        common: StoreKeywords = {"run_id": run_id, "tags": tags}
        if extra is not None:
            common["extra"] = extra
        if exact_ttl:
            common["exact_ttl"] = exact_ttl
        if ttl is not DEFAULT:
            common["ttl"] = ttl
        return [
            self.store(
                item.content,
                content_type=content_type if item.content_type is None else item.content_type,
                **item.details(common),
            )
            for item in (item if isinstance(item, Payload) else Payload(item) for item in check_items(items))
        ]

    def load_many(self, ids: Iterable[IdLike]) -> list[Artifact | None]:
        """`load` for many ids, in order."""
        return [self.load(artifact_id) for artifact_id in check_ids(ids)]

    def metadata_many(self, ids: Iterable[IdLike]) -> list[ArtifactMetadata | None]:
        """`get_metadata` for many ids, in order."""
        return [self.get_metadata(artifact_id) for artifact_id in check_ids(ids)]

    def find_missing(
        self, ids: Iterable[IdLike], *, ttl: TtlOrDefault = DEFAULT, run_id: str | None = None
    ) -> list[str]:
        """Those ids that `exists` denies, each once, in order.

        With `ttl` a run also takes a lease on each one that is there, or makes its lease last as long, so that "already
        there" stays true: what is not named now can be loaded until then. A lease that ends later stays as it is. A
        new one gets the content type and tags of the latest store.

        Args:
            ids: Artifact ids.
            ttl: Seconds or a `timedelta` until the leases end; `None`: never; left out: no lease is taken.
            run_id: Who takes the leases; `None`: the anonymous lease.
        """
        if ttl is not DEFAULT or run_id is not None:
            raise self._unsupported("find_missing(ttl=…)")
        return [artifact_id for artifact_id in dict.fromkeys(check_ids(ids)) if not self.exists(artifact_id)]

    def delete_many(self, ids: Iterable[IdLike]) -> list[bool]:
        """`delete` for many ids, in order; a bad id fails before anything is deleted, a repeated one answers twice."""
        wanted = check_ids(ids)
        deleted = {artifact_id: self.delete(artifact_id) for artifact_id in dict.fromkeys(wanted)}
        return [deleted[artifact_id] for artifact_id in wanted]

    # Large content ----------------------------------------------------------------------------------------------

    @spelled_out(check_details)
    def store_file(
        self,
        source: SourceLike,
        *,
        content_type: str = "application/octet-stream",
        progress: TransferProgress | None = None,
        **details: Unpack[StoreKeywords],
    ) -> ArtifactMetadata:
        """`store` for a file or a binary stream, a piece at a time: memory stays small whatever its size.

        The source is read twice, first for its SHA-256, and not sent if its content is there already. A stream that
        cannot seek is copied to a temporary file meanwhile (where `tempfile` puts it: `TMPDIR`).

        Args:
            source: A path, or a binary stream, which is read from where it stands to its end and left open.
            content_type: As for `store`, like all else that is not named here.
            progress: Called with `(bytes read, None)` while the source is read first, then with `(bytes stored, all)`;
                the last call says that everything is stored. After a disturbance it may begin anew.

        Raises:
            InvalidArtifactError: Not a binary source, or it changed while it was read; nothing was stored.
            OSError: The file cannot be read; as is everything else that the stream raises.
        """
        metadata = self.store(read_whole(source), content_type=content_type, **details)
        if progress is not None:
            progress(metadata.size_bytes, metadata.size_bytes)
        return metadata

    @overload
    def open(self, artifact_id: IdLike, *, required: Literal[True]) -> ArtifactReader: ...
    @overload
    def open(self, artifact_id: IdLike, *, required: bool = False) -> ArtifactReader | None: ...
    def open(self, artifact_id: IdLike, *, required: bool = False) -> ArtifactReader | None:
        """Open an artifact for reading: a seekable binary stream, or `None` where there is no such artifact.

        Bytes are verified before they are given, and are never a mix of two contents. If the artifact is deleted or
        replaced meanwhile, the reader goes on with what was opened, or raises `ArtifactLostError`.

        Raises:
            ArtifactNotFoundError: It is absent and `required`.
        """
        artifact = self.load(artifact_id)
        if artifact is None and required:
            raise not_found(artifact_id)
        return None if artifact is None else ArtifactReader(WholeArtifact(artifact), run)

    def load_range(self, artifact_id: IdLike, start: int | None = None, stop: int | None = None) -> bytes | None:
        """`content[start:stop]`, by the rules of slices, or `None` where there is no such artifact.

        Of large content only the chunks that are needed are fetched, and verified by their own checksums; the SHA-256
        of the whole can only be compared when the whole is read.
        """
        wanted = slice(check_bound(start, "start"), check_bound(stop, "stop"))
        artifact = self.load(artifact_id)
        return None if artifact is None else artifact.content[wanted]

    @spelled_out(check_details)
    def link(
        self,
        source: IdLike,
        artifact_id: IdLike,
        *,
        content_type: str | None = None,
        **details: Unpack[LinkKeywords],
    ) -> ArtifactMetadata:
        """Store, under another id, what an artifact stands for now; its content is neither sent nor loaded.

        Where the new id lies in another partition of a cluster the content is copied through this client, large
        content by way of a temporary file. Each artifact has its own leases: nothing that happens to one of them later
        concerns the other.

        Args:
            source: The artifact.
            artifact_id: The new id. What it stood for before is replaced.
            content_type: Left out: that of the source's latest store. So it is with `tags` and `extra`.
            **details: As for `store`.

        Raises:
            ArtifactNotFoundError: There is no such source.
            ArtifactConflictError: As for `store`.
            ArtifactLostError: The content of the source was evicted.
        """
        found = self.load(source)
        if found is None:
            raise not_found(source)
        view = found.metadata
        if details.get("tags") is None:
            details["tags"] = view.tags
        if details.get("extra") is None and view.extra:
            details["extra"] = view.extra
        kind = view.content_type if content_type is None else content_type
        return self.store(found.content, artifact_id=artifact_id, content_type=kind, **details)

    # Leases -----------------------------------------------------------------------------------------------------

    def touch(self, artifact_id: IdLike, ttl: Ttl, run_id: str | None = None) -> bool:
        """Let a run's live lease end `ttl` seconds from now (`None`: never), be that later or earlier than before.

        Returns:
            Whether the run had a live lease. Without one nothing is changed.
        """
        raise self._unsupported("touch")

    def update_metadata(
        self,
        artifact_id: IdLike,
        *,
        run_id: str | None = None,
        content_type: str | None = None,
        tags: TagsOrChange | None = None,
        extra: ExtraOrChange | None = None,
        replace: bool = False,
    ) -> ArtifactMetadata | None:
        """Change what a run's live lease says of its artifact, in one step; its time and deadline stay.

        Args:
            artifact_id: The artifact.
            run_id: Whose lease; `None`: the anonymous one.
            content_type: The new one.
            tags: Tags to add, in place of those of the same name. Or a function that is given the old ones and returns
                all new ones: nobody else's change is lost then. It must not use the store, and is asked again where
                somebody else was faster. If that happens while a connection breaks, the change may be made twice.
            extra: Likewise, by the names at its top. Its function is asked after that of `tags`.
            replace: Put `tags` and `extra`, as far as they are given, in place of the old ones.

        Returns:
            The run's view of the artifact now; `None` where it has no live lease.
        """
        raise self._unsupported("update_metadata")

    def update_many(
        self,
        ids: Iterable[IdLike],
        *,
        run_id: str | None = None,
        content_type: str | None = None,
        tags: TagsOrChange | None = None,
        extra: ExtraOrChange | None = None,
        replace: bool = False,
    ) -> list[ArtifactMetadata | None]:
        """`update_metadata` for many artifacts, the same change for each, in order.

        All that is to be said is made before any is written: where that is refused for one, none changes. A connection
        that is lost later may leave some changed on a server. The stores of others may go one by one.
        """
        return [
            self.update_metadata(
                artifact_id, run_id=run_id, content_type=content_type, tags=tags, extra=extra, replace=replace
            )
            for artifact_id in check_ids(ids)
        ]

    def release(self, artifact_id: IdLike, run_id: str | None) -> bool:
        """Give up one run's lease; the last one takes the artifact with it. Whether there was a live one."""
        raise self._unsupported("release")

    def leases(self, artifact_id: IdLike) -> list[Lease]:
        """The live leases of an artifact, oldest store first; empty where there is no such artifact."""
        raise self._unsupported("leases")

    def leases_many(self, ids: Iterable[IdLike]) -> list[list[Lease]]:
        """`leases` for many ids, in order."""
        return [self.leases(artifact_id) for artifact_id in check_ids(ids)]

    def list_runs(self) -> list[str]:
        """The runs that hold a live lease, sorted."""
        raise self._unsupported("list_runs")

    # The store itself -------------------------------------------------------------------------------------------

    @spelled_out(Query.of)
    def count(self, **filters: Unpack[Filters]) -> int:
        """How many artifacts `search` would find; takes its filters.

        Args:
            **filters: See `search`. Without any, or with a run alone, nothing is read but an index.
        """
        return sum(1 for _ in self.iter_artifacts(**filters))

    @spelled_out(Query.of)
    def facets(self, field: str, **filters: Unpack[Filters]) -> dict[str | None, int]:
        """How many artifacts have each content type, run or value of a tag; the most frequent first.

        Args:
            field: `"content_type"`; `"run_id"`, which is `None` for anonymous leases; or `"tag:"` and a name, for
                artifacts that have such a tag.
            **filters: See `search`.
        """
        by = check_field(field)
        tally = Tally()
        for view in self.iter_artifacts(**filters):
            tally.add(Tally.of(view, by))
        return dict(tally.values.most_common())

    @spelled_out(Query.of)
    def stats(self, **filters: Unpack[Filters]) -> StoreStats:
        """Figures about the store, or about the artifacts that `search` would find.

        Looks at all of them: for people and monitoring, not for hot paths. While many artifacts are deleted, one that
        stays may count twice, here as in `count` and `facets`.

        Args:
            **filters: See `search`. With some, `runs` are those of the views that match; with `run_id`, leases and what
                is handed in are the run's own.
        """
        raise self._unsupported("stats")

    def run(self, run_id: str, *, ttl: TtlOrDefault = DEFAULT, keep: TtlOrDefault = DEFAULT) -> Run:
        """One run's view of this store: it stores, lists and counts for that run. Nothing is asked.

        In a `with` block it renews the run's leases, three times in `ttl`, and lets them last for `keep` at its end.

        Args:
            run_id: Which run.
            ttl: How long leases last that are taken here, and to which all of the run's are renewed: seconds or a
                `timedelta`; `None`: for ever; left out: the store's default, and nothing is renewed.
            keep: How long the run's leases last from the end of the block on; left out: as long as they do.
        """
        return Run(self, run_id, ttl, keep)

    def run_stats(self, run_id: str) -> RunStats:
        """Figures about what a run leases; looks at all of it."""
        tally = Tally()
        for view in self.iter_run(run_id):
            tally.add(Tally.of(view, None))
        return tally.of_run(run_id)

    def run_stats_many(self, run_ids: Iterable[str]) -> list[RunStats]:
        """`run_stats` of many runs, in order; of one that leases nothing, too."""
        return [self.run_stats(run_id) for run_id in check_run_ids(run_ids)]

    def touch_run(self, run_id: str | Anonymous, ttl: Ttl) -> int:
        """Let every live lease of a run last `ttl` seconds from now, or as long as it does if that is longer.

        With `ANONYMOUS` for the run: of those without one, for which the whole store is looked through.

        Some at a time: if it is interrupted, or repeated, those that were renewed stay so.

        Returns:
            How many leases there were.
        """
        raise self._unsupported("touch_run")

    def expire_run(self, run_id: str | Anonymous, ttl: Ttl) -> int:
        """Let every live lease of a run end `ttl` seconds from now, be that later or earlier than before.

        For what is to be kept for a while after the run has ended. Some at a time, as `touch_run`. What the run stores
        from then on lasts as long as it says.

        Returns:
            How many leases there were.
        """
        holder = check_holder(run_id)
        return sum(self.touch(view.artifact_id, ttl, holder) for view in self.search(run_id=run_id, limit=0))

    @spelled_out(Query.of)
    def delete_where(
        self, *, dry_run: bool = True, progress: Callable[[int], None] | None = None, **filters: Unpack[Filters]
    ) -> Removal:
        """Remove what `search` would find, for every run; with `run_id` give up that run's leases instead.

        `run_id=ANONYMOUS` gives up those that were taken without a run.

        Some hundred at a time: others don't wait, and it can be interrupted and repeated. What is stored again, or gets
        other tags, after it was looked at and before it would be removed, stays.

        Args:
            dry_run: Only say what would be removed.
            progress: Called with the number of matches looked at so far, unless `dry_run`.
            **filters: See `search`; at least one.
        """
        query = check_chosen(Query.of(**filters))
        check_flag(dry_run, "dry_run")
        check_callback(progress)
        found = list(self.iter_artifacts(**filters))
        removed = [
            view
            for view in found
            if dry_run
            or (self.release(view.artifact_id, query.run_id) if query.is_of_one else self.delete(view.artifact_id))
        ]
        if progress is not None and not dry_run:
            progress(len(found))
        size = sum(view.size_bytes for view in removed)
        return Removal(artifacts=len(removed), size_bytes=size, dry_run=dry_run)

    def gc(
        self, *, dry_run: bool = True, grace: float | timedelta = 3600, progress: Callable[[int], None] | None = None
    ) -> CheckReport:
        """Find what crashed writers, evictions and other software left behind, and remove it unless `dry_run`.

        Safe under full traffic. Reads every key of the namespace: for maintenance, not for hot paths.

        Args:
            dry_run: Only report.
            grace: Seconds or a `timedelta`; nothing that was used more recently is removed.
            progress: Called with the number of keys looked at so far.
        """
        raise self._unsupported("gc")

    def reindex(self, *, progress: Callable[[int], None] | None = None) -> int:
        """Index by label what the store was opened with, and no more, for artifacts that are there already.

        Others go on meanwhile, whatever options they have: once it has begun, all of their changes keep the indexes
        right. It works in bounded steps and can be interrupted and repeated; an index is read only once it is complete.
        Only stores on servers have indexes; others look at everything, and this does nothing.

        Args:
            progress: Called with the number of artifacts looked at so far.

        Returns:
            How many artifacts were looked at.
        """
        raise self._unsupported("reindex")

    def check(
        self,
        *,
        read_data: bool = False,
        repair: bool = False,
        grace: float | timedelta = 3600,
        progress: Callable[[int], None] | None = None,
    ) -> CheckReport:
        """Find what does not fit together: artifacts, contents, indexes, expiries.

        Args:
            read_data: Also read every content and verify its SHA-256.
            repair: Repair what is certain: indexes and expiries follow from the leases, leftovers are removed,
                damaged content is removed so that storing it again heals it. Losses are only reported.
            grace: As in `gc`.
            progress: Called with the number of keys looked at so far.
        """
        raise self._unsupported("check")

    def close(self) -> None:  # noqa: B027  # nothing to give back is a fine default
        """Give back connections and locks; the store cannot be used afterwards. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _unsupported(self, name: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} does not implement {name}()")
