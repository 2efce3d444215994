"""What a test leaves behind: connections, file descriptors, threads, child processes, temporary files, users, keys.

The end of a test is compared with the end of the one before it. What ends by itself is waited for; what is still there
then is a leak. What tests share is made within `lasting()`: it may stay.

Keys have to lie under namespaces that the test `own`s. An artifact stored for ever declares its keys, so a test need
not tidy up; but `check()` has to find nothing wrong, and once all artifacts are deleted no key without a TTL may be
left. Tests that damage a store on purpose say so: `@pytest.mark.leaves_keys("why")`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, NamedTuple

import redis

from coatcheck import ArtifactError, RedisArtifactStore
from coatcheck.testing import Server

Found = dict[str, object]
"""What identifies a thing, and what tells people of it as `str`."""


class Node:
    """One server that is looked at after each test, which has to be cheap.

    Attributes:
        name: What messages call it.
        url: How a store reaches it.
        client: Asks it; has one connection.
        info: What it last said of itself.
    """

    def __init__(self, name: str, server: Server) -> None:
        self.name, self.url = name, f"unix://{server.socket}"
        self.client = redis.Redis(
            unix_socket_path=str(server.socket), socket_timeout=30, protocol=2, single_connection_client=True
        )
        self.client.ping()  # connects, once for all
        self.info: dict[str, str] = {}
        self._counted = ("", "")
        self._connections: Found = {}

    def ask(self, *commands: bytes) -> None:
        """Send commands as people type them; `hear` returns their replies."""
        self._asked = len(commands)
        self.client.connection.send_packed_command([b"".join(command + b"\r\n" for command in commands)])

    def hear(self) -> list[Any]:
        return [self.client.connection.read_response() for _ in range(self._asked)]

    def databases(self) -> list[str]:
        """Those that have keys, as it last said."""
        return [name for name in self.info if name.startswith("db")]

    def held(self, info: bytes, users: list[bytes]) -> Found:
        """Connections and users of it, from what it answered to `_QUESTIONS`."""
        self.info = dict(_FIELDS.findall(info.decode()))
        counted = self.info["total_connections_received"], self.info["connected_clients"]
        if counted != self._counted:  # else nobody has come or gone
            self.ask(b"CLIENT ID", b"CLIENT LIST")
            mine, connections = self.hear()
            self._counted, self._connections = counted, _connections(self.name, mine, connections.decode())
        return self._connections | {
            f"{self.name} {user}": f"user on {self.name}: {user}" for user in map(bytes.decode, users)
        }


_FIELDS = re.compile(r"^(total_connections_received|connected_clients|role|db\d+):(\S+)", re.MULTILINE)
_QUESTIONS = (b"INFO clients stats replication keyspace", b"ACL LIST")


class Watched(NamedTuple):
    """Servers that keep one set of keys."""

    name: str
    nodes: list[Node]
    url: str | None


class Leaks:
    """The checker of one test process.

    Args:
        directory: Where everybody puts temporary files.
        patience: Seconds for what ends by itself, such as a connection that the server has yet to see closed.
    """

    def __init__(self, directory: Path, patience: float = 5.0) -> None:
        self._directory = directory
        self._patience = patience
        self._namespaces: set[str] = set()
        self._watched: list[Watched] = []
        self._lasting = self._held()
        self._before: Found = {}

    @contextlib.contextmanager
    def lasting(self) -> Iterator[None]:
        """What is made within may stay until the session ends."""
        before = self._held()
        yield
        self._lasting |= _new(self._held(), before)

    def watch(self, name: str, *servers: Server, url: str | None = None) -> None:
        """Look at servers that all tests share; call it within `lasting`.

        Args:
            name: What messages call them.
            servers: One, or all nodes of a cluster.
            url: How a store reaches a cluster.
        """
        nodes = [Node(f"{name} {number}" if number else name, server) for number, server in enumerate(servers)]
        self._watched.append(Watched(name, nodes, url))

    def close(self) -> None:
        """Look at no server any more."""
        for watched in self._watched:
            for node in watched.nodes:
                node.client.close()
        self._watched.clear()

    def begin(self) -> None:
        """A test begins."""
        self._namespaces.clear()

    def own(self, namespace: str) -> str:
        """A namespace in which the test may leave artifacts."""
        self._namespaces.add(namespace)
        return namespace

    def end(self, *, damaged: bool = False) -> list[str]:
        """A test has ended; what it left. Afterwards the servers are empty.

        Args:
            damaged: The test said that what it left under its namespaces makes no sense.
        """
        held = self._held()
        keys = [problem for watched in self._watched for problem in self._keys(watched, damaged=damaged)]
        return keys + sorted(map(str, self._settled(held).values()))

    def _settled(self, held: Found) -> Found:
        """What is new and doesn't go away."""
        give_up_at, pause = time.monotonic() + self._patience, 0.001
        while (left := _new(held, self._before | self._lasting)) and time.monotonic() < give_up_at:
            gc.collect()  # what only a cycle keeps open is closed when that goes
            time.sleep(pause)
            pause = min(2 * pause, 0.1)
            held = self._held()
        self._before = held
        return left

    def _held(self) -> Found:
        held: Found = {}
        for thread in threading.enumerate():
            held[f"thread {thread.name} {thread.ident}"] = f"thread {thread.name}"
        held |= _descriptors()
        held |= _children()
        for parent, directories, names in os.walk(self._directory):
            for name in directories + names:
                path = os.path.join(parent, name)
                held[path] = f"temporary file {path}"
        return held | self._servers()

    def _servers(self) -> Found:
        """What all servers hold for somebody; they are asked together."""
        held: Found = {}
        nodes = [node for watched in self._watched for node in watched.nodes]
        for node in nodes:
            node.ask(*_QUESTIONS)
        answers = [node.hear() for node in nodes]
        for node, answer in zip(nodes, answers, strict=True):
            held |= node.held(*answer)
        return held

    # Keys ------------------------------------------------------------------------------------------------------

    def _keys(self, watched: Watched, *, damaged: bool) -> list[str]:
        server = watched.name
        full = [node for node in watched.nodes if node.databases() and node.info["role"] == "master"]
        clients = [node.client for node in full]
        try:
            leaks = [f"keys in {name} of {server}" for node in full for name in node.databases() if name != "db0"]
            owned = tuple(f"{namespace}:".encode() for namespace in self._namespaces)
            keys = [key for client in clients for key in client.scan_iter(count=1000)]
            leaks += [
                f"key outside of the test's namespaces on {server}: {key!r}"
                for key in keys
                if not key.startswith(owned)
            ]
            if clients and not damaged:
                cut = any(b":{64." in key for key in keys)
                for namespace in sorted(self._namespaces):
                    if any(key.startswith(f"{namespace}:".encode()) for key in keys):
                        leaks += self._artifacts(watched.url or full[0].url, namespace, 64 if cut else None)
                leaks += [
                    f"key without TTL and without an artifact on {server}: {key!r}"
                    for client in clients
                    for key in client.scan_iter(count=1000)
                    if key.startswith(owned) and client.pttl(key) == -1
                ]
            return leaks
        finally:
            for client in clients:
                client.flushall()

    def _artifacts(self, url: str, namespace: str, partitions: int | None) -> Iterable[str]:
        """What is wrong with the artifacts of a namespace; deletes them."""
        store = RedisArtifactStore(url, namespace=namespace, partitions=partitions)
        try:
            problems = [f"{problem.kind} in {namespace}: {problem}" for problem in store.check().problems]
            for run in store.list_runs():
                store.delete_by_run(run)
            store.delete_many([view.artifact_id for view in store.iter_artifacts()])
        except ArtifactError as error:
            return [f"{type(error).__name__} in {namespace}: {error}"]
        finally:
            store.close()
        return problems


