"""Chunked content on a server: what lies there, how it ends, and what damage does to it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import threading

import pytest
import xxhash

from coatcheck import (
    AmbiguousWriteError,
    ArtifactLostError,
    AsyncRedisArtifactStore,
    CorruptArtifactError,
    InvalidArtifactError,
    RedisArtifactStore,
    StoreFullError,
    StoreUnavailableError,
    compute_artifact_id,
)
from coatcheck.backends.redis.content import upload
from coatcheck.backends.redis.session import Session
from coatcheck.backends.redis.transport.base import BrokenError
from coatcheck.manifest import Entry, Manifest
from coatcheck.envelope import header
from coatcheck.sources import Chunking
from coatcheck.testing import ENGINES, Server, eventually

from ..conftest import require
from ..harnesses import chunk
from .wire import Wire

CHUNKING = Chunking(size=10_000, threshold=20_000, window=2)
CONTENT = hashlib.shake_128(b"chunks").digest(55_000)  # six chunks
NAME = compute_artifact_id(CONTENT)
DIGEST = hashlib.sha256(CONTENT).digest()
TEXT = b"all work and no play " * 3000


@pytest.fixture
def store(server, namespace):
    with RedisArtifactStore(server.url, namespace=namespace) as store:
        yield chunk(store, CHUNKING)


@pytest.fixture
def chunks(client, namespace):
    """The chunk keys that lie there, in order."""

    def keys() -> list[bytes]:
        found = client.scan_iter(match=f"{namespace}:chunk:*", count=1000)
        return sorted(found, key=lambda key: int(key.rpartition(b":")[2]))

    return keys


def test_what_lies_there(store, client, chunks, keys) -> None:
    store.store(CONTENT, run_id="a")
    manifest = Manifest.unseal(client.get(keys.content(NAME.encode())), DIGEST)
    assert (manifest.size, manifest.chunk_size, len(manifest.chunks)) == (55_000, 10_000, 6)
    assert [client.get(key) for key in chunks()] == [CONTENT[i : i + 10_000] for i in range(0, 55_000, 10_000)]
    assert all(manifest.token in key for key in chunks())
    assert store.stats().stored_bytes == 55_000 + client.strlen(keys.content(NAME.encode()))
    stored = store.store(TEXT)
    assert store.stats().stored_bytes < 56_000 + 5_000
    assert store.load(stored.artifact_id).content == TEXT
    assert store.load_range(stored.artifact_id, 9_990, 10_010) == TEXT[9_990:10_010]


def test_chunks_end_with_their_content(store, client, namespace, chunks, keys) -> None:
    def ends() -> set[int]:
        return {client.pexpiretime(key) for key in [keys.content(NAME.encode()), *chunks()]}

    store.store(CONTENT, run_id="a", ttl=600)
    [first] = ends()
    assert first > 0
    store.store(CONTENT, run_id="b", ttl=6000)
    [second] = ends()
    assert second > first
    store.touch(NAME, 60, "b")
    assert ends() == {first}
    store.store(CONTENT, artifact_id="name", ttl=None)
    assert ends() == {-1}
    store.delete("name")
    assert ends() == {first}
    store.touch(NAME, 0.05, "a")
    store.release(NAME, "b")
    eventually(lambda: not list(client.scan_iter(match=f"{namespace}:*", count=1000)))


def test_content_that_is_there_is_not_sent_again(store, client) -> None:
    def received() -> int:
        return client.info("stats")["total_net_input_bytes"]

    store.store(CONTENT, run_id="a")
    before = received()
    store.store(CONTENT, run_id="b")
    store.store_file(io.BytesIO(CONTENT), artifact_id="name")
    assert received() - before < 30_000  # scripts, at most


def test_ranges_fetch_only_the_chunks_they_need(store, client) -> None:
    def sent() -> int:
        return client.info("stats")["total_net_output_bytes"]

    store.store(CONTENT)
    before = sent()
    assert store.load_range(NAME, 12_000, 13_000) == CONTENT[12_000:13_000]
    with store.open(NAME) as reader:
        reader.seek(-1, 2)
        assert reader.read() == CONTENT[-1:]
        assert reader.seek(51_000)
        assert reader.read(10) == CONTENT[51_000:51_010]  # from the chunk that is there already
    assert 15_000 < sent() - before < 25_000


def test_the_loser_of_two_uploads_leaves_nothing(store, chunks, server, namespace) -> None:
    def interfere(done: int, total: int | None) -> None:
        if total is not None and done == 20_000:
            with RedisArtifactStore(server.url, namespace=namespace) as other:
                chunk(other, CHUNKING).store(CONTENT, run_id="other")

    store.store_file(io.BytesIO(CONTENT), run_id="a", progress=interfere)
    assert len(chunks()) == 6
    assert {lease.run_id for lease in store.leases(NAME)} == {"a", "other"}
    assert store.check(read_data=True).problems == []


def test_an_upload_that_is_given_up_ends_by_itself(store, client, chunks) -> None:
    plan = store._operations.store_file(io.BytesIO(CONTENT), "x", {"ttl": 600}, None)
    step = plan.send(None)
    while len(chunks()) < 4:
        step = plan.send(step.run())
    plan.close()
    assert all(0 < client.pttl(key) <= upload.STAGING_MS for key in chunks())
    assert store.load(NAME) is None
    assert store.check(repair=True, grace=0).problems == []
    assert store.gc(dry_run=False, grace=0).problems == []
    assert len(chunks()) == 4
    store.store(CONTENT)
    assert store.load(NAME).content == CONTENT


def test_a_long_upload_keeps_its_chunks_alive(store, client, chunks, monkeypatch) -> None:
    monkeypatch.setattr(upload, "_REFRESH_SECONDS", 0)
    seen = []

    def watch(done: int, total: int | None) -> None:
        if total is not None and done < total:
            seen.append(min(client.pttl(key) for key in chunks()))
            for key in chunks():
                client.pexpire(key, 5000)

    store.store_file(io.BytesIO(CONTENT), progress=watch)
    assert len(seen) == 2
    assert min(seen) > 5000


def test_an_upload_starts_over_when_chunks_vanish(store, client, chunks) -> None:
    left = [chunks]

    def drop(done: int, total: int | None) -> None:
        if total is not None and done == 40_000 and left:
            client.delete(left.pop()()[1])

    store.store_file(io.BytesIO(CONTENT), progress=drop)
    assert left == []
    assert store.load(NAME).content == CONTENT
    assert len(chunks()) == 6
    store.delete(NAME)
    with pytest.raises(StoreUnavailableError, match="evicting"):
        store.store_file(
            io.BytesIO(CONTENT), progress=lambda done, total: total and done < total and client.delete(*chunks())
        )
    assert chunks() == []
    assert store.load(NAME) is None


def test_what_arrives_late_does_no_harm(store, client, chunks, keys_of, monkeypatch) -> None:
    """Everything that an upload sends may reach the server a second time, long after its connection broke."""
    monkeypatch.setattr(upload, "_REFRESH_SECONDS", 0)
    wire = Wire(store)
    store.store_file(io.BytesIO(CONTENT), run_id="a", ttl=600)
    late = wire.parts.copy()
    assert sum(b":chunk:" in bytes().join(part.buffers) for part in late) >= 5  # sent, refreshed, extended, followed
    store.store(CONTENT, run_id="b", ttl=6000)
    [end] = {client.pexpiretime(key) for key in chunks()}
    for part in late:
        wire.transport.send([part])
        assert {client.pexpiretime(key) for key in chunks()} == {end}
    assert len(chunks()) == 6
    assert store.check(read_data=True).problems == []
    assert store.load(NAME).content == CONTENT
    store.delete(NAME)
    for part in late:
        wire.transport.send([part])
        assert store.load(NAME) is None
        assert all(0 < client.pttl(key) <= upload.STAGING_MS for key in keys_of())
        client.unlink("none", *keys_of())


def test_an_upload_that_was_published_unawares_stays(store, chunks) -> None:
    session = store._operations.backend.session
    session.retry_for = 0
    send = session.transport.send

    def lose_the_reply(parts):
        [replies] = send(parts)
        if any(isinstance(reply, list) and reply[0][0] == b"ok" for reply in replies):
            return [BrokenError("lost")]
        return [replies]

    session.transport.send = lose_the_reply
    with pytest.raises(AmbiguousWriteError):
        store.store_file(io.BytesIO(CONTENT))
    session.transport.send = send
    assert store.load(NAME).content == CONTENT
    assert store.check(read_data=True).problems == []
    assert len(chunks()) == 6


def test_a_source_that_changes_leaves_no_chunks(store, chunks, tmp_path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(CONTENT)

    def write_on(done: int, total: int | None) -> None:
        if total is not None:
            with path.open("ab") as file:
                file.write(b"more")

    with pytest.raises(InvalidArtifactError, match="became longer while it was read"):
        store.store_file(path, progress=write_on)
    assert chunks() == []
    assert store.load(NAME) is None


def test_a_cancelled_upload_removes_its_chunks(server, namespace, chunks) -> None:
    async def main() -> None:
        async with AsyncRedisArtifactStore(server.url, namespace=namespace) as store:
            chunk(store, CHUNKING)
            half_way = asyncio.Event()
            task = asyncio.create_task(
                store.store_file(io.BytesIO(CONTENT), progress=lambda _, total: total and half_way.set())
            )
            await half_way.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert chunks() == []


def test_chunks_that_were_sent_and_not_answered_are_removed(store, chunks, monkeypatch) -> None:
    prepare, sent = Session.prepare, []

    def lose(self, units):
        yield from prepare(self, units)
        sent.extend(chunks())
        raise StoreUnavailableError("the answer is lost")

    monkeypatch.setattr(Session, "prepare", lose)
    with pytest.raises(StoreUnavailableError, match="the answer is lost"):
        store.store(CONTENT)
    assert (len(sent), chunks()) == (4, [])


def test_a_full_server_refuses_and_keeps_nothing_of_it(tmp_path) -> None:
    with Server(require(ENGINES[0]), "--maxmemory", "24mb", "--maxmemory-policy", "noeviction") as server:
        with RedisArtifactStore(server.url) as store, server.client() as client:
            chunk(store, Chunking(size=1_000_000, threshold=2_000_000))
            kept = store.store(b"kept")
            path = tmp_path / "too large"
            path.write_bytes(hashlib.shake_128(b"x").digest(30_000_000))
            with pytest.raises(StoreFullError):
                store.store_file(path)
            assert not list(client.scan_iter(match="*:chunk:*", count=1000))
            assert store.load(kept.artifact_id).content == b"kept"
            store.store(CONTENT)


@pytest.fixture
def damage(store, client, chunks, keys):
    store.store(CONTENT, run_id="a")
    content = keys.content(NAME.encode())

    def forge(change) -> None:
        manifest = Manifest.unseal(client.get(content), DIGEST)
        client.set(content, b"".join(change(manifest).seal()))

    def swap(first: bytes, second: bytes) -> None:
        one, other = client.mget(first, second)
        client.mset({first: other, second: one})

    def reorder(manifest: Manifest) -> Manifest:
        swap(*chunks()[:2])
        one, other, *rest = manifest.chunks
        return manifest._replace(chunks=[other, one, *rest])

    def bomb(manifest: Manifest) -> Manifest:
        import zstandard

        frame = zstandard.ZstdCompressor().compress(bytes(50_000_000))
        client.set(chunks()[1], frame)
        return manifest._replace(
            chunks=[manifest.chunks[0], Entry(1, len(frame), xxhash.xxh3_64_intdigest(frame)), *manifest.chunks[2:]]
        )

    def do(what: str) -> None:
        {
            "bit flipped": lambda: client.setrange(chunks()[1], 5_000, b"\xff\x00\xff\x00"),
            "truncated": lambda: client.set(chunks()[1], client.getrange(chunks()[1], 0, 99)),
            "swapped": lambda: swap(*chunks()[:2]),
            "reordered": lambda: forge(reorder),
            "bomb": lambda: forge(bomb),
            "manifest truncated": lambda: client.set(content, client.getrange(content, 0, 80)),
            "manifest cut short": lambda: client.set(content, client.getrange(content, 0, 55)),
            "manifest of other size": lambda: forge(lambda m: m._replace(size=59_000)),
            "manifest of tiny chunks": lambda: forge(lambda m: m._replace(chunk_size=1)),
            "manifest of no chunks": lambda: forge(lambda m: m._replace(chunk_size=0)),
            "manifest of too few": lambda: forge(lambda m: m._replace(chunks=m.chunks[:3])),
            "codec unknown": lambda: forge(lambda m: m._replace(chunks=[e._replace(codec=9) for e in m.chunks])),
            "manifest empty": lambda: client.set(content, header(2, 55_000, DIGEST, b"")),
        }[what]()

    return do


DAMAGES = [
    "bit flipped",
    "truncated",
    "swapped",
    "reordered",
    "bomb",
    "manifest truncated",
    "manifest cut short",
    "manifest of other size",
    "manifest of tiny chunks",
    "manifest of no chunks",
    "manifest of too few",
    "codec unknown",
    "manifest empty",
]


def read_in_pieces(store) -> None:
    reader = store.open(NAME)
    while reader.read(3_000):
        pass


def read_in_vain(store) -> None:
    for act in (
        lambda: store.load(NAME),
        lambda: store.load_many([NAME, "absent"]),
        lambda: store.load_range(NAME, 0, None),
        lambda: read_in_pieces(store),
    ):
        with pytest.raises((CorruptArtifactError, ArtifactLostError), match=NAME):
            act()


@pytest.mark.leaves_keys("damages what it stored")
@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_never_given_out(store, damage, what) -> None:
    damage(what)
    read_in_vain(store)


@pytest.mark.leaves_keys("damages what it stored")
@pytest.mark.parametrize("what", ["bit flipped", "truncated", "swapped"])
def test_checksums_alone_notice_damage(server, namespace, damage, what) -> None:
    damage(what)
    with RedisArtifactStore(server.url, namespace=namespace, verify="checksum") as store:
        read_in_vain(store)


def forge(client, keys, content: bytes, size: int, chunk_size: int) -> None:
    """Puts other chunks and a manifest that fits them under the name of CONTENT, as who may write our keys could."""
    name, token = NAME.encode(), b"%016x" % chunk_size
    pieces = [content[start : start + chunk_size] for start in range(0, size, chunk_size)]
    client.delete(*client.scan_iter(match=keys.chunk(name, b"*", 0)[:-1] + b"*", count=1000))
    for n, piece in enumerate(pieces):
        client.set(keys.chunk(name, token, n), piece)
    entries = [Entry(0, len(piece), xxhash.xxh3_64_intdigest(piece)) for piece in pieces]
    client.set(keys.content(name), b"".join(Manifest(DIGEST, size, chunk_size, token, entries).seal()))
    key = keys.artifact(name)
    client.hset(key, "h", client.hget(key, "h")[:33] + b"%d" % size)


@pytest.mark.leaves_keys("forges what it stored")
@pytest.mark.parametrize("verify", ["full", "checksum"])
def test_a_manifest_of_nothing_is_no_empty_content(server, namespace, store, client, keys, verify) -> None:
    store.store(CONTENT)
    forge(client, keys, b"", 0, 10_000)
    with RedisArtifactStore(server.url, namespace=namespace, verify=verify) as other:
        for act in (lambda: other.load(NAME), lambda: other.load_many([NAME]), lambda: other.open(NAME).read()):
            with pytest.raises(CorruptArtifactError, match=NAME):
                act()


@pytest.mark.leaves_keys("forges what it stored")
def test_a_manifest_that_was_renewed_is_no_way_around_the_sha_256(store, client, keys) -> None:
    store.store(CONTENT)
    evil = CONTENT[:20_000] + bytes(35_000)
    with store.open(NAME) as reader:
        assert reader.read(20_000) == CONTENT[:20_000]
        forge(client, keys, evil, len(evil), 15_000)
        with pytest.raises(CorruptArtifactError, match="SHA-256"):
            reader.read()
        reader.seek(0)
        with pytest.raises(CorruptArtifactError, match="SHA-256"):  # known to be wrong by now
            reader.read(1)
    with store.open(NAME) as reader:
        forge(client, keys, CONTENT, 44_000, 11_000)
        with pytest.raises(CorruptArtifactError, match="44000 bytes"):
            reader.read()


@pytest.mark.leaves_keys("forges what it stored")
def test_a_part_is_what_its_checksum_says_and_no_more(store, client, keys) -> None:
    store.store(CONTENT)
    evil = CONTENT[:40_000] + bytes(15_000)
    forge(client, keys, evil, len(evil), 10_000)
    assert store.load_range(NAME, 45_000, 45_010) == bytes(10)  # as docs/design.md says of P1
    for act in (lambda: store.load_range(NAME), lambda: read_in_pieces(store), lambda: store.load(NAME)):
        with pytest.raises(CorruptArtifactError, match="SHA-256"):
            act()


def test_the_rest_of_a_damaged_content_can_be_read(store, damage) -> None:
    damage("bit flipped")
    assert store.load_range(NAME, 20_000) == CONTENT[20_000:]
    with pytest.raises(CorruptArtifactError, match="chunk 1"):
        store.load_range(NAME, 19_999, 20_001)


def test_checksums_are_enough_where_that_was_asked_for(server, namespace, damage) -> None:
    damage("reordered")
    with RedisArtifactStore(server.url, namespace=namespace, verify="checksum") as store:
        assert store.load(NAME).content == CONTENT[10_000:20_000] + CONTENT[:10_000] + CONTENT[20_000:]


@pytest.mark.parametrize("what", [what for what in DAMAGES if what != "manifest of other size"])
def test_damage_is_found_repaired_and_healed(store, damage, chunks, what) -> None:
    damage(what)
    report = store.check(read_data=True)
    assert {problem.kind for problem in report.problems} & {"damaged-content", "lost-content"}
    store.check(read_data=True, repair=True, grace=0)
    store.store(CONTENT, run_id="a")
    assert store.load(NAME).content == CONTENT
    assert store.check(repair=True, grace=0, read_data=True).ok
    assert store.check(read_data=True).problems == []
    assert len(chunks()) == 6


def test_a_wrong_size_in_the_metadata_costs_no_content(store, client, keys) -> None:
    store.store(CONTENT, run_id="a")
    key = keys.artifact(NAME.encode())
    client.hset(key, "h", client.hget(key, "h")[:34] + b"54999")
    report = store.check(read_data=True, repair=True, grace=0)
    assert [problem.kind for problem in report.problems] == ["wrong-size"]
    store.store(CONTENT, run_id="a")
    assert store.load(NAME).content == CONTENT


def test_a_lost_chunk_is_told_and_healed(store, client, chunks) -> None:
    store.store(CONTENT, run_id="a", ttl=600)
    reader = store.open(NAME)
    lost = chunks()
    client.delete(lost[3])
    assert store.exists(NAME)  # it asks for the manifest only
    for act in (lambda: store.load(NAME), lambda: store.load_many([NAME]), lambda: store.load_range(NAME), reader.read):
        with pytest.raises(ArtifactLostError, match=f"{NAME} is gone"):
            act()
    assert store.load_range(NAME, 0, 25_000) == CONTENT[:25_000]
    assert [problem.kind for problem in store.check(repair=True, grace=0).problems] == ["lost-content"]
    assert len(chunks()) == 5
    store.store(CONTENT, run_id="b")
    assert len(chunks()) == 6
    assert not set(chunks()) & set(lost)
    assert store.load(NAME).content == CONTENT
    reader.seek(0)
    assert reader.read() == CONTENT  # it is the same content
    assert store.check(read_data=True).problems == []


def test_a_reader_says_that_its_artifact_is_gone(store) -> None:
    store.store(CONTENT, artifact_id="name")
    reader = store.open("name")
    assert reader.read(5) == CONTENT[:5]
    store.store(TEXT, artifact_id="name")
    assert reader.read(5) == CONTENT[5:10]  # of the chunk that it has
    with pytest.raises(ArtifactLostError, match="deleted or replaced"):
        reader.read(20_000)
    store.delete("name")
    with pytest.raises(ArtifactLostError, match="deleted or replaced"):
        reader.read(20_000)


def kinds(report) -> dict[str, int]:
    return {problem.kind: problem.count for problem in report.problems}


@pytest.mark.leaves_keys("damages what it stored")
def test_chunks_without_a_manifest_are_leftovers(store, client, chunks, keys) -> None:
    store.store(CONTENT)
    store.store(TEXT, artifact_id="other")
    client.delete(keys.content(NAME.encode()))
    report = store.gc(grace=0)
    assert kinds(report) == {"orphan-chunk": 6}
    assert report.problems[0].bytes == 55_000
    assert store.gc(dry_run=False, grace=3600).problems[0].repaired == 0  # too young
    assert kinds(store.check(grace=0)) == {"orphan-chunk": 6, "lost-content": 1}
    assert store.gc(dry_run=False, grace=0).ok
    assert store.gc(grace=0).problems == []
    assert store.load("other").content == TEXT


def test_chunks_of_another_upload_are_leftovers_unless_it_goes_on(store, client, chunks, keys) -> None:
    store.store(CONTENT)
    stray = keys.chunk(NAME.encode(), b"0" * 16, 0)
    beyond = re.sub(rb":0$", b":6", chunks()[0])
    client.set(stray, b"x", px=50_000)  # as an upload does
    assert store.gc(dry_run=False, grace=0).problems == []
    client.persist(stray)
    client.set(beyond, b"x")
    assert kinds(store.gc(grace=0)) == {"orphan-chunk": 2}
    assert store.gc(dry_run=False, grace=0).ok
    assert len(chunks()) == 6
    assert store.load(NAME).content == CONTENT


def test_orphan_content_takes_its_chunks_along(store, client, chunks, keys) -> None:
    store.store(CONTENT)
    client.delete(keys.artifact(NAME.encode()))
    report = store.gc(grace=0)
    [orphan] = [problem for problem in report.problems if problem.kind == "orphan-content"]
    assert orphan.bytes > 55_000
    store.gc(dry_run=False, grace=0)
    assert chunks() == []


@pytest.mark.parametrize("how", ["persist", "pexpire"])
def test_the_expiry_of_chunks_is_repaired(store, client, chunks, how) -> None:
    store.store(CONTENT, ttl=600)
    key = chunks()[2]
    client.persist(key) if how == "persist" else client.pexpire(key, 30_000)
    assert kinds(store.check(grace=0)) == {"wrong-expiry": 1}
    assert store.check(repair=True, grace=0).ok
    assert store.check(grace=0).problems == []
    assert len({client.pexpiretime(key) for key in chunks()}) == 1


def test_other_ways_to_cut_are_read(server, namespace, store, chunks) -> None:
    store.store(CONTENT)
    with RedisArtifactStore(server.url, namespace=namespace) as plain:
        assert plain.load(NAME).content == CONTENT
        assert plain.load_range(NAME, 15_000, 45_000) == CONTENT[15_000:45_000]
        plain.store(CONTENT, run_id="plain")  # it is there
        assert len(chunks()) == 6
        plain.delete(NAME)
        assert chunks() == []
        plain.store(CONTENT)
    assert store.load(NAME).content == CONTENT
    assert store.load_range(NAME, 15_000, 45_000) == CONTENT[15_000:45_000]
    store.store_file(io.BytesIO(CONTENT))
    assert chunks() == []


def test_a_cancelled_read_does_not_disturb_the_next(server, namespace, store) -> None:
    class Gate:
        """A hash that is held up once, in its thread."""

        def __init__(self, inner) -> None:
            self.inner, self.entered, self.go_on, self.gone = inner, *(threading.Event() for _ in range(3))

        def update(self, data) -> None:
            if not self.entered.is_set():
                self.entered.set()
                assert self.go_on.wait(20)
                self.inner.update(data)
                self.gone.set()
                return
            self.go_on.set()  # whoever gets here next lets the first one go before it
            assert self.gone.wait(20)
            self.inner.update(data)

        def digest(self) -> bytes:
            return self.inner.digest()

        def copy(self):
            return self.inner.copy()

    class Turnstile:
        """A lock; whoever has to wait for it lets the first one go on."""

        def __init__(self, gate: Gate) -> None:
            self.gate, self.inner = gate, threading.Lock()

        def __enter__(self) -> None:
            if not self.inner.acquire(blocking=False):
                self.gate.go_on.set()
                self.inner.acquire()

        def __exit__(self, *exc) -> None:
            self.inner.release()

    async def main() -> None:
        async with AsyncRedisArtifactStore(server.url, namespace=namespace) as asynchronous:
            async with await chunk(asynchronous, CHUNKING).open(NAME) as reader:
                gate = reader._cursor.opened.order._sha256 = Gate(hashlib.sha256())
                reader._cursor.opened._verifying = Turnstile(gate)
                first = asyncio.create_task(reader.read())
                await asyncio.to_thread(gate.entered.wait, 20)
                first.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await first
                assert reader.tell() == 0
                assert await reader.read() == CONTENT

    in_a_thread = Chunking(size=9_000, threshold=20_000, window=2)  # longer chunks are hashed as they come
    chunk(store, in_a_thread).store(CONTENT)
    asyncio.run(main())
