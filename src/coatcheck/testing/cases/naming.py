"""What stands for an artifact, what has to be there, and how one run sees it."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ... import (
    ArtifactMetadata,
    ArtifactNotFoundError,
    ArtifactStore,
    InvalidArtifactError,
    Payload,
    StoreClosedError,
    artifact_ref,
    compute_artifact_id,
    get_artifact_id,
    is_artifact_ref,
    resolve_artifact,
)
from ..waiting import eventually

NO_TICKETS: list[Any] = [
    "abc",
    b"abc",
    None,
    5,
    {"artifact": "x"},
    {"$artifact": 5},
    {"$artifact": "../x"},
    ["$artifact"],
]


class Naming:
    def test_a_ticket_or_metadata_will_do_for_an_id(self, store: ArtifactStore) -> None:
        named = store.store(b"content", artifact_id="name", run_id="a", ttl=600)
        default = store.store(b"content", run_id="a")
        for view in (named, default):
            for name in (view, view.ref, {**view.ref, "preview": "…"}):
                assert store.get_metadata(name) == view
                assert [
                    artifact and artifact.metadata for artifact in (store.load(name), store.load_many([name])[0])
                ] == [
                    view,
                    view,
                ]
                assert store.load_text(name) == store.load_range(name, 0).decode() == "content"  # type: ignore[union-attr]
                with store.open(name, required=True) as reader:
                    assert reader.metadata == view
                assert store.exists(name)
                assert store.metadata_many([name, view.artifact_id]) == [view, view]
                assert store.find_missing([name]) == []
                assert store.find_missing([name], ttl=60, run_id="b") == []
                assert store.touch(name, 500, "b")
                assert len(store.leases(name)) == 2
                assert store.release(name, "b")
        assert store.store(b"new", artifact_id=named.ref, run_id="a").artifact_id == "name"
        assert store.store_many([Payload(b"newer", artifact_id=named)], run_id="a")[0].artifact_id == "name"
        assert store.delete(named)
        assert store.delete_many([default.ref, default, named]) == [True, True, False]

    def test_tickets_are_told_from_everything_else(self, store: ArtifactStore) -> None:
        stored = store.store(b"payload")
        assert artifact_ref(stored) == artifact_ref(stored.ref) == stored.ref == {"$artifact": stored.artifact_id}
        assert is_artifact_ref({**stored.ref, "preview": "…"})
        for value in NO_TICKETS:
            for refuse in (get_artifact_id, lambda value: resolve_artifact(value, store)):
                with pytest.raises(InvalidArtifactError):
                    refuse(value)
            if value != "abc":
                for call in (artifact_ref, store.load, store.delete, lambda value: store.find_missing([value])):
                    with pytest.raises(InvalidArtifactError):
                        call(value)
        with pytest.raises(InvalidArtifactError, match="not a ticket"):
            resolve_artifact(store, stored.ref)  # type: ignore[call-overload]  # the wrong way round
        for one in (stored, stored.ref):
            with pytest.raises(InvalidArtifactError, match="iterable"):
                store.load_many(one)  # type: ignore[arg-type]

    def test_what_is_required_is_there_or_raises(self, store: ArtifactStore) -> None:
        stored = store.store(b"payload", run_id="a")
        assert store.load(stored, required=True).content == b"payload"
        assert store.get_metadata(stored, required=True) == stored
        assert resolve_artifact(stored.ref, store, required=True).metadata == stored
        gone = compute_artifact_id(b"other")
        for call in (
            lambda: store.load(gone, required=True),
            lambda: store.get_metadata(gone, required=True),
            lambda: store.open(gone, required=True),
            lambda: resolve_artifact(artifact_ref(gone), store, required=True),
            lambda: store.load(gone, run_id="a", required=True),
        ):
            with pytest.raises(ArtifactNotFoundError, match=gone) as caught:
                call()
            assert isinstance(caught.value, LookupError)
            assert not caught.value.transient
        with pytest.raises(ArtifactNotFoundError, match="run 'b'"):
            store.get_metadata(stored, run_id="b", required=True)

    @pytest.mark.parametrize("size", [7, 70_000])
    @pytest.mark.parametrize("artifact_id", [None, "name"])
    def test_a_run_sees_what_it_said_itself(self, store: ArtifactStore, artifact_id: str | None, size: int) -> None:
        content = bytes(size)
        mine = store.store(
            content, run_id="a", content_type="text/a", tags={"of": "a"}, artifact_id=artifact_id, ttl=60
        )
        others = store.store(content, run_id="b", content_type="text/b", artifact_id=artifact_id)
        name = mine.artifact_id
        for view, run in ((mine, "a"), (others, "b")):
            assert store.get_metadata(name, run_id=run) == view
            loaded = store.load(name, run_id=run, required=True)
            assert (loaded.metadata, loaded.content) == (view, content)
        assert store.get_metadata(name) == others
        assert store.load(name, run_id="c") is None
        assert store.get_metadata("absent", run_id="a") is None
        with pytest.raises(InvalidArtifactError, match="run_id"):
            store.load(name, run_id="")
        assert store.touch(name, 0.05, "a")
        eventually(lambda: store.load(name, run_id="a") is None)
        assert store.get_metadata(name, run_id="a") is None
        assert store.get_metadata(name, run_id="b") == others

    def test_times_are_datetimes_too(self, store: ArtifactStore) -> None:
        stored = store.store(b"payload", run_id="a", ttl=60)
        for view in (stored, store.leases(stored)[0]):
            assert view.created.isoformat(timespec="microseconds") == view.created_at
            assert view.created.utcoffset() == timedelta(0)
            assert view.expires is not None
            assert timedelta(seconds=59) < view.expires - view.created < timedelta(seconds=61)
        assert store.store(b"payload", ttl=None).expires is None
        assert ArtifactMetadata.from_dict({**stored.to_dict(), "created_at": "2025-01-01"}).created == datetime(
            2025, 1, 1, tzinfo=UTC
        )

    def test_results_can_be_members_of_sets(self, store: ArtifactStore) -> None:
        stored = store.store(b"payload", tags={"k": "v"})
        assert {stored, store.get_metadata(stored), copy.deepcopy(stored)} == {stored}
        assert len({store.load(stored), *store.leases(stored), store.stats(), store.check()}) == 4

    def test_reprs_are_short_and_show_no_content(self, store: ArtifactStore) -> None:
        stored = store.store(b"secret" * 1000)
        shown = repr(store.load(stored))
        assert shown == str(store.load(stored))
        assert shown == f"Artifact('{stored.artifact_id}', 'application/octet-stream', 6000 bytes)"

    def test_a_closed_store_says_so(self, harness: object) -> None:
        store: ArtifactStore = harness.open()  # type: ignore[attr-defined]
        store.close()
        with pytest.raises(StoreClosedError, match="closed") as caught:
            store.load("name")
        assert not caught.value.transient
        harness.close()  # type: ignore[attr-defined]
