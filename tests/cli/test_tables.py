"""What a terminal is shown fits it, whatever its width; what had no room is said."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from coatcheck import ArtifactStore
from coatcheck.cli.app import COMMANDS, app
from coatcheck.cli.table import Cell, Column, fit
from coatcheck.cli.words import time_cell

from .running import process, shown

WIDTHS = [40, 80, 120, 200]


@pytest.fixture
def filled(store: ArtifactStore, tmp_path: Path) -> ArtifactStore:
    """Long names, wide letters, times near and far."""
    store.store(b"x" * 1_234_567, run_id="run-" + "x" * 60, ttl=600, content_type="text/plain", tags={"k": "v" * 50})
    store.store(
        b"y", run_id="北京" * 30, ttl=90_000, content_type="application/vnd.some-very.long+json", tags={"é": "ü"}
    )
    store.store(b"z", artifact_id="my-own_id-" + "z" * 60)
    store.store(b"", run_id="r")
    (tmp_path / "store" / "artifacts" / "blobs" / "orphan.bin").write_bytes(b"left behind")
    return store


@pytest.mark.parametrize("columns", WIDTHS)
def test_every_line_fits(filled: ArtifactStore, url: str, columns: int) -> None:
    for words in (["ls"], ["runs"], ["stats"], ["gc", "--grace", "0"]):
        lines = [
            line for line in shown("--url", url, *words, columns=columns) if not line.startswith(("error:", "left out"))
        ]
        assert len(lines) > 1
        assert max(map(cell_len, lines)) <= columns, words


@pytest.mark.parametrize("columns", WIDTHS)
def test_every_help_fits(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for words in (["-h"], *([name, "-h"] for name in COMMANDS)):
        lines = CliRunner().invoke(app, words, prog_name="coatcheck").stdout.splitlines()
        assert len(lines) > 5
        assert max(map(cell_len, lines)) <= columns, words


@pytest.mark.parametrize(
    ("columns", "headings"),
    [
        (40, ["ID", "SIZE", "STORED", "EXPIRES"]),
        (80, ["ID", "SIZE", "STORED", "EXPIRES", "RUN", "TYPE", "TAGS"]),
        (200, ["ID", "SIZE", "STORED", "EXPIRES", "RUN", "TYPE", "TAGS"]),
    ],
)
def test_what_has_no_room_is_said(filled: ArtifactStore, url: str, columns: int, headings: list[str]) -> None:
    lines = shown("--url", url, "ls", columns=columns)

    assert lines[0].split() == headings
    left_out = [line for line in lines if line.startswith("left out")]
    assert left_out == (["left out, as the terminal has 40 columns: RUN, TYPE, TAGS"] if columns == 40 else [])
    assert re.search(r"^[0-9a-f]{12} +1\.23 MB +(now|\d+ s ago) +in (9|10) min", lines[4])
    assert any(line.startswith("my-own_id-") for line in lines)
    assert any("never" in line for line in lines)


def test_a_pipe_gets_everything_plain(filled: ArtifactStore, url: str) -> None:
    with process("--url", url, "ls", stdout=-1, env={"COLUMNS": "40", "FORCE_COLOR": "1"}) as listing:
        rows = [line.split("\t") for line in listing.stdout.read().decode().splitlines()]

    assert [len(row) for row in rows] == [7] * 4
    assert [row[1] for row in rows] == ["0", "1", "1", "1234567"]
    assert {len(row[0]) for row in rows} == {32, 70}
    assert all(datetime.fromisoformat(row[2]) for row in rows)
    assert rows[2][4] == "北京" * 30


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"term": "xterm"}, True),
        ({"term": "xterm", "NO_COLOR": "1"}, False),
        ({"term": "xterm", "NO_COLOR": ""}, True),
        ({"term": "dumb"}, False),
        ({"term": "dumb", "FORCE_COLOR": "1"}, True),
        ({"term": "xterm", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_are_where_they_are_wanted(
    filled: ArtifactStore, url: str, environment: dict[str, str], coloured: bool
) -> None:
    lines = shown("--url", url, "ls", columns=120, **environment)

    assert ("\x1b[1mID" in lines[0]) == coloured
    assert any("\x1b[33m" in line and "min" in line for line in lines) == coloured  # what ends soon
    assert ("\x1b[31merror:" in shown("--url", url, "get", "0" * 32, columns=80, **environment)[0]) == coloured


def test_errors_in_a_log_are_coloured_only_if_forced(url: str) -> None:
    for environment, expected in (({}, b"error: "), ({"FORCE_COLOR": "1"}, b"\x1b[31merror:\x1b[0m ")):
        with process("--url", url, "get", "0" * 32, stderr=-1, env=environment) as running:
            assert running.stderr.read().startswith(expected)


def test_an_empty_table_says_so(store: ArtifactStore, url: str) -> None:
    assert shown("--url", url, "ls", columns=80) == ["nothing there"]


def test_times_are_told_as_people_tell_them() -> None:
    now = datetime.now(UTC)
    for away, expected, style in (
        (timedelta(minutes=-3, seconds=-1), "3 min ago", ""),
        (timedelta(days=6, seconds=30), "in 6 d", ""),
        (timedelta(minutes=5, seconds=20), "in 5 min", "yellow"),
    ):
        cell = time_cell((now + away).isoformat())
        assert (cell.shown, cell.style) == (expected, style)
    assert time_cell(None).plain == "never"


def test_columns_are_cut_before_one_is_left_out_and_those_of_the_highest_rank_first() -> None:
    columns = [Column("A"), Column("B", rank=1), Column("C", rank=2, least=8)]
    table = [[Cell("a", "a" * 10), Cell("b", "b" * 10), Cell("c", "c" * 30)]]

    assert fit(columns, table, 54) == [10, 10, 30]
    assert fit(columns, table, 40) == [10, 10, 16]
    assert fit(columns, table, 32) == [10, 10, 8]
    assert fit(columns, table, 31) == [10, 10, 0]
    assert fit(columns, table, 21) == [10, 0, 0]
    assert fit(columns, table, 5) == [10, 0, 0]
