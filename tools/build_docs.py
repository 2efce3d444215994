"""Build the site of the documentation into build/site: `make docs`. Whatever is a warning is an error."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from coatcheck.cli.app import COMMANDS

ROOT = Path(__file__).parents[1]
WARNING = re.compile(r"^(?:WARNING|griffe:|mkdocstrings)|\bWarning:", re.MULTILINE)


def helps() -> str:
    """What `--help` says, of all commands: docs/reference/cli.md includes it."""
    parts = []
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "coatcheck", command, "--help"],
            env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        parts.append(f"### coatcheck {command}\n\n```\n{done.stdout.strip()}\n```\n")
    return "\n".join(parts)


def main() -> None:
    """Build, and lay the sources of the pages beside them, for those who read Markdown: see docs/llms.txt."""
    site, docs = ROOT / "build" / "site", ROOT / "docs"
    shutil.rmtree(site, ignore_errors=True)
    site.parent.mkdir(exist_ok=True)
    (site.parent / "commands.md").write_text(helps())
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    sys.stdout.write(done.stdout)
    if done.returncode or WARNING.search(done.stdout):
        sys.exit("the documentation has errors: see above")
    if foreign := [page for page in site.rglob("*.html") if 'src="http' in page.read_text()]:
        sys.exit(f"{foreign[0]} loads something from elsewhere")
    for page in docs.rglob("*.md"):
        shutil.copyfile(page, site / page.relative_to(docs))


if __name__ == "__main__":
    main()
