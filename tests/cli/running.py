"""How tests run the command line: in this process, in one of its own, and on a terminal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

from coatcheck.cli.app import app

ABSENT = "0" * 32
EVIL = "[red]\x1b]0;title\x07\nline\x9b2J\u202e\u200b\u3164\ufe0f\U000e0041"


class Outcome:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, stdout: bytes, stderr: str) -> None:
        self.code = code
        self.raw = stdout
        self.stderr = stderr

    @property
    def stdout(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        [value] = self.lines
        return value

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.raw.splitlines()]


Coatcheck = Callable[..., Outcome]


def process(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
    """Run a command in a process of its own, with warnings as errors and perhaps more in its environment."""
    options["env"] = {**os.environ, **(env or {})}
    return subprocess.Popen([sys.executable, "-W", "error", "-m", "coatcheck", *arguments], **options)


def on_terminal(
    *arguments: str, answer: bytes = b"", term: str = "dumb", columns: int = 200, **environment: str
) -> tuple[int, bytes]:
    """Run a command on a terminal: its exit code and everything shown."""
    mine, its = pty.openpty()
    environment = {**os.environ, "TERM": term, "COLUMNS": str(columns), **environment}
    with process(*arguments, stdin=its, stdout=its, stderr=its, env=environment) as running:
        os.close(its)
        try:
            os.write(mine, answer)
            shown = b""
            with contextlib.suppress(OSError):  # how Linux says that nobody has the terminal open any more
                while select.select([mine], [], [], 60)[0] and (chunk := os.read(mine, 65536)):
                    shown += chunk
        finally:
            os.close(mine)
    return running.returncode, shown


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(*arguments: str, columns: int = 120, term: str = "dumb", **environment: str) -> list[str]:
    """The lines that a terminal is shown, by a command in this process that asks nothing."""
    terminal = _Terminal()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": term, **environment}
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        contextlib.redirect_stdout(terminal),
        contextlib.redirect_stderr(terminal),
        contextlib.suppress(SystemExit),
    ):
        app(list(arguments), prog_name="coatcheck")
    return terminal.getvalue().splitlines()


def ticket_of(line: str) -> str:
    return json.loads(line.split("\t")[0])["$artifact"]
