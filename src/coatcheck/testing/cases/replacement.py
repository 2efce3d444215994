"""Explicit ids with other content: last write wins. Content-addressed ids: never other content."""

from __future__ import annotations

import io

import pytest

from ... import ArtifactStore, InvalidArtifactError, Payload, compute_artifact_id
from ..waiting import eventually


class Replacement:
    def test_the_last_write_wins_for_everybody(self, store: ArtifactStore) -> None:
        store.store(b"old", artifact_id="name", run_id="a", tags={"n": "1"})
        store.store(b"old", artifact_id="name", run_id="b")
        new = store.store(b"new", artifact_id="name", run_id="c", tags={"n": "2"})
        loaded = store.load("name")
        assert loaded is not None
        assert (loaded.content, loaded.metadata) == (b"new", new)

    def test_the_old_leases_end_with_the_old_content(self, store: ArtifactStore) -> None:
        store.store(b"old", artifact_id="name", run_id="a")
        store.store(b"old", artifact_id="name", run_id="b")
        new = store.store(b"new", artifact_id="name", run_id="b")
        assert [lease.run_id for lease in store.leases("name")] == ["b"]
        assert store.list_by_run("a") == []
        assert store.list_by_run("b") == [new]
        assert store.list_runs() == ["b"]
        assert store.delete_by_run("a") == 0
        assert store.load_text("name") == "new"

    def test_the_old_content_goes_when_nobody_else_needs_it(self, store: ArtifactStore, harness: object) -> None:
        store.store(b"old" * 100_000, artifact_id="name", run_id="a")
        store.store(b"new" * 100_000, artifact_id="name", run_id="a")
        assert store.stats().contents == 1
        assert store.delete("name")
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_the_old_content_stays_under_its_other_names(self, store: ArtifactStore) -> None:
        default = store.store(b"old", run_id="a")
        store.store(b"old", artifact_id="name", run_id="a")
        store.store(b"old", artifact_id="other", run_id="a")
        store.store(b"new", artifact_id="name", run_id="a")
        assert store.load_text(default.artifact_id) == "old"
        assert store.load_text("other") == "old"
        assert store.load_text("name") == "new"

    def test_a_replaced_artifact_may_get_a_shorter_life(self, store: ArtifactStore, harness: object) -> None:
        store.store(b"old", artifact_id="name", run_id="a", ttl=None)
        store.store(b"new", artifact_id="name", run_id="a", ttl=0.08)
        eventually(lambda: not store.list_all() and not harness.leftovers())  # type: ignore[attr-defined]

    def test_replaced_there_and_back(self, store: ArtifactStore) -> None:
        for content in (b"one", b"two", b"one", b"one", b"three"):
            store.store(content, artifact_id="name", run_id="a")
            assert store.load_text("name") == content.decode()
        assert len(store.list_all()) == 1

    def test_a_content_addressed_artifact_is_not_replaced(self, store: ArtifactStore) -> None:
        stored = store.store(b"content", run_id="a")
        with pytest.raises(InvalidArtifactError, match=stored.artifact_id):
            store.store(b"other", artifact_id=stored.artifact_id, run_id="b")
        assert store.load_text(stored.artifact_id) == "content"
        assert [lease.run_id for lease in store.leases(stored.artifact_id)] == ["a"]

    def test_an_explicit_id_that_is_the_hash_of_other_content_is_refused(self, store: ArtifactStore) -> None:
        taken = compute_artifact_id(b"content")
        for attempt in (
            lambda: store.store(b"other", artifact_id=taken),
            lambda: store.store_many([b"fine", Payload(b"other", artifact_id=taken)]),
            lambda: store.store_file(io.BytesIO(b"other"), artifact_id=taken),
        ):
            with pytest.raises(InvalidArtifactError, match=taken):
                attempt()
        assert store.list_all() == []
        assert store.store(b"content").artifact_id == taken

    def test_an_explicit_id_may_equal_the_default_one(self, store: ArtifactStore) -> None:
        name = compute_artifact_id(b"content")
        store.store(b"content", artifact_id=name, run_id="a")
        store.store(b"content", run_id="b")
        assert [lease.run_id for lease in store.leases(name)] == ["a", "b"]
