"""The content cache by itself: what it keeps, for how long, and what it never hands out."""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import random
import stat
import threading
import time
from pathlib import Path

import pytest
import xxhash

from coatcheck.cache import OVERHEAD, CacheInfo, ContentCache, Fetched
from coatcheck.compression import Zstd
from coatcheck.cached import Filling
from coatcheck.disk_cache import DiskCache
from coatcheck.envelope import RAW, seal
from coatcheck.manifest import Entry, Manifest
from coatcheck.ids import compute_artifact_id, compute_digest
from coatcheck.plan import run


def content(n: int, size: int = 1000) -> bytes:
    return hashlib.shake_128(b"%d" % n).digest(size)


def fetched(plain: bytes) -> Fetched:
    digest = compute_digest(plain)
    return Fetched(digest, plain, b"".join(seal(plain, digest, "", Zstd())))


def look(cache: ContentCache, *plains: bytes) -> list[bool]:
    """Which contents a cache serves; what it serves is right."""
    found = run(cache.fetch([compute_digest(plain) for plain in plains]))
    assert all(compute_digest(plain) == digest for digest, plain in found.items())
    return [compute_digest(plain) in found for plain in plains]


def remember(cache: ContentCache, *plains: bytes) -> None:
    for plain in plains:
        cache.remember(compute_digest(plain), plain)


# Memory --------------------------------------------------------------------------------------------------------------


def test_the_least_recently_used_goes_first() -> None:
    a, b, c, d = map(content, range(4))
    cache = ContentCache(3 * (1000 + OVERHEAD))
    remember(cache, a, b, c)
    assert look(cache, a) == [True]
    remember(cache, d)
    assert look(cache, a, b, c, d) == [True, False, True, True]
    remember(cache, a, b)  # a is there already
    assert look(cache, a, b, c, d) == [True, True, False, True]
    assert cache.info().bytes == 3 * (1000 + OVERHEAD)


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    small, large = content(1, 100), content(2, 10_000)
    cache = ContentCache(1000)
    remember(cache, small, large)
    assert look(cache, small, large) == [True, False]
    remember(cache, content(3, 1000 - OVERHEAD))
    assert look(cache, small, content(3, 1000 - OVERHEAD)) == [False, True]
    remember(cache, content(4, 1001 - OVERHEAD))
    assert look(cache, content(3, 1000 - OVERHEAD), content(4, 1001 - OVERHEAD)) == [True, False]


def test_empty_contents_are_bounded_too() -> None:
    cache = ContentCache(10 * OVERHEAD)
    for n in range(1000):
        cache.remember(compute_digest(b"%d" % n), b"")
    assert cache.info().bytes == 10 * OVERHEAD


def test_another_digest_with_the_same_tag_is_not_served() -> None:
    cache = ContentCache(10_000)
    digest = compute_digest(b"content")
    cache.remember(digest, b"content")
    other = digest[:16] + bytes(16)
    assert run(cache.fetch([other])) == {}
    cache.remember(other, b"longer than that")
    assert run(cache.fetch([digest, other])) == {other: b"longer than that"}
    assert cache.info().bytes == len(b"longer than that") + OVERHEAD


def test_what_is_worth_asking_for_metadata_first(tmp_path) -> None:
    cache = ContentCache(10_000)
    cache.remember(compute_digest(b"here"), b"here")
    assert cache.lacks(compute_artifact_id(b"absent"))
    assert not cache.lacks(compute_artifact_id(b"here"))
    assert not cache.lacks("an-explicit-id")
    assert not ContentCache(0, DiskCache(tmp_path, 1000, "full")).lacks(compute_artifact_id(b"absent"))


def test_figures() -> None:
    cache = ContentCache(10_000)
    a, b = fetched(content(1)), fetched(content(2))
    assert cache.info() == CacheInfo() == (0, 0, 0, 0)
    run(cache.keep([a, b]))
    look(cache, a.content, b.content, content(3))
    assert cache.info() == CacheInfo(hits=2, misses=2, bytes=2 * (1000 + OVERHEAD))
    cache.clear()
    assert cache.info() == CacheInfo(hits=2, misses=2)
    assert look(cache, a.content) == [False]


