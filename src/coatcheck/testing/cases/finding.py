"""Finding: filters, orders, pages with cursors, and iterators, whatever others do meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ... import ANY, ArtifactMetadata, ArtifactStore, InMemoryArtifactStore, InvalidArtifactError, compute_artifact_id
from ..waiting import eventually

if TYPE_CHECKING:
    from ..contract import StoreHarness

NASTY = ["*", "image/*", "%a+", "[a-z]", "$(x)", "'; return 1 --", "\r\n$5\r\n", "{t}", "grüße", "a\x00b", "\\", "k=v"]


def pages(store: ArtifactStore, **query: Any) -> Iterator[list[ArtifactMetadata]]:
    """All pages of a query."""
    after = None
    for _ in range(100):
        page = store.page(after=after, **query)
        yield page.items
        after = page.next
        if after is None:
            return
    raise AssertionError("pages without end")


def listed(store: ArtifactStore, **query: Any) -> list[ArtifactMetadata]:
    """What is on them."""
    return list(itertools.chain.from_iterable(pages(store, **query)))


def names(views: Any) -> list[str]:
    """The ids of some views, sorted."""
    return sorted(view.artifact_id for view in views)


def furnish(store: ArtifactStore) -> list[ArtifactMetadata]:
    """Twelve artifacts of different sizes, deadlines, types, tags and runs; those with other names share contents."""
    types = ["image/png", "image/svg+xml", "text/plain", "imagery", "application/octet-stream"]
    return [
        store.store(
            b"." * (n * 7 % 12),
            content_type=types[n % 5],
            run_id=["a", "ab", "b", None][n % 4],
            tags={"n": str(n)} | ({"third": "yes"} if n % 3 == 0 else {}),
            ttl=None if n == 4 else 1000 + 100 * (n * 5 % 12),
            artifact_id=f"name-{n}" if n % 2 else None,
        )
        for n in range(12)
    ]


class Finding:
    @pytest.mark.parametrize("order", ["desc", "asc"])
    @pytest.mark.parametrize("by", ["time", "size", "expiry"])
    def test_pages_hold_everything_once_and_in_order(self, store: ArtifactStore, by: Any, order: Any) -> None:
        views = furnish(store)
        key = {
            "time": lambda view: view.created_at,
            "size": lambda view: view.size_bytes,
            "expiry": lambda view: view.expires_at or "for ever",
        }[by]
        expected = sorted(views, key=key, reverse=order == "desc")
        for limit in 1, 5, 6, 12, 13:
            cut = list(pages(store, by=by, order=order, limit=limit))
            assert [view.artifact_id for page in cut for view in page] == [view.artifact_id for view in expected]
            assert all(len(page) == limit for page in cut[:-1])
        assert store.search(by=by, order=order) == expected
        assert store.search(by=by, order=order, limit=4, offset=3) == expected[3:7]
        mine = [view for view in expected if view.run_id == "a"]
        for limit in 1, 2, 5:
            assert listed(store, run_id="a", by=by, order=order, limit=limit) == mine

    def test_ties_are_cut_between_pages_like_all_else(self, store: ArtifactStore) -> None:
        stored = store.store_many([b"%d" % (n + 10) for n in range(30)], run_id="a", ttl=None)
        for query in ({"by": "expiry"}, {"by": "size"}, {"by": "expiry", "run_id": "a"}, {"by": "size", "run_id": "a"}):
            for order in "desc", "asc":
                assert names(listed(store, order=order, limit=7, **query)) == names(stored)

    def test_nothing_is_a_page(self, store: ArtifactStore) -> None:
        queries: list[dict[str, Any]] = [{}, {"by": "size"}, {"run_id": "a"}, {"by": "expiry", "order": "asc"}]
        for query in queries:
            page = store.page(**query)
            assert (page.items, page.next) == ([], None)
        assert list(store.iter_artifacts()) == list(store.iter_run("a")) == []
        assert list(store.iter_runs()) == []

    def test_filters_say_which(self, store: ArtifactStore) -> None:
        views = furnish(store)
        queries: list[tuple[dict[str, Any], Callable[[ArtifactMetadata], bool]]] = [
            ({"content_type": "image/*"}, lambda v: v.content_type.startswith("image/")),
            ({"content_type": "image/png"}, lambda v: v.content_type == "image/png"),
            ({"content_type": "application/*"}, lambda v: v.content_type == "application/octet-stream"),
            ({"content_type": "application/octet-stream"}, lambda v: v.content_type == "application/octet-stream"),
            ({"content_type": "image*"}, lambda _: False),
            ({"content_type": "*"}, lambda _: False),
            ({"tags": {"third": ANY}}, lambda v: "third" in v.tags),
            ({"tags": {"third": ANY, "n": "3"}}, lambda v: v.tags["n"] == "3"),
            ({"tags": {"n": "1"}}, lambda v: v.tags["n"] == "1"),
            ({"tags": {"yes": ANY}}, lambda _: False),
            ({"min_size": 5}, lambda v: v.size_bytes >= 5),
            ({"max_size": 5}, lambda v: v.size_bytes <= 5),
            ({"min_size": 5, "max_size": 5}, lambda v: v.size_bytes == 5),
            ({"run_prefix": "a"}, lambda v: v.run_id in ("a", "ab")),
            ({"run_prefix": "ab"}, lambda v: v.run_id == "ab"),
            ({"run_id": "ab", "run_prefix": "b"}, lambda _: False),
            ({"id_prefix": "name-1"}, lambda v: v.artifact_id.startswith("name-1")),
            ({"id_prefix": views[0].artifact_id[:7]}, lambda v: v == views[0]),
            ({"created_after": views[4].created_at}, lambda v: v in views[4:]),
            ({"created_before": views[4].created_at}, lambda v: v in views[:5]),
            (
                {"created_after": views[3].created_at, "created_before": views[8].created_at, "max_size": 8},
                lambda v: v in views[3:9] and v.size_bytes <= 8,
            ),
        ]
        for query, wanted in queries:
            expected = names(filter(wanted, views))
            for order in "desc", "asc":
                assert names(listed(store, limit=2, order=order, **query)) == expected, query
                assert names(store.search(order=order, **query)) == expected, query
            assert names(listed(store, by="size", limit=3, **query)) == expected, query
            assert names(listed(store, by="expiry", limit=3, **query)) == expected, query
            assert names(store.search(limit=0, **query)) == expected, query
            assert names(store.iter_artifacts(**query)) == expected, query

    def test_texts_are_data_and_never_syntax(self, store: ArtifactStore) -> None:
        for n, text in enumerate(NASTY):
            kind = text if text.isprintable() else "text/plain"
            store.store(b"%d" % n, run_id=f"{text} run", content_type=kind, tags={text: text * n, "n": str(n)})
        for n, text in enumerate(NASTY):
            queries: list[dict[str, Any]] = [
                {"run_prefix": text},
                {"tags": {text: ANY}},
                {"tags": {text: text * n}},
                {"tags": {text: text * n, "n": str(n)}},
            ]
            for query in queries:
                assert [view.tags["n"] for view in store.iter_artifacts(**query)] == [str(n)], query
                assert [view.tags["n"] for view in store.page(**query).items] == [str(n)], query
            if text.isprintable() and not text.endswith("/*"):
                assert [view.tags["n"] for view in store.page(content_type=text).items] == [str(n)]
            assert [view.tags["n"] for view in store.iter_run(f"{text} run")] == [str(n)]

    def test_long_tags_are_told_from_parts_of_others(self, store: ArtifactStore) -> None:
        long = "v" * 300
        tags = {"name": long, "x" * 40: "y", "many": "z" * 40_000}
        tags |= {f"k{n}": "" for n in range(60)}
        stored = store.store(b"1", tags=tags)
        store.store(b"2", tags={"other": "name" + long, "name": long + "v", "k": "many"})
        for wanted in ({"name": long}, {"x" * 40: ANY}, {"many": ANY}, {"k59": ""}, tags):
            assert store.search(tags=wanted) == [stored]

    def test_a_view_is_that_of_the_latest_lease_that_still_holds(self, store: ArtifactStore) -> None:
        first = store.store(b"shared", run_id="a", tags={"by": "a"}, content_type="text/a")
        between = store.store(b"between")
        store.store(b"shared", run_id="b", tags={"by": "b"}, content_type="text/b", ttl=0.05)
        eventually(lambda: store.list_by_run("b") == [])
        for order in "desc", "asc":
            found = listed(store, created_before=between.created_at, limit=1, order=order)
            assert names(found) == names([first, between])
        store.store_many([b"newer %d" % n for n in range(20)], tags={"by": "others"})
        assert names(store.iter_artifacts(created_before=between.created_at)) == names([first, between])
        assert store.count(created_before=between.created_at) == 2
        assert store.facets("tag:by", created_before=between.created_at) == {"a": 1}
        assert store.facets("tag:by", created_before=first.created_at) == {"a": 1}
        assert store.page(tags={"by": "b"}).items == store.page(run_prefix="b").items == []
        assert store.page(tags={"by": "a"}).items == list(store.iter_artifacts(content_type="text/a")) == [first]

    def test_by_expiry_the_end_of_all_leases_counts(self, store: ArtifactStore) -> None:
        store.store(b"long", run_id="a", ttl=5000)
        long = store.store(b"long", run_id="b", ttl=1000)
        middle = store.store(b"middle", run_id="b", ttl=3000)
        assert names(store.page(by="expiry", order="asc", limit=1).items) == names([middle])
        assert store.page(by="expiry", order="asc", limit=1, run_id="b").items == [long]

    def test_what_has_expired_is_on_no_page(self, store: ArtifactStore) -> None:
        store.store(b"short", run_id="a", ttl=0.001)
        kept = store.store(b"kept", run_id="a", ttl=100)
        eventually(lambda: len(store.list_all()) == 1)
        for query in ({}, {"run_id": "a"}):
            for by in "time", "size", "expiry":
                for order in "desc", "asc":
                    assert listed(store, by=by, order=order, limit=1, **query) == [kept]

    def test_runs_are_named_once_each(self, store: ArtifactStore) -> None:
        for n in range(40):
            store.store(b"%d" % n, run_id=f"run {n % 8}")
        store.store(b"anonymous")
        store.store(b"0", run_id="other")
        assert sorted(store.iter_runs()) == ["other", *(f"run {n}" for n in range(8))]
        assert sorted(store.iter_runs("run")) == [f"run {n}" for n in range(8)]
        assert list(store.iter_runs(prefix="run 3")) == ["run 3"]
        assert list(store.iter_runs(prefix="*")) == []

    def test_pages_of_runs_hold_each_once_the_last_to_end_first(self, store: ArtifactStore) -> None:
        for n in range(24):
            store.store(b"%d" % n, run_id=f"run {n % 6}", ttl=1000 * (1 + n % 6))
        store.store(b"anonymous")
        store.store(b"0", run_id="é for ever", ttl=None)
        expected = ["é for ever", *(f"run {n}" for n in (5, 4, 3, 2, 1, 0))]
        for limit in 1, 3, 6, 7, 100:
            pages, after = list[list[str]](), None
            while (page := store.page_runs(limit=limit, after=after)).next is not None:
                pages.append(page.items)
                after = page.next
                store.touch(compute_artifact_id(b"3"), 9000, "run 3")  # in front
            assert [run for one in [*pages, page.items] for run in one if run != "run 3"] == [
                run for run in expected if run != "run 3"
            ]
            assert all(len(one) <= limit for one in pages)
            assert store.expire_run("run 3", 4000) == 4
        assert store.page_runs(prefix="run").items == expected[1:]
        assert (store.page_runs(prefix="é").items, store.page_runs(prefix="*").items) == (expected[:1], [])
        after = store.page_runs(limit=1).next
        for foreign in (store.page_runs(limit=1, prefix="run").next, store.page(limit=1).next, "x"):
            with pytest.raises(InvalidArtifactError, match="after is no cursor"):
                store.page_runs(after=foreign)
        with pytest.raises(InvalidArtifactError, match="after is no cursor"):
            store.page_runs(prefix="run", after=after)
        with pytest.raises(InvalidArtifactError, match="prefix: run_id cannot be empty"):
            store.page_runs(prefix="")

    def test_iterators_name_everything_once_whatever_happens(self, store: ArtifactStore) -> None:
        contents = [b"%d" % n for n in range(60)]
        stored = store.store_many(contents, run_id="a", ttl=1000)
        for iterator in (store.iter_artifacts(), store.iter_run("a")):
            found = []
            for n, view in enumerate(iterator):
                found.append(view.artifact_id)
                store.store(contents[n % 60], run_id="a", ttl=2000)  # moves it
                store.store(contents[-n % 60], run_id="b")
                store.release(compute_artifact_id(contents[-n % 60]), "b")  # moves it back
                store.delete(store.store(b"passing %d" % n, run_id="a").artifact_id)
            assert len(found) == len(set(found))
            assert set(names(stored)) <= set(found)

    def test_what_keeps_its_place_is_on_one_page(self, store: ArtifactStore) -> None:
        stored = store.store_many([b"%d" % n for n in range(40)], run_id="a", ttl=1000)
        gone = names(stored[10:20])
        for by in "time", "size", "expiry":
            found: list[str] = []
            for n, page in enumerate(pages(store, by=by, limit=7)):
                found += [view.artifact_id for view in page]
                store.store(b"new %d" % n, run_id="b", ttl=5000)
                store.delete_many(gone[:5])
                store.touch(stored[n].artifact_id, 1000, "absent")
            assert len(found) == len(set(found))
            assert set(found) >= set(names(stored)) - set(gone)
            store.store_many([b"%d" % n for n in range(10, 20)], run_id="a", ttl=1000)

    def test_a_cursor_is_good_for_its_own_list_only(self, store: ArtifactStore, harness: StoreHarness) -> None:
        furnish(store)
        after = store.page(limit=2).next
        assert after is not None
        assert harness.open().page(limit=3, after=after).items == store.search(limit=3, offset=2)
        others: list[dict[str, Any]] = [
            {"order": "asc"},
            {"by": "size"},
            {"run_id": "a"},
            {"tags": {"n": ANY}},
            {"tags": {"n": "ANY"}},
            {"content_type": "image/*"},
            {"min_size": 0},
        ]
        for query in others:
            with pytest.raises(InvalidArtifactError, match="after is no cursor of this list"):
                store.page(after=after, **query)
        with InMemoryArtifactStore() as other:
            foreign = other.store(b"1"), other.store(b"2"), other.page(limit=1).next
        flipped = after[:20] + ("A" if after[20] != "A" else "B") + after[21:]
        for garbage in (
            foreign[2],
            "",
            "x",
            "a" * 10_000,
            after[:-4],
            after + "AAAA",
            flipped,
            "grüße",
            "\x00",
            after + "=",
        ):
            with pytest.raises(InvalidArtifactError, match="after is no cursor"):
                store.page(after=garbage)
        for nonsense in (b"x", 3, True, store.page()):
            with pytest.raises(InvalidArtifactError, match="after must be the next of a page"):
                store.page(after=nonsense)  # type: ignore[arg-type]

    def test_nonsense_is_refused_before_anything_is_asked(self, store: ArtifactStore) -> None:
        pages: list[tuple[dict[str, Any], str]] = [
            ({"limit": 0}, "limit must be 1 to 1000"),
            ({"limit": 1001}, "limit must be 1 to 1000"),
            ({"limit": -1}, "limit must be 1 to 1000"),
            ({"limit": True}, "limit must be an int"),
            ({"limit": None}, "limit must be an int"),
            ({"by": "name"}, "by must be"),
            ({"by": ["time"]}, "by must be"),
            ({"order": "up"}, "order must be"),
        ]
        for query, message in pages:
            with pytest.raises(InvalidArtifactError, match=message):
                store.page(**query)
        filters: list[tuple[dict[str, Any], str]] = [
            ({"run_prefix": ""}, "run_prefix: .*empty"),
            ({"run_prefix": 3}, "run_prefix: .*str"),
            ({"run_id": ""}, "run_id cannot be empty"),
            ({"id_prefix": ""}, "id_prefix: .*empty"),
            ({"id_prefix": "a*"}, "id_prefix: Invalid"),
            ({"id_prefix": "a" * 201}, "id_prefix: .*200"),
            ({"content_type": 3}, "content_type must be a str"),
            ({"content_type": "a\nb"}, "control characters"),
            ({"tags": ["a"]}, "tags must be a mapping"),
            ({"tags": {"a": None}}, "tag 'a' must be a str"),
            ({"tags": {ANY: "a"}}, "tag name must be a str"),
            ({"min_size": -1}, "min_size must be bytes"),
            ({"max_size": 1.5}, "max_size must be an int"),
            ({"min_size": 2, "max_size": 1}, "no size is at least 2 and at most 1"),
            ({"created_after": "yesterday"}, "created_after must be ISO 8601"),
            ({"created_before": 3}, "created_before must be a datetime"),
        ]
        finds: list[Any] = [store.page, store.search, store.iter_artifacts]
        for query, message in filters:
            for find in finds:
                with pytest.raises(InvalidArtifactError, match=message):
                    find(**query)
        for find in finds:
            with pytest.raises(TypeError, match="colour"):
                find(colour="red")
        with pytest.raises(InvalidArtifactError, match="run_id is required"):
            store.iter_run(None)  # type: ignore[arg-type]
        with pytest.raises(InvalidArtifactError):
            store.iter_runs("")
