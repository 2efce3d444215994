"""TTLs: content lives until the latest deadline among its leases, then nothing is left, without any sweeper.

Deadlines are real and short; tests wait for the end of a lease by polling, never by sleeping for luck.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from ... import ArtifactStore
from ..waiting import eventually

if TYPE_CHECKING:
    from ...model import ArtifactMetadata

CONTENT = b"passing content"
SHORT = 0.08  # seconds
LONG = 60.0


def seconds(metadata: ArtifactMetadata) -> float:
    """The TTL that metadata tell."""
    assert metadata.expires_at is not None
    created = datetime.fromisoformat(metadata.created_at)
    return (datetime.fromisoformat(metadata.expires_at) - created).total_seconds()


class Expiry:
    def test_an_artifact_ends_with_its_ttl(self, store: ArtifactStore) -> None:
        stored = store.store(CONTENT, run_id="a", ttl=SHORT)
        eventually(lambda: store.load(stored.artifact_id) is None)
        assert store.get_metadata(stored.artifact_id) is None
        assert store.exists(stored.artifact_id) is False
        assert store.leases(stored.artifact_id) == []
        assert store.list_by_run("a") == store.list_all() == []
        eventually(lambda: store.list_runs() == [])  # the same millisecond may count as before and after
        assert store.touch(stored.artifact_id, LONG, "a") is False
        assert store.release(stored.artifact_id, "a") is False
        assert store.delete_by_run("a") == 0

    def test_nothing_is_left_when_everything_has_expired(self, store: ArtifactStore, harness: object) -> None:
        for n in range(5):
            store.store(b"%d" % n, run_id=f"run {n % 2}", ttl=SHORT)
        store.store(b"explicit", artifact_id="explicit", ttl=SHORT)
        store.store(b"0", artifact_id="shared", run_id="run 1", ttl=SHORT)
        eventually(lambda: not store.list_all() and not harness.leftovers())  # type: ignore[attr-defined]

    def test_nothing_is_left_when_an_immortal_neighbour_was_deleted(
        self, store: ArtifactStore, harness: object
    ) -> None:
        forever = store.store(b"for ever", run_id="a")
        store.store(b"long", run_id="b", ttl=LONG)
        store.store(b"short", run_id="a", ttl=SHORT)
        store.store(b"short", run_id="b", ttl=SHORT)
        store.delete(forever.artifact_id)
        store.delete_by_run("b")
        eventually(lambda: not store.list_all() and not harness.leftovers())  # type: ignore[attr-defined]

    def test_metadata_tell_the_deadline(self, store: ArtifactStore) -> None:
        assert seconds(store.store(b"1", ttl=50)) == pytest.approx(50, abs=0.01)
        assert seconds(store.store(b"2", ttl=timedelta(minutes=2))) == pytest.approx(120, abs=0.01)
        assert seconds(store.store(b"3", ttl=0.5)) == pytest.approx(0.5, abs=0.01)
        assert store.store(b"4", ttl=None).expires_at is None

    def test_the_default_ttl_of_the_store_applies(self, harness: object) -> None:
        store = harness.open(default_ttl=50)  # type: ignore[attr-defined]
        assert seconds(store.store(b"1")) == pytest.approx(50, abs=0.01)
        assert seconds(store.store_text("2")) == pytest.approx(50, abs=0.01)
        assert seconds(store.store_many([b"3"])[0]) == pytest.approx(50, abs=0.01)
        assert seconds(store.store(b"4", ttl=5)) == pytest.approx(5, abs=0.01)
        assert store.store(b"5", ttl=None).expires_at is None
        harness.close()  # type: ignore[attr-defined]

    def test_content_lives_until_the_latest_deadline(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a", ttl=LONG, tags={"who": "a"})
        store.store(CONTENT, run_id="b", ttl=SHORT, tags={"who": "b"})
        eventually(lambda: store.list_by_run("b") == [])
        assert store.load_text(a.artifact_id) == CONTENT.decode()
        assert store.get_metadata(a.artifact_id) == a
        assert [lease.run_id for lease in store.leases(a.artifact_id)] == ["a"]
        assert store.list_runs() == ["a"]

    def test_an_expired_lease_cannot_be_given_up(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a")
        store.store(CONTENT, run_id="b", ttl=SHORT)
        eventually(lambda: len(store.leases(a.artifact_id)) == 1)
        assert store.release(a.artifact_id, "b") is False
        assert store.delete_by_run("b") == 0
        assert store.get_metadata(a.artifact_id) == a

    def test_an_immortal_lease_outlives_a_short_one(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a", ttl=None)
        store.store(CONTENT, run_id="b", ttl=SHORT)
        eventually(lambda: store.list_by_run("b") == [])
        assert store.list_by_run("a") == [a]
        assert store.exists(a.artifact_id)

    def test_an_expired_run_can_be_deleted_without_harm(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a", ttl=LONG)
        store.store(CONTENT, run_id="b", ttl=SHORT)
        eventually(lambda: store.list_by_run("b") == [])
        assert store.delete_by_run("b") == 0
        assert store.exists(a.artifact_id)

    def test_storing_again_extends(self, store: ArtifactStore) -> None:
        first = store.store(CONTENT, run_id="a", ttl=SHORT)
        again = store.store(CONTENT, run_id="a", ttl=LONG)
        store.store(b"marker", ttl=SHORT)  # ends after the first lease would have
        eventually(lambda: store.load_text("absent") is None and len(store.list_all()) == 1)
        assert seconds(again) == pytest.approx(LONG, abs=0.01)
        assert store.exists(first.artifact_id)

    def test_storing_again_never_shortens(self, store: ArtifactStore) -> None:
        long = store.store(CONTENT, run_id="a", ttl=LONG)
        again = store.store(CONTENT, run_id="a", ttl=1)
        assert again.expires_at == long.expires_at
        forever = store.store(CONTENT, run_id="a", ttl=None)
        assert forever.expires_at is None
        assert store.store(CONTENT, run_id="a", ttl=1).expires_at is None

    def test_touch_extends_and_shortens(self, store: ArtifactStore) -> None:
        stored = store.store(CONTENT, run_id="a", ttl=LONG / 2)
        assert store.touch(stored.artifact_id, LONG, "a")
        [lease] = store.leases(stored.artifact_id)
        assert lease.expires_at is not None
        assert lease.expires_at > (stored.expires_at or "")
        assert store.touch(stored.artifact_id, None, "a")
        assert store.leases(stored.artifact_id)[0].expires_at is None
        assert store.touch(stored.artifact_id, SHORT, "a")
        eventually(lambda: store.load(stored.artifact_id) is None)
        assert store.list_runs() == []

    def test_touch_shortens_only_its_own_lease(self, store: ArtifactStore) -> None:
        a = store.store(CONTENT, run_id="a", ttl=LONG)
        store.store(CONTENT, run_id="b", ttl=LONG)
        assert store.touch(a.artifact_id, SHORT, "b")
        eventually(lambda: store.list_by_run("b") == [])
        assert store.list_by_run("a") == [a]
        assert store.exists(a.artifact_id)

    def test_touch_keeps_content_of_explicit_ids(self, store: ArtifactStore, harness: object) -> None:
        def is_touched_before_its_end(ttl: float) -> bool:
            for name in "one", "two":
                store.store(CONTENT, run_id="a", artifact_id=name, ttl=ttl)
            return store.touch("two", LONG, "a")

        assert any(map(is_touched_before_its_end, (SHORT, 1, 5)))  # a busy machine takes longer
        eventually(lambda: store.load("one") is None)
        assert store.load_text("two") == CONTENT.decode()
        assert store.touch("two", SHORT, "a")
        eventually(lambda: not store.list_all() and not harness.leftovers())  # type: ignore[attr-defined]

    def test_release_leaves_the_remaining_deadline(self, store: ArtifactStore, harness: object) -> None:
        stored = store.store(CONTENT, run_id="a", ttl=None)
        store.store(CONTENT, run_id="b", ttl=SHORT)
        assert store.release(stored.artifact_id, "a")
        eventually(lambda: not store.list_all() and not harness.leftovers())  # type: ignore[attr-defined]

    def test_stored_again_after_it_expired(self, store: ArtifactStore) -> None:
        stored = store.store(CONTENT, run_id="a", ttl=SHORT, tags={"n": "1"})
        eventually(lambda: store.load(stored.artifact_id) is None)
        again = store.store(CONTENT, run_id="b", tags={"n": "2"})
        assert store.get_metadata(stored.artifact_id) == again
        assert [lease.run_id for lease in store.leases(stored.artifact_id)] == ["b"]
