"""Hostile stored bytes: whatever who can write our keys may write, with checksums that fit.

Errors are ours, what comes back is what its name says, and no key outside the namespace is touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
import redis

from coatcheck import ArtifactStore, RedisArtifactStore, compute_artifact_id
from coatcheck.manifest import Entry, Manifest
from coatcheck.compression import Zstd
from coatcheck.envelope import HEADER, VERSION, header
from coatcheck.errors import CorruptArtifactError
from coatcheck.keyed import Keyed, Versions
from coatcheck.sources import Chunking
from coatcheck.trees import open_run, open_tree
from coatcheck.values import load_value

from ..harnesses import chunk
from .trying import Fuzzer

CHUNKING = Chunking(size=2_000, threshold=6_000, window=2)
LARGE = hashlib.shake_128(b"large").digest(9_000)
CONTENTS = [b"small", b"packed" * 300, LARGE]
IDS = [*map(compute_artifact_id, CONTENTS), compute_artifact_id(b"many"), "name", "large-name"]
RUNS = ["a", "b", "r3", None]


def fill(store: ArtifactStore) -> None:
    for content in CONTENTS:
        store.store(content, run_id="a", tags={"k": "v"}, extra={"n": 1}, ttl=900)
        store.store(content, run_id="b", content_type="text/plain")
    store.store(CONTENTS[0], artifact_id="name", run_id="a", ttl=900)
    store.store(LARGE, artifact_id="large-name", run_id="b")
    for n in range(70):
        store.store(b"many", run_id=f"r{n}", ttl=900)


class Vandal:
    """Forges what lies under one of our keys.

    Args:
        fuzzer: Its chance.
        client: Writes behind the store's back.
        names: The keys.
    """

    def __init__(self, fuzzer: Fuzzer, client: redis.Redis, names: list[bytes]) -> None:
        self._fuzzer = fuzzer
        self._chance = fuzzer.chance
        self._client = client
        self._names = names

    def harm(self) -> None:
        name = self._chance.choice(self._names)
        kind = self._client.type(name)
        how = self._chance.random()
        if how < 0.08:
            self._client.unlink(name)
        elif how < 0.16:
            self._another_type(name)
        elif how < 0.22:
            self._client.pexpire(name, self._chance.choice([1, 5_000, 10**9, 10**12]))
        elif how < 0.25:
            self._client.persist(name)
        elif how < 0.32:
            self._client.copy(self._chance.choice(self._names), name, replace=True)
        elif kind == b"string":
            self._client.set(name, self._content(self._client.get(name)), keepttl=True)
        elif kind == b"hash":
            field = self._chance.choice(self._client.hkeys(name))
            self._client.hset(name, *self._field(field, self._client.hget(name, field)))
        elif kind == b"zset":
            self._index(name)

    def _another_type(self, name: bytes) -> None:
        self._client.unlink(name)
        self._chance.choice(
            [
                lambda: self._client.set(name, self._fuzzer.junk()),
                lambda: self._client.rpush(name, b"x"),
                lambda: self._client.sadd(name, b"x"),
                lambda: self._client.zadd(name, {self._fuzzer.junk() or b"x": 1e15}),
                lambda: self._client.hset(name, "h", self._fuzzer.junk()),
                lambda: self._client.xadd(name, {"a": "b"}),
            ]
        )()

    def _content(self, sealed: bytes) -> bytes:
        """A content or chunk that is another, most with a header and checksum that fit."""
        chance = self._chance
        if len(sealed) < HEADER.size or sealed[0] != VERSION or chance.random() < 0.2:
            return self._spoiled(sealed)
        _, codec, size, digest, _ = HEADER.unpack_from(sealed)
        payload = sealed[HEADER.size :]
        try:
            manifest = Manifest.unseal(sealed, digest)
        except CorruptArtifactError:
            pass
        else:
            return b"".join(self._manifest(manifest).seal())
        what = chance.random()
        if what < 0.25:
            payload = self._spoiled(payload)
        elif what < 0.45:
            payload = chance.choice(
                [b"forged", bytes(min(size, 10_000)), Zstd().pack(bytes(5_000), "") or b"", payload + payload]
            )
        if chance.random() < 0.4:
            size = chance.choice([0, len(payload), (size + 1) % 2**64, 2**31, 2**63, 2**64 - 1])
        if chance.random() < 0.3:
            codec = chance.choice([0, 1, 2, 3, 255])
        if chance.random() < 0.2:
            digest = chance.choice([hashlib.sha256(payload).digest(), bytes(32), digest[:16] + bytes(16)])
        return header(codec, size, digest, payload) + payload

    def _manifest(self, manifest: Manifest) -> Manifest:
        chance = self._chance
        chunks = list(manifest.chunks)
        at = chance.randrange(len(chunks))
        changes: list[Callable[[], Manifest]] = [
            lambda: manifest._replace(size=chance.choice([0, 1, manifest.size + 1, 2**40, 2**64 - 1])),
            lambda: manifest._replace(chunk_size=chance.choice([0, 1, 1_999, 2**24, 2**32 - 1])),
            lambda: manifest._replace(chunks=chunks[:at]),
            lambda: manifest._replace(chunks=chunks * 2),
            lambda: manifest._replace(chunks=chance.sample(chunks, len(chunks))),
            lambda: manifest._replace(token=b"0" * 16),
            lambda: manifest._replace(digest=manifest.digest[:16] + bytes(16)),
            lambda: manifest._replace(
                chunks=[
                    *chunks[:at],
                    Entry(
                        chance.choice([0, 1, 2, 9]), chance.choice([0, 1, 2**31, 2**32 - 1]), chance.randrange(2**64)
                    ),
                    *chunks[at + 1 :],
                ]
            ),
        ]
        return chance.choice(changes)()

    def _field(self, field: bytes, value: bytes) -> tuple[bytes, bytes]:
        chance = self._chance
        if chance.random() < 0.1:
            field = chance.choice([b"=" + self._fuzzer.junk(9), b"-", b"t", b"", b"=%zz", b"=a"])
        if chance.random() < 0.3:
            return field, self._spoiled(value)
        if field == b"h":
            digest = chance.choice([value[1:33], hashlib.sha256(b"forged").digest(), value[1:17] + bytes(16)])
            return field, bytes([chance.choice([VERSION, VERSION, 1, 255])]) + digest + chance.choice(
                [b"5", b"0", b"9" * 19, b"-1", b"1e3", b""]
            )
        ends = chance.choice([value[:6], bytes(6), b"\xff" * 6, (2**47).to_bytes(6)])
        created = chance.choice([value[6:13], bytes(7), b"\xff" * 7])
        return field, ends + created + self._view(value[13:])

    def _view(self, packed: bytes) -> bytes:
        chance = self._chance
        if chance.random() < 0.3:
            return self._spoiled(packed)
        try:
            return msgpack.packb([self._plain() for _ in range(chance.randrange(6))])
        except (ValueError, OverflowError, TypeError, UnicodeEncodeError):
            return b"\x91" * 2_000

    def _plain(self, depth: int = 0) -> Any:
        chance = self._chance
        values = [
            None,
            True,
            0,
            -1,
            2**63,
            1.5,
            float("nan"),
            "text",
            "\n",
            "x" * 70_000,
            b"\xff",
            '{"n": 1}',
            "{",
            '{"a": NaN}',
            "[" * 5_000,
        ]
        if depth < 3 and chance.random() < 0.4:
            return chance.choice(
                [
                    {chance.choice(["k", "", 1, b"k", None]): self._plain(depth + 1)},
                    [self._plain(depth + 1) for _ in range(3)],
                    {f"k{n}": "v" for n in range(300)},
                ]
            )
        return chance.choice(values)

    def _index(self, name: bytes) -> None:
        chance = self._chance
        member = chance.choice(self._client.zrange(name, 0, -1))
        if chance.random() < 0.4:
            made = [
                member[:-1],
                member + b"x",
                self._fuzzer.junk() or b"x",
                bytes(16),
                b":name",
                b"!" + b"f" * 30,
                b":" + b"x" * 300,
            ]
            member = chance.choice(made)
        score = chance.choice([0, -1, 0.5, 2**48 - 1, 2**48, 2**53, 1e300, float("inf"), float("-inf"), 1.7e12, 1.7e15])
        self._client.zadd(name, {member: score})

    def _spoiled(self, value: bytes) -> bytes:
        chance = self._chance
        at = chance.randrange(len(value) + 1)
        return chance.choice(
            [
                value[:at],
                value[:at] + self._fuzzer.junk() + value[at:],
                value[:at] + bytes([chance.randrange(256)]) + value[at + 1 :],
                self._fuzzer.junk(200),
                b"",
            ]
        )


def operate(fuzzer: Fuzzer, store: ArtifactStore) -> None:
    chance = fuzzer.chance
    name, run, content = chance.choice(IDS), chance.choice(RUNS), chance.choice(CONTENTS)
    calls: dict[str, Callable[[], Any]] = {
        "load": lambda: store.load(name),
        "load own": lambda: store.load(name, run_id=run),
        "load_many": lambda: store.load_many(IDS),
        "open": lambda: read(fuzzer, store, name),
        "load_range": lambda: store.load_range(name, 1, 5_000),
        "get_metadata": lambda: store.get_metadata(name, run_id=run),
        "metadata_many": lambda: store.metadata_many(IDS),
        "exists": lambda: store.exists(name),
        "find_missing": lambda: store.find_missing(IDS),
        "leases": lambda: store.leases(name),
        "leases_many": lambda: store.leases_many([name]),
        "list_all": lambda: store.list_all(limit=chance.choice([0, 3])),
        "list_by_run": lambda: store.list_by_run(run or "a"),
        "list_runs": lambda: store.list_runs(),
        "search": lambda: store.search(tags={"k": "v"}, order="asc"),
        "page": lambda: store.page(limit=2, by=chance.choice(["time", "size", "expiry"])),
        "iter_artifacts": lambda: list(store.iter_artifacts(content_type="text/plain")),
        "iter_runs": lambda: list(store.iter_runs("r")),
        "count": lambda: store.count(),
        "count some": lambda: store.count(tags={"k": "v"}, run_id=run),
        "facets": lambda: store.facets(chance.choice(["content_type", "run_id", "tag:k"])),
        "stats of some": lambda: store.stats(min_size=1, run_prefix="r"),
        "run_stats": lambda: store.run_stats(run or "a"),
        "run_stats_many": lambda: store.run_stats_many(["a", run or "b"]),
        "keyed": lambda: Keyed(store, "b").entries(),
        "keyed set": lambda: Keyed(store, "b").set("key", content, if_absent=chance.random() < 0.5),
        "versions": lambda: Versions(store, "b").add("key", content),
        "open_tree": lambda: open_tree(name, store),
        "open_run": lambda: open_run(run or "a", store),
        "load_value": lambda: load_value(store, name),
        "store": lambda: store.store(content, run_id=run, ttl=chance.choice([None, 60])),
        "store explicit": lambda: store.store(content, artifact_id=chance.choice(["name", "large-name"]), run_id=run),
        "store_many": lambda: store.store_many([*CONTENTS, b"new"], run_id=run),
        "acquire": lambda: store.find_missing(IDS, ttl=60, run_id=run),
        "store if": lambda: store.store(content, artifact_id="name", run_id=run, if_digest="0" * 64),
        "store shorter": lambda: store.store(content, run_id=run, ttl=60, exact_ttl=True),
        "link": lambda: store.link(name, "linked", run_id=run),
        "update": lambda: store.update_metadata(name, run_id=run, tags={"new": "tag"}),
        "update_many": lambda: store.update_many(IDS, run_id=run, extra=lambda old: {**old, "n": 1}),
        "touch_run": lambda: store.touch_run(run or "a", 60),
        "expire_run": lambda: store.expire_run(run or "a", 600),
        "delete_where": lambda: store.delete_where(content_type="text/plain", dry_run=chance.random() < 0.5),
        "delete_where of a run": lambda: store.delete_where(run_id=run or "a", tags={"k": "v"}, dry_run=False),
        "touch": lambda: store.touch(name, 600, run),
        "release": lambda: store.release(name, run),
        "delete": lambda: store.delete(name),
        "delete_many": lambda: store.delete_many(IDS[:3]),
        "delete_by_run": lambda: store.delete_by_run(run or "a"),
    }
    weighty = {
        "stats": lambda: store.stats(),
        "check": lambda: store.check(read_data=True, repair=chance.random() < 0.5, grace=0),
        "gc": lambda: store.gc(dry_run=False, grace=0),
    }
    known = calls if chance.random() < 0.98 else weighty
    what = chance.choice(list(known))
    fuzzer.attempt(f"{what} {name} {run}", known[what])


def read(fuzzer: Fuzzer, store: ArtifactStore, name: str) -> None:
    reader = store.open(name)
    if reader is not None:
        with reader:
            fuzzer.compare(name, reader.read(), reader.metadata.digest)


@pytest.mark.leaves_keys("of any kind")
def test_any_stored_bytes_are_endured(valkey, namespace) -> None:
    fuzzer = Fuzzer("stored bytes", 4000)
    pattern = f"{namespace}:*"
    with valkey.client() as client, RedisArtifactStore(valkey.url, namespace=namespace) as store:
        chunk(store, CHUNKING)
        fill(store)
        names = sorted(client.scan_iter(match=pattern, count=10_000))
        before = [(name, client.pexpiretime(name), client.dump(name)) for name in names]
        outside = sorted(key for key in client.scan_iter(count=10_000) if not key.startswith(namespace.encode() + b":"))
        while fuzzer.goes_on:
            with client.pipeline(transaction=False) as pipeline:
                for name in client.scan_iter(match=pattern, count=10_000):
                    pipeline.unlink(name)
                for name, ends, value in before:
                    pipeline.restore(name, max(0, ends), value, absttl=True)
                pipeline.execute()
            vandal = Vandal(fuzzer, client, [name for name in names if b":run:r" not in name or name.endswith(b"3")])
            for _ in range(fuzzer.chance.randrange(1, 5)):
                try:
                    vandal.harm()
                except (IndexError, redis.ResponseError):  # of another type by now
                    continue
            for _ in range(40):
                operate(fuzzer, store)
        assert (
            sorted(key for key in client.scan_iter(count=10_000) if not key.startswith(namespace.encode() + b":"))
            == outside
        )
    fuzzer.judge()
