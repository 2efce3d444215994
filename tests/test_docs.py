"""What guides show is true: their snippets run, one after the other, and are what the comment beside them says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def value_said(line: str) -> list:
    """The value that a comment says, if it is one."""
    try:
        return [ast.literal_eval(line.rpartition("  # ")[2])] if "  # " in line else []
    except (SyntaxError, ValueError):
        return []


def run_snippets(guide: Path) -> None:
    """Run the Python snippets of a guide, one after the other, and compare values with the comments beside them."""
    text = guide.read_text()
    names: dict = {"__name__": "guide"}
    compared = 0
    for snippet in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        lines = "\n" * text[: snippet.start(1)].count("\n") + snippet[1]  # so that errors name the line of the guide
        for statement in ast.parse(lines).body:
            said = value_said(lines.splitlines()[statement.end_lineno - 1])
            if isinstance(statement, ast.Expr) and said:
                assert [eval(ast.unparse(statement), names)] == said, f"line {statement.lineno}"
                compared += 1
            else:
                exec(compile(ast.Module([statement], []), guide.name, "exec", dont_inherit=True), names)
    assert compared


@pytest.mark.parametrize("guide", ["offloading.md"])
def test_the_snippets_of_a_guide(guide: str) -> None:
    run_snippets(DOCS / guide)
