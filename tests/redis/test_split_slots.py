"""The split form over the wire: every command keeps to one hash slot, and every script to the keys that it declares."""

from __future__ import annotations

import hashlib
import re
import threading
from pathlib import Path

import pytest
from redis.crc import key_slot

from coatcheck import AmbiguousWriteError, BackendStore, compute_artifact_id
from coatcheck.backends.redis import Target, scripts
from coatcheck.backends.redis.link import BrokenError, SyncLink
from coatcheck.backends.redis.split import scripts as split_scripts

from ..harnesses import split_backend
from .schedules import keys_of, split_commands
from .test_faults import OPERATIONS, prepare, state

LARGE = hashlib.shake_128(b"slots").digest(100_000)

MORE = {
    "upload": lambda s: s.store(LARGE, run_id="a", ttl=60),
    "upload explicit": lambda s: s.store(LARGE, run_id="a", artifact_id="large", ttl=60),
    "touch explicit": lambda s: s.touch("name", 10, "a"),
    "check": lambda s: s.check(read_data=True, repair=True, grace=0),
    "search": lambda s: s.search(order="asc"),
}


class WatchedLink(SyncLink):
    """Looks at every command, and can lose the reply of one exchange."""

    def __init__(self, url: str) -> None:
        inner = Target.of(url).link()
        super().__init__(inner._connections)
        self.commands = 0
        self.exchanges = 0
        self.lose: int | None = None

    def exchange(self, buffers, count):
        commands = split_commands(list(buffers))
        assert len(commands) == count
        for command in commands:
            self.commands += 1
            slots = {key_slot(key) for key in keys_of(command)}
            assert len(slots) == 1 or command[0] == b"SCAN", command[:8]
        replies = super().exchange(buffers, count)
        self.exchanges += 1
        if self.exchanges == self.lose:
            raise BrokenError("reply lost")
        return replies


@pytest.fixture
def link(cluster_node):
    link = WatchedLink(cluster_node.url)
    yield link
    link.close()


@pytest.fixture
def store(link, namespace):
    return BackendStore(split_backend(link, namespace))


@pytest.fixture
def client(cluster_node):
    with cluster_node.client() as client:
        for script in (*scripts.ALL, *split_scripts.ALL):
            client.script_load(script.source)
        yield client


@pytest.mark.parametrize("operation", [*OPERATIONS, *MORE])
def test_commands_keep_to_one_slot_and_scripts_to_their_keys(
    store, link, cluster_node, client, namespace, operation
) -> None:
    prepare(store)
    seen: list[dict] = []
    ready = threading.Event()
    end = f"end of {operation}"
    with cluster_node.client() as watching, watching.monitor() as monitor:

        def watch() -> None:
            ready.set()
            for entry in monitor.listen():
                seen.append(entry)
                if end in entry["command"]:
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        ready.wait()
        (OPERATIONS | MORE)[operation](store)
        with cluster_node.client() as other:
            other.echo(end)
        watcher.join()
    assert link.commands > 0
    declared: set[str] = set()
    inside = 0
    for entry in seen:
        words = entry["command"].split(" ")
        if entry["client_type"] != "lua":
            assert words[0] != "EVAL"
            declared = set(words[3 : 3 + int(words[2])]) if words[0] == "EVALSHA" else set()
        elif words[0] not in ("TIME", "OBJECT"):
            inside += 1
            keys = [word for word in words[1:] if word.startswith(f"{namespace}:")]
            assert keys, entry
            assert set(keys) <= declared, entry
    assert inside > 0


@pytest.mark.parametrize("operation", [*OPERATIONS, *MORE])
def test_a_lost_reply_is_survived(store, cluster_node, namespace, operation, client) -> None:
    """Whichever reply is lost, the operation ends as if none had been."""
    act = (OPERATIONS | MORE)[operation]
    prepare(store)
    act(store)
    after = state(store)
    store.delete("large")
    nth, exchanges = 0, 1
    while nth < exchanges:
        nth += 1
        prepare(store)
        store.delete("large")
        losing = WatchedLink(cluster_node.url)
        losing.lose = nth
        act(BackendStore(split_backend(losing, namespace)))
        exchanges = losing.exchanges
        losing.close()
        store.gc(dry_run=False, grace=0)
        fences = client.keys(f"{namespace}:fence:*")
        assert all(client.pttl(key) > 0 for key in fences)
        assert state(store) == after, nth
        if fences:
            client.delete(*fences)
    assert nth > 0


def test_a_lost_reply_without_patience_is_ambiguous(cluster_node, namespace) -> None:
    losing = WatchedLink(cluster_node.url)
    store = BackendStore(split_backend(losing, namespace, retry_for=0))
    store.store(b"content", run_id="a")
    for nth in (2, 3, 4):  # claims, commit, clean-up
        losing.exchanges, losing.lose = 0, nth
        with pytest.raises(AmbiguousWriteError, match="safe to repeat"):
            store.store(b"content", run_id="a")
    losing.lose = None
    assert store.load_text(compute_artifact_id(b"content")) == "content"
    assert store.gc(dry_run=False, grace=0).ok
    assert store.check(read_data=True, grace=0).problems == []
    store.delete_by_run("a")
    losing.close()


@pytest.mark.parametrize("artifact_id", [None, "name"])
def test_a_commit_of_unknown_outcome_is_not_sent_again(cluster_node, client, store, namespace, artifact_id) -> None:
    """Its lease may have come and gone meanwhile, and with it what it claimed."""

    class DeletedMeanwhile(WatchedLink):
        def exchange(self, buffers, count):
            try:
                return super().exchange(buffers, count)
            except BrokenError:
                assert store.delete(artifact_id or compute_artifact_id(b"content"))
                raise

    losing = DeletedMeanwhile(cluster_node.url)
    losing.lose = 3
    stored = BackendStore(split_backend(losing, namespace)).store(b"content", run_id="a", artifact_id=artifact_id)
    losing.close()
    assert store.load_text(stored.artifact_id) == "content"
    assert store.list_by_run("a") == store.list_all() == [stored]
    assert store.check(read_data=True, grace=0).problems == []


def test_every_script_says_what_it_takes_and_returns() -> None:
    folder = Path(split_scripts.__file__).parent.parent / "lua" / "split"
    names = {path.stem for path in folder.glob("*.lua")} - {"lib"}
    assert {f"split/{name}" for name in names} == {script.name for script in split_scripts.ALL}
    for name in names:
        header = (folder / f"{name}.lua").read_text().split("\n\n", 1)[0]
        assert re.search(r"^-- KEYS", header, re.M), name
        assert re.search(r"^-- Returns", header, re.M), name


def test_no_read_token_comes_twice(store, client, namespace) -> None:
    """Tokens are times in microseconds: reading an artifact takes longer than one."""
    keys = [f"{namespace}:artifact:{{x}}", f"{namespace}:content:{{x}}"]
    source = split_scripts.READ.source
    pipeline = client.pipeline(transaction=False)
    for _ in range(2000):
        pipeline.eval(source, 2, *keys, "-", "")
    tokens = [reply[0] for reply in pipeline.execute()]
    assert len(set(tokens)) == len(tokens)
