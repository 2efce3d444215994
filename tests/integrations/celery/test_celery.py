"""The serializer `coatcheck`: by Celery's own tests with real workers, and by what it promises."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from kombu import serialization
from kombu.exceptions import ContentDisallowed, DecodeError, EncodeError

from coatcheck import (
    ArtifactDecodeError,
    ArtifactNotFoundError,
    InMemoryArtifactStore,
    InvalidArtifactError,
    open_store,
)
from coatcheck.integrations.celery import CONTENT_TYPE, Serializer, register
from coatcheck.integrations.opening import LazyStore
from coatcheck.testing import Server

from ...conftest import binary_of
from ...snippets import DOCS, run_snippets
from ..suites import check, run_suite, source_of

HERE = Path(__file__).parent
REDIS = "t/integration/test_redis_backend.py::"
LEFT_OUT = {
    f"{REDIS}test_concurrent_result_gets_on_shared_pubsub": "writes results by hand, as JSON",
    f"{REDIS}test_pubsub_subscribe_churn_while_draining": "expects that the test before it left no subscription",
    f"{REDIS}test_pubsub_reentrant_cancel_from_finalizer": "expects that the test before it left no subscription",
}
RACES = "replaced_task_nesting_level"  # says what it expects after the worker may have seen the task
NO_BODIES = [b"\xff", b"no JSON", b"[" * 100_000, b'{"__type__": "uuid", "__value__": 3}']


@pytest.fixture
def redis() -> Iterator[Server]:
    """A server of the test's own: brokers know no namespaces."""
    server = Server(binary_of("valkey"), tcp=True)
    yield server
    server.stop()


@pytest.fixture
def store() -> Iterator[InMemoryArtifactStore]:
    with InMemoryArtifactStore() as store:
        yield store


@pytest.fixture
def serializer(store) -> Serializer:
    return Serializer(LazyStore(store), threshold=100, ttl=60, run_id="celery")


@pytest.mark.parametrize(
    ("modules", "at_least", "may_skip"),
    [(("redis_backend", "tasks", "group_chains"), 80, 3), (("canvas",), 200, 8)],
    ids=["tasks", "canvas"],
)
def test_their_own_tests(modules: tuple[str, ...], at_least: int, may_skip: int, redis: Server, tmp_path: Path) -> None:
    host, port = redis.tcp_url.removeprefix("redis://").split("/")[0].split(":")
    url = f"redis://{host}:{port}"
    outcome = run_suite(
        source := source_of("celery", "5.7.0"),
        [f"t/integration/test_{module}.py" for module in modules],
        overlay=HERE / "overlay.py",
        tmp_path=tmp_path,
        environment={
            "SUITE_URL": f"{url}/1",
            "SUITE_NAMESPACE": "suite",
            "TEST_BROKER": f"{url}/0",
            "TEST_BACKEND": f"{url}/0",
            "REDIS_HOST": host,
            "REDIS_PORT": port,
            "WORKER_LOGLEVEL": "INFO",  # two of them read what it logs
        },
        left_out=LEFT_OUT,
        path=[source],
        arguments=[
            *"-p celery.contrib.pytest -o python_classes=test_* -W ignore -k".split(),
            f"not {RACES}",
        ],
        timeout=3600,  # they wait for what must not happen
    )
    check(outcome, at_least=at_least, may_skip=may_skip)


@pytest.mark.parametrize(
    "body",
    [
        None,
        "x" * 1000,
        {"text": "ü" * 1000, "when": datetime(2026, 1, 1, tzinfo=UTC), "id": UUID(int=3), "price": Decimal("1.10")},
        [["x" * 1000], {"a": 1}, {"callbacks": None}],
        ["@", "x" * 200],
        "@" * 10,
        {"$artifact": "not ours"},
        [b"\0\xff" * 100],
    ],
)
def test_what_goes_in_comes_out(serializer: Serializer, body) -> None:
    message = serializer.encode(body)
    assert serializer.decode(message) == serializer.decode(message.encode()) == body


def test_small_bodies_are_plain_json(serializer: Serializer, store) -> None:
    assert json.loads(serializer.encode([[1], {"a": 2}, {}])) == [[1], {"a": 2}, {}]
    assert store.list_all() == []


def test_large_bodies_are_leased_for_a_while(serializer: Serializer, store) -> None:
    message = serializer.encode({"x": "y" * 1000})
    assert len(message) < 120
    [metadata] = store.list_by_run("celery")
    assert metadata.expires_at is not None
    assert serializer.encode({"x": "y" * 1000}) == message  # equal bodies are one


