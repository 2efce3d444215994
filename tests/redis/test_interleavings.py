"""The real plans of concurrent operations, stepped in every order, with a crash after every step.

A step is one round trip to a real server. After each schedule there has to be an order of the operations that explains
what was seen: one that respects time, so that what had ended before another began comes before it. A crashed operation
has happened, or has not. Nothing is half there, and what is left that nobody leases goes with gc.

Long operations are not stepped in every order: as often as `switches` says, one is held up for another.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from coatcheck import ArtifactLostError, RedisArtifactStore, compute_artifact_id
from coatcheck.backends.redis.maintenance import indexes
from coatcheck.backends.redis.layout.partitions import Partitions
from coatcheck.backends.redis.scripts import calls
from coatcheck.backends.redis.storing import UNASKED
from coatcheck.plan import Work
from coatcheck.sources import Chunking

from ..harnesses import chunk
from ..sizes import EVERY

LARGE = hashlib.shake_128(b"large").digest(UNASKED + 1)  # two steps: asked for, then sent and published
OTHER = hashlib.shake_128(b"other").digest(UNASKED + 1)
MIDDLING = hashlib.shake_128(b"middling").digest(100_000)  # one step, but sent beside the script
SMALL = b"small"
CHUNKED = hashlib.shake_128(b"chunked").digest(400_000)  # asked for, sent, given its deadline, published
CHUNKING = Chunking(size=80_000, threshold=300_000, window=8)
CHUNKED_NAME = compute_artifact_id(CHUNKED)
NAME = compute_artifact_id(LARGE)


def switches(operations: int, *, crashes: bool) -> int:
    """How often one operation is held up for another: less often where a crash or a third one makes more of it."""
    return 2 - crashes - (operations > 2 and not EVERY)


Leases = dict[str | None, bytes]
"""A model of one artifact: runs that lease it, the latest store last, and what they stored."""
Effect = Callable[[Leases], Any]
"""What an operation does to it at once, and what it returns then."""


@dataclass
class Outcome:
    """What happened in one schedule: results by operation, and at which steps operations began and ended."""

    results: dict[str, object] = field(default_factory=dict)
    began: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    crashed: str | None = None

    def orders(self) -> Iterator[tuple[str, ...]]:
        """Every order that respects time, with what crashed or without."""
        for names in {tuple(self.ended), tuple(self.began)}:
            for order in itertools.permutations(names):
                if not any(self.before(later, name) for name, later in itertools.combinations(order, 2)):
                    yield order

    def before(self, first: str, second: str) -> bool:
        """Whether one had ended when the other began."""
        return first in self.ended and self.ended[first] < self.began[second]

    def is_explained(self, start: Leases, effects: dict[str, Effect], seen: Leases, *returned: str) -> bool:
        """Whether some order leads from `start` to what was seen, and to what those operations returned."""
        for order in self.orders():
            leases = dict(start)
            results = {name: effects[name](leases) for name in order}
            if leases == seen and all(results[name] == self.results[name] for name in returned if name in self.ended):
                return True
        return False


def schedules(prepare: Callable[[], dict[str, object]], *, crashes: bool) -> Iterator[tuple[Outcome, int]]:
    """Orders of the steps of some plans; with `crashes`, also every way to abandon one of them on the way.

    Yields:
        The outcome of a schedule, and how many steps it took. Each starts with a new `prepare()`.
    """
    pending: list[list[tuple[str, str]]] = [[]]
    while pending:
        prefix = pending.pop()
        plans = prepare()
        outcome, steps = Outcome(), {}
        for name, plan in plans.items():
            advance(name, plan, None, steps, outcome, 0)
        path: list[tuple[str, str]] = []
        running, switched = None, 0
        while steps:
            names = sorted(steps, key=lambda name: name != running)
            if running in steps and switched == switches(len(plans), crashes=crashes):
                names = [running]
            choices = [("step", name) for name in names]
            if crashes and outcome.crashed is None and running in steps:  # when it stops makes no difference
                choices.append(("crash", running))
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
                continue
            switched += running in steps and name != running
            running = name
            outcome.began.setdefault(name, len(path))
            advance(name, plans[name], steps.pop(name).run(), steps, outcome, len(path))
        yield outcome, len(path)


def advance(name, plan, reply, steps, outcome, position) -> None:
    try:
        steps[name] = plan.send(reply)
        while isinstance(steps[name], Work):  # concerns nobody else
            steps[name] = plan.send(steps[name].run())
    except StopIteration as end:
        steps.pop(name, None)
        outcome.results[name] = end.value
        outcome.ended[name] = position


class World:
    """A namespace of its own for every schedule."""

    _numbers = itertools.count()

    def __init__(self, server, monkeypatch) -> None:
        self.client = server.client()
        self.server, self.monkeypatch = server, monkeypatch
        self.namespace = ""
        self.store: RedisArtifactStore

    def fresh(self) -> None:
        self.close()
        self.namespace = f"inter{next(self._numbers)}"
        self.store = chunk(RedisArtifactStore(self.server.url, namespace=self.namespace), CHUNKING)

    def close(self) -> None:
        if self.namespace:
            for view in self.store.list_all(limit=0):
                self.store.delete(view.artifact_id)
            left = self.keys("")
            assert all(b":chunk:" in key and 0 < self.client.pttl(key) <= 60_000 for key in left), left
            if left:  # what a crashed upload had just sent
                self.client.delete(*left)
            self.store.close()

    def keys(self, kind: str) -> list[bytes]:
        return sorted(self.client.scan_iter(match=f"{self.namespace}:{kind}*", count=1000))

    def plan(self, name: str, *args, **keywords):
        return getattr(self.store._operations, name)(*args, **keywords)

    def storing(self, content: bytes, run: str | None, artifact_id: str | None = None, ttl=None):
        details = {"run_id": run, "tags": {"run": str(run)}, "artifact_id": artifact_id, "ttl": ttl}
        return self.plan("store", content, "text/plain", details)

    def leases(self, name: str) -> Leases:
        """What is seen from outside."""
        loaded = self.store.load(name)
        leases = {lease.run_id: loaded and loaded.content for lease in self.store.leases(name)}
        assert (loaded is not None) is bool(leases)
        return leases

    def check(self, outcome: Outcome) -> None:
        if outcome.crashed is not None:
            self.client.unlink("none", *self.keys("staging:"))  # as if its TTL had ended
            with self.monkeypatch.context() as later:
                later.setattr(indexes, "_HOLD_US", -1)
                self.store.gc(dry_run=False, grace=0)
            # Chunks that have yet to follow a content that is there.
            assert {problem.kind for problem in self.store.check(repair=True, grace=0).problems} <= {"wrong-expiry"}
        problems = self.store.check(read_data=True).problems
        assert problems == [], problems


@pytest.fixture
def world(valkey, monkeypatch):
    world = World(valkey, monkeypatch)
    for script in calls.ALL:  # one that the server doesn't know takes a step more
        world.client.script_load(script.source)
    yield world
    world.close()
    world.client.close()


def examine(world: World, prepare, judge, record_property) -> None:
    counts = {}
    for crashes in (False, True):
        number = 0
        for outcome, _ in schedules(prepare, crashes=crashes):
            number += 1
            judge(outcome)
            world.check(outcome)
        counts["with crashes" if crashes else "orders"] = number
        assert number > 1
    record_property("schedules", counts)
    print(f"schedules: {counts}")


def stores(content: bytes, run: str | None) -> Effect:
    def effect(leases: Leases) -> None:
        leases.pop(run, None)
        leases[run] = content

    return effect


def replaces(content: bytes, run: str) -> Effect:
    def effect(leases: Leases) -> None:
        leases.clear()
        leases[run] = content

    return effect


def deletes(leases: Leases) -> bool:
    found = bool(leases)
    leases.clear()
    return found


def releases(run: str) -> Effect:
    return lambda leases: leases.pop(run, None) is not None


def loads(leases: Leases) -> object:
    return next(((content, run) for run, content in reversed(leases.items())), None)


@pytest.mark.parametrize("before", ["nothing", "A has it", "B has it", "C has it"])
@pytest.mark.parametrize("content", [SMALL, MIDDLING, LARGE], ids=["small", "middling", "large"])
def test_store_delete_by_run_and_store(world, before, content, record_property) -> None:
    name = compute_artifact_id(content)
    start = {} if before == "nothing" else {before[0]: content}
    effects = {"store A": stores(content, "A"), "delete A": releases("A"), "store B": stores(content, "B")}

    def prepare():
        world.fresh()
        for run in start:
            world.store.store(content, run_id=run)
        return {
            "store A": world.storing(content, "A"),
            "delete A": world.plan("delete_by_run", "A"),
            "store B": world.storing(content, "B"),
        }

    def judge(outcome: Outcome) -> None:
        assert outcome.is_explained(start, effects, world.leases(name), "delete A")

    examine(world, prepare, judge, record_property)


@pytest.mark.parametrize("before", ["nothing", "B has it"])
@pytest.mark.parametrize("content", [SMALL, LARGE, CHUNKED], ids=["small", "large", "chunked"])
def test_store_and_delete(world, before, content, record_property) -> None:
    name = compute_artifact_id(content)
    start = {} if before == "nothing" else {"B": content}

    def prepare():
        world.fresh()
        for run in start:
            world.store.store(content, run_id=run)
        return {"store": world.storing(content, "A"), "delete": world.plan("delete", name)}

    def judge(outcome: Outcome) -> None:
        effects = {"store": stores(content, "A"), "delete": deletes}
        assert outcome.is_explained(start, effects, world.leases(name), "delete")

    examine(world, prepare, judge, record_property)


@pytest.mark.parametrize("new", [SMALL, OTHER, CHUNKED], ids=["small", "large", "chunked"])
@pytest.mark.parametrize("old", [LARGE, CHUNKED], ids=["of large", "of chunked"])
def test_replacement_load_and_release(world, old, new, record_property) -> None:
    if old == new:
        new = CHUNKED[1:]

    def loading():
        loaded = yield from world.plan("load", "name", None, required=False)
        return loaded and (loaded.content, loaded.metadata.run_id)

    def prepare():
        world.fresh()
        world.store.store(old, artifact_id="name", run_id="A")
        return {
            "replace": world.storing(new, "B", "name"),
            "load": loading(),
            "release": world.plan("release", "name", "A"),
        }

    def judge(outcome: Outcome) -> None:
        effects = {"replace": replaces(new, "B"), "load": loads, "release": releases("A")}
        assert outcome.is_explained({"A": old}, effects, world.leases("name"), "load", "release")

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
        held = {*world.leases(NAME), *("name" for _ in world.leases("name"))}
        assert outcome.results.keys() <= held <= {*outcome.results, outcome.crashed}
        if outcome.crashed is None:
            assert world.keys("staging:") == []

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
            world.client.delete(world.keys("chunk:")[1])
        return {"A": world.storing(CHUNKED, "A", None, 60), "B": world.storing(CHUNKED, "B")}

    def judge(outcome: Outcome) -> None:
        held = {lease.run_id for lease in world.store.leases(CHUNKED_NAME)} - {"before"}
        assert outcome.results.keys() <= held <= {*outcome.results, outcome.crashed}
        if held:
            assert world.store.load(CHUNKED_NAME).content == CHUNKED
        if outcome.crashed is None:
            assert len(world.keys("chunk:")) == 5
        if not held and before != "nothing":  # nobody healed it
            world.store.delete(CHUNKED_NAME)

    examine(world, prepare, judge, record_property)


@pytest.mark.parametrize("before", ["nothing", "B has it"])
def test_chunked_delete_and_read(world, before, record_property) -> None:
    start = {} if before == "nothing" else {"B": CHUNKED}

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
        for run in start:
            world.store.store(CHUNKED, run_id=run)
        return {
            "store": world.storing(CHUNKED, "A"),
            "delete": world.plan("delete", CHUNKED_NAME),
            "read": reading(),
        }

    def judge(outcome: Outcome) -> None:
        effects = {
            "store": stores(CHUNKED, "A"),
            "delete": deletes,
            "read": lambda leases: CHUNKED if leases else None,
        }
        lost = outcome.results.get("read") == "lost"
        assert not lost or outcome.began["delete"] < outcome.ended["read"]
        returned = ["delete"] if lost else ["delete", "read"]
        assert outcome.is_explained(start, effects, world.leases(CHUNKED_NAME), *returned)

    examine(world, prepare, judge, record_property)


@pytest.mark.parametrize("other", ["release", "delete_by_run", "touch"])
def test_chunked_content_that_one_run_gives_up_while_another_takes_it(world, other, record_property) -> None:
    def prepare():
        world.fresh()
        world.store.store(CHUNKED, run_id="A", ttl=600)
        args = {"release": (CHUNKED_NAME, "A"), "delete_by_run": ("A",), "touch": (CHUNKED_NAME, 60, "A")}[other]
        return {
            "take": world.plan("find_missing", [CHUNKED_NAME], 6000, "B"),
            "give up": world.plan(other, *args),
        }

    def judge(outcome: Outcome) -> None:
        def take(leases: Leases) -> list[str]:
            if not leases:
                return [CHUNKED_NAME]
            leases["B"] = CHUNKED
            return []

        effects = {"take": take, "give up": (lambda _: True) if other == "touch" else releases("A")}
        seen = world.leases(CHUNKED_NAME)
        assert outcome.is_explained({"A": CHUNKED}, effects, seen, "take", "give up")
        if "B" in seen:
            manifest = Partitions(world.namespace, 1).all[0].content(CHUNKED_NAME.encode())
            assert world.client.pttl(manifest) > 5_000_000
            ends = [world.client.pttl(key) for key in world.keys("chunk:")]
            assert len(ends) == 5
            assert min(ends) > 5_000_000

    examine(world, prepare, judge, record_property)
