"""For all tests: real servers, started once per test process, a namespace for each test, and no leaks."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from coatcheck.testing import ENGINES, Cluster, Engine, Sentinels, Server
from coatcheck.testing.servers.tls import TlsServer

from .leaks import Leaks

# A shell that starts a job in the background makes it ignore SIGINT, and so would every program the tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("on any machine", deadline=None)
settings.load_profile("on any machine")

MEMORY = Path("/dev/shm")
ENOUGH = 4 * 2**30  # bytes that are free there


def has_room_for_programs(directory: Path) -> bool:
    """Whether tests may put their files there: some of them are programs."""
    if not directory.is_dir():
        return False
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize > ENOUGH and not found.f_flag & os.ST_NOEXEC


# Files of tests lie in memory where that can be: a disk takes milliseconds for each fsync and shows no test any more.
if "TMPDIR" not in os.environ and has_room_for_programs(MEMORY):
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def require(engine: Engine) -> Path:
    binary = engine.find()
    if binary is None:
        message = f"no {engine.name} server on this machine: {engine.install}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return binary


def binary_of(name: str) -> Path:
    """The program of an engine; the test is skipped where it is missing, and fails where CI is set."""
    [engine] = [engine for engine in ENGINES if engine.name == name]
    return require(engine)


FAILED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "leaves_keys(why): what lies in the test's namespace makes no sense in the end")


def pytest_collection_finish() -> None:
    """Ten thousand tests are looked through by each collection of garbage, unless they are set apart."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(scope="session", autouse=True)
def temporary_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """TMPDIR of this test process, so that what is left there was left by its tests."""
    tmp_path_factory.getbasetemp()  # pytest keeps its own directories elsewhere
    directory = Path(tempfile.mkdtemp(prefix="cct-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(directory))
        patch.setattr(tempfile, "tempdir", str(directory))
        yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def leaks(temporary_directory: Path) -> Iterator[Leaks]:
    """Knows what may stay: see tests/leaks.py."""
    leaks = Leaks(temporary_directory)
    yield leaks
    leaks.close()


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest, leaks: Leaks) -> Iterator[None]:
    """Fails a test that leaves something behind. One that failed anyway still holds what its traceback shows."""
    leaks.begin()
    yield
    left = leaks.end(damaged=request.node.get_closest_marker("leaves_keys") is not None)
    if left and FAILED not in request.node.stash:
        pytest.fail("the test left\n" + "\n".join(left), pytrace=False)


@pytest.fixture(scope="session")
def server_of(leaks: Leaks) -> Iterator[Callable[[str], Server]]:
    """The shared server of an engine, started when a test first asks for it."""
    running: dict[str, Server] = {}

    def get(name: str) -> Server:
        if name not in running:
            binary = binary_of(name)
            with leaks.lasting():
                running[name] = Server(binary, tcp=True)
                leaks.watch(name, running[name])
        return running[name]

    yield get
    leaks.close()
    for server in running.values():
        server.stop()


@pytest.fixture(params=[engine.name for engine in ENGINES])
def server(request: pytest.FixtureRequest, server_of: Callable[[str], Server]) -> Server:
    """Each real engine in turn; shared, so a test keeps to its own namespace."""
    return server_of(request.param)


@pytest.fixture
def valkey(server_of: Callable[[str], Server]) -> Server:
    """The shared Valkey, for what need not run on every engine."""
    return server_of("valkey")


@pytest.fixture(scope="session")
def valkey_cluster(leaks: Leaks) -> Iterator[Cluster]:
    """A shared cluster of three primaries, each with a replica. Whoever moves slots or roles waits until all is well."""
    with leaks.lasting():
        valkey_cluster = Cluster(binary_of("valkey"))
        leaks.watch("valkey_cluster", *valkey_cluster.nodes, url=valkey_cluster.url)
    yield valkey_cluster
    leaks.close()
    valkey_cluster.stop()


@pytest.fixture(scope="session")
def redis7_cluster(leaks: Leaks) -> Iterator[Cluster]:
    """A shared cluster of three primaries without replicas."""
    with leaks.lasting():
        redis7_cluster = Cluster(binary_of("redis7"), replicas=0)
        leaks.watch("redis7_cluster", *redis7_cluster.nodes, url=redis7_cluster.url)
    yield redis7_cluster
    leaks.close()
    redis7_cluster.stop()


@pytest.fixture(scope="session")
def sentinels(leaks: Leaks) -> Iterator[Sentinels]:
    """A shared primary with its replica and three Sentinels; not to be failed over, which closes every connection."""
    with leaks.lasting():
        sentinels = Sentinels(binary_of("valkey"))
        leaks.watch("sentinels", *sentinels.servers, *sentinels.sentinels)
    yield sentinels
    leaks.close()
    sentinels.stop()


@pytest.fixture(scope="session")
def tls_server(leaks: Leaks) -> Iterator[TlsServer]:
    """A shared server behind TLS, whose certificate names 127.0.0.1 and localhost."""
    with leaks.lasting():
        tls_server = TlsServer(binary_of("redis7"))
        leaks.watch("tls_server", tls_server)
    yield tls_server
    leaks.close()
    tls_server.stop()


_counter = iter(range(10**9))


@pytest.fixture
def namespace(leaks: Leaks) -> str:
    """A namespace no other test uses. What the test stores there may stay."""
    return leaks.own(f"test{next(_counter)}")
