"""What the facts mean for the store as a whole."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Final

from ..backends.redis.permissions import COMMANDS, EXTRAS, Role
from .facts import POWERS, Facts
from .findings import Finding, found
from .servers import product_of

_SYNCHRONISE: Final = "synchronise clocks (chronyc tracking)"
_UNREPAIRED: Final = {
    "lost-content": "store it again, or copy it from a backup",
    "damaged-metadata": "remove that key by hand",
    "wrong-type": "remove that key by hand",
    "wrong-size": "delete the artifact, then store it again",
    "future-version": "upgrade coatcheck here",
    "other-partitions": "open all stores of a namespace with one number of them",
}
"""What cures a problem that `check` finds and no repair can undo."""

_ROLES: Final[dict[Role, str]] = {"operator": "an operator", "worker": "a worker", "reader": "a reader"}


def _reach(facts: Facts) -> Iterator[Finding]:
    for name, why in facts.silent.items():
        cure = "look for its process, its port, and this user on it; docs/operations.md, A server was lost"
        yield found("critical", "unreachable", f"it does not answer: {why}", cure, name)
    if facts.unread and not facts.artifacts:
        yield found("critical", "unreadable", f"what lies there cannot be read: {facts.unread}")


def _versions(facts: Facts) -> Iterator[Finding]:
    versions = {" ".join(product_of(server)) for server in facts.servers} - {" "}
    if len(versions) > 1:
        text = f"servers of different versions: {', '.join(sorted(versions))}"
        yield found("warning", "version", text, "upgrade the older ones")


def _clocks(facts: Facts) -> Iterator[Finding]:
    ahead = [server.clock_ahead for server in facts.servers]
    apart = max(ahead) - min(ahead)
    if apart > 1:
        text = (
            f"the clocks of the servers are {apart:.1f} s apart: lists across them are in no exact order, and after a "
            "failover leases may end earlier or later"
        )
        yield found("warning", "clock", text, _SYNCHRONISE)


def _permissions(facts: Facts) -> Iterator[Finding]:
    who = f"user {facts.user}" if facts.user else "the user of this connection"
    powers = [name for name in POWERS if facts.permitted[name]]
    extras = ["cluster"] if facts.is_cluster else []
    extras += [extra for extra in ("replica", "fsync") if extra in facts.durability]
    if not powers:  # nor take away what it has
        extras += [extra for extra in EXTRAS if extra not in extras and all(map(facts.permitted.get, EXTRAS[extra]))]
    acl = " ".join(["coatcheck --namespace", facts.namespace, "acl", *(f"--extra {extra}" for extra in extras)])
    own = f"{acl} --user {shlex.quote(facts.user)}" if facts.user not in ("", "default") else acl
    missing = {
        role: [name for name in (*COMMANDS[role], *(name for extra in extras for name in EXTRAS[extra]))
               if not facts.permitted[name]]
        for role in _ROLES
    }  # fmt: skip
    role = next((role for role in _ROLES if not missing[role]), None)
    if role == "operator" or role == "worker":  # noqa: PLR1714  # narrows the type
        yield found("good", "permissions", f"{who} may do what {_ROLES[role]} does")
    elif role == "reader" and set(missing["worker"]) >= set(COMMANDS["worker"]) - set(COMMANDS["reader"]):
        yield found("note", "permissions", f"{who} may do what a reader does: it stores nothing", own)
    else:
        text = f"{who} may not do what {'a reader' if role is None else 'a worker'} does; missing: "
        lacks = missing["reader" if role is None else "worker"]
        yield found("critical" if role is None else "warning", "permissions", text + _spelled(lacks), own)
    if (powers or facts.foreign) and not facts.embedded:
        more = [*([f"send {_spelled(powers)}"] if powers else []), *(["read other keys"] if facts.foreign else [])]
        text = f"{who} may also {' and '.join(more)}: right for an administrator, too much for workers"
        yield found("note", "too-many-permissions", text, acl)


def _spelled(names: list[str]) -> str:
    return ", ".join(name.replace("|", " ").upper() for name in names)


def _password(facts: Facts) -> Iterator[Finding]:
    if facts.open_to_all and not facts.embedded:
        text = "the user default needs no password: whoever reaches the server is its administrator"
        cure = (
            "make an administrator (ACL SETUSER admin on '>PASSWORD' '~*' '&*' +@all) and users for workers (coatcheck "
            "acl); once they log in, ACL SETUSER default off; CONFIG REWRITE or ACL SAVE keeps users over a restart"
        )
        yield found("note" if _is_local(facts) else "critical", "password", text, cure)


def _tls(facts: Facts) -> Iterator[Finding]:
    if facts.encrypted:
        yield found("good", "tls", "connections are encrypted")
    elif facts.encrypted is False and not _is_local(facts):
        text = "connections are not encrypted: passwords and contents can be read on their way"
        yield found("warning", "tls", text, "open the store with rediss:// (docs/operations.md, TLS)")


def _is_local(facts: Facts) -> bool:
    hosts = [server.name.rpartition(":")[0].strip("[]") for server in facts.servers if server.name[0] != "/"]
    return all(host in ("localhost", "::1") or host.startswith("127.") for host in hosts)


def _partitions(facts: Facts) -> Iterator[Finding]:
    if not facts.artifacts:
        return
    shares = {name: sum(counts) for name, counts in facts.artifacts.items()}
    number, total = sum(map(len, facts.artifacts.values())), sum(shares.values())
    for other, count in facts.others.items():
        if count:
            text = f"{count:,} artifacts lie in {other} partitions; a store with partitions={number} does not see them"
            yield found("warning", "other-partitions", text, _UNREPAIRED["other-partitions"])
    mean = total / len(shares)
    fullest = max(shares, key=lambda name: shares[name])
    if total >= 1000 and shares[fullest] > 1.5 * mean:
        text = f"{fullest} has {shares[fullest]:,} artifacts, {shares[fullest] / mean:.1f} times the mean"
        yield found("warning", "uneven", text, f"redis-cli --cluster rebalance {fullest}")
    else:
        text = f"about {total:,} artifacts; partitions: {number}, on servers: {len(shares)}"
        yield found("good", "partitions", text)


def _indexes(facts: Facts) -> Iterator[Finding]:
    if not facts.artifacts:
        return
    every = sorted({*facts.wished, *(field for some in facts.indexed for field in some)})
    lacking = sum(not all(some.get(field) for field in every) for some in facts.indexed)
    cure = " ".join(["coatcheck --namespace", facts.namespace, "reindex", *every])
    if lacking:
        number = len(facts.indexed)
        text = f"{lacking} of {number} partitions do not have all indexes by label: lists look at everything there"
        yield found("warning", "indexes", text, cure)
    elif every:
        yield found("good", "indexes", f"indexes by label: {', '.join(every)}")


def _leftovers(facts: Facts) -> Iterator[Finding]:
    if facts.report is None:
        why = f" ({facts.unread})" if facts.artifacts and facts.unread else ""
        text = f"keys were not looked at one by one{why}: whether everything fits together was not seen"
        cure = f"coatcheck --namespace {facts.namespace} doctor --thorough, as an operator"
        if not facts.artifacts or facts.unread:
            cure += ", once what is critical here is cured"
        yield found("note", "leftovers", text, cure)
        return
    for problem in facts.report.problems:
        text = f"{problem.count:,} found, such as {problem.examples[0]}"
        cure = _UNREPAIRED.get(problem.kind, f"coatcheck --namespace {facts.namespace} check --repair")
        if problem.kind.startswith("orphan-"):
            cure += ", an hour after it was last used"
        elif problem.kind == "damaged-content":
            cure += ", then store it again"
        yield found("warning", problem.kind, text, cure)
    if not facts.report.problems:
        yield found("good", "leftovers", f"keys that were looked at: {facts.report.looked_at:,}; all fit together")


CHECKS: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    *(_reach, _versions, _clocks, _permissions, _password, _tls, _partitions, _indexes, _leftovers),
)
