"""What a diagnosis is made of: what the servers of a store say when they are asked. Nothing is judged here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final, NamedTuple

from ..backends.base import Progress
from ..backends.redis import RedisBackend
from ..backends.redis.finding.labelled import markers
from ..backends.redis.layout.labels import BEHIND, spelled
from ..backends.redis.layout.partitions import COUNTS, Partitions
from ..backends.redis.permissions import COMMANDS, EXTRAS
from ..backends.redis.scripts import calls
from ..backends.redis.scripts.script import Command
from ..backends.redis.session import Session, heard
from ..backends.redis.transport.base import Node
from ..errors import ArtifactError, StoreUnavailableError
from ..model import CheckReport
from ..plan import Plan

FEW: Final = 20_000
"""Artifacts up to which every key is looked at, unless somebody says otherwise."""

POWERS: Final = (
    *("flushall", "flushdb", "keys", "config|set", "shutdown", "acl|setuser", "debug", "replicaof", "script|flush"),
)
"""What no store needs, and can do harm."""

_ROUNDS: Final = 9
_SLOW: Final = 128  # entries of the slow log
_CONFIG: Final = ("appendfsync", "save")
_QUESTIONS: Final = {
    "info": "INFO",
    "config": "CONFIG\nGET\nsave",
    "slowlog": "SLOWLOG\nGET\n1",
    "cluster": "CLUSTER\nINFO",
    "whoami": "ACL\nWHOAMI",
    "users": "ACL\nGETUSER\ndefault",
}


class Slow(NamedTuple):
    """An entry of the slow log: what was run, and for how many seconds."""

    command: str
    seconds: float


@dataclass(frozen=True)
class ServerFacts:
    """One primary.

    Attributes:
        name: As in messages: `host:port`, or the path of a socket.
        info: The fields of `INFO`.
        config: What `CONFIG GET` says of a few parameters.
        cluster: The fields of `CLUSTER INFO`; empty where it is no cluster.
        slow: Its slow log, as far as it reaches.
        round_trip: Seconds for a question and its answer, the median of a few.
        clock_ahead: Seconds by which its clock is ahead of ours.
        untold: What the user may not ask, as commands.
    """

    name: str
    info: Mapping[str, str]
    config: Mapping[str, str]
    cluster: Mapping[str, str]
    slow: Sequence[Slow]
    round_trip: float
    clock_ahead: float
    untold: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """A store and its servers.

    Attributes:
        namespace: The store's.
        is_cluster: Whether it lies on a cluster.
        embedded: Whether the server is the embedded engine.
        encrypted: Whether connections are encrypted; `None`: a caller's own client knows.
        durability: What a write waits for.
        servers: The primaries that answered.
        silent: Those that did not, by name: why.
        user: Who this connection is logged in as; empty where that may not be asked.
        open_to_all: Whether the user `default` needs no password; `None` where that may not be asked.
        permitted: Commands of a store, and of `POWERS`, by whether this user may send them.
        foreign: Whether this user reaches keys of other namespaces.
        unread: What kept what lies there from being read; empty: nothing did.
        artifacts: How many lie in each partition, by the name of the server that has it; empty: that could not be read.
        others: How many lie in partitions of another number.
        wished: What this store wants to be indexed by label, as `coatcheck reindex` takes it.
        indexed: What each partition that holds artifacts indexes, and whether that is complete.
        report: What `check` found; `None` where it was not asked.
    """

    namespace: str
    is_cluster: bool
    embedded: bool
    encrypted: bool | None
    durability: str
    servers: Sequence[ServerFacts]
    silent: Mapping[str, str]
    user: str
    open_to_all: bool | None
    permitted: Mapping[str, bool]
    foreign: bool
    unread: str
    artifacts: Mapping[str, Sequence[int]]
    others: Mapping[int, int]
    wished: Sequence[str]
    indexed: Sequence[Mapping[str, bool]]
    report: CheckReport | None


def gather(backend: RedisBackend, encrypted: bool | None, thorough: bool | None, progress: Progress) -> Plan[Facts]:
    """Ask all primaries of a store what concerns it.

    Args:
        backend: The store's.
        encrypted: See `Facts`.
        thorough: Whether every key is looked at; `None`: unless there are many.
        progress: See `Backend.check`.
    """
    facts = yield from heard(_quick(backend, encrypted))
    few = sum(map(sum, facts.artifacts.values())) <= FEW
    able = facts.artifacts and all(facts.permitted[name] for name in COMMANDS["operator"])
    if not able or not (few if thorough is None else thorough):
        return facts
    try:
        report = yield from backend.check(read_data=False, repair=False, grace_ms=3_600_000, progress=progress)
    except ArtifactError as error:  # a replica, or a server that cannot write, refuses what may repair
        return replace(facts, unread=str(error))
    return replace(facts, report=report)


def _quick(backend: RedisBackend, encrypted: bool | None) -> Plan[Facts]:
    """Everything that needs no look at every key."""
    session = backend.session
    nodes = yield from session.primaries()
    servers, silent = yield from _servers(session, nodes)
    first = next(node for node in nodes if node.name not in silent)
    user, open_to_all, permitted, foreign = yield from _permissions(session, first)
    facts = Facts(
        namespace=backend.namespace,
        is_cluster=session.transport.is_cluster,
        embedded=session.transport.engine is not None,
        encrypted=encrypted,
        durability=session.durability,
        servers=servers,
        silent=silent,
        user=user,
        open_to_all=open_to_all,
        permitted=permitted,
        foreign=foreign,
        unread="",
        artifacts={},
        others={},
        wished=[spelled(field) for field in backend.fields],
        indexed=[],
        report=None,
    )
    if silent or not all(permitted[name] for name in COMMANDS["reader"]):
        return facts
    try:
        artifacts, others = yield from _artifacts(session)
        indexed = yield from _indexed(session)
    except ArtifactError as error:
        return replace(facts, unread=str(error))
    return replace(facts, artifacts=artifacts, others=others, indexed=indexed)


def _ask(session: Session, node: Node, *words: str) -> Plan[Any]:
    return session.ask_node(node, Command(0, tuple(word.encode() for word in words), lambda reply: reply))


def _may(session: Session, node: Node, commands: Sequence[str]) -> Plan[list[bool]]:
    return session.ask_node(node, calls.permitted([command.encode() for command in commands]))


def _servers(session: Session, nodes: Sequence[Node]) -> Plan[tuple[list[ServerFacts], dict[str, str]]]:
    """What servers say, and why others say nothing; where none does, that is an error."""
    servers: list[ServerFacts] = []
    silent: dict[str, str] = {}
    for node in nodes:
        try:
            server = yield from _server(session, node)
        except StoreUnavailableError as error:
            silent[node.name] = str(error)
            if len(silent) == len(nodes):
                raise
        else:
            servers.append(server)
    return servers, silent


def _server(session: Session, node: Node) -> Plan[ServerFacts]:
    answers = yield from _may(session, node, list(_QUESTIONS.values()))
    may = dict(zip(_QUESTIONS, answers, strict=True))
    info: dict[str, str] = {}
    config: dict[str, str] = {}
    cluster: dict[str, str] = {}
    slow: list[Slow] = []
    if may["info"]:
        info = _fields((yield from _ask(session, node, "INFO")))
    if may["config"]:
        words = list(map(_text, (yield from _ask(session, node, "CONFIG", "GET", *_CONFIG))))
        config = dict(zip(words[::2], words[1::2], strict=True))
    if may["slowlog"]:
        entries = yield from _ask(session, node, "SLOWLOG", "GET", str(_SLOW))
        slow = [Slow(" ".join(map(_text, entry[3][:2])), int(entry[2]) / 1e6) for entry in entries]
    if may["cluster"] and session.transport.is_cluster:
        cluster = _fields((yield from _ask(session, node, "CLUSTER", "INFO")))
    round_trip, clock_ahead = yield from _time(session, node)
    untold = [
        _QUESTIONS[name].replace("\n", " ")
        for name, allowed in may.items()
        if not allowed and (name != "cluster" or session.transport.is_cluster)
    ]
    return ServerFacts(node.name, info, config, cluster, slow, round_trip, clock_ahead, untold)


def _time(session: Session, node: Node) -> Plan[tuple[float, float]]:
    """How long an answer takes, and how far the server's clock is ahead."""
    samples = []
    for _ in range(_ROUNDS):
        began, start = time.time(), time.perf_counter()
        seconds, microseconds = yield from _ask(session, node, "TIME")
        took = time.perf_counter() - start
        samples.append((took, int(seconds) + int(microseconds) / 1e6 - began - took / 2))
    return median(took for took, _ in samples), min(samples)[1]


