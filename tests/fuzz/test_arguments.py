"""Hostile arguments of every method, on every backend: they work or are refused, and nothing is written elsewhere.

What is built upon the methods is tried, too: a run's view, keys and versions, trees, values.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from coatcheck import ArtifactReader, ArtifactStore, Run, resolve_artifact
from coatcheck.arguments import check_details
from coatcheck.keyed import Keyed, Versions
from coatcheck.offloading import offload, resolve
from coatcheck.trees import open_run, open_tree, store_tree
from coatcheck.values import load_value, store_value

from ..harnesses import FileHarness, Harness, MemoryHarness, RedisHarness
from .trying import Fuzzer


class Functions:
    """Functions that take a store, as methods of one."""

    directory: Path

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def keyed(self, collection: Any) -> Any:
        return Keyed(self._store, collection).set("key", b"content")

    def versions(self, collection: Any) -> Any:
        return Versions(self._store, collection).add("key", b"content")

    def open_tree(self, ref: Any) -> Any:
        return open_tree(ref, self._store)

    def open_run(self, run_id: Any) -> Any:
        return open_run(run_id, self._store)

    def file_of_tree(self, path: Any) -> Any:
        with open_tree("tree", self._store).open(path) as reader:
            return reader.read()

    def store_tree(self, *, content_type: Any = None, **details: Any) -> Any:
        return store_tree(self.directory, self._store, content_type=content_type, **details)

    def store_value(self, value: Any, *, codec: Any = None, **details: Any) -> Any:
        return store_value(self._store, value, codec=codec, **details)

    def load_value(self, ref: Any, type: Any = None, *, default: Any = None) -> Any:
        return load_value(self._store, ref, type, default=default)

    def resolve_artifact(self, ref: Any) -> Any:
        return resolve_artifact(ref, self._store)

    def offload(self, value: Any, *, threshold: Any = 1, run_id: Any = None, ttl: Any = None) -> Any:
        return offload(value, self._store, threshold=threshold, run_id=run_id, ttl=ttl)

    def resolve(self, value: Any) -> Any:
        return resolve(value, self._store)


KINDS: dict[type, Callable[[ArtifactStore], Any]] = {
    ArtifactStore: lambda store: store,
    Run: lambda store: store.run("kept"),
    Keyed: lambda store: Keyed(store, "kept"),
    Versions: lambda store: Versions(store, "kept"),
    Functions: Functions,
}

LEFT_OUT = {"close", "gc", "check"}
"""Maintenance reads everything; its few arguments are tried in tests/unit/test_fuzz.py."""

DETAILS = inspect.signature(check_details)
"""What `**details` stand for, unless the store's method of the same name has fewer."""


def parameters_of(kind: type, name: str) -> list[inspect.Parameter]:
    """What a method takes, each keyword by its name."""
    _, *own = inspect.signature(getattr(kind, name)).parameters.values()
    if not own or own[-1].kind is not inspect.Parameter.VAR_KEYWORD:
        return own
    more = inspect.signature(getattr(ArtifactStore, name)) if kind is Run else DETAILS
    taken = {parameter.name for parameter in own}
    return [
        *own[:-1],
        *(
            one
            for one in more.parameters.values()
            if one.kind is one.KEYWORD_ONLY and one.name not in taken and (one.name != "run_id" or kind is Keyed)
        ),
    ]


METHODS = [
    (kind, name, parameters_of(kind, name))
    for kind in KINDS
    for name, method in inspect.getmembers(kind, callable)
    if not name.startswith("_") and name not in LEFT_OUT
]

TOLD: dict[str, tuple[type[Exception], ...]] = {
    "load_text": (UnicodeDecodeError,),
    "load_json": (ValueError,),
    "store_file": (OSError,),
}
"""What else a method says that it raises."""

Outside = Callable[[], Any]
"""What lies beside the store."""


