"""The split form's plans in every order of their commands, with a crash after every command; see `schedules.py`.

After each schedule every key is looked at: whoever got an acknowledgement has a lease with content, nothing is half
there, every key ends with what is in it, and no claim stands for nothing. After a crash that may be so, until `gc`.
COATCHECK_SCHEDULES=large adds the scenes that take minutes to an hour each; nothing sets it by itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from coatcheck import BackendStore, compute_artifact_id
from coatcheck.backends.redis import Target, scripts
from coatcheck.backends.redis.keys import SplitKeys
from coatcheck.backends.redis.records import FOREVER, explicit_digest, lease_times, tag_of
from coatcheck.backends.redis.split import scripts as split_scripts
from coatcheck.backends.redis.split import storing
from coatcheck.backends.redis.split.claims import SKEW_MS, Claim
from coatcheck.plan import run

from ..conftest import one_node_cluster
from ..harnesses import split_backend
from .schedules import Outcome, Running, Usage, canonical, schedules

LARGE_SCENES = os.environ.get("COATCHECK_SCHEDULES") == "large"
SMALL = b"small"
OTHER = b"other"
LARGE = hashlib.shake_128(b"large").digest(70_000)
LARGE_OTHER = hashlib.shake_128(b"other").digest(70_000)

LOOK_AT_ALL = """
local found = {}
for i, key in ipairs(redis.call('KEYS', '*')) do
  local kind, value = redis.call('TYPE', key).ok, nil
  if kind == 'hash' then
    value = redis.call('HGETALL', key)
  elseif kind == 'zset' then
    value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  else
    value = { redis.call('GETRANGE', key, 0, 41) }
  end
  found[i] = { key, redis.call('PEXPIRETIME', key), value, redis.call('DUMP', key) }
end
return found
"""
RESTORE = """
redis.call('FLUSHDB')
for i = 1, #ARGV, 3 do
  redis.call('RESTORE', ARGV[i], ARGV[i + 1], ARGV[i + 2], 'ABSTTL')
end
"""


class World:
    """The only namespace on a server of its own, empty at the beginning of each schedule."""

    def __init__(self, server) -> None:
        self.link = Target.of(server.url).link()
        self.client = server.client()
        self.backend = split_backend(self.link, "n")
        self.store = BackendStore(self.backend)
        self.keys = SplitKeys("n")
        self._drawn: dict[str, int] = {}
        self._look = self.client.register_script(LOOK_AT_ALL)
        self._restore = self.client.register_script(RESTORE)
        for script in (*scripts.ALL, *split_scripts.ALL):
            self.client.script_load(script.source)

    def fresh(self) -> None:
        self.client.flushdb()
        self.forget()

    def save(self):
        """Everything: to be compared, and to be restored."""
        found = self._look()
        saved = [part for key, ends, _, dumped in found for part in (key, max(0, ends), dumped)]
        return [[key, ends, value] for key, ends, value, _ in found], saved

    def restore(self, saved) -> None:
        self._restore(args=saved)

    def forget(self) -> None:
        self._drawn.clear()

    def draw(self, size: int) -> bytes:
        """Instead of random bytes: the plan's name and a number."""
        self._drawn[Running.current] = number = self._drawn.get(Running.current, 0) + 1
        return hashlib.shake_128(f"{Running.current} {number}".encode()).digest(size)

    def close(self) -> None:
        self.store.close()
        self.client.close()

    def plan(self, name: str, *args, **options):
        return getattr(self.store._operations, name)(*args, **options)

    def storing(self, content: bytes, run_id: str | None, artifact_id: str | None = None, ttl=None):
        return self.plan("store", content, "text/plain", run_id, {"run": str(run_id)}, artifact_id, ttl)

    def collect(self) -> None:
        run(self.backend.gc(dry_run=False, grace_ms=0, progress=None))

    def look(self) -> Picture:
        return Picture(self.keys, self.save()[0])


def ending(deadline: float) -> int:
    """A deadline as PEXPIRETIME tells it."""
    return -1 if deadline >= FOREVER else int(deadline)


