"""Content shared by runs: kept once, seen by each run in its own way, taken away from nobody."""

from __future__ import annotations

import pytest

from ... import ArtifactStore, InvalidArtifactError

CONTENT = b"shared content"


class Leases:
    def test_the_same_content_of_two_runs_is_one_artifact(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a")
        b = store.store(CONTENT, run_id="b")
        assert a.artifact_id == b.artifact_id
        assert len(store.list_all()) == 1
        assert store.stats().contents == 1

    def test_each_run_sees_its_own_metadata(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a", content_type="text/a", tags={"who": "a"}, ttl=100)
        b = store.store(CONTENT, run_id="b", content_type="text/b", tags={"who": "b"})
        assert store.list_by_run("a") == [a]
        assert store.list_by_run("b") == [b]
        assert a.created_at < b.created_at

    def test_metadata_show_the_latest_store(self, store: ArtifactStore) -> None:
        store.store(CONTENT, run_id="a", tags={"n": "1"})
        b = store.store(CONTENT, run_id="b", tags={"n": "2"})
        assert store.get_metadata(b.artifact_id) == b
        again = store.store(CONTENT, run_id="a", tags={"n": "3"})
        assert store.get_metadata(b.artifact_id) == again
        loaded = store.load(b.artifact_id)
        assert loaded is not None
        assert loaded.metadata == again

    def test_metadata_show_the_latest_of_many_stores(self, store: ArtifactStore) -> None:
        for n in range(12):
            last = store.store(CONTENT, run_id=f"run {n}", tags={"n": str(n)})
            assert store.get_metadata(last.artifact_id) == last
        again = store.store(CONTENT, run_id="run 3", tags={"n": "again"})
        assert store.get_metadata(again.artifact_id) == again
        assert store.list_all() == [again]

    def test_metadata_fall_back_when_the_latest_lease_is_released(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a", tags={"n": "1"})
        store.store(CONTENT, run_id="b", tags={"n": "2"})
        assert store.release(a.artifact_id, "b")
        assert store.get_metadata(a.artifact_id) == a
        assert store.list_all() == [a]

    def test_deleting_one_run_keeps_content_another_run_leases(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a")
        b = store.store(CONTENT, run_id="b")
        assert store.delete_by_run("a") == 1
        assert store.load_text(a.artifact_id) == CONTENT.decode()
        assert store.list_by_run("a") == []
        assert store.list_by_run("b") == [b]

    def test_the_last_lease_takes_the_artifact_along(self, store: ArtifactStore, harness: object) -> None:
        a = store.store(CONTENT, run_id="a")
        store.store(CONTENT, run_id="b")
        store.delete_by_run("a")
        store.delete_by_run("b")
        assert store.load(a.artifact_id) is None
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_the_anonymous_lease_is_a_lease(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT)
        store.store(CONTENT, run_id="b")
        store.delete_by_run("b")
        assert store.exists(a.artifact_id)
        assert [lease.run_id for lease in store.leases(a.artifact_id)] == [None]
        assert store.release(a.artifact_id, None)
        assert not store.exists(a.artifact_id)

    def test_leases_are_listed_oldest_first(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a", content_type="text/a", tags={"k": "v"}, ttl=100)
        store.store(CONTENT)
        store.store(CONTENT, run_id="b")
        leases = store.leases(a.artifact_id)
        assert [lease.run_id for lease in leases] == ["a", None, "b"]
        assert leases[0].created_at == a.created_at
        assert leases[0].expires_at == a.expires_at
        assert leases[0].content_type == "text/a"
        assert leases[0].tags == {"k": "v"}
        assert store.leases("absent") == []

    def test_storing_again_renews_the_lease_and_its_metadata(self, store: ArtifactStore) -> None:
        first = store.store(CONTENT, run_id="a", tags={"n": "1"}, content_type="text/1")
        second = store.store(CONTENT, run_id="a", tags={"n": "2"}, content_type="text/2")
        assert first.created_at < second.created_at
        assert store.list_by_run("a") == [second]
        assert len(store.leases(first.artifact_id)) == 1

    def test_release_gives_up_one_lease(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a")
        store.store(CONTENT, run_id="b")
        assert store.release(a.artifact_id, "a") is True
        assert store.release(a.artifact_id, "a") is False
        assert store.list_by_run("a") == []
        assert store.exists(a.artifact_id)
        assert store.release(a.artifact_id, "b") is True
        assert not store.exists(a.artifact_id)

    def test_release_of_what_is_not_leased_changes_nothing(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a")
        assert store.release(a.artifact_id, "b") is False
        assert store.release(a.artifact_id, None) is False
        assert store.release("absent", "a") is False
        assert store.exists(a.artifact_id)

    def test_delete_is_for_every_run(self, store: ArtifactStore, harness: object) -> None:
        a = store.store(CONTENT, run_id="a")
        store.store(CONTENT, run_id="b")
        store.store(CONTENT)
        assert store.delete(a.artifact_id)
        assert store.list_by_run("a") == store.list_by_run("b") == []
        assert store.list_runs() == []
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_explicit_and_default_id_of_the_same_content_live_apart(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a")
        store.store(CONTENT, run_id="b", artifact_id="explicit")
        assert store.delete(a.artifact_id)
        assert store.load_text("explicit") == CONTENT.decode()
        store.store(CONTENT, run_id="a")
        assert store.delete("explicit")
        assert store.load_text(a.artifact_id) == CONTENT.decode()

    def test_a_deleted_run_leaves_content_that_an_explicit_id_needs(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a")
        alone = store.store(b"alone", run_id="a")
        store.store(CONTENT, run_id="b", artifact_id="explicit")
        assert store.delete_by_run("a") == 2
        assert not store.exists(a.artifact_id)
        assert not store.exists(alone.artifact_id)
        assert store.load_text("explicit") == CONTENT.decode()

    def test_two_explicit_ids_of_the_same_content_live_apart(self, store: ArtifactStore, harness: object) -> None:
        store.store(CONTENT, run_id="a", artifact_id="one")
        store.store(CONTENT, run_id="b", artifact_id="two")
        assert store.delete_by_run("a") == 1
        assert store.load("one") is None
        assert store.load_text("two") == CONTENT.decode()
        assert store.delete_by_run("b") == 1
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_runs_are_listed(self, store: ArtifactStore) -> None:
        assert store.list_runs() == []
        store.store(b"1", run_id="b")
        store.store(b"2", run_id="a")
        store.store(b"3")
        assert store.list_runs() == ["a", "b"]
        store.delete_by_run("a")
        assert store.list_runs() == ["b"]

    @pytest.mark.parametrize(
        "run",
        ["a:b", "{a}", "*", "a b", "a\nb", "%7Ba%7D", "\N{ADMISSION TICKETS}", "../x", "-", "=", "\x00"],
    )
    def test_any_run_id_works_and_stays_apart(self, store: ArtifactStore, run: str) -> None:
        mine = store.store(CONTENT, run_id=run, tags={run: run})
        other = store.store(CONTENT, run_id=run + "x")
        assert store.list_by_run(run) == [mine]
        assert store.list_runs() == sorted([run, run + "x"])
        assert {lease.run_id for lease in store.leases(mine.artifact_id)} == {run, run + "x"}
        assert store.delete_by_run(run) == 1
        assert store.list_by_run(run + "x") == [other]

    def test_touch_needs_a_live_lease(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a")
        assert store.touch("absent", 10) is False
        assert store.touch(a.artifact_id, 10) is False
        assert store.touch(a.artifact_id, 10, "b") is False
        assert store.touch(a.artifact_id, 10, "a") is True
        [lease] = store.leases(a.artifact_id)
        assert lease.expires_at is not None

    def test_stats_count_what_sharing_saves(self, store: ArtifactStore) -> None:
        store.store(b"x" * 1000, run_id="a")
        store.store(b"x" * 1000, run_id="b")
        store.store(b"y" * 10, run_id="b")
        stats = store.stats()
        assert (stats.artifacts, stats.leases, stats.runs, stats.contents) == (2, 3, 2, 2)
        assert (stats.artifact_bytes, stats.content_bytes) == (2010, 1010)
        assert stats.stored_bytes > 0

    def test_delete_by_run_needs_a_run(self, store: ArtifactStore) -> None:
        stored = store.store(CONTENT)
        with pytest.raises(InvalidArtifactError):
            store.delete_by_run("")
        with pytest.raises(InvalidArtifactError):
            store.delete_by_run(None)  # type: ignore[arg-type]
        assert store.exists(stored.artifact_id)
