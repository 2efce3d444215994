"""Every mutant fits the source as it is: its patch applies, what it makes is Python, its tests are there."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import pytest

from tests.mutants import ROOT, SOURCE, Mutant, mutants

MUTANTS = mutants()


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("mutants")
    shutil.copytree(SOURCE, directory / SOURCE.name, ignore=shutil.ignore_patterns("__pycache__"))
    return directory


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.path.stem for mutant in MUTANTS])
def test_its_patch_applies(mutant: Mutant, package: Path) -> None:
    [changed] = re.findall(r"^\+\+\+ b/(\S+)$", mutant.path.read_text(), re.MULTILINE)
    before = (package / changed).read_text()
    try:
        assert mutant.apply(package) == ""
        after = (package / changed).read_text()
    finally:
        (package / changed).write_text(before)
    assert after != before
    if changed.endswith(".py"):
        ast.parse(after)


@pytest.mark.parametrize("tests", sorted({mutant.tests for mutant in MUTANTS}), ids=" ".join)
def test_its_tests_are_there(tests: tuple[str, ...]) -> None:
    place, *options = tests
    path, _, names = place.partition("::")
    known = "".join(
        source.read_text() for source in [ROOT / path, ROOT / "tests/harnesses.py", *(SOURCE / "testing").rglob("*.py")]
    )
    words = set(re.findall(r"\w+", " ".join(options[1:]))) - {"and", "or", "not"}
    assert options[:1] in ([], ["-k"])
    assert [word for word in {*words, *names.split("::")} if word not in known] == []
