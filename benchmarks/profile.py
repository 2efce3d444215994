"""Where the time of one small store and one small load goes: `python -m benchmarks.profile`.

The client is sampled (see sampling.py), the server tells what its commands took; the same for redis-py's SET and GET.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bare import Floor
from .candidates import Batch, Candidate
from .ours import Coatcheck
from .page import number, replace_part, table
from .sampling import Place, Sampler, group, per_call, repeat
from .server import NAMES, BenchServer, NoServerError, machine

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
REDIS = "coatcheck.backends.redis"
WIRE = f"{REDIS}.transport.wire"
SIZE = 1024  # bytes of content
KEPT = 1000  # artifacts that are loaded in turn

LAYERS = (  # the first one counts; what ends in a dot is a whole room
    ("send", ("redis.connection:send_packed_command", "redis.connection:_send_packed_command", f"{WIRE}:_send_one")),
    ("wait for the server, receive", ("redis._parsers.hiredis:read_from_socket", f"{WIRE}:receive")),
    ("check arguments, SHA-256", ("coatcheck.arguments", "coatcheck.ids", "benchmarks.bare")),
    ("envelope: checksum, compression, SHA-256 of what was read", ("coatcheck.envelope", "coatcheck.compression")),
    ("pack commands, calls of scripts", (f"{REDIS}.transport.resp", f"{REDIS}.scripts.", "redis.connection:pack")),
    ("keys, records and model", (f"{REDIS}.layout.", "coatcheck.model")),
    ("pipelines and connections of ours", (f"{REDIS}.transport.", f"{REDIS}.session")),
    ("what the operation does", (f"{REDIS}.",)),
    ("plans and drivers", ("coatcheck.",)),
    ("redis-py: client, pool, connection, parser", ("redis.",)),
    ("the benchmark itself", ("elsewhere", "benchmarks.")),
)


@dataclass
class Profile:
    """Microseconds per call: by the clock, CPU of client and server, by place in the client, by command."""

    wall: float
    client: float
    server: float
    places: dict[Place, float]
    commands: dict[str, tuple[float, float]]  # calls for each of ours, microseconds for each of those


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each of four profiles; default: %(default)s")
    parser.add_argument("--engine", choices=NAMES, default="valkey")
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="also print the N dearest functions")
    parser.add_argument("--write", action="store_true", help="also write docs/performance.md")
    arguments = parser.parse_args()
    try:
        server = BenchServer(arguments.engine)
    except NoServerError as error:
        sys.exit(f"benchmarks: {error}")
    with server, closing(Floor(server.unix)) as floor, closing(Coatcheck(server.unix)) as ours:
        parts = [_origin(server)]
        for work in ("store", "load"):
            candidates = {"coatcheck": ours, "redis-py": floor}
            profiles = {name: _profile(server, one, work, arguments.seconds) for name, one in candidates.items()}
            parts += _as_markdown(work, profiles)
            for place, microseconds in list(profiles["coatcheck"].places.items())[: arguments.functions]:
                print(f"{work}  {microseconds:8.2f} us  {place.module}:{place.function}", file=sys.stderr)
    text = "\n\n".join(parts)
    print(text)
    if arguments.write:
        replace_part(PAGE, "profile", text)
    return 0


def _profile(server: BenchServer, candidate: Candidate, work: str, seconds: float) -> Profile:
    kept, noise = Batch([os.urandom(SIZE) for _ in range(KEPT)], "profile"), os.urandom(SIZE)
    candidate.store(kept)

    def store(_: int) -> None:
        candidate.store(Batch([(os.urandom(16) + noise)[:SIZE]], "profile"))

    def load(i: int) -> None:
        candidate.load(Batch([], "profile", [kept.keys[i % KEPT]]))

    call: Callable[[int], None] = {"store": store, "load": load}[work]
    repeat(call, min(0.5, seconds))  # connects, warms up
    server.control.config_resetstat()
    served, computed = server.cpu_seconds(), time.process_time()
    with Sampler("coatcheck", "redis", "benchmarks") as counts:
        calls, spent = repeat(call, seconds)
    computed, served = time.process_time() - computed, server.cpu_seconds() - served
    commands = _commands(server, calls)
    server.clear()
    each = 1e6 / calls
    return Profile(spent * each, computed * each, served * each, per_call(counts, calls, spent), commands)


def _commands(server: BenchServer, calls: int) -> dict[str, tuple[float, float]]:
    """What the server says about its commands, without those that only this program sent."""
    found: dict[str, Any] = server.control.info("commandstats")
    names = {key.removeprefix("cmdstat_"): figures for key, figures in found.items()}
    return {
        name: (figures["calls"] / calls, figures["usec_per_call"])
        for name, figures in sorted(names.items(), key=lambda item: -item[1]["usec"])
        if figures["calls"] >= calls / 2
    }


def _origin(server: BenchServer) -> str:
    about = machine()
    return (
        f"{SIZE:,} bytes, {server.version} on a unix socket, Python {about['python']}, redis-py {about['redis-py']}, "
        f"{about['cores']} cores, load {about['load']} when it began; microseconds per call. "
        "Where coatcheck's client is, 1,000 samples a second; redis-py does a SET or GET and one SHA-256."
    )


def _as_markdown(work: str, profiles: dict[str, Profile]) -> list[str]:
    totals = [
        [title, *(number(getattr(one, figure)) for one in profiles.values())]
        for title, figure in (("wall time", "wall"), ("CPU of the client", "client"), ("CPU of the server", "server"))
    ]
    grouped = [group(one.places, LAYERS) for one in profiles.values()]
    layers = dict.fromkeys(layer for one in grouped for layer in one)
    lines = [[layer, *(number(one[layer]) if layer in one else "" for one in grouped)] for layer in layers]
    commands = [
        [name, number(calls), number(each), number(calls * each)]
        for name, (calls, each) in profiles["coatcheck"].commands.items()
    ]
    return [
        f"### {work.capitalize()}",
        table([["", *profiles], *totals]),
        "Wall time by what the client is doing:",
        table([["layer", *profiles], *lines]),
        "On the server, by its own count (a script's time includes the commands that it calls):",
        table([["command", "calls", "µs each", "µs"], *commands]),
    ]


if __name__ == "__main__":
    sys.exit(main())
