"""Runs with figures, the live view, and what a shell offers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from coatcheck import ArtifactStore
from coatcheck.cli import complete
from coatcheck.trees import store_tree

from .running import Coatcheck, process, shown


@pytest.fixture
def runs(store: ArtifactStore) -> ArtifactStore:
    store.store_many([b"1", b"22", b"333"], run_id="small", ttl=60)
    store.store(b"x" * 5000, run_id="large", ttl=86_400 * 3)
    store.store(b"y", run_id="ever")
    return store


def test_runs_have_counts_sizes_and_times(coatcheck: Coatcheck, runs: ArtifactStore, url: str) -> None:
    figures = coatcheck("runs", "--json").lines

    assert figures == [runs.run(run).stats().model_dump() for run in ("ever", "large", "small")]
    plain = [line.split("\t") for line in coatcheck("runs").stdout.splitlines()]
    assert [row[:3] for row in plain] == [["ever", "1", "1"], ["large", "1", "5000"], ["small", "3", "6"]]
    table = shown("--url", url, "runs", columns=200)
    assert table[0].split() == ["RUN", "ARTIFACTS", "SIZE", "NEWEST", "OLDEST", "NEXT", "END", "LAST", "END"]
    assert table[1].endswith("never     never") or table[1].endswith("never")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["ever", "large", "small"]),
        (["--reverse"], ["small", "large", "ever"]),
        (["--names"], ["ever", "large", "small"]),
        (["--sort", "artifacts", "--limit", "1"], ["small"]),
        (["--sort", "size"], ["large", "small", "ever"]),
        (["--sort", "size", "--reverse", "--names"], ["ever", "small", "large"]),
        (["--sort", "stored"], ["ever", "large", "small"]),
        (["--sort", "expires"], ["ever", "large", "small"]),
        (["s"], ["small"]),
        (["nobody"], []),
        (["--limit", "2"], ["ever", "large"]),
        (["--limit", "0"], ["ever", "large", "small"]),
    ],
)
def test_runs_are_sorted_and_chosen(
    coatcheck: Coatcheck, runs: ArtifactStore, words: list[str], expected: list[str]
) -> None:
    assert [line.split("\t")[0] for line in coatcheck("runs", *words).stdout.splitlines()] == expected


def test_runs_that_had_no_room_are_counted(runs: ArtifactStore, url: str) -> None:
    assert shown("--url", url, "runs", "--limit", "2")[-1] == "2 of 3 runs: --limit 0 lists all"


# top ------------------------------------------------------------------------------------------------------------


def test_top_looks_once_where_there_is_no_terminal(coatcheck: Coatcheck, runs: ArtifactStore) -> None:
    lines = coatcheck("top").stdout.splitlines()

    assert lines[:5] == [
        "artifacts  5, 5 leases, 3 runs",
        "handed in  5.01 kB",
        "different  5.01 kB",
        "as stored  5.01 kB",
        "ending     3 in an hour, 3 in a day",
    ]
    largest = lines[lines.index("") + 1 :]
    assert [line.split() for line in largest[:4]] == [
        ["LARGEST", "RUNS", "SIZE", "ARTIFACTS"],
        ["large", "5.00", "kB", "1"],
        ["small", "6", "B", "3"],
        ["ever", "1", "B", "1"],
    ]
    assert sum(" small " in line for line in lines[lines.index("") :]) == 3  # which end next
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_top_fits_the_terminal_and_tells_the_rate(runs: ArtifactStore, url: str, columns: int) -> None:
    screens = "\n".join(shown("--url", url, "top", "-n", "2", "--every", "0.01", columns=columns, LINES="12"))
    first, second = (screen.splitlines() for screen in screens.split("\x1b[H\x1b[J")[1:])

    assert max(map(len, first)) <= columns
    assert len(first) <= 12
    assert second[1] == "stored     0.0 a second"


def test_one_look_of_top_fits_the_terminal_too(runs: ArtifactStore, url: str) -> None:
    assert max(map(len, shown("--url", url, "top", "-n", "1", columns=40))) <= 40


def test_top_ends_well_when_it_is_interrupted(runs: ArtifactStore, url: str) -> None:
    with process("--url", url, "top", "-n", "1000", "--every", "0.1", stdout=subprocess.PIPE) as running:
        running.stdout.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0


def test_top_tells_the_memory_of_a_server(engine_home: Path, coatcheck: Coatcheck) -> None:
    looked = coatcheck("top", url=f"embedded://{engine_home}").stdout

    assert re.search(r"^memory     [0-9.]+ MB used, no maxmemory, .*\.sock$", looked, re.MULTILINE)


@pytest.mark.parametrize("words", [["--every", "0"], ["--every", "often"], ["-n", "-1"]])
def test_top_at_no_time_is_refused(coatcheck: Coatcheck, words: list[str]) -> None:
    assert coatcheck("top", *words).code == 2


# Completion -----------------------------------------------------------------------------------------------------


def offered(url: str, typed: str, shell: str = "bash") -> list[str]:
    """What the shell would offer for the last word."""
    words = typed.split(" ")
    environment = {
        **os.environ,
        "_COATCHECK_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "COATCHECK_URL": url,
    }
    program = "import sys; sys.argv = ['coatcheck']; from coatcheck.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_a_shell_completes_ids_runs_commands_and_options(runs: ArtifactStore, url: str, tmp_path: Path) -> None:
    [view] = runs.list_by_run("large")

    assert offered(url, f"coatcheck get {view.artifact_id[:5]}") == [view.artifact_id]
    assert sorted(offered("file:///nowhere", f"coatcheck --url {url} ls --run ")) == ["ever", "large", "small"]
    assert offered(url, "coatcheck pru") == ["prune"]
    assert offered(f"{url}-typo", f"coatcheck get {view.artifact_id[:5]}") == []
    assert not (tmp_path / "store-typo").exists()


@pytest.mark.parametrize(("typed", "rest"), [
    ("{name} :", ["docs/", "readme"]),
    ("{name} : r", ["readme"]),
    ("{name} : d", ["docs/a", "docs/b"]),
    ("{name} : docs/b", ["docs/b"]),
    ("{name} : x", []),
    ("{name}:d", ["{name}:docs/a", "{name}:docs/b"]),  # COMP_WORDBREAKS without a colon
])  # fmt: skip
def test_bash_completes_what_a_tree_has_behind_the_colon(
    store: ArtifactStore, url: str, tmp_path: Path, typed: str, rest: list[str]
) -> None:
    for path in ("tree/readme", "tree/docs/a", "tree/docs/b"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    name = store_tree(tmp_path / "tree", store).artifact_id

    assert offered(url, f"coatcheck get {typed.format(name=name)}") == [one.format(name=name) for one in rest]


def test_bash_completes_words_that_it_takes_apart(store: ArtifactStore, url: str) -> None:
    for run in ("job:1:a", "job:1:b", "job:2"):
        store.store(b"x", run_id=run)
    taken_apart = re.sub("([:=@]+)", r" \1 ", url)

    assert offered(url, "coatcheck ls --run job : 1") == ["1:a", "1:b"]
    assert offered(url, "coatcheck ls --run job : 1 :") == ["a", "b"]
    assert offered(url, "coatcheck ls --run = job : 1 :") == ["a", "b"]
    assert offered("file:///nowhere", f"coatcheck --url {taken_apart} ls --run job : 2") == ["2"]


@pytest.mark.parametrize("url", ["unix:///no/such/socket", "nonsense", "redis://localhost:1"])
def test_where_the_store_cannot_be_asked_a_shell_offers_nothing(url: str) -> None:
    ctx = Mock(params={"url": url}, find_root=lambda: Mock(params={"url": None}))

    assert complete.runs(ctx, "") == complete.ids(ctx, "") == []


def test_a_shell_is_offered_nothing_that_it_would_obey(store: ArtifactStore, url: str) -> None:
    store.store(b"x", run_id="\x1b[2J")
    store.store(b"y", run_id="plain")

    assert complete.runs(Mock(params={}, find_root=lambda: Mock(params={"url": url, "namespace": None})), "") == [
        ("plain", "")
    ]
