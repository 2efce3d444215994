"""The real plans of concurrent operations, stepped in every order, with a crash after every step.

A step is one exchange with a real server. After each schedule the promises are checked: whoever got an acknowledgement
can load unless it was deleted later, nothing is half there, and whatever is left ends by itself.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from coatcheck import ArtifactLostError, RedisArtifactStore, compute_artifact_id
from coatcheck.backends.redis.storing import UNASKED
from coatcheck.plan import Work
from coatcheck.sources import Chunking

from ..harnesses import chunk

LARGE = hashlib.shake_128(b"large").digest(UNASKED + 1)  # two steps: asked for, then sent and published
OTHER = hashlib.shake_128(b"other").digest(UNASKED + 1)
MIDDLING = hashlib.shake_128(b"middling").digest(100_000)  # one step, but sent beside the script
SMALL = b"small"
CHUNKED = hashlib.shake_128(b"chunked").digest(400_000)  # three steps: asked for, sent, published
CHUNKING = Chunking(size=80_000, threshold=300_000, window=8)
CHUNKED_NAME = compute_artifact_id(CHUNKED)
NAME = compute_artifact_id(LARGE)


UNPUBLISHED = re.compile(rb":staging:|:content:\{[0-9a-f]+\}:[0-9a-f]{16}:")


@dataclass
class Outcome:
    """What happened in one schedule: results by operation, and the order in which operations ended."""

    results: dict[str, object] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    crashed: str | None = None

    def before(self, first: str, second: str) -> bool:
        return self.ended.index(first) < self.ended.index(second)


def schedules(prepare: Callable[[], dict[str, object]], *, crashes: bool) -> Iterator[tuple[Outcome, int]]:
    """Every order of the steps of some plans; with `crashes`, also every way to abandon one of them on the way.

    Yields:
        The outcome of a schedule, and how many steps it took. Each starts with a new `prepare()`.
    """
    pending: list[list[tuple[str, str]]] = [[]]
    while pending:
        prefix = pending.pop()
        plans = prepare()
        outcome, steps = Outcome(), {}
        for name, plan in plans.items():
            advance(name, plan, None, steps, outcome)
        path: list[tuple[str, str]] = []
        while steps:
            choices = [("step", name) for name in steps]
            if crashes and outcome.crashed is None:
                choices += [("crash", name) for name in steps]
            if len(path) < len(prefix):
                choice = prefix[len(path)]
            else:
                choice = choices[0]
                pending += [[*path, other] for other in choices[1:]]
            path.append(choice)
            what, name = choice
            if what == "crash":
                outcome.crashed = name
                del steps[name]
                plans[name].close()
            else:
                advance(name, plans[name], steps.pop(name).run(), steps, outcome)
        yield outcome, len(path)


def advance(name, plan, reply, steps, outcome) -> None:
    try:
        steps[name] = plan.send(reply)
        while isinstance(steps[name], Work):  # concerns nobody else
            steps[name] = plan.send(steps[name].run())
    except StopIteration as end:
        steps.pop(name, None)
        outcome.results[name] = end.value
        outcome.ended.append(name)


class World:
    """A namespace of its own for every schedule."""

    _numbers = itertools.count()

    def __init__(self, server) -> None:
        self.server = server
        self.namespaces: list[str] = []
        self.store: RedisArtifactStore

    def fresh(self) -> None:
        self.close()
        self.namespaces.append(f"inter{next(self._numbers)}")
        self.store = chunk(RedisArtifactStore(self.server.url, namespace=self.namespaces[-1]), CHUNKING)

    def close(self) -> None:
        if self.namespaces:
            for view in self.store.list_all(limit=0):
                self.store.delete(view.artifact_id)
            with self.server.client() as client:
                left = list(client.scan_iter(match=f"{self.namespaces[-1]}:*", count=1000))
                assert all(UNPUBLISHED.search(key) and 0 < client.pttl(key) <= 60_000 for key in left), left
                if left:
                    client.delete(*left)
            self.store.close()

    def plan(self, name: str, *args):
        return getattr(self.store._operations, name)(*args)

    def storing(self, content: bytes, run: str | None, artifact_id: str | None = None, ttl=None):
        return self.plan("store", content, "text/plain", run, {"run": str(run)}, artifact_id, ttl)

    def check(self) -> None:
        problems = self.store.check(read_data=True).problems
        assert problems == [], problems


@pytest.fixture
def world(valkey):
    world = World(valkey)
    world.fresh()
    # A script that the server doesn't know yet takes a step more: every schedule has to have the same steps.
    world.store.store(LARGE, artifact_id="name", run_id="A")
    world.store.store(OTHER, artifact_id="name", run_id="A")
    world.store.load("name")
    world.store.load(NAME)
    world.store.store(CHUNKED)
    world.store.delete(CHUNKED_NAME)
    world.store.release("name", "A")
    world.store.gc(grace=0)
    world.store.delete_by_run("A")
    world.store.delete("name")
    yield world
    world.close()


def examine(world: World, prepare, judge, record_property) -> None:
    counts = {}
    for crashes in (False, True):
        number = steps_taken = 0
        for outcome, steps in schedules(prepare, crashes=crashes):
            number += 1
            steps_taken += steps
            judge(outcome)
            world.check()
        counts["with crashes" if crashes else "orders"] = number
        assert number > 1
    record_property("schedules", counts)
    print(f"schedules: {counts}")


@pytest.mark.parametrize("before", ["nothing", "A has it", "B has it", "C has it"])
@pytest.mark.parametrize("content", [SMALL, MIDDLING, LARGE], ids=["small", "middling", "large"])
def test_store_delete_by_run_and_store(world, before, content, record_property) -> None:
    name = compute_artifact_id(content)

    def prepare():
        world.fresh()
        if before != "nothing":
            world.store.store(content, run_id=before[0])
        return {
            "store A": world.storing(content, "A"),
            "delete A": world.plan("delete_by_run", "A"),
            "store B": world.storing(content, "B"),
        }

    def judge(outcome: Outcome) -> None:
        held = {lease.run_id for lease in world.store.leases(name)}
        if "store B" in outcome.results:
            assert "B" in held
        if "store A" in outcome.results and "delete A" in outcome.results:
            # Large content is acknowledged by its last step, other by its only one: later than the deletion, or not.
            assert ("A" in held) is outcome.before("delete A", "store A")
        elif "store A" in outcome.results:
            assert "A" in held or outcome.crashed == "delete A"
        if before == "C has it":
            assert "C" in held
        loaded = world.store.load(name)
        assert (loaded is not None) is bool(held)
        assert loaded is None or loaded.content == content

    examine(world, prepare, judge, record_property)


@pytest.mark.parametrize("before", ["nothing", "B has it"])
def test_store_and_delete(world, before, record_property) -> None:
    def prepare():
        world.fresh()
        if before != "nothing":
            world.store.store(LARGE, run_id="B")
        return {"store": world.storing(LARGE, "A"), "delete": world.plan("delete", NAME)}

    def judge(outcome: Outcome) -> None:
        held = {lease.run_id for lease in world.store.leases(NAME)}
        if "delete" in outcome.results:
            assert "B" not in held
        if {"store", "delete"} <= outcome.results.keys():
            assert ("A" in held) is outcome.before("delete", "store")
        elif "store" in outcome.results:
            assert "A" in held
        assert (world.store.load(NAME) is not None) is bool(held)

    examine(world, prepare, judge, record_property)


@pytest.mark.parametrize("new", [SMALL, OTHER], ids=["small", "large"])
def test_replacement_load_and_release(world, new, record_property) -> None:
    def prepare():
        world.fresh()
        world.store.store(LARGE, artifact_id="name", run_id="A")
        return {
            "replace": world.storing(new, "B", "name"),
            "load": world.plan("load", "name"),
            "release": world.plan("release", "name", "A"),
        }

    def judge(outcome: Outcome) -> None:
        if "load" in outcome.results:
            loaded = outcome.results["load"]
            assert loaded is None or (loaded.content, loaded.metadata.run_id) in ((LARGE, "A"), (new, "B"))
            assert loaded is not None or outcome.before("release", "load")
        after = world.store.load("name")
        if "replace" in outcome.results:
            assert after is not None
            assert (after.content, after.metadata.run_id) == (new, "B")
        else:
            assert after is None or after.content == LARGE
        assert len(world.store.leases("name")) == (after is not None)

    examine(world, prepare, judge, record_property)


def test_two_uploads_of_the_same_content(world, record_property) -> None:
    def prepare():
        world.fresh()
        return {
            "A": world.storing(LARGE, "A", None, 60),
            "B": world.storing(LARGE, "B"),
            "name": world.storing(LARGE, "C", "name"),
        }

    def judge(outcome: Outcome) -> None:
        held = {lease.run_id for lease in world.store.leases(NAME)}
        assert held == {"A", "B"} & outcome.results.keys()
        assert world.store.exists("name") is ("name" in outcome.results)
        for artifact_id in (NAME, "name"):
            loaded = world.store.load(artifact_id)
            assert loaded is None or loaded.content == LARGE
        if outcome.crashed is None:
            with world.server.client() as client:
                assert not list(client.scan_iter(match=f"{world.namespaces[-1]}:staging:*", count=1000))

    examine(world, prepare, judge, record_property)


def test_gc_and_store(world, record_property) -> None:
    def prepare():
        world.fresh()
        world.store.store(OTHER, artifact_id="name")
        collect = world.store._operations.gc(dry_run=False, grace=0, progress=None)
        return {"gc": collect, "store": world.storing(LARGE, None)}

    def judge(outcome: Outcome) -> None:
        if "gc" in outcome.results:
            assert outcome.results["gc"].problems == []
        if "store" in outcome.results:
            assert world.store.load(NAME) is not None
        assert world.store.load("name").content == OTHER

    examine(world, prepare, judge, record_property)


@pytest.mark.parametrize("before", ["nothing", "lost a chunk"])
def test_two_chunked_uploads_of_the_same_content(world, before, record_property) -> None:
    def prepare():
        world.fresh()
        if before != "nothing":
            world.store.store(CHUNKED, run_id="before")
            with world.server.client() as client:
                client.delete(chunks(world, client)[1])
        return {"A": world.storing(CHUNKED, "A", None, 60), "B": world.storing(CHUNKED, "B")}

    def judge(outcome: Outcome) -> None:
        held = {lease.run_id for lease in world.store.leases(CHUNKED_NAME)} - {"before"}
        assert held == outcome.results.keys()
        if held:
            assert world.store.load(CHUNKED_NAME).content == CHUNKED
        if outcome.crashed is None:
            with world.server.client() as client:
                assert len(chunks(world, client)) == 5
        if not held and before != "nothing":  # nobody healed it
            world.store.delete(CHUNKED_NAME)

    examine(world, prepare, judge, record_property)


@pytest.mark.parametrize("before", ["nothing", "B has it"])
def test_chunked_store_delete_and_read(world, before, record_property) -> None:
    def reading():
        opened = yield from world.plan("open", CHUNKED_NAME)
        if opened is None:
            return None
        try:
            [*blocks] = yield from opened.blocks(0, opened.size)
        except ArtifactLostError:
            return "lost"
        return b"".join(block.data for block in blocks)

    def prepare():
        world.fresh()
        if before != "nothing":
            world.store.store(CHUNKED, run_id="B")
        return {
            "store": world.storing(CHUNKED, "A"),
            "delete": world.plan("delete", CHUNKED_NAME),
            "read": reading(),
        }

    def judge(outcome: Outcome) -> None:
        if "read" in outcome.results:
            assert outcome.results["read"] in (CHUNKED, None, "lost")
            assert outcome.results["read"] != "lost" or outcome.before("delete", "read")
        held = {lease.run_id for lease in world.store.leases(CHUNKED_NAME)}
        if {"store", "delete"} <= outcome.results.keys():
            assert ("A" in held) is outcome.before("delete", "store")
        elif "store" in outcome.results:
            assert "A" in held
        loaded = world.store.load(CHUNKED_NAME)
        assert (loaded is not None) is bool(held)
        assert loaded is None or loaded.content == CHUNKED

    examine(world, prepare, judge, record_property)


def chunks(world: World, client) -> list[bytes]:
    return sorted(client.scan_iter(match=f"{world.namespaces[-1]}:content:*:*:*", count=1000))
