"""What is promised holds while servers are killed, paused, replaced, filled and emptied, and networks cut.

Callers store, look and delete all the while, at `durability="memory"` and `"replica"`; what they saw is checked. Each
scenario prints one line a level. Each happens once; in `make soak` again and again for half a minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from redis.crc import key_slot

from coatcheck.backends.redis.transport import durability
from coatcheck.testing import Cluster, Sentinels, Server, eventually

from ..conftest import binary_of
from ..leaks import Leaks
from ..sizes import EVERY, SECONDS
from .checker import LOST, RISEN, STALE, UNCLEAR, check
from .load import Load
from .network import Network


@pytest.fixture(autouse=True)
def soon(monkeypatch) -> None:
    """Nobody waits long for a replica that is gone."""
    if not EVERY:
        monkeypatch.setattr(durability, "_MILLISECONDS", b"1000")


LEVELS = {"memory": {"durability": "memory"}, "replica": {"durability": "replica"}}


def again_and_again(load: Load) -> Iterator[int]:
    """Numbers the rounds, once at least; callers get something done before each and after the last."""
    began, number = time.monotonic(), 0
    while not number or time.monotonic() < began + SECONDS:
        load.goes_on()
        yield number
        number += 1
    load.goes_on()


def judge(name: str, load: Load, **forgiven: set[str]) -> None:
    """Print what became of each store, and fail for what is not forgiven there."""
    load.look()
    for namespace, history in load.histories.items():
        report = check(history)
        print(f"\n{name}, {namespace}: {report}", end="")
        for problem in report.problems:
            assert problem.kind in forgiven.get(namespace, set()), (
                f"{problem.kind}: {problem.seen}\npromised: {problem.cause}\n{history.about((problem.cause or problem.seen).id)}"
            )
        with load.open(namespace) as store:
            if report.unknown:  # such as an upload that was given up
                store.gc(dry_run=False, grace=0)
            assert store.check(read_data=True, grace=0).problems == []


# One server -------------------------------------------------------------------------------------------------------


def test_a_server_is_killed_and_restarted() -> None:
    with Server(binary_of("valkey"), persistent=True) as server:
        with Load(server.url, memory={}) as load:
            for _ in again_and_again(load):
                server.kill()
                server.start()
        judge("killed and restarted", load)


def test_a_server_pauses() -> None:
    with Server(binary_of("valkey")) as server:
        with Load(server.url, memory={}) as load:
            for _ in again_and_again(load):
                server.pause()
                time.sleep(0.5)
                server.resume()
        judge("paused", load)


def test_the_network_to_a_server_is_cut() -> None:
    with Server(binary_of("valkey"), tcp=True) as server, Network([server]) as network:
        with Load(network.url("redis"), memory={}) as load:
            for _ in again_and_again(load):
                network.to[server.port].cut()
                time.sleep(0.5)
                network.to[server.port].mend()
        judge("cut off", load)


# A cluster --------------------------------------------------------------------------------------------------------


def killed_and_restarted(cluster: Cluster, number: int) -> None:
    cluster.primaries()[number % 3].restart()
    cluster.wait_ok()


def killed_and_replaced(cluster: Cluster, number: int) -> None:
    primary = cluster.primaries()[number % 3]
    [replica] = cluster.replicas(primary)
    primary.kill()
    eventually(lambda: replica.itself().slots, 30)
    primary.start()
    cluster.wait_ok()


def paused(cluster: Cluster, number: int) -> None:
    primary = cluster.primaries()[number % 3]
    [replica] = cluster.replicas(primary)
    primary.pause()
    eventually(lambda: replica.itself().slots, 30)
    primary.resume()
    cluster.wait_ok()


def promoted_by_hand(cluster: Cluster, number: int) -> None:
    [replica] = cluster.replicas(cluster.primaries()[number % 3])
    cluster.failover(replica, ("", "FORCE", "TAKEOVER")[number % 3])


def used_slots(cluster: Cluster) -> list[int]:
    """The slots in which anything lies."""
    found = set()
    for primary in cluster.primaries():
        with primary.client() as client:
            found |= {key_slot(key) for key in client.scan_iter(count=1000)}
    return sorted(found)


def slots_moved(cluster: Cluster, number: int) -> None:
    for slot in used_slots(cluster)[number % 4 :: 4]:
        primaries = cluster.primaries()
        place = primaries.index(cluster.owner(slot))
        cluster.move_slot(slot, primaries[(place + 1) % len(primaries)])


def node_added_and_emptied(cluster: Cluster, number: int) -> None:
    node = cluster.add_node()
    for slot in used_slots(cluster)[number % 8 :: 8]:
        cluster.move_slot(slot, node)
    cluster.wait_ok()
    cluster.empty(node)
    cluster.remove(node)
    cluster.wait_ok()


class Scenario(NamedTuple):
    """What happens to a cluster again and again.

    Attributes:
        round: One time; the servers are well again afterwards.
        memory: What may be seen where stores are acknowledged by memory alone.
        replica: What may be seen where a replica has confirmed them.
    """

    round: Callable[[Cluster, int], None]
    memory: frozenset[str] = frozenset()
    replica: frozenset[str] = frozenset()


UNCONFIRMED = frozenset({LOST, RISEN, UNCLEAR, STALE})
"""A replica that takes over may lack the last moments."""

BEHIND = frozenset({UNCLEAR, STALE})
"""A primary that doesn't know yet that it was replaced answers readers from what it has."""

