"""The servers that tests start: each does what the tests that use it rely on."""

from __future__ import annotations

import contextlib

import pytest
import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from redis.exceptions import RedisError
from redis.retry import Retry

from coatcheck.testing import ENGINES, Cluster, Node, Sentinels, Server, eventually
from coatcheck.testing.servers.tls import TlsServer

from .conftest import binary_of

ONCE = Retry(NoBackoff(), 0)
TAG = "{tag}"
SLOT = key_slot(TAG.encode())


@pytest.fixture(params=["valkey_cluster", "redis7_cluster"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    return request.getfixturevalue(request.param)


@contextlib.contextmanager
def connected(cluster: Cluster):
    client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", node.port) for node in cluster.nodes])
    try:
        yield client
    finally:
        client.close()


def refusal(node: Node, *command) -> str:
    with pytest.raises(RedisError) as caught:
        node.ask(*command)
    return str(caught.value)


@pytest.mark.leaves_keys("plain ones, of no artifact")
def test_a_cluster_keeps_what_its_clients_write(cluster, namespace) -> None:
    assert len(cluster.primaries()) == 3
    names = [f"{namespace}:{n}" for n in range(100)]
    with connected(cluster) as client:
        for name in names:
            client.set(name, name, ex=60)
        assert [client.get(name).decode() for name in names] == names
        assert {cluster.owner(key_slot(name.encode())) for name in names} == set(cluster.primaries())


def test_each_primary_has_the_replicas_it_was_given(valkey_cluster, redis7_cluster) -> None:
    for cluster, replicas in (valkey_cluster, 1), (redis7_cluster, 0):
        assert [len(cluster.replicas(primary)) for primary in cluster.primaries()] == [replicas] * 3


@pytest.mark.leaves_keys("plain ones, of no artifact")
def test_a_half_moved_slot_sends_to_the_other_node_what_has_gone_there(cluster, namespace) -> None:
    staying, going = f"{namespace}:{TAG}staying", f"{namespace}:{TAG}going"
    old, new = cluster.owner(SLOT), next(one for one in cluster.primaries() if one is not cluster.owner(SLOT))
    for name in staying, going:
        old.ask("SET", name, "x", "EX", 60)
    cluster.begin_move(SLOT, new)
    cluster.move_keys(SLOT, [going])
    assert old.ask("GET", staying) == "x"
    assert refusal(old, "GET", going) == f"{SLOT} {new.address}"  # redis-py strips the word ASK
    assert "during rehashing" in refusal(old, "MGET", staying, going)  # TRYAGAIN
    assert refusal(new, "GET", going) == f"{SLOT} {old.address}"  # and the word MOVED

    cluster.move_keys(SLOT)
    cluster.finish_move(SLOT)
    cluster.wait_ok()
    assert cluster.owner(SLOT) is new
    assert [new.ask("GET", name) for name in (staying, going)] == ["x", "x"]
    assert new.ask("TTL", going) > 0
    cluster.move_slot(SLOT, old)
    cluster.wait_ok()


@pytest.mark.parametrize("how", ["", "FORCE", "TAKEOVER"])
def test_a_replica_is_promoted_by_hand(valkey_cluster, how) -> None:
    primary = valkey_cluster.owner(SLOT)
    [replica] = valkey_cluster.replicas(primary)
    valkey_cluster.failover(replica, how)
    assert valkey_cluster.owner(SLOT) is replica
    assert valkey_cluster.replicas(replica) == [primary]


def test_a_replica_takes_over_when_its_primary_is_killed_and_the_killed_one_follows_it() -> None:
    with Cluster(binary_of("valkey"), timeout=1, persistent=True) as cluster:
        killed = cluster.owner(SLOT)
        [replica] = cluster.replicas(killed)
        killed.kill()
        eventually(lambda: replica.itself().slots, 30)
        killed.start()
        cluster.wait_ok()
        assert cluster.owner(SLOT) is replica
        assert cluster.replicas(replica) == [killed]


def test_a_node_is_added_filled_emptied_and_removed() -> None:
    with Cluster(binary_of("redis7"), replicas=0) as cluster:
        node = cluster.add_node()
        for slot in range(SLOT, SLOT + 3):
            cluster.move_slot(slot, node)
        cluster.wait_ok()
        assert node.itself().slots == set(range(SLOT, SLOT + 3))
        cluster.empty(node)
        cluster.remove(node)
        cluster.wait_ok()
        assert {len(one.view()) for one in cluster.nodes} == {3}


def test_sentinels_name_the_primary(sentinels: Sentinels) -> None:
    asked = redis.sentinel.Sentinel([("127.0.0.1", one.port) for one in sentinels.sentinels])
    assert asked.discover_master("mymaster") == ("127.0.0.1", sentinels.primary.port)
    assert sentinels.primary.ask("ROLE")[0] == "master"
    for one in asked.sentinels:
        one.close()


@pytest.mark.parametrize("killed", [False, True], ids=["by hand", "killed"])
def test_sentinels_replace_a_primary(killed) -> None:
    with Sentinels(binary_of("redis7"), down_after=1) as sentinels:
        old, new = sentinels.primary, sentinels.replica
        if killed:
            old.kill()
            eventually(lambda: sentinels.primary is new, 30)
        else:
            sentinels.failover()
        assert (sentinels.primary, sentinels.replica) == (new, old)
        assert new.ask("ROLE")[0] == "master"


def ping(server: TlsServer, **options) -> bool:
    with redis.Redis(
        port=server.tls_port, ssl=True, ssl_ca_certs=str(server.authority), retry=ONCE, **options
    ) as client:
        return client.ping()


def test_a_tls_server_is_verified_by_its_authority_alone(tls_server) -> None:
    assert ping(tls_server, host="127.0.0.1")
    assert ping(tls_server, host="localhost")
    with (
        redis.Redis.from_url(tls_server.url, retry=ONCE) as client,
        pytest.raises(redis.ConnectionError, match="CERTIFICATE_VER"),
    ):
        client.ping()


def test_a_tls_server_may_ask_for_a_client_certificate(tls_server) -> None:
    tls_server.ask("CONFIG", "SET", "tls-auth-clients", "yes")
    try:
        with pytest.raises(redis.ConnectionError):
            ping(tls_server)
        shown = {"ssl_certfile": str(tls_server.client_certificate), "ssl_keyfile": str(tls_server.client_key)}
        assert ping(tls_server, **shown)
    finally:
        tls_server.ask("CONFIG", "SET", "tls-auth-clients", "optional")


def test_a_tls_server_that_says_another_name_is_refused() -> None:
    with TlsServer(binary_of("redis7"), names=("elsewhere.example",)) as server:
        with pytest.raises(redis.ConnectionError, match="mismatch"):
            ping(server)
        assert ping(server, ssl_check_hostname=False)


def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"did not start: (.*\n)+.*no-such-option"):
        Server(binary_of("valkey"), "--no-such-option", "1")
