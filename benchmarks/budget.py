"""What stores and loads cost the server, by its own count: the figure that does not depend on the client."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from hiredis import Reader

from coatcheck.arguments import check_details
from coatcheck.backends.redis.layout.keys import Keys
from coatcheck.backends.redis.scripts import calls
from coatcheck.envelope import seal
from coatcheck.request import StoreRequest

from .bench import KIB, Bench, measurement
from .page import number
from .results import Row

ROUNDS = 9
COUNT = 500
FIRST = "store, the first of its run,"  # and any that moves the ends of indexes: they move by tenths of a second
GOALS = {"store": "≤ 16 µs", FIRST: "", "load": "≤ 3 µs"}
MANY_GOALS = {"store_many": "≤ 12 µs", "load_many": "≤ 3 µs"}  # of each artifact
OWN = ("cmdstat_info", "cmdstat_config")  # what asking for the figures adds


@measurement("server-time")
def server_time(bench: Bench) -> Iterator[Row]:
    """New artifacts of 1 KiB and their loads, each round in one pipeline, so that nothing else runs between."""
    keys = Keys(b"budget:", 0)
    taken: dict[str, list[float]] = {work: [] for work in GOALS}

    def new_store(run_id: str, *, by_hash: bool = True) -> tuple[bytes, bytes]:
        tags = {"step": "extract", "source": "crawler"}
        request = StoreRequest(os.urandom(KIB), check_details("text/plain", None, run_id=run_id, tags=tags, ttl=3600))
        call = calls.store_small(keys, request, seal(request.content, request.digest), wishes=False)
        return request.artifact_id.encode(), b"".join(call.packed(by_hash=by_hash))

    def spent(commands: Sequence[bytes], *names: str) -> float:
        bench.server.control.config_resetstat()
        _send(connection, commands)
        figures: dict[str, Any] = bench.server.control.info("commandstats")
        return sum(figures[f"cmdstat_{name}"]["usec"] for name in names) / COUNT

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(bench.server.socket))
        _send(connection, [new_store("run", by_hash=False)[1]])  # from now on the server knows the script
        for _ in range(ROUNDS):
            stores = dict(new_store("run") for _ in range(COUNT))
            taken["store"].append(spent(list(stores.values()), "evalsha"))
            taken[FIRST].append(spent([new_store(bench.run_id())[1] for _ in range(COUNT)], "evalsha"))
            loads = [_packed(b"HRANDFIELD", keys.artifact(name), b"9", b"WITHVALUES") for name in stores]
            loads += [_packed(b"GET", keys.content(name)) for name in stores]
            taken["load"].append(spent(loads, "hrandfield", "get"))
    bench.server.clear()
    for work, goal in GOALS.items():
        yield _row(f"server time of one {work} of 1 KiB", taken[work], goal)


@measurement("server-time-many")
def server_time_of_many(bench: Bench) -> Iterator[Row]:
    """The same for each artifact of a batch, as the store sends it."""
    store = bench.ours()
    store.fill(bench.batch(KIB, 2))  # from now on the server knows the script
    taken: dict[str, list[float]] = {"store_many": [], "load_many": []}
    for _ in range(ROUNDS):
        batch = bench.batch(KIB, 2 * COUNT)
        for work, spent in taken.items():
            bench.server.control.config_resetstat()
            list(getattr(store, work)(batch) or ())
            figures: dict[str, Any] = bench.server.control.info("commandstats")
            names = {"cmdstat_evalsha"}.intersection(figures) or set(figures)  # a script's time is that of its commands
            spent.append(sum(figures[n]["usec"] for n in names if not n.startswith(OWN)) / len(batch.contents))
        store.forget(batch)
    bench.server.clear()
    for work, spent in taken.items():
        yield _row(f"server time of each artifact of 1 KiB in {work}", spent, MANY_GOALS[work])


def _row(title: str, spent: Sequence[float], goal: str) -> Row:
    least, middle = min(spent), sorted(spent)[ROUNDS // 2]
    fact = f"{number(middle)} µs, at least {number(least)} µs, by the server's own count"
    return Row(title, goal=goal, fact=fact)


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