def test_threads_never_exceed_the_bound_nor_get_other_bytes() -> None:
    size = 20_000
    cache = ContentCache(size)
    wrong: list[object] = []
    plains = [content(n, 100 + 37 * n % 3000) for n in range(60)]

    def work(seed: int) -> None:
        order = random.Random(seed)
        try:
            for _ in range(2000):
                plain = order.choice(plains)
                remember(cache, plain)
                look(cache, *order.sample(plains, 3))
                if not 0 <= cache.info().bytes <= size:
                    wrong.append(cache.info())
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    held = sum(len(plain) + OVERHEAD for plain in plains if look(cache, plain) == [True])
    assert held == cache.info().bytes > size / 2


def _use(cache: ContentCache) -> None:
    assert cache.info() == CacheInfo()
    remember(cache, b"from the child")
    assert look(cache, b"from the child", b"from the parent") == [True, False]


def test_a_forked_child_waits_for_no_thread_of_its_parent() -> None:
    cache = ContentCache(10_000)
    remember(cache, b"from the parent")
    child = multiprocessing.get_context("fork").Process(target=_use, args=(cache,))
    with cache._lock:  # as if another thread held it
        child.start()
        child.join(20)
        child.kill()
        child.join()
    assert child.exitcode == 0
    assert look(cache, b"from the parent") == [True]


# Disk ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path) -> Path:
    return tmp_path / "cache"


def on_disk(directory: Path, size: int = 1_000_000) -> ContentCache:
    """A cache without a memory tier."""
    return ContentCache(0, DiskCache(directory, size, "full"))


def files(directory: Path) -> list[Path]:
    return sorted((directory / "coatcheck-1").iterdir())


def test_contents_outlive_the_process(directory) -> None:
    a, b = content(1), b"text " * 1000
    run(on_disk(directory).keep(map(fetched, (a, b))))
    cache = on_disk(directory)
    assert look(cache, a, content(3), b) == [True, False, True]
    assert cache.info() == CacheInfo(disk_hits=2)
    assert [path.name for path in files(directory)] == sorted(hashlib.sha256(plain).hexdigest() for plain in (a, b))
    assert sum(path.stat().st_size for path in files(directory)) < 1500  # sealed, and so compressed


def test_a_hit_on_disk_is_in_memory_afterwards(directory) -> None:
    run(on_disk(directory).keep([fetched(b"content")]))
    cache = ContentCache(10_000, DiskCache(directory, 10_000, "full"))
    assert look(cache, b"content") == look(cache, b"content") == [True]
    assert cache.info() == CacheInfo(hits=1, disk_hits=1, bytes=7 + OVERHEAD)


def test_only_the_user_may_look(directory) -> None:
    run(on_disk(directory).keep([fetched(b"content")]))
    own = directory / "coatcheck-1"
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert stat.S_IMODE(files(directory)[0].stat().st_mode) == 0o600
    assert not list(own.glob("*.tmp"))


def test_every_damage_is_noticed_and_dropped(directory) -> None:
    plain = b"text " * 200
    item = fetched(plain)
    other = fetched(b"other")
    for damaged in (
        [item.sealed[:n] for n in range(len(item.sealed))]
        + [item.sealed[:n] + bytes([item.sealed[n] ^ 1]) + item.sealed[n + 1 :] for n in range(len(item.sealed))]
        + [item.sealed + b"x", other.sealed, b"x" * 100_000]
    ):
        cache = on_disk(directory)
        run(cache.keep([item]))
        [path] = files(directory)
        path.write_bytes(damaged)
        assert look(cache, plain) == [False]
        assert files(directory) == []


def test_symbolic_links_and_other_things_are_not_read(directory, tmp_path) -> None:
    item = fetched(b"content")
    run(on_disk(directory).keep([item]))
    [path] = files(directory)
    outside = tmp_path / "outside"
    path.rename(outside)
    before = outside.stat().st_mtime_ns
    path.symlink_to(outside)
    assert look(on_disk(directory), b"content") == [False]
    assert not path.is_symlink()
    assert outside.read_bytes() == item.sealed
    assert outside.stat().st_mtime_ns == before
    os.mkfifo(path)
    assert look(on_disk(directory), b"content") == [False]
    path.symlink_to(outside)
    run(on_disk(directory).keep([item]))  # replaces the link, not its target
    assert not path.is_symlink()
    assert outside.stat().st_mtime_ns == before


