"""Which keys scripts touch, as the server tells it: those of their slot, and hardly any that they do not declare."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest
from redis.crc import key_slot

from coatcheck import CorruptArtifactError, RedisArtifactStore
from coatcheck.backends.redis.layout.partitions import Partitions
from coatcheck.backends.redis.scripts.calls import ALL
from coatcheck.backends.redis.scripts.script import LUA

from ..harnesses import chunk
from .test_half_moved import CHUNKING, CROWDED_ID, OPERATIONS, READINGS, RUNS, content, furnish

DERIVED = {
    "acquire": {"catalog", "labelled", "artifact", "content"},
    "store": {"catalog", "run", "labelled", "artifact", "content"},
    "store_small": {"catalog", "labelled", "artifact", "content"},
    "touch": {"catalog", "run", "labelled"},
    "release": {"catalog", "run", "labelled"},
    "release_sole": {"catalog"},
    "delete": {"catalog", "run", "labelled"},
    "update": {"labelled"},
    "index_labels": {"catalog", "labelled"},
    "facets": {"labelled"},
    "check_index": {"catalog", "labelled"},
    "forget": {"run"},
    "check_artifact": {"catalog", "run", "labelled"},
    "mend": {"run"},
    "load": {"content"},
    "tally": {"artifact", "leases", "stores", "content"},
    "tally_runs": {"artifact"},
    "scan": {"artifact", "leases", "stores"},
    "audit_artifacts": {"artifact", "content", "run"},
    "audit_contents": {"artifact"},
    "audit_index": {"artifact"},
}
"""Kinds of keys that a script may touch without declaring them."""

NAMES = {script.digest: script.name for script in ALL}
_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')


class Monitor:
    """What a server runs, from here on."""

    def __init__(self, client) -> None:
        self.client = client
        self.connection = client.connection_pool.get_connection()
        self.connection.send_command("MONITOR")
        assert self.connection.read_response() == b"OK"

    def until_now(self) -> list[tuple[bool, list[bytes]]]:
        """Each command, and whether a script ran it."""
        self.client.echo("the end")
        found = []
        while True:
            line = self.connection.read_response()
            words = _WORD.findall(line)
            if words[-1] == b"the end":
                return found
            found.append((b" lua]" in line[:60], words))

    def close(self) -> None:
        self.connection.disconnect()
        self.client.connection_pool.release(self.connection)


def keys_in(words: list[bytes]) -> list[bytes]:
    """The keys of a command that scripts run."""
    command, *arguments = words
    if command.upper() in (b"TIME", b"INFO", b"CONFIG"):
        return []
    if command.upper() in (b"UNLINK", b"EXISTS", b"RENAME"):
        return arguments
    if command.upper() in (b"OBJECT", b"MEMORY"):
        return arguments[1:2]
    return arguments[:1]


@pytest.fixture
def store(valkey, namespace) -> Iterator[RedisArtifactStore]:
    with RedisArtifactStore(valkey.url, namespace=namespace, partitions=64, index_tags=("k",)) as store:
        yield chunk(store, CHUNKING)


@pytest.fixture
def monitor(valkey) -> Iterator[Monitor]:
    with valkey.client() as client:
        monitor = Monitor(client)
        yield monitor
        monitor.close()


def exercise(store: RedisArtifactStore, client, partitions: Partitions) -> None:
    """Lets every script run, most of them on artifacts that few and that many lease."""
    for operation in OPERATIONS.values():
        furnish(store)
        operation(store)
    furnish(store)
    store.reindex()  # index_labels, mark
    store.facets("tag:k")
    for read in READINGS.values():
        read(store)
    home = partitions.of(CROWDED_ID)
    client.delete(home.leases(CROWDED_ID.encode()))
    store.touch(CROWDED_ID, 60, "r1")  # mend
    client.delete(home.run("r1"))
    damaged = store.store(b"to be damaged").artifact_id
    client.setrange(partitions.of(damaged).content(damaged.encode()), 55, "xx")
    lost = store.store(b"to lose its artifact", ttl=60).artifact_id
    client.delete(partitions.of(lost).artifact(lost.encode()))
    store.check(repair=True, read_data=True, grace=0)  # index_lease, check_content, drop_content
    store._redis.session.transport.is_cluster = True  # audit_artifacts
    store.check()
    store._redis.session.transport.is_cluster = False
    store.store(b"to be damaged")
    with pytest.raises(ZeroDivisionError):  # discard
        store.store_file(io.BytesIO(b"x" * 100_000), progress=lambda done, total: total and done and 1 // 0)
    client.set(home.run("x"), b"not ours")  # withdraw
    with pytest.raises(CorruptArtifactError):
        store.store(content("in place", 18_000), run_id="x")
    client.delete(home.run("x"))
    for run in RUNS:
        store.release(CROWDED_ID, run)


def test_scripts_touch_keys_of_their_slot_and_few_that_they_do_not_declare(store, valkey, namespace, monitor) -> None:
    partitions = Partitions(namespace, 64)
    with valkey.client() as client:
        for one in ALL:  # what is sent as a whole is not known by its hash
            client.script_load(one.source)
        exercise(store, client, partitions)
    with RedisArtifactStore(valkey.url, namespace=namespace, partitions=64) as plain:  # store_small: nothing is indexed
        for run in "a", "b", "a":
            plain.store(b"small", run_id=run)
    undeclared: dict[str, set[str]] = defaultdict(set)
    ran = set()
    script, declared = "", []
    for inside, words in monitor.until_now():
        if not inside:
            script, declared = "", []
            if words[0] in (b"EVALSHA", b"EVAL") and words[1] in NAMES:
                script, declared = NAMES[words[1]], words[3 : 3 + int(words[2])]
                ran.add(script)
                assert len({key_slot(key) for key in declared}) <= 1
        elif script and script != "eviction_policy":
            for key in keys_in(words):
                keys = partitions.holding(key)
                assert keys.slot == key_slot(key) == key_slot(declared[0]), (script, words)
                if key not in declared:
                    undeclared[script].add(keys.kind_of(key)[0])
    assert ran >= {script.name for script in ALL} - {"eviction_policy", "permitted"}
    for script, kinds in undeclared.items():
        assert kinds <= DERIVED.get(script, set()), script


@pytest.mark.parametrize("name", [script.name for script in ALL])
def test_scripts_that_derive_keys_say_so(name) -> None:
    header = (LUA / f"{name}.lua").read_text().partition("\n\n")[0]
    assert ("Derived key" in header) == bool(DERIVED.get(name))
