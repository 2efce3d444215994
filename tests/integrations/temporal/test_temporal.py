"""`CoatcheckStorageDriver`: a real worker on Temporal's test server, and the driver by itself."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pickle
import shutil
import sys
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowFailureError
from temporalio.converter import (
    DataConverter,
    ExternalStorage,
    StorageDriverActivityInfo,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from coatcheck import ArtifactTooLargeError, InvalidArtifactError, StoreUnavailableError, open_store
from coatcheck.integrations.temporal import CoatcheckStorageDriver, run_of
from coatcheck.testing import eventually

from ...test_docs import DOCS, run_snippets
from .workflows import Child, Parent, double

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # temporalio's own

RETRIEVE = StorageDriverRetrieveContext()
WORKFLOW = StorageDriverStoreContext(StorageDriverWorkflowInfo(namespace="default", id="order-1", type="Order"))
LONG = "coat " * 5000


def payloads(*texts: str) -> list[Payload]:
    return [Payload(metadata={"encoding": b"json/plain", "b": b"2", "a": b"1"}, data=text.encode()) for text in texts]


@asynccontextmanager
async def temporal(driver: CoatcheckStorageDriver) -> AsyncIterator[WorkflowEnvironment]:
    """Temporal's test server, and a client that keeps what is larger than 1 KiB by the driver."""
    server = shutil.which(
        "temporal-test-server", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    storage = ExternalStorage(drivers=[driver], payload_size_threshold=1024)
    converter = dataclasses.replace(DataConverter.default, external_storage=storage)
    async with await WorkflowEnvironment.start_time_skipping(
        data_converter=converter, test_server_existing_path=server
    ) as environment:
        yield environment


def test_workflows_activities_and_signals(url: str, namespace: str) -> None:
    async def use() -> None:
        driver = CoatcheckStorageDriver(url, namespace=namespace)
        async with temporal(driver) as environment:
            worker = {"task_queue": "q", "workflows": [Parent, Child], "activities": [double]}
            async with Worker(environment.client, **worker):
                handle = await environment.client.start_workflow(Parent.run, LONG, id="big", task_queue="q")
                await handle.signal(Parent.add, LONG + "signal")
                assert await handle.result() == [LONG * 2, LONG + "child", LONG + "signal"]
                assert await handle.query(Parent.added) == LONG + "signal"
            history = await handle.fetch_history()
            assert sum(event.ByteSize() for event in history.events) < 10_000
            replayer = Replayer(
                workflows=[Parent, Child], data_converter=environment.client.data_converter, namespace="default"
            )
            await replayer.replay_workflow(history)
        await driver.close()

    asyncio.run(use())
    with open_store(url, namespace=namespace) as store:
        assert store.list_runs() == ["workflow:default:big", "workflow:default:big-child"]
        # LONG goes to the workflow, its activity and its child; it is kept once.
        assert store.stats().contents == 5


def test_a_workflow_whose_payload_is_gone_fails_and_is_not_tried_for_ever(valkey, namespace: str) -> None:
    async def use() -> BaseException | None:
        driver = CoatcheckStorageDriver(valkey.url, namespace=namespace)
        async with temporal(driver) as environment:
            handle = await environment.client.start_workflow(Child.run, LONG, id="gone", task_queue="q")
            with open_store(valkey.url, namespace=namespace) as store:
                assert store.delete_by_run("workflow:default:gone") == 1
            async with Worker(environment.client, task_queue="q", workflows=[Child]):
                with pytest.raises(WorkflowFailureError) as caught:
                    await handle.result()
        await driver.close()
        return caught.value.cause

    error = asyncio.run(use())
    assert isinstance(error, ApplicationError)
    assert (error.non_retryable, error.type) == (True, "ArtifactNotFoundError")
    assert "is gone: it expired" in str(error)


def test_a_batch_is_one_batch_of_the_stores(url: str, namespace: str) -> None:
    async def use() -> None:
        driver = CoatcheckStorageDriver(url, namespace=namespace)
        batch = payloads(*(f"{i}" * 2000 for i in range(100)), *["same" * 1000] * 3)
        claims = await driver.store(WORKFLOW, batch)
        assert await driver.retrieve(RETRIEVE, claims) == batch
        assert claims[-1] == claims[-2]
        assert {key: len(value) for key, value in claims[0].claim_data.items()} == {"artifact": 32, "sha256": 64}
        assert await driver.store(WORKFLOW, []) == await driver.retrieve(RETRIEVE, []) == []
        await driver.close()

    asyncio.run(use())
    with open_store(url, namespace=namespace) as store:
        assert (store.stats().contents, store.list_runs()) == (101, ["workflow:default:order-1"])


def test_storing_again_makes_it_last_longer(valkey, namespace: str) -> None:
    async def use() -> None:
        brief = CoatcheckStorageDriver(valkey.url, namespace=namespace, ttl=100)
        longer = CoatcheckStorageDriver(valkey.url, namespace=namespace, ttl=1000)
        [claim] = await brief.store(WORKFLOW, payloads("x"))
        for driver, least, most in [(longer, 900, 1000), (brief, 900, 1000)]:  # and never shorter
            await driver.store(WORKFLOW, payloads("x"))
            with open_store(valkey.url, namespace=namespace) as store:
                [lease] = store.leases(claim.claim_data["artifact"])
                assert least < store_left(store, lease) <= most
        await brief.close()
        await longer.close()

    def store_left(store, lease) -> float:
        now = store.store(b"what time is it?", ttl=1).created
        return (lease.expires - now).total_seconds()

    asyncio.run(use())


def test_an_expired_payload_is_no_retry(valkey, namespace: str) -> None:
    async def use() -> None:
        driver = CoatcheckStorageDriver(valkey.url, namespace=namespace, ttl=0.05)
        claims = await driver.store(WORKFLOW, payloads("x"))
        with open_store(valkey.url, namespace=namespace) as store:
            await asyncio.to_thread(eventually, lambda: not store.exists(claims[0].claim_data["artifact"]))
        with pytest.raises(ApplicationError, match="is gone") as caught:
            await driver.retrieve(RETRIEVE, claims)
        assert caught.value.non_retryable
        await driver.close()

    asyncio.run(use())


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ({}, "no claim of coatcheck's"),
        ({"artifact": "x"}, "no claim of coatcheck's"),
        ({"artifact": "no/such id", "sha256": "0" * 64}, "Invalid artifact_id"),
        ({"artifact": "x", "sha256": "0" * 64}, "is gone"),
        ({"artifact": "other", "sha256": "0" * 64}, "another SHA-256"),
        ({"artifact": "noise", "sha256": "{noise}"}, "no payload of Temporal's"),
    ],
)
def test_a_foreign_or_forged_claim_is_no_retry(valkey, namespace: str, claim: dict, says: str) -> None:
    with open_store(valkey.url, namespace=namespace) as store:
        store.store(b"other", artifact_id="other")
        noise = store.store(b"\xff" * 9, artifact_id="noise").digest
    claim = {key: value.format(noise=noise) for key, value in claim.items()}

    async def use() -> None:
        driver = CoatcheckStorageDriver(valkey.url, namespace=namespace)
        with pytest.raises(ApplicationError, match=says) as caught:
            await driver.retrieve(RETRIEVE, [StorageDriverClaim(claim)])
        assert caught.value.non_retryable
        await driver.close()

    asyncio.run(use())


