"""`CoatcheckConnector`, by ProxyStore's own tests and by what it promises beyond them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from proxystore.connectors.protocols import Connector, DeferrableConnector
from proxystore.store import Store

from coatcheck import InvalidArtifactError, open_store
from coatcheck.integrations.proxystore import CoatcheckConnector
from coatcheck.testing import eventually

from ...snippets import DOCS, run_snippets
from ..suites import check, run_suite, source_of

HERE = Path(__file__).parent
LEFT_OUT = {
    "tests/store/scopes_test.py::test_future_protocol": "needs a pytest plugin; asks about asyncio's futures alone",
}


@pytest.fixture
def connector(url: str, namespace: str) -> Iterator[CoatcheckConnector]:
    with CoatcheckConnector(url, namespace=namespace) as connector:
        yield connector


def theirs(tests: list[str], tmp_path: Path, url: str, namespace: str):
    source = source_of("proxystore", "1.1.0")
    return run_suite(
        source,
        tests,
        overlay=HERE / "overlay.py",
        tmp_path=tmp_path,
        environment={"SUITE_URL": url, "SUITE_NAMESPACE": namespace},
        left_out=LEFT_OUT,
        path=[source],
        arguments=["--noconftest"],  # theirs needs what their endpoints need
    )


def test_their_tests_of_connectors_and_stores(tmp_path: Path, valkey, namespace: str) -> None:
    outcome = theirs(["tests/connectors/connector_test.py", "tests/store"], tmp_path, valkey.url, namespace)
    check(outcome, at_least=178)


def test_their_tests_on_a_cluster(tmp_path: Path, valkey_cluster, namespace: str) -> None:
    tests = ["tests/connectors/connector_test.py", "tests/store/store_basics_test.py"]
    check(theirs(tests, tmp_path, valkey_cluster.url, namespace), at_least=20)


def test_their_tests_on_files(tmp_path: Path) -> None:
    tests = ["tests/connectors/connector_test.py", "tests/store/store_basics_test.py"]
    check(theirs(tests, tmp_path, f"file://{tmp_path}/store", "suite"), at_least=20)


def test_it_is_both_protocols(connector: CoatcheckConnector) -> None:
    assert isinstance(connector, Connector)
    assert isinstance(connector, DeferrableConnector)


def test_each_put_has_a_key_and_equal_content_is_kept_once(valkey, namespace: str) -> None:
    with CoatcheckConnector(valkey.url, namespace=namespace) as connector:
        one, two = connector.put(b"x" * 1000), connector.put(b"x" * 1000)
        with open_store(valkey.url, namespace=namespace) as store:
            assert (store.stats().artifacts, store.stats().contents) == (2, 1)
        connector.evict(one)
        assert (connector.get(one), connector.get(two)) == (None, b"x" * 1000)


def test_a_ttl_passes_through_and_a_run_can_be_given_up(
    connector: CoatcheckConnector, url: str, namespace: str
) -> None:
    with CoatcheckConnector(url, namespace=namespace, run_id="run", default_ttl=1000) as ours:
        proxystore = Store("ttl", ours, register=False, cache_size=0)
        brief, lasting = proxystore.put("brief", ttl=0.05), proxystore.put("lasting")
        batch = proxystore.put_batch(["a", "b"], ttl=None)
        with open_store(url, namespace=namespace) as store:
            lease = store.leases(lasting.artifact_id)[0]
            assert 900 < (lease.expires - lease.created).total_seconds() <= 1000
            assert store.leases(batch[0].artifact_id)[0].expires_at is None
            eventually(lambda: not proxystore.exists(brief))
            assert store.delete_by_run("run") == 3
        assert connector.get_batch([lasting, *batch]) == [None, None, None]


def test_what_does_not_exist_is_none(connector: CoatcheckConnector) -> None:
    key = connector.new_key()
    assert connector.get(key) is None
    assert not connector.exists(key)
    connector.evict(key)
    assert connector.get_batch([key]) == [None]


def test_nothing_happens_before_its_first_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    connector = CoatcheckConnector()
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}/later")
    assert not (tmp_path / "later").exists()
    key = connector.put(b"x")
    assert (tmp_path / "later").exists()
    connector.close()
    assert connector.get(key) == b"x"  # whoever goes on opens it again
    connector.close()


def test_a_password_is_not_shown() -> None:
    connector = CoatcheckConnector("redis://user:hunter2@127.0.0.1:1/0", namespace="n")
    assert "hunter2" not in repr(connector)
    with pytest.raises(Exception) as caught:
        CoatcheckConnector("redis://user:hunter2@127.0.0.1:1/0?no=such", namespace="n").put(b"x")
    assert isinstance(caught.value, InvalidArtifactError)
    assert "hunter2" not in str(caught.value)


def test_options_that_no_store_has_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match="cache_siez"):
        CoatcheckConnector(cache_siez=1)
    with pytest.raises(InvalidArtifactError, match="expected a URL"):
        CoatcheckConnector(3)


def test_a_proxy_is_resolved_in_another_process(url: str, namespace: str, connector: CoatcheckConnector) -> None:
    store = Store("elsewhere", connector, register=False)
    proxy = store.proxy({"answer": 42})
    script = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1]))['answer'])"
    done = subprocess.run(
        [sys.executable, "-c", script, pickle.dumps(proxy).hex()], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr


def test_the_guide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}")
    run_snippets(DOCS / "integrations" / "proxystore.md")
