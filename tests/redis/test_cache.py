"""Stores with a content cache: contents come from it, and everything else from the server."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import threading

import pytest

from coatcheck import (
    ArtifactLostError,
    AsyncRedisArtifactStore,
    CacheInfo,
    CorruptArtifactError,
    RedisArtifactStore,
    compute_artifact_id,
)
from coatcheck.envelope import seal
from coatcheck.sources import Chunking
from coatcheck.testing import Blocking, eventually

from ..harnesses import chunk
from .traffic import Traffic

LARGE = hashlib.shake_128(b"large").digest(1_000_000)
MEDIUM = hashlib.shake_128(b"medium").digest(20_000)
CHUNKING = Chunking(size=100_000, threshold=300_000)
TIERS = ["memory", "disk", "both"]


def tier(name: str, directory) -> dict[str, object]:
    return {
        "cache_size": 0 if name == "disk" else 3_000_000,
        "cache_dir": None if name == "memory" else directory,
    }


@pytest.fixture(params=TIERS)
def options(request, tmp_path) -> dict[str, object]:
    return tier(request.param, tmp_path)


@pytest.fixture(params=["sync", "async"])
def cached(request, server, namespace, options):
    """A store with a cache, and one way to get at its figures."""
    if request.param == "sync":
        store = RedisArtifactStore(server.url, namespace=namespace, **options)
        store.figures = store.cache_info
    else:
        store = Blocking(lambda: AsyncRedisArtifactStore(server.url, namespace=namespace, **options))
        store.figures = store._store.cache_info
    yield store
    store.close()


def test_content_in_the_cache_is_not_sent(cached, store, client) -> None:
    ids = [
        store.store(LARGE, run_id="a").artifact_id,
        store.store(MEDIUM).artifact_id,
        store.store(LARGE[1:], artifact_id="name").artifact_id,
        store.store(MEDIUM[1:], artifact_id="small").artifact_id,
    ]
    first = [cached.load(artifact_id) for artifact_id in ids]
    assert [artifact.content for artifact in first] == [LARGE, MEDIUM, LARGE[1:], MEDIUM[1:]]
    assert cached.figures().misses == 4
    traffic = Traffic(client)
    assert [cached.load(artifact_id) for artifact_id in ids] == first
    assert traffic.gets == 0
    assert cached.load_many(["absent", *ids, *ids]) == [None, *first, *first]
    assert traffic.bytes < 50_000
    assert cached.figures().hits + cached.figures().disk_hits == 8
    assert cached.figures().misses == 4


def test_only_missing_contents_are_fetched(cached, store, client) -> None:
    contents = [os.urandom(20_000) for _ in range(20)]
    ids = [view.artifact_id for view in store.store_many(contents)]
    for artifact_id in ids[::2]:
        cached.load(artifact_id)
    traffic = Traffic(client)
    assert [artifact.content for artifact in cached.load_many(ids)] == contents
    assert traffic.gets == 10
    assert 200_000 < traffic.bytes < 250_000
    assert [artifact.content for artifact in cached.load_many(ids)] == contents
    assert traffic.gets == 10


def test_a_first_load_of_a_default_id_is_still_one_round_trip(store, server, client, namespace) -> None:
    artifact_id = store.store(MEDIUM).artifact_id
    with RedisArtifactStore(server.url, namespace=namespace, cache_size=10**6) as cached:
        cached.load(compute_artifact_id(b"absent"))
        cached.get_metadata(artifact_id)
        traffic = Traffic(client)
        assert cached.load(artifact_id).content == MEDIUM
        assert cached.load(artifact_id).content == MEDIUM
        assert traffic.trips == 2


def test_the_deleted_the_released_and_the_expired_are_not_served(cached, store) -> None:
    deleted, released, expired, kept = (store.store(LARGE[n:], run_id="a").artifact_id for n in range(4))
    for _ in range(2):
        assert all(cached.load_many([deleted, released, expired, kept]))
    store.delete(deleted)
    store.release(released, "a")
    store.touch(expired, 0.001, "a")
    eventually(lambda: store.get_metadata(expired) is None)  # content may go a millisecond earlier
    assert cached.load(deleted) is cached.load(released) is cached.load(expired) is None
    assert cached.load_many([deleted, kept, released, expired])[1].content == LARGE[3:]
    assert cached.load_many([deleted, released, expired]) == [None] * 3


def test_what_was_replaced_is_not_served(cached, store) -> None:
    for content in (LARGE, MEDIUM, b"", LARGE[1:], MEDIUM):
        view = store.store(content, artifact_id="name", tags={"n": str(len(content))})
        for _ in range(3):
            loaded = cached.load("name")
            assert (loaded.content, loaded.metadata) == (content, view)


def test_metadata_are_those_of_now(cached, store) -> None:
    artifact_id = store.store(LARGE, run_id="a", tags={"n": "1"}, ttl=60).artifact_id
    for n in range(3):
        latest = store.store(LARGE, run_id="b", tags={"n": str(n)})
        assert cached.load(artifact_id).metadata == latest
    store.release(artifact_id, "b")
    assert cached.load(artifact_id).metadata.run_id == "a"


def test_what_was_stored_here_is_in_memory(cached, client, options) -> None:
    stored = cached.store_many([LARGE, bytearray(MEDIUM)])
    traffic = Traffic(client)
    assert [artifact.content for artifact in cached.load_many([view.artifact_id for view in stored])] == [LARGE, MEDIUM]
    assert (traffic.gets == 0) is (options["cache_size"] > 0)


@pytest.mark.leaves_keys("damages what it stored")
def test_content_lost_on_the_server_is_served_from_the_cache(cached, store, client, keys) -> None:
    artifact_id = store.store(LARGE).artifact_id
    cached.load(artifact_id)
    client.delete(keys.content(artifact_id.encode()))
    assert cached.load(artifact_id).content == LARGE
    assert cached.exists(artifact_id) is store.exists(artifact_id) is False
    with pytest.raises(ArtifactLostError):
        store.load(artifact_id)


def test_damaged_files_are_fetched_again(valkey, namespace, tmp_path) -> None:
    with RedisArtifactStore(valkey.url, namespace=namespace, cache_dir=tmp_path) as store:
        artifact_id = store.store(LARGE).artifact_id
        for _ in range(3):
            assert store.load(artifact_id).content == LARGE
            [path] = (tmp_path / "coatcheck-1").iterdir()
            damaged = bytearray(path.read_bytes())
            damaged[len(damaged) // 2] ^= 1
            path.write_bytes(damaged)
        assert store.cache_info() == CacheInfo(misses=3)


def in_pieces(store, artifact_id: str, size: int = 150_000) -> bytes:
    with store.open(artifact_id) as reader:
        return b"".join(iter(lambda: reader.read(size), b""))


@pytest.mark.parametrize("way", ["load", "open"])
def test_content_in_chunks_is_served_from_the_cache(cached, store, client, options, way) -> None:
    """`load` takes it into both tiers; `open`, read to its end, into the one on disk."""
    for one in (cached, store):
        chunk(one, CHUNKING)
    ids = [store.store(LARGE).artifact_id, store.store(LARGE[1:], artifact_id="name").artifact_id]
    small = store.store(MEDIUM).artifact_id
    for artifact_id, content in zip([*ids, small], [LARGE, LARGE[1:], MEDIUM], strict=True):
        assert (cached.load(artifact_id).content if way == "load" else in_pieces(cached, artifact_id)) == content
    assert cached.figures().misses == 3
    traffic = Traffic(client)
    assert cached.load_range(small, 5, -5) == MEDIUM[5:-5]
    if way == "load" or options["cache_dir"] is not None:
        assert cached.load_range(ids[0], 199_990, 200_010) == LARGE[199_990:200_010]
        assert in_pieces(cached, "name") == LARGE[1:]
        with cached.open(ids[0]) as reader:
            reader.seek(-10, 2)
            assert reader.read() == LARGE[-10:]
        assert cached.load(ids[0]).content == LARGE
        assert cached.figures().misses == 3
    assert traffic.gets == 0
    cached.delete("name")
    assert cached.open("name") is None


@pytest.mark.parametrize("face", ["sync", "async"])
def test_only_what_was_read_in_order_to_its_end_enters_the_disk_cache(valkey, namespace, tmp_path, face) -> None:
    def opened(**more):
        options = {"namespace": namespace, "cache_dir": tmp_path, **more}
        if face == "sync":
            return chunk(RedisArtifactStore(valkey.url, **options), CHUNKING)
        return chunk(Blocking(lambda: AsyncRedisArtifactStore(valkey.url, **options)), CHUNKING)

    def kept() -> list[str]:
        own = tmp_path / "coatcheck-1"
        return [path.name for path in own.iterdir()] if own.exists() else []

    with opened() as store, opened(cache_dir_size=900_000) as narrow:
        artifact_id = store.store(LARGE).artifact_id
        assert store.load_range(artifact_id, 0, 500) == LARGE[:500]
        with store.open(artifact_id) as reader:
            assert reader.read(500_000) == LARGE[:500_000]
            reader.seek(700_000)
            assert reader.read() == LARGE[700_000:]
            assert kept() == [f".{hashlib.sha256(LARGE).hexdigest()}.tmp"]
            assert in_pieces(store, artifact_id) == LARGE  # somebody else keeps it already
        assert kept() == []
        assert in_pieces(narrow, artifact_id) == narrow.load(artifact_id).content == LARGE  # too much for it
        assert kept() == []
        with store.open(artifact_id) as reader:
            assert reader.read(500_000) == LARGE[:500_000]
            reader.seek(10)
            assert reader.read() == LARGE[10:]
            assert kept() == [hashlib.sha256(LARGE).hexdigest()]
        assert store.load(artifact_id).content == LARGE


@pytest.mark.parametrize("face", ["sync", "async"])
@pytest.mark.parametrize("at", [1, 40, 100, 150_000, 999_990, None])
def test_a_damaged_file_of_chunks_is_read_from_the_server(valkey, namespace, tmp_path, face, at) -> None:
    noise = os.urandom(1_000_000)

    def damage() -> None:
        with next((tmp_path / "coatcheck-1").iterdir()).open("r+b") as file:
            if at is None:
                file.truncate(500_000)
            else:
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 2]))

    options = {"namespace": namespace, "cache_dir": tmp_path}
    if face == "sync":
        store = RedisArtifactStore(valkey.url, **options)
    else:
        store = Blocking(lambda: AsyncRedisArtifactStore(valkey.url, **options))
    with chunk(store, CHUNKING):
        artifact_id = store.store(noise).artifact_id
        for read in (
            lambda: store.load(artifact_id).content,
            lambda: in_pieces(store, artifact_id),
            lambda: store.load_range(artifact_id, None, None),
        ):
            assert in_pieces(store, artifact_id) == noise
            damage()
            assert read() == noise
        assert in_pieces(store, artifact_id) == noise
        with store.open(artifact_id) as reader:
            first = reader.read(10)
            damage()  # while it is read
            assert first + reader.read() == noise
        assert in_pieces(store, artifact_id) == noise


def test_a_damaged_file_of_what_was_replaced_is_a_loss(valkey, namespace, tmp_path) -> None:
    with chunk(RedisArtifactStore(valkey.url, namespace=namespace, cache_dir=tmp_path), CHUNKING) as store:
        store.store(LARGE, artifact_id="name")
        assert in_pieces(store, "name") == LARGE
        with store.open("name") as reader:
            store.store(LARGE[1:], artifact_id="name")
            assert reader.read(1_000) == LARGE[:1_000]  # those are its bytes, whatever the id means by now
            for path in (tmp_path / "coatcheck-1").iterdir():
                os.truncate(path, 600_000)
            with pytest.raises(ArtifactLostError, match="deleted or replaced"):
                reader.read()


@pytest.mark.leaves_keys("forges what it stored")
def test_a_size_that_is_not_the_contents_is_noticed(cached, store, client, keys) -> None:
    artifact_id = store.store(MEDIUM).artifact_id
    assert cached.load(artifact_id).content == MEDIUM
    key = keys.artifact(artifact_id.encode())
    client.hset(key, "h", client.hget(key, "h")[:33] + b"7")
    for other in (cached, store):
        with pytest.raises(CorruptArtifactError, match="20000 bytes, metadata says 7"):
            other.load(artifact_id)


@pytest.mark.leaves_keys("forges what it stored")
def test_only_what_was_hashed_enters_a_cache(valkey, namespace, keys, tmp_path) -> None:
    forged = hashlib.sha256(MEDIUM).digest()
    name = keys.content(compute_artifact_id(MEDIUM).encode())
    with RedisArtifactStore(valkey.url, namespace=namespace, verify="checksum") as plain, valkey.client() as client:
        artifact_id = plain.store(MEDIUM).artifact_id
        genuine = client.getset(name, b"".join(seal(MEDIUM[::-1], forged)))
        assert plain.load(artifact_id).content == MEDIUM[::-1]  # that is what "checksum" means
        for options in (tier("memory", None), tier("disk", tmp_path)):
            with RedisArtifactStore(valkey.url, namespace=namespace, verify="checksum", **options) as cached:
                with pytest.raises(CorruptArtifactError, match="SHA-256"):
                    cached.load(artifact_id)
                client.set(name, genuine)
                assert cached.load(artifact_id).content == MEDIUM
                client.set(name, b"".join(seal(MEDIUM[::-1], forged)))


def test_a_cache_of_which_the_directory_is_unusable_is_no_cache(valkey, namespace, tmp_path, caplog) -> None:
    (tmp_path / "file").write_bytes(b"")
    with RedisArtifactStore(valkey.url, namespace=namespace, cache_dir=tmp_path / "file") as store:
        artifact_id = store.store(LARGE).artifact_id
        assert store.load(artifact_id).content == store.load_many([artifact_id])[0].content == LARGE
        assert store.cache_info() == CacheInfo(misses=2)
    assert len(caplog.records) == 1


def test_threads_share_a_cache(valkey, namespace) -> None:
    contents = [os.urandom(1000 * n) for n in range(1, 40)]
    wrong = []
    with RedisArtifactStore(valkey.url, namespace=namespace, cache_size=200_000) as store:
        ids = [view.artifact_id for view in store.store_many(contents)]

        def work(n: int) -> None:
            try:
                for i in range(100):
                    k = (7 * n + 11 * i) % len(ids)
                    assert store.load(ids[k]).content == contents[k]
                    assert store.cache_info().bytes <= 200_000
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        figures = store.cache_info()
    assert wrong == []
    assert figures.hits + figures.misses == 800
    assert figures.hits > 0
    assert figures.misses > 0


def _in_child(store, artifact_id, expected) -> None:
    assert store.cache_info() == CacheInfo()
    assert store.load(artifact_id).content == LARGE
    figures = store.cache_info()
    assert (figures.hits, figures.disk_hits, figures.misses) == expected
    assert store.load(artifact_id).content == LARGE


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_begin_with_the_disk_tier_alone(valkey, namespace, tmp_path, method) -> None:
    for name, expected in (("memory", (0, 0, 1)), ("both", (0, 1, 0))):
        with RedisArtifactStore(valkey.url, namespace=namespace, **tier(name, tmp_path)) as store:
            artifact_id = store.store(LARGE).artifact_id
            with RedisArtifactStore(valkey.url, namespace=namespace, **tier(name, tmp_path)) as other:
                other.load(artifact_id)
            context = multiprocessing.get_context(method)
            child = context.Process(target=_in_child, args=(store, artifact_id, expected))
            child.start()
            child.join(30)
            assert child.exitcode == 0


def test_options_of_a_cache_are_pickled_and_a_directory_stays_where_it_is(
    valkey, namespace, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = RedisArtifactStore(
        valkey.url, namespace=namespace, cache_size=10**7, cache_dir="cache", cache_dir_size=10**8
    )
    artifact_id = store.store(LARGE).artifact_id
    pickled = pickle.dumps(store)
    assert len(pickled) < 1000
    store.close()
    assert store.cache_info().bytes == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pickle.loads(pickled) as copy:
        assert copy.load(artifact_id).content == copy.load(artifact_id).content == LARGE
        assert copy.cache_info()[:3] == (1, 0, 1)
        assert copy._operations.backend._cache._disk._size == 10**8
    assert len(list((tmp_path / "cache" / "coatcheck-1").iterdir())) == 1


def test_without_a_cache_there_are_no_figures(store) -> None:
    store.load(store.store(LARGE).artifact_id)
    assert store.cache_info() == CacheInfo()