SCENARIOS = [
    Scenario(killed_and_restarted, memory=UNCONFIRMED),
    Scenario(killed_and_replaced, memory=UNCONFIRMED),
    Scenario(paused, memory=UNCONFIRMED, replica=BEHIND),
    Scenario(promoted_by_hand, memory=UNCONFIRMED, replica=BEHIND),
    Scenario(slots_moved),
    Scenario(node_added_and_emptied),
]


@pytest.fixture(scope="module")
def cluster(leaks: Leaks) -> Iterator[Cluster]:
    """One for all scenarios: each leaves it well."""
    with leaks.lasting():
        cluster = Cluster(binary_of("valkey"), timeout=1, persistent=True)
    yield cluster
    cluster.stop()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.round.__name__)
def test_promises_hold_on_a_cluster(scenario, cluster, leaks) -> None:
    for primary in cluster.primaries():
        primary.ask("FLUSHALL")
    with leaks.lasting():  # nodes that were started again
        with Load(cluster.url, **LEVELS) as load:
            for number in again_and_again(load):
                scenario.round(cluster, number)
        judge(scenario.round.__name__, load, memory=scenario.memory, replica=scenario.replica)


def test_promises_hold_where_the_network_to_a_node_is_cut() -> None:
    with Cluster(binary_of("valkey"), timeout=1) as cluster, Network(cluster.nodes) as network:
        for node in cluster.nodes:
            node.ask("CONFIG", "SET", "cluster-announce-port", network.to[node.port].port)
        eventually(lambda: all(network.announced(node.ask("CLUSTER", "NODES")) for node in cluster.nodes))
        with Load(network.url("redis+cluster"), **LEVELS) as load:
            for number in again_and_again(load):
                relay = network.to[cluster.primaries()[number % 3].port]
                relay.cut()
                time.sleep(0.5)
                relay.mend()
        judge("cut off from a node", load)


# Sentinel ---------------------------------------------------------------------------------------------------------


def test_promises_hold_where_sentinels_replace_a_primary() -> None:
    with Sentinels(binary_of("valkey"), down_after=1, persistent=True) as sentinels:
        levels = LEVELS if EVERY else {"memory": LEVELS["memory"]}  # the old one follows only after ten seconds
        with Load(sentinels.url, **levels) as load:
            load.goes_on()
            old, new = sentinels.primary, sentinels.replica
            old.kill()
            eventually(lambda: sentinels.primary is new, 30)
            old.start()
            load.goes_on()  # at "replica" only when the old one follows
        judge("replaced by Sentinels", load, memory=UNCONFIRMED)
