"""Offloading: what is large goes, in one batch, and comes back as it was; nothing is half replaced or executed."""

from __future__ import annotations

import asyncio
import copy
import json
import shelve
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from coatcheck import (
    ArtifactDecodeError,
    ArtifactNotFoundError,
    AsyncInMemoryArtifactStore,
    InMemoryArtifactStore,
    InvalidArtifactError,
    RedisArtifactStore,
    aopen_store,
    artifact_ref,
    get_artifact_id,
    is_artifact_ref,
)
from coatcheck.offloading import (
    Limits,
    OffloadingMapping,
    aoffload,
    aresolve,
    offload,
    offloads,
    resolve,
    resolves,
)
from coatcheck.values import CODECS, PickleCodec

from ..anything import SETTINGS, exactly, values
from ..redis.wire import Wire


class Counting(InMemoryArtifactStore):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def store_many(self, items, **details):
        self.asked.append("store_many")
        return super().store_many(items, **details)

    def load_many(self, ids):
        self.asked.append("load_many")
        return super().load_many(ids)


@pytest.fixture
def store() -> Counting:
    return Counting()


def size(state) -> int:
    """Bytes as compact JSON."""
    return len(json.dumps(state, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass"))


def tickets(state) -> list[dict]:
    """The tickets in a state in which nothing is escaped."""
    if is_artifact_ref(state):
        return [state]
    items = state.values() if isinstance(state, dict) else state if isinstance(state, list) else ()
    return [ticket for item in items for ticket in tickets(item)]


@dataclass
class Step:
    tool: str
    output: bytes
    notes: tuple[str, ...] = ()


class Agent(BaseModel):
    goal: str
    steps: list[Step] = []
    memory: dict[str, list[float]] = {}


AGENT = Agent(goal="g" * 5000, steps=[Step("t", b"\xff" * 5000, ("n",))], memory={"m": [0.5] * 5000})


# There and back -----------------------------------------------------------------------------------------------------


@SETTINGS
@given(values, st.sampled_from([1, 8, 64]), st.none() | st.integers(150, 400), st.sampled_from([0, 3]))
@example({"$artifact": "a" * 32, "x": "y" * 200}, 8, None, 0)
@example({"$type": {"$artifact": "x" * 200}}, 8, 150, 3)
@example({"$type": [], "x": b""}, 4096, None, 0)
@example(["\ud800" * 100], 8, None, 3)
@example([b"x" * 200, "x" * 200], 8, None, 0)  # one content, two types
@example({(("x" * 200,), b"y" * 200)}, 8, None, 0)
def test_every_value_comes_back_as_it_was(value, threshold, total, preview) -> None:
    store = InMemoryArtifactStore()
    before = exactly(value)
    state = offload(value, store, threshold=threshold, total=total, preview=preview)
    assert exactly(value) == before
    assert total is None or size(state) <= total
    state = json.loads(json.dumps(state))
    kept = copy.deepcopy(state)
    assert exactly(resolve(state, store)) == before
    assert state == kept


def test_it_takes_one_batch_each_way(store) -> None:
    state = offload([{"text": c * 100} for c in "abcab"], store, threshold=50, run_id="r", tags={"k": "v"}, ttl=60)
    assert resolve(state, store) == [{"text": c * 100} for c in "abcab"]
    assert store.asked == ["store_many", "load_many"]
    assert [(a.run_id, a.tags) for a in store.list_by_run("r")] == [("r", {"k": "v"})] * 3
    assert offload([1, "x"], store) == resolve([1, "x"], store) == [1, "x"]
    assert store.asked == ["store_many", "load_many"]


def test_models_dataclasses_and_bytes_anywhere(store) -> None:
    state = offload(AGENT, store, threshold=1000)
    assert [ticket["type"] for ticket in tickets(state)] == [
        "text/plain",
        "application/octet-stream",
        "application/json",
    ]
    assert size(state) < 500
    assert resolve(state, store, Agent) == AGENT
    assert resolve(offload([AGENT.steps[0]], store), store, list[Step]) == AGENT.steps
    assert resolve(state, store)["steps"] == [{"tool": "t", "output": b"\xff" * 5000, "notes": ("n",)}]
    with pytest.raises(ArtifactDecodeError, match="the value is not a Step"):
        resolve(state, store, Step)


def test_what_only_a_codec_can_keep_always_goes(store) -> None:
    state = offload({"a": [numpy.arange(3), 1], "b": "x" * 2000}, store, total=1000)
    assert [ticket["type"] for ticket in tickets(state)] == ["application/x-npy", "text/plain"]
    assert resolve(state, store)["a"][0].tolist() == [0, 1, 2]


def test_tickets_say_their_type_whatever_others_say_of_the_content(store) -> None:
    content = json.dumps(["x" * 100])
    state = offload([content, content.encode()], store, threshold=50)
    assert len(store.list_all()) == 1
    store.store(content.encode(), content_type="application/json", run_id="other")
    assert resolve(state, store) == [content, content.encode()]


def test_containers_that_come_back_twice_are_two(store) -> None:
    state = offload([[1] * 100, [1] * 100], store, threshold=50)
    one, other = resolve(state, store)
    assert one == other
    assert one is not other


# What goes ----------------------------------------------------------------------------------------------------------


def test_the_smallest_parts_that_are_large_go(store) -> None:
    value = {"log": {"lines": ["x" * 900] * 3, "last": "y" * 3000}, "rows": [{"n": i} for i in range(1000)], "few": [1]}
    state = offload(value, store, threshold=2000)
    assert list(state["log"]) == ["lines", "last"]
    assert [ticket["size"] for ticket in (state["log"]["lines"], state["log"]["last"], state["rows"])] == [
        size(value["log"]["lines"]),
        3000,
        size(value["rows"]),
    ]
    assert state["few"] == [1]


def test_the_largest_go_first_until_the_rest_fits(store) -> None:
    value = [c * length for c, length in zip("abcde", (5000, 9000, 7000, 1500, 8000), strict=True)]
    state = offload(value, store, threshold=None, total=7000)
    assert [is_artifact_ref(item) for item in state] == [False, True, True, False, True]
    assert offload(value, store, threshold=None, total=31_000) == value


def test_what_holds_too_many_small_parts_goes_as_one(store) -> None:
    value = {"history": [{"text": f"{i:04}" * 400} for i in range(100)], "goal": "g"}
    state = offload(value, store, total=2000)
    assert state["goal"] == "g"
    assert is_artifact_ref(state["history"])
    assert is_artifact_ref(offload([str(i) for i in range(1000)], store, total=200))
    with pytest.raises(InvalidArtifactError, match="bytes would be left, more than total=20: raise it"):
        offload(value, store, total=20)


def test_a_ticket_says_what_it_stands_for(store) -> None:
    state = offload({"text": "é" * 100, "list": ["x"] * 50, "raw": b"x" * 100}, store, threshold=80, preview=9)
    previews = {
        name: {key: value for key, value in ticket.items() if key != "$artifact"} for name, ticket in state.items()
    }
    assert previews == {
        "text": {"type": "text/plain", "size": 200, "preview": "é" * 9 + "…"},
        "list": {"type": "application/json", "size": 201, "preview": '["x","x",…'},
        "raw": {"type": "application/octet-stream", "size": 100},
    }
    assert all(store.exists(get_artifact_id(ticket)) for ticket in state.values())
    [ticket] = offload(["x" * 100], store, threshold=80, preview=lambda part: f"{len(part)} characters")
    assert ticket["preview"] == "100 characters"


# Tickets ------------------------------------------------------------------------------------------------------------


def test_tickets_of_another_origin_become_what_their_artifacts_say(store) -> None:
    ids = [
        store.store_json({"$artifact": 1}).artifact_id,
        store.store_text("y").artifact_id,
        store.store(b"x").artifact_id,
    ]
    assert resolve([artifact_ref(i) for i in ids[:2]], store) == [{"$artifact": 1}, "y"]
    assert resolve((artifact_ref(ids[2]), object), store) == (b"x", object)


def test_what_was_offloaded_is_offloaded_again(store) -> None:
    whole = {"old": "x" * 100, "odd": {"$artifact": 7}, "pair": (1, b"x" * 2000)}
    first = offload(whole, store, threshold=None, total=2900)
    first = offload({**first, "old": "x" * 100}, store, threshold=50, again=True)
    second = offload({**first, "new": ["y" * 100]}, store, threshold=50, again=True)
    assert second.pop("new") != ["y" * 100]
    assert second == first
    assert exactly(resolve(first, store)) == exactly(whole)
    assert resolve(offload(first, store), store) == first
    third = offload({"all": [first["old"], ["z"] * 2000]}, store, threshold=None, total=600, again=True)
    assert third["all"][0] == first["old"]  # and is in no artifact
    with pytest.raises(InvalidArtifactError, match=r"\$\.x is no ticket"):
        offload({"x": {"$artifact": 7}}, store, again=True)


def test_what_is_missing_is_named_with_its_place(store) -> None:
    state = offload({"a": ["x" * 100, "y" * 100, "x" * 100]}, store, threshold=50)
    gone = get_artifact_id(state["a"][0])
    store.delete(gone)
    with pytest.raises(ArtifactNotFoundError, match=rf"2 of 3 tickets stand for nothing, as {gone} at \$\.a\[0\]"):
        resolve(state, store)
    assert resolve(state, store, default=None) == {"a": [None, "y" * 100, None]}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([{"$artifact": 7}], r"\$\[0\] is no ticket: artifact_id must be a str"),
        ({"a": {"$artifact": "../x"}}, r"\$\.a is no ticket: Invalid artifact_id"),
        ({"$artifact": "x", "type": ["pickle"]}, r"\$ is no ticket: its type must be text"),
        ({"$artifact": "x", "size": "1"}, r"\$ is no ticket: its type must be text, its size a number"),
        ({"a": {"$type": "subprocess.run", "value": ["true"]}}, r"\$\.a is not of a type that this version"),
        ({"$type": "dict", "value": {}, "more": 1}, r"\$ has the key '\$type' and was not written by coatcheck"),
        ([{"$type": "set", "value": [{}]}], r"\$\[0\] is no set: .*unhashable"),
        ({"$type": "x" * 10**6, "value": 1}, r"^\$ is not of a type .{,200}$"),
        ({"$type": "datetime", "value": "x" * 10**6}, r"^\$ is no datetime: .{,200}$"),
    ],
)
def test_what_is_forged_is_refused_before_anything_is_loaded(store, state, message) -> None:
    with pytest.raises(InvalidArtifactError, match=message):
        resolve(state, store)
    assert store.asked == []


