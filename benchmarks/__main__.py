"""`python -m benchmarks`: start servers, measure, print, and write tables and plots. See the package's docstring."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from . import batches, budget, cluster, concurrency, growth, large, plots, rows
from .awaited import AsyncCandidate, AsyncCoatcheck, AsyncDefaults, AsyncFloor
from .bare import ByHand, Defaults, Floor, OneConnection
from .bench import Bench, listed, measure_all
from .candidates import Candidate
from .ours import Coatcheck, CoatcheckByChecksum
from .page import as_markdown, replace_part
from .peers import open_peers
from .processors import awake
from .results import Left, Results
from .server import NAMES, BenchServer, NoServerError, machine
from .summary import summary

PARTS = (rows, large, batches, cluster, budget, concurrency, growth)
BACKGROUND = 10_000  # artifacts in the indexes that all share: an empty store would flatter us

DOCS = Path(__file__).parent.parent / "docs"


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # servers are stopped on the way out
    results = Results(machine())
    kept = None if arguments.keep is None else Results.load(arguments.keep)  # a wrong path is told before minutes pass
    code = 0
    try:
        with BenchServer(arguments.engine) as server, _opened(server, arguments, results.about) as bench:
            _print_about(results.about)
            batches.populate(bench.ours(), bench, BACKGROUND)
            with awake() if arguments.awake else nullcontext():
                measure_all(bench, listed(PARTS, arguments.only), results, _origin(arguments, results.about["load"]))
    except NoServerError as error:
        sys.exit(f"benchmarks: {error}")
    except KeyboardInterrupt:
        print("\ninterrupted; what was measured until here is kept", file=sys.stderr)
        code = 130
    if kept is not None:
        results.keep(kept, list(listed(PARTS)))
    results.save(arguments.out / "results.json")
    whole = results.origins.keys() == listed(PARTS).keys()
    _write(results, arguments.out, write=arguments.write and whole)
    if arguments.write and not whole:
        print("docs/ is left alone: parts are missing, which --keep would take from an earlier run", file=sys.stderr)
    return code or int(any(left.failed for left in results.of(Left)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, epilog=f"PARTS: {', '.join(listed(PARTS))}"
    )
    parser.add_argument("--quick", action="store_true", help="minutes instead of an hour; wider spreads, nothing large")
    parser.add_argument("--engine", choices=NAMES, default="valkey")
    parser.add_argument("--tcp", action="store_true", help="the table over TCP loopback instead of a unix socket")
    parser.add_argument("--awake", action="store_true", help="no processor sleeps: as where many workers share them")
    parser.add_argument("--only", action="append", default=[], metavar="PART", help="what has PART in its name")
    parser.add_argument("--keep", type=Path, metavar="JSON", help="what is not measured now, from an earlier run")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="default: %(default)s")
    parser.add_argument("--write", action="store_true", help="also write docs/performance.md and docs/plots")
    return parser.parse_args()


def _origin(arguments: argparse.Namespace, load: float) -> str:
    processors = ", processors kept awake" if arguments.awake else ""
    return f"{'Quick' if arguments.quick else 'Full'} run{processors}, load {load} when it began"


@contextmanager
def _opened(server: BenchServer, arguments: argparse.Namespace, about: dict[str, Any]) -> Iterator[Bench]:
    endpoint = server.tcp if arguments.tcp else server.unix
    peers, missing = open_peers(endpoint)
    about |= {"server": server.version, "transport": endpoint.transport, "missing": missing}
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
    print(", ".join(f"{name} {value}" for name, value in about.items() if name != "missing"))
    if about["load"] > about["cores"] / 4:
        print("this machine is busy: spreads will be wide, trust the CPU figures more")
    for name, why in about["missing"].items():
        print(f"not measured: {name}, {why}")


def _write(results: Results, out: Path, *, write: bool) -> None:
    """Tables and plots: beside the JSON, and with `write` into the docs."""
    try:
        drawn = plots.draw(results, out)
    except ImportError as error:
        print(f"no plots, so docs/ is left alone: {error}", file=sys.stderr)
        drawn, write = [], False
    (out / "table.md").write_text(as_markdown(results, [path.name for path in drawn]) + "\n", encoding="utf-8")
    print(f"\nwritten to {out}: results.json, table.md{''.join(f', {path.name}' for path in drawn)}")
    if write:
        shown = [f"plots/{path.name}" for path in plots.draw(results, DOCS / "plots")]
        ratios = next((path for path in shown if path.endswith("ratios.png")), None)
        replace_part(DOCS / "performance.md", "summary", summary(results, ratios))
        replace_part(DOCS / "performance.md", "benchmarks", as_markdown(results, [p for p in shown if p != ratios]))
        print(f"written to {DOCS}: performance.md, plots/")


if __name__ == "__main__":
    sys.exit(main())