@pytest.mark.parametrize("obstacle", ["link", "others", "file", "file above", "swap"])
def test_a_directory_that_cannot_be_trusted_is_not_used(obstacle, directory, tmp_path, caplog) -> None:
    elsewhere = tmp_path / "elsewhere"
    run(on_disk(elsewhere).keep([fetched(b"content")]))
    own = directory / "coatcheck-1"
    if obstacle == "file above":
        directory.write_bytes(b"")
    else:
        directory.mkdir()
        if obstacle == "link":
            own.symlink_to(elsewhere / "coatcheck-1")
        elif obstacle == "others":
            (elsewhere / "coatcheck-1").rename(own)
            own.chmod(0o755)
        elif obstacle == "swap":
            (elsewhere / "coatcheck-1").rename(own)
            directory.chmod(0o777)
        else:
            own.write_bytes(b"")
    cache = on_disk(directory)
    for _ in range(3):
        assert look(cache, b"content") == [False]
        run(cache.keep([fetched(b"content"), fetched(b"more")]))
    assert len(caplog.records) == 1
    assert "contents come from the server" in caplog.text
    assert not directory.is_dir() or not own.is_dir() or len(list(own.iterdir())) == 1


def _on_a_full_disk(directory: Path) -> None:
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    cache = on_disk(directory)
    run(cache.keep([fetched(content(1, 10_000))]))
    assert look(cache, content(1, 10_000)) == [False]
    filled(DiskCache(directory, 100_000, "full"))
    assert files(directory) == []  # nor half a file
    run(cache.keep([fetched(content(2))]))
    assert look(cache, content(2)) == [True]


def test_a_full_disk_is_no_error(directory) -> None:
    child = multiprocessing.get_context("fork").Process(target=_on_a_full_disk, args=(directory,))
    child.start()
    child.join(20)
    assert child.exitcode == 0


def test_the_least_recently_used_file_goes_first(directory) -> None:
    cache = on_disk(directory, 10 * 1050)
    plains = [content(n) for n in range(11)]
    run(cache.keep(map(fetched, plains[:10])))
    for age, plain in enumerate(plains[:10]):
        os.utime(directory / "coatcheck-1" / hashlib.sha256(plain).hexdigest(), (0, 1_000_000 + age))
    assert look(cache, plains[0]) == [True]
    run(cache.keep([fetched(plains[10])]))
    assert look(cache, *plains) == [True] + [False] * 3 + [True] * 7  # down to seven eighths


def test_what_is_larger_than_the_disk_tier_is_not_kept(directory) -> None:
    cache = on_disk(directory, 1000)
    run(cache.keep([fetched(content(1, 951)), fetched(content(2, 950))]))
    assert look(cache, content(1, 951), content(2, 950)) == [False, True]


def test_what_a_crash_left_is_removed_and_strangers_are_not(directory) -> None:
    run(on_disk(directory).keep([fetched(b"content")]))
    own = directory / "coatcheck-1"
    (own / ".1.tmp").write_bytes(b"old")
    os.utime(own / ".1.tmp", (0, time.time() - 4000))
    (own / ".2.tmp").write_bytes(b"being written")
    (own / "README").write_bytes(b"x" * 10_000)
    cache = on_disk(directory, 2000)
    for n in range(20):
        run(cache.keep([fetched(content(n))]))
    names = {path.name for path in files(directory)}
    assert {".2.tmp", "README"} < names
    assert ".1.tmp" not in names
    assert len(names) == 3


def _share(directory: Path, seed: int, size: int) -> None:
    order = random.Random(seed)
    cache = on_disk(directory, size)
    for _ in range(300):
        plain = content(order.randrange(200), 1000)
        if look(cache, plain) == [False]:
            run(cache.keep([fetched(plain)]))
    assert cache.info().disk_hits > 0


