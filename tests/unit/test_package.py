"""What the package names, and what it takes to import it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import coatcheck


def test_every_public_name_is_there_for_programs_for_type_checkers_and_for_star() -> None:
    [block] = [node for node in ast.parse(Path(coatcheck.__file__).read_text()).body if isinstance(node, ast.If)][:1]
    checked = {(node.module, name.name) for node in block.body for name in node.names}

    assert {(home, name) for name, home in coatcheck._HOME_OF.items()} == checked
    assert sorted(coatcheck._HOME_OF) == sorted(coatcheck.__all__)
    assert set(coatcheck.__all__) <= set(dir(coatcheck))
    for name in coatcheck.__all__:
        assert getattr(coatcheck, name) is vars(coatcheck)[name]


def test_what_the_package_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        coatcheck.nonsense


@pytest.mark.parametrize(
    ("program", "unneeded"),
    [
        ("import coatcheck", {"redis", "pydantic", "asyncio"}),
        ("from coatcheck import InvalidArtifactError, compute_artifact_id", {"redis", "pydantic", "asyncio"}),
        ("from coatcheck.cli.app import app; app(['--version'], standalone_mode=False)", {"redis", "pydantic", "rich"}),
    ],
)
def test_who_needs_little_imports_little(program: str, unneeded: set[str]) -> None:
    script = f"import sys\ntry:\n    {program}\nexcept SystemExit:\n    pass\nprint(*sys.modules, file=sys.stderr)"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert not unneeded & set(done.stderr.split())
