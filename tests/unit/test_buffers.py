"""Memory that is not cleared first."""

from __future__ import annotations

import sys

import pytest

from coatcheck import buffers


@pytest.mark.parametrize("has_ctypes", [True, False])
def test_what_was_filled_is_had_without_a_copy(monkeypatch, has_ctypes) -> None:
    if not has_ctypes:
        monkeypatch.setitem(sys.modules, "ctypes", None)
    monkeypatch.setattr(buffers, "_make", buffers._find_maker())
    assert (buffers._make is not None) == has_ctypes
    file = buffers.unfilled(100_000)
    with file.getbuffer() as buffer:
        assert len(buffer) == 100_000
        buffer[:] = bytes(range(200)) * 500
    content = file.getvalue()
    assert content == bytes(range(200)) * 500
    assert content is file.getvalue()
