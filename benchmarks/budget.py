"""What one store and one load cost the server, by its own count: the figure that does not depend on the client."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from hiredis import Reader

from coatcheck.arguments import StoreRequest, check_details
from coatcheck.backends.redis.layout.keys import Keys
from coatcheck.backends.redis.scripts import calls
from coatcheck.envelope import seal

from .bench import KIB, Bench, measurement
from .page import number
from .results import Row

ROUNDS = 9
COUNT = 500
GOALS = {"store": 16, "load": 3}  # us


@measurement("server-time")
def server_time(bench: Bench) -> Iterator[Row]:
    """New artifacts of 1 KiB and their loads, each round in one pipeline, so that nothing else runs between."""
    keys = Keys(b"budget:", 0)
    details = check_details("text/plain", None, run_id="run", tags={"step": "extract", "source": "crawler"}, ttl=3600)
    taken: dict[str, list[float]] = {"store": [], "load": []}

    def new_store(*, by_hash: bool = True) -> tuple[bytes, bytes]:
        request = StoreRequest(os.urandom(KIB), details)
        call = calls.store_small(keys, request, seal(request.content, request.digest))
        return request.artifact_id.encode(), b"".join(call.packed(by_hash=by_hash))

    def spent(commands: Sequence[bytes], *names: str) -> float:
        bench.server.control.config_resetstat()
        _send(connection, commands)
        figures: dict[str, Any] = bench.server.control.info("commandstats")
        return sum(figures[f"cmdstat_{name}"]["usec"] for name in names) / COUNT

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(bench.server.socket))
        _send(connection, [new_store(by_hash=False)[1]])  # from now on the server knows the script
        for _ in range(ROUNDS):
            stores = dict(new_store() for _ in range(COUNT))
            taken["store"].append(spent(list(stores.values()), "evalsha"))
            loads = [_packed(b"HRANDFIELD", keys.artifact(name), b"9", b"WITHVALUES") for name in stores]
            loads += [_packed(b"GET", keys.content(name)) for name in stores]
            taken["load"].append(spent(loads, "hrandfield", "get"))
    bench.server.clear()
    for work, goal in GOALS.items():
        least, middle = min(taken[work]), sorted(taken[work])[ROUNDS // 2]
        fact = f"{number(middle)} µs, at least {number(least)} µs, by the server's own count"
        yield Row(f"server time of one {work} of 1 KiB", goal=f"≤ {goal} µs", fact=fact)


def _packed(*words: bytes) -> bytes:
    return b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)])


def _send(connection: socket.socket, commands: Sequence[bytes]) -> None:
    """One pipeline, by parts that fit into buffers."""
    reader = Reader()
    for start in range(0, len(commands), 25):
        part = commands[start : start + 25]
        connection.sendall(b"".join(part))
        missing = len(part)
        while missing:
            reader.feed(connection.recv(1 << 20))
            while (reply := reader.gets()) is not False:
                if isinstance(reply, Exception):
                    raise reply
                missing -= 1