def test_processes_share_a_directory_within_its_bound(directory) -> None:
    size = 100_000
    children = [
        multiprocessing.get_context("spawn").Process(target=_share, args=(directory, seed, size)) for seed in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    held = sum(path.stat().st_size for path in files(directory))
    assert size / 2 < held <= size + 2 * (size / 16 + 1050)
    assert not list((directory / "coatcheck-1").glob("*.tmp"))
    cache = on_disk(directory)
    served = look(cache, *(content(n, 1000) for n in range(200)))
    assert sum(served) == len(files(directory))


def test_a_directory_that_vanishes_is_made_again(directory) -> None:
    cache = on_disk(directory)
    run(cache.keep([fetched(b"content")]))
    files(directory)[0].unlink()
    (directory / "coatcheck-1").rmdir()
    assert look(cache, b"content") == [False]
    run(cache.keep([fetched(b"content")]))
    assert look(cache, b"content") == [True]


CHUNKS = [hashlib.shake_128(b"%d" % n).digest(1000) for n in range(10)]


def manifest(chunks=CHUNKS, digest: bytes | None = None) -> Manifest:
    whole = b"".join(chunks)
    entries = [Entry(RAW, len(chunk), xxhash.xxh3_64_intdigest(chunk)) for chunk in chunks]
    return Manifest(digest or hashlib.sha256(whole).digest(), len(whole), 1000, b"0" * 16, entries)


def filled(disk: DiskCache, chunks=CHUNKS) -> None:
    filling = disk.begin(manifest(chunks))
    assert filling is not None
    for n, chunk in enumerate(chunks):
        filling.add(n, chunk)
    filling.finish()


def test_a_content_in_chunks_is_there_once_it_is_whole(directory) -> None:
    disk, digest = DiskCache(directory, 100_000, "full"), manifest().digest
    filling = disk.begin(manifest())
    assert filling is not None
    for n in (*range(9), 8, 3, 10, 9):  # what is not next is left out
        assert disk.open(digest) is None
        assert disk.begin(manifest()) is None  # one is enough
        filling.finish()
        filling.add(n, CHUNKS[n % 10])
    filling.finish()
    assert disk.read([digest]) == {digest: b"".join(CHUNKS)}
    assert disk.begin(manifest()) is None
    assert [path.name for path in files(directory)] == [digest.hex()]
    assert stat.S_IMODE(files(directory)[0].stat().st_mode) == 0o600


def test_room_is_made_for_a_content_before_it_comes(directory) -> None:
    cache = on_disk(directory, 20_000)
    run(cache.keep(fetched(content(n)) for n in range(15)))
    disk = DiskCache(directory, 20_000, "full")
    filling = disk.begin(manifest())
    assert filling is not None
    assert sum(path.stat().st_size for path in files(directory)) + 10_000 < 20_000
    assert DiskCache(directory, 10_000, "full").begin(manifest()) is None  # more than all of it
    filling.close()
    assert not list((directory / "coatcheck-1").glob(".*"))


def test_what_a_crash_left_of_a_content_is_never_read_and_made_anew_later(directory) -> None:
    disk, digest = DiskCache(directory, 100_000, "full"), manifest().digest
    filled(disk, CHUNKS[:1])
    left = directory / "coatcheck-1" / f".{digest.hex()}.tmp"
    left.write_bytes(b"half of it")
    assert disk.open(digest) is disk.begin(manifest()) is None
    os.utime(left, (0, time.time() - 4000))
    slow = disk.begin(manifest())
    assert slow is not None
    os.utime(left, (0, time.time() - 4000))  # it pauses for an hour, and somebody else begins
    filled(disk)
    for n, chunk in enumerate(CHUNKS):
        slow.add(n, chunk)
    slow.finish()
    assert disk.read([digest]) == {digest: b"".join(CHUNKS)}


def test_content_that_is_not_what_its_name_says_is_dropped(directory) -> None:
    for verify, whole in (("full", {}), ("checksum", {bytes(32): b"".join(CHUNKS)})):
        disk = DiskCache(directory, 100_000, verify)
        forged = manifest(digest=bytes(32))
        filling = disk.begin(forged)
        assert filling is not None
        for n, chunk in enumerate(CHUNKS):
            filling.add(n, chunk)
        filling.finish()
        assert disk.read([forged.digest]) == whole


def _goes_on(filling: Filling) -> None:
    filling.add(5, b"x")
    filling.finish()
    filling.close()


def test_a_forked_child_keeps_out_of_what_its_parent_writes(directory) -> None:
    disk = DiskCache(directory, 100_000, "full")
    filling = disk.begin(manifest())
    assert filling is not None
    for n in range(5):
        filling.add(n, CHUNKS[n])
    child = multiprocessing.get_context("fork").Process(target=_goes_on, args=(filling,))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    for n in range(5, 10):
        filling.add(n, CHUNKS[n])
    filling.finish()
    assert disk.read([manifest().digest]) == {manifest().digest: b"".join(CHUNKS)}


def test_nobody_needs_to_close_what_is_half_kept(directory) -> None:
    filling = DiskCache(directory, 100_000, "full").begin(manifest())
    assert filling is not None
    del filling
    gc.collect()
    assert files(directory) == []
