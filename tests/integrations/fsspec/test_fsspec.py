"""`CoatcheckFileSystem` beyond fsspec's own tests: what it promises, and what can go wrong."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest

from coatcheck import (
    ArtifactConflictError,
    InMemoryArtifactStore,
    InvalidArtifactError,
    StoreUnavailableError,
    open_store,
)
from coatcheck.integrations.fsspec import CoatcheckFileSystem
from coatcheck.testing import eventually

from ...test_docs import DOCS, run_snippets


@pytest.fixture
def fs(url: str, namespace: str) -> Iterator[CoatcheckFileSystem]:
    fs = CoatcheckFileSystem(url, namespace, skip_instance_cache=True)
    yield fs
    fs.close()


@pytest.fixture
def memory() -> Iterator[CoatcheckFileSystem]:
    fs = CoatcheckFileSystem("memory://", skip_instance_cache=True)
    yield fs
    fs.close()


def test_it_is_found_by_its_protocol(tmp_path: Path) -> None:
    options = {"url": f"file://{tmp_path}"}
    with fsspec.open("coatcheck://a/b.txt", "w", **options) as file:
        file.write("found")
    assert fsspec.filesystem("coatcheck", **options).cat("a/b.txt") == b"found"
    fsspec.filesystem("coatcheck", **options).close()
    CoatcheckFileSystem.clear_instance_cache()


def test_one_of_many_creates_a_file(url: str, namespace: str) -> None:
    def create(i: int) -> bool:
        fs = CoatcheckFileSystem(url, namespace, skip_instance_cache=True)
        try:
            if i % 2:
                fs.pipe_file("dir/lock", b"%d" % i, mode="create")
            else:
                with fs.open("dir/lock", "xb") as file:
                    file.write(b"%d" % i)
        except FileExistsError:
            return False
        else:
            return fs.cat("dir/lock") == b"%d" % i
        finally:
            fs.close()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(16))) == 1


def test_threads_share_a_file_system(fs: CoatcheckFileSystem) -> None:
    def there_and_back(i: int) -> bool:
        with fs.open(f"shared/{i % 4}/{i}", "wb") as file:
            file.write(b"%d" % i)
        return fs.cat_file(f"shared/{i % 4}/{i}") == b"%d" % i

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, range(40)))
    assert len(fs.find("shared")) == 40
    assert len(fs.ls("shared")) == 4


def test_who_comes_second_at_closing_loses(fs: CoatcheckFileSystem) -> None:
    first, second = fs.open("x", "xb"), fs.open("x", "xb")
    first.write(b"first")
    second.write(b"second")
    second.close()
    with pytest.raises(FileExistsError):
        first.close()
    assert fs.cat("x") == b"second"


def test_a_transaction_is_seen_at_its_end_or_not_at_all(fs: CoatcheckFileSystem) -> None:
    with fs.transaction:
        fs.pipe("in/one", b"1")
        with fs.open("in/two", "wb") as file:
            file.write(b"2")
        assert not fs.exists("in")
    assert fs.cat(["in/one", "in/two"]) == {"in/one": b"1", "in/two": b"2"}
    with pytest.raises(RuntimeError), fs.transaction:
        fs.pipe("in/three", b"3")
        raise RuntimeError
    assert fs.find("in") == ["in/one", "in/two"]


def test_a_transaction_knows_what_was_not_closed_and_what_was_interrupted(fs: CoatcheckFileSystem) -> None:
    with fs.transaction:
        fs.open("open", "wb").write(b"not closed")
        with suppress(RuntimeError), fs.open("interrupted", "wb") as file:
            file.write(b"half of")
            raise RuntimeError
    assert fs.cat("open") == b"not closed"
    assert not fs.exists("interrupted")


def test_moving_to_the_same_place_or_into_itself(fs: CoatcheckFileSystem) -> None:
    fs.pipe("dir/file", b"x")
    for same in ("dir/file", "coatcheck://dir/file", "/dir//file"):
        fs.mv("dir/file", same)
    with pytest.raises(OSError) as caught:
        fs.mv("dir", "dir/below", recursive=True)
    assert caught.value.errno == errno.EINVAL
    assert fs.find("") == ["dir/file"]
    fs.mv("dir", "other", recursive=True)
    assert fs.find("", withdirs=True) == ["other", "other/file"]
    with pytest.raises(FileNotFoundError):
        fs.mv("none", "x")
    with pytest.raises(FileNotFoundError):
        fs.rm("none", recursive=True)


def test_what_is_interrupted_leaves_what_was_there(fs: CoatcheckFileSystem) -> None:
    fs.pipe("file", b"before")
    with pytest.raises(RuntimeError), fs.open("file", "wb") as file:
        file.write(b"half of")
        raise RuntimeError
    assert fs.cat("file") == b"before"


def test_a_reader_goes_on_with_what_it_opened(fs: CoatcheckFileSystem) -> None:
    fs.pipe("file", b"old" * 1000)
    with fs.open("file") as file:
        assert file.read(3) == b"old"
        fs.pipe("file", b"new" * 1000)
        assert file.read() == b"old" * 999


def test_ranges_seeks_and_lines(fs: CoatcheckFileSystem) -> None:
    content = b"".join(b"line %d\n" % i for i in range(1000))
    fs.pipe("a/lines", content)
    assert fs.cat_file("a/lines", 10, 20) == content[10:20]
    assert fs.cat_file("a/lines", -5) == content[-5:]
    assert fs.cat_file("a/lines", 0, -5) == content[:-5]
    assert fs.cat_ranges(["a/lines"] * 2, [0, 5], [3, 9]) == [content[:3], content[5:9]]
    assert (fs.head("a/lines", 7), fs.tail("a/lines", 7)) == (content[:7], content[-7:])
    with fs.open("a/lines", "rb") as file:
        file.seek(-9, os.SEEK_END)
        assert list(file) == [b"line 999\n"]
    with fs.open("a/lines", "r") as file:
        assert sum(1 for _ in file) == 1000


def test_large_files_in_and_out(fs: CoatcheckFileSystem, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(os.urandom(1 << 20) * 20)
    fs.put_file(source, "up/large")
    fs.get_file("up/large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert fs.cat_file("up/large", 17_000_000, 17_000_100) == source.read_bytes()[17_000_000:17_000_100]
    with fs.open("up/written", "wb") as file:
        for _ in range(20):
            file.write(b"x" * (1 << 20))
    assert fs.size("up/written") == 20 << 20


def test_equal_files_are_kept_once_and_copies_send_nothing(valkey, namespace: str) -> None:
    fs = CoatcheckFileSystem(valkey.url, namespace, skip_instance_cache=True)
    with valkey.client() as client:
        content = os.urandom(1_000_000)
        fs.pipe("a/file", content)
        sent = client.info("stats")["total_net_input_bytes"]
        fs.pipe("b/file", content)
        fs.cp_file("a/file", "c/file")
        fs.mv("c/file", "d/file")
        fs.copy("a", "e", recursive=True)
        assert client.info("stats")["total_net_input_bytes"] - sent < 200_000  # scripts, the first time
    assert [fs.ukey(path) for path in ("b/file", "d/file", "e/file")] == [fs.ukey("a/file")] * 3
    assert not fs.exists("c/file")
    with open_store(valkey.url, namespace=namespace) as store:
        assert store.stats().contents == 2  # the file, and what directories are
        fs.rm(["a", "b", "c", "d", "e"], recursive=True)
        assert store.stats().artifacts == 0
    fs.close()


def test_appending_is_a_compare_and_set(fs: CoatcheckFileSystem) -> None:
    for line in (b"one\n", b"two\n"):
        with fs.open("log", "ab") as file:
            assert file.tell() == (0 if line == b"one\n" else 4)
            file.write(line)
    assert fs.cat("log") == b"one\ntwo\n"
    with pytest.raises(ArtifactConflictError), fs.open("log", "ab") as file:
        file.write(b"three\n")
        fs.pipe("log", b"another")
    assert fs.cat("log") == b"another"


def test_directories(fs: CoatcheckFileSystem) -> None:
    fs.makedirs("a/b/c")
    fs.pipe("a/file", b"1")
    assert fs.ls("a", detail=False) == ["a/b", "a/file"]
    assert (fs.ls("a/b/c"), fs.ls("", detail=False)) == ([], ["a"])
    assert fs.find("", withdirs=True) == ["a", "a/b", "a/b/c", "a/file"]
    assert fs.isdir("coatcheck://a/b/")
    fs.makedirs("a/b", exist_ok=True)
    fs.rmdir("a/b/c")
    assert not fs.exists("a/b/c")
    for call, error in [
        (lambda: fs.mkdir("a/b"), FileExistsError),
        (lambda: fs.makedirs("a/b"), FileExistsError),
        (lambda: fs.makedirs("a/file", exist_ok=True), FileExistsError),
        (lambda: fs.mkdir("no/such", create_parents=False), FileNotFoundError),
        (lambda: fs.rmdir("a"), OSError),
        (lambda: fs.rmdir("a/file"), NotADirectoryError),
        (lambda: fs.rmdir("a/none"), FileNotFoundError),
        (lambda: fs.rm_file("a/b"), IsADirectoryError),
        (lambda: fs.rm_file("a/none"), FileNotFoundError),
        (lambda: fs.rm("a"), OSError),
        (lambda: fs.rm("none"), FileNotFoundError),
        (lambda: fs.ls("none"), FileNotFoundError),
        (lambda: fs.info("none"), FileNotFoundError),
        (lambda: fs.cat_file("none"), FileNotFoundError),
        (lambda: fs.cat_file("a/b"), IsADirectoryError),
        (lambda: fs.open("none"), FileNotFoundError),
        (lambda: fs.open("a/b"), IsADirectoryError),
        (lambda: fs.pipe("a/b", b"x"), IsADirectoryError),
        (lambda: fs.pipe("", b"x"), IsADirectoryError),
        (lambda: fs.pipe("a/file/below", b"x"), NotADirectoryError),
        (lambda: fs.cp_file("none", "x"), FileNotFoundError),
        (lambda: fs.ukey("a/b"), IsADirectoryError),
    ]:
        with pytest.raises(error):
            call()
    assert fs.ls("a/file", detail=False) == ["a/file"]
    fs.rm("a", recursive=True)
    assert fs.ls("") == []


def test_what_is_said_of_a_file(fs: CoatcheckFileSystem) -> None:
    fs.pipe_file("table.json", b"{}", ttl=60)
    info = fs.info("table.json")
    assert (info["name"], info["size"], info["type"]) == ("table.json", 2, "file")
    assert (info["content_type"], info["digest"]) == ("application/json", fs.ukey("table.json"))
    assert fs.checksum("table.json") == int(info["digest"], 16)
    assert 59 < (info["expires"] - info["created"]).total_seconds() <= 60
    assert fs.created("table.json") == fs.modified("table.json") == info["mtime"]
    with fs.open("other", "wb", content_type="text/x-odd") as file:
        file.write(b"x")
    assert fs.info("other")["content_type"] == "text/x-odd"


def test_files_expire_and_their_directories_after_them(valkey, namespace: str) -> None:
    fs = CoatcheckFileSystem(valkey.url, namespace, ttl=100, skip_instance_cache=True)
    fs.pipe_file("dir/brief", b"1", ttl=0.05)
    fs.pipe("dir/file", b"2")
    assert fs.isdir("dir")
    eventually(lambda: fs.ls("dir", detail=False) == ["dir/file"])
    with open_store(valkey.url, namespace=namespace) as store:
        ends = {view.tags["path"]: view.expires for view in store.list_all()}
        assert ends["dir"] > ends["dir/file"]
        fs.pipe_file("dir/brief", b"1", ttl=None)
        assert {view.tags["path"]: view.expires for view in store.list_all()}["dir"] is None
        fs.pipe_file("dir/brief", b"1", ttl=50)  # a file lasts as long as was said last
        assert fs.info("dir/brief")["expires"] < ends["dir/file"]
    fs.close()


def test_a_directory_that_expires_while_a_file_is_written_is_made_again(valkey, namespace: str, monkeypatch) -> None:
    fs = CoatcheckFileSystem(valkey.url, namespace, skip_instance_cache=True)
    fs.pipe_file("dir/brief", b"1", ttl=100)
    find_missing = fs._tree.store.find_missing

    def expired(ids: list[str], **options: object) -> list[str]:
        fs._tree.store.delete_many(ids)
        return find_missing(ids, **options)

    monkeypatch.setattr(fs._tree.store, "find_missing", expired)
    fs.pipe("dir/file", b"2")
    assert fs.isdir("dir")
    fs.close()


def test_names(fs: CoatcheckFileSystem) -> None:
    odd = ["ä ö/\n", "a:b/{c}", "..", "%2F", "x" * 400]
    for name in odd:
        fs.pipe(name, name.encode())
    assert fs.find("") == sorted(odd)
    for name in odd:
        assert fs.cat_file(name) == name.encode()
    with pytest.raises(OSError) as caught:
        fs.pipe("x" * 1001, b"")
    assert caught.value.errno == errno.ENAMETOOLONG
    with pytest.raises(InvalidArtifactError, match="surrogate"):
        fs.pipe("\ud800", b"")


def test_what_others_keep_in_the_namespace_is_no_file(url: str, namespace: str, fs: CoatcheckFileSystem) -> None:
    with open_store(url, namespace=namespace) as store:
        store.store(b"x", run_id="/")
        store.store(b"y", run_id="/dir")
    fs.pipe("dir/file", b"z")
    assert fs.find("") == ["dir/file"]


def test_a_server_that_is_down_is_no_absence() -> None:
    fs = CoatcheckFileSystem("redis://:hunter2@127.0.0.1:1", retry_for=0, skip_instance_cache=True)
    assert "hunter2" not in repr(fs) + str(fs)
    for call in (fs.exists, fs.isfile, fs.isdir, fs.ls, fs.info, fs.rm_file):
        with pytest.raises(StoreUnavailableError) as caught:
            call("x")
        assert "hunter2" not in str(caught.value)
    with pytest.raises(StoreUnavailableError), fs.open("x", "wb") as file:
        file.write(b"x")
    fs.close()


def test_arguments_that_make_no_sense() -> None:
    with pytest.raises(InvalidArtifactError, match="shares file systems"):
        CoatcheckFileSystem(InMemoryArtifactStore(), skip_instance_cache=True)
    with pytest.raises(TypeError, match="cache_siez"):
        CoatcheckFileSystem(cache_siez=1, skip_instance_cache=True)
    with pytest.raises(NotImplementedError):
        CoatcheckFileSystem("memory://", skip_instance_cache=True).open("x", "r+b")


def test_nothing_happens_before_its_first_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fs = CoatcheckFileSystem(skip_instance_cache=True)
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}/later")
    assert not (tmp_path / "later").exists()
    fs.pipe("x", b"x")
    fs.close()
    assert fs.cat("x") == b"x"  # whoever goes on opens it again
    fs.close()


def test_it_is_sent_to_other_processes_and_used_after_a_fork(valkey, namespace: str) -> None:
    fs = CoatcheckFileSystem(valkey.url, namespace, skip_instance_cache=True)
    fs.pipe("x", b"there")
    script = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1])).cat('x'))"
    done = subprocess.run(
        [sys.executable, "-c", script, pickle.dumps(fs).hex()], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "b'there'\n"), done.stderr
    child = os.fork()
    if not child:
        os._exit(0 if fs.cat("x") == b"there" else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert fs.cat("x") == b"there"
    fs.close()


def test_the_guide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}")
    run_snippets(DOCS / "integrations" / "fsspec.md")
    fsspec.filesystem("coatcheck", namespace="files").close()
    CoatcheckFileSystem.clear_instance_cache()
