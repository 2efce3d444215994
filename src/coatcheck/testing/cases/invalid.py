"""Bad input: a clear error that is also a `ValueError`, and nothing written."""

from __future__ import annotations

import io
import math
from datetime import timedelta
from enum import Enum
from typing import Any

import pytest

from ... import ANONYMOUS, ArtifactDecodeError, ArtifactStore, InvalidArtifactError

BAD_IDS = ["", "a/b", "..", "a.b", "abc\n", "a b", "é", "a" * 201, "{a}", None, 1, b"abc"]
BAD_TTLS: list[Any] = [
    0,
    -1,
    math.nan,
    math.inf,
    -math.inf,
    101 * 366 * 86400,
    True,
    "60",
    timedelta(0),
    10**400,
]
BAD_TAGS: list[Any] = [{"a": 1}, {1: "a"}, {"a": None}, ["a"], "ab", {"a": "\ud800"}, {"\ud800": "a"}, 1, (("a", "b"),)]


class Named(str, Enum):  # noqa: UP042  # such members print as their names
    """Texts as members of an enum."""

    ID = "id"
    RUN = "run"
    TYPE = "text/x"
    TAG = "tag"


class Disguised(str):
    """Looks like another text, wherever it is asked."""

    __slots__ = ()

    def __str__(self) -> str:
        return "good"

    __repr__ = __format__ = __str__  # type: ignore[assignment]

    def __len__(self) -> int:
        return 4

    def __eq__(self, other: object) -> bool:
        return other == "good"

    def __hash__(self) -> int:
        return hash("good")


