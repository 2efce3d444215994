"""`extra`: a run's own metadata beside the tags."""

from __future__ import annotations

from typing import Any

import pytest

from ... import ArtifactMetadata, ArtifactStore, InvalidArtifactError, Lease, Payload

EXTRA: dict[str, Any] = {
    "text": "\N{ADMISSION TICKETS} \x00\n",
    "numbers": [0, -1, 2**70, 0.1, 1e300],
    "nested": {"": [None, True, {"deep": []}]},
}


class Extras:
    def test_each_run_has_its_own(self, store: ArtifactStore) -> None:
        a = store.store(b"x", run_id="a", extra=EXTRA)
        b = store.store(b"x", run_id="b", extra={"n": 2}, tags={"k": "v"})
        assert a.extra == EXTRA
        assert (b.extra, b.tags) == ({"n": 2}, {"k": "v"})
        assert store.get_metadata(a, run_id="a") == a
        assert store.load(a, required=True).metadata == b
        assert store.list_by_run("a") == [a]
        assert store.list_all() == store.metadata_many([a]) == [b]
        assert [lease.extra for lease in store.leases(a)] == [EXTRA, {"n": 2}]
        assert store.check(read_data=True).problems == []

    def test_storing_again_replaces_it(self, store: ArtifactStore) -> None:
        store.store(b"x", artifact_id="name", extra=EXTRA, tags={"k": "v"})
        assert store.store(b"x", artifact_id="name").extra == {}
        assert store.get_metadata("name", required=True).extra == {}

    def test_acquiring_takes_it_along(self, store: ArtifactStore) -> None:
        view = store.store(b"x", run_id="a", extra=EXTRA)
        assert store.find_missing([view], ttl=None, run_id="b") == []
        assert store.get_metadata(view, run_id="b", required=True).extra == EXTRA

    def test_payloads_have_their_own(self, store: ArtifactStore) -> None:
        items: list[bytes | Payload] = [b"a", Payload(b"b", extra={"own": 1}), Payload(b"c" * 100_000, extra={})]
        assert [view.extra for view in store.store_many(items, extra={"all": 1})] == [{"all": 1}, {"own": 1}, {}]

    def test_models_show_it(self, store: ArtifactStore) -> None:
        view = store.store(b"x", extra=EXTRA)
        assert ArtifactMetadata.from_dict(view.to_dict()) == view
        assert ArtifactMetadata.model_validate_json(view.model_dump_json()) == view
        assert Lease.model_validate_json(store.leases(view)[0].model_dump_json()).extra == EXTRA
        assert len({view, view}) == 1

    def test_what_comes_back_is_nobody_elses(self, store: ArtifactStore) -> None:
        given = {"list": [1]}
        view = store.store(b"x", extra=given)
        given["list"].append(2)
        view.extra["list"].append(3)
        found = store.get_metadata(view, required=True)
        assert found.extra == {"list": [1]}
        found.extra["list"].append(4)
        assert store.get_metadata(view, required=True).extra == {"list": [1]}

    def test_what_is_no_json_or_too_much_is_refused(self, store: ArtifactStore, harness: object) -> None:
        cycle: dict[str, Any] = {}
        cycle["self"] = cycle
        deep: list[Any] = []
        for _ in range(31):
            deep = [deep]
        wrongs: list[Any] = [
            [("k", "v")],
            "text",
            1,
            {"bytes": b"x"},
            {"nan": float("nan")},
            {"set": {1}},
            {"surrogate": "\ud800"},
            {"keys": {1: 0, "1": 0}},
            {"long": "x" * 64 * 1024},
            {"deep": deep},
            cycle,
        ]
        for wrong in wrongs:
            with pytest.raises(InvalidArtifactError, match="extra"):
                store.store(b"x", extra=wrong)
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_as_much_as_is_allowed_is_kept(self, store: ArtifactStore) -> None:
        extra = {"long": "x" * (64 * 1024 - len('{"long":""}'))}
        view = store.store(b"x", extra=extra)
        assert store.get_metadata(view, required=True).extra == extra
