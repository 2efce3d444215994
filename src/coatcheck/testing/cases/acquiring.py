"""`find_missing` with a TTL: what is there already stays there."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ... import DEFAULT, ArtifactStore, InvalidArtifactError
from ..waiting import eventually
from .expiry import LONG, SHORT, seconds

CONTENT = b"content that is there already"


class Acquiring:
    def test_without_a_ttl_no_lease_is_taken(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a", ttl=LONG)
        assert store.find_missing([a.artifact_id, "absent"]) == ["absent"]
        assert store.find_missing([a.artifact_id], ttl=DEFAULT) == []
        assert [lease.run_id for lease in store.leases(a.artifact_id)] == ["a"]

    def test_acquiring_takes_a_lease_on_what_is_there(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a", content_type="text/a", tags={"n": "1"}, ttl=LONG)
        named = store.store(CONTENT, artifact_id="named", tags={"n": "2"})
        ids = ["absent", a.artifact_id, named.artifact_id, a.artifact_id, "absent"]
        assert store.find_missing(ids, ttl=10 * LONG, run_id="b") == ["absent"]
        assert store.leases("absent") == []
        mine = {view.artifact_id: view for view in store.list_by_run("b")}
        assert set(mine) == {a.artifact_id, "named"}
        of_a = mine[a.artifact_id]
        assert (of_a.content_type, of_a.tags, of_a.digest, of_a.size_bytes) == (
            "text/a",
            {"n": "1"},
            a.digest,
            len(CONTENT),
        )
        assert seconds(of_a) == pytest.approx(10 * LONG, abs=0.01)
        assert of_a.created_at > a.created_at
        assert mine["named"].tags == {"n": "2"}
        assert store.get_metadata(a.artifact_id) == of_a
        assert store.list_by_run("a") == [a]
        assert store.list_runs() == ["a", "b"]
        assert [lease.run_id for lease in store.leases(a.artifact_id)] == ["a", "b"]
        assert of_a in store.list_all()

    def test_what_was_acquired_stays(self, store: ArtifactStore, harness: object) -> None:
        a = store.store(CONTENT, run_id="a", ttl=1)
        store.store(b"named", run_id="a", artifact_id="named", ttl=1)
        large = store.store(CONTENT * 10_000, run_id="a", ttl=1)
        ids = [a.artifact_id, "named", large.artifact_id]
        assert store.find_missing(ids, ttl=LONG, run_id="b") == []
        eventually(lambda: store.list_by_run("a") == [])
        assert store.load_text(a.artifact_id) == CONTENT.decode()
        assert store.load_text("named") == "named"
        assert store.load_text(large.artifact_id) == CONTENT.decode() * 10_000
        assert store.list_runs() == ["b"]
        assert {view.artifact_id for view in store.list_all()} == set(ids)
        assert store.check(read_data=True).problems == []
        assert store.delete_by_run("b") == 3
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_an_acquired_lease_ends_with_its_ttl(self, store: ArtifactStore, harness: object) -> None:
        a = store.store(CONTENT, run_id="a")
        named = store.store(CONTENT, artifact_id="named")
        assert store.find_missing([a.artifact_id, "named"], ttl=SHORT, run_id="b") == []
        eventually(lambda: store.list_by_run("b") == [])
        assert store.list_runs() == ["a"]
        assert store.get_metadata(a.artifact_id) == a
        assert store.get_metadata("named") == named
        assert store.release(a.artifact_id, "a")
        assert store.find_missing([a.artifact_id, "named"], ttl=SHORT) == [a.artifact_id]
        assert store.touch("named", SHORT)
        eventually(lambda: not store.list_all() and not harness.leftovers())  # type: ignore[attr-defined]

    def test_everything_that_was_acquired_ends(self, store: ArtifactStore, harness: object) -> None:
        a = store.store(CONTENT, run_id="a", ttl=SHORT)
        store.store(CONTENT, run_id="a", artifact_id="named", ttl=SHORT)
        store.find_missing([a.artifact_id, "named"], ttl=4 * SHORT, run_id="b")
        eventually(lambda: not store.list_all() and not harness.leftovers())  # type: ignore[attr-defined]

    def test_acquiring_extends_the_runs_own_lease(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a", tags={"n": "1"}, content_type="text/a", ttl=LONG)
        b = store.store(CONTENT, run_id="b", tags={"n": "2"}, ttl=LONG)
        assert store.find_missing([a.artifact_id], ttl=10 * LONG, run_id="a") == []
        [mine] = store.list_by_run("a")
        assert (mine.created_at, mine.tags, mine.content_type) == (a.created_at, a.tags, a.content_type)
        assert (mine.expires_at or "") > (a.expires_at or "")
        assert seconds(mine) == pytest.approx(10 * LONG, rel=0.05)
        assert store.get_metadata(a.artifact_id) == b  # still the latest store
        assert store.list_all() == [b]
        assert store.check().problems == []

    def test_acquiring_for_another_run_is_the_latest_store(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a", tags={"n": "1"}, ttl=LONG)
        store.store(CONTENT, run_id="b", tags={"n": "2"}, ttl=LONG)
        other = store.store(b"other")
        assert store.find_missing([a.artifact_id], ttl=None, run_id="a") == []  # its lease: not stored again
        assert store.list_all(limit=1) == [other]
        assert store.find_missing([a.artifact_id], ttl=LONG, run_id="c") == []
        latest = store.get_metadata(a.artifact_id)
        assert latest is not None
        assert (latest.run_id, latest.tags) == ("c", {"n": "2"})
        assert store.list_all(limit=1) == [latest]
        assert store.release(a.artifact_id, "c")
        assert store.list_all(limit=1) == [other]

    def test_acquiring_never_shortens(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a", ttl=LONG)
        b = store.store(CONTENT, run_id="b", ttl=None)
        for run in ("a", "b", "c"):
            assert store.find_missing([a.artifact_id], ttl=1, run_id=run) == []
        assert store.list_by_run("a") == [a]
        assert store.list_by_run("b") == [b]
        assert store.check().problems == []
        assert store.find_missing([a.artifact_id], ttl=None, run_id="a") == []
        assert store.list_by_run("a")[0].expires_at is None

    def test_an_anonymous_lease_can_be_acquired_too(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a")
        assert store.find_missing([a.artifact_id], ttl=LONG) == []
        store.delete_by_run("a")
        assert store.exists(a.artifact_id)
        assert [lease.run_id for lease in store.leases(a.artifact_id)] == [None]
        assert store.list_runs() == []

    def test_acquiring_can_be_repeated(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, ttl=LONG)
        assert store.find_missing([a.artifact_id], ttl=LONG, run_id="b") == []
        [first] = store.list_by_run("b")
        assert store.find_missing([a.artifact_id], ttl=LONG, run_id="b") == []
        [again] = store.list_by_run("b")
        assert (again.created_at, again.tags) == (first.created_at, first.tags)
        assert again.expires_at is not None
        assert again.expires_at >= (first.expires_at or "")
        assert len(store.leases(a.artifact_id)) == 2

    @pytest.mark.parametrize("ttl", [0, -1, math.nan, "60", True])
    def test_what_is_acquired_is_checked(self, store: ArtifactStore, ttl: Any) -> None:
        a = store.store(CONTENT)
        with pytest.raises(InvalidArtifactError, match="ttl"):
            store.find_missing([a.artifact_id], ttl=ttl, run_id="b")
        with pytest.raises(InvalidArtifactError, match="ttl"):
            store.find_missing([a.artifact_id], run_id="b")
        with pytest.raises(InvalidArtifactError, match="run_id"):
            store.find_missing([a.artifact_id], ttl=1, run_id="")
        with pytest.raises(InvalidArtifactError, match="artifact_id"):
            store.find_missing([a.artifact_id, "not/valid"], ttl=1, run_id="b")
        assert len(store.leases(a.artifact_id)) == 1
