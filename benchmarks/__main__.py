"""`python -m benchmarks`: start servers, measure, print, and write tables and plots. See the package's docstring."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import batches, concurrency, growth, large, plots, report, rows
from .awaited import AsyncCandidate, AsyncCoatcheck, AsyncDefaults, AsyncFloor
from .bare import ByHand, Defaults, Floor, OneConnection
from .bench import Bench, listed, measure_all
from .candidates import Candidate
from .ours import Coatcheck, CoatcheckByChecksum
from .page import as_markdown, replace_part
from .peers import open_peers
from .results import Results
from .server import NoServerError, Server, machine

PARTS = (rows, large, batches, concurrency, growth)
BACKGROUND = 10_000  # artifacts in the indexes that all share: an empty store would flatter us

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "performance.md"


def main() -> int:
    arguments = _arguments()
    if arguments.list:
        print("\n".join(listed(PARTS)))
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that servers are stopped on the way out
    if arguments.render is not None:
        results = Results.load(arguments.render)
        results.sort(listed(PARTS))
        results.save(arguments.out / "results.json")
    else:
        results = Results({"quick": arguments.quick, "coatcheck": version("coatcheck"), **machine()})
        try:
            _measure(results, arguments)
        except NoServerError as error:
            print(f"benchmarks: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("\ninterrupted; what was measured until here is kept", file=sys.stderr)
        finally:
            results.save(arguments.out / "results.json")
        if arguments.keep is not None:
            results.keep(Results.load(arguments.keep), listed(PARTS, arguments.only))
            results.sort(listed(PARTS))
            results.save(arguments.out / "results.json")
    _write(results, arguments)
    if not results.complete:
        return 130
    return int(any(left.failed for left in results.left))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="minutes instead of an hour; wider spreads, nothing large")
    parser.add_argument("--engine", choices=("valkey", "redis"), default="valkey")
    parser.add_argument("--tcp", action="store_true", help="the table over TCP loopback instead of a unix socket")
    parser.add_argument("--only", action="append", default=[], metavar="PART", help="what has PART in its name")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--no-peers", action="store_true", help="leave other people's stores out")
    parser.add_argument(
        "--out", type=Path, default=Path("build/benchmarks"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--write", action="store_true", help="also write docs/performance.md and docs/plots")
    parser.add_argument(
        "--render", type=Path, metavar="JSON", help="measure nothing: tables and plots of an earlier run"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="JSON", help="with --only: take the other parts from an earlier run's JSON"
    )
    return parser.parse_args()


def _measure(results: Results, arguments: argparse.Namespace) -> None:
    begin = time.monotonic()
    with Server(arguments.engine) as server, _opened(server, arguments, results.about) as bench:
        _print_about(results.about)
        print(report.heading())
        batches.populate(bench.ours(), bench, BACKGROUND)
        measure_all(
            bench, listed(PARTS, arguments.only), results, lambda found: print(report.as_text(found), flush=True)
        )
    results.about["seconds"] = round(time.monotonic() - begin)
    results.complete = True
    print(f"\n{results.about['seconds']} s")


@contextmanager
def _opened(server: Server, arguments: argparse.Namespace, about: dict[str, Any]) -> Iterator[Bench]:
    endpoint = server.tcp if arguments.tcp else server.unix
    peers, missing = ([], {}) if arguments.no_peers else open_peers(endpoint)
    about |= {"server": server.version, "transport": endpoint.transport, "missing_peers": missing}
    floor = Floor(endpoint)
    own: list[type[Candidate]] = [Coatcheck, CoatcheckByChecksum, OneConnection, Defaults, ByHand]
    candidates = [*(kind(endpoint) for kind in own), *peers]
    awaited: list[AsyncCandidate] = [AsyncFloor(endpoint), AsyncCoatcheck(endpoint), AsyncDefaults(endpoint)]
    awaited += [peer for peer in peers if isinstance(peer, AsyncCandidate)]
    try:
        yield Bench(server, endpoint, floor, candidates, awaited, arguments.quick, arguments.engine)
    finally:
        for candidate in dict.fromkeys((floor, *candidates, *awaited)):
            candidate.close()


def _print_about(about: dict[str, Any]) -> None:
    print(f"coatcheck {about['coatcheck']} on {about['server']}, {about['transport']}; ", end="")
    print(f"Python {about['python']}, redis-py {about['redis-py']}; {about['cores']} cores, {about['cpu']}")
    if about["load_before"] > about["cores"] / 4:
        print(f"this machine is busy (load {about['load_before']}): spreads will be wide, trust the CPU column more")
    for name, why in about["missing_peers"].items():
        print(f"not measured: {name}, {why}")


def _write(results: Results, arguments: argparse.Namespace) -> None:
    """Tables and plots: beside the JSON, and with `--write` into the docs."""
    try:
        drawn = plots.draw(results, arguments.out)
    except ImportError as error:
        print(f"no plots: {error}", file=sys.stderr)
        drawn = []
    (arguments.out / "table.md").write_text(
        as_markdown(results, [path.name for path in drawn]) + "\n", encoding="utf-8"
    )
    print(f"written to {arguments.out}: results.json, table.md{''.join(f', {path.name}' for path in drawn)}")
    if not arguments.write:
        return
    if not results.complete or not drawn:
        print("docs/ is left alone: the run is incomplete, or there are no plots", file=sys.stderr)
        return
    results.save(DOCS / "plots" / "results.json")
    shown = [f"plots/{path.name}" for path in plots.draw(results, DOCS / "plots")]
    replace_part(PAGE, "benchmarks", as_markdown(results, shown))
    print(f"written to {DOCS}: performance.md, plots/")


if __name__ == "__main__":
    sys.exit(main())
