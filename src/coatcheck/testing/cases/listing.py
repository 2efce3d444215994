"""Lists: newest first, each run's own, filtered and cut."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from ... import ArtifactStore, InvalidArtifactError


class Listing:
    def test_lists_are_newest_first(self, store: ArtifactStore) -> None:
        ids = [store.store(b"%d" % n, run_id="a").artifact_id for n in range(5)]
        assert [view.artifact_id for view in store.list_all()] == ids[::-1]
        assert [view.artifact_id for view in store.list_by_run("a")] == ids[::-1]

    def test_storing_again_moves_an_artifact_to_the_front(self, store: ArtifactStore) -> None:
        first = store.store(b"1", run_id="a")
        second = store.store(b"2", run_id="a")
        store.store(b"1", run_id="b")
        assert [view.artifact_id for view in store.list_all()] == [first.artifact_id, second.artifact_id]
        assert [view.artifact_id for view in store.list_all(limit=1)] == [first.artifact_id]

    def test_list_all_is_cut_by_its_limit(self, store: ArtifactStore) -> None:
        ids = [store.store(b"%d" % n).artifact_id for n in range(5)]
        assert [view.artifact_id for view in store.list_all(limit=2)] == [ids[4], ids[3]]
        assert len(store.list_all(limit=0)) == len(store.list_all(limit=-1)) == 5

    def test_an_unknown_run_has_nothing(self, store: ArtifactStore) -> None:
        store.store(b"1", run_id="a")
        assert store.list_by_run("unknown") == []
        assert store.delete_by_run("unknown") == 0

    def test_search_by_content_type(self, store: ArtifactStore) -> None:
        store.store(b"1", content_type="text/a")
        b = store.store(b"2", content_type="text/b")
        assert store.search(content_type="text/b") == [b]
        assert store.search(content_type="text/c") == []

    def test_search_by_tags_needs_all_of_them(self, store: ArtifactStore) -> None:
        store.store(b"1", tags={"a": "1"})
        both = store.store(b"2", tags={"a": "1", "b": "2"})
        assert store.search(tags={"a": "1", "b": "2"}) == [both]
        assert len(store.search(tags={"a": "1"})) == 2
        assert store.search(tags={"a": "*"}) == []

    def test_search_in_a_run_sees_the_runs_own_metadata(self, store: ArtifactStore) -> None:
        a = store.store(b"1", run_id="a", tags={"who": "a"})
        store.store(b"1", run_id="b", tags={"who": "b"})
        assert store.search(run_id="a", tags={"who": "a"}) == [a]
        assert store.search(run_id="a", tags={"who": "b"}) == []

    def test_search_by_time_includes_both_ends(self, store: ArtifactStore) -> None:
        views = [store.store(b"%d" % n) for n in range(4)]
        found = store.search(created_after=views[1].created_at, created_before=views[2].created_at)
        assert found == [views[2], views[1]]
        start = datetime.fromisoformat(views[3].created_at)
        assert store.search(created_after=start) == [views[3]]
        assert store.search(created_after=start + timedelta(seconds=1)) == []

    def test_search_pages(self, store: ArtifactStore) -> None:
        ids = [store.store(b"%d" % n).artifact_id for n in range(6)]
        names = [view.artifact_id for view in store.search(limit=2, offset=1)]
        assert names == [ids[4], ids[3]]
        names = [view.artifact_id for view in store.search(limit=2, offset=1, order="asc")]
        assert names == [ids[1], ids[2]]
        assert store.search(offset=6) == []
        assert len(store.search(limit=0)) == 6

    def test_search_refuses_nonsense(self, store: ArtifactStore) -> None:
        with pytest.raises(InvalidArtifactError, match="order"):
            store.search(order="up")  # type: ignore[arg-type]
        with pytest.raises(InvalidArtifactError, match="created_after"):
            store.search(created_after="yesterday")
        with pytest.raises(InvalidArtifactError, match="limit"):
            store.search(limit="3")  # type: ignore[arg-type]
        with pytest.raises(InvalidArtifactError):
            store.search(run_id="")
        with pytest.raises(InvalidArtifactError):
            store.list_by_run("")

    def test_many_artifacts_are_listed_whole(self, store: ArtifactStore) -> None:
        stored = store.store_many([b"%d" % n for n in range(60)], run_id="a")
        assert {view.artifact_id for view in store.list_by_run("a")} == {view.artifact_id for view in stored}
        assert len(store.list_all(limit=0)) == 60
        assert store.delete_by_run("a") == 60
        assert store.list_all() == []