@pytest.fixture(params=["memory", "file", "redis"])
def place(request, tmp_path: Path, valkey, namespace, monkeypatch) -> Iterator[tuple[Harness, Outside]]:
    directory = tmp_path / "tree"
    (directory / "below").mkdir(parents=True)
    (directory / "below" / "file").write_bytes(b"file")
    monkeypatch.setattr(Functions, "directory", directory, raising=False)
    if request.param == "memory":
        yield MemoryHarness(twin="both"), lambda: None
    elif request.param == "file":
        (tmp_path / "beside").write_bytes(b"beside")
        yield FileHarness(tmp_path / "store", twin="both"), lambda: files(tmp_path)
    else:
        with valkey.client() as client:
            client.set(f"{namespace}x", b"beside")
            place = "valkey in 64 partitions"
            yield RedisHarness(place, request.getfixturevalue, namespace, twin="both"), lambda: keys(client, namespace)
            client.delete(f"{namespace}x")


def files(directory: Path) -> list[tuple[str, bytes]]:
    own = directory / "store"
    places = [path for path in directory.rglob("*") if path.is_file() and own not in path.parents]
    return sorted((str(path), path.read_bytes()) for path in places)


def keys(client: redis.Redis, namespace: str) -> list[bytes]:
    ours = f"{namespace}:".encode()
    return sorted(key for key in client.scan_iter(count=10_000) if not key.startswith(ours))


def fitting(fuzzer: Fuzzer, name: str) -> Any:
    """What belongs there, so that others of the arguments are reached."""
    known = {
        "content": b"content",
        "text": "text",
        "value": {"a": 1},
        "data": {"a": 1},
        "contents": [b"one", b"two"],
        "items": [b"one", b"two"],
        "ids": ["kept", "name"],
        "artifact_id": fuzzer.chance.choice(["kept", "name", "other"]),
        "source": fuzzer.chance.choice(["kept", "name"]),
        "ref": fuzzer.chance.choice(["kept", "tree"]),
        "key": fuzzer.chance.choice(["key", "other"]),
        "run_id": "kept",
        "collection": "kept",
        "path": "below/file",
        "field": "tag:k",
        "ttl": 60,
        "tags": {"k": "v"},
        "extra": {"k": 1},
        "start": 0,
        "stop": 3,
    }
    return known.get(name)


def given(fuzzer: Fuzzer, parameters: list[inspect.Parameter]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments, about half of them hostile."""
    arguments, keywords = [], {}
    for parameter in parameters:
        hostile = fuzzer.chance.random() < 0.5
        value = fuzzer.value() if hostile else fitting(fuzzer, parameter.name)
        if parameter.kind is parameter.KEYWORD_ONLY:
            if hostile:
                keywords[parameter.name] = value
        elif hostile or parameter.default is parameter.empty:
            arguments.append(value)
        else:
            break
    return arguments, keywords


def test_any_arguments_work_or_are_refused(place) -> None:
    harness, outside = place
    stores = [harness.open(), harness.open()]  # of both faces
    fuzzer = Fuzzer(f"arguments of {type(harness).__name__}", 2000)
    before = outside()
    while fuzzer.goes_on:
        if fuzzer.tried % 50 == 0:
            stores[0].store(b"kept", artifact_id="kept", run_id="kept", tags={"k": "v"})
            store_tree(Functions.directory, stores[0], artifact_id="tree", run_id="kept")
        kind, name, parameters = fuzzer.chance.choice(METHODS)
        store = fuzzer.chance.choice(stores)
        arguments, keywords = given(fuzzer, parameters)
        what = f"{type(store).__name__} {kind.__name__}.{name}{arguments!r:.200} {keywords!r:.200}"
        told = TOLD.get(name, ())
        fuzzer.attempt(what, lambda: spent(getattr(KINDS[kind](store), name)(*arguments, **keywords)), *told)
    harness.close()
    fuzzer.judge()
    assert outside() == before


def spent(result: Any) -> Any:
    """What is an iterator or a reader is used, too."""
    if isinstance(result, Iterator):
        return list(itertools.islice(result, 100))
    if isinstance(result, ArtifactReader):
        with result:
            result.read()
    return result