def _new(held: Found, before: Found) -> Found:
    return {key: text for key, text in held.items() if key not in before}


def _descriptors() -> Found:
    found: Found = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists the directory
            target = os.readlink(f"/proc/self/fd/{number}")
            kept_by_multiprocessing = int(number) == resource_tracker._resource_tracker._fd or "/pym-" in target
            if not kept_by_multiprocessing:
                found[f"descriptor {number} {target}"] = f"file descriptor {number} of {target}"
    return found


def _children() -> Found:
    found: Found = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
            for pid in (task / "children").read_text().split():
                if int(pid) != resource_tracker._resource_tracker._pid:
                    found[f"child {pid}"] = _Child(pid)
    return found


class _Child(NamedTuple):
    pid: str

    def __str__(self) -> str:
        try:
            command = Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            command = ""
        return f"child process {self.pid}: {command or 'ended'}"


def _connections(name: str, mine: int, listed: str) -> Found:
    """Connections of a server but for ours; what servers open to each other comes and goes."""
    connections = [dict(field.split("=", 1) for field in line.split(" ")) for line in listed.splitlines()]
    return {
        f"{name} client {one['id']}": f"connection to {name}, last command {one['cmd']}"
        for one in connections
        if int(one["id"]) != mine and not _of_a_server(one)
    }


def _of_a_server(connection: dict[str, str]) -> bool:
    replicates = set("SM") & set(connection["flags"])
    migrates = connection["cmd"].startswith("restore")
    return bool(replicates) or migrates or connection["name"].startswith("sentinel-")
