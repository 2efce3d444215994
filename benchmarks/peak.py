"""One client process that stores or loads one file, and prints how much memory that took over idle, as JSON.

`python -m benchmarks.peak ENDPOINT floor|coatcheck store PATH`, or `… load KEYS`, on Linux. A process of its own,
because memory that others have freed before would hide what is taken.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .bare import Floor
from .candidates import Batch, Candidate
from .ours import Coatcheck
from .server import Endpoint

CANDIDATES = {"floor": Floor, "coatcheck": Coatcheck}


def main(endpoint: str, name: str, work: str, what: str) -> None:
    candidate: Candidate = CANDIDATES[name](Endpoint(*json.loads(endpoint)))
    small = Batch([b"small"], f"warm-up of {work}")
    candidate.store(small)
    candidate.load(small)
    candidate.forget(small)
    batch = Batch([], run_of(name))
    idle = _idle()
    if work == "store":
        candidate.store_file(Path(what), batch)
    else:
        batch.keys = json.loads(what)
        candidate.load_file(batch, lambda _: None)
    print(json.dumps({"bytes": _memory("VmHWM") - idle, "keys": batch.keys}))


def run_of(name: str) -> str:
    """The run that a candidate stores for."""
    return f"peak-{name}"


def _idle() -> int:
    """Resident bytes now; the high-water mark starts over from here."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _memory("VmRSS")


def _memory(figure: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    [line] = [line for line in lines if line.startswith(f"{figure}:")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
