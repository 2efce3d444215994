"""Files and streams in, readers and ranges out. Sizes are those of several chunks where a harness makes chunks tiny."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ... import (
    ArtifactLostError,
    ArtifactMetadata,
    ArtifactStore,
    InvalidArtifactError,
    compute_artifact_id,
)
from ..blocking import Blocking

LARGE = hashlib.shake_128(b"streamed").digest(65_500)  # incompressible; the last of its chunks is shorter
TEXT = b'{"key": "value", "n": 12345}, ' * 3000


class OneWay(io.RawIOBase):
    """A stream like a pipe: no seek, short reads; may raise in the middle, or never have been finished."""

    def __init__(self, content: bytes, error: Exception | None = None) -> None:
        self._rest = io.BytesIO(content)
        self._error = error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._rest.read(min(len(buffer), 7001))
        if not piece and self._error is not None:
            raise self._error
        buffer[: len(piece)] = piece
        return len(piece)


class Changing(io.BytesIO):
    """A seekable stream to which something happens when it is read the second time."""

    def __init__(self, content: bytes, change: Callable[[Changing], object]) -> None:
        super().__init__(content)
        self._change = change

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._change(self)
        return super().seek(offset, whence)


def overwrite(stream: io.BytesIO) -> None:
    """Change one byte in the middle."""
    view = stream.getbuffer()
    view[len(view) // 2] ^= 1
    view.release()


def shrink(stream: io.BytesIO) -> None:
    """Cut off the end."""
    stream.truncate(50_000)


def grow(stream: io.BytesIO) -> None:
    """Write on."""
    io.BytesIO.seek(stream, 0, os.SEEK_END)
    stream.write(b"more")


def opened(store: ArtifactStore, artifact_id: str) -> Any:
    """A reader; there has to be an artifact."""
    reader = store.open(artifact_id)
    assert reader is not None
    return reader


class Streaming:
    @pytest.mark.parametrize("size", [0, 1, 9_999, 20_000, 24_999, 25_000, 30_000, 65_500])
    def test_a_file_is_stored_like_its_bytes(self, store: ArtifactStore, tmp_path: Path, size: int) -> None:
        path = tmp_path / "file"
        path.write_bytes(LARGE[:size])
        stored = store.store_file(path, content_type="text/x", run_id="run", tags={"k": "v"}, ttl=60)
        assert stored.artifact_id == compute_artifact_id(LARGE[:size])
        assert (stored.content_type, stored.size_bytes, stored.run_id) == ("text/x", size, "run")
        assert stored.tags == {"k": "v"}
        assert stored.expires_at is not None
        assert store.get_metadata(stored.artifact_id) == stored
        loaded = store.load(stored.artifact_id)
        assert loaded is not None
        assert loaded.content == LARGE[:size]
        assert type(loaded.content) is bytes
        assert store.store(LARGE[:size], run_id="run").artifact_id == stored.artifact_id
        assert store.stats().contents == 1
        assert store.check(read_data=True).problems == []

    @pytest.mark.parametrize("content", [b"short", LARGE, TEXT], ids=["short", "large", "text"])
    def test_streams_are_read_from_where_they_stand_and_left_open(self, store: ArtifactStore, content: bytes) -> None:
        for stream in (io.BytesIO(b"before" + content), io.BufferedReader(OneWay(b"before" + content))):
            assert stream.read(6) == b"before"
            stored = store.store_file(stream, artifact_id="name")
            assert not stream.closed
            loaded = store.load("name")
            assert loaded is not None
            assert loaded.content == content
            assert stored.size_bytes == len(content)

    def test_anything_with_read_is_a_stream(self, store: ArtifactStore) -> None:
        class Reads:
            def __init__(self) -> None:
                self.read = io.BytesIO(LARGE).read

        stored = store.store_file(Reads())  # type: ignore[arg-type]  # as far as types go
        assert store.load_range(stored.artifact_id) == LARGE
        assert store.store_file(OneWay(LARGE)).digest == stored.digest

    def test_batches_and_plain_stores_take_large_content_too(self, store: ArtifactStore) -> None:
        views = store.store_many([LARGE, b"small", TEXT], run_id="run")
        loaded = store.load_many([view.artifact_id for view in views] + ["absent"])
        assert [artifact and artifact.content for artifact in loaded] == [LARGE, b"small", TEXT, None]
        assert store.stats().content_bytes == len(LARGE) + 5 + len(TEXT)
        assert store.delete_by_run("run") == 3

    def test_everything_is_gone_when_a_large_artifact_is(self, store: ArtifactStore, harness: Any) -> None:
        stored = store.store_file(io.BytesIO(LARGE), run_id="a")
        store.store(LARGE, run_id="b", artifact_id="name", ttl=60)
        assert store.delete(stored.artifact_id)
        assert store.load_range("name") == LARGE
        assert store.touch("name", 600, "b")
        assert store.release("name", "b")
        assert harness.leftovers() == []

    def test_an_explicit_id_gets_other_large_content(self, store: ArtifactStore, harness: Any) -> None:
        store.store_file(io.BytesIO(LARGE), artifact_id="name", run_id="a")
        store.store_file(io.BytesIO(TEXT), artifact_id="name", run_id="b")
        assert store.load_range("name") == TEXT
        assert store.list_by_run("a") == []
        store.store(b"small", artifact_id="name")
        assert store.load_range("name") == b"small"
        store.delete("name")
        assert harness.leftovers() == []
        with pytest.raises(InvalidArtifactError, match="hash of other content"):
            store.store(b"x", artifact_id=store.store_file(io.BytesIO(LARGE)).artifact_id)

    @pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
    def test_a_reader_reads_like_a_file(self, store: ArtifactStore, large: bool) -> None:
        content = LARGE if large else LARGE[:5000]
        stored = store.store(content, run_id="run", tags={"k": "v"})
        with opened(store, stored.artifact_id) as reader:
            assert reader.metadata == stored
            assert reader.size == len(content)
            assert reader.readable()
            assert reader.seekable()
            assert not reader.writable()
            assert reader.read(0) == b""
            assert reader.read(10) == content[:10]
            assert reader.tell() == 10
            assert reader.read() == content[10:]
            assert reader.read() == reader.read(5) == b""
            assert reader.seek(-100, os.SEEK_END) == len(content) - 100
            assert reader.read(1000) == content[-100:]
            assert reader.seek(3000) == 3000
            assert reader.seek(-500, os.SEEK_CUR) == 2500
            buffer = bytearray(2000)
            assert reader.readinto(buffer) == 2000
            assert bytes(buffer) == content[2500:4500]
            assert reader.seek(len(content) + 50) == len(content) + 50
            assert reader.read(1) == b""
            assert reader.readinto(buffer) == 0
            for bad in [(-1, 0), (0, 9), (-len(content) - 1, 2)]:
                with pytest.raises(ValueError, match=r"seek|whence"):
                    reader.seek(*bad)
            reader.seek(1)
            assert reader.readall() == content[1:]

    def test_a_reader_serves_the_standard_library(self, store: ArtifactStore) -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as writing:
            writing.writestr("large", LARGE)
            writing.writestr("lines", "one\ntwo\n")
        stored = store.store_file(io.BytesIO(archive.getvalue()))
        with zipfile.ZipFile(opened(store, stored.artifact_id)) as reading:
            assert reading.read("large") == LARGE
            assert list(io.TextIOWrapper(reading.open("lines"))) == ["one\n", "two\n"]
        copy = io.BytesIO()
        with opened(store, stored.artifact_id) as reader:
            shutil.copyfileobj(reader, copy, 3333)
        assert copy.getvalue() == archive.getvalue()
        text = store.store(TEXT)
        with io.BufferedReader(opened(store, text.artifact_id)) as buffered:
            assert buffered.readline() == TEXT

    def test_absent_artifacts_cannot_be_opened(self, store: ArtifactStore) -> None:
        assert store.open("absent") is None
        assert store.open("0" * 32) is None
        assert store.load_range("absent", 0, 1) is None
        for call in (store.open, store.load_range):
            with pytest.raises(InvalidArtifactError, match="artifact_id"):
                call("a/b")

    @pytest.mark.parametrize("content", [b"", b"short content", LARGE], ids=["empty", "short", "large"])
    def test_ranges_follow_the_rules_of_slices(self, store: ArtifactStore, content: bytes) -> None:
        stored = store.store(content)
        ends = [None, 0, 1, 9_999, 10_000, 10_001, 35_000, len(content), 10**30, -1, -10_001, -(10**30), True]
        for start in ends:
            for stop in ends:
                assert store.load_range(stored.artifact_id, start, stop) == content[start:stop], (start, stop)

    def test_a_reader_gives_ranges_in_pieces(self, store: ArtifactStore) -> None:
        stored = store.store(LARGE)
        with store.open(stored, required=True) as reader:
            assert reader.read(10) == LARGE[:10]
            for start, stop in ((None, None), (9_999, 30_001), (-1024, None), (5, 5), (10, 2), (0, 10**9)):
                assert b"".join(reader.iter_range(start, stop)) == LARGE[start:stop]
            assert max(map(len, reader.iter_range())) <= len(LARGE)
            assert reader.read(10) == LARGE[10:20]
            with pytest.raises(InvalidArtifactError, match="start"):
                reader.iter_range("0")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="closed"):
            list(reader.iter_range())

    @pytest.mark.parametrize("size", [0, 10, 65_500])
    def test_an_asyncio_store_takes_async_iterables(self, store: ArtifactStore, harness: Any, size: int) -> None:
        async def body(last: object = b"") -> AsyncIterator[Any]:
            for start in range(0, size, 7_001):
                yield memoryview(LARGE)[start : min(start + 7_001, size)]
            yield last

        def put(source: object) -> ArtifactMetadata:
            return store.store_file(source, run_id="a", content_type="text/x")  # type: ignore[arg-type]

        if not isinstance(store, Blocking):
            with pytest.raises(InvalidArtifactError, match="only an asyncio store"):
                put(body())
            return
        for last in ("text", 5):
            with pytest.raises(InvalidArtifactError, match="the iterable gives"):
                put(body(last))
        assert harness.leftovers() == []
        stored = put(body())
        assert stored == store.list_by_run("a")[0]
        assert store.load(stored, required=True).content == LARGE[:size]

    @pytest.mark.parametrize("bound", ["1", 1.0, b"1", [1]])
    def test_ranges_are_whole_numbers(self, store: ArtifactStore, bound: Any) -> None:
        with pytest.raises(InvalidArtifactError, match="start"):
            store.load_range("name", bound)
        with pytest.raises(InvalidArtifactError, match="stop"):
            store.load_range("name", 0, bound)

    def test_a_closed_reader_says_so(self, store: ArtifactStore) -> None:
        reader = opened(store, store.store(LARGE).artifact_id)
        assert reader.read(10) == LARGE[:10]
        reader.close()
        reader.close()
        assert reader.closed
        for act in (reader.read, reader.tell, lambda: reader.seek(0), lambda: reader.readinto(bytearray(1))):
            with pytest.raises(ValueError, match="closed"):
                act()

    @pytest.mark.parametrize("how", ["deleted", "replaced"])
    def test_a_reader_never_mixes_contents(self, store: ArtifactStore, how: str) -> None:
        store.store(LARGE, artifact_id="name")
        reader = opened(store, "name")
        begin = reader.read(10)
        if how == "deleted":
            store.delete("name")
        else:
            store.store(TEXT, artifact_id="name")
        try:
            rest = reader.read()
        except ArtifactLostError as error:
            assert "name" in str(error)
            assert "open it again" in str(error)
        else:
            assert begin + rest == LARGE
        reader.close()

    def test_a_reader_goes_on_when_the_same_content_comes_back(self, store: ArtifactStore) -> None:
        stored = store.store(LARGE)
        with opened(store, stored.artifact_id) as reader:
            begin = reader.read(10)
            store.delete(stored.artifact_id)
            store.store(LARGE)
            assert begin + reader.read() == LARGE

    @pytest.mark.parametrize("source", [b"bytes", 1, None, object(), io.StringIO("text")])
    def test_sources_are_paths_or_binary_streams(self, store: ArtifactStore, harness: Any, source: Any) -> None:
        with pytest.raises(InvalidArtifactError, match="binary"):
            store.store_file(source)
        assert harness.leftovers() == []

    def test_text_and_useless_streams_are_refused(self, store: ArtifactStore, harness: Any, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("text")

        class Text:
            def read(self, _size: int) -> str:
                return "text"

        class NothingYet(OneWay):
            def readinto(self, _buffer: Any) -> Any:
                return None

        closed = io.BytesIO()
        closed.close()
        with path.open() as text, path.open("ab") as writing:
            sources: list[tuple[Any, str]] = [
                (text, "binary mode"),
                (Text(), "binary mode"),
                (writing, "not open for reading"),
                (closed, "closed"),
                (NothingYet(b""), "non-blocking"),
            ]
            for source, reason in sources:
                with pytest.raises(InvalidArtifactError, match=reason):
                    store.store_file(source)
        with pytest.raises(FileNotFoundError):
            store.store_file(tmp_path / "absent")
        with pytest.raises(IsADirectoryError):
            store.store_file(tmp_path)
        path.unlink()
        assert harness.leftovers() == []

    def test_arguments_are_checked_before_anything_is_read(self, store: ArtifactStore, tmp_path: Path) -> None:
        absent = tmp_path / "absent"
        bad: list[dict[str, Any]] = [{"ttl": 0}, {"tags": {"a": 1}}, {"run_id": ""}, {"artifact_id": "a/b"}]
        for arguments in bad:
            with pytest.raises(InvalidArtifactError):
                store.store_file(absent, **arguments)

    @pytest.mark.parametrize("length", [10, 65_500])
    def test_a_stream_that_raises_leaves_nothing(self, store: ArtifactStore, harness: Any, length: int) -> None:
        with pytest.raises(RuntimeError, match="in the middle"):
            store.store_file(OneWay(LARGE[:length], RuntimeError("in the middle")))
        assert harness.leftovers() == []

    @pytest.mark.parametrize("change", [overwrite, shrink, grow])
    def test_a_source_that_changes_is_refused(self, store: ArtifactStore, harness: Any, change: Any) -> None:
        source = Changing(LARGE, change)
        try:
            stored = store.store_file(source)
        except InvalidArtifactError as error:
            assert "while it was read" in str(error)
            assert harness.leftovers() == []
        else:  # read in one piece
            assert store.load_range(stored.artifact_id) == LARGE

    def test_progress_ends_when_everything_is_stored(self, store: ArtifactStore) -> None:
        sources: list[Any] = [io.BytesIO(LARGE), OneWay(TEXT), io.BytesIO(LARGE), io.BytesIO(b"short"), io.BytesIO()]
        for source in sources:
            calls: list[tuple[int, int | None]] = []
            size = store.store_file(source, progress=lambda *call, told=calls: told.append(call)).size_bytes
            assert calls[-1] == (size, size)
            assert calls.count((size, size)) == 1
            first = [done for done, total in calls if total is None]
            second = [done for done, total in calls if total is not None]
            assert calls == [(done, None) for done in first] + [(done, size) for done in second]
            assert first == sorted(first)
            assert second == sorted(second)

    def test_an_error_in_progress_stops_it(self, store: ArtifactStore, harness: Any) -> None:
        def stop(_done: int, total: int | None) -> None:
            if total is not None:
                raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            store.store_file(OneWay(LARGE), progress=stop)
        artifact_id = compute_artifact_id(LARGE)
        if not store.exists(artifact_id):  # else the only call was the last one
            assert harness.leftovers() == []

    def test_a_reader_of_a_closed_store_says_so(self, harness: Any) -> None:
        with harness.open() as store:
            reader = opened(store, store.store(LARGE).artifact_id)
            reader.read(1)
        with pytest.raises(Exception, match="closed"):
            reader.read()
        reader.close()
