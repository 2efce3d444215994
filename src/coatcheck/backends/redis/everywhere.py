"""One question about a run to all partitions.

Most of them know nothing of most runs. So it is packed once, into one buffer for each node, and of replies that are
empty nothing is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .layout.keys import Keys, quoted
from .scripts.script import ANY_ID, Command, IdForm, same
from .transport.base import Node, NotSentError, Part, Pipelines, Result, Transport


class Route(NamedTuple):
    """What goes to one node: the commands, and the numbers of their partitions."""

    node: Node
    form: IdForm
    numbers: Sequence[int]


class Everywhere:
    """A plain command about the index of a run in each partition.

    Args:
        partitions: All of them.
        words: The command; behind the first word comes the key.
    """

    def __init__(self, partitions: Sequence[Keys], words: Sequence[bytes]) -> None:
        self._partitions = partitions
        self._words = words
        self._routes: tuple[list[Node], list[Route]] = ([], [])

    def units(self, run_id: str) -> list[Command[Any]]:
        """The same, one by one."""
        return [Command(keys.slot, self._command(keys, quoted(run_id)), same) for keys in self._partitions]

    def first_try(self, transport: Transport, run_id: str) -> tuple[Pipelines, Sequence[Route]] | None:
        """All of it sent once; `None`: nobody knows where to."""
        try:
            nodes = [transport.node(keys.slot) for keys in self._partitions]
        except NotSentError:
            return None
        known, routes = self._routes
        if known != nodes:
            routes = self._routed(nodes)
            self._routes = nodes, routes
        run = (quoted(run_id),)
        parts = [Part(route.node, [route.form.packed(run, by_hash=True)], route.form.replies) for route in routes]
        return Pipelines(transport, parts), routes

    def _routed(self, nodes: Sequence[Node]) -> list[Route]:
        numbers: dict[Node, list[int]] = {}
        for i, node in enumerate(nodes):
            numbers.setdefault(node, []).append(i)
        routes = [
            Route(node, IdForm(*[self._command(self._partitions[i], ANY_ID) for i in some]), some)
            for node, some in numbers.items()
        ]
        return sorted(routes, key=lambda route: route.node.name)  # see `_Delivery._routes`

    def _command(self, keys: Keys, run: bytes) -> tuple[bytes, ...]:
        return (self._words[0], keys.run_of(run), *self._words[1:])


def found_in(routes: Sequence[Route], results: Sequence[Result]) -> list[tuple[int, Any]] | None:
    """The numbers of partitions that know something, with what they say; `None`: not all answered."""
    found: list[tuple[int, Any]] = []
    for route, result in zip(routes, results, strict=True):
        if type(result) is not list:
            return None
        found += [one for one in zip(route.numbers, result, strict=True) if one[1]]
    return None if any(isinstance(reply, Exception) for _, reply in found) else found
