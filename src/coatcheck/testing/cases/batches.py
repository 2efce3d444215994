"""Batches: order kept, all checked before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ... import ArtifactStore, InvalidArtifactError, Payload, compute_artifact_id


class Batches:
    def test_store_many_keeps_the_order(self, store: ArtifactStore) -> None:
        contents = [b"c", b"a", b"b" * 70_000]
        stored = store.store_many(contents, run_id="run", tags={"k": "v"}, content_type="text/x", ttl=60)
        assert [view.artifact_id for view in stored] == [compute_artifact_id(content) for content in contents]
        assert all(view.tags == {"k": "v"} and view.content_type == "text/x" for view in stored)
        assert all(view.run_id == "run" and view.expires_at is not None for view in stored)

    @pytest.mark.parametrize("wrap", [lambda view: view, Payload])
    def test_each_item_is_stored_as_it_was_handed_over(self, store: ArtifactStore, wrap: Callable[..., object]) -> None:
        def records() -> Iterator[Any]:
            buffer = bytearray(200_000)
            for n in range(3):
                buffer[:1] = b"%d" % n
                yield wrap(memoryview(buffer))

        stored = store.store_many(records())
        loaded = store.load_many([view.artifact_id for view in stored])
        assert [artifact and artifact.content[:1] for artifact in loaded] == [b"0", b"1", b"2"]

    def test_payloads_bring_their_own_metadata(self, store: ArtifactStore) -> None:
        first, second = store.store_many(
            [Payload(b"1", content_type="text/1", tags={"n": "1"}, artifact_id="one", ttl=None), b"2"],
            content_type="text/x",
            ttl=60,
        )
        assert (first.artifact_id, first.content_type, first.tags) == ("one", "text/1", {"n": "1"})
        assert first.expires_at is None
        assert (second.content_type, second.tags) == ("text/x", {})
        assert second.expires_at is not None

    def test_duplicates_in_a_batch_are_one_artifact(self, store: ArtifactStore) -> None:
        first, second = store.store_many([b"same", b"same"], run_id="run")
        assert first.artifact_id == second.artifact_id
        assert len(store.list_by_run("run")) == 1

    def test_the_last_of_several_contents_for_one_id_wins(self, store: ArtifactStore) -> None:
        large = b"large" * 20_000
        for contents in ([b"1", large, b"2"], [large, b"1", large], [b"1", b"1", large]):
            stored = store.store_many([Payload(content, artifact_id="name") for content in contents])
            assert [view.size_bytes for view in stored] == [len(content) for content in contents]
            assert store.load_text("name") == contents[-1].decode()

    def test_a_bad_item_fails_before_anything_is_stored(self, store: ArtifactStore, harness: object) -> None:
        with pytest.raises(InvalidArtifactError):
            store.store_many([b"good", "not bytes"])  # type: ignore[list-item]
        with pytest.raises(InvalidArtifactError):
            store.store_many([b"good", Payload(b"x", artifact_id="not/valid")])
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_load_many_answers_in_order(self, store: ArtifactStore) -> None:
        a, b = store.store_many([b"a", b"b" * 70_000])
        named = store.store(b"n", artifact_id="named")
        ids = [b.artifact_id, "absent", named.artifact_id, a.artifact_id, b.artifact_id]
        loaded = store.load_many(ids)
        assert [artifact and artifact.content for artifact in loaded] == [
            b"b" * 70_000,
            None,
            b"n",
            b"a",
            b"b" * 70_000,
        ]
        assert loaded[0] is not None
        assert loaded[0].metadata == b

    def test_metadata_many_answers_in_order(self, store: ArtifactStore) -> None:
        a, b = store.store_many([b"a", b"b"])
        assert store.metadata_many([b.artifact_id, "absent", a.artifact_id]) == [b, None, a]

    def test_leases_many_answers_in_order(self, store: ArtifactStore) -> None:
        a, b = store.store_many([b"a", b"b"], run_id="one")
        store.store(b"a", run_id="two", ttl=60)
        named = store.store(b"n", artifact_id="named")
        ids = [named.artifact_id, "absent", a.artifact_id, b.artifact_id, named.artifact_id]
        assert store.leases_many(ids) == [store.leases(artifact_id) for artifact_id in ids]
        assert [[lease.run_id for lease in leases] for leases in store.leases_many(ids)] == [
            *([None], [], ["one", "two"], ["one"], [None])
        ]

    def test_find_missing_names_each_once(self, store: ArtifactStore) -> None:
        a = store.store(b"a")
        named = store.store(b"n", artifact_id="named")
        ids = ["x", a.artifact_id, "y", "x", named.artifact_id]
        assert store.find_missing(ids) == ["x", "y"]

    def test_delete_many_answers_in_order(self, store: ArtifactStore, harness: object) -> None:
        a, b = store.store_many([b"a", b"b" * 70_000], run_id="run")
        named = store.store(b"a", artifact_id="named", run_id="other")
        kept = store.store(b"kept", run_id="run")
        ids = [b.artifact_id, "absent", a.artifact_id, b.artifact_id, "absent"]
        assert store.delete_many(ids) == [True, False, True, True, False]
        assert store.delete_many(ids) == [False] * 5
        assert store.load_text("named") == "a"
        assert store.list_by_run("run") == [kept]
        assert store.delete_many(iter([named.artifact_id, kept.artifact_id])) == [True, True]
        assert store.list_all() == []
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_a_bad_id_fails_before_anything_is_deleted(self, store: ArtifactStore) -> None:
        a = store.store(b"a")
        for bad in ("not/valid", "", None):
            with pytest.raises(InvalidArtifactError):
                store.delete_many([a.artifact_id, bad])  # type: ignore[list-item]
        with pytest.raises(InvalidArtifactError, match="iterable"):
            store.delete_many(a.artifact_id)
        assert store.exists(a.artifact_id)

    def test_batches_of_more_than_a_page(self, store: ArtifactStore, harness: object) -> None:
        contents = [b"%d" % n for n in range(1100)]
        ids = [view.artifact_id for view in store.store_many(contents, run_id="run")]
        assert [artifact and artifact.content for artifact in store.load_many(ids)] == contents
        assert store.find_missing([*ids, "absent"]) == ["absent"]
        assert store.delete_many(ids[::2]) == [True] * 550
        assert store.find_missing(ids, ttl=60, run_id="other") == ids[::2]
        assert len(store.list_by_run("other")) == 550
        assert store.delete_many(ids) == [False, True] * 550
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_empty_batches(self, store: ArtifactStore) -> None:
        assert store.store_many([]) == []
        assert store.load_many([]) == []
        assert store.metadata_many([]) == []
        assert store.leases_many([]) == []
        assert store.find_missing([]) == []
        assert store.find_missing([], ttl=60, run_id="run") == []
        assert store.delete_many([]) == []

    def test_generators_are_batches(self, store: ArtifactStore) -> None:
        stored = store.store_many(b"%d" % n for n in range(3))
        assert len(store.load_many(view.artifact_id for view in stored)) == 3
        assert store.find_missing(view.artifact_id for view in stored) == []

    def test_one_string_is_not_a_batch_of_ids(self, store: ArtifactStore) -> None:
        with pytest.raises(InvalidArtifactError, match="iterable"):
            store.load_many("abc")
