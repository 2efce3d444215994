"""`exact_ttl`: the run's own lease may get shorter by a store, another run's never."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import pytest

from ... import ArtifactStore, InvalidArtifactError
from ..waiting import eventually
from .conditions import content
from .expiry import LONG, seconds

WAYS: dict[str, Callable[..., Any]] = {
    "store": lambda store, data, **details: store.store(data, **details),
    "store_many": lambda store, data, **details: store.store_many([data, b"more"], **details)[0],
    "store_file": lambda store, data, **details: store.store_file(io.BytesIO(data), **details),
}


class Lifetimes:
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("size", [3, 150_000])
    def test_the_own_lease_ends_when_it_says(self, store: ArtifactStore, harness: object, way: str, size: int) -> None:
        data = content("x", size)
        for ttl, expected in ((None, None), (10 * LONG, None)):
            view = WAYS[way](store, data, run_id="a", ttl=ttl)
            assert view.expires_at == expected
        for ttl in (10 * LONG, LONG, 2 * LONG):
            began = time.monotonic()
            view = WAYS[way](store, data, run_id="a", ttl=ttl, exact_ttl=True)
            took = time.monotonic() - began  # chunks get their deadline before they are published
            assert seconds(view) == pytest.approx(ttl, abs=0.01 + took)
            assert store.leases(view)[0].expires_at == view.expires_at
            assert store.list_by_run("a")[-1].expires_at is not None
            assert store.check(read_data=True).problems == []
        WAYS[way](store, data, run_id="a", ttl=0.1, exact_ttl=True)
        eventually(lambda: store.list_all() == [] and harness.leftovers() == [])  # type: ignore[attr-defined]

    @pytest.mark.parametrize("size", [3, 150_000])
    def test_no_other_lease_gets_shorter(self, store: ArtifactStore, size: int) -> None:
        data = content("x", size)
        b = store.store(data, run_id="b")
        a = store.store(data, run_id="a")
        store.store(data, run_id="a", ttl=0.05, exact_ttl=True)
        eventually(lambda: store.list_by_run("a") == [])
        assert store.load(a, required=True).content == data
        assert store.list_by_run("b") == [b]
        assert store.list_runs() == ["b"]
        assert store.check(read_data=True).problems == []

    def test_explicit_ids_and_links_too(self, store: ArtifactStore, harness: object) -> None:
        store.store(b"x", artifact_id="name", run_id="a")
        store.store(b"x", artifact_id="other", run_id="a", ttl=LONG)
        view = store.link("other", "name", run_id="a", ttl=LONG, exact_ttl=True)
        assert seconds(view) == pytest.approx(LONG, abs=0.01)
        for name in ("name", "other"):
            store.store(b"x", artifact_id=name, run_id="a", ttl=0.05, exact_ttl=True)
        eventually(lambda: harness.leftovers() == [] or not store.list_all())  # type: ignore[attr-defined]
        eventually(lambda: harness.leftovers() == [])  # type: ignore[attr-defined]

    def test_where_nothing_was_it_changes_nothing(self, store: ArtifactStore) -> None:
        view = store.store(b"x", run_id="a", ttl=LONG, exact_ttl=True)
        assert seconds(view) == pytest.approx(LONG, abs=0.01)
        assert store.store(b"x", run_id="a", ttl=None, exact_ttl=True).expires_at is None

    def test_it_is_yes_or_no(self, store: ArtifactStore) -> None:
        with pytest.raises(InvalidArtifactError, match="exact_ttl"):
            store.store(b"x", ttl=1, exact_ttl="yes")  # type: ignore[arg-type]