def _permissions(session: Session, node: Node) -> Plan[tuple[str, bool | None, dict[str, bool], bool]]:
    own = session.partitions.all[0].runs.decode()
    names = [*dict.fromkeys([*COMMANDS["operator"], *(name for extra in EXTRAS.values() for name in extra)])]
    asked = [sample(name, own) for name in (*names, *POWERS)]
    *answers, foreign = yield from _may(session, node, [*asked, f"GET\nnot-{own}"])
    permitted = dict(zip((*names, *POWERS), answers, strict=True))
    users = [_QUESTIONS["whoami"], _QUESTIONS["users"]]
    may_ask_name, may_ask_users = yield from _may(session, node, users)
    user = _text((yield from _ask(session, node, "ACL", "WHOAMI"))) if may_ask_name else ""
    open_to_all = None
    if may_ask_users:
        fields = yield from _ask(session, node, "ACL", "GETUSER", "default")
        flags = [_text(flag) for flag in dict(zip(map(_text, fields[::2]), fields[1::2], strict=True))["flags"]]
        open_to_all = "nopass" in flags and "on" in flags
    return user, open_to_all, permitted, foreign


def sample(name: str, key: str) -> str:
    """A command as it would be sent, with a key of ours where it takes keys."""
    words = name.upper().split("|")
    if name in ("eval", "evalsha"):
        return "\n".join([*words, "x", "1", key])
    if name == "rename":
        return "\n".join([*words, key, key])
    if name in ("scan", "time", "info", "ping", "wait", "waitaof", "select", "asking", "cluster|slots", *POWERS):
        return "\n".join([*words, *_ARGUMENTS.get(name, ())])
    return "\n".join([*words, key, *_ARGUMENTS.get(name, ())])


