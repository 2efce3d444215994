"""`CoatcheckSaver`, `CoatcheckCache` and `CoatcheckSerializer` in real graphs, and what can go wrong."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from operator import add
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.cache.base import BaseCache
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.types import CachePolicy, Command, interrupt

from coatcheck import (
    ArtifactDecodeError,
    ArtifactNotFoundError,
    CorruptArtifactError,
    InMemoryArtifactStore,
    InvalidArtifactError,
    StoreUnavailableError,
    open_store,
)
from coatcheck.integrations.langgraph import CoatcheckCache, CoatcheckSaver, CoatcheckSerializer
from coatcheck.testing import eventually

from ...test_docs import DOCS, run_snippets

THREAD = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
DOCUMENT = "all about coats " * 1000


class State(TypedDict, total=False):
    document: str
    log: Annotated[list[str], add]
    answer: str


@pytest.fixture
def saver(url: str, namespace: str) -> Iterator[CoatcheckSaver]:
    with CoatcheckSaver(url, namespace=namespace) as saver:
        yield saver


def chain(*steps: Any, **options: Any):
    builder = StateGraph(State)
    for before, step in zip([START, *(step.__name__ for step in steps)], steps):
        builder.add_node(step)
        builder.add_edge(before, step.__name__)
    return builder.compile(**options)


def one(state: State) -> State:
    return {"log": ["one"]}


def ask(state: State) -> State:
    return {"log": ["asked"], "answer": interrupt("which coat?")}


def test_an_interrupted_graph_goes_on_elsewhere(url: str, namespace: str, saver: CoatcheckSaver) -> None:
    graph = chain(one, ask, checkpointer=saver)
    graph.invoke({"document": DOCUMENT}, THREAD)
    assert graph.get_state(THREAD).interrupts[0].value == "which coat?"
    with CoatcheckSaver(url, namespace=namespace) as other:
        elsewhere = chain(one, ask, checkpointer=other)
        done = elsewhere.invoke(Command(resume="the blue one"), THREAD)
    assert done == {"document": DOCUMENT, "log": ["one", "asked"], "answer": "the blue one"}
    history = [state.values.get("log", []) for state in graph.get_state_history(THREAD)]
    assert history == [["one", "asked"], ["one"], [], []]


def test_awaited(url: str, namespace: str) -> None:
    async def use() -> None:
        async with CoatcheckSaver(url, namespace=namespace) as saver:
            graph = chain(one, ask, checkpointer=saver)
            await asyncio.gather(
                *(graph.ainvoke({"document": DOCUMENT}, {"configurable": {"thread_id": str(i)}}) for i in range(10))
            )
            for i in range(10):
                config = {"configurable": {"thread_id": str(i)}}
                done = await graph.ainvoke(Command(resume=str(i)), config)
                assert done["answer"] == str(i)
                assert len([state async for state in graph.aget_state_history(config)]) == 4

    asyncio.run(use())
    with open_store(url, namespace=namespace) as store:
        assert store.list_runs() == [str(i) for i in range(10)]


def test_a_crashed_step_keeps_what_others_of_it_did(saver: CoatcheckSaver) -> None:
    tries: list[str] = []

    def good(state: State) -> State:
        tries.append("good")
        return {"log": ["good"]}

    def bad(state: State) -> State:
        tries.append("bad")
        if tries.count("bad") == 1:
            raise RuntimeError("crash")
        return {"log": ["bad"]}

    builder = StateGraph(State)
    for node in (good, bad):
        builder.add_node(node).add_edge(START, node.__name__).add_edge(node.__name__, END)
    graph = builder.compile(checkpointer=saver)
    with pytest.raises(RuntimeError):
        graph.invoke({"document": "d"}, THREAD)
    assert sorted(graph.invoke(None, THREAD)["log"]) == ["bad", "good"]
    assert (tries.count("good"), tries.count("bad")) == (1, 2)


def test_what_a_step_did_not_change_is_kept_and_sent_once(valkey, namespace: str) -> None:
    with CoatcheckSaver(valkey.url, namespace=namespace) as saver, valkey.client() as client:
        graph = chain(one, ask, checkpointer=saver)
        large = os.urandom(500_000).hex()
        graph.invoke({"document": large}, THREAD)
        sent = client.info("stats")["total_net_input_bytes"]
        for i in range(5):
            graph.update_state(THREAD, {"log": [f"step {i}"]})
        graph.invoke(Command(resume="x"), THREAD)
        assert client.info("stats")["total_net_input_bytes"] - sent < 200_000
        with open_store(valkey.url, namespace=namespace) as store:
            assert store.stats().content_bytes < 2_300_000  # as it was handed in, and as a channel


def test_branches_of_a_thread_do_not_disturb_each_other(saver: CoatcheckSaver) -> None:
    graph = chain(one, checkpointer=saver)
    graph.invoke({"document": DOCUMENT}, THREAD)
    early = [*graph.get_state_history(THREAD)][-2].config
    left = graph.update_state(early, {"document": DOCUMENT + "left"})
    right = graph.update_state(early, {"document": DOCUMENT + "right"})
    assert graph.get_state(left).values["document"] == DOCUMENT + "left"
    assert graph.get_state(right).values["document"] == DOCUMENT + "right"
    assert saver.get_next_version("00000000000000000000000000000002.0123") > "0" * 31 + "3"
    assert saver.get_next_version(None) != saver.get_next_version(None)


def test_a_step_lets_what_it_shares_last_as_long_as_itself(valkey, namespace: str) -> None:
    with CoatcheckSaver(valkey.url, namespace=namespace, ttl=60) as brief:
        chain(one, ask, checkpointer=brief).invoke({"document": DOCUMENT}, THREAD)
    with CoatcheckSaver(valkey.url, namespace=namespace, ttl=6000) as lasting:
        chain(one, ask, checkpointer=lasting).invoke(Command(resume=DOCUMENT), THREAD)
        latest = lasting.get_tuple(THREAD)
    with open_store(valkey.url, namespace=namespace) as store:
        views = store.list_by_run("t")
        [record] = [view for view in views if view.tags.get("checkpoint") == latest.checkpoint["id"]]
        values = {
            (view.tags["channel"], view.tags["version"]): view for view in views if view.tags["langgraph"] == "value"
        }
        version = latest.checkpoint["channel_versions"]["document"]
        assert values["document", f'"{version}"'].expires > record.expires


def test_a_lost_value_is_an_error_and_the_next_step_heals_it(saver: CoatcheckSaver, url: str, namespace: str) -> None:
    graph = chain(one, ask, checkpointer=saver)
    graph.invoke({"document": DOCUMENT}, THREAD)
    latest = saver.get_tuple(THREAD)
    with open_store(url, namespace=namespace) as store:
        for view in store.list_by_run("t"):
            if view.tags.get("channel") == "document":
                store.delete(view)
    with pytest.raises(ArtifactNotFoundError, match="lacks channel 'document'"):
        saver.get_tuple(THREAD)
    saver.put(latest.parent_config, latest.checkpoint, latest.metadata, {})
    assert saver.get_tuple(THREAD).checkpoint["channel_values"]["document"] == DOCUMENT


def test_a_thread_that_is_deleted_while_it_is_read_is_no_error(url: str, namespace: str) -> None:
    with CoatcheckSaver(url, namespace=namespace) as saver, open_store(url, namespace=namespace) as store:
        graph = chain(one, ask, checkpointer=saver)
        graph.invoke({"document": DOCUMENT}, THREAD)
        plan = saver._reading.get_tuple(THREAD)
        answer = next(plan)(store)
        records = plan.send(answer)(store)
        saver.delete_thread("t")
        question = plan.send(records)
        with pytest.raises(StopIteration) as done:
            while True:
                question = plan.send(question(store))
        assert done.value.value is None


def test_nothing_stays_of_what_was_deleted(saver: CoatcheckSaver, url: str, namespace: str) -> None:
    graph = chain(one, ask, checkpointer=saver)
    with open_store(url, namespace=namespace) as store:
        graph.invoke({"document": DOCUMENT}, THREAD)
        saver.copy_thread("t", "copy")
        assert {**graph.get_state({"configurable": {"thread_id": "copy"}}).values} == {
            "document": DOCUMENT,
            "log": ["one"],
        }
        saver.delete_thread("t")
        assert store.list_runs() == ["copy"]
        graph.invoke(Command(resume="x"), {"configurable": {"thread_id": "copy"}})
        saver.prune(["copy"])
        assert graph.get_state({"configurable": {"thread_id": "copy"}}).values["answer"] == "x"
        [latest] = saver.list({"configurable": {"thread_id": "copy"}})
        assert len(store.list_by_run("copy")) <= 1 + len(latest.checkpoint["channel_values"])
        saver.prune(["copy"], strategy="delete")
        assert store.list_runs() == []
        with pytest.raises(InvalidArtifactError, match="strategy"):
            saver.prune(["copy"], strategy="keep_some")


def extend(old: list[str] | None, new: list[list[str]]) -> list[str]:
    return [*(old or []), *(item for items in new for item in items)]


class Deltas(TypedDict):
    log: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=3)]


def test_delta_channels_survive_pruning(saver: CoatcheckSaver) -> None:
    def step(state: Deltas) -> Deltas:
        return {"log": [f"step {len(state['log'])}"]}

    builder = StateGraph(Deltas)
    graph = builder.add_node(step).add_edge(START, "step").compile(checkpointer=saver)
    for i in range(4):
        graph.invoke({"log": [f"input {i}"]}, THREAD)
    log = graph.get_state(THREAD).values["log"]
    assert len(log) == 8
    saver.prune(["t"])
    assert graph.get_state(THREAD).values["log"] == log
    assert 1 < len(list(saver.list(THREAD))) < 12
    graph.invoke({"log": ["more"]}, THREAD)
    assert graph.get_state(THREAD).values["log"][:8] == log


def test_an_unknown_format_is_a_clear_error(saver: CoatcheckSaver, url: str, namespace: str) -> None:
    saver.put(THREAD, empty_checkpoint(), {}, {})
    with open_store(url, namespace=namespace) as store:
        [view] = store.list_by_run("t")
        store.store(b"?", artifact_id=view.artifact_id, run_id="t", tags={**view.tags, "format": "2"})
    with pytest.raises(CorruptArtifactError, match="is of format 2, this version of coatcheck reads 1"):
        saver.get_tuple(THREAD)


def test_the_first_write_of_a_task_stays_but_for_errors(saver: CoatcheckSaver) -> None:
    config = saver.put(THREAD, empty_checkpoint(), {}, {})
    saver.put_writes(config, [("a", 1), ("b", 2)], "task", "path")
    saver.put_writes(config, [("a", 10), ("b", 20), ("c", 3)], "task", "path")
    saver.put_writes(config, [("__error__", "first")], "task")
    saver.put_writes(config, [("__error__", "second")], "task")
    assert saver.get_tuple(config).pending_writes == [
        ("task", "__error__", "second"),
        ("task", "a", 1),
        ("task", "b", 2),
        ("task", "c", 3),
    ]


def test_what_is_listed_ends_in_time(saver: CoatcheckSaver) -> None:
    for thread in ("a", "b"):
        config = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        for step in range(60):
            config = saver.put(config, empty_checkpoint(), {"step": step, "parity": step % 2}, {})
    config = {"configurable": {"thread_id": "a"}}
    assert [found.metadata["step"] for found in saver.list(config)] == [*range(59, -1, -1)]
    assert [found.metadata["step"] for found in saver.list(config, filter={"parity": 1}, limit=3)] == [59, 57, 55]
    assert len(list(saver.list(None, filter={"parity": 1}))) == 60
    assert list(saver.list(config, limit=0)) == []
    assert [found.metadata["step"] for found in saver.list(None, limit=2)] == [59, 58]


def test_a_config_without_a_thread_is_refused() -> None:
    with CoatcheckSaver("memory://") as saver, pytest.raises(InvalidArtifactError, match="names no thread"):
        saver.get_tuple({"configurable": {}})


def test_threads_loops_and_both_faces_share_one_saver(valkey, namespace: str) -> None:
    saver = CoatcheckSaver(valkey.url, namespace=namespace)
    graph = chain(one, ask, checkpointer=saver)
    graph.invoke({"document": DOCUMENT}, THREAD)
    for _ in range(3):
        assert asyncio.run(graph.aget_state(THREAD)).values["document"] == DOCUMENT
    asyncio.run(saver.aclose())
    assert graph.get_state(THREAD).values["document"] == DOCUMENT
    saver.close()


def test_after_a_fork(valkey, namespace: str) -> None:
    with CoatcheckSaver(valkey.url, namespace=namespace) as saver:
        graph = chain(one, ask, checkpointer=saver)
        graph.invoke({"document": DOCUMENT}, THREAD)
        child = os.fork()
        if not child:
            os._exit(0 if graph.invoke(Command(resume="x"), THREAD)["answer"] == "x" else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert graph.get_state(THREAD).values["answer"] == "x"


def test_an_open_store_stays_open() -> None:
    with InMemoryArtifactStore() as store:
        saver = CoatcheckSaver(store)
        graph = chain(one, ask, checkpointer=saver)
        graph.invoke({"document": "d"}, THREAD)
        assert asyncio.run(graph.aget_state(THREAD)).values["document"] == "d"
        saver.close()
        assert store.list_runs() == ["t"]


def test_a_server_that_is_down_is_said_without_its_password() -> None:
    for made in (
        CoatcheckSaver("redis://:hunter2@127.0.0.1:1", retry_for=0),
        CoatcheckCache("redis://:hunter2@127.0.0.1:1", retry_for=0),
        CoatcheckSerializer("redis://:hunter2@127.0.0.1:1", retry_for=0, threshold=0),
    ):
        assert "hunter2" not in repr(made)
        with pytest.raises(StoreUnavailableError) as caught:
            if isinstance(made, CoatcheckSaver):
                made.get_tuple(THREAD)
            elif isinstance(made, BaseCache):
                made.get([((), "key")])
            else:
                made.dumps_typed("x")
        assert "hunter2" not in str(caught.value)
        made.close()
    with pytest.raises(TypeError, match="cache_siez"):
        CoatcheckSaver(cache_siez=1)


def test_a_cache(url: str, namespace: str) -> None:
    cache: CoatcheckCache[Any] = CoatcheckCache(url, namespace=namespace)
    first, second, third = (("a", "b"), "k"), (("a:b",), "k"), (("a",), "b:k")
    cache.set({first: ({"x": 1}, None), second: ([1, 2], 1000), third: (b"brief", 1)})
    assert cache.get([first, second, ((), "none")]) == {first: {"x": 1}, second: [1, 2]}
    assert cache.get([]) == {}
    cache.set({second: ("again", 1)})  # for less than before
    eventually(lambda: cache.get([second, third]) == {})
    cache.set({second: ("again", None)})
    cache.clear([("a", "b")])
    assert cache.get([first, second]) == {second: "again"}
    cache.clear()
    assert cache.get([first, second]) == {}
    cache.close()

    async def awaited() -> None:
        await cache.aset({first: ("a", None)})
        assert await cache.aget([first]) == {first: "a"}
        await cache.aclear()
        assert await cache.aget([first]) == {}
        await cache.aclose()

    asyncio.run(awaited())


@pytest.mark.leaves_keys("content was evicted")
def test_what_was_evicted_is_not_cached(valkey, namespace: str) -> None:
    cache: CoatcheckCache[str] = CoatcheckCache(valkey.url, namespace=namespace)
    there, gone = ((), "there"), ((), "gone")
    cache.set({there: ("x" * 100, None), gone: ("y" * 100, None)})
    with open_store(valkey.url, namespace=namespace) as store, valkey.client() as client:
        [view] = [view for view in store.list_all() if view.tags["key"] == "gone"]
        assert client.delete(f"{namespace}:content:{view.digest[:32]}") == 1
    assert cache.get([there, gone]) == {there: "x" * 100}
    cache.set({gone: ("y" * 100, None)})
    assert cache.get([gone]) == {gone: "y" * 100}
    cache.close()


def test_a_node_is_not_run_again(url: str, namespace: str) -> None:
    runs = []

    def slow(state: State) -> State:
        runs.append(state["document"])
        return {"answer": state["document"][:3]}

    cache: CoatcheckCache[Any] = CoatcheckCache(url, namespace=namespace)
    builder = StateGraph(State).add_node(slow, cache_policy=CachePolicy(ttl=600)).add_edge(START, "slow")
    graph = builder.compile(cache=cache)
    for document in ("one", "one", "two", "one"):
        assert graph.invoke({"document": document})["answer"] == document
    assert runs == ["one", "two"]
    cache.close()


class Reversing:
    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "reversed", plaintext[::-1]

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return ciphertext[::-1]


def test_a_serializer_for_other_checkpointers(url: str, namespace: str) -> None:
    serde = CoatcheckSerializer(
        url, namespace=namespace, threshold=1000, serde=EncryptedSerializer(Reversing()), run_id=lambda: "me"
    )
    saver = InMemorySaver(serde=serde)
    graph = chain(one, ask, checkpointer=saver)
    graph.invoke({"document": DOCUMENT}, THREAD)
    assert graph.invoke(Command(resume="x"), THREAD)["document"] == DOCUMENT
    assert max(len(blob) for _, blob in saver.blobs.values()) < 200
    with open_store(url, namespace=namespace) as store:
        assert store.list_runs() == ["me"]
        assert all(DOCUMENT[:100].encode() not in store.load(view).content for view in store.list_all())
        assert JsonPlusSerializer().loads_typed(("msgpack", serde.serde.dumps_typed("x")[1][::-1])) == "x"
        assert serde.loads_typed(JsonPlusSerializer().dumps_typed({"old": 1})) == {"old": 1}
        kind, ticket = serde.dumps_typed(DOCUMENT)
        for forged in (b"not JSON", b"[" * 100_000):
            with pytest.raises(ArtifactDecodeError, match="has no ticket"):
                serde.loads_typed((kind, forged))
        with pytest.raises(CorruptArtifactError, match="another SHA-256"):
            serde.loads_typed((kind, ticket.replace(b'"sha256": "', b'"sha256": "0')))
        store.delete_by_run("me")
        with pytest.raises(ArtifactNotFoundError):
            serde.loads_typed((kind, ticket))
    with pytest.raises(InvalidArtifactError, match="threshold"):
        CoatcheckSerializer(threshold=-1)
    serde.close()


def test_the_guide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}")
    run_snippets(DOCS / "integrations" / "langgraph.md")


def test_the_example(url: str, leaks) -> None:
    leaks.own("agents")
    example = Path(__file__).parents[3] / "examples" / "langgraph_agent.py"
    done = subprocess.run([sys.executable, example, url], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    approved, report, checkpoints, given_up = done.stdout.splitlines()
    assert (approved, report, checkpoints) == ("read 999,965 characters?", "50,241 coats", "7 checkpoints")
    assert re.fullmatch(r"\d\d artifacts given up", given_up)
