"""`python -m benchmarks`: start a server, measure all rows, print the table. See the package's docstring."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import report
from .awaited import AsyncCandidate, AsyncCoatcheck, AsyncDefaults, AsyncFloor
from .candidates import (
    Batch,
    ByHand,
    Candidate,
    Coatcheck,
    CoatcheckByChecksum,
    Defaults,
    Floor,
    OneConnection,
)
from .peers import open_peers
from .rows import Bench, run_rows
from .server import NoServerError, Server, machine

BACKGROUND = 10_000


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped on the way out
    try:
        server = Server(arguments.engine, tcp=arguments.tcp)
    except NoServerError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    with server:
        _measure(server, arguments)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute; wider spreads")
    parser.add_argument("--engine", choices=("valkey", "redis"), default="valkey")
    parser.add_argument("--tcp", action="store_true", help="TCP loopback instead of a unix socket")
    parser.add_argument("--only", action="append", default=[], metavar="PART", help="rows whose name contains PART")
    parser.add_argument("--no-peers", action="store_true", help="leave other people's stores out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return parser.parse_args()


def _measure(server: Server, arguments: argparse.Namespace) -> None:
    begin = time.monotonic()
    peers, missing = ([], {}) if arguments.no_peers else open_peers(server)
    floor, coatcheck = Floor(server), Coatcheck(server)
    candidates: list[Candidate] = [
        coatcheck,
        CoatcheckByChecksum(server),
        OneConnection(server),
        Defaults(server),
        ByHand(server),
        *peers,
    ]
    awaited: list[AsyncCandidate] = [AsyncFloor(server), AsyncCoatcheck(server), AsyncDefaults(server)]
    awaited += [peer for peer in peers if isinstance(peer, AsyncCandidate)]
    about = {
        "coatcheck": version("coatcheck"),
        "server": server.version,
        "transport": server.transport,
        **machine(),
        "missing_peers": missing,
    }
    print(f"coatcheck {about['coatcheck']} on {server.version}, {server.transport}; ", end="")
    print(f"Python {about['python']}, redis-py {about['redis-py']}")
    for name, why in missing.items():
        print(f"not measured: {name}, {why}")
    print(report.heading())

    rounds, seconds = (7, 0.03) if arguments.quick else (25, 0.1)
    bench = Bench(server, floor, candidates, awaited, rounds, seconds)
    _populate(bench, coatcheck)
    results: list[dict[str, Any]] = []
    for outcome in run_rows(bench, arguments.only):
        print(report.as_text(outcome), flush=True)
        results.append(report.as_json(outcome))
    for candidate in (floor, *candidates, *(one for one in awaited if one not in candidates)):
        candidate.close()
    print(f"\n{time.monotonic() - begin:.0f} s")
    if arguments.json is not None:
        arguments.json.write_text(
            json.dumps({**about, "rows": results}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def _populate(bench: Bench, coatcheck: Coatcheck) -> None:
    """Fill the indexes that all artifacts share: an empty store would flatter us."""
    contents = bench.batch(64, BACKGROUND).contents
    for i in range(0, BACKGROUND, 100):
        coatcheck.store_many(Batch(contents[i : i + 100], f"background-{i}"))


if __name__ == "__main__":
    sys.exit(main())
