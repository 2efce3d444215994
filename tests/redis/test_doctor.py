"""The doctor on real servers: what it finds is there, its cures cure, and it asks nothing that it may not ask."""

from __future__ import annotations

import asyncio
import contextlib
import shlex

import pytest
import redis

from coatcheck import AsyncRedisArtifactStore, RedisArtifactStore, StoreUnavailableError
from coatcheck.backends.redis.permissions import command
from coatcheck.doctor import Diagnosis, aexamine, examine, facts
from coatcheck.testing import ENGINES, Cluster, Server, eventually

from ..conftest import require


def found(diagnosis: Diagnosis, *levels: str) -> set[str]:
    return {finding.name for finding in diagnosis.findings if finding.level in (levels or ("critical", "warning"))}


@pytest.fixture(scope="module", params=ENGINES, ids=lambda engine: engine.name)
def own(request, leaks):
    """A server whose configuration may be changed."""
    with leaks.lasting():
        own = Server(require(request.param), tcp=True)
    yield own
    own.stop()


@pytest.fixture
def own_store(own):
    with own.client() as client:
        client.flushall()
    with RedisArtifactStore(own.tcp_url, namespace="mine") as store:
        yield store


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_cures_cure(engine) -> None:
    """What is typed as it is told makes findings go."""
    own = Server(require(engine), tcp=True)
    own_store = RedisArtifactStore(own.tcp_url, namespace="mine")
    with own.client() as client, own_store:
        client.config_set("maxmemory-policy", "allkeys-lru")
        before = examine(own_store)
        assert found(before) == {"eviction", "maxmemory", "persistence"}
        for finding in before.findings:
            if finding.level in ("critical", "warning"):
                first, *_ = finding.cure.split(" && ")[0].split(" (and ")
                tool, *words = shlex.split(first)
                assert tool in ("redis-cli", "valkey-cli")
                assert words[:4] == ["-h", "127.0.0.1", "-p", str(own.port)]
                client.execute_command(*words[4:])
        after = examine(own_store)
        assert found(after) == set()
        assert after.ok
        eventually(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
    own.stop()


def test_what_lies_there_is_counted_and_looked_at(own, own_store) -> None:
    with RedisArtifactStore(own.tcp_url, namespace="mine", index_content_type=True) as indexing:
        indexing.store_many([b"%d" % n for n in range(20)], ttl=60)
    wide = {"partitions": 64, "index_content_type": True}
    with own.client() as client, RedisArtifactStore(own.tcp_url, namespace="mine", **wide) as other:
        other.store(b"x", ttl=60)
        assert "indexes" in found(examine(other, thorough=False), "good")  # where something lies
        client.set("mine:content:" + "0" * 32, b"orphan")
        diagnosis = examine(own_store, thorough=True)
        assert "other-partitions" in found(diagnosis)
        [partitions] = [finding for finding in diagnosis.findings if finding.name == "partitions"]
        assert "about 20 artifacts;" in partitions.text
        quick = examine(own_store, thorough=False)
        assert "leftovers" in found(quick, "note")
        client.flushall()


@pytest.mark.parametrize("role", ["reader", "worker", "operator"])
def test_nothing_is_asked_that_may_not_be_asked(own, own_store, role) -> None:
    own_store.store(b"x", ttl=60)
    with own.client() as client:
        client.execute_command(*shlex.split(command(role, "mine", "someone").replace("PASSWORD", "secret")))
        client.acl_log_reset()
        with RedisArtifactStore(f"redis://someone:secret@127.0.0.1:{own.port}/0", namespace="mine") as store:
            diagnosis = examine(store)
        assert client.acl_log() == []
        client.acl_deluser("someone")
    assert "untold" in found(diagnosis, "note")
    assert "too-many-permissions" not in found(diagnosis, "note")
    assert diagnosis.ok
    less = {"operator": set(), "worker": {"leftovers"}, "reader": {"leftovers", "permissions"}}
    assert found(diagnosis, "note") - {"version"} == {"untold", *less[role]}


def test_a_permission_that_is_missing_is_named(own, own_store) -> None:
    with own.client() as client:
        client.execute_command(*shlex.split(command("worker", "mine", "someone").replace("PASSWORD", "secret")))
        client.execute_command("ACL", "SETUSER", "someone", "-unlink", "-hget")
        with RedisArtifactStore(f"redis://someone:secret@127.0.0.1:{own.port}/0", namespace="mine") as store:
            [missing] = [f for f in examine(store).findings if f.name == "permissions"]
        client.acl_deluser("someone")
    assert missing.level == "critical"
    assert missing.text.endswith("missing: HGET")


def test_the_wrong_keys_are_a_missing_permission(own, own_store) -> None:
    with own.client() as client:
        client.execute_command(*shlex.split(command("worker", "other", "someone").replace("PASSWORD", "secret")))
        client.acl_log_reset()
        url = f"redis://someone:secret@127.0.0.1:{own.port}/0"
        with RedisArtifactStore(url, namespace="mine") as store:
            diagnosis = examine(store, thorough=True)
        assert client.acl_log() == []
        client.acl_deluser("someone")
    [missing] = [finding for finding in diagnosis.findings if finding.name == "permissions"]
    assert "reader does; missing:" in missing.text
    assert "HGET" in missing.text
    assert found(diagnosis, "critical") >= {"permissions"}


def test_a_disk_that_refuses_is_found_though_nothing_can_be_repaired(own, own_store) -> None:
    own_store.store(b"x", ttl=60)
    with own.client() as client:
        (own.directory / "dump.rdb").mkdir()
        client.config_set("save", "3600 1")
        with contextlib.suppress(redis.ResponseError):
            client.bgsave()
        eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        diagnosis = examine(own_store, thorough=True)
        client.config_set("save", "")
        (own.directory / "dump.rdb").rmdir()
    texts = [finding.text for finding in diagnosis.findings if finding.name == "persistence"]
    assert any("cannot write to its disk" in text for text in texts)
    [leftovers] = [finding for finding in diagnosis.findings if finding.name == "leftovers"]
    assert "cannot persist" in leftovers.text


def test_what_cannot_be_read_hides_nothing_else(own, own_store) -> None:
    own_store.store(b"x", ttl=60)
    with own.client() as client:
        client.set(b"mine:catalog:created", b"of another type")
        diagnosis = examine(own_store)
        client.flushall()
    [unreadable] = [finding for finding in diagnosis.findings if finding.name == "unreadable"]
    assert unreadable.level == "critical"
    assert "latency" in found(diagnosis, "good")


def test_a_cluster_is_examined_although_a_primary_is_away(leaks) -> None:
    """Both faces name it, and say what there is to say of the others; without any primary there is nothing to say."""
    with leaks.lasting():
        cluster = Cluster(require(ENGINES[0]), replicas=0, timeout=1.0)
    with cluster:
        cluster.nodes[1].kill()
        with RedisArtifactStore(cluster.url, retry_for=0.2) as store:
            diagnosis = examine(store, thorough=True)
        eventually(lambda: "cluster_state:fail" in cluster.nodes[0].ask("CLUSTER", "INFO"))

        async def look() -> Diagnosis:
            async with AsyncRedisArtifactStore(cluster.url, retry_for=0.2) as store:
                return await aexamine(store)

        for one in (diagnosis, asyncio.run(look())):
            [away] = [finding for finding in one.findings if finding.name == "unreachable"]
            assert (away.level, away.server) == ("critical", cluster.nodes[1].address)
            servers = {finding.server for finding in one.findings if finding.name == "latency"}
            assert servers == {cluster.nodes[0].address, cluster.nodes[2].address}
        assert "cluster" in found(one, "critical")


def test_a_cluster_is_examined_node_by_node(valkey_cluster, namespace) -> None:
    with RedisArtifactStore(valkey_cluster.url, namespace=namespace) as store:
        store.store_many([b"%d" % n for n in range(30)], ttl=60)
        diagnosis = examine(store)
    servers = {finding.server for finding in diagnosis.findings if finding.name == "latency"}
    assert len(servers) == 3
    [partitions] = [finding for finding in diagnosis.findings if finding.name == "partitions"]
    assert partitions.text == "about 30 artifacts; partitions: 64, on servers: 3"
    assert "replication" in found(diagnosis, "good")
    assert not {"cluster", "other-partitions", "permissions"} & found(diagnosis)


def test_awaited_stores_are_examined_too(valkey, namespace) -> None:
    async def look() -> Diagnosis:
        async with AsyncRedisArtifactStore(valkey.tcp_url, namespace=namespace) as store:
            return await aexamine(store)

    diagnosis = asyncio.run(look())
    assert "latency" in found(diagnosis, "good")


def test_tls_is_seen(tls_server, namespace) -> None:
    with RedisArtifactStore(tls_server.url, namespace=namespace, ssl_ca_certs=str(tls_server.authority)) as store:
        assert "tls" in found(examine(store), "good")


def test_a_server_that_is_not_there_is_no_finding() -> None:
    with RedisArtifactStore("redis://127.0.0.1:1", retry_for=0) as store, pytest.raises(StoreUnavailableError):
        examine(store)


NONSENSE = [
    None,
    7,
    -1,
    b"",
    b"x",
    b"a:b",
    [],
    [b"a"],
    [[1]],
    [[1, 2, 3, 4]],
    [b"a", b"b"],
    [b"flags", 7],
    [[[]]],
    "text",
]


@pytest.mark.parametrize("reply", NONSENSE, ids=str)
def test_nonsense_is_never_a_raw_error(valkey, namespace, monkeypatch, reply) -> None:
    def said(*_):
        yield from ()
        return reply

    monkeypatch.setattr(facts, "_ask", said)
    with RedisArtifactStore(valkey.tcp_url, namespace=namespace) as store, contextlib.suppress(StoreUnavailableError):
        examine(store, thorough=False)


@pytest.mark.parametrize("question", ["INFO", "CONFIG", "SLOWLOG", "ACL"])
@pytest.mark.parametrize("reply", NONSENSE, ids=str)
def test_nonsense_to_one_question_is_never_a_raw_error(valkey, namespace, monkeypatch, question, reply) -> None:
    asked = facts._ask

    def said(session, node, *words):
        if words[0] != question:
            return (yield from asked(session, node, *words))
        return reply

    monkeypatch.setattr(facts, "_ask", said)
    with RedisArtifactStore(valkey.tcp_url, namespace=namespace) as store, contextlib.suppress(StoreUnavailableError):
        examine(store, thorough=False)


def test_sentinels_and_borrowed_clients_lead_to_the_primary_too(sentinels, namespace) -> None:
    with RedisArtifactStore(sentinels.url, namespace=namespace) as store:
        diagnosis = examine(store)
    assert "replication" in found(diagnosis, "good")
    with sentinels.primary.client() as client, RedisArtifactStore(client, namespace=namespace) as store:
        assert "replication" in found(examine(store), "good")


def test_a_replica_is_told(sentinels, namespace) -> None:
    with RedisArtifactStore(sentinels.replica.tcp_url, namespace=namespace) as store:
        [replica] = [f for f in examine(store).findings if f.name == "replication"]
    assert replica.level == "critical"
    assert sentinels.primary.address in replica.cure
