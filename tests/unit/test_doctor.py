"""What a diagnosis makes of what servers say: each finding, and that there is none where all is well."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from coatcheck import AsyncInMemoryArtifactStore, CheckReport, InMemoryArtifactStore, InvalidArtifactError, Problem
from coatcheck.backends.redis.maintenance.problems import LEFTOVERS, LOSSES
from coatcheck.backends.redis.permissions import COMMANDS, EXTRAS
from coatcheck.backends.redis.scripts import calls
from coatcheck.doctor import Diagnosis, aexamine, examine, judge
from coatcheck.doctor.facts import POWERS, Facts, ServerFacts, Slow

INFO = {
    "redis_version": "7.2.4",
    "valkey_version": "9.1.0",
    "config_file": "/etc/valkey.conf",
    "role": "master",
    "slave0": "ip=10.0.0.2,port=6379,state=online,offset=1,lag=0",
    "used_memory": str(200 * 2**20),
    "maxmemory": str(2**30),
    "maxmemory_policy": "noeviction",
    "total_system_memory": str(8 * 2**30),
    "mem_fragmentation_ratio": "1.04",
    "mem_allocator": "jemalloc-5.3.0",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "evicted_keys": "0",
    "connected_clients": "10",
    "maxclients": "10000",
}
SERVER = ServerFacts(
    name="10.0.0.1:6379",
    info=INFO,
    config={"appendfsync": "everysec", "save": ""},
    cluster={},
    slow=[],
    round_trip=0.0002,
    clock_ahead=0.01,
    untold=[],
)
FACTS = Facts(
    namespace="mine",
    is_cluster=False,
    embedded=False,
    encrypted=True,
    durability="memory",
    servers=[SERVER],
    silent={},
    user="worker",
    open_to_all=False,
    permitted={
        **dict.fromkeys(COMMANDS["operator"], True),
        **dict.fromkeys([name for extra in EXTRAS.values() for name in extra], True),
        **dict.fromkeys(POWERS, False),
    },
    foreign=False,
    unread="",
    artifacts={"10.0.0.1:6379": [100]},
    others={64: 0, 256: 0},
    wished=["--type"],
    indexed=[{"--type": True}],
    report=CheckReport(looked_at=500, problems=[]),
)


def server(**changes) -> Facts:
    """The facts, with fields of INFO changed, or with other fields of the server."""
    fields = {name: changes.pop(name) for name in list(changes) if name in ServerFacts.__dataclass_fields__}
    info = {name: value for name, value in {**INFO, **changes}.items() if value is not None}
    return replace(FACTS, servers=[replace(SERVER, **{"info": info, **fields})])


def facts(**changes) -> Facts:
    return replace(FACTS, **changes)


def lacking(*names: str) -> dict[str, bool]:
    return {**FACTS.permitted, **dict.fromkeys(names, False)}


FINDINGS = {
    "an old Redis": (server(redis_version="6.2.1", valkey_version=None), "critical", "version", "upgrade to Redis 7.0"),
    "a Redis without WAITAOF": (server(redis_version="7.0.15", valkey_version=None), "note", "version", ""),
    "an old Valkey": (server(valkey_version="7.2.5"), "critical", "version", "upgrade to Valkey 8.0"),
    "eviction": (
        server(maxmemory_policy="volatile-lru"), "critical", "eviction",
        "valkey-cli -h 10.0.0.1 -p 6379 CONFIG SET maxmemory-policy noeviction && "
        "valkey-cli -h 10.0.0.1 -p 6379 CONFIG REWRITE",
    ),
    "no file of configuration": (
        server(maxmemory_policy="allkeys-lru", config_file=""), "critical", "eviction", "options that the server is started",
    ),
    "evicted": (server(evicted_keys="3"), "critical", "evicted", "CONFIG RESETSTAT"),
    "no limit": (server(maxmemory="0"), "warning", "maxmemory", "CONFIG SET maxmemory 4915mb"),
    "little memory": (server(used_memory=str(900 * 2**20)), "warning", "memory", "CONFIG SET maxmemory 1500mb"),
    "no memory": (server(used_memory=str(1000 * 2**20)), "critical", "memory", "coatcheck runs"),
    "fragmentation": (server(mem_fragmentation_ratio="2.1"), "warning", "fragmentation", "CONFIG SET activedefrag yes"),
    "fragmentation without jemalloc": (
        server(mem_fragmentation_ratio="2.1", mem_allocator="libc"), "warning", "fragmentation", "restart",
    ),
    "snapshots only": (
        server(aof_enabled="0", config={"save": "3600 1"}), "warning", "persistence", "CONFIG SET appendonly yes",
    ),
    "no persistence": (server(aof_enabled="0"), "critical", "persistence", "CONFIG SET appendonly yes"),
    "no sync": (server(config={"appendfsync": "no"}), "warning", "persistence", "CONFIG SET appendfsync everysec"),
    "a full disk": (server(rdb_last_bgsave_status="err"), "critical", "persistence", "make room"),
    "a replica": (
        server(role="slave", master_host="10.0.0.9", master_port="6379"), "critical", "replication", "10.0.0.9:6379",
    ),
    "a replica that lost its primary": (
        server(role="slave", master_host="10.0.0.9", master_port="6379", master_link_status="down"),
        "critical", "replication", "valkey-cli -h 10.0.0.1 -p 6379 REPLICAOF NO ONE",
    ),
    "no replica": (server(slave0=None), "note", "replication", ""),
    "no replica to wait for": (
        replace(server(slave0=None), durability="replica+fsync"), "critical", "replication", "REPLICAOF",
    ),
    "no replica to wait for on a cluster": (
        replace(server(slave0=None), durability="replica", is_cluster=True), "critical", "replication",
        "valkey-cli --cluster add-node <another host>:<port> 10.0.0.1:6379 --cluster-slave",
    ),
    "a replica that is behind": (
        server(slave0="ip=10.0.0.2,port=6379,state=online,offset=1,lag=40"), "warning", "replication", "repl-backlog-size",
    ),
    "a replica that is away": (
        server(slave0="ip=10.0.0.2,port=6379,state=wait_bgsave,offset=0,lag=0"), "warning", "replication", "log",
    ),
    "many connections": (server(connected_clients="9000"), "warning", "connections", "CONFIG SET maxclients 20000"),
    "a long way": (server(round_trip=0.05), "warning", "latency", "store_many"),
    "slow commands": (server(slow=[Slow("EVALSHA x", 0.02), Slow("KEYS *", 0.05)]), "note", "slowlog", "SLOWLOG GET"),
    "very slow commands": (server(slow=[Slow("KEYS *", 2.5)]), "warning", "slowlog", "SLOWLOG GET"),
    "another clock": (server(clock_ahead=-30.0), "note", "clock", "chronyc"),
    "a broken cluster": (
        server(cluster={"cluster_state": "fail", "cluster_slots_assigned": "16000"}), "critical", "cluster",
        "valkey-cli --cluster fix 10.0.0.1:6379 --cluster-fix-with-unreachable-primaries",
    ),
    "questions that may not be asked": (server(untold=["CONFIG GET save"]), "note", "untold", "administrator"),
    "different versions": (
        facts(servers=[SERVER, *server(valkey_version="8.0.1").servers]), "warning", "version", "upgrade",
    ),
    "different clocks": (facts(servers=[SERVER, *server(clock_ahead=1.5).servers]), "warning", "clock", "chronyc"),
    "a missing permission": (facts(permitted=lacking("get")), "critical", "permissions", "--namespace mine acl"),
    "half a worker": (facts(permitted=lacking("hset", "set")), "warning", "permissions", "--namespace mine acl"),
    "a reader": (
        facts(permitted=lacking(*{*COMMANDS["worker"]} - {*COMMANDS["reader"]}), user="look"), "note", "permissions",
        "--user look",
    ),
    "a permission that is missing beside others": (
        facts(permitted=lacking("get", "info", "wait", "waitaof")), "critical", "permissions",
        "coatcheck --namespace mine acl --extra database --extra cluster --user worker",
    ),
    "a cluster needs more": (
        facts(is_cluster=True, permitted=lacking("asking")), "critical", "permissions", "acl --extra cluster",
    ),
    "waiting for replicas needs more": (
        facts(durability="replica", permitted=lacking("wait")), "critical", "permissions", "acl --extra replica",
    ),
    "an administrator": (facts(permitted={**FACTS.permitted, "flushall": True}), "note", "too-many-permissions", "acl"),
    "other keys": (facts(foreign=True), "note", "too-many-permissions", "acl"),
    "no password": (facts(open_to_all=True), "critical", "password", "ACL SETUSER admin on"),
    "no TLS": (facts(encrypted=False), "warning", "tls", "rediss://"),
    "other partitions": (facts(others={64: 7}), "warning", "other-partitions", "one number"),
    "uneven": (
        facts(artifacts={"a:1": [1000], "b:1": [10], "c:1": [10]}), "warning", "uneven", "--cluster rebalance a:1",
    ),
    "an index in some partitions": (
        facts(indexed=[{"--tag 'a b'": True, "--type": True}, {"--type": True}]),
        "warning", "indexes", "--namespace mine reindex --tag 'a b' --type",
    ),
    "an index that was never built": (facts(wished=["--tag k", "--type"]), "warning", "indexes", "reindex --tag k --type"),
    "an index that is being built": (facts(indexed=[{"--type": False}]), "warning", "indexes", "reindex --type"),
    "not looked at": (facts(report=None), "note", "leftovers", "--thorough"),
    "refused to be looked at": (
        facts(report=None, unread="a replica"), "note", "leftovers", "once what is critical here is cured",
    ),
    "a problem": (
        facts(report=CheckReport(looked_at=9, problems=[
            Problem(kind="orphan-content", count=2, bytes=9, repaired=0, examples=["mine:content:x"])
        ])),
        "warning", "orphan-content", "coatcheck --namespace mine check --repair",
    ),
    "a loss": (
        facts(report=CheckReport(looked_at=9, problems=[
            Problem(kind="lost-content", count=2, bytes=0, repaired=0, examples=["mine:artifact:x"])
        ])),
        "warning", "lost-content", "store it again",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FINDINGS)
def test_each_finding_names_its_cure(what) -> None:
    given, level, name, cure = FINDINGS[what]
    diagnosis = judge(given)
    [finding] = [finding for finding in diagnosis.findings if finding.level != "good"]
    assert (finding.level, finding.name) == (level, name)
    assert cure in finding.cure
    assert diagnosis.ok is (level == "note")


def test_a_slow_script_of_ours_is_told_from_others() -> None:
    for script in calls.ALL:
        begins = script.source[:113].decode()
        for command, says in (
            (f"EVALSHA {script.digest.decode()}", f"EVALSHA of coatcheck's {script.name}.lua"),
            (f"EVAL {begins}... (900 more bytes)", f"EVAL of coatcheck's {script.name}.lua"),
            ("EVALSHA " + "0" * 40, "EVALSHA " + "0" * 40),
            ("EVAL return 1", "EVAL return 1"),
        ):
            [found] = [f for f in judge(server(slow=[Slow(command, 0.02)])).findings if f.name == "slowlog"]
            assert found.text.endswith(says)


def test_a_user_who_lacks_something_is_named_by_the_cure() -> None:
    for user, cure in (("wor ker", "--user 'wor ker'"), ("default", "acl"), ("", "acl")):
        permitted = lacking("hset", "ping", "select", "asking", "info")
        [found] = [f for f in judge(facts(permitted=permitted, user=user)).findings if f.name == "permissions"]
        assert found.cure.endswith(cure)


def test_no_repair_is_named_where_it_repairs_nothing() -> None:
    for kind in (*LOSSES, *LEFTOVERS, "wrong-size", "wrong-expiry", "unindexed-lease", "unlisted-run"):
        problem = Problem(kind=kind, count=1, bytes=0, repaired=0, examples=["x"])
        report = CheckReport(looked_at=1, problems=[problem])
        [told] = [found for found in judge(facts(report=report)).findings if found.name == kind]
        repairs = kind == "damaged-content" or kind not in {*LOSSES, "wrong-size"}
        assert ("check --repair" in told.cure) is repairs


def test_every_finding_is_explained() -> None:
    explained = set(re.findall(r"`([a-z-]+)`", (Path(__file__).parents[2] / "docs" / "operations.md").read_text()))
    assert {name for _, _, name, _ in FINDINGS.values()} <= explained


def test_nothing_is_found_where_all_is_well() -> None:
    diagnosis = judge(FACTS)
    assert {finding.level for finding in diagnosis.findings} == {"good"}
    assert [finding.name for finding in diagnosis.findings] == [
        *("version", "eviction", "memory", "persistence", "replication", "latency"),
        *("permissions", "tls", "partitions", "indexes", "leftovers"),
    ]
    assert diagnosis.ok


def test_the_gravest_comes_first() -> None:
    levels = [finding.level for finding in judge(server(maxmemory_policy="allkeys-lru", maxmemory="0")).findings]
    assert levels == sorted(levels, key=["critical", "warning", "note", "good"].index)
    assert levels[0] == "critical"


def test_a_server_on_this_machine_may_do_without_password_and_tls() -> None:
    for name in ("/run/redis.sock", "127.0.0.1:6379", "localhost:6379", "[::1]:6379"):
        given = facts(servers=[replace(SERVER, name=name)], open_to_all=True, encrypted=False)
        assert [(f.level, f.name) for f in judge(given).findings if f.level != "good"] == [("note", "password")]


def test_the_embedded_engine_is_ours_alone() -> None:
    given = replace(server(slave0=None, name="/x.sock"), embedded=True, open_to_all=True, encrypted=False, foreign=True)
    assert {finding.level for finding in judge(given).findings} == {"good"}


def test_what_is_not_told_is_no_finding() -> None:
    given = facts(servers=[replace(SERVER, info={}, config={})], user="", open_to_all=None, encrypted=None)
    assert [f.name for f in judge(given).findings] == ["latency", "permissions", "partitions", "indexes", "leftovers"]


def test_what_makes_no_sense_in_info_is_no_error() -> None:
    judge(server(used_memory="much", mem_fragmentation_ratio="", maxclients="-", valkey_version="x.y", slave0="???"))


def test_a_diagnosis_is_json() -> None:
    diagnosis = judge(FACTS)
    assert Diagnosis.model_validate_json(diagnosis.model_dump_json()) == diagnosis


async def _examine(store: AsyncInMemoryArtifactStore) -> None:
    await aexamine(store)


def test_only_stores_on_servers_can_be_examined() -> None:
    import asyncio

    with InMemoryArtifactStore() as store, pytest.raises(InvalidArtifactError, match="has no server"):
        examine(store)
    with pytest.raises(InvalidArtifactError, match="has no server"):
        asyncio.run(_examine(AsyncInMemoryArtifactStore()))