class Picture:
    """All keys at one moment, and what has to be true of them."""

    def __init__(self, keys: SplitKeys, dump) -> None:
        self.keys = keys
        self.leases: dict[str, dict[bytes, bytes]] = {}
        self.heads: dict[str, bytes] = {}
        self.indexes: dict[bytes, dict[bytes, float]] = {}
        self.contents: dict[bytes, bytes] = {}
        self.passing: list[bytes] = []
        self.ends: dict[bytes, int] = {}
        for key, ends, value in dump:
            self.ends[key] = ends
            if key.startswith(b"n:artifact:"):
                fields = dict(zip(value[::2], value[1::2], strict=True))
                name = key[len(b"n:artifact:{") : -1].decode()
                self.heads[name] = fields.pop(b"h")
                latest = fields.pop(b"t", None)
                assert (latest is not None) is (len(fields) > 1)
                if latest is not None:
                    assert fields[latest][6:13] == max(lease[6:13] for lease in fields.values())
                self.leases[name] = fields
            elif key.startswith(b"n:content:"):
                self.contents[key] = value[0]
            elif key.startswith((b"n:staging:", b"n:fence:")):
                self.passing.append(key)
                assert ends > 0, key
            else:
                scores = zip(value[::2], value[1::2], strict=True)
                self.indexes[key] = {member: float(score) for member, score in scores}

    def holders(self, artifact_id: str) -> set[str | None]:
        return {None if field == b"-" else field[1:].decode() for field in self.leases.get(artifact_id, {})}

    def check(self, *, strictly: bool) -> None:
        """Nothing acknowledged is unreachable or half there; `strictly`: and nothing else is there."""
        expected: dict[bytes, dict[bytes, int]] = {}
        contents: dict[bytes, int] = {}
        digests: dict[bytes, bytes] = {}
        for name, leases in self.leases.items():
            head, longest = self.heads[name], max(lease_times(lease)[0] for lease in leases.values())
            assert self.ends[self.keys.artifact(name.encode())] == ending(longest)
            content = self.keys.content(tag_of(head[2:34]))
            digests[content] = head[2:34]
            if explicit_digest(head) is None:
                contents[content] = max(longest, contents.get(content, 0))
            for field, lease in leases.items():
                claim, deadline = Claim.of(name.encode(), head, field, lease), lease_times(lease)[0]
                created, deadlines = self.keys.catalog_with(claim.artifact_id)
                expected.setdefault(deadlines, {})[claim.name] = deadline
                expected.setdefault(created, {})[claim.name] = claim.token
                if claim.run_id is not None:
                    expected.setdefault(self.keys.run(claim.run_id), {})[claim.name] = deadline
                if claim.digest is not None:
                    expected.setdefault(self.keys.leases(tag_of(claim.digest)), {})[claim.name] = deadline + SKEW_MS
        for key, claims in expected.items():
            there = self.indexes.get(key, {})
            assert all(there.get(name, 0) >= least for name, least in claims.items()), (key, claims, there)
        self._check_ends(contents)
        for content, digest in digests.items():
            assert self.contents.get(content, b"")[10:42] == digest, "metadata without content"
        if strictly:
            actual = {key: set(members) for key, members in self.indexes.items() if b":runs:" not in key}
            assert actual == {key: set(claims) for key, claims in expected.items()}
            assert self.contents.keys() == digests.keys()

    def _check_ends(self, contents: dict[bytes, int]) -> None:
        """Every key ends with what is in it."""
        runs: dict[bytes, dict[bytes, float]] = {}
        for key, members in self.indexes.items():
            last = max(members.values())
            if b":created:" in key:
                assert members.keys() == self.indexes[key.replace(b":created:", b":deadlines:")].keys()
                continue
            assert self.ends[key] == ending(last), key
            if b":deadlines:" in key:
                assert self.ends[key.replace(b":deadlines:", b":created:")] == ending(last), key
            if b":leases:" in key:
                content = key.replace(b":leases:", b":content:")
                contents[content] = max(contents.get(content, 0), int(last))
            found = re.fullmatch(rb"n:run:\{runs-..\}:(.+)", key)
            if found:
                name = unquote(found[1].decode()).encode()
                runs.setdefault(self.keys.runs_with(name), {})[name] = min(last, FOREVER)
        listed = {
            key: {member: min(score, FOREVER) for member, score in members.items()}
            for key, members in self.indexes.items()
            if b":runs:" in key
        }
        assert listed == runs
        for key in self.contents:
            assert self.ends[key] == ending(contents[key]), key


