"""Deliberate bugs, one patch a file: `make mutants` says which tests catch each.

The first line of a patch names the tests that ought to notice: `# tests: tests/contract -k "valkey-sync"`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "src" / "coatcheck"
_PREFIX = "# tests: "


class Mutant(NamedTuple):
    """One bug: the patch that makes it, and what to tell pytest."""

    path: Path
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path.stem.replace("-", " ")

    def apply(self, directory: Path, *options: str) -> str:
        """Make the bug in the package below this directory; why the patch doesn't apply, or nothing."""
        applied = subprocess.run(
            ["git", "apply", "--recount", "-C1", *options, self.path],
            cwd=directory,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(directory.parent)},  # no repository is asked
            capture_output=True,
            text=True,
            check=False,
        )
        return applied.stderr if applied.returncode else ""


def mutants() -> list[Mutant]:
    """All of them, by name."""
    found = []
    for path in sorted(Path(__file__).parent.glob("*.patch")):
        first, _, _ = path.read_text().partition("\n")
        if not first.startswith(_PREFIX):
            raise SystemExit(f"{path.name}: its first line does not say which tests: {_PREFIX}...")
        found.append(Mutant(path, tuple(shlex.split(first.removeprefix(_PREFIX)))))
    return found
