"""Hostile arguments of every method, on every backend: they work or are refused, and nothing is written elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from coatcheck import ArtifactStore, FileArtifactStore, InMemoryArtifactStore, RedisArtifactStore

from .trying import Fuzzer

LEFT_OUT = {
    "close",
    "gc",
    "check",
}  # maintenance reads everything; its few arguments are tried in tests/unit/test_fuzz.py

METHODS = {
    name: inspect.signature(method)
    for name, method in vars(ArtifactStore).items()
    if callable(method) and not name.startswith("_") and name not in LEFT_OUT
}

TOLD: dict[str, tuple[type[Exception], ...]] = {
    "load_text": (UnicodeDecodeError,),
    "load_json": (ValueError,),
    "store_file": (OSError,),
}
"""What else a method says that it raises."""

Outside = Callable[[], Any]
"""What lies beside the store."""


@pytest.fixture(params=["memory", "file", "redis"])
def place(request, tmp_path: Path, valkey, namespace) -> Iterator[tuple[ArtifactStore, Outside]]:
    if request.param == "memory":
        yield InMemoryArtifactStore(), lambda: None
    elif request.param == "file":
        (tmp_path / "beside").write_bytes(b"beside")
        with FileArtifactStore(tmp_path / "store") as store:
            yield store, lambda: sorted((path.name, path.read_bytes()) for path in tmp_path.glob("*") if path.is_file())
    else:
        with valkey.client() as client, RedisArtifactStore(valkey.url, namespace=namespace, partitions=64) as store:
            client.set(f"{namespace}x", b"beside")
            yield store, lambda: beside(client, namespace)
            client.delete(f"{namespace}x")


def beside(client: redis.Redis, namespace: str) -> list[bytes]:
    ours = f"{namespace}:".encode()
    return sorted(key for key in client.scan_iter(count=10_000) if not key.startswith(ours))


def fitting(fuzzer: Fuzzer, name: str) -> Any:
    """What belongs there, so that others of the arguments are reached."""
    known = {
        "content": b"content",
        "text": "text",
        "value": {"a": 1},
        "contents": [b"one", b"two"],
        "ids": ["kept", "name"],
        "artifact_id": fuzzer.chance.choice(["kept", "name", "other"]),
        "source": fuzzer.chance.choice(["kept", "name"]),
        "run_id": "kept",
        "ttl": 60,
        "tags": {"k": "v"},
        "start": 0,
        "stop": 3,
    }
    return known.get(name)


def test_any_arguments_work_or_are_refused(place) -> None:
    store, outside = place
    fuzzer = Fuzzer(f"arguments of {type(store).__name__}", 1500)
    before = outside()
    while fuzzer.goes_on:
        if fuzzer.tried % 50 == 0:
            store.store(b"kept", artifact_id="kept", run_id="kept", tags={"k": "v"})
        name = fuzzer.chance.choice(list(METHODS))
        arguments, keywords = [], {}
        for parameter in list(METHODS[name].parameters.values())[1:]:
            hostile = fuzzer.chance.random() < 0.5
            if parameter.kind is parameter.VAR_KEYWORD:
                continue
            value = fuzzer.value() if hostile else fitting(fuzzer, parameter.name)
            if parameter.kind is parameter.KEYWORD_ONLY:
                if hostile:
                    keywords[parameter.name] = value
            elif hostile or parameter.default is parameter.empty:
                arguments.append(value)
            else:
                break
        what = f"{name}{arguments!r:.200} {keywords!r:.200}"
        fuzzer.attempt(what, lambda: spent(name, arguments, keywords, store), *TOLD.get(name, ()))
    fuzzer.judge()
    assert outside() == before


def spent(name: str, arguments: list[Any], keywords: dict[str, Any], store: ArtifactStore) -> Any:
    """Call it; what is an iterator or a reader is used, too."""
    result = getattr(store, name)(*arguments, **keywords)
    if name.startswith("iter_"):
        return [one for one, _ in zip(result, range(100), strict=False)]
    if name == "open" and result is not None:
        with result:
            result.read()
    return result
