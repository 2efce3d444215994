"""Stores that depend on what is there: of several who try at once, one wins."""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ... import ArtifactConflictError, ArtifactMetadata, ArtifactStore, InvalidArtifactError
from ..waiting import eventually

SIZES = [3, 150_000, 400_000]  # in a script, beside it, asked for first; chunked where the suite cuts early


def content(letter: str, size: int) -> bytes:
    """Content of that size."""
    return letter.encode() * size


class Conditions:
    @pytest.mark.parametrize("size", SIZES)
    def test_only_the_first_store_finds_nothing(self, store: ArtifactStore, size: int) -> None:
        first = store.store(content("a", size), artifact_id="name", run_id="a", tags={"n": "1"}, if_absent=True)
        assert store.get_metadata("name") == first
        for letter in "ab":  # the same content is no excuse
            with pytest.raises(ArtifactConflictError, match="name") as caught:
                store.store(content(letter, size), artifact_id="name", run_id="a", if_absent=True)
            assert caught.value.metadata == first
            assert not caught.value.transient
        assert store.load("name", required=True).content == content("a", size)
        assert store.leases("name")[0].tags == {"n": "1"}

    @pytest.mark.parametrize("size", SIZES)
    def test_what_is_there_is_replaced_only_if_it_is_that(
        self, store: ArtifactStore, harness: object, size: int
    ) -> None:
        first = store.store(content("a", size), artifact_id="name", run_id="a")
        second = store.store(content("b", size), artifact_id="name", run_id="b", if_digest=first.digest)
        assert store.load("name", required=True).content == content("b", size)
        for letter in "ac":
            with pytest.raises(ArtifactConflictError) as caught:
                store.store(content(letter, size), artifact_id="name", run_id="a", if_digest=first.digest)
            assert caught.value.metadata == second
        third = store.store(content("b", size), artifact_id="name", run_id="c", if_digest=second.digest)
        assert [lease.run_id for lease in store.leases("name")] == ["b", "c"]
        assert store.get_metadata("name") == third
        assert store.delete("name")
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_nothing_is_replaced_where_nothing_is(self, store: ArtifactStore, harness: object) -> None:
        with pytest.raises(ArtifactConflictError, match="no artifact name") as caught:
            store.store(b"new", artifact_id="name", if_digest="0" * 64)
        assert caught.value.metadata is None
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    @pytest.mark.parametrize("size", [3, 400_000])
    def test_files_obey_conditions(self, store: ArtifactStore, size: int) -> None:
        a, b = content("a", size), content("b", size)
        first = store.store_file(io.BytesIO(a), artifact_id="name", run_id="a", if_absent=True)
        for data in (a, b):
            with pytest.raises(ArtifactConflictError) as caught:
                store.store_file(io.BytesIO(data), artifact_id="name", if_absent=True)
            assert caught.value.metadata == first
        second = store.store_file(io.BytesIO(b), artifact_id="name", if_digest=first.digest)
        with pytest.raises(ArtifactConflictError) as caught:
            store.store_file(io.BytesIO(a), artifact_id="name", if_digest=first.digest)
        assert caught.value.metadata == second
        assert store.load("name", required=True).content == b
        assert store.check(read_data=True).problems == []

    def test_a_default_id_is_absent_while_nobody_holds_it(self, store: ArtifactStore) -> None:
        first = store.store(b"content", run_id="a", if_absent=True)
        with pytest.raises(ArtifactConflictError) as caught:
            store.store(b"content", run_id="b", if_absent=True)
        assert caught.value.metadata == first
        assert [lease.run_id for lease in store.leases(first)] == ["a"]
        store.store(b"content", run_id="b", if_digest=first.digest)
        assert store.delete(first)
        with pytest.raises(ArtifactConflictError):
            store.store(b"content", run_id="b", if_digest=first.digest)
        assert store.store(b"content", run_id="b", if_absent=True).run_id == "b"

    def test_what_was_deleted_or_has_expired_is_absent(self, store: ArtifactStore) -> None:
        store.store(b"one", artifact_id="name", if_absent=True)
        store.release("name", None)
        store.store(b"two", artifact_id="name", run_id="a", ttl=0.05, if_absent=True)
        eventually(lambda: store.get_metadata("name") is None)
        store.store(b"three", artifact_id="name", run_id="b", if_absent=True)
        assert store.load_text("name") == "three"
        assert store.list_by_run("a") == []

    def test_text_and_json_take_conditions(self, store: ArtifactStore) -> None:
        store.store_text("x", artifact_id="name", if_absent=True)
        view = store.get_metadata("name", required=True)
        store.store_json([1], artifact_id="name", if_digest=view.digest)
        assert store.load_json("name") == [1]

    @pytest.mark.parametrize("size", [3, 400_000])
    def test_of_many_at_once_one_wins(self, store: ArtifactStore, harness: object, size: int) -> None:
        stores: list[ArtifactStore] = [store, harness.open(), harness.open()]  # type: ignore[attr-defined]

        def tries(n: int) -> ArtifactMetadata | None:
            try:
                return stores[n].store(content("aab"[n], size), artifact_id="name", run_id="a", if_absent=True)
            except ArtifactConflictError as error:
                assert error.metadata is not None
                return None

        won = [view for view in at_once(tries, 3) if view is not None]
        assert won == [store.get_metadata("name")]

    def test_no_update_is_lost(self, store: ArtifactStore, harness: object) -> None:
        stores = [store, harness.open(), harness.open()]  # type: ignore[attr-defined]
        store.store_text("", artifact_id="log")

        def append(n: int) -> None:
            added = False
            while not added:
                found = stores[n].load("log", required=True)
                try:
                    text = found.as_text() + f"{n};"
                    stores[n].store_text(text, artifact_id="log", if_digest=found.metadata.digest)
                    added = True
                except ArtifactConflictError:
                    pass

        for _ in range(3):
            at_once(append, 3)
        text = store.load_text("log")
        assert text is not None
        assert sorted(text.split(";")) == ["", *"000111222"]

    def test_conditions_that_make_no_sense_are_refused(self, store: ArtifactStore, harness: object) -> None:
        wrongs: list[dict[str, Any]] = [
            {"if_absent": 1},
            {"if_absent": None},
            {"if_digest": b"0" * 64},
            {"if_digest": "0" * 32},
            {"if_digest": "A" * 64},
            {"if_digest": "0" * 64 + "\n"},
            {"if_absent": True, "if_digest": "0" * 64},
        ]
        for wrong in wrongs:
            with pytest.raises(InvalidArtifactError, match="if_"):
                store.store(b"x", artifact_id="name", **wrong)
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_the_error_can_be_sent_to_another_process(self, store: ArtifactStore) -> None:
        store.store(b"x", artifact_id="name")
        with pytest.raises(ArtifactConflictError) as caught:
            store.store(b"x", artifact_id="name", if_absent=True)
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # our own
        assert (again.metadata, str(again)) == (caught.value.metadata, str(caught.value))


def at_once(call: Callable[[int], Any], count: int) -> list[Any]:
    """What a function returns for 0, 1, …, each in a thread of its own."""
    results: list[Any] = [None] * count
    failed: list[BaseException] = []

    def work(n: int) -> None:
        try:
            results[n] = call(n)
        except BaseException as error:  # noqa: BLE001  # raised below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in failed:
        raise error
    return results
