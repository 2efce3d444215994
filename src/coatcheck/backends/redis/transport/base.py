"""What a transport is: pipelines out, replies back, to one server or to many. No policy here (see retry.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ....embedded import EmbeddedEngine
from ....plan import Step
from .replies import Large
from .resp import Piece

MakeLarge = Callable[[int], Large]
"""Of the size of a large value in bytes, what takes it in."""


class NotSentError(Exception):
    """No connection: the commands were surely not executed."""


class RefusedError(NotSentError):
    """The server refused the connection for a reason that waiting does not cure (password, certificate, database)."""


class UncoveredError(NotSentError):
    """No node of the cluster is known to serve the slot."""


class BrokenError(Exception):
    """The connection broke after sending began: what was executed is unknown."""


class UnexpectedError(BrokenError):
    """What came is not what a Redis server replies: others will not be better."""


Result = list[Any] | NotSentError | BrokenError
"""What came back from one node: replies (errors among them in place), or what kept them away."""


class Sendable(Protocol):
    """One unit: commands for one slot that are sent, and sent again, together and in order."""

    @property
    def slot(self) -> int:
        """Hash slot of its keys; ignored where the transport is no cluster."""

    @property
    def replies(self) -> int:
        """How many replies its commands have."""

    @property
    def large(self) -> MakeLarge | None:
        """What takes in a large reply, where it is sent by itself on our own connection; `None`: it comes as bytes."""

    @property
    def slow(self) -> bool:
        """Whether packing it takes so long that others should be on their way meanwhile."""

    @property
    def inert(self) -> bool:
        """Whether it changes nothing, even where it goes along with what does."""

    def packed(self, *, by_hash: bool = True) -> list[Piece]:
        """The commands as the server reads them; scripts with their source unless `by_hash`."""


@runtime_checkable
class Severable(Sendable, Protocol):
    """One whose commands only read, and may be sent to different nodes while its slot is being moved."""

    def singly(self) -> Sequence[Sendable]:
        """Its commands one by one."""


class Node(Protocol):
    """One server, as it is reached from here.

    Attributes:
        name: `host:port` or the path of its socket, for messages.
        trust: Where the certificates lie that it accepts, for messages; empty: the system's.
        incarnation: Differs as soon as another process may answer than before.
        spare: Whether a caller may hold several of its wires: not where somebody else's pool counts them.
    """

    name: str
    trust: str
    incarnation: object
    spare: bool

    def take(self, within: float | None = None) -> Any:
        """A wire, see `wire.py`, in so many seconds; awaited by asyncio transports."""

    def give_back(self, wire: Any, *, clean: bool) -> Any:
        """Keep it for the next taker, or close it if it is not `clean`: all replies read.

        Awaited by asyncio transports if it returns something.
        """

    def forget_idle(self) -> None:
        """Close what is idle: a connection broke, so the others most likely did."""

    def close(self) -> Any:
        """Close what is idle, and everything that is given back from now on."""


class Part(NamedTuple):
    """Packed commands for one node, and how many replies they have.

    The buffers are a list, or an iterator where making them takes time: they go out one by one as they are made.
    `large`: makes what takes in a large reply, see `Replies.expect`.
    `within`: seconds after which nobody waits any more, where that is less than an exchange may take.
    """

    node: Node
    buffers: Iterable[Piece]
    replies: int
    large: MakeLarge | None = None
    within: float | None = None


class Pending(Protocol):
    """Pipelines that are under way."""

    def results(self) -> Any:
        """Wait for them; one result a part. Awaited where the transport is."""

    def close(self) -> None:
        """Nobody waits for them any more."""


class Transport(Protocol):
    """A way to one server or to the nodes of a cluster, blocking or awaited.

    Attributes:
        engine: The embedded engine behind it, if it is one.
        is_cluster: Whether slots lie on different nodes.
        follows: Whether `refresh` may lead to other servers than before.
    """

    engine: EmbeddedEngine | None
    is_cluster: bool
    follows: bool

    def node(self, slot: int) -> Node:
        """Where commands for a slot go, as far as known now.

        Raises:
            NotSentError: Nothing is known yet, or nobody serves the slot.
        """

    def at(self, host: str, port: int) -> Node:
        """The node with this address, known or not."""

    def move(self, slot: int, node: Node) -> None:
        """Remember that a slot is served by another node."""

    def primaries(self) -> Sequence[Node]:
        """Every node that serves slots, as far as known now.

        Raises:
            NotSentError: Nothing is known yet.
        """

    def incarnation(self, slot: int) -> object:
        """Differs whenever another process may answer for the slot than before; `None`: nothing is known."""

    def send(self, parts: Sequence[Part]) -> Any:
        """Send to all nodes, then read all replies; one result a part, see `Pipelines`."""

    def begin(self, parts: Sequence[Part]) -> Pending:
        """Send to all nodes."""

    def refresh(self) -> Any:
        """Find out which servers to speak to; calls at the same time share one answer.

        Raises:
            NotSentError: Nobody could tell.
        """

    def close(self) -> Any:
        """Close the connections that this transport made."""


class Pipelines(Step):
    """Packed commands for one or several nodes: all are sent, then all replies are read.

    There is one result a part; what happens to one node is never raised.
    """

    __slots__ = ("parts", "transport")

    def __init__(self, transport: Transport, parts: Sequence[Part]) -> None:
        self.transport = transport
        self.parts = parts

    def run(self) -> list[Result]:
        results: list[Result] = self.transport.send(self.parts)
        return results

    def arun(self) -> Any:  # the transport's own coroutine: one around it would cost each call something
        return self.transport.send(self.parts)


class Begin(Step):
    """Send pipelines, and let them be under way: what they return is `Pending`."""

    __slots__ = ("_pipelines",)

    def __init__(self, pipelines: Pipelines) -> None:
        self._pipelines = pipelines

    def run(self) -> Pending:
        return self._pipelines.transport.begin(self._pipelines.parts)

    async def arun(self) -> Pending:
        return self.run()


class Finish(Step):
    """Wait for pipelines that are under way; returns what `Pipelines` does."""

    __slots__ = ("_pending",)

    def __init__(self, pending: Pending) -> None:
        self._pending = pending

    def run(self) -> list[Result]:
        results: list[Result] = self._pending.results()
        return results

    async def arun(self) -> list[Result]:
        results: list[Result] = await self._pending.results()
        return results


class Refresh(Step):
    """Ask again which servers to speak to; see `Transport.refresh`."""

    __slots__ = ("transport",)

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def run(self) -> None:
        self.transport.refresh()

    async def arun(self) -> None:
        await self.transport.refresh()


class Close(Step):
    """Close a transport."""

    __slots__ = ("transport",)

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def run(self) -> None:
        self.transport.close()

    async def arun(self) -> None:
        await self.transport.close()