_ARGUMENTS: Final[dict[str, tuple[str, ...]]] = {
    "scan": ("0",),
    "wait": ("1", "1"),
    "waitaof": ("1", "0", "1"),
    "select": ("1",),
    "keys": ("*",),
    "config|set": ("maxmemory", "0"),
    "acl|setuser": ("x",),
    "debug": ("JMAP",),
    "replicaof": ("no", "one"),
}


def _artifacts(session: Session) -> Plan[tuple[dict[str, list[int]], dict[int, int]]]:
    """How many artifacts lie in each partition, and in partitions of another number."""
    transport, own = session.transport, session.partitions
    counts = yield from _counted(session, own)
    artifacts: dict[str, list[int]] = {}
    for keys, count in zip(own.all, counts, strict=True):
        artifacts.setdefault(transport.node(keys.slot).name, []).append(count)
    others = {}
    for number in COUNTS:
        if number != own.count and not (transport.is_cluster and number == 1):
            others[number] = sum((yield from _counted(session, Partitions(own.prefix.decode()[:-1], number))))
    return artifacts, others


def _counted(session: Session, partitions: Partitions) -> Plan[list[int]]:
    return session.prepare(
        [Command(keys.slot, (b"ZCOUNT", keys.created, b"-inf", b"(" + BEHIND), int) for keys in partitions.all]
    )


def _indexed(session: Session) -> Plan[list[dict[str, bool]]]:
    counts = yield from _counted(session, session.partitions)
    marked = yield from markers(session)
    return [
        {spelled(marker.field): marker.built for marker in marked[keys]}
        for keys, count in zip(session.partitions.all, counts, strict=True)
        if count
    ]


def _fields(text: bytes) -> dict[str, str]:
    lines = _text(text).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
