"""Lints every script as a server gets it, with the library that it includes: `python -m tests.lint_lua`, `make check`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from coatcheck.backends.redis.scripts.calls import ALL

OPTIONS = (
    *("--std", "lua51", "--read-globals", "redis", "struct", "bit", "KEYS", "ARGV"),
    *("--ignore", "211", "411/call", "421/call", "431", "--max-line-length", "120", "--no-color", "-q"),
)
"""Not every script needs all of what it includes (211), and names in it may be those of the script (411, 431)."""


def main() -> int:
    luacheck = shutil.which("luacheck")
    if luacheck is None:
        print("luacheck is not installed (apt-get install lua-check): scripts are not linted")
        return 1 if os.environ.get("CI") else 0
    with tempfile.TemporaryDirectory() as directory:
        for script in ALL:
            (Path(directory) / f"{script.name}.lua").write_bytes(script.source)
        return subprocess.run([luacheck, *OPTIONS, "."], cwd=directory).returncode


if __name__ == "__main__":
    sys.exit(main())
