"""`python -m coatcheck`, and what the console script calls."""

from __future__ import annotations

import gc
import sys

_KEPT = 100_000  # objects that a start makes, and keeps: looking for garbage among them takes a tenth of its time


def main() -> None:
    """Run the command line; without its extra, say in one line what to install."""
    gc.set_threshold(_KEPT)
    try:
        from coatcheck.cli.app import run  # noqa: PLC0415  # typer and rich are an extra

        run()
    except KeyboardInterrupt:
        sys.exit(130)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich"):
            raise
        sys.stderr.write(f"error: the command line needs {error.name}: pip install 'coatcheck[cli]'\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
