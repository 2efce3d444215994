"""A store that finds its content there compares how long it is, and sends what was cut off or spoiled once more."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import shake_128
from io import BytesIO

import pytest
import redis
from coatcheck import Payload, RedisArtifactStore
from coatcheck.backends.redis.layout.keys import Keys
from coatcheck.backends.redis.storing import Storing
from coatcheck.envelope import ZSTD
from coatcheck.sources import Chunking

from ..harnesses import chunk
from ..sizes import in_turn

CHUNKING = Chunking(size=100_000, threshold=400_000)
CONTENTS = {
    "empty": b"",
    "raw": shake_128(b"raw").digest(700),
    "compressed": b"compressed" * 900,
    "beside the script": shake_128(b"beside").digest(100_000),
    "asked for": shake_128(b"asked for").digest(300_000),
    "in chunks": shake_128(b"chunks").digest(450_000),
    "in compressed chunks": b"compressed chunks" * 30_000,
}

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a byte is missing": lambda value: value[:-1],
    "a byte too many": lambda value: value + b"x",
    "cut off in its header": lambda value: value[:45],
    "only its beginning": lambda value: value[:2],
    "nothing": lambda value: b"",
    "of another size": lambda value: value[:9] + bytes([value[9] ^ 1]) + value[10:],
    "of an unknown codec": lambda value: value[:1] + b"\x07" + value[2:],
    "twice as long": lambda value: value + value,
}

UNTOLD = {"a byte is missing", "a byte too many", "twice as long"}
"""Of a compressed content the header tells the plain length only: it is shorter than that."""

LISTED = {"a byte too many", "of another size", "twice as long"}
"""A manifest damaged so still names its chunks: these go when it is replaced. Others go with `gc`."""

WAYS = {
    "by another run": lambda s, content, name: s.store(content, run_id="b"),
    "by the same run": lambda s, content, name: s.store(content, run_id="a", ttl=900),
    "under an explicit id": lambda s, content, name: s.store(content, artifact_id="name"),
    "in a batch": lambda s, content, name: s.store_many([b"new", Payload(content), b"newer"], run_id="b"),
    "from a stream": lambda s, content, name: s.store_file(BytesIO(content), run_id="b"),
    "after it was asked for": lambda s, content, name: (
        s.find_missing([name], ttl=60, run_id="b") == [name] and s.store(content, run_id="b", ttl=60)
    ),
}


@pytest.fixture
def server(valkey):
    return valkey


def cases() -> list[tuple[str, str, str]]:
    """Each content with each damage; one of the ways in turn."""
    return [
        (content, damage, way)
        for row, content in enumerate(CONTENTS)
        for column, damage in enumerate(DAMAGES)
        if content != "compressed" or damage not in UNTOLD
        for way in in_turn(list(WAYS), row + column)
    ]


@pytest.fixture
def stored(store, client: redis.Redis, keys: Keys) -> Callable[[str, str], str]:
    """Stores a content and damages what lies on the server; returns its id."""
    chunk(store, CHUNKING)

    def make(content: str, damage: str) -> str:
        name = store.store(CONTENTS[content], run_id="a", ttl=900).artifact_id
        key = keys.content(name.encode())
        whole = client.get(key)
        spoiled = DAMAGES[damage](whole)
        assert spoiled != whole
        client.set(key, spoiled, keepttl=True)
        return name

    return make


@pytest.mark.parametrize(("content", "damage", "way"), cases())
def test_storing_what_was_cut_off_sends_it_again(store, stored, content, damage, way) -> None:
    name = stored(content, damage)
    WAYS[way](store, CONTENTS[content], name)
    assert store.load(name).content == CONTENTS[content]
    if "chunks" in content and damage not in LISTED:
        store.gc(grace=0, dry_run=False)
    assert store.check(read_data=True, grace=0).problems == []
    assert store.leases(name)[0].run_id == "a"


@pytest.mark.parametrize("content", CONTENTS)
def test_what_is_whole_is_not_sent_again(store, client, keys, content) -> None:
    chunk(store, CHUNKING)
    name = store.store(CONTENTS[content], run_id="a").artifact_id
    key = keys.content(name.encode())
    before = client.get(key)
    assert (before[1] == ZSTD) is (content == "compressed")
    client.setrange(key, 42, bytes(8))  # the checksum, which no store looks at
    marked = client.get(key)
    for way in WAYS.values():
        way(store, CONTENTS[content], name)
    assert client.get(key) == marked != before
    client.set(key, before, keepttl=True)


def test_what_another_store_sent_meanwhile_stays(store, server, namespace, client, keys, monkeypatch) -> None:
    content = CONTENTS["asked for"]
    upload = Storing._upload_whole
    marked = []

    def late(self, request, keys, *rest):
        monkeypatch.undo()
        with RedisArtifactStore(server.url, namespace=namespace) as other:
            name = other.store(content, run_id="b").artifact_id
        key = keys.content(name.encode())
        client.setrange(key, 42, bytes(8))
        marked.append((key, client.get(key)))
        return upload(self, request, keys, *rest)

    monkeypatch.setattr(Storing, "_upload_whole", late)
    store.store(content, run_id="a")
    [(key, value)] = marked
    assert client.get(key) == value
    assert not list(client.scan_iter(match=keys.prefix + b"staging:*", count=1000))
    client.unlink(key)
    store.store(content, run_id="a")