def test_a_ticket_cannot_ask_for_what_its_artifact_is_not(store) -> None:
    [ticket] = offload(["x" * 100], store, threshold=50)
    for forged, message in [
        ({"type": "application/json"}, "cannot be read as json"),
        ({"type": "application/x-python-pickle"}, "pickles run the code of whoever wrote them"),
        ({"size": 99}, r"at \$\[0\] has 100 bytes, its ticket says 99"),
    ]:
        with pytest.raises(ArtifactDecodeError, match=message):
            resolve([{**ticket, **forged}], store)


# Limits -------------------------------------------------------------------------------------------------------------


def cycle() -> dict:
    value: dict = {"large": "x" * 200_000}
    value["again"] = [value]
    return value


@dataclass
class Node:
    next: Node | None = None
    data: list = field(default_factory=list)


def ring() -> Node:
    node = Node()
    node.next = Node(node)
    return node


def doubled(times: int) -> list:
    value: list = []
    for _ in range(times):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (cycle(), r"\$\.again\[0\] contains itself"),
        (ring(), "nested more than 100 deep: raise limits.depth"),
        (doubled(40), "raise limits.count"),
        (["x" * 200_000, float("nan")], r"\$\[1\] is nan"),
        ({"a": "x" * 200_000, 1: 2}, r"\$ has the key 1: keys must be strings"),
        (["x" * 200_000, object()], r"\$\[1\] is of type object"),
        (["x" * 200_000, numpy.array([object()])], "cannot be kept as numpy"),
        (["x" * 200_000, 10**5000], "cannot be written as JSON"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_is_stored(store, value, message) -> None:
    with pytest.raises(InvalidArtifactError, match=message):
        offload(value, store)
    assert store.asked == []


@pytest.mark.parametrize(
    "options",
    [{"threshold": 0}, {"threshold": True}, {"threshold": 1.5}, {"total": -1}, {"preview": -1}, {"preview": None}],
)
def test_options_that_make_no_sense_are_refused(store, options) -> None:
    with pytest.raises(InvalidArtifactError, match=f"{next(iter(options))} must be an int of at least"):
        offload("x", store, **options)


def test_limits_can_be_raised_and_lowered(store) -> None:
    value: list = ["x" * 3000]
    for _ in range(200):
        value = [value]
    high = Limits(depth=250)
    for threshold in (2000, 3300):
        assert resolve(offload(value, store, threshold=threshold, limits=high), store, limits=high) == value
    state = offload(["x" * 100] * 3, store, threshold=50)
    with pytest.raises(InvalidArtifactError, match=r"\$\[2\] is one too many for 250 bytes: raise limits.size"):
        resolve(state, store, limits=Limits(size=250))
    with pytest.raises(InvalidArtifactError, match="nested more than 1 deep"):
        resolve([state], store, limits=Limits(depth=1))


def test_the_stack_of_a_thread_is_a_limit_too(store) -> None:
    value: list = []
    for _ in range(50_000):
        value = [value]
    for call in (offload, resolve):
        with pytest.raises(InvalidArtifactError, match="nested too deep for the stack"):
            call(value, store, limits=Limits(depth=10**6))


# Asyncio ------------------------------------------------------------------------------------------------------------


def test_asyncio_stores_do_the_same_and_blocking_ones_do_in_threads(store) -> None:
    async def there_and_back(store) -> None:
        state = await aoffload(AGENT, store, threshold=1000)
        assert len(tickets(state)) == 3
        assert await aresolve(state, store, Agent) == AGENT

    asyncio.run(there_and_back(store))
    asyncio.run(there_and_back(AsyncInMemoryArtifactStore()))
    for call in (offload, resolve):
        with pytest.raises(InvalidArtifactError, match="has to be awaited: use aoffload"):
            call(artifact_ref("x") if call is resolve else "x" * 100_000, AsyncInMemoryArtifactStore())


def test_a_value_that_changes_meanwhile_is_stored_as_it_was_handed_over() -> None:
    async def change() -> None:
        store = AsyncInMemoryArtifactStore()
        value = {"a": ["x" * 100], "b": bytearray(b"y" * 100)}
        before = copy.deepcopy(value)
        going = asyncio.create_task(aoffload(value, store, threshold=50))
        await asyncio.sleep(0)
        value["a"].append("z")
        value["b"][:] = b""
        assert await aresolve(await going, store) == before

    asyncio.run(change())


# Decorators ---------------------------------------------------------------------------------------------------------


def test_functions_are_decorated(store) -> None:
    run = ContextVar[str]("run")

    @offloads(store, threshold=50, run_id=run.get)
    def search(query: str) -> dict:
        """Search."""
        return {"query": query, "found": "x" * 100}

    @resolves(store)
    def summarize(result: dict, *more, **named) -> list:
        return [result, *more, named]

    run.set("r")
    found = search("q")
    assert (search.__name__, search.__doc__, found["query"]) == ("search", "Search.", "q")
    assert store.list_by_run("r")[0].artifact_id == get_artifact_id(found["found"])
    whole = {"query": "q", "found": "x" * 100}
    store.asked.clear()
    assert summarize(found, found["found"], store, also=[found]) == [whole, "x" * 100, store, {"also": [whole]}]
    assert store.asked == ["load_many"]


def test_coroutines_are_decorated_with_stores_of_either_kind(store) -> None:
    for chosen in (store, AsyncInMemoryArtifactStore()):

        @resolves(chosen)
        @offloads(chosen, threshold=50)
        async def repeat(text: str) -> list[str]:
            return [text * 100]

        async def call(repeat=repeat, chosen=chosen) -> None:
            first = await repeat("x")
            assert is_artifact_ref(first[0])
            assert await aresolve(await repeat(first[0]), chosen) == ["x" * 10_000]

        asyncio.run(call())
    for decorate in (offloads, resolves):
        with pytest.raises(InvalidArtifactError, match=r"bare\(\) is no coroutine: give it a store that blocks"):
            decorate(AsyncInMemoryArtifactStore())(bare)
    with pytest.raises(InvalidArtifactError, match="threshold"):
        offloads(store, threshold=0)


def bare() -> None:
    """A function to decorate."""


# Mappings -----------------------------------------------------------------------------------------------------------


def test_a_mapping_keeps_its_values_small(store, tmp_path) -> None:
    with shelve.open(str(tmp_path / "states")) as states:
        mapping = OffloadingMapping(states, store, threshold=50, run_id="r", default="gone")
        mapping["a"] = {"text": "x" * 100, "at": (1, 2)}
        mapping.update(b=[b"y" * 100], c=3)
        assert is_artifact_ref(states["a"]["text"])
        assert dict(mapping) == {"a": {"text": "x" * 100, "at": (1, 2)}, "b": [b"y" * 100], "c": 3}
        assert (len(mapping), "a" in mapping, mapping.get("z"), mapping.pop("c")) == (3, True, None, 3)
        assert "x" * 10 not in repr(mapping)
        store.delete_by_run("r")
        assert mapping["b"] == ["gone"]
        del mapping["b"]
        assert list(states) == ["a"]
        with pytest.raises(InvalidArtifactError):
            mapping["a"] = object()
        assert is_artifact_ref(states["a"]["text"])


def test_pickles_come_back_only_to_those_who_trust(store) -> None:
    trusting = CODECS.extended(PickleCodec(trust_everyone_who_can_write=True))
    pickled = trusting.encode({1: 2}, "pickle")
    ticket = artifact_ref(store.store(pickled.content, content_type=pickled.content_type).artifact_id)
    assert resolve([ticket], store, codecs=trusting) == [{1: 2}]
    with pytest.raises(ArtifactDecodeError, match="run the code"):
        resolve([ticket], store)


# A server -----------------------------------------------------------------------------------------------------------


def test_a_server_is_asked_few_times_however_much_goes(valkey, namespace) -> None:
    async def there_and_back() -> None:
        async with await aopen_store(valkey.url, namespace=namespace) as store:
            assert await aresolve(await aoffload(AGENT, store, threshold=1000, ttl=60), store, Agent) == AGENT

    with RedisArtifactStore(valkey.url, namespace=namespace) as store:
        wire = Wire(store)
        for letter in "ab":  # the first time the server does not know the scripts
            wire.reset()
            agent = Agent(goal=letter * 5000, memory={letter: [ord(letter)] * 5000})
            assert resolve(offload(agent, store, threshold=1000, ttl=60), store, Agent) == agent
        assert wire.trips <= 3  # however much it is; metadata are loaded before contents
    asyncio.run(there_and_back())
