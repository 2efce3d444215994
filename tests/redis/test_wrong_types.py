"""A key of another type under any of our names: an operation that raises has changed nothing, and `gc` never raises.

Each key with each operation, and one type in turn; in `make soak` with every type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import pytest
import redis

from coatcheck import ArtifactError, Payload, RedisArtifactStore, compute_artifact_id
from coatcheck.backends.redis.layout.keys import Keys
from coatcheck.backends.redis.layout.partitions import Partitions
from coatcheck.backends.redis.content.upload import STAGING_MS

from ..harnesses import chunk
from ..sizes import in_turn
from .snapshot import Snapshot, Value
from .test_half_moved import (
    ALSO_FEW,
    CHUNKING,
    CROWDED_ID,
    CROWDED_NAME,
    FEW,
    FEW_ID,
    HOME_NUMBER,
    LARGE_ID,
    LARGE_NAME,
    NAME,
    NEW,
    NEW_LARGE,
    OLD,
    OLD_LARGE,
    OPERATIONS,
    furnish,
)
from .test_half_moved import content as at_home
from .test_half_moved import name as name_at_home

TYPES: dict[str, Callable[[redis.Redis, bytes], object]] = {
    "string": lambda client, key: client.set(key, b"not ours"),
    "list": lambda client, key: client.rpush(key, b"not ours"),
    "hash": lambda client, key: client.hset(key, "h", b"not ours"),
    "zset": lambda client, key: client.zadd(key, {b"not ours": 1e15}),
    "set": lambda client, key: client.sadd(key, b"not ours"),
    "stream": lambda client, key: client.xadd(key, {"not": "ours"}, id="1-1"),
}
BELONGS = {"content": "string", "chunk": "string", "artifact": "hash"}  # the others are sorted sets

PLACED = at_home("placed", 18_000)  # put in place beside the script
PLACED_NAME = name_at_home("placed")
NEW_ID, PLACED_ID = map(compute_artifact_id, (NEW, PLACED))
CONTENTS = [CROWDED_ID, FEW_ID, LARGE_ID, *map(compute_artifact_id, (OLD, OLD_LARGE, NEW, NEW_LARGE, PLACED))]
NAMES = [ALSO_FEW, NAME, CROWDED_NAME, LARGE_NAME]

SEVERAL = {
    "delete where",
    "delete what only one leases",
    "end a run",
    "renew a run",
    "store several, one in place",
}
"""Operations on several artifacts that take several script calls, each of them all or nothing."""

TOGETHER: dict[str, Callable[[RedisArtifactStore], object]] = {
    "delete several": lambda store: store.delete_many([FEW_ID, NAME, LARGE_ID, LARGE_NAME, "nothing"]),
    "store several names": lambda store: store.store_many(
        [Payload(FEW, artifact_id=ALSO_FEW), Payload(OLD, artifact_id=NAME)], run_id="a"
    ),
    "acquire several": lambda store: store.find_missing([ALSO_FEW, FEW_ID, NAME, NEW_ID], ttl=60, run_id="c"),
}
"""Several artifacts, of which only the server knows what some stand for: one script call changes all."""

IN_PLACE: dict[str, Callable[[RedisArtifactStore], object]] = {
    "store in place": lambda store: store.store(PLACED, run_id="a", ttl=60),
    "store a name in place": lambda store: store.store(PLACED, artifact_id=PLACED_NAME, run_id="a"),
    "store several, one in place": lambda store: store.store_many([NEW, PLACED, OLD], run_id="c"),
}
"""Content that is sent beside the script that may raise."""

INSPECTIONS = {"gc", "repair"}
"""Operations that find what is of another type and say so: they never raise."""


class Place(NamedTuple):
    """A name of ours."""

    kind: str
    of: str

    def key(self, keys: Keys, furniture: Iterable[bytes]) -> bytes:
        if self.kind == "chunk":
            return next(name for name in furniture if b":chunk:" + self.of.encode() in name)
        if self.kind == "catalog":
            return getattr(keys, self.of)
        if self.kind == "run":
            return keys.run(self.of or None)
        if self.kind == "runs":
            return keys.runs
        return getattr(keys, self.kind)(self.of.encode())


PLACES = [
    *(Place(kind, of) for kind in ("content", "needs") for of in CONTENTS),
    *(Place("artifact", of) for of in CONTENTS + NAMES),
    *(Place(kind, of) for kind in ("leases", "stores") for of in (CROWDED_ID, CROWDED_NAME, FEW_ID, NEW_ID, PLACED_ID)),
    *(Place("run", run) for run in ("a", "b", "c", "r3", "")),
    *(Place("catalog", of) for of in ("created", "deadlines", "outlived")),
    Place("runs", ""),
    *(Place("chunk", of) for of in (LARGE_ID, compute_artifact_id(OLD_LARGE))),
]


class Scene(Snapshot):
    """A furnished partition, put back as it was as often as needed."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        super().__init__(client, keys.prefix)
        self.keys = keys

    def put(self, place: Place, kind: str) -> tuple[bytes, dict[bytes, Value]]:
        """Something of another type in that place; its key, and what is there now."""
        key = place.key(self.keys, self.furniture)
        self.client.unlink(key)
        TYPES[kind](self.client, key)
        return key, {**self.furniture, **self.values([key])}


@pytest.fixture
def store(valkey, namespace) -> Iterator[RedisArtifactStore]:
    with RedisArtifactStore(valkey.url, namespace=namespace, partitions=64) as store:
        yield chunk(store, CHUNKING)


@pytest.fixture
def scene(valkey, store, namespace) -> Iterator[Scene]:
    furnish(store)
    with valkey.client() as client:
        yield Scene(client, Partitions(namespace, 64).all[HOME_NUMBER])


def types_for(place: Place, number: int) -> Sequence[str]:
    """What does not belong there; one of it in turn."""
    wrong = [kind for kind in TYPES if kind != BELONGS.get(place.kind, "zset")]
    return in_turn(wrong, number)


def differing(one: dict[bytes, Value], other: dict[bytes, Value]) -> list[bytes]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


@pytest.mark.leaves_keys("of every type under every name")
def test_an_operation_that_raises_has_changed_nothing(scene, store) -> None:
    wrong, key_in_place = [], scene.keys.content(PLACED_ID.encode())
    for row, place in enumerate(PLACES):
        for column, (what, operation) in enumerate((OPERATIONS | TOGETHER | IN_PLACE).items()):
            for kind in types_for(place, row + column):
                key, before = scene.put(place, kind)
                case = f"{what}, where {place.kind} of {place.of or 'all'} is a {kind}"
                try:
                    operation(store)
                except ArtifactError as error:
                    changed = differing(before, scene.seen())
                    if changed == [key_in_place] and place == Place("needs", PLACED_ID):
                        assert 0 < scene.client.pttl(key_in_place) <= STAGING_MS  # somebody may need it: it stays
                        changed = []
                    if what in SEVERAL and changed:
                        scene.restore([key])
                        changed = store.check(grace=0).problems
                    if changed or what in INSPECTIONS:
                        wrong.append(f"{case}: {error} {changed}")
                scene.restore(differing(scene.seen(), scene.furniture))
    assert not wrong, "\n".join(wrong)