@pytest.fixture(scope="module")
def world(leaks):
    with contextlib.ExitStack() as running:
        with leaks.lasting():
            server = running.enter_context(one_node_cluster())
            patch = running.enter_context(pytest.MonkeyPatch.context())
            for script in split_scripts.ALL:
                # A state is restored as it was, possibly minutes later: commits must not be too late then.
                source = script.source.replace(b"COMMIT_WITHIN = 60000000 ", b"COMMIT_WITHIN = 36000000000 ")
                assert (source != script.source) is (b"COMMIT_WITHIN" in script.source)
                patch.setattr(script, "source", source)
                patch.setattr(script, "_hash", hashlib.sha1(source).hexdigest().encode())
            world = World(server)
            running.callback(world.close)
            world.store.list_runs()  # connects
            patch.setattr(storing, "os", SimpleNamespace(urandom=world.draw))
        yield world


@dataclass
class Scene:
    """What a test lets run at the same time, and what was there before."""

    world: World
    prepare: Callable[[], None]
    make: Callable[[], dict]

    def begin(self) -> None:
        self.world.fresh()
        self.prepare()

    def plans(self) -> dict:
        self.world.forget()
        return self.make()

    def look(self):
        return self.world.save()

    def restore(self, saved) -> None:
        self.world.restore(saved)


def examine(scene: Scene, judge: Callable[[Outcome, Picture], None], record_property) -> None:
    """Judge every schedule, without and with a crash of each of the plans."""
    world, usage = scene.world, Usage()
    counts: dict[str, str] = {}
    for victim in (None, *scene.make()):
        number = 0
        for outcome in schedules(scene, usage, victim=victim):
            number += 1
            try:
                picture = world.look()
                picture.check(strictly=victim is None)
                judge(outcome, picture)
                if victim is not None:
                    world.collect()
                    collected = world.look()
                    collected.check(strictly=True)
                    assert collected.leases == picture.leases
                elif "gc" not in outcome.results:
                    assert not picture.passing
                if number % 20 == 1:  # and the store's own view of it
                    assert world.store.check(read_data=True, grace=0).problems == []
            except BaseException:
                print("\n".join(f"{a.plan} {a.index} {list(a.touches)}" for a in outcome.actions))
                raise
        ends = f"{number} ends of {usage.states} states, {usage.steps} steps"
        counts["crash of " + victim if victim else "no crash"] = ends
        assert number > 0
    record_property("schedules", counts)
    print(f"schedules: {counts}")


def loaded_as_held(world: World, picture: Picture, name: str, *contents: bytes) -> None:
    loaded = world.store.load(name)
    assert (loaded is not None) is bool(picture.holders(name))
    assert loaded is None or loaded.content in contents


def large(*values):
    """A scene of some ten thousand states."""
    skip = pytest.mark.skipif(not LARGE_SCENES, reason="COATCHECK_SCHEDULES=large runs this")
    return pytest.param(*values, marks=skip)


@pytest.mark.parametrize(
    ("kind", "before", "plans"),
    [
        ("small", "nothing", "ADB"),
        ("small", "B has it", "ADB"),
        ("small", "C has it", "ADB"),
        ("small", "A has it", "AD"),
        ("large", "nothing", "AD"),
        ("large", "A has it", "AD"),
        ("explicit", "nothing", "AD"),
        large("explicit", "A has it", "AD"),
        large("small", "A has it", "ADB"),
        large("large", "nothing", "ADB"),
        large("large", "B has it", "ADB"),
        large("large", "C has it", "ADB"),
        large("large", "A has it", "ADB"),
        large("explicit", "nothing", "ADB"),
        large("explicit", "A has it", "ADB"),
        large("explicit", "B has it", "ADB"),
        large("explicit", "C has it", "ADB"),
    ],
)
def test_store_delete_by_run_and_store(world, kind, before, plans, record_property) -> None:
    content, artifact_id = (LARGE if kind == "large" else SMALL), ("name" if kind == "explicit" else None)
    name = artifact_id or compute_artifact_id(content)
    old: list[bytes] = []

    def prepare() -> None:
        if before != "nothing":
            run(world.storing(content, before[0], artifact_id))
            old[:] = [world.client.hget(world.keys.artifact(name.encode()), f"={before[0]}")]

    def make():
        every = {
            "A": ("store A", world.storing(content, "A", artifact_id)),
            "D": ("delete A", world.plan("delete_by_run", "A")),
            "B": ("store B", world.storing(content, "B", artifact_id)),
        }
        return dict(every[letter] for letter in plans)

    def judge(outcome: Outcome, picture: Picture) -> None:
        held = picture.holders(name)
        done = outcome.results.keys()
        if "store B" in done or before == "B has it":
            assert "B" in held
        if before == "C has it":
            assert "C" in held
        if "delete A" in done and before == "A has it":
            assert old[0] not in picture.leases.get(name, {}).values()
        if {"store A", "delete A"} <= done:
            assert "A" in held or not outcome.before("delete A", "store A")
            assert "A" not in held or not outcome.before("store A", "delete A")
        elif "store A" in done:
            assert "A" in held or outcome.crashed == "delete A"
        loaded_as_held(world, picture, name, content)

    examine(Scene(world, prepare, make), judge, record_property)


