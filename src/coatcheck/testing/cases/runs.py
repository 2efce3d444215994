"""Lifetimes of runs: renewed and ended as a whole, views bound to a run, removal by filter."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ... import ANONYMOUS, ANY, ArtifactMetadata, ArtifactStore, InvalidArtifactError
from ..waiting import eventually


def left(view: ArtifactMetadata | None) -> float:
    """Seconds between the last store and the end of a lease."""
    assert view is not None
    return float("inf") if view.expires is None else (view.expires - view.created).total_seconds()


def ends(store: ArtifactStore, run: str) -> list[int]:
    """How long each lease of a run lasts, about, sorted."""
    return sorted(round(min(left(view), 10**9), -2) for view in store.list_by_run(run))  # type: ignore[misc]


class Runs:
    def test_a_run_is_kept_for_a_while_after_its_end(self, store: ArtifactStore) -> None:
        for n, ttl in enumerate([100, 5000, None]):
            store.store(b"%d" % n, run_id="a", ttl=ttl)
        store.store(b"0", run_id="b", ttl=500)
        assert store.expire_run("a", 1000) == 3
        assert ends(store, "a") == [1000, 1000, 1000]
        assert ends(store, "b") == [500]
        assert store.expire_run("a", timedelta(seconds=2000)) == 3
        assert ends(store, "a") == [2000, 2000, 2000]
        assert store.expire_run("absent", 10) == 0
        assert store.expire_run("a", 0.001) == 3
        eventually(lambda: store.list_by_run("a") == [])
        eventually(lambda: [view.run_id for view in store.list_all()] == ["b"])  # in the next millisecond

    def test_renewing_a_run_shortens_nothing(self, store: ArtifactStore) -> None:
        for n, ttl in enumerate([100, 5000, None]):
            store.store(b"%d" % n, run_id="a", ttl=ttl, artifact_id=f"name-{n}" if n else None)
        store.store(b"0", run_id="b", ttl=500)
        for _ in range(2):
            assert store.touch_run("a", 1000) == 3
            assert ends(store, "a") == [1000, 5000, 10**9]
        assert store.touch_run("a", None) == 3
        assert ends(store, "a") == [10**9] * 3
        assert ends(store, "b") == [500]
        assert store.check().problems == []

    def test_only_live_leases_are_renewed(self, store: ArtifactStore) -> None:
        store.store(b"1", run_id="a", ttl=0.001)
        store.store(b"1", run_id="b")
        eventually(lambda: store.list_by_run("a") == [])
        assert store.touch_run("a", 1000) == store.expire_run("a", 1000) == 0
        assert store.list_by_run("a") == []

    def test_a_view_of_a_run_does_all_for_it(self, store: ArtifactStore) -> None:
        run = store.run("a", ttl=1000)
        stored = [run.store(b"1"), run.store_text("2", tags={"k": "v"}), run.store_json(3, ttl=None)]
        stored += run.store_many([b"4", b"5"])
        store.store(b"1", run_id="b", tags={"of": "b"})
        assert {view.run_id for view in stored} == {"a"}
        assert [round(left(view)) for view in stored if view.expires_at] == [1000] * 4
        assert run.list() == store.list_by_run("a") == run.page(limit=5).items
        assert run.page(limit=2, by="size", order="asc", tags={"k": ANY}).items == [stored[1]]
        assert {view.artifact_id for view in run.iter_artifacts()} == {view.artifact_id for view in stored}
        assert run.count() == run.stats().artifacts == 5
        assert run.count(tags={"k": "v"}) == 1
        loaded = run.load(stored[0].artifact_id)
        assert loaded is not None
        assert loaded.metadata == stored[0]
        assert run.touch(5000) == 5
        assert run.release(stored[0]) is True
        assert run.load(stored[0].artifact_id) is None
        assert run.expire(100) == 4
        assert run.delete() == 4
        assert [view.run_id for view in store.list_all()] == ["b"]
        assert repr(run) == "Run('a')"

    def test_a_block_keeps_what_its_run_leases(self, store: ArtifactStore) -> None:
        with store.run("a", ttl=1000, keep=50_000) as run:
            run.store(b"1")
            assert ends(store, "a") == [1000]
        assert ends(store, "a") == [50_000]
        with pytest.raises(ZeroDivisionError), store.run("b", keep=None) as run:
            run.store(b"2", ttl=50)
            _ = 1 // 0
        assert store.list_by_run("b")[0].expires_at is None
        with store.run("c", ttl=700) as run:
            run.store(b"3")
        assert ends(store, "c") == [700]

    def test_nonsense_about_runs_is_refused(self, store: ArtifactStore) -> None:
        for call in (store.expire_run, store.touch_run):
            for arguments in (("", 5), (None, 5), ("a", 0), ("a", -1), ("a", "5"), ("a", float("nan"))):
                with pytest.raises(InvalidArtifactError):
                    call(*arguments)
        for keywords in ({"ttl": 0}, {"keep": -1}, {"ttl": "1"}):
            with pytest.raises(InvalidArtifactError):
                store.run("a", **keywords)
        with pytest.raises(InvalidArtifactError):
            store.run("")
        with pytest.raises(InvalidArtifactError, match="run_id is 'a' here"):
            store.run("a").store(b"1", run_id="b")
        assert store.list_all() == []

    def test_leases_without_a_run_are_found_as_those_of_a_run_are(self, store: ArtifactStore) -> None:
        alone = store.store(b"alone", ttl=1000, tags={"k": "v"})
        store.store(b"shared", tags={"of": "nobody"})
        store.store(b"shared", run_id="a", content_type="text/plain")
        named = store.store(b"longer", artifact_id="name")
        store.store(b"theirs", run_id="a", tags={"k": "v"})
        shared = next(view for view in store.iter_artifacts(run_id=ANONYMOUS) if view.tags.get("of"))
        assert (shared.run_id, shared.content_type) == (None, "application/octet-stream")
        assert store.search(run_id=ANONYMOUS, limit=0) == [named, shared, alone]
        assert store.search(run_id=ANONYMOUS, limit=2, order="asc") == [alone, shared]
        assert store.page(run_id=ANONYMOUS, by="expiry", order="asc", limit=1).items == [alone]
        first = store.page(run_id=ANONYMOUS, by="size", limit=2)
        second = store.page(run_id=ANONYMOUS, by="size", limit=2, after=first.next)
        assert {view.artifact_id for view in [*first.items, *second.items]} == {
            *(view.artifact_id for view in (named, shared, alone))
        }
        assert store.count(run_id=ANONYMOUS) == 3
        assert store.count(run_id=ANONYMOUS, tags={"k": "v"}) == 1
        assert store.count(run_id=ANONYMOUS, created_before=shared.created_at) == 2
        assert store.facets("run_id", run_id=ANONYMOUS) == {None: 3}
        stats = store.stats(run_id=ANONYMOUS)
        assert (stats.artifacts, stats.leases, stats.runs, stats.artifact_bytes) == (3, 3, 0, 17)
        with pytest.raises(InvalidArtifactError, match="cursor"):
            store.page(by="size", limit=2, after=first.next)

    def test_leases_without_a_run_end_together(self, store: ArtifactStore) -> None:
        for n, ttl in enumerate([100, 5000, None]):
            store.store(b"%d" % n, ttl=ttl, artifact_id=f"name-{n}" if n else None)
        store.store(b"0", run_id="a", ttl=500)
        assert store.touch_run(ANONYMOUS, 1000) == 3
        lasting = [left(view) for view in store.iter_artifacts(run_id=ANONYMOUS) if view.expires]
        assert sorted(round(seconds, -2) for seconds in lasting) == [1000, 5000]
        assert store.expire_run(ANONYMOUS, 2000) == 3
        assert {round(left(view), -2) for view in store.iter_artifacts(run_id=ANONYMOUS)} == {2000}
        assert ends(store, "a") == [500]
        assert store.delete_where(run_id=ANONYMOUS, min_size=2, dry_run=False).artifacts == 0
        assert store.delete_where(run_id=ANONYMOUS).artifacts == 3
        assert store.delete_where(run_id=ANONYMOUS, dry_run=False).artifacts == 3
        assert store.count(run_id=ANONYMOUS) == store.touch_run(ANONYMOUS, 5) == store.expire_run(ANONYMOUS, 5) == 0
        assert [view.run_id for view in store.list_all()] == ["a"]
        assert store.check().problems == []

    def test_what_filters_choose_is_removed_for_every_run(self, store: ArtifactStore) -> None:
        for n in range(30):
            store.store(b"%d" % n, run_id="ab"[n % 2], tags={"kind": "tmp" if n % 3 else "kept"})
        store.store(b"1", run_id="c", tags={"kind": "tmp"})
        told: list[int] = []
        would = store.delete_where(tags={"kind": "tmp"}, progress=told.append)
        assert (would.artifacts, would.dry_run, told) == (20, True, [])
        assert store.count() == 30
        done = store.delete_where(tags={"kind": "tmp"}, dry_run=False, progress=told.append)
        assert (done.artifacts, done.size_bytes, done.dry_run) == (20, would.size_bytes, False)
        assert told[-1] == 20
        assert store.facets("tag:kind") == {"kept": 10}
        assert store.delete_where(tags={"kind": "tmp"}, dry_run=False).artifacts == 0
        assert store.check().problems == []

    def test_a_runs_own_leases_are_given_up(self, store: ArtifactStore) -> None:
        for n in range(10):
            store.store(b"%d" % n, run_id="a", tags={"n": str(n)}, artifact_id=f"name-{n}" if n % 2 else None)
        store.store(b"2", run_id="b")
        assert store.delete_where(run_id="a", min_size=1, tags={"n": "2"}, dry_run=False).artifacts == 1
        assert [view.run_id for view in store.list_by_run("b")] == ["b"]
        assert store.delete_where(run_id="a", dry_run=False).artifacts == 9
        assert [view.run_id for view in store.list_all()] == ["b"]

    def test_everything_has_to_be_chosen(self, store: ArtifactStore) -> None:
        store.store(b"1")
        nothing: list[dict[str, Any]] = [{}, {"tags": {}}, {"content_type": None}]
        for query in nothing:
            for dry_run in True, False:
                with pytest.raises(InvalidArtifactError, match="say which artifacts"):
                    store.delete_where(dry_run=dry_run, **query)
        assert store.count() == 1
