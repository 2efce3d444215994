"""Leases that end later or earlier, and what goes by policy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from coatcheck import ArtifactMetadata, ArtifactStore

from .running import Coatcheck, on_terminal, shown


@pytest.mark.parametrize(("ttl", "said"), [("1d12h", "2 leases end in 1d12h\n"), ("never", "2 leases end never\n")])
def test_expire_ends_all_of_a_run_and_nothing_else(
    coatcheck: Coatcheck, store: ArtifactStore, ttl: str, said: str
) -> None:
    before = store.store_many([b"1", b"2"], run_id="r", ttl=60)
    store.store(b"1", run_id="other", ttl=60)

    assert coatcheck("expire", "r", "--in", ttl).stdout == said

    for view in store.list_by_run("r"):
        lasting = (
            None if ttl == "never" else timedelta(hours=35) < view.expires - before[0].created < timedelta(hours=37)
        )
        assert (view.expires is None) if ttl == "never" else lasting
    [other] = store.list_by_run("other")
    assert other.expires - other.created == timedelta(seconds=60) or other.expires is not None
    assert coatcheck("expire", "nobody", "--in", "1d").code == 1


@pytest.mark.parametrize("words", [["r"], ["r", "--in", "soon"], ["r", "--in", "0"], ["", "--in", "1d"]])
def test_expire_needs_a_run_and_a_time(coatcheck: Coatcheck, store: ArtifactStore, words: list[str]) -> None:
    store.store(b"1", run_id="r")

    assert coatcheck("expire", *words).code == 2


@pytest.fixture
def ten(store: ArtifactStore) -> list[ArtifactMetadata]:
    """Ten artifacts, oldest first; the last five are of another run and of another kind."""
    return [
        store.store(b"%d" % i, run_id="a" if i < 5 else "b", tags={"kind": "tmp"} if i < 5 else {"kind": "final"})
        for i in range(10)
    ]


def left(store: ArtifactStore, ten: list[ArtifactMetadata]) -> list[int]:
    there = {view.artifact_id for view in store.list_all()}
    return [i for i, view in enumerate(ten) if view.artifact_id in there]


Chosen = Callable[[list[ArtifactMetadata]], list[str]]


@pytest.mark.parametrize(
    ("words", "stay"),
    [
        (["--tag", "kind=tmp"], [5, 6, 7, 8, 9]),
        (["--tag", "kind"], []),
        (["--tag", "kind=tmp", "--keep-last", "2"], [3, 4, 5, 6, 7, 8, 9]),
        (["--keep-last", "3"], [7, 8, 9]),
        (["--keep-last", "10"], list(range(10))),
        (["--keep-last", "11"], list(range(10))),
        (["--older-than", "1h"], list(range(10))),
        (["--older-than", "0", "--keep-last", "1"], [9]),
        (["--older-than", "1h", "--keep-last", "1"], list(range(10))),
        (["--run", "b", "--keep-last", "1"], [0, 1, 2, 3, 4, 9]),
        (["--type", "text/*"], list(range(10))),
    ],
)
def test_prune_removes_what_the_policy_says(
    coatcheck: Coatcheck, store: ArtifactStore, ten: list[ArtifactMetadata], words: list[str], stay: list[int]
) -> None:
    gone = 10 - len(stay)

    assert coatcheck("prune", *words, "--dry-run").stdout == f"{gone} would go, {gone} B\n"
    assert left(store, ten) == list(range(10))
    assert coatcheck("prune", *words, "--json").json == {"artifacts": gone, "size_bytes": gone, "dry_run": False}
    assert left(store, ten) == stay
    assert coatcheck("prune", *words).stdout == "0 removed, 0 B\n"


def test_prune_for_a_run_gives_up_its_leases_only(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    view = store.store(b"shared", run_id="a")
    store.store(b"shared", run_id="b")

    assert coatcheck("prune", "--run", "a").code == 0
    assert [lease.run_id for lease in store.leases(view)] == ["b"]


def test_leases_without_a_run_are_ended_or_given_up_together(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    view = store.store(b"shared", run_id="a")
    store.store(b"shared")
    store.store(b"alone")

    assert coatcheck("expire", "--anonymous", "--in", "1d").stdout == "2 leases end in 1d\n"
    assert coatcheck("expire", "a", "--anonymous", "--in", "1d").code == 2
    assert coatcheck("expire", "--in", "1d").code == 2
    assert coatcheck("prune", "--run", "a", "--anonymous").code == 2
    assert coatcheck("prune", "--anonymous").stdout == "2 removed, 11 B\n"
    assert [lease.run_id for lease in store.leases(view)] == ["a"]
    assert coatcheck("expire", "--anonymous", "--in", "1d").code == 1


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_prune_counts_what_it_keeps_page_by_page(
    coatcheck: Coatcheck, store: ArtifactStore, ten: list[ArtifactMetadata], page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coatcheck.cli.prune._PAGE", page)

    assert coatcheck("prune", "--keep-last", "5").code == 0
    assert left(store, ten) == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("words", [[], ["--dry-run"], ["--yes"], ["--older-than", "soon"], ["--older-than", "never"]])
def test_prune_of_everything_is_refused(
    coatcheck: Coatcheck, store: ArtifactStore, ten: list[ArtifactMetadata], words: list[str]
) -> None:
    assert coatcheck("prune", *words).code == 2
    assert len(store.list_all()) == 10


@pytest.mark.parametrize(("answer", "stay"), [(b"n\n", 10), (b"y\n", 5)])
def test_people_are_shown_what_would_go_and_are_asked(
    store: ArtifactStore, url: str, ten: list[ArtifactMetadata], answer: bytes, stay: int
) -> None:
    _, screen = on_terminal("prune", "--tag", "kind=tmp", "--url", url, answer=answer)

    assert b"RUN  ARTIFACTS  SIZE" in screen
    assert b"Remove 5 artifacts, 5 B, 5 B as stored, for everyone?" in screen
    assert len(store.list_all()) == stay


def test_a_dry_run_shows_the_largest_run_first(store: ArtifactStore, url: str, ten: list[ArtifactMetadata]) -> None:
    store.store(b"x" * 1000, tags={"kind": "tmp"})

    lines = shown("--url", url, "prune", "--tag", "kind", "--dry-run")

    assert [line.split()[:3] for line in lines[1:4]] == [["-", "1", "1.00"], ["a", "5", "5"], ["b", "5", "5"]]
    assert lines[4] == "11 would go, 1.01 kB"
