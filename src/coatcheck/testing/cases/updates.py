"""`update_metadata`: what a lease says changes, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from ... import ArtifactStore, InvalidArtifactError
from ..waiting import eventually
from .conditions import at_once
from .expiry import LONG


class Updates:
    def test_only_what_is_given_changes(self, store: ArtifactStore) -> None:
        before = store.store(b"x", run_id="a", content_type="text/x", tags={"k": "1", "l": "2"}, ttl=LONG)
        after = store.update_metadata(before, run_id="a", tags={"l": "3", "m": "4"})
        expected = before.model_copy(update={"tags": {"k": "1", "l": "3", "m": "4"}})
        assert after == expected
        assert store.get_metadata(before) == store.get_metadata(before, run_id="a") == expected
        assert store.list_by_run("a") == store.list_all() == [expected]
        after = store.update_metadata(before, run_id="a", extra={"n": [1]}, content_type="text/y")
        expected = expected.model_copy(update={"extra": {"n": [1]}, "content_type": "text/y"})
        assert after == expected
        after = store.update_metadata(before, run_id="a", extra={"o": {"p": None}})
        assert after == expected.model_copy(update={"extra": {"n": [1], "o": {"p": None}}})
        assert store.load_text(before) == "x"
        assert store.check(read_data=True).problems == []

    def test_mappings_can_be_replaced(self, store: ArtifactStore) -> None:
        view = store.store(b"x", artifact_id="name", tags={"k": "1"}, extra={"n": 1})
        after = store.update_metadata("name", tags={"l": "2"}, replace=True)
        assert after == view.model_copy(update={"tags": {"l": "2"}})
        after = store.update_metadata("name", tags={}, extra={}, replace=True)
        assert after == view.model_copy(update={"tags": {}, "extra": {}})
        assert store.get_metadata("name") == after

    def test_functions_make_the_new_of_the_old(self, store: ArtifactStore) -> None:
        view = store.store(b"x", tags={"k": "1", "l": "2"}, extra={"n": [1]})
        after = store.update_metadata(
            view,
            tags=lambda tags: {name: value for name, value in tags.items() if name != "k"},
            extra=lambda extra: {"n": [*extra["n"], 2]},
        )
        assert after == view.model_copy(update={"tags": {"l": "2"}, "extra": {"n": [1, 2]}})
        assert store.get_metadata(view) == after

    def test_each_lease_is_changed_for_itself(self, store: ArtifactStore) -> None:
        store.store(b"x", run_id="a", tags={"k": "a"})
        view = store.store(b"x", tags={"k": "-"})
        b = store.store(b"x", run_id="b", tags={"k": "b"})
        assert store.update_metadata(view, run_id="c", tags={}) is None
        assert store.update_metadata("absent", tags={}) is None
        assert store.update_metadata(view, tags={"l": "1"}) == view.model_copy(update={"tags": {"k": "-", "l": "1"}})
        assert store.get_metadata(view) == b
        assert [lease.tags for lease in store.leases(view)] == [{"k": "a"}, {"k": "-", "l": "1"}, {"k": "b"}]

    def test_a_lease_that_has_ended_is_none(self, store: ArtifactStore) -> None:
        view = store.store(b"x", run_id="a", ttl=0.05)
        store.store(b"x", run_id="b")
        eventually(lambda: len(store.leases(view)) == 1)
        assert store.update_metadata(view, run_id="a", tags={}) is None

    def test_many_at_a_time(self, store: ArtifactStore) -> None:
        views = store.store_many([b"a", b"b", b"c" * 150_000], run_id="a", tags={"k": "1"})
        ids: list[Any] = [views[2], "absent", views[0].ref, views[2].artifact_id]
        after = store.update_many(ids, run_id="a", tags={"l": "2"})
        both = {"tags": {"k": "1", "l": "2"}}
        assert after == [views[2].model_copy(update=both), None, views[0].model_copy(update=both), after[0]]
        assert store.get_metadata(views[1]) == views[1]
        assert store.update_many([], tags={}) == []

    def test_no_update_of_many_at_once_is_lost(self, store: ArtifactStore, harness: object) -> None:
        stores = [store, harness.open(), harness.open()]  # type: ignore[attr-defined]
        store.store(b"x", artifact_id="name", run_id="a", extra={"count": 0})

        def count(n: int) -> None:
            for _ in range(5):
                stores[n].update_metadata("name", run_id="a", extra=lambda extra: {"count": extra["count"] + 1})

        at_once(count, 3)
        assert store.get_metadata("name", required=True).extra == {"count": 15}

    def test_a_function_that_fails_changes_nothing(self, store: ArtifactStore) -> None:
        view = store.store(b"x", tags={"k": "1"})
        for wrong in (KeyError, TypeError):

            def fail(old: dict[str, str], wrong: type[Exception] = wrong) -> dict[str, str]:
                raise wrong(old)

            with pytest.raises(wrong):
                store.update_metadata(view, tags=fail)
        assert store.get_metadata(view) == view

    def test_what_fails_for_one_of_many_changes_none(self, store: ArtifactStore) -> None:
        few, many = store.store(b"few", tags={"k": "1"}), store.store(b"many", tags={str(n): "" for n in range(256)})

        def fail(old: dict[str, str]) -> dict[str, str]:
            return {"l": old["k"]}

        with pytest.raises(KeyError):
            store.update_many([few, many], tags=fail)
        with pytest.raises(InvalidArtifactError, match="tags"):  # one too many
            store.update_many([few, many], tags={"l": "2"})
        assert store.metadata_many([few, many]) == [few, many]

    def test_what_makes_no_sense_is_refused(self, store: ArtifactStore) -> None:
        view = store.store(b"x", tags={"own": "1"}, extra={"own": 1})
        wrongs: list[dict[str, Any]] = [
            {},
            {"tags": 1},
            {"tags": [("k", "v")]},
            {"tags": {"k": 1}},
            {"tags": lambda _: None},
            {"tags": lambda _: {"k": 1}},
            {"tags": {str(n): "" for n in range(256)}},  # too many together
            {"extra": 1},
            {"extra": {"n": b""}},
            {"extra": lambda extra: [extra]},
            {"extra": {"n": "x" * 65_525}},
            {"content_type": "\n"},
            {"content_type": 1},
            {"tags": {}, "replace": None},
            {"tags": {}, "run_id": ""},
        ]
        for wrong in wrongs:
            with pytest.raises(InvalidArtifactError):
                store.update_metadata(view, **wrong)
            with pytest.raises(InvalidArtifactError):
                store.update_many([view], **wrong)
        assert store.get_metadata(view) == view
