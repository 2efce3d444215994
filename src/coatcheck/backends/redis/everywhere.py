"""One question about a run to all partitions.

Most of them know nothing of most runs. So it is packed once, into one buffer for each node, and of replies that are
empty nothing is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from .layout.keys import Keys, quoted
from .scripts.script import ANY_ID, Command, same
from .transport.base import Node, NotSentError, Part, Pipelines, Result, Transport
from .transport.resp import pack

_KEY: Final = re.compile(rb"\$(\d+)\r\n([^\r]*)" + re.escape(ANY_ID))


class Route(NamedTuple):
    """What goes to one node: the commands as a format, and the numbers of their partitions."""

    node: Node
    form: bytes
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
        run = quoted(run_id)
        words: dict[bytes, Any] = _Lengths(len(run))
        words[b"run"] = run
        return Pipelines(
            transport, [Part(route.node, [route.form % words], len(route.numbers)) for route in routes]
        ), routes

    def _routed(self, nodes: Sequence[Node]) -> list[Route]:
        numbers: dict[Node, list[int]] = {}
        for i, node in enumerate(nodes):
            numbers.setdefault(node, []).append(i)
        routes = [
            Route(node, b"".join(self._form(self._partitions[i]) for i in some), some) for node, some in numbers.items()
        ]
        return sorted(routes, key=lambda route: route.node.name)  # see `_Delivery._routes`

    def _form(self, keys: Keys) -> bytes:
        packed = b"".join(pack(self._command(keys, ANY_ID))).replace(b"%", b"%%")
        return _KEY.sub(lambda key: b"$%%(%d)d\r\n%b%%(run)b" % (int(key[1]) - len(ANY_ID), key[2]), packed)

    def _command(self, keys: Keys, run: bytes) -> tuple[bytes, ...]:
        return (self._words[0], keys.run_of(run), *self._words[1:])


class _Lengths(dict[bytes, Any]):
    """How long a key is with the name of a run, by how long it is without."""

    def __init__(self, more: int) -> None:
        self._more = more

    def __missing__(self, length: bytes) -> int:
        found = self[length] = int(length) + self._more
        return found


def found_in(routes: Sequence[Route], results: Sequence[Result]) -> list[tuple[int, Any]] | None:
    """The numbers of partitions that know something, with what they say; `None`: not all answered."""
    found: list[tuple[int, Any]] = []
    for route, result in zip(routes, results, strict=True):
        if type(result) is not list:
            return None
        found += [one for one in zip(route.numbers, result, strict=True) if one[1]]
    return None if any(isinstance(reply, Exception) for _, reply in found) else found
