"""Counts, figures and facets: of everything, of a run, of what filters choose."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ... import ANY, ArtifactStore, InvalidArtifactError
from ..waiting import eventually
from .finding import furnish


class Counting:
    def test_counts_are_those_of_lists(self, store: ArtifactStore) -> None:
        views = furnish(store)
        queries: list[dict[str, Any]] = [
            {},
            {"run_id": "a"},
            {"run_id": "absent"},
            {"run_id": "a", "tags": {"third": ANY}},
            {"content_type": "image/*"},
            {"tags": {"third": "yes"}},
            {"tags": {"third": ANY, "n": "3"}},
            {"min_size": 3, "max_size": 8, "run_prefix": "a"},
            {"id_prefix": "name-"},
            {"created_before": "1999-01-01"},
            {"created_after": "1999-01-01"},
            {"created_before": views[2].created_at},
            {"created_before": views[2].created_at, "tags": {"third": ANY}},
            {"created_after": views[-2].created_at},
            {"created_after": views[3].created_at, "created_before": views[5].created_at},
            {"created_after": views[5].created_at, "created_before": views[3].created_at},
        ]
        for query in queries:
            found = list(store.iter_artifacts(**query))
            assert store.count(**query) == len(found), query
            for field, value in [
                ("content_type", lambda view: view.content_type),
                ("run_id", lambda view: view.run_id),
                ("tag:third", lambda view: view.tags.get("third", ...)),
                ("tag:n", lambda view: view.tags.get("n", ...)),
                ("tag:", lambda view: view.tags.get("", ...)),
            ]:
                expected = Counter(map(value, found))
                del expected[...]
                assert store.facets(field, **query) == expected, (field, query)
            stats = store.stats(**query)
            assert stats.artifacts == len(found)
            assert stats.contents == len({view.digest for view in found})
            assert stats.content_bytes == sum({view.digest: view.size_bytes for view in found}.values())
            assert stats.artifact_bytes == sum(view.size_bytes for view in found)

    def test_facets_begin_with_the_most_frequent(self, store: ArtifactStore) -> None:
        for n, kind in enumerate(["a", "b", "b", "c", "b", "c"]):
            store.store(b"%d" % n, tags={"kind": kind, "kin": "d"}, run_id="r" if n else None)
        assert list(store.facets("tag:kind").items()) == [("b", 3), ("c", 2), ("a", 1)]
        assert list(store.facets("run_id").items()) == [("r", 5), (None, 1)]

    def test_a_tag_is_told_from_parts_of_others(self, store: ArtifactStore) -> None:
        tags = {"name": "v" * 300, "many": "z" * 40_000} | {f"k{n}": "" for n in range(60)}
        store.store(b"1", tags=tags)
        store.store(b"2", tags={"other": "name" + "v" * 300, "name": "v" * 301, "k": "\xa4many\xa1z"})
        assert store.count(tags={"name": "v" * 300}) == 1
        assert store.count(tags={"name": ANY}) == 2
        assert store.count(tags={"many": ANY}) == 1
        assert store.count(tags={"k59": ""}) == 1
        assert store.facets("tag:many") == {"z" * 40_000: 1}

    def test_figures_of_leases_and_shared_contents(self, store: ArtifactStore) -> None:
        for run in "a", "b", "c":
            store.store(b"." * 10, run_id=run, ttl=100 if run == "a" else 10_000)
        store.store(b"." * 10, run_id="a", artifact_id="name", ttl=10_000)
        store.store(b"+" * 7, run_id="b", artifact_id="other", ttl=None)
        store.store(b"+" * 7, run_id="b", artifact_id="third", ttl=100)
        everything = store.stats()
        assert (everything.artifacts, everything.leases, everything.runs) == (4, 6, 3)
        assert (everything.contents, everything.content_bytes, everything.artifact_bytes) == (2, 17, 54)
        assert everything.stored_bytes > 0
        assert (everything.ends_within_hour, everything.ends_within_day) == (1, 3)
        named = store.stats(id_prefix="name")
        assert (named.artifacts, named.leases, named.contents, named.content_bytes, named.runs) == (1, 1, 1, 10, 1)
        own = store.stats(run_id="a")
        assert (own.artifacts, own.leases, own.runs, own.contents, own.artifact_bytes) == (2, 2, 1, 1, 20)
        assert (own.ends_within_hour, own.ends_within_day) == (1, 2)
        assert store.stats(run_id="absent") == store.stats(tags={"absent": ANY})

    def test_what_has_expired_does_not_count(self, store: ArtifactStore) -> None:
        store.store(b"short", run_id="a", ttl=0.001)
        store.store(b"kept", run_id="a", ttl=100)
        eventually(lambda: len(store.list_all()) == 1)
        assert store.count() == store.count(run_id="a") == store.count(max_size=100) == store.stats().artifacts == 1

    def test_a_run_has_figures(self, store: ArtifactStore) -> None:
        first = store.store(b"1", run_id="a", ttl=100)
        last = store.store(b"333", run_id="a", ttl=50)
        store.store(b"333", run_id="b", ttl=5)
        stats = store.run_stats("a")
        assert (stats.run_id, stats.artifacts, stats.size_bytes) == ("a", 2, 4)
        assert (stats.oldest, stats.newest) == (first.created_at, last.created_at)
        assert (stats.next_expiry, stats.last_expiry) == (last.expires_at, first.expires_at)
        store.store(b"22", run_id="a", ttl=None)
        stats = store.run_stats("a")
        assert (stats.artifacts, stats.next_expiry, stats.last_expiry) == (3, last.expires_at, None)
        nothing = store.run_stats("absent")
        assert (nothing.artifacts, nothing.oldest, nothing.next_expiry, nothing.last_expiry) == (0, None, None, None)

    def test_many_runs_have_their_figures_at_once(self, store: ArtifactStore) -> None:
        for n in range(12):
            store.store(
                b"+" * n, run_id=f"run {n % 5}", ttl=100 + n if n else None, artifact_id=f"name-{n}" if n % 2 else None
            )
            store.store(b"shared", run_id=f"run {n % 5}", ttl=50)
            store.store(b"-" * n)
        store.store_many([b"%d" % n for n in range(20)], run_id="large", ttl=100)
        for run in "short", "run 1":
            store.store(b"short", run_id=run, ttl=0.001)
        eventually(lambda: [store.run_stats(run).artifacts for run in ("short", "run 1")] == [0, 4])
        runs = ["run 3", "large", "absent", "run 0", "short", "run 3", "run 1", "l\u00e4rge", "run 2", "run 4"]
        figures = store.run_stats_many(iter(runs))
        assert figures == [store.run_stats(run) for run in runs]
        assert [one.artifacts for one in figures] == [3, 20, 0, 4, 0, 3, 4, 0, 3, 3]
        assert store.run_stats_many([]) == []
        for nonsense in ("run 1", ["run 1", ""], [None], 7):
            with pytest.raises(InvalidArtifactError):
                store.run_stats_many(nonsense)  # type: ignore[arg-type]

    def test_unknown_fields_are_refused(self, store: ArtifactStore) -> None:
        for field in ("colour", "tag", "size", "", None, 3, "tags:x", ["run_id"]):
            with pytest.raises(InvalidArtifactError, match="field must be"):
                store.facets(field)  # type: ignore[arg-type]
        with pytest.raises(InvalidArtifactError):
            store.run_stats("")
        with pytest.raises(InvalidArtifactError):
            store.count(min_size=-1)
