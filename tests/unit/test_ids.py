"""Which ids have the form of default ids."""

from __future__ import annotations

import pytest
from coatcheck.ids import are_default_ids, is_default_id

FINE = "0123456789abcdef" * 2
OTHERS = [
    *("", "0", FINE[:-1], FINE + "0", FINE.upper(), "g" + FINE[1:], "-" * 32, " " + FINE[1:], FINE[:-2] + "  "),
    *("\u0660" * 32, "\uff11" * 32, FINE[:-1] + "\n"),
]


@pytest.mark.parametrize("other", OTHERS)
def test_several_are_told_as_each_is(other: str) -> None:
    assert not is_default_id(other)
    assert not are_default_ids([FINE, other, FINE])
    assert not are_default_ids([other])


def test_what_is_cut_otherwise_is_no_default_id() -> None:
    assert not are_default_ids([FINE[:-1], FINE + "0"])
    assert not are_default_ids([FINE + FINE])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_default_ids_are_told_together(count: int) -> None:
    assert are_default_ids([FINE] * count)
