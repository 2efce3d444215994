"""What the facts of one server mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from ..backends.redis.scripts import calls
from .facts import Facts, ServerFacts
from .findings import Finding, Level, found

_OLDEST: Final = {"Valkey": (8, 0), "Redis": (7, 0)}
_MIB: Final = 2**20
_TELLING: Final = 60  # bytes that scripts begin with differ


def product_of(server: ServerFacts) -> tuple[str, str]:
    """Valkey or Redis, and its version; empty where it is not told."""
    for product in _OLDEST:
        version = server.info.get(f"{product.lower()}_version")
        if version is not None:
            return product, version
    return "", ""


def _version(server: ServerFacts, _facts: Facts) -> Iterator[Finding]:
    product, version = product_of(server)
    if not product:
        return
    text, oldest = f"{product} {version}", _OLDEST[product]
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < oldest:
        cure = f"upgrade to {product} {oldest[0]}.{oldest[1]} or later"
        yield found("critical", "version", f"{text} is too old", cure, server.name)
    elif product == "Redis" and numbers < (7, 2):
        yield found("note", "version", f'{text} has no WAITAOF: durability="fsync" needs 7.2', server=server.name)
    else:
        yield found("good", "version", text, server=server.name)


def _eviction(server: ServerFacts, _facts: Facts) -> Iterator[Finding]:
    policy = server.info.get("maxmemory_policy")
    if policy is None:
        return
    if policy == "noeviction":
        yield found("good", "eviction", "maxmemory-policy noeviction", server=server.name)
    else:
        text = f"maxmemory-policy {policy}: a full server removes artifacts, and tickets break"
        yield found("critical", "eviction", text, _set(server, "maxmemory-policy noeviction"), server.name)
    if evicted := _number(server.info, "evicted_keys"):
        text = f"{evicted:,.0f} keys were evicted since the server started: artifacts may be lost"
        cure = f"coatcheck check names what is lost; {_type(server, 'CONFIG RESETSTAT')} forgets the count"
        yield found("critical", "evicted", text, cure, server.name)


def _memory(server: ServerFacts, _facts: Facts) -> Iterator[Finding]:
    if "used_memory" not in server.info:
        return
    used, limit, whole = (_number(server.info, name) for name in ("used_memory", "maxmemory", "total_system_memory"))
    if not limit:
        text = (
            f"there is no maxmemory: {_size(used)} of the machine's {_size(whole)} are used; when those are full, the "
            "system kills the server"
        )
        yield found("warning", "maxmemory", text, _set(server, f"maxmemory {int(whole * 0.6) >> 20}mb"), server.name)
    elif used > 0.8 * limit:
        text = f"{used / limit:.0%} of maxmemory ({_size(limit)}) are used; a full server refuses stores"
        more = _set(server, f"maxmemory {int(used / 0.6) >> 20}mb")
        level: Level = "critical" if used > 0.95 * limit else "warning"
        yield found(level, "memory", text, f"delete what is not needed (coatcheck runs), or {more}", server.name)
    else:
        yield found("good", "memory", f"{_size(used)} of {_size(limit)} are used", server=server.name)


def _fragmentation(server: ServerFacts, _facts: Facts) -> Iterator[Finding]:
    ratio = _number(server.info, "mem_fragmentation_ratio")
    if ratio < 1.5 or _number(server.info, "used_memory") < 64 * _MIB:
        return
    cure = "restart the server when it can be spared"
    if server.info.get("mem_allocator", "").startswith("jemalloc"):
        cure = f"{_set(server, 'activedefrag yes')}; where it was built without that, {cure}"
    else:
        cure += ": it was built without jemalloc and cannot defragment"
    text = f"the server's process takes {ratio:.1f} times the memory of what lies in it"
    yield found("warning", "fragmentation", text, cure, server.name)


def _persistence(server: ServerFacts, _facts: Facts) -> Iterator[Finding]:
    info, config = server.info, server.config
    if "aof_enabled" not in info:
        return
    statuses = ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
    if failing := [name for name in statuses if info.get(name, "ok") != "ok"]:
        text = f"the server cannot write to its disk ({', '.join(failing)})"
        cure = "make room on the disk of the server, and look at its log"
        yield found("critical", "persistence", text, cure, server.name)
    if info["aof_enabled"] != "1":
        if config.get("save") == "":
            text, level = "nothing is written to disk: a restart loses every artifact", "critical"
        else:
            text, level = "only snapshots are written: a restart loses what was stored since the last one", "warning"
        yield found(level, "persistence", text, _set(server, "appendonly yes"), server.name)  # type: ignore[arg-type]
        return
    sync = config.get("appendfsync", "everysec")
    lost = {"always": "nothing", "everysec": "up to two seconds"}.get(sync, "what the system had not written yet")
    text = f"appendonly yes, appendfsync {sync}: a crash of the machine loses {lost}"
    if sync == "no":
        yield found("warning", "persistence", text, _set(server, "appendfsync everysec"), server.name)
    else:
        yield found("good", "persistence", text, server=server.name)


def _replication(server: ServerFacts, facts: Facts) -> Iterator[Finding]:
    info = server.info
    if info.get("role") == "slave":
        primary = f"{info.get('master_host')}:{info.get('master_port')}"
        text, cure = "this is a replica: it refuses stores", f"open the store at its primary, {primary}"
        if info.get("master_link_status") == "down":
            text += f", and does not reach its primary, {primary}"
            cure = f"bring that back, or let this one take its place: {_type(server, 'REPLICAOF NO ONE')}"
        yield found("critical", "replication", text, cure, server.name)
    if info.get("role") != "master" or facts.embedded:
        return
    replicas = [_pairs(value) for name, value in info.items() if name.startswith("slave") and name[5:].isdigit()]
    behind = [one for one in replicas if one.get("state") != "online" or _number(one, "lag") > 10]
    if behind:
        text = "replicas are behind: " + ", ".join(f"{one.get('ip')}:{one.get('port')}" for one in behind)
        cure = (
            "look at the log of the replica; a link that breaks again and again needs a larger "
            "client-output-buffer-limit and repl-backlog-size"
        )
        yield found("warning", "replication", text, cure, server.name)
    elif replicas:
        yield found("good", "replication", f"replicas that are up to date: {len(replicas)}", server=server.name)
    elif "replica" in facts.durability:
        text = f'it has no replica: with durability="{facts.durability}" every store fails'
        cure = "on another server: REPLICAOF <this host> <port>"
        if facts.is_cluster:
            cure = f"{_cli(server)} --cluster add-node <another host>:<port> {server.name} --cluster-slave"
        yield found("critical", "replication", text, cure, server.name)
    else:
        text = "it has no replica: when its disk is lost, so are the artifacts since the last backup"
        yield found("note", "replication", text, server=server.name)


def _connections(server: ServerFacts, _facts: Facts) -> Iterator[Finding]:
    connected, limit = _number(server.info, "connected_clients"), _number(server.info, "maxclients")
    if limit and connected > 0.8 * limit:
        text = f"{connected:,.0f} of {limit:,.0f} connections are open; beyond that workers are refused"
        yield found("warning", "connections", text, _set(server, f"maxclients {int(2 * limit)}"), server.name)


def _latency(server: ServerFacts, _facts: Facts) -> Iterator[Finding]:
    text = f"{server.round_trip * 1000:.1f} ms for a question and its answer"
    if server.round_trip > 0.01:
        cure = (
            "run workers near their server; store_many and load_many ask once for many; if they are near, look for "
            "slow commands (slowlog) and for a busy machine"
        )
        yield found("warning", "latency", f"{text}; a call takes one to three of them", cure, server.name)
    else:
        yield found("good", "latency", text, server=server.name)


def _slow_log(server: ServerFacts, _facts: Facts) -> Iterator[Finding]:
    if server.slow:
        worst = max(server.slow, key=lambda entry: entry.seconds)
        text = (
            f"{len(server.slow)} slow commands are on record, the slowest took {worst.seconds * 1000:.0f} ms: "
            f"{_named(worst.command)}"
        )
        level: Level = "warning" if worst.seconds > 0.1 else "note"
        cure = f"{_type(server, 'SLOWLOG GET 10')}; once it is understood, {_type(server, 'SLOWLOG RESET')}"
        yield found(level, "slowlog", text, cure, server.name)


def _named(command: str) -> str:
    """A command, with the name of the script where it is one of ours."""
    name, _, script = command.partition(" ")
    begins = script.partition("... (")[0].encode()  # as the log cuts it
    for one in calls.ALL:
        if one.digest == begins or (name == "EVAL" and len(begins) > _TELLING and one.source.startswith(begins)):
            return f"{name} of coatcheck's {one.name}.lua"
    return f"{command:.60}"


def _clock(server: ServerFacts, _facts: Facts) -> Iterator[Finding]:
    if abs(server.clock_ahead) > 2:
        text = (
            f"its clock is {server.clock_ahead:+.1f} s from this machine's; deadlines follow the server's, so nothing "
            "breaks, but times look odd"
        )
        yield found("note", "clock", text, "synchronise clocks (chronyc tracking)", server.name)


def _cluster(server: ServerFacts, _facts: Facts) -> Iterator[Finding]:
    state = server.cluster.get("cluster_state", "ok")
    if state != "ok":
        text = f"cluster_state is {state}; {server.cluster.get('cluster_slots_assigned')} of 16384 slots are assigned"
        tool = f"{_cli(server)} --cluster"
        force = "--cluster-fix-with-unreachable-" + ("primaries" if tool.startswith("valkey") else "masters")
        cure = (
            f"{tool} check {server.name} tells which are not; bring their primary back, or promote a replica of it (on "
            f"that: CLUSTER FAILOVER TAKEOVER); if its data are gone: {tool} fix {server.name} {force}"
        )
        yield found("critical", "cluster", text, cure, server.name)


def _untold(server: ServerFacts, _facts: Facts) -> Iterator[Finding]:
    if server.untold:
        text = f"this user may not ask {', '.join(server.untold)}: what these would tell was not looked at"
        yield found("note", "untold", text, "run coatcheck doctor as an administrator of the server", server.name)


CHECKS: Final[tuple[Callable[[ServerFacts, Facts], Iterator[Finding]], ...]] = (
    *(_version, _eviction, _memory, _fragmentation, _persistence, _replication, _connections),
    *(_latency, _slow_log, _clock, _cluster, _untold),
)


def _set(server: ServerFacts, parameter: str) -> str:
    """What to type to change a parameter, for good where the server has a file for that."""
    typed = _type(server, f"CONFIG SET {parameter}")
    if server.info.get("config_file"):
        return f"{typed} && {_type(server, 'CONFIG REWRITE')}"
    return f"{typed}  # and in the options that the server is started with"


def _type(server: ServerFacts, command: str) -> str:
    """What to type to send a command; who needs a password or TLS for it knows how to say so."""
    host, _, port = server.name.rpartition(":")
    where = f"-s {server.name}" if server.name.startswith("/") or not host else f"-h {host.strip('[]')} -p {port}"
    return f"{_cli(server)} {where} {command}"


def _cli(server: ServerFacts) -> str:
    return "valkey-cli" if product_of(server)[0] == "Valkey" else "redis-cli"


def _pairs(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


def _number(fields: Mapping[str, str], name: str) -> float:
    try:
        return float(fields.get(name) or 0)
    except ValueError:
        return 0


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} GiB"