class Invalid:
    def test_keywords_that_are_none_are_told_with_those_that_there_are(self, store: ArtifactStore) -> None:
        with pytest.raises(TypeError, match=r"'tgas': there are .*\btags\b"):
            store.store(b"content", tgas={})  # type: ignore[call-arg]
        calls: list[Any] = [
            store.page,
            store.search,
            store.count,
            store.stats,
            store.iter_artifacts,
            store.delete_where,
        ]
        for call in calls:
            with pytest.raises(TypeError, match=r"'colour': there are .*\bcreated_after\b"):
                call(colour="red")
        assert store.count() == 0

    @pytest.mark.parametrize("flag", [None, 0, 1, "no"])
    def test_flags_are_true_or_false(self, store: ArtifactStore, flag: Any) -> None:
        stored = store.store(b"x", run_id="a", tags={"k": "v"})
        calls: list[tuple[str, Any]] = [
            ("if_absent", lambda **flag: store.store(b"y", **flag)),
            ("exact_ttl", lambda **flag: store.store(b"y", **flag)),
            ("replace", lambda **flag: store.update_metadata(stored, run_id="a", tags={}, **flag)),
            ("dry_run", lambda **flag: store.delete_where(run_id="a", **flag)),
            ("dry_run", store.gc),
            ("repair", store.check),
            ("read_data", store.check),
        ]
        for name, call in calls:
            with pytest.raises(InvalidArtifactError, match=f"{name} must be True or False"):
                call(**{name: flag})
        assert store.list_all() == [stored]

    def test_what_nobody_can_call_is_not_told_of_progress(self, store: ArtifactStore, harness: object) -> None:
        async def awaited(*_: object) -> None:
            """Nobody would await it."""

        not_told: list[Any] = [1, "log", awaited]
        calls: list[Any] = [
            store.gc,
            store.check,
            store.reindex,
            lambda **told: store.store_file(io.BytesIO(b"x"), **told),
            lambda **told: store.delete_where(run_id="a", **told),
        ]
        for progress in not_told:
            for call in calls:
                with pytest.raises(InvalidArtifactError, match="progress"):
                    call(progress=progress)
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    @pytest.mark.parametrize("content", ["text", None, 1, ["a"], {"a": 1}, 1.5])
    def test_content_must_be_bytes_like(self, store: ArtifactStore, harness: object, content: Any) -> None:
        with pytest.raises(InvalidArtifactError, match="bytes-like"):
            store.store(content)
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    @pytest.mark.parametrize("artifact_id", BAD_IDS)
    def test_ids_are_checked_everywhere(self, store: ArtifactStore, harness: object, artifact_id: Any) -> None:
        if artifact_id is not None:  # None is "by content" for store
            with pytest.raises(InvalidArtifactError):
                store.store(b"x", artifact_id=artifact_id)
        for call in (
            store.load,
            store.get_metadata,
            store.exists,
            store.delete,
            store.leases,
            store.load_text,
        ):
            with pytest.raises(ValueError, match="artifact_id"):
                call(artifact_id)
        with pytest.raises(InvalidArtifactError):
            store.touch(artifact_id, 10)
        with pytest.raises(InvalidArtifactError):
            store.release(artifact_id, None)
        with pytest.raises(InvalidArtifactError):
            store.load_many(["good", artifact_id])
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_a_str_is_what_it_holds_whatever_it_calls_itself(self, store: ArtifactStore) -> None:
        stored = store.store(
            b"x", artifact_id=Named.ID, run_id=Named.RUN, content_type=Named.TYPE, tags={Named.TAG: Named.TAG}
        )
        assert type(stored.artifact_id) is type(stored.run_id) is type(stored.content_type) is str
        assert (stored.artifact_id, stored.run_id, stored.content_type) == ("id", "run", "text/x")
        assert store.get_metadata("id") == store.list_by_run(Named.RUN)[0] == stored
        assert stored.tags == {"tag": "tag"}
        assert store.load_many([Named.ID])[0] == store.load(Named.ID) == store.load("id")
        assert store.search(run_id=Named.RUN, content_type=Named.TYPE, tags={Named.TAG: Named.TAG}) == [stored]
        with pytest.raises(InvalidArtifactError):
            store.load(Disguised("../x"))
        assert store.delete(Named.ID)

    def test_an_id_of_200_characters_is_fine(self, store: ArtifactStore) -> None:
        store.store(b"x", artifact_id="a" * 200)
        assert store.exists("a" * 200)

    @pytest.mark.parametrize("ttl", BAD_TTLS)
    def test_ttls_are_checked(self, store: ArtifactStore, harness: object, ttl: Any) -> None:
        with pytest.raises(InvalidArtifactError, match="ttl"):
            store.store(b"x", ttl=ttl)
        with pytest.raises(InvalidArtifactError, match="ttl"):
            store.touch("name", ttl)
        with pytest.raises(InvalidArtifactError, match="default_ttl"):
            harness.open(default_ttl=ttl)  # type: ignore[attr-defined]
        with pytest.raises(InvalidArtifactError, match="keep"):
            store.run("a", keep=ttl)
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    @pytest.mark.parametrize("tags", BAD_TAGS)
    def test_tags_must_be_strings(self, store: ArtifactStore, harness: object, tags: Any) -> None:
        with pytest.raises(InvalidArtifactError, match="tag"):
            store.store(b"x", tags=tags)
        with pytest.raises(InvalidArtifactError, match="tag"):
            store.search(tags=tags)
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    @pytest.mark.parametrize("run_id", ["", 1, b"run", "\ud800", ["a"]])
    def test_run_ids_are_checked(self, store: ArtifactStore, harness: object, run_id: Any) -> None:
        for call in (
            lambda: store.store(b"x", run_id=run_id),
            lambda: store.list_by_run(run_id),
            lambda: store.delete_by_run(run_id),
            lambda: store.search(run_id=run_id),
            lambda: store.touch("name", 10, run_id),
            lambda: store.release("name", run_id),
        ):
            with pytest.raises(InvalidArtifactError, match="run_id"):
                call()
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_anonymous_is_no_run(self, store: ArtifactStore) -> None:
        run_id: Any = ANONYMOUS
        for call in (store.list_by_run, store.delete_by_run, store.run, lambda run: store.store(b"x", run_id=run)):
            with pytest.raises(InvalidArtifactError, match="None is the anonymous lease"):
                call(run_id)

    def test_one_content_is_not_many(self, store: ArtifactStore, harness: object) -> None:
        one: list[Any] = [b"one", b"", "one", bytearray(b"one"), memoryview(b"one"), {"a": b"one"}]
        for items in one:
            with pytest.raises(InvalidArtifactError, match="iterable of contents"):
                store.store_many(items)
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_texts_have_limits(self, store: ArtifactStore, harness: object) -> None:
        full = {f"{n}": "é" * 126 for n in range(256)}  # 256 tags, and bytes to spare
        stored = store.store(b"x", run_id="é" * 512, content_type="t" * 1024, tags=full)
        assert store.list_by_run("é" * 512) == store.search(content_type="t" * 1024, tags=full) == [stored]
        assert store.release(stored.artifact_id, "é" * 512)
        long = "é" * 513
        for refused in (
            {"run_id": long},
            {"content_type": long},
            {"tags": {f"{n}": "" for n in range(257)}},
            {"tags": {"a": "é" * 16_384, "b": "é" * 16_384}},
            {"tags": {"n" * 65_537: ""}},
        ):
            with pytest.raises(InvalidArtifactError, match="at most"):
                store.store(b"x", **refused)
            with pytest.raises(InvalidArtifactError, match="at most"):
                store.search(**refused)
        for call in (store.list_by_run, store.delete_by_run, lambda run: store.touch("name", 10, run)):
            with pytest.raises(InvalidArtifactError, match="run_id has 1026 bytes, at most 1024"):
                call(long)
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_runs_and_tags_may_hold_any_text(self, store: ArtifactStore) -> None:
        text = "a\0b\r\n\x1b[2J\u202e"
        stored = store.store(b"x", run_id=text, tags={text: text})
        assert store.list_runs() == [text]
        assert store.list_by_run(text) == store.search(run_id=text, tags={text: text}) == [stored]
        assert store.get_metadata(stored.artifact_id) == stored

    @pytest.mark.parametrize(
        "content_type", [None, 1, b"text/plain", "\udfff", "text/plain\r\nX-Evil: 1", "\0", "text/\x7f", "text/\x85"]
    )
    def test_content_types_are_text(self, store: ArtifactStore, content_type: Any) -> None:
        with pytest.raises(InvalidArtifactError, match="content_type"):
            store.store(b"x", content_type=content_type)

    def test_text_and_json_that_cannot_be_written(self, store: ArtifactStore, harness: object) -> None:
        with pytest.raises(InvalidArtifactError, match="utf-8"):
            store.store_text("\ud800")
        with pytest.raises(InvalidArtifactError, match="encoding"):
            store.store_text("x", encoding="no-such")
        with pytest.raises(InvalidArtifactError, match="str"):
            store.store_text(b"x")  # type: ignore[arg-type]
        with pytest.raises(InvalidArtifactError, match="JSON"):
            store.store_json({"a": {1, 2}})
        circle: list[object] = []
        circle.append(circle)
        for data in (
            "\ud800",
            math.nan,
            [math.inf],
            {"a": {math.nan: 1}},
            circle,
            {1: "a", "1": "b"},
            [({None: 1, "null": 2},)],
        ):
            with pytest.raises(InvalidArtifactError, match="JSON"):
                store.store_json(data)
        with pytest.raises(InvalidArtifactError, match="collide"):
            store.store_json({"a": [{True: 1, "true": 2}]})
        assert harness.leftovers() == []  # type: ignore[attr-defined]

    def test_content_that_is_not_text_or_json(self, store: ArtifactStore) -> None:
        stored = store.store(b"\xff\xfe\x00")
        with pytest.raises(ValueError, match="utf-8"):
            store.load_text(stored.artifact_id)
        with pytest.raises(ValueError, match="utf-8"):
            store.load_json(stored.artifact_id)
        deep = store.store(b"[" * 100_000)
        with pytest.raises(ArtifactDecodeError, match="nested too deep"):
            store.load_json(deep)
