"""Reading sources: what changes in between, what cannot seek, what is left behind."""

from __future__ import annotations

import hashlib
import io
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from coatcheck import (
    Artifact,
    ArtifactMetadata,
    ArtifactNotFoundError,
    ArtifactStore,
    InMemoryArtifactStore,
    InvalidArtifactError,
)
from coatcheck.plan import run
from coatcheck import sources
from coatcheck.sources import BytesSource, Chunking, Source, open_source, read_source

CHUNKING = Chunking(size=10, threshold=25, window=2)


class Pipe(io.RawIOBase):
    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self._rest.readinto(memoryview(buffer)[:7])


def read(stream, closing: ExitStack, chunking=CHUNKING):
    return run(read_source(open_source(stream, closing), chunking, None, None, closing))


@given(st.binary(max_size=120), st.integers(1, 30), st.integers(1, 60), st.integers(1, 4), st.booleans())
def test_a_source_is_the_bytes_that_were_there(content, size, threshold, window, seekable) -> None:
    chunking = Chunking(size, threshold, window)
    with ExitStack() as closing:
        source = read(io.BytesIO(content) if seekable else Pipe(content), closing, chunking)
        if len(content) < threshold:
            assert source == content
            return
        assert isinstance(source, Source)
        assert (source.size, source.digest) == (len(content), hashlib.sha256(content).digest())
        same = BytesSource(content, source.digest, size)
        for _ in range(2):  # as often as needed, in any order
            for first in reversed(range(0, chunking.count(len(content)), window)):
                pairs = zip(source.chunks(first, window), same.chunks(first, window), strict=True)
                for n, (chunk, expected) in enumerate(pairs, first):
                    assert bytes(chunk.data) == bytes(expected.data) == content[n * size : (n + 1) * size]
                    assert chunk.checksum == expected.checksum == xxhash.xxh3_64_intdigest(chunk.data)


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda file: file.write_bytes(b"y" * 95), "changed"),
        (lambda file: file.write_bytes(b"x" * 94 + b"y"), "changed"),
        (lambda file: file.write_bytes(b"x" * 94), "shorter"),
        (lambda file: file.write_bytes(b""), "shorter"),
        (lambda file: file.write_bytes(b"x" * 96), "longer"),
    ],
)
def test_a_file_that_changes_is_noticed(tmp_path, change, how) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 95)
    with ExitStack() as closing:
        source = read(file, closing)
        change(file)
        with pytest.raises(InvalidArtifactError, match=f"{how} while it was read"):
            for first in range(0, 10, 2):
                source.chunks(first, 2)


def test_only_a_regular_file_is_read_by_another_thread(tmp_path, monkeypatch) -> None:
    readers: dict[type, set[int]] = {}
    fill = sources._fill

    def noting(stream, buffer):
        readers.setdefault(type(stream), set()).add(threading.get_ident())
        return fill(stream, buffer)

    class Own(io.BytesIO):
        """A caller's own kind of stream."""

    monkeypatch.setattr(sources, "_fill", noting)
    (tmp_path / "file").write_bytes(b"x" * 95)
    with ExitStack() as closing:
        assert read(tmp_path / "file", closing).apart
        assert not read(Own(b"x" * 95), closing).apart
    here = threading.get_ident()
    assert readers[Own] == {here}
    assert here not in readers[io.BufferedReader]


def test_a_file_is_read_here_where_no_thread_can_be_had(tmp_path, monkeypatch) -> None:
    """As at the end of the interpreter."""

    def submit(*_) -> None:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    (tmp_path / "file").write_bytes(b"x" * 95)
    with ExitStack() as closing:
        assert read(tmp_path / "file", closing).digest == hashlib.sha256(b"x" * 95).digest()


def test_files_are_closed_and_copies_removed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = []
    temporary = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: made.append(temporary()) or made[-1])
    pipe = Pipe(b"x" * 95)
    with ExitStack() as closing:
        assert read(pipe, closing).size == 95
        assert not made[0].closed
    assert made[0].closed
    assert not pipe.closed
    assert list(tmp_path.iterdir()) == []


class Minimal(ArtifactStore):
    """Somebody else's store: the abstract methods and nothing more."""

    def __init__(self) -> None:
        self._inner = InMemoryArtifactStore()

    def store(self, content, *, content_type="application/octet-stream", run_id=None, tags=None, artifact_id=None):
        return self._inner.store(content, content_type=content_type, run_id=run_id, tags=tags, artifact_id=artifact_id)

    def load(self, artifact_id) -> Artifact | None:
        return self._inner.load(artifact_id)

    def get_metadata(self, artifact_id) -> ArtifactMetadata | None:
        return self._inner.get_metadata(artifact_id)

    def exists(self, artifact_id) -> bool:
        return self._inner.exists(artifact_id)

    def delete(self, artifact_id) -> bool:
        return self._inner.delete(artifact_id)

    def list_by_run(self, run_id):
        return self._inner.list_by_run(run_id)

    def list_all(self, *, limit=1000):
        return self._inner.list_all(limit=limit)


def test_stores_of_others_stream_by_way_of_memory(tmp_path) -> None:
    store, calls = Minimal(), []
    path = tmp_path / "file"
    path.write_bytes(b"content")
    stored = store.store_file(path, run_id="a", tags={"k": "v"}, progress=lambda *call: calls.append(call))
    assert store.store_file(Pipe(b"content")).digest == stored.digest
    assert calls == [(7, 7)]
    assert store.load_range(stored.artifact_id, -3) == b"ent"
    assert store.load_range("absent") is None
    assert store.open("absent") is None
    with store.open(stored.artifact_id) as reader:
        assert reader.metadata.artifact_id == stored.artifact_id
        assert io.BufferedReader(reader).read(4) == b"cont"
    with pytest.raises(InvalidArtifactError, match="binary"):
        store.store_file(b"content")
    with pytest.raises(InvalidArtifactError, match="start"):
        store.load_range(stored.artifact_id, "1")


def test_stores_of_others_link_what_they_can_load() -> None:
    store = Minimal()
    source = store.store(b"content", content_type="text/x", run_id="a", tags={"k": "v"})
    link = store.link(source.artifact_id, "name", run_id="b")
    assert (link.artifact_id, link.run_id, link.content_type, link.tags) == ("name", "b", "text/x", {"k": "v"})
    assert store.load("name").content == b"content"
    with pytest.raises(ArtifactNotFoundError):
        store.link("absent", "other")
    with pytest.raises(TypeError, match="if_absent"):  # it knows no conditions, and says so
        store.link(source.artifact_id, "name", if_absent=True)
    with pytest.raises(NotImplementedError, match="update_metadata"):
        store.update_many(["name"], tags={})