@pytest.mark.parametrize(
    ("artifact_id", "run_id"), [(None, None), large("name", None), large(None, "A"), large("name", "A")]
)
def test_one_lease_twice_and_its_end(world, artifact_id, run_id, record_property) -> None:
    """A commit must not be taken in by a lease that came and went since it read."""
    name = artifact_id or compute_artifact_id(SMALL)

    def make():
        deletion = world.plan("delete_by_run", run_id) if run_id else world.plan("release", name, None)
        return {
            "store 1": world.storing(SMALL, run_id, artifact_id),
            "store 2": world.storing(SMALL, run_id, artifact_id),
            "delete": deletion,
        }

    def judge(outcome: Outcome, picture: Picture) -> None:
        held = picture.holders(name)
        stored = {"store 1", "store 2"} & outcome.results.keys()
        if "delete" in outcome.results:
            if any(outcome.before("delete", store) for store in stored):
                assert held
            if outcome.crashed is None and all(outcome.before(store, "delete") for store in stored):
                assert not held
        elif stored and outcome.crashed != "delete":
            assert held
        loaded_as_held(world, picture, name, SMALL)

    examine(Scene(world, lambda: None, make), judge, record_property)


@pytest.mark.parametrize(
    ("artifact_id", "before", "content"),
    [
        (None, "nothing", SMALL),
        (None, "B has it", SMALL),
        (None, "B has it", LARGE),
        ("name", "nothing", SMALL),
        ("name", "B has it", SMALL),
    ],
)
def test_store_and_delete(world, artifact_id, before, content, record_property) -> None:
    name = artifact_id or compute_artifact_id(content)

    def prepare() -> None:
        if before != "nothing":
            run(world.storing(content, "B", artifact_id))

    def make():
        return {"store": world.storing(content, "A", artifact_id), "delete": world.plan("delete", name)}

    def judge(outcome: Outcome, picture: Picture) -> None:
        held = picture.holders(name)
        done = outcome.results.keys()
        if "delete" in done:
            assert "B" not in held
        if {"store", "delete"} <= done:
            assert "A" in held or not outcome.before("delete", "store")
            assert "A" not in held or not outcome.before("store", "delete")
        elif "store" in done:
            assert "A" in held or outcome.crashed == "delete"
        loaded_as_held(world, picture, name, content)

    examine(Scene(world, prepare, make), judge, record_property)


def test_two_runs_and_delete(world, record_property) -> None:
    """The catalog must keep an artifact that is stored while an older incarnation of it is taken out."""
    name = compute_artifact_id(SMALL)

    def make():
        return {
            "store A": world.storing(SMALL, "A"),
            "store B": world.storing(SMALL, "B"),
            "delete": world.plan("delete", name),
        }

    def judge(outcome: Outcome, picture: Picture) -> None:
        for letter in "AB":
            if f"store {letter}" in outcome.results and "delete" in outcome.results:
                held = letter in picture.holders(name)
                assert held or not outcome.before("delete", f"store {letter}")
                assert not held or not outcome.before(f"store {letter}", "delete")
        assert bool(world.store.list_all()) is bool(picture.holders(name))

    examine(Scene(world, lambda: None, make), judge, record_property)


