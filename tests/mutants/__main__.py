"""Run the tests over each mutant: `python -m tests.mutants [-k word] [-n jobs]`.

A mutant that survives is a promise that nobody checks.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import ROOT, SOURCE, Mutant, mutants


def run_tests(tests: tuple[str, ...], directory: Path) -> str | None:
    """The first test that fails over the package in this directory, or `None`."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(directory), "COATCHECK_EXAMPLES": "20"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if run.returncode not in (0, 1) or (run.returncode == 1 and not lines):
        raise SystemExit(f"{' '.join(tests)}: the tests did not run: {run.stdout[-2000:]}{run.stderr[-2000:]}")
    return lines[0].split(" ", 1)[1].split(" - ")[0] if lines else None


def try_mutant(mutant: Mutant) -> tuple[str, str]:
    """What became of a mutant, and the first test that noticed, or why there is none."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        directory = Path(name)
        shutil.copytree(SOURCE, directory / SOURCE.name, ignore=shutil.ignore_patterns("__pycache__"))
        reason = mutant.apply(directory)
        if reason:
            return "does not apply", reason
        caught_by = run_tests(mutant.tests, directory)
        return ("survived", "") if caught_by is None else ("caught", caught_by)


def main() -> int:
    """Exit code 0 where every mutant that was chosen was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("-k", metavar="WORD", default="", help="only mutants with this in their names")
    parser.add_argument("-n", metavar="JOBS", type=int, default=2, help="how many to try at a time")
    wanted = parser.parse_args()
    chosen = [mutant for mutant in mutants() if wanted.k in mutant.name or wanted.k in mutant.path.stem]
    groups = list(dict.fromkeys(mutant.tests for mutant in chosen))
    outcomes = []
    with ThreadPoolExecutor(wanted.n) as pool:
        # A test that fails anyway catches nothing.
        failing = dict(zip(groups, pool.map(lambda tests: run_tests(tests, SOURCE.parent), groups)))
        for tests, failed in failing.items():
            if failed is not None:
                print(f"fails without any mutant: {failed} ({' '.join(tests)})")
        print(f"{sum(failed is None for failed in failing.values())} of {len(groups)} groups of tests pass", flush=True)
        chosen = [mutant for mutant in chosen if failing[mutant.tests] is None]
        for mutant, (outcome, detail) in zip(chosen, pool.map(try_mutant, chosen)):
            outcomes.append(outcome)
            print(
                f"{outcome:<14}  {mutant.name}",
                *([f"{'':<16}{detail.strip()}"] if detail else []),
                sep="\n",
                flush=True,
            )
    caught = outcomes.count("caught")
    print(f"{caught} of {len(chosen)} mutants caught")
    return 0 if caught == len(chosen) and not any(failing.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
