"""`link`: another id for content that is there."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ... import ArtifactConflictError, ArtifactNotFoundError, ArtifactStore, InvalidArtifactError, compute_artifact_id
from .conditions import SIZES, content
from .expiry import LONG, seconds


class Links:
    @pytest.mark.parametrize("size", SIZES)
    def test_a_link_is_an_artifact_of_its_own(self, store: ArtifactStore, harness: object, size: int) -> None:
        data = content("x", size)
        source = store.store(data, run_id="a", content_type="text/x", tags={"k": "v"}, extra={"n": [1]})
        began = time.monotonic()
        link = store.link(source, "name", run_id="b", ttl=LONG)
        took = time.monotonic() - began  # chunks get their deadline before they are published
        assert (link.artifact_id, link.run_id, link.digest, link.size_bytes) == ("name", "b", source.digest, size)
        assert (link.content_type, link.tags, link.extra) == ("text/x", {"k": "v"}, {"n": [1]})
        assert seconds(link) == pytest.approx(LONG, abs=0.01 + took)
        assert store.get_metadata("name") == link
        assert store.list_by_run("b") == [link]
        assert store.delete(source)
        assert store.load("name", required=True).content == data
        assert store.check(read_data=True).problems == []
        again = store.link("name", compute_artifact_id(data), run_id="b")
        assert store.delete("name")
        assert store.load(again, required=True).content == data
        assert store.check(read_data=True).problems == []
        assert store.delete(again)
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    @pytest.mark.parametrize("size", [3, 150_000])
    def test_links_of_links_keep_one_content(self, store: ArtifactStore, size: int) -> None:
        store.store(content("x", size), artifact_id="one", run_id="a")
        for new, old in (("two", "one"), ("three", "two"), ("one", "three")):
            store.link(old, new, run_id="a")
        found = store.load_many(["one", "two", "three"])
        assert [artifact is not None and artifact.content == content("x", size) for artifact in found] == [True] * 3
        assert store.stats().contents in (1, 2, 3)  # one a partition
        assert store.check(read_data=True).problems == []

    def test_a_link_says_of_itself_what_it_is_told(self, store: ArtifactStore) -> None:
        source = store.store(b"x", content_type="text/x", tags={"k": "v"}, extra={"n": 1})
        link = store.link(source.ref, "name", content_type="text/y", tags={}, extra={"m": 2})
        assert (link.content_type, link.tags, link.extra) == ("text/y", {}, {"m": 2})
        assert store.get_metadata(source) == source

    @pytest.mark.parametrize("size", SIZES)
    def test_a_link_replaces_what_the_id_stood_for(self, store: ArtifactStore, size: int) -> None:
        source = store.store(content("x", size), run_id="a")
        store.store(content("y", size), artifact_id="name", run_id="b")
        link = store.link(source, "name", run_id="c")
        assert [lease.run_id for lease in store.leases("name")] == ["c"]
        assert store.list_by_run("b") == []
        assert store.load("name", required=True).metadata == link
        assert store.load("name", required=True).content == content("x", size)
        assert store.check(read_data=True).problems == []

    @pytest.mark.parametrize("size", [3, 400_000])
    def test_links_obey_conditions(self, store: ArtifactStore, size: int) -> None:
        source = store.store(content("x", size))
        other = store.store(content("y", size))
        link = store.link(source, "name", if_absent=True)
        for wrong in ({"if_absent": True}, {"if_digest": other.digest}):
            with pytest.raises(ArtifactConflictError) as caught:
                store.link(other, "name", **wrong)
            assert caught.value.metadata == link
        store.link(other, "name", if_digest=link.digest)
        assert store.load("name", required=True).content == content("y", size)

    def test_there_has_to_be_a_source(self, store: ArtifactStore, harness: object) -> None:
        with pytest.raises(ArtifactNotFoundError, match="absent"):
            store.link("absent", "name")
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_bad_links_are_refused(self, store: ArtifactStore) -> None:
        there = store.store(b"x", artifact_id="there")
        wrongs: list[tuple[Any, Any, dict[str, Any]]] = [
            ("a b", "name", {}),
            (None, "name", {}),
            ("there", "a b", {}),
            ("there", None, {}),
            ("there", "name", {"tags": 1}),
            ("there", "name", {"ttl": 0}),
            ("there", "name", {"content_type": "\n"}),
            ("there", "name", {"extra": {"n": float("nan")}}),
            ("there", "name", {"if_digest": ""}),
            ("there", "f" * 32, {}),
        ]
        for source, name, wrong in wrongs:
            with pytest.raises(InvalidArtifactError):
                store.link(source, name, **wrong)
        assert store.list_all() == [there]
