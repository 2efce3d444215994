"""`gc` and `check`: nothing to find in a store that was only used."""

from __future__ import annotations

from typing import Any

import pytest

from ... import ArtifactStore, InvalidArtifactError
from ..waiting import eventually


class Maintenance:
    def test_a_used_store_has_no_problems(self, store: ArtifactStore) -> None:
        store.store(b"1", run_id="a", tags={"k": "v"})
        store.store(b"1", run_id="b", ttl=60)
        store.store(b"1", artifact_id="one", run_id="a:{*}")
        store.store(b"2" * 100_000, artifact_id="one", run_id="b")
        store.store(b"3")
        store.touch("one", 30, "b")
        store.store(b"4", run_id="c")
        store.delete_by_run("c")
        report = store.check(read_data=True)
        assert report.problems == []
        assert report.ok
        assert report.looked_at > 0
        assert store.gc(grace=0).problems == []
        assert store.gc(dry_run=False, grace=0).problems == []
        assert store.check(repair=True, read_data=True, grace=0).problems == []
        assert len(store.list_all()) == 3

    def test_gc_is_dry_unless_told(self, store: ArtifactStore) -> None:
        seen: list[int] = []
        store.store(b"1", run_id="a")
        assert store.gc(progress=seen.append).ok
        assert seen
        assert seen[-1] > 0

    def test_an_error_in_progress_is_the_callers(self, store: ArtifactStore) -> None:
        def count(_looked_at: int) -> None:
            raise KeyError("mine")

        store.store(b"1", run_id="a")
        for call in (
            lambda: store.gc(progress=count),
            lambda: store.check(progress=count),
            lambda: store.delete_where(run_id="a", dry_run=False, progress=count),
        ):
            with pytest.raises(KeyError, match="mine"):
                call()

    def test_nothing_expired_is_a_problem(self, store: ArtifactStore) -> None:
        store.store(b"1", run_id="a", ttl=0.05)
        store.store(b"2", run_id="a")
        store.store(b"2", run_id="b", ttl=0.05)
        eventually(lambda: len(store.list_all()) == 1 and store.list_runs() == ["a"])
        assert store.check(read_data=True).problems == []

    @pytest.mark.parametrize("grace", [-1, "1", None, True, float("nan")])
    def test_grace_is_checked(self, store: ArtifactStore, grace: Any) -> None:
        with pytest.raises(InvalidArtifactError, match="grace"):
            store.gc(grace=grace)
        with pytest.raises(InvalidArtifactError, match="grace"):
            store.check(grace=grace)