def test_what_is_too_large_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async def use() -> None:
        driver = CoatcheckStorageDriver(f"file://{tmp_path}/store", max_payload_size=1000)
        with pytest.raises(ArtifactTooLargeError, match="raise max_payload_size"):
            await driver.store(WORKFLOW, payloads("x", "y" * 1001))

    asyncio.run(use())
    assert not (tmp_path / "store").exists()


def test_a_server_that_is_down_is_worth_a_retry() -> None:
    async def use() -> None:
        driver = CoatcheckStorageDriver("redis://:hunter2@127.0.0.1:1", namespace="n", retry_for=0)
        assert "hunter2" not in repr(driver)
        for call in (driver.store(WORKFLOW, payloads("x")), driver.retrieve(RETRIEVE, [claim])):
            with pytest.raises(StoreUnavailableError) as caught:
                await call
            assert caught.value.transient
            assert "hunter2" not in str(caught.value)
        await driver.close()

    claim = StorageDriverClaim({"artifact": "x", "sha256": "0" * 64})
    asyncio.run(use())


def test_event_loops_and_threads_share_a_driver(valkey, namespace: str) -> None:
    driver = CoatcheckStorageDriver(valkey.url, namespace=namespace)

    async def there_and_back(i: int) -> bool:
        batch = payloads(f"{i}")
        return await driver.retrieve(RETRIEVE, await driver.store(WORKFLOW, batch)) == batch

    for i in range(3):
        assert asyncio.run(there_and_back(i))
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda i: asyncio.run(there_and_back(i)), range(8)))
    asyncio.run(driver.close())
    assert asyncio.run(there_and_back(9))  # whoever goes on opens it again
    asyncio.run(driver.close())


def test_a_driver_is_sent_to_another_process(tmp_path: Path) -> None:
    async def use() -> None:
        driver = CoatcheckStorageDriver(f"file://{tmp_path}")
        claims = await driver.store(WORKFLOW, payloads("x"))
        copy = pickle.loads(pickle.dumps(driver))
        assert await copy.retrieve(RETRIEVE, claims) == payloads("x")
        await copy.close()
        await driver.close()

    asyncio.run(use())


def test_who_leases() -> None:
    activity = StorageDriverActivityInfo(namespace="ns", id="a")
    long = StorageDriverWorkflowInfo(namespace="ns", id="i" * 1000 + str(uuid.uuid4()))
    assert run_of(WORKFLOW.target) == "workflow:default:order-1"
    assert run_of(activity) == "activity:ns:a"
    assert run_of(None) is run_of(StorageDriverWorkflowInfo(namespace="ns")) is None
    assert len(run_of(long)) < 100
    assert run_of(long) != run_of(StorageDriverActivityInfo(namespace="ns", id=long.id))


def test_arguments_that_make_no_sense() -> None:
    for arguments in ({"driver_name": ""}, {"max_payload_size": 0}, {"url": 3}):
        with pytest.raises(InvalidArtifactError):
            CoatcheckStorageDriver(**arguments)
    with pytest.raises(TypeError, match="cache_siez"):
        CoatcheckStorageDriver(cache_siez=1)
    driver = CoatcheckStorageDriver()
    assert (driver.name(), driver.type()) == ("coatcheck", "coatcheck")


def test_the_guide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}")
    run_snippets(DOCS / "integrations" / "temporal.md")
