"""Which server answers for which slot, as far as known now. How that is found out is not known here: discovery.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ....embedded import EmbeddedEngine
from ....plan import Plan
from .base import Node, NotSentError, Transport, UncoveredError

SLOTS: Final = 16384

Address = tuple[str, int]
Owners = Sequence[tuple[range, Address]]
"""Ranges of slots, and the primary of each; where one server serves them all, slot 0 stands for all."""
Find = Callable[[Transport], Plan[Owners]]
"""Asks by a transport who serves what."""


class Topology:
    """One server for all slots: always the same, or the one that was found last.

    Args:
        make: Makes the node of an address.
        node: The server, where it is known from the start.

    Attributes:
        version: Another object after each `adopt`.
    """

    is_cluster = False

    def __init__(self, make: Callable[[str, int], Node], node: Node | None = None) -> None:
        self.version = object()
        self._make = make
        self._nodes: dict[Address, Node] = {}
        self._primary = node

    def node(self, slot: int) -> Node:  # noqa: ARG002  # all the same
        if self._primary is None:
            raise NotSentError("no server is known yet")
        return self._primary

    def at(self, host: str, port: int) -> Node:
        return self._at(host, port)

    def _at(self, host: str, port: int) -> Node:
        try:
            return self._nodes[host, port]
        except KeyError:
            return self._nodes.setdefault((host, port), self._make(host, port))

    def move(self, slot: int, node: Node) -> None:
        """Only a cluster says such things."""

    def primaries(self) -> Sequence[Node]:
        return [self.node(0)]

    def incarnation(self, slot: int) -> object:
        try:
            return self.node(slot).incarnation
        except NotSentError:
            return None

    def nodes(self) -> Sequence[Node]:
        """All nodes of which there may be connections."""
        fixed = [] if self._primary is None or self._primary in self._nodes.values() else [self._primary]
        return [*fixed, *self._nodes.values()]

    def adopt(self, owners: Owners) -> Sequence[Node]:
        """Take what was found out; returns the nodes that serve nothing any more, to be closed."""
        serving = {address: self._at(*address) for address in {address for _, address in owners}}
        self._place(owners, serving)
        self.version = object()
        gone = [address for address in list(self._nodes) if address not in serving]
        return [self._nodes.pop(address) for address in gone]

    def _place(self, owners: Owners, nodes: Mapping[Address, Node]) -> None:
        [(_, address)] = owners
        self._primary = nodes[address]


class ClusterTopology(Topology):
    """Slots that lie on different nodes.

    Args:
        make: Makes the node of an address.
        remap: From the address that a node names to the one where it is reached from here.
    """

    is_cluster = True

    def __init__(
        self, make: Callable[[str, int], Node], remap: Callable[[str, int], Address] = lambda *address: address
    ) -> None:
        super().__init__(make)
        self._remap = remap
        self._owners: list[Node | None] = [None] * SLOTS

    def node(self, slot: int) -> Node:
        owner = self._owners[slot]
        if owner is None:
            raise UncoveredError(f"no node of the cluster serves hash slot {slot}")
        return owner

    def at(self, host: str, port: int) -> Node:
        return self._at(*self._remap(host, port))

    def move(self, slot: int, node: Node) -> None:
        self._owners[slot] = node

    def primaries(self) -> Sequence[Node]:
        serving = [node for node in dict.fromkeys(self._owners) if node is not None]
        if not serving:
            raise UncoveredError("no node of the cluster is known yet")
        return serving

    def _place(self, owners: Owners, nodes: Mapping[Address, Node]) -> None:
        places: list[Node | None] = [None] * SLOTS
        for slots, address in owners:
            places[slots.start : slots.stop] = [nodes[address]] * len(slots)
        self._owners = places


class Routed:
    """What blocking and awaited transports have in common: they go where their topology says.

    Args:
        topology: Which server answers for which slot.
        follows: See `Transport`.
        engine: See `Transport`.
    """

    def __init__(self, topology: Topology, engine: EmbeddedEngine | None, *, follows: bool) -> None:
        self.engine = engine
        self.follows = follows
        self.is_cluster = topology.is_cluster
        self.node = topology.node
        self.at = topology.at
        self.move = topology.move
        self.primaries = topology.primaries
        self.incarnation = topology.incarnation
        self._topology = topology
