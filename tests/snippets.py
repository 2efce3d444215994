"""The Python of a page of documentation: found, run, and compared with what the comments beside it say."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

_FENCED = re.compile(r'^```python(?: title="(?P<title>[\w.]+)")?\n(?P<source>.*?)^```$', re.MULTILINE | re.DOTALL)


class Snippet(NamedTuple):
    """Python of a page, on the lines that it has there; `title`: the file that it is, if any."""

    title: str | None
    source: str


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text()
    return [
        Snippet(found["title"], "\n" * text[: found.start("source")].count("\n") + found["source"])
        for found in _FENCED.finditer(text)
    ]


def run_snippets(page: Path, names: dict | None = None, place: Path | None = None, **replaced: str) -> None:
    """Run the snippets of a page as one program.

    Args:
        page: The page.
        names: Takes the names that they define.
        place: The directory for those that are files.
        replaced: Texts that stand for others here.
    """
    names = {} if names is None else names
    names["__name__"] = "page"
    for title, source in snippets(page):
        for text, other in replaced.items():
            source = source.replace(text, other)
        if title is None:
            _run(source, names, page.name)
        else:
            (place / title).write_text(source)
            importlib.invalidate_caches()


def _run(source: str, names: dict, page: str) -> None:
    lines = source.splitlines()
    for statement in ast.parse(source).body:
        said = _value_said(lines[statement.end_lineno - 1])
        if said and isinstance(statement, ast.Expr):
            shown = eval(ast.unparse(statement), names)
        else:
            exec(compile(ast.Module([statement], []), page, "exec", dont_inherit=True), names)
            shown = names[statement.targets[0].id] if said and isinstance(statement, ast.Assign) else None
        if said and isinstance(statement, ast.Expr | ast.Assign):
            assert [shown] == said, f"{page}, line {statement.lineno}"


def _value_said(line: str) -> list:
    """The value that a comment says, if it is one."""
    try:
        return [ast.literal_eval(line.rpartition("  # ")[2])] if "  # " in line else []
    except (SyntaxError, ValueError):
        return []
