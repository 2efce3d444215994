"""What the package names, and what it takes to import it."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import coatcheck
from coatcheck.testing import ArtifactStoreContract, Blocking


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


def test_what_is_for_tests_names_the_extra_it_needs() -> None:
    script = "import sys; sys.modules['pytest'] = None; import coatcheck.testing.faults"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "MissingExtraError: pytest is missing: pip install 'coatcheck[testing]'" in done.stderr


ROOMS = ["", ".doctor", ".keyed", ".moving", ".offloading", ".testing", ".trees", ".ui", ".values"]


@pytest.mark.parametrize("room", ROOMS)
def test_everything_public_says_what_it_does_where_help_is_asked(room: str) -> None:
    package = importlib.import_module(f"coatcheck{room}")
    silent = []
    for name in package.__all__:
        found = getattr(package, name)
        if not inspect.isclass(found) and not inspect.isfunction(found):
            continue
        methods = {}
        if inspect.isclass(found) and not issubclass(found, (ArtifactStoreContract, Blocking)):  # cases; a wrapper
            methods = {
                f"{name}.{own}": method
                for own, method in inspect.getmembers(
                    found, lambda one: inspect.isfunction(one) or isinstance(one, property)
                )
                if own[0] != "_" and getattr(method, "__module__", package.__name__).startswith("coatcheck")
            }
        for where, one in {name: found, **methods}.items():
            said = inspect.getdoc(one) or ""
            if not said or said.startswith("See `"):
                silent.append(where)
    assert silent == []


def test_every_dependency_has_its_reason() -> None:
    """In the table of `docs/decisions.md`."""
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    _, _, reasons = (root / "docs" / "decisions.md").read_text().partition("## Dependencies")
    table, _, _ = reasons.partition("## ")
    wanted = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    names = {re.match(r"[A-Za-z0-9_.-]+", one)[0] for one in wanted}
    named = set(re.findall(r"[a-z0-9][a-z0-9_.-]*[a-z0-9]", table.lower().replace("redis-py", "redis")))
    assert names - named == {"coatcheck"}


def test_every_integration_has_what_the_fixtures_of_all_tests_need() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    listed = (root / "tests/integrations/requirements.txt").read_text().splitlines()
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["embedded"], *extras["testing"], *listed]
    names = {re.match(r"[A-Za-z0-9_.-]*", one)[0] for one in wanted}
    shared = [ast.parse((root / "tests" / name).read_text()) for name in ("conftest.py", "leaks.py")]
    imported = {
        name.partition(".")[0]
        for node in itertools.chain.from_iterable(tree.body for tree in shared)
        if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
    }
    assert imported - names - sys.stdlib_module_names == {"coatcheck"}
