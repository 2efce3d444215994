"""A cluster on loopback whose slots and roles tests can move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, Self

from ..waiting import eventually
from .server import Server, free_port

SLOTS: Final = 16_384
_START_SECONDS: Final = 60.0
_ASKED_SECONDS: Final = 5.5
"""A little longer than a node tries to become primary when it was asked to."""
_MIGRATE_MS: Final = 10_000


@dataclass(frozen=True)
class Seen:
    """What one node says of another, or of itself: a line of `CLUSTER NODES`.

    Attributes:
        id: The node's id.
        flags: Such as `master`, `slave`, `handshake`, `fail`.
        primary: The id of its primary; `"-"` for a primary.
        slots: The slots it serves.
    """

    id: str
    flags: frozenset[str]
    primary: str
    slots: frozenset[int]

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line; slots that are being moved (`[93-<-id]`) still belong to whom they belonged."""
        name, _, flags, primary, _, _, _, _, *ranges = line.split()
        slots: set[int] = set()
        for text in ranges:
            if not text.startswith("["):
                first, _, last = text.partition("-")
                slots.update(range(int(first), int(last or first) + 1))
        return cls(name, frozenset(flags.split(",")), primary, frozenset(slots))


class Node(Server):
    """One node of a cluster, alone until it meets others.

    Args:
        binary: The server program.
        options: More of its command line.
        timeout: Seconds after which the others give it up.
        persistent: As of `Server`.
    """

    def __init__(self, binary: Path, *options: str, timeout: float, persistent: bool = False) -> None:
        self.bus_port = free_port()
        super().__init__(
            binary,
            *("--cluster-enabled", "yes", "--cluster-port", str(self.bus_port), "--cluster-announce-ip", "127.0.0.1"),
            *("--cluster-node-timeout", str(round(1000 * timeout)), "--cluster-replica-validity-factor", "0"),
            *("--cluster-allow-replica-migration", "no", "--repl-diskless-sync-delay", "0"),
            *options,
            tcp=True,
            persistent=persistent,
        )
        self.id: str = self.ask("CLUSTER", "MYID")

    def view(self) -> dict[str, Seen]:
        """What this node knows of all nodes, by id."""
        lines = self.ask("CLUSTER", "NODES").splitlines()
        return {seen.id: seen for seen in map(Seen.parse, lines)}

    def itself(self) -> Seen:
        """What this node says of itself."""
        return self.view()[self.id]

    def is_primary(self) -> bool:
        """Whether it takes writes; a new node does, without any slot."""
        return bool(self.ask("ROLE")[0] == "master")

    def meet(self, other: Node) -> None:
        """Become nodes of one cluster."""
        self.ask("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus_port)


class Cluster:
    """A cluster on loopback, dropped with everything it wrote.

    Slots are moved the old way, key by key: it is what most tools do, and what clients see most of. `move_slot` does it
    all; a test that wants to stop halfway calls `begin_move`, `move_keys` and `finish_move`.

    Args:
        binary: The server program.
        options: More of each node's command line.
        primaries: How many nodes share the slots.
        replicas: Of each primary.
        timeout: Seconds after which a node that doesn't answer is given up.
        persistent: As of `Server`.
    """

    def __init__(
        self,
        binary: Path,
        *options: str,
        primaries: int = 3,
        replicas: int = 1,
        timeout: float = 5.0,
        persistent: bool = False,
    ) -> None:
        self._new: Callable[[], Node] = partial(Node, binary, *options, timeout=timeout, persistent=persistent)
        self._moves: dict[int, tuple[Node, Node]] = {}
        self.nodes: list[Node] = []
        with ExitStack() as stack:
            stack.callback(self.stop)
            for _ in range(primaries * (1 + replicas)):
                self._start()
            self._form(self.nodes[:primaries], self.nodes[primaries:])
            stack.pop_all()

    def _start(self) -> Node:
        node = self._new()
        self.nodes.append(node)
        return node

    def _form(self, primaries: Sequence[Node], replicas: Sequence[Node]) -> None:
        for number, node in enumerate(primaries):
            first, end = (SLOTS * n // len(primaries) for n in (number, number + 1))
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        self._meet(self.nodes)
        for number, node in enumerate(replicas):
            node.ask("CLUSTER", "REPLICATE", primaries[number % len(primaries)].id)
        self.wait_ok()

    def _meet(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node is not self.nodes[0]:
                self.nodes[0].meet(node)
        eventually(lambda: all(node.view().keys() == self._ids() for node in self.nodes), _START_SECONDS)

    def _ids(self) -> set[str]:
        return {node.id for node in self.nodes}

    @property
    def url(self) -> str:
        """URL that names all nodes."""
        return f"redis+cluster://{','.join(node.address for node in self.nodes)}"

    # Who is who ------------------------------------------------------------------------------------------------

    def running(self) -> list[Node]:
        """The nodes that were not killed."""
        return [node for node in self.nodes if node.running]

    def primaries(self) -> list[Node]:
        """The nodes that serve slots, by slot."""
        serving = [(min(itself.slots), node) for node in self.running() if (itself := node.itself()).slots]
        return [node for _, node in sorted(serving, key=lambda pair: pair[0])]

    def replicas(self, primary: Node) -> list[Node]:
        """The replicas of a primary."""
        return [node for node in self.running() if node.itself().primary == primary.id]

    def owner(self, slot: int) -> Node:
        """The node that serves a slot."""
        [owner] = [node for node in self.running() if slot in node.itself().slots]
        return owner

    def wait_ok(self, seconds: float = _START_SECONDS) -> None:
        """Wait until all slots are served, all running nodes agree by whom, and every replica follows its primary.

        Raises:
            AssertionError: It took longer than that.
        """
        eventually(self._ok, seconds)

    def _ok(self) -> bool:
        running = self.running()
        views = [node.view() for node in running]
        slots = [{name: seen.slots for name, seen in view.items() if seen.slots} for view in views]
        return (
            all(served == slots[0] for served in slots)
            and sum(map(len, slots[0].values())) == SLOTS
            and all("fail" not in views[0][node.id].flags for node in running)
            and all("cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in running)
            and all((role := node.ask("ROLE"))[0] == "master" or role[3] == "connected" for node in running)
        )

    def failover(self, replica: Node, how: Literal["", "FORCE", "TAKEOVER"] = "") -> None:
        """Promote a replica, and wait until all nodes agree.

        Args:
            replica: The new primary.
            how: `""` asks the old primary to hand over; `FORCE` asks the other primaries only; `TAKEOVER` nobody.
        """

        def promoted() -> bool:
            replica.ask("CLUSTER", "FAILOVER", *filter(None, [how]))
            with suppress(AssertionError):
                eventually(replica.is_primary, _ASKED_SECONDS)
            return replica.is_primary()

        eventually(promoted, _START_SECONDS)  # primaries vote once per shard in twice the timeout: ask again
        self.wait_ok()

    # Nodes come and go -----------------------------------------------------------------------------------------

    def add_node(self) -> Node:
        """A new primary without slots, known to all, and ready to be given some."""
        node = self._start()
        self._meet([node])
        self.wait_ok()
        return node

    def empty(self, node: Node) -> None:
        """Move every slot of a node to the other primaries in turn."""
        others = [other for other in self.primaries() if other is not node]
        for number, slot in enumerate(sorted(node.itself().slots)):
            self.move_slot(slot, others[number % len(others)])

    def remove(self, node: Node) -> None:
        """Stop a node that serves no slot, and let all others forget it."""
        self.nodes.remove(node)
        node.stop()
        for other in self.running():
            other.ask("CLUSTER", "FORGET", node.id)

    # Slots -----------------------------------------------------------------------------------------------------

    def move_slot(self, slot: int, to: Node) -> None:
        """Move a slot and its keys, under the eyes of clients."""
        self.begin_move(slot, to)
        self.move_keys(slot)
        self.finish_move(slot)

    def begin_move(self, slot: int, to: Node) -> None:
        """From now on the old node answers ASK for keys that it lacks, and TRYAGAIN where it has only some."""
        owner = self.owner(slot)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", owner.id)
        owner.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
        self._moves[slot] = owner, to

    def move_keys(self, slot: int, keys: Iterable[str | bytes] | None = None) -> None:
        """Move these keys of a slot that is being moved, or whatever the old node still has."""
        owner, to = self._moves[slot]

        def move(names: Iterable[str | bytes]) -> None:
            client.execute_command("MIGRATE", "127.0.0.1", to.port, "", 0, _MIGRATE_MS, "KEYS", *names)

        with owner.client() as client:
            if keys is not None:
                move(keys)
                return
            while names := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
                move(names)

    def finish_move(self, slot: int) -> None:
        """Tell all primaries who serves the slot now; no key may be left behind."""
        owner, to = self._moves.pop(slot)
        for node in (to, owner, *(node for node in self.primaries() if node not in (to, owner))):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", to.id)

    def stop(self) -> None:
        """Stop all nodes and remove their directories. Idempotent."""
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
