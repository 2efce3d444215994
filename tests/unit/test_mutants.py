"""The list of mutants fits the source: each can be made, and compiles where it is Python."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.mutants import MUTANTS, SOURCE, Mutant, mutate


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_it_can_be_made(mutant: Mutant) -> None:
    source = (SOURCE / mutant.file).read_text()
    mutated = mutate(mutant, source)

    assert mutated != source
    if mutant.file.endswith(".py"):
        compile(mutated, mutant.file, "exec")


def test_names_are_not_repeated() -> None:
    assert [name for name, count in Counter(mutant.name for mutant in MUTANTS).items() if count > 1] == []