def test_what_is_gone_is_told_where_it_is_used(serializer: Serializer, store) -> None:
    links = {"callbacks": [{"task": "next"}], "chord": None}
    task = serializer.encode([["x" * 1000], {"a": 1}, links])
    result = serializer.encode({"x": "y" * 1000})
    store.delete_by_run("celery")
    args, kwargs, kept = pickle.loads(pickle.dumps(serializer.decode(task)))  # as a worker sends it to its children
    assert (kwargs, kept) == ({}, links)
    with pytest.raises(ArtifactNotFoundError):
        print(*args)
    with pytest.raises(ArtifactNotFoundError):
        serializer.decode(result)


@pytest.mark.parametrize("content", [*NO_BODIES, b'{"no": "task"}', b"[1, 2]"])
def test_what_is_no_body_of_a_task_is_told_where_it_is_used(serializer: Serializer, store, content: bytes) -> None:
    ticket = {"version": 1, **store.store(content).ref, "task": True, "links": {"errbacks": None}}
    args, kwargs, links = serializer.decode("@" + json.dumps(ticket))
    assert (kwargs, links) == ({}, {"errbacks": None})
    with pytest.raises(ArtifactDecodeError, match="is no body of"):
        print(*args)


@pytest.mark.parametrize("content", NO_BODIES)
def test_what_is_no_result_is_told(serializer: Serializer, store, content: bytes) -> None:
    with pytest.raises(ArtifactDecodeError, match="is no body of Celery's"):
        serializer.decode("@" + json.dumps({"version": 1, **store.store(content).ref, "task": False}))


@pytest.mark.parametrize(
    "message", ["@", "@{}", '@{"version":1}', "@[]", "@3", '@{"version":2,"$artifact":"x","task":false}']
)
def test_what_is_no_message_is_told(serializer: Serializer, message: str) -> None:
    with pytest.raises(ArtifactDecodeError, match="no message|upgrade"):
        serializer.decode(message)


@pytest.mark.parametrize("threshold", [0, -1, True, "1", None])
def test_a_threshold_that_makes_no_sense_is_refused(threshold) -> None:
    with pytest.raises(InvalidArtifactError, match="threshold"):
        register(None, "memory://", threshold=threshold)


def test_a_lifetime_that_makes_no_sense_is_refused() -> None:
    register(None, "memory://", ttl=-1, threshold=1)
    with pytest.raises(EncodeError, match="ttl must be positive"):
        serialization.dumps("x", serializer="coatcheck")


def test_a_password_is_not_shown() -> None:
    register(None, "redis://:hunter2@127.0.0.1:1/0", threshold=1, retry_for=0)
    with pytest.raises(EncodeError) as caught:
        serialization.dumps("x", serializer="coatcheck")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("first", ["kombu.serialization", "coatcheck.integrations.celery"])
def test_the_serializer_is_found_by_its_name(first: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}")
    script = (
        f"import {first}\n"
        + """if 1:
        from kombu import serialization
        kind, encoding, body = serialization.dumps({"x": "y" * 100_000}, serializer="coatcheck")
        print(kind, len(body) < 120, serialization.loads(body, kind, encoding, accept={kind}) == {"x": "y" * 100_000})
    """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{CONTENT_TYPE} True True\n", "")


def test_who_does_not_accept_it_does_not_decode_it(store) -> None:
    register(None, store, threshold=1)
    kind, encoding, body = serialization.dumps("x", serializer="coatcheck")
    with pytest.raises(ContentDisallowed):
        serialization.loads(body, kind, encoding, accept={"application/json"})
    with pytest.raises(DecodeError):
        serialization.loads("@nonsense", kind, encoding, accept={kind})


@pytest.mark.filterwarnings("ignore")  # Celery's, which would end the worker
def test_a_body_that_is_gone_fails_its_task_and_not_the_worker(redis: Server, namespace: str) -> None:
    url = redis.tcp_url
    app = Celery("gone", broker=url, backend=url, set_as_current=False)
    register(app, url, namespace=namespace, threshold=1000)
    with open_store(url, namespace=namespace) as store:

        @app.task(name="length")
        def length(text: str) -> int:
            return len(text)

        gone = length.delay("x" * 10_000)
        store.delete_by_run("celery")
        with start_worker(app, pool="solo", perform_ping_check=False):
            with pytest.raises(Exception, match="there is no artifact"):
                gone.get(timeout=30)
            assert length.delay("x" * 20_000).get(timeout=30) == 20_000
        store.delete_by_run("celery")
    app.close()


def test_the_example_with_forked_workers(redis: Server) -> None:
    done = subprocess.run(
        [sys.executable, "celery_app.py", redis.tcp_url],
        cwd=HERE.parents[2] / "examples",
        env={**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^page 3: 60000 words, \d+ bytes in the result backend$", done.stdout, re.MULTILINE)
    assert "12 bodies and results given up" in done.stdout


def test_the_guide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}")
    run_snippets(DOCS / "integrations" / "celery.md")