@pytest.mark.parametrize(
    ("new", "plans"),
    [
        (OTHER, ("replace", "load")),
        (OTHER, ("replace", "release")),
        (OTHER, ("load", "release")),
        (LARGE_OTHER, ("replace", "load")),
        large(OTHER, ("replace", "load", "release")),
        large(LARGE_OTHER, ("replace", "load", "release")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else f"{len(value)} bytes",
)
def test_replacement_load_and_release(world, new, plans, record_property) -> None:
    def prepare() -> None:
        run(world.storing(LARGE, "A", "name"))

    def make():
        every = {
            "replace": world.storing(new, "B", "name"),
            "load": world.plan("load", "name"),
            "release": world.plan("release", "name", "A"),
        }
        return {plan: every[plan] for plan in plans}

    def judge(outcome: Outcome, picture: Picture) -> None:
        if "load" in outcome.results:
            loaded = outcome.results["load"]
            assert loaded is None or (loaded.content, loaded.metadata.run_id) in ((LARGE, "A"), (new, "B"))
            assert loaded is not None or "release" in plans
        if "replace" in outcome.results:
            assert picture.holders("name") == {"B"}
        else:
            assert picture.holders("name") <= {"A", "B"}
        loaded_as_held(world, picture, "name", LARGE, new)

    examine(Scene(world, prepare, make), judge, record_property)


@pytest.mark.parametrize("second", [None, "name"])
def test_two_uploads_of_the_same_content(world, second, record_property) -> None:
    name = compute_artifact_id(LARGE)

    def make():
        return {"store A": world.storing(LARGE, "A", None, 600), "store B": world.storing(LARGE, "B", second)}

    def judge(outcome: Outcome, picture: Picture) -> None:
        if "store A" in outcome.results:
            assert "A" in picture.holders(name)
        if "store B" in outcome.results:
            assert "B" in picture.holders(second or name)
        loaded_as_held(world, picture, name, LARGE)

    examine(Scene(world, lambda: None, make), judge, record_property)


@pytest.mark.parametrize(
    ("ttls", "run_id"),
    [((60, None), None), ((6000, 60), None), large((6000, 60), "A"), large((60, 6000, None), None)],
    ids=str,
)
def test_touches(world, ttls, run_id, record_property) -> None:
    hour = 3600  # states are come back to for many minutes: no lease may run out meanwhile

    def prepare() -> None:
        run(world.storing(SMALL, run_id, "name", 600 * hour))

    def make():
        return {f"touch {ttl}": world.plan("touch", "name", ttl and ttl * hour, run_id) for ttl in ttls}

    def judge(outcome: Outcome, picture: Picture) -> None:
        assert all(result is True for result in outcome.results.values())
        assert picture.holders("name") == {run_id}

    examine(Scene(world, prepare, make), judge, record_property)


@pytest.mark.parametrize("artifact_id", [None, "name"])
def test_touch_and_release(world, artifact_id, record_property) -> None:
    name = artifact_id or compute_artifact_id(SMALL)

    def prepare() -> None:
        run(world.storing(SMALL, "A", artifact_id, 600))

    def make():
        return {"touch": world.plan("touch", name, None, "A"), "release": world.plan("release", name, "A")}

    def judge(outcome: Outcome, picture: Picture) -> None:
        if "release" in outcome.results:
            assert outcome.results["release"] is True
            assert picture.holders(name) == set()

    examine(Scene(world, prepare, make), judge, record_property)


@pytest.mark.parametrize(("artifact_id", "run_id"), [(None, None), large(None, "A"), large("name", "A")])
def test_gc_and_store(world, artifact_id, run_id, record_property) -> None:
    """Even without grace `gc` takes nothing away from a store on its way; and what a crash left is gone afterwards."""
    name = artifact_id or compute_artifact_id(SMALL)

    def make():
        collect = world.plan("gc", dry_run=False, grace=0, progress=None)
        return {"gc": collect, "store": world.storing(SMALL, run_id, artifact_id)}

    def judge(outcome: Outcome, picture: Picture) -> None:
        if "store" in outcome.results:
            assert picture.holders(name) == {run_id}
        loaded_as_held(world, picture, name, SMALL)

    examine(Scene(world, lambda: None, make), judge, record_property)


@pytest.mark.parametrize(("before", "other"), [("nothing", "store"), ("B has it", "load"), large("B has it", "store")])
def test_the_reductions_leave_no_end_out(world, before, other) -> None:
    """The same scene once in really every order, without and with crashes."""
    name = compute_artifact_id(SMALL)

    def prepare() -> None:
        if before != "nothing":
            run(world.storing(SMALL, "B"))

    def make():
        plan = world.storing(SMALL, "A") if other == "store" else world.plan("load", name)
        return {other: plan, "delete": world.plan("delete", name)}

    scene = Scene(world, prepare, make)
    for victim in (None, other, "delete"):
        ends: list[set] = []
        numbers = []
        for every_order in (True, False):
            outcomes = schedules(scene, Usage(), victim=victim, every_order=every_order)
            found = [(ending_of(world.save()[0]), tuple(sorted(outcome.results))) for outcome in outcomes]
            ends.append(set(found))
            numbers.append(len(found))
        print(f"crash of {victim}: {numbers[0]} orders, {numbers[1]} of them with the reductions")
        assert ends[0] == ends[1]
        assert numbers[0] >= numbers[1] > 0 or victim == "load"  # its only command is its last


def ending_of(everything) -> bytes:
    return canonical(sorted(everything))
