"""Rounds of everything random, each with a new seed, until something fails or a limit is reached: `make soak`.

    python -m tests.soak --rounds 100          # a hundred times as much as `make test`
    python -m tests.soak --minutes 30
    python -m tests.soak --rounds 1 --seed 17  # the round that failed, again

The variables of tests/sizes.py say how large a round is.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import subprocess
import sys
import time

from tests.sizes import SOAK

TESTS = (
    *("tests/machine", "tests/redis/test_kills.py", "tests/redis/test_hostile.py", "tests/unit/test_fuzz.py"),
    *("tests/redis/test_wrong_types.py", "tests/redis/test_faults.py", "tests/redis/test_interleavings.py"),
    *("tests/redis/test_half_moved.py", "tests/failures", "tests/contract", "tests/fuzz"),
    "tests/redis/test_indexes.py",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no round after that long")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of the first round; then counts up")
    options, passed_on = parser.parse_known_args()
    began = time.monotonic()
    for number in range(options.rounds):
        minutes = (time.monotonic() - began) / 60
        if minutes >= options.minutes:
            print(f"{number} rounds in {minutes:.0f} minutes", flush=True)
            return 0
        seed = options.seed + number
        print(f"round {number + 1}, seed {seed}", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-s", "-x", f"--hypothesis-seed={seed}", *TESTS, *passed_on]
        environment = {"COATCHECK_SEED": str(seed), **SOAK, **os.environ, "PYTHONUNBUFFERED": "1"}
        if subprocess.run(command, env=environment, check=False).returncode != 0:
            sizes = " ".join(f"{name}={value}" for name, value in environment.items() if name.startswith("COATCHECK_"))
            print(f"failed; again: {sizes} python -m tests.soak --rounds 1 --seed {seed} {shlex.join(passed_on)}")
            return 1
    print(f"{options.rounds} rounds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
